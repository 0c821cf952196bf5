//! The lake itself: its chain and files, and the invariants that hold of them after every life.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use millrace_model::{Checkpoint, Op, Position, Registry, SnapshotProgress, Standing, TableEntry};

use crate::scripted_source::{ScriptedRow, World};

/// A row as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeRow {
    /// Its number.
    pub sequence: u64,
    /// End of its transaction.
    pub position: String,
    /// The change.
    pub row: ScriptedRow,
    /// The snapshot that saw it.
    pub snapshot: Option<u64>,
    /// Ids of the columns that were the key of its table when it was read.
    pub key: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) bytes: Arc<[u8]>,
    pub(super) standing: Standing,
    pub(super) registry: Registry,
    pub(super) kind: String,
    pub(super) claim: u64,
    pub(super) files: Vec<String>,
    pub(super) removed: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct LakeState {
    pub(super) chain: Vec<Stored>,
    pub(super) files: BTreeMap<String, Vec<LakeRow>>,
}

/// The lake, shared by all processes of a test.
#[derive(Clone, Debug, Default)]
pub struct Lake(Arc<Mutex<LakeState>>);

impl Lake {
    pub(super) fn state(&self) -> MutexGuard<'_, LakeState> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Number of the newest commit.
    pub fn head(&self) -> u64 {
        self.state().chain.len() as u64
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> Checkpoint {
        self.state().chain.last().map(|commit| commit.standing.checkpoint.clone()).unwrap_or_default()
    }

    /// Of each commit its claim, its round (0 of a claim itself) and the paths of its files.
    pub fn rounds(&self) -> Vec<(u64, u64, Vec<String>)> {
        let round = |commit: &Stored| {
            let text: serde_json::Value = serde_json::from_slice(&commit.bytes).unwrap_or_default();
            text.get("round").and_then(serde_json::Value::as_u64).unwrap_or_default()
        };
        self.state().chain.iter().map(|commit| (commit.claim, round(commit), commit.files.clone())).collect()
    }

    /// The snapshot of which a file holds rows.
    pub fn snapshot_of(&self, path: &str) -> Option<u64> {
        self.state().files.get(path)?.first()?.snapshot
    }

    /// The position with which a `restart` began the log anew last: the newest claim that moved the checkpoint.
    pub fn made_anew(&self) -> u64 {
        let state = self.state();
        let place = |commit: &Stored| commit.standing.checkpoint.position.as_ref().map(position_number);
        let pairs = state.chain.iter().zip(state.chain.iter().skip(1));
        let mut moved = pairs.filter(|(before, claim)| claim.kind == "claim" && place(before) != place(claim));
        moved.next_back().and_then(|(_, claim)| place(claim)).unwrap_or(0)
    }

    /// Number of files that no commit names.
    pub fn leftovers(&self) -> usize {
        let state = self.state();
        state.files.keys().filter(|path| !state.chain.iter().any(|commit| commit.files.contains(path))).count()
    }

    /// The committed rows of the stream, in order.
    pub fn rows(&self) -> Vec<LakeRow> {
        self.all_rows(true).into_iter().filter(|row| row.row.op != Op::Read).collect()
    }

    /// Rows of all committed files, those of removed files only on demand, in order.
    fn all_rows(&self, less_removed: bool) -> Vec<LakeRow> {
        let state = self.state();
        let removed: Vec<&String> = state.chain.iter().flat_map(|commit| &commit.removed).collect();
        let named = state.chain.iter().flat_map(|commit| &commit.files);
        let named = named.filter(|path| !less_removed || !removed.contains(path));
        let mut rows: Vec<LakeRow> =
            named.flat_map(|path| state.files.get(path).cloned().unwrap_or_default()).collect();
        rows.sort_by_key(|row| row.sequence);
        rows
    }

    /// Whether the newest commit knows a finished snapshot of `table`.
    pub fn is_finished(&self, table: &str) -> bool {
        self.entry(table).is_some_and(|entry| entry.snapshot.is_some())
    }

    /// The snapshot of `table` that is under way, as the newest commit knows it.
    pub fn progress(&self, table: &str) -> Option<SnapshotProgress> {
        let snapshots = self.state().chain.last()?.standing.snapshots.clone();
        snapshots.into_iter().find(|snapshot| snapshot.table.parts().last().is_some_and(|t| t == table))
    }

    /// What the newest commit knows of `table`.
    pub fn entry(&self, table: &str) -> Option<Arc<TableEntry>> {
        let registry = self.state().chain.last()?.registry.clone();
        registry.entries().find(|entry| entry.table.parts().last().is_some_and(|t| t == table)).cloned()
    }

    /// The current rows of `table` by the reader's rule: per key the highest sequence wins, on a tie the snapshot row, of
    /// two the one with the higher snapshot id; a value that the log did not carry is that of the row just before.
    pub fn state_of(&self, table: &str) -> BTreeMap<i64, Option<String>> {
        let mut rows: Vec<LakeRow> = self.all_rows(true).into_iter().filter(|row| row.row.table == table).collect();
        rows.sort_by_key(|row| (row.sequence, row.row.op == Op::Read, row.snapshot));
        let mut current = BTreeMap::new();
        for LakeRow { row, .. } in rows {
            match row.op {
                Op::Delete => drop(current.remove(&row.id)),
                Op::Truncate => current.clear(),
                Op::Create | Op::Update | Op::Read => {
                    let value = if row.unsent { current.get(&row.id).cloned().flatten() } else { row.value };
                    current.insert(row.id, value);
                }
            }
        }
        current
    }

    /// Every snapshot row carries the sequence of the last change at or before the position that its snapshot shows.
    fn verify_anchors(&self) -> Result<(), String> {
        let rows = self.all_rows(false);
        let place = |row: &LakeRow| row.position.parse::<u64>().unwrap_or_default();
        let anchor_at = |position: u64| {
            let before = rows.iter().filter(|other| other.snapshot.is_none() && place(other) <= position);
            before.map(|other| other.sequence).max().unwrap_or(0)
        };
        let state = self.state();
        for entry in state.chain.iter().flat_map(|commit| &commit.standing.snapshots) {
            let anchor = anchor_at(position_number(&entry.position));
            if entry.sequence.0 != anchor {
                return Err(format!("an entry says {entry:?}, and the last change before it is {anchor}"));
            }
        }
        drop(state);
        for row in rows.iter().filter(|row| row.snapshot.is_some()) {
            let anchor = anchor_at(place(row));
            if row.sequence != anchor {
                return Err(format!(
                    "the snapshot at {} carries {}, the last change before it {anchor}",
                    row.position, row.sequence
                ));
            }
        }
        Ok(())
    }

    /// Every row of the lake is of the key that the registry has for its table.
    fn verify_keys(&self, tables: &[&str]) -> Result<(), String> {
        for table in tables {
            let Some(entry) = self.entry(table) else { continue };
            let newest = entry.versions.last().map_or(&[][..], |newest| &newest.columns);
            let ids = newest.iter().filter(|column| entry.key.contains(&column.name)).map(|column| column.id);
            let key: Vec<u32> = ids.collect();
            let rows = self.all_rows(true);
            if let Some(other) = rows.iter().find(|row| row.row.table == *table && row.key != key) {
                return Err(format!("the key of {table} is {key:?}, and its files have {other:?}"));
            }
        }
        Ok(())
    }

    /// Every table with a finished snapshot equals the source as of the checkpoint.
    pub fn verify_state(&self, world: &World, tables: &[&str]) -> Result<(), String> {
        self.verify_anchors()?;
        self.verify_keys(tables)?;
        let head = self.checkpoint().position.as_ref().map_or(0, position_number);
        for table in tables.iter().filter(|table| self.is_finished(table)) {
            let (found, expected) = (self.state_of(table), world.rows_at(table, head));
            if found != expected {
                return Err(format!("{table} at {head}: the lake has {found:?}, the source {expected:?}"));
            }
        }
        Ok(())
    }

    /// I1 to I4 and the fence; `from` is the position at which the pipeline's log began, `None` where not all of it counts.
    pub fn verify(&self, world: &World, from: Option<u64>) -> Result<(), String> {
        self.verify_chain()?;
        let head = self.checkpoint();
        let end = head.position.as_ref().map_or(0, position_number);
        for (index, row) in self.all_rows(false).iter().filter(|row| row.row.op != Op::Read).enumerate() {
            if row.sequence != index as u64 + 1 {
                return Err(format!("I3: sequence {} stands at place {}", row.sequence, index + 1));
            }
        }
        let count = self.all_rows(false).iter().filter(|row| row.row.op != Op::Read).count();
        if head.sequence.0 != count as u64 {
            return Err(format!("I3: the head says {} changes, the files hold {count}", head.sequence));
        }
        let Some(from) = from else { return Ok(()) };
        if world.confirmed().is_some_and(|confirmed| confirmed > end && head.position.is_some()) {
            return Err(format!("released {:?} beyond the chain ({end})", world.confirmed()));
        }
        let expected: Vec<ScriptedRow> = world.rows_between(from, end);
        let found: Vec<ScriptedRow> = self.rows().into_iter().map(|row| row.row).collect();
        if expected != found {
            return Err(format!("rows differ: the log has {expected:?}, the lake has {found:?}"));
        }
        Ok(())
    }

    fn verify_chain(&self) -> Result<(), String> {
        let state = self.state();
        let mut owner = 0;
        let mut named: BTreeMap<&String, u64> = BTreeMap::new();
        let mut transactions: BTreeMap<&String, u64> = BTreeMap::new();
        let mut removed: BTreeMap<&String, u64> = BTreeMap::new();
        let mut before = 0;
        for (number, commit) in (1u64..).zip(&state.chain) {
            if commit.kind == "claim" {
                owner = number;
            }
            if commit.claim != owner {
                return Err(format!(
                    "FENCED: commit {number} is of claim {}, but {owner} owns the chain",
                    commit.claim
                ));
            }
            let own = commit.standing.checkpoint.sequence.0;
            if own < before {
                return Err(format!("I1: the sequence fell at commit {number}"));
            }
            for path in &commit.removed {
                if let Some(earlier) = removed.insert(path, number) {
                    return Err(format!("commit {number} removes {path}, which commit {earlier} has removed"));
                }
            }
            for path in &commit.files {
                if named.insert(path, number).is_some() {
                    return Err(format!("I2: {path} is named twice"));
                }
                let rows = state.files.get(path).ok_or_else(|| format!("I2: {path} of commit {number} is missing"))?;
                for row in rows.iter().filter(|row| row.row.op != Op::Read) {
                    if row.sequence <= before || row.sequence > own {
                        return Err(format!("I3: sequence {} lies outside commit {number}", row.sequence));
                    }
                    if *transactions.entry(&row.position).or_insert(number) != number {
                        return Err(format!("I4: transaction {} is in two commits", row.position));
                    }
                }
            }
            before = own;
        }
        Ok(())
    }
}
/// A position of the scripted source as a number.
pub fn position_number(position: &Position) -> u64 {
    position.as_str().parse().unwrap_or_default()
}
