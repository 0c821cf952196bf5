//! A target as plain memory, for trying the commit protocol at every step without the cost of real files.
//!
//! It keeps the promises that a real target keeps (create-if-absent is atomic, commits are read after they were written)
//! and nothing else. `Lake::verify` checks the invariants of `docs/specs/file-lake.md` against the scripted source.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use millrace_model::{
    Batch, Chain, Checkpoint, Claim, Claimed, Committed, Fault, Finding, Head, Op, OpCounts, Origin, PastFile,
    Position, Prepared, Round, RoundWriter, StagedFile, Stager, Standing, Sweeper, TableEntry, TableName, Target,
    Timestamp,
};
use serde_json::{Value, json};

use crate::fuse::{Fuse, Unanswered};
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
}

#[derive(Clone, Debug)]
struct Stored {
    bytes: Arc<[u8]>,
    standing: Standing,
    kind: String,
    claim: u64,
    files: Vec<String>,
    removed: Vec<String>,
}

#[derive(Debug, Default)]
struct LakeState {
    chain: Vec<Stored>,
    files: BTreeMap<String, Vec<LakeRow>>,
}

/// The lake, shared by all processes of a test.
#[derive(Clone, Debug, Default)]
pub struct Lake(Arc<Mutex<LakeState>>);

impl Lake {
    fn state(&self) -> MutexGuard<'_, LakeState> {
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

    /// What the newest commit knows of `table`.
    pub fn entry(&self, table: &str) -> Option<Arc<TableEntry>> {
        let registry = self.state().chain.last()?.standing.registry.clone();
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
        for row in rows.iter().filter(|row| row.snapshot.is_some()) {
            let before = rows.iter().filter(|other| other.snapshot.is_none() && place(other) <= place(row));
            let anchor = before.map(|other| other.sequence).max().unwrap_or(0);
            if row.sequence != anchor {
                return Err(format!(
                    "the snapshot at {} carries {}, the last change before it {anchor}",
                    row.position, row.sequence
                ));
            }
        }
        Ok(())
    }

