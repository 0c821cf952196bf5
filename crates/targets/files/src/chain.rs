//! The chain of commits: claiming it (S3) and appending to it (R3, R4).
//!
//! Invariant: a number is created once, with bytes that were fixed before and tell this process's commit from anybody
//! else's (`writer.instance`). So whatever stands under a number after a refused or unanswered create says who made it: my
//! bytes, done; other bytes, another writer's; nothing, nobody knows yet, and the same bytes are tried again.
//! Invariant: n+1 is prepared only from a chain whose commit n is confirmed, and names the hash of its bytes.

use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::{
    Chain, Claim, Claimed, CommitKind, Committed, Fault, Head, Prepared, Registry, Round, RoundWriter, Sequence,
    Stager, Standing, Sweeper, Timestamp,
};
use serde::Deserialize;

use crate::Lake;
use crate::commit_json::{CommitJson, FORMAT, FileJson, PreviousJson, SourceJson, StateRef, WriterJson};
use crate::fault::{Cause, damaged, rule};
use crate::head::{read_commit, write_hint};
use crate::names::{commit_path, sha256_hex};
use crate::round::FilesRound;
use crate::state::StateFiles;
use crate::store::Created;
use crate::sweep::FilesSweeper;

/// The hint is written at most so often, in microseconds.
const HINT_INTERVAL: i64 = 30_000_000;

/// A chain that this process has claimed.
pub(crate) struct FilesChain {
    lake: Arc<Lake>,
    /// Kind of the source.
    connector: Arc<str>,
    claim: u64,
    /// The newest commit of this writer that is known to be there.
    confirmed: Confirmed,
    hint_written: Option<Timestamp>,
    sweeper: Arc<FilesSweeper>,
}

/// Writes files under one claim.
struct FilesStager {
    lake: Arc<Lake>,
    connector: Arc<str>,
    claim: u64,
}

impl Stager for FilesStager {
    fn round(&self, number: u64, opened: Timestamp) -> Box<dyn RoundWriter> {
        Box::new(FilesRound::new(Arc::clone(&self.lake), Arc::clone(&self.connector), self.claim, number, opened))
    }
}

struct Confirmed {
    commit: u64,
    sha256: String,
    sequence: Sequence,
    /// The round of the newest commit.
    round: u64,
}

/// What a commit says beyond what it repeats.
struct Said {
    kind: CommitKind,
    claim: u64,
    round: u64,
    previous: Option<PreviousJson>,
    transactions: u64,
    files: Vec<FileJson>,
    removed: Arc<[String]>,
}

/// The bytes of a claim after `head`.
pub(crate) fn prepare_claim(lake: &Lake, head: &Head, claim: &Claim) -> Result<Prepared, Fault> {
    let before = head.standing.as_ref().map_or(Sequence(0), |standing| standing.checkpoint.sequence);
    if claim.standing.checkpoint.sequence < before {
        return Err(rule("a claim's sequence is below that of the commit before"));
    }
    let previous = (head.commit > 0).then(|| PreviousJson { commit: head.commit, sha256: head.link.clone() });
    let said = Said {
        kind: CommitKind::Claim,
        claim: head.commit + 1,
        round: 0,
        previous,
        transactions: 0,
        files: Vec::new(),
        removed: Arc::clone(&claim.removed),
    };
    let state = match &claim.standing.registry {
        Some(registry) => lake.states.describe(registry)?,
        None if head.commit > 0 => StateFiles { reference: StateRef::of(&head.registry_link), missing: Vec::new() },
        None => lake.states.describe(&Registry::default())?,
    };
    prepare(lake, head.commit + 1, said, state, claim.standing.clone())
}

/// S3: creates a claim, and gives its chain.
pub(crate) async fn claim(lake: &Arc<Lake>, prepared: &Prepared) -> Result<Claimed, Fault> {
    match land(lake, prepared).await? {
        Committed::Fenced => Ok(Claimed::Taken),
        Committed::Done => {
            let mut chain = FilesChain {
                lake: Arc::clone(lake),
                connector: prepared.standing.source.kind.as_str().into(),
                claim: prepared.commit,
                confirmed: Confirmed::after(prepared, 0),
                hint_written: None,
                sweeper: Arc::new(FilesSweeper::new(Arc::clone(lake), prepared.commit)),
            };
            chain.hint().await;
            Ok(Claimed::Mine(Box::new(chain)))
        }
    }
}

#[async_trait]
impl Chain for FilesChain {
    fn claim(&self) -> u64 {
        self.claim
    }

    fn commit_number(&self) -> u64 {
        self.confirmed.commit
    }

    fn stager(&self) -> Arc<dyn Stager> {
        let (lake, connector) = (Arc::clone(&self.lake), Arc::clone(&self.connector));
        Arc::new(FilesStager { lake, connector, claim: self.claim })
    }

    fn prepare(&self, round: &Round) -> Result<Prepared, Fault> {
        self.check_round(round)?;
        let said = Said {
            kind: round.kind,
            claim: self.claim,
            round: round.number,
            previous: Some(PreviousJson { commit: self.confirmed.commit, sha256: self.confirmed.sha256.clone() }),
            transactions: round.transactions,
            files: round.files.iter().map(FileJson::from).collect(),
            removed: Arc::clone(&round.removed),
        };
        let standing = Standing {
            pipeline: self.lake.settings.pipeline.clone(),
            epoch: self.lake.settings.epoch,
            source: round.source.clone(),
            checkpoint: round.checkpoint.clone(),
            registry: Some(round.registry.clone()),
            snapshots: round.snapshots.clone(),
            written_at: Timestamp::default(),
        };
        let state = self.lake.states.describe(&round.registry)?;
        prepare(&self.lake, self.confirmed.commit + 1, said, state, standing)
    }

