//! A target as plain memory, for trying the commit protocol at every step without the cost of real files.
//!
//! It keeps the promises that a real target keeps (create-if-absent is atomic, commits are read after they were written)
//! and nothing else. `Lake::verify` checks the invariants of `docs/specs/file-lake.md` against the scripted source.
mod lake;
mod round;

use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::{
    Chain, Claim, Claimed, Committed, Fault, Finding, Head, PastFile, Prepared, Registry, Round, RoundWriter, Stager,
    Standing, Sweeper, TableName, Target, Timestamp,
};
use serde_json::{Value, json};

use crate::fuse::{Fuse, Unanswered};
use lake::Stored;
pub use lake::{Lake, LakeRow, position_number};
use round::ScriptedRound;

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
        text.get(name)
            .and_then(Value::as_array)
            .map(|paths| paths.iter().filter_map(|p| p.as_str().map(str::to_owned)).collect())
            .unwrap_or_default()
    };
    let repeated = || state.chain.last().map(|before| before.registry.clone());
    let stored = Stored {
        bytes: Arc::clone(&offered.bytes),
        standing: Standing { registry: None, ..offered.standing.clone() },
        registry: offered.standing.registry.clone().or_else(repeated).unwrap_or_default(),
        kind: text.get("kind").and_then(Value::as_str).unwrap_or_default().into(),
        claim: text.get("claim").and_then(Value::as_u64).unwrap_or_default(),
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
                registry_link: String::new(),
            }
        };
        self.fuse.step("read the head", read).await.map_err(unanswered)
    }

    async fn registry(&self, head: &Head) -> Result<Registry, Fault> {
        let (lake, number) = (self.lake.clone(), head.commit as usize);
        let read = move || {
            let index = number.checked_sub(1);
            index.and_then(|index| lake.state().chain.get(index).map(|commit| commit.registry.clone()))
        };
        Ok(self.fuse.step("read the tables", read).await.map_err(unanswered)?.unwrap_or_default())
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
            registry: Some(round.registry.clone()),
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
