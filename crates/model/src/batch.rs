//! A batch: changes of one table with one schema, columnar, taken out of the open round and ready to be encoded.

use std::sync::Arc;

use arrow_array::ArrayRef;

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
    /// Where the rows come from.
    pub origin: Origin,
    /// How many bytes of the log or of the snapshot it was read from.
    pub wire_bytes: u64,
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

impl Batch {
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
