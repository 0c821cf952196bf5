//! The files of one round of the scripted target.

use async_trait::async_trait;
use millrace_model::{Batch, Fault, Op, OpCounts, Origin, RoundWriter, StagedFile};

use super::{LakeRow, ScriptedTarget, unanswered};
use crate::scripted_source::ScriptedRow;

pub(super) struct ScriptedRound {
    pub(super) target: ScriptedTarget,
    pub(super) claim: u64,
    pub(super) number: u64,
    pub(super) files: Vec<(StagedFile, Vec<LakeRow>)>,
}

#[async_trait]
impl RoundWriter for ScriptedRound {
    async fn write(&mut self, batch: Batch, schema_version: u32) -> Result<(), Fault> {
        let part = self.files.len();
        let path = format!("{}/{}-{}-{part}", batch.schema.table, self.claim, self.number);
        let (first_sequence, last_sequence) = batch.sequence_range();
        let mut ops = OpCounts::default();
        ops.add(&batch);
        let rows = rows_of(&batch)?;
        let file = StagedFile {
            path,
            table: batch.schema.table.clone(),
            schema_version,
            rows: batch.rows() as u64,
            ops,
            bytes: 0,
            sha256: String::new(),
            first_sequence,
            last_sequence,
            first_commit: None,
            last_commit: None,
            snapshot: batch.snapshot(),
        };
        self.files.push((file, rows));
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Vec<StagedFile>, Fault> {
        let mut staged = Vec::new();
        for (file, rows) in self.files {
            let (lake, path) = (self.target.lake.clone(), file.path.clone());
            let write = move || lake.state().files.insert(path, rows).is_some();
            if self.target.fuse.step("write a file", write).await.map_err(unanswered)? {
                return Err(Fault::defect("TK-102", format!("{} was written twice", file.path)));
            }
            staged.push(file);
        }
        Ok(staged)
    }
}

fn rows_of(batch: &Batch) -> Result<Vec<LakeRow>, Fault> {
    use arrow_array::Array;
    let defect = || Fault::defect("TK-103", "a scripted batch has other columns than id and value");
    let ids =
        batch.columns.first().and_then(|c| c.as_any().downcast_ref::<arrow_array::Int64Array>()).ok_or_else(defect)?;
    let values =
        batch.columns.get(1).and_then(|c| c.as_any().downcast_ref::<arrow_array::StringArray>()).ok_or_else(defect)?;
    let columns = batch.schema.key.iter().filter_map(|&at| batch.schema.columns.get(at));
    let key: Vec<u32> = columns.map(|column| column.id).collect();
    let mut rows = Vec::new();
    for (index, &op) in batch.ops.iter().enumerate() {
        let (sequence, position) = match &batch.origin {
            Origin::Stream { sequences, runs } => {
                let run = runs.iter().rev().find(|run| run.first_row <= index).ok_or_else(defect)?;
                (sequences.get(index).copied().unwrap_or_default() as u64, run.position.to_string())
            }
            Origin::Snapshot { sequence, position, .. } => (sequence.0, position.to_string()),
        };
        let row = ScriptedRow {
            table: batch.schema.table.parts().last().cloned().unwrap_or_default(),
            op,
            id: ids.value(index),
            value: (op != Op::Delete && !values.is_null(index)).then(|| values.value(index).to_owned()),
            unsent: batch.unavailable.iter().any(|&(row, _)| row as usize == index),
        };
        rows.push(LakeRow { sequence, position, row, snapshot: batch.snapshot(), key: key.clone() });
    }
    Ok(rows)
}
