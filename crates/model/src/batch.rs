//! A batch: changes of one table with one schema, columnar, taken out of the open round and ready to be encoded.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_schema::ArrowError;
use arrow_select::filter::FilterBuilder;

use crate::changes::TransactionEnd;
use crate::position::{Position, Sequence};
use crate::schema::{Op, TableSchema};
use crate::time::Timestamp;

/// Rows of one table with one schema.
#[derive(Debug)]
pub struct Batch {
    /// Table and columns.
    pub schema: Arc<TableSchema>,
    /// One array a column, in the order of the schema.
    pub columns: Vec<ArrayRef>,
    /// One a row.
    pub ops: Vec<Op>,
    /// Cells whose value the log did not carry, as (row, column), in row order; the arrays hold null there.
    pub unavailable: Vec<(u32, u16)>,
    /// Cells that the type cannot hold, as (row, column, source's text), in row order; the arrays hold null there.
    pub exact: Vec<(u32, u16, Box<str>)>,
    /// Rows of which the log carried something of the row before, and what, in row order; empty where nobody asks for it. Of
    /// a delete it lies in `columns`, of other changes in `old`.
    pub images: Vec<(u32, Image)>,
    /// One array a column, or none at all: the rows before the changes that `images` has, save deletes, in this order.
    pub old: Vec<ArrayRef>,
    /// Where the rows come from.
    pub origin: Origin,
}

/// What the log carried of a row before its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// The columns of the key.
    Key,
    /// Every column.
    Full,
}

/// Where the rows of a batch come from.
#[derive(Debug)]
pub enum Origin {
    /// From the log.
    Stream {
        /// One number a row, rising.
        sequences: Vec<i64>,
        /// Which rows belong to which transaction, in row order; the first begins at row 0.
        runs: Vec<Run>,
    },
    /// From a snapshot: every row carries the anchor.
    Snapshot {
        /// The snapshot's id.
        id: u64,
        /// The anchor.
        sequence: Sequence,
        /// The position that the snapshot shows.
        position: Position,
    },
}

/// Consecutive rows of one transaction.
#[derive(Clone, Debug)]
pub struct Run {
    /// First row; the run ends where the next begins.
    pub first_row: usize,
    /// The sequence before the first change of the transaction, over all its tables: `tx_index = sequence - base`.
    pub base: i64,
    /// End of the transaction in the log.
    pub position: Arc<str>,
    /// The source's id of the transaction.
    pub id: Arc<str>,
    /// When it committed.
    pub commit: Timestamp,
}

impl Run {
    /// The first run of a batch whose transaction has not ended: its end is filled in later (`Batch::end_open`).
    pub fn open(base: i64) -> Self {
        Self { first_row: 0, base, position: Arc::from(""), id: Arc::from(""), commit: Timestamp(0) }
    }
}

impl Batch {
    /// Splits off the rows from `first_row` on, which are all of the run `run`.
    pub(crate) fn split_off(&mut self, first_row: usize, run: Run) -> Self {
        let rows = self.rows();
        let columns = self.columns.iter().map(|column| column.slice(first_row, rows - first_row)).collect();
        for column in &mut self.columns {
            *column = column.slice(0, first_row);
        }
        let sequences = match &mut self.origin {
            Origin::Stream { sequences, .. } => sequences.split_off(first_row),
            Origin::Snapshot { .. } => Vec::new(),
        };
        let first = first_row as u32;
        let unavailable = self.unavailable.split_off(self.unavailable.partition_point(|cell| cell.0 < first));
        let exact = self.exact.split_off(self.exact.partition_point(|cell| cell.0 < first));
        let kept = self.images.partition_point(|image| image.0 < first);
        let old = self.old_rows().filter(|row| *row < first).count();
        let images = self.images.split_off(kept);
        let split = |column: &mut ArrayRef| {
            let rest = column.slice(old, column.len() - old);
            *column = column.slice(0, old);
            rest
        };
        let old = self.old.iter_mut().map(split).collect();
        Self {
            schema: Arc::clone(&self.schema),
            columns,
            ops: self.ops.split_off(first_row),
            unavailable: unavailable.into_iter().map(|(row, column)| (row - first, column)).collect(),
            exact: exact.into_iter().map(|(row, column, text)| (row - first, column, text)).collect(),
            images: images.into_iter().map(|(row, image)| (row - first, image)).collect(),
            old,
            origin: Origin::Stream { sequences, runs: vec![run] },
        }
    }

    /// Drops the rows where `keep` is false.
    pub(crate) fn retain(&mut self, keep: &BooleanArray) -> Result<(), ArrowError> {
        let filter = FilterBuilder::new(keep).optimize().build();
        for column in &mut self.columns {
            *column = filter.filter(column)?;
        }
        // Where each row goes that stays.
        let mut next = 0;
        let mut count = || {
            next += 1;
            next - 1
        };
        let places: Vec<Option<u32>> = keep.values().iter().map(|stays| stays.then(&mut count)).collect();
        let place = |row: u32| places.get(row as usize).copied().flatten();
        let old_stays: BooleanArray = self.old_rows().map(|row| Some(place(row).is_some())).collect();
        for column in &mut self.old {
            *column = arrow_select::filter::filter(column, &old_stays)?;
        }
        self.images = self.images.iter().filter_map(|&(row, image)| Some((place(row)?, image))).collect();
        let mut stays = keep.values().iter();
        self.ops.retain(|_| stays.next().unwrap_or(false));
        if let Origin::Stream { sequences, .. } = &mut self.origin {
            let mut stays = keep.values().iter();
            sequences.retain(|_| stays.next().unwrap_or(false));
        }
        self.unavailable = self.unavailable.iter().filter_map(|&(row, column)| Some((place(row)?, column))).collect();
        let exact = std::mem::take(&mut self.exact).into_iter();
        self.exact = exact.filter_map(|(row, column, text)| Some((place(row)?, column, text))).collect();
        Ok(())
    }

