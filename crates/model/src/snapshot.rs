//! Progress of a table's snapshot, as it stands in commits.

use crate::position::{Position, Sequence};
use crate::schema::TableName;

/// One table whose snapshot is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// 1, 2, 3 …, rising for each table; a snapshot that goes on after a kill keeps its id.
    pub id: u64,
    /// The table.
    pub table: TableName,
    /// The position C that the current part shows.
    pub position: Position,
    /// The anchor of the current part.
    pub sequence: Sequence,
    /// The source's own: which physical relation was read.
    pub relation: String,
    /// A change was seen since `position` that forbids going on under a new database snapshot.
    pub moved: bool,
    /// The source's own: how the table is cut into chunks.
    pub split: String,
    /// The source's own: ranges that are committed.
    pub done: Vec<(String, String)>,
    /// Rows committed so far.
    pub rows: u64,
    /// Whether every chunk is committed.
    pub finished: bool,
}