    /// Every table with a finished snapshot equals the source as of the checkpoint.
    pub fn verify_state(&self, world: &World, tables: &[&str]) -> Result<(), String> {
        self.verify_anchors()?;
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

/// The lake as one process sees it.
#[derive(Clone)]
pub struct ScriptedTarget {
    lake: Lake,
    fuse: Fuse,
    instance: String,
}

impl ScriptedTarget {
    /// A process's view of `lake`; `instance` tells it from every other process.
    pub fn new(lake: &Lake, fuse: &Fuse, instance: impl Into<String>) -> Self {
        Self { lake: lake.clone(), fuse: fuse.clone(), instance: instance.into() }
    }

    fn bytes(
        &self,
        commit: u64,
        kind: &str,
        claim: u64,
        round: u64,
        files: &[String],
        removed: &[String],
    ) -> Arc<[u8]> {
        let text = json!({"commit": commit, "kind": kind, "claim": claim, "round": round, "instance": self.instance,
            "files": files, "removed": removed});
        text.to_string().into_bytes().into()
    }

    /// Creates a commit if its number is free; says whether what stands there is ours.
    async fn create(&self, prepared: &Prepared) -> Result<bool, Fault> {
        let (lake, offered) = (self.lake.clone(), prepared.clone());
        let created = self.fuse.step("create a commit", move || create_if_absent(&lake, &offered)).await;
        if let Ok(true) = created {
            return Ok(true);
        }
        // Refused or unknown: read what stands there.
        let (lake, number) = (self.lake.clone(), prepared.commit);
        let read = move || lake.state().chain.get(number as usize - 1).map(|commit| Arc::clone(&commit.bytes));
        match self.fuse.step("read a commit", read).await.map_err(unanswered)? {
            Some(bytes) => Ok(bytes == prepared.bytes),
            None => Err(Fault::retry("TK-101", "the commit is not there")),
        }
    }
}

fn create_if_absent(lake: &Lake, offered: &Prepared) -> bool {
    let mut state = lake.state();
    if state.chain.len() as u64 + 1 != offered.commit {
        return false;
    }
    let text: Value = serde_json::from_slice(&offered.bytes).unwrap_or_default();
    let list = |name: &str| {
        text[name]
            .as_array()
            .map(|paths| paths.iter().filter_map(|p| p.as_str().map(str::to_owned)).collect())
            .unwrap_or_default()
    };
    let stored = Stored {
        bytes: Arc::clone(&offered.bytes),
        standing: offered.standing.clone(),
        kind: text["kind"].as_str().unwrap_or_default().into(),
        claim: text["claim"].as_u64().unwrap_or_default(),
        files: list("files"),
        removed: list("removed"),
    };
    state.chain.push(stored);
    true
}

fn unanswered(_: Unanswered) -> Fault {
    Fault::retry("TK-100", "the scripted target gave no answer")
}

#[async_trait]
impl Target for ScriptedTarget {
    async fn check(&self) -> Result<Vec<Finding>, Fault> {
        Ok(Vec::new())
    }

    async fn head(&self) -> Result<Head, Fault> {
        let lake = self.lake.clone();
        let read = move || {
            let state = lake.state();
            Head {
                commit: state.chain.len() as u64,
                standing: state.chain.last().map(|commit| commit.standing.clone()),
                link: String::new(),
            }
        };
        self.fuse.step("read the head", read).await.map_err(unanswered)
    }

    async fn files_of(&self, last: u64, tables: Option<&[String]>) -> Result<Vec<PastFile>, Fault> {
        let (lake, last) = (self.lake.clone(), last as usize);
        let list = move || {
            let state = lake.state();
            let commits = || state.chain.iter().take(last);
            let removed: Vec<&String> = commits().flat_map(|commit| &commit.removed).collect();
            let past = |path: &String| PastFile {
                path: path.clone(),
                table: TableName::parse(path.split('/').next().unwrap_or_default()),
                snapshot: state.files.get(path).and_then(|rows| rows.first()).and_then(|row| row.snapshot),
                removed: removed.contains(&path),
            };
            commits().flat_map(|commit| &commit.files).map(past).collect::<Vec<_>>()
        };
        let mut files = self.fuse.step("list the files", list).await.map_err(unanswered)?;
        if let Some(tables) = tables {
            files.retain(|file| tables.iter().any(|table| file.table.answers_to(table)));
        }
        Ok(files)
    }

    fn prepare_claim(&self, head: &Head, claim: &Claim) -> Result<Prepared, Fault> {
        let commit = head.commit + 1;
        let bytes = self.bytes(commit, "claim", commit, 0, &[], &claim.removed);
        Ok(Prepared { commit, bytes, state: Vec::new(), standing: claim.standing.clone() })
    }

    async fn claim(&self, prepared: &Prepared) -> Result<Claimed, Fault> {
        if !self.create(prepared).await? {
            return Ok(Claimed::Taken);
        }
        Ok(Claimed::Mine(Box::new(ScriptedChain {
            target: self.clone(),
            claim: prepared.commit,
            commit: prepared.commit,
            standing: prepared.standing.clone(),
        })))
    }
}

struct ScriptedChain {
    target: ScriptedTarget,
    claim: u64,
    commit: u64,
    standing: Standing,
}

#[async_trait]
impl Chain for ScriptedChain {
    fn claim(&self) -> u64 {
        self.claim
    }

    fn commit_number(&self) -> u64 {
        self.commit
    }

    fn stager(&self) -> Arc<dyn Stager> {
        Arc::new(ScriptedStager { target: self.target.clone(), claim: self.claim })
    }

    fn prepare(&self, round: &Round) -> Result<Prepared, Fault> {
        let commit = self.commit + 1;
        let files: Vec<String> = round.files.iter().map(|file| file.path.clone()).collect();
        let bytes = self.target.bytes(commit, round.kind.as_str(), self.claim, round.number, &files, &round.removed);
        let standing = Standing {
            source: round.source.clone(),
            checkpoint: round.checkpoint.clone(),
            registry: round.registry.clone(),
            snapshots: round.snapshots.clone(),
            ..self.standing.clone()
        };
        Ok(Prepared { commit, bytes, state: Vec::new(), standing })
    }

    async fn commit(&mut self, prepared: &Prepared) -> Result<Committed, Fault> {
        if !self.target.create(prepared).await? {
            return Ok(Committed::Fenced);
        }
        self.commit = prepared.commit;
        Ok(Committed::Done)
    }

    async fn superseded(&self) -> Result<bool, Fault> {
        let (lake, commit) = (self.target.lake.clone(), self.commit);
        self.target.fuse.step("read the next commit", move || lake.head() > commit).await.map_err(unanswered)
    }

    fn sweeper(&self) -> Arc<dyn Sweeper> {
        Arc::new(ScriptedSweeper { target: self.target.clone(), claim: self.claim })
    }
}

struct ScriptedStager {
    target: ScriptedTarget,
    claim: u64,
}

impl Stager for ScriptedStager {
    fn round(&self, number: u64, _opened: Timestamp) -> Box<dyn RoundWriter> {
        Box::new(ScriptedRound { target: self.target.clone(), claim: self.claim, number, files: Vec::new() })
    }
}

struct ScriptedSweeper {
    target: ScriptedTarget,
    claim: u64,
}

#[async_trait]
impl Sweeper for ScriptedSweeper {
    async fn sweep(&self) -> Result<u64, Fault> {
        let (lake, claim) = (self.target.lake.clone(), self.claim);
        let sweep = move || {
            let mut state = lake.state();
            let named: Vec<String> = state.chain.iter().flat_map(|commit| commit.files.clone()).collect();
            let before = state.files.len();
            state.files.retain(|path, _| claim_of(path) >= claim || named.contains(path));
            (before - state.files.len()) as u64
        };
        self.target.fuse.step("sweep", sweep).await.map_err(unanswered)
    }
}

/// Paths are `<table>/<claim>-<round>-<part>`.
fn claim_of(path: &str) -> u64 {
    path.rsplit('/').next().and_then(|name| name.split('-').next()).and_then(|claim| claim.parse().ok()).unwrap_or(0)
}

struct ScriptedRound {
    target: ScriptedTarget,
    claim: u64,
    number: u64,
    files: Vec<(StagedFile, Vec<LakeRow>)>,
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
        rows.push(LakeRow { sequence, position, row, snapshot: batch.snapshot() });
    }
    Ok(rows)
}

/// A position of the scripted source as a number.
pub fn position_number(position: &Position) -> u64 {
    position.as_str().parse().unwrap_or_default()
}