    async fn commit(&mut self, prepared: &Prepared) -> Result<Committed, Fault> {
        if prepared.commit != self.confirmed.commit + 1 {
            return Err(rule(format!("commit {} does not follow {}", prepared.commit, self.confirmed.commit)));
        }
        let committed = land(&self.lake, prepared).await?;
        if committed == Committed::Done {
            self.confirmed = Confirmed::after(prepared, round_of(prepared)?);
            self.sweeper.confirmed(prepared.commit);
            self.hint().await;
        }
        Ok(committed)
    }

    async fn superseded(&self) -> Result<bool, Fault> {
        let next = self.confirmed.commit + 1;
        if self.lake.store.size(&commit_path(next)).await?.is_none() {
            return Ok(false);
        }
        let writer = read_commit(&*self.lake.store, next).await?.commit.writer;
        Ok(writer.claim != self.claim || writer.instance != self.lake.settings.instance)
    }

    fn sweeper(&self) -> Arc<dyn Sweeper> {
        Arc::clone(&self.sweeper) as Arc<dyn Sweeper>
    }
}

impl FilesChain {
    /// What would break an invariant of the lake if it were committed.
    fn check_round(&self, round: &Round) -> Result<(), Fault> {
        let (before, own) = (self.confirmed.sequence, round.checkpoint.sequence);
        if round.kind == CommitKind::Claim || (round.kind == CommitKind::Heartbeat && !round.files.is_empty()) {
            return Err(rule(format!("a round of kind {} with {} files", round.kind.as_str(), round.files.len())));
        }
        if round.number <= self.confirmed.round {
            return Err(rule(format!("round {} comes after round {}", round.number, self.confirmed.round)));
        }
        if own < before {
            return Err(rule(format!("the sequence falls from {before} to {own}")));
        }
        for file in round.files.iter().filter(|file| file.snapshot.is_none()) {
            if file.first_sequence <= before || file.last_sequence > own {
                return Err(rule(format!("`{}` has sequences that are not of its commit", file.path)));
            }
        }
        Ok(())
    }

    /// Writes the hint, if the last one is old enough.
    async fn hint(&mut self) {
        let now = self.lake.clock.now();
        if self.hint_written.is_none_or(|last| now.0.abs_diff(last.0) >= HINT_INTERVAL.unsigned_abs()) {
            self.hint_written = Some(now);
            write_hint(&*self.lake.store, self.confirmed.commit).await;
        }
    }
}

impl Confirmed {
    fn after(prepared: &Prepared, round: u64) -> Self {
        Self {
            commit: prepared.commit,
            sha256: sha256_hex(&prepared.bytes),
            sequence: prepared.standing.checkpoint.sequence,
            round,
        }
    }
}

/// The round of a commit of ours. Nothing else of it is read: it may name the files of a long history.
fn round_of(prepared: &Prepared) -> Result<u64, Fault> {
    #[derive(Deserialize)]
    struct Written {
        writer: WriterJson,
    }
    let written: Written = serde_json::from_slice(&prepared.bytes)
        .map_err(|error| rule(format!("commit {} has no writer", prepared.commit)).because(error))?;
    Ok(written.writer.round)
}

/// Fixes the bytes of a commit. What stands in `standing` of pipeline, epoch and time is replaced by the writer's own.
fn prepare(lake: &Lake, number: u64, said: Said, state: StateFiles, standing: Standing) -> Result<Prepared, Fault> {
    let settings = &lake.settings;
    let standing = Standing {
        pipeline: settings.pipeline.clone(),
        epoch: settings.epoch,
        written_at: lake.clock.now(),
        ..standing
    };
    let json = CommitJson {
        format: FORMAT,
        commit: number,
        kind: said.kind.as_str().into(),
        pipeline: settings.pipeline.clone(),
        writer: WriterJson {
            claim: said.claim,
            round: said.round,
            instance: settings.instance.clone(),
            epoch: settings.epoch,
            version: settings.version.clone(),
        },
        previous: said.previous,
        written_at: standing.written_at,
        source: SourceJson { kind: standing.source.kind.clone(), identity: standing.source.identity.clone() },
        checkpoint: (&standing.checkpoint).into(),
        tables: state.reference,
        source_state: None,
        snapshots: standing.snapshots.iter().map(Into::into).collect(),
        transactions: said.transactions,
        files: said.files,
        removed: said.removed,
    };
    Ok(Prepared { commit: number, bytes: json.to_bytes()?.into(), state: state.missing, standing })
}

/// R4: creates a commit once and, refused or unanswered, reads what stands under its number.
async fn land(lake: &Lake, prepared: &Prepared) -> Result<Committed, Fault> {
    let store = &*lake.store;
    let path = commit_path(prepared.commit);
    lake.states.write(&lake.store, &prepared.state).await?;
    if prepared.commit > 1 {
        let before = commit_path(prepared.commit - 1);
        // Somebody deleted the lake, or put an older copy in its place: a chain with a hole is none, and nothing is released.
        if store.size(&before).await?.is_none() {
            return Err(damaged(&before, "this commit was there, and is not any more"));
        }
    }
    let unknown = match store.create(&path, Arc::clone(&prepared.bytes)).await {
        Ok(Created::Created) => return Ok(Committed::Done),
        Ok(Created::Exists) => Cause::NotLanded { commit: prepared.commit }.into(),
        Err(fault) => fault,
    };
    match store.read(&path).await? {
        Some(bytes) if *bytes == *prepared.bytes => {
            // It stands, but a lost answer says nothing about its being durable.
            store.confirm(&path).await?;
            Ok(Committed::Done)
        }
        Some(_) => Ok(Committed::Fenced),
        None => Err(unknown),
    }
}