    /// Fills in how the open transaction of this batch ended.
    pub fn end_open(&mut self, end: &TransactionEnd) {
        if let Origin::Stream { runs, .. } = &mut self.origin {
            for run in runs {
                run.position = Arc::clone(end.position.shared());
                run.id = Arc::clone(&end.id);
                run.commit = end.commit;
            }
        }
    }

    /// The rows whose row before lies in `old`, in its order.
    pub fn old_rows(&self) -> impl Iterator<Item = u32> {
        let is_delete = |row: u32| self.ops.get(row as usize) == Some(&Op::Delete);
        self.images.iter().map(|image| image.0).filter(move |row| !is_delete(*row))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.ops.len()
    }

    /// First and last sequence; for snapshot rows both are the anchor.
    pub fn sequence_range(&self) -> (Sequence, Sequence) {
        match &self.origin {
            Origin::Stream { sequences, .. } => {
                let number = |sequence: Option<&i64>| Sequence(sequence.copied().unwrap_or_default() as u64);
                (number(sequences.first()), number(sequences.last()))
            }
            Origin::Snapshot { sequence, .. } => (*sequence, *sequence),
        }
    }

    /// The snapshot's id, if the rows come from one.
    pub fn snapshot(&self) -> Option<u64> {
        match &self.origin {
            Origin::Stream { .. } => None,
            Origin::Snapshot { id, .. } => Some(*id),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;

    use super::*;
    use crate::changes::Changes;
    use crate::column::ColumnBuilder;
    use crate::schema::{Column, Kind, TableName};
    use crate::size::ByteSize;

    fn schema() -> Arc<TableSchema> {
        let id = Column { name: "id".into(), id: 1, kind: Kind::Int64, type_name: "int8".into(), nullable: false };
        let table = TableName::new(["t"]);
        Arc::new(TableSchema { table, source_id: "1".into(), columns: vec![id], key: vec![0] })
    }

    fn append(columns: &mut [ColumnBuilder], id: i64) {
        if let Some(ColumnBuilder::Int64(ids)) = columns.first_mut() {
            ids.append_value(id);
        }
    }

    /// A row, and the one before it.
    fn change(changes: &mut Changes, op: Op, id: i64, old: Option<i64>) {
        let row = changes.row(0, op, 10).unwrap();
        append(&mut row.columns, id);
        match (op, old) {
            (Op::Delete, _) => row.note_image(Image::Key),
            (_, Some(old)) => append(&mut row.begin_old(Image::Full).columns, old),
            (_, None) => {}
        }
    }

    /// Rows with an old one, and its value.
    fn old(batch: &Batch) -> Vec<(u32, i64)> {
        let values = batch.old.first().map(|ids| ids.as_primitive::<Int64Type>().values().to_vec());
        batch.old_rows().zip(values.into_iter().flatten()).collect()
    }

    #[test]
    fn an_old_row_goes_where_its_change_goes() {
        let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
        changes.define(0, schema());
        let end = |position| TransactionEnd { position: Position::new(position), id: "1".into(), commit: Timestamp(0) };
        changes.begin();
        change(&mut changes, Op::Create, 1, None);
        change(&mut changes, Op::Update, 2, Some(20));
        change(&mut changes, Op::Delete, 3, None);
        changes.commit(end("a"));
        changes.begin();
        change(&mut changes, Op::Delete, 4, None);
        change(&mut changes, Op::Create, 5, Some(50));
        change(&mut changes, Op::Update, 6, Some(60));
        let (ended, mut open) = changes.take_open().unwrap();
        assert_eq!((old(&ended[0]), ended[0].images.len()), (vec![(1, 20)], 2));
        assert_eq!(old(&open[0]), [(1, 50), (2, 60)]);
        open[0].retain(&BooleanArray::from(vec![true, false, true])).unwrap();
        assert_eq!((old(&open[0]), &open[0].images[..]), (vec![(1, 60)], &[(0, Image::Key), (1, Image::Full)][..]));
        changes.commit(end("b"));
        // What was cut off with its transaction is gone.
        changes.begin();
        change(&mut changes, Op::Update, 7, Some(70));
        changes.commit(end("c"));
        changes.begin();
        change(&mut changes, Op::Update, 8, Some(80));
        changes.cut_open_transaction();
        let all = changes.take_all().unwrap();
        assert_eq!((old(&all[0]), all[0].old[0].len(), all[0].rows()), (vec![(0, 70)], 1, 1));
    }
}
