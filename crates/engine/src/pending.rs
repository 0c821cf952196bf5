//! What the next commits will say beside the changes: the tables, the snapshots under way, the files that leave the lake.
//!
//! It starts from what is confirmed, and a stream that is lost drops it: nothing here counts before a commit says it.

use std::collections::HashMap;

use millrace_model::{Batch, Registry, Sequence, SnapshotDone, SnapshotProgress, StagedFile, TableEntry, TableName};
use tokio::time::Instant;

use crate::requests::{ChunkDone, Joined, Joining, Reading};
use crate::telemetry::{self, ChunkProgress};

/// Beside an entry of `snapshots`, for people only.
struct Pace {
    began: Instant,
    rows_before: u64,
    rows_estimate: u64,
}

pub(crate) struct Pending {
    pub registry: Registry,
    pub snapshots: Vec<SnapshotProgress>,
    pub removed: Vec<String>,
    chunks: Vec<ChunkDone>,
    paces: HashMap<TableName, Pace>,
}

impl Pending {
    pub(crate) fn new(registry: Registry, snapshots: Vec<SnapshotProgress>) -> Self {
        // A finished entry has stood in the commit that finished it.
        let snapshots = snapshots.into_iter().filter(|snapshot| !snapshot.finished).collect();
        Self { registry, snapshots, removed: Vec::new(), chunks: Vec::new(), paces: HashMap::new() }
    }

    /// Whether chunks wait for a commit.
    pub(crate) fn has_chunks(&self) -> bool {
        !self.chunks.is_empty()
    }

    pub(crate) fn add_chunk(&mut self, chunk: ChunkDone) {
        self.chunks.push(chunk);
    }

    /// A change whose log did not carry a column forbids going on under a new snapshot.
    pub(crate) fn note_batch(&mut self, batch: &Batch) {
        if !batch.unavailable.is_empty() {
            for snapshot in self.snapshots.iter_mut().filter(|snapshot| snapshot.table == batch.schema.table) {
                snapshot.moved = true;
            }
        }
    }

    pub(crate) fn leave(&mut self, tables: &[TableName]) {
        for table in tables {
            self.registry.remove(table);
            self.snapshots.retain(|snapshot| snapshot.table != *table);
            self.chunks.retain(|chunk| chunk.table != *table);
        }
    }

    /// A table's snapshot (or membership) begins at the position where the log stands now. `None` where the registry has
    /// no such table.
    pub(crate) fn join(
        &mut self,
        joining: Joining,
        position: &millrace_model::Position,
        anchor: Sequence,
    ) -> Option<Joined> {
        let table = joining.schema.table.clone();
        if joining.is_new {
            self.registry.put(TableEntry::new(&joining.schema));
        }
        let schema_version = self.registry.version_of(&joining.schema)?;
        let Some(reading) = joining.read else {
            self.removed.extend(joining.stale);
            return Some(Joined { id: 0, anchor, schema_version, done: Vec::new() });
        };
        let before =
            self.snapshots.iter().position(|snapshot| snapshot.table == table).map(|at| self.snapshots.remove(at));
        let resumed = before.filter(|before| reading.may_resume && !before.moved && !joining.is_new);
        if resumed.is_none() {
            self.removed.extend(joining.stale);
            self.chunks.retain(|chunk| chunk.table != table);
        }
        let (id, done, rows) = match resumed {
            Some(before) => (before.id, before.done, before.rows),
            None => (reading.fresh_id, Vec::new(), 0),
        };
        let rows_estimate = reading.rows_estimate;
        let pace = Pace { began: Instant::now(), rows_before: rows, rows_estimate };
        self.paces.insert(table.clone(), pace);
        let progress = begin(table, id, position, anchor, reading, done.clone(), rows);
        telemetry::snapshot_started(&progress, rows_estimate);
        self.snapshots.push(progress);
        Some(Joined { id, anchor, schema_version, done })
    }

    /// The files of the chunks that the closing commit names; their progress is entered with them.
    pub(crate) fn take_chunks(&mut self) -> (Vec<StagedFile>, Vec<ChunkProgress>) {
        let (mut files, mut progress) = (Vec::new(), Vec::new());
        for chunk in std::mem::take(&mut self.chunks) {
            let same = |snapshot: &&mut SnapshotProgress| snapshot.table == chunk.table && snapshot.id == chunk.id;
            let Some(entry) = self.snapshots.iter_mut().find(same) else { continue };
            entry.rows += chunk.rows;
            merge(&mut entry.done, chunk.range);
            if chunk.last {
                entry.finished = true;
                let done = SnapshotDone { id: entry.id, sequence: entry.sequence };
                if let Some(table) = self.registry.get(&chunk.table) {
                    self.registry.put(TableEntry { snapshot: Some(done), ..(**table).clone() });
                }
            }
            if let Some(pace) = self.paces.get(&chunk.table) {
                progress.push(ChunkProgress {
                    table: chunk.table.to_string(),
                    rows: chunk.rows,
                    rows_done: entry.rows,
                    rows_estimate: pace.rows_estimate.max(entry.rows),
                    rows_before: pace.rows_before,
                    took: pace.began.elapsed(),
                    finished: chunk.last,
                });
            }
            files.extend(chunk.files);
        }
        (files, progress)
    }

    /// After a close: finished entries have stood in their commit.
    pub(crate) fn closed(&mut self) {
        self.snapshots.retain(|snapshot| !snapshot.finished);
    }
}

fn begin(
    table: TableName,
    id: u64,
    position: &millrace_model::Position,
    anchor: Sequence,
    reading: Reading,
    done: Vec<(String, String)>,
    rows: u64,
) -> SnapshotProgress {
    let Reading { relation, split, .. } = reading;
    SnapshotProgress {
        id,
        table,
        position: position.clone(),
        sequence: anchor,
        relation,
        moved: false,
        split,
        done,
        rows,
        finished: false,
    }
}

/// Adds a range, joining it with those that it touches.
fn merge(done: &mut Vec<(String, String)>, mut range: (String, String)) {
    done.retain(|other| {
        if !other.1.is_empty() && other.1 == range.0 {
            range.0.clone_from(&other.0);
        } else if !range.1.is_empty() && range.1 == other.0 {
            range.1.clone_from(&other.1);
        } else {
            return true;
        }
        false
    });
    done.push(range);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut done = Vec::new();
        for (from, to) in [("", "10"), ("20", "30"), ("10", "20"), ("40", "")] {
            merge(&mut done, (from.into(), to.into()));
        }
        assert_eq!(done, [("", "30"), ("40", "")].map(|(from, to)| (from.to_owned(), to.to_owned())));
    }

    #[test]
    fn a_chunk_of_a_snapshot_that_has_started_again_is_in_no_commit() {
        let table = TableName::new(["db", "public", "a"]);
        let position = millrace_model::Position::new("1");
        let reading =
            Reading { relation: String::new(), split: String::new(), rows_estimate: 1, fresh_id: 2, may_resume: false };
        let entry = begin(table.clone(), 2, &position, Sequence(0), reading, Vec::new(), 0);
        let mut pending = Pending::new(Registry::default(), vec![entry]);
        for id in [1, 2] {
            let range = (String::new(), "10".to_owned());
            pending.add_chunk(ChunkDone { table: table.clone(), id, range, rows: id, files: Vec::new(), last: false });
        }
        pending.take_chunks();
        assert_eq!(pending.snapshots.first().map(|snapshot| snapshot.rows), Some(2));
    }
}
