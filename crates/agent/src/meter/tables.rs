//! The numbers of each table: what was written, and how far its snapshot is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use millrace_engine::ChunkProgress;
use millrace_model::{OpCounts, StagedFile};

/// So many tables have numbers of their own; those of all others are added up under no name.
const NAMED: usize = 500;

/// What was committed of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableTotals {
    /// Changes by their kind.
    pub ops: OpCounts,
    /// Rows in files.
    pub rows: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// How far a table's snapshot is.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSnapshot {
    /// Full name.
    pub table: String,
    /// Committed.
    pub rows_done: u64,
    /// Read, and not committed yet.
    pub ahead: u64,
    /// About so many in all.
    pub rows_estimate: u64,
    /// When its first rows were read, and how many it had by then.
    pub began: Option<(Instant, u64)>,
    /// Whether all of it is committed.
    pub finished: bool,
}

/// All tables.
#[derive(Debug, Default)]
pub struct Tables {
    totals: BTreeMap<String, TableTotals>,
    others: TableTotals,
    /// In the order in which they began.
    snapshots: Vec<TableSnapshot>,
}

impl TableTotals {
    fn add(&mut self, more: &Self) {
        self.ops.create += more.ops.create;
        self.ops.update += more.ops.update;
        self.ops.delete += more.ops.delete;
        self.ops.truncate += more.ops.truncate;
        self.ops.read += more.ops.read;
        self.rows += more.rows;
        self.bytes += more.bytes;
        self.files += more.files;
    }
}

impl TableSnapshot {
    /// Rows that were read.
    pub fn rows(&self) -> u64 {
        self.rows_done + self.ahead
    }

    /// About so many in all; never fewer than were read.
    pub fn rows_in_all(&self) -> u64 {
        self.rows_estimate.max(self.rows())
    }

    /// Rows a second since the first; none where none was read.
    pub fn rate(&self, at: Instant) -> Option<f64> {
        let (began, before) = self.began?;
        let seconds = at.duration_since(began).as_secs_f64();
        let rows = self.rows().saturating_sub(before);
        (rows > 0 && seconds > 0.0).then(|| rows as f64 / seconds)
    }
}

impl Tables {
    /// A committed file.
    pub(super) fn file(&mut self, file: &StagedFile) {
        let name = file.table.to_string();
        let totals = if self.totals.len() < NAMED || self.totals.contains_key(&name) {
            self.totals.entry(name).or_default()
        } else {
            &mut self.others
        };
        totals.add(&TableTotals { ops: file.ops, rows: file.rows, bytes: file.bytes, files: 1 });
    }

    pub(super) fn snapshot_started(&mut self, table: String, rows_done: u64, rows_estimate: u64) {
        self.snapshots.retain(|snapshot| snapshot.table != table);
        self.snapshots.push(TableSnapshot { table, rows_done, ahead: 0, rows_estimate, began: None, finished: false });
    }

    pub(super) fn snapshot_read(&mut self, table: &str, rows: u64, at: Instant) {
        if let Some(snapshot) = self.snapshot(table) {
            snapshot.began.get_or_insert((at, snapshot.rows_done));
            snapshot.ahead += rows;
        }
    }

    pub(super) fn chunk_committed(&mut self, chunk: &ChunkProgress) {
        if let Some(snapshot) = self.snapshot(&chunk.table) {
            snapshot.rows_done = chunk.rows_done;
            // A chunk that was read twice, because its connection was lost, was counted twice.
            snapshot.ahead = if chunk.finished { 0 } else { snapshot.ahead.saturating_sub(chunk.rows) };
            snapshot.finished = chunk.finished;
        }
    }

    /// It starts again, or the table leaves.
    pub(super) fn snapshot_ended(&mut self, table: &str) {
        self.snapshots.retain(|snapshot| snapshot.table != table);
    }

    fn snapshot(&mut self, table: &str) -> Option<&mut TableSnapshot> {
        self.snapshots.iter_mut().find(|snapshot| snapshot.table == table)
    }

    /// Whether a table is being read.
    pub(super) fn reading(&self) -> bool {
        self.snapshots.iter().any(|snapshot| !snapshot.finished)
    }

    /// The snapshots that this process began, in that order.
    pub fn snapshots(&self) -> &[TableSnapshot] {
        &self.snapshots
    }

    /// All tables added up.
    pub fn sum(&self) -> TableTotals {
        let mut sum = TableTotals::default();
        self.totals().for_each(|(_, totals)| sum.add(totals));
        sum
    }

    /// Each table that was written or is being read, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names: BTreeSet<&str> = self
            .totals
            .keys()
            .chain(self.snapshots.iter().map(|snapshot| &snapshot.table))
            .map(String::as_str)
            .collect();
        names.into_iter()
    }

    /// What was written of a table.
    pub fn of(&self, table: &str) -> TableTotals {
        self.totals.get(table).copied().unwrap_or_default()
    }

    /// The tables by name, and under no name what is left.
    pub fn totals(&self) -> impl Iterator<Item = (&str, &TableTotals)> {
        let others = (self.others != TableTotals::default()).then_some(("", &self.others));
        self.totals.iter().map(|(name, totals)| (name.as_str(), totals)).chain(others)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millrace_model::{Sequence, TableName};

    use super::*;

    fn file(table: &str) -> StagedFile {
        StagedFile {
            path: String::new(),
            table: TableName::new([table]),
            schema_version: 1,
            rows: 3,
            ops: OpCounts { create: 2, delete: 1, ..OpCounts::default() },
            bytes: 70,
            sha256: String::new(),
            first_sequence: Sequence(1),
            last_sequence: Sequence(3),
            first_commit: None,
            last_commit: None,
            snapshot: None,
        }
    }

    #[test]
    fn beyond_the_limit_tables_are_added_up_without_a_name() {
        let mut tables = Tables::default();
        for number in 0..NAMED + 2 {
            tables.file(&file(&format!("t{number}")));
        }
        tables.file(&file("t0"));
        let totals: BTreeMap<&str, TableTotals> = tables.totals().map(|(name, totals)| (name, *totals)).collect();
        assert_eq!(totals.len(), NAMED + 1);
        assert_eq!((totals["t0"].rows, totals["t0"].files, totals[""].bytes), (6, 2, 140));
    }

    #[test]
    fn a_snapshot_runs_ahead_of_its_commits_and_knows_its_pace() {
        let mut tables = Tables::default();
        let began = Instant::now();
        tables.snapshot_started("t".into(), 100, 1000);
        assert_eq!(tables.snapshots()[0].rate(began), None);
        tables.snapshot_read("t", 150, began);
        tables.snapshot_read("t", 50, began);
        let chunk = |rows_done, finished| ChunkProgress {
            table: "t".into(),
            rows: 150,
            rows_done,
            rows_estimate: 1000,
            rows_before: 100,
            took: Duration::from_secs(1),
            finished,
        };
        tables.chunk_committed(&chunk(250, false));
        let snapshot = &tables.snapshots()[0];
        assert_eq!((snapshot.rows_done, snapshot.rows(), snapshot.rows_in_all()), (250, 300, 1000));
        assert_eq!(snapshot.rate(began + Duration::from_secs(2)), Some(100.0));
        tables.chunk_committed(&chunk(300, true));
        assert!(!tables.reading());
        assert_eq!(tables.snapshots()[0].rows(), 300);
    }
}
