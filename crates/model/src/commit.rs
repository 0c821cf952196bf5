//! What is committed: rounds, the files they name, and the head of the chain as a start finds it.

use std::sync::Arc;

use crate::batch::Batch;
use crate::position::{Checkpoint, Sequence};
use crate::registry::Registry;
use crate::schema::{Op, TableName};
use crate::snapshot::SnapshotProgress;
use crate::time::Timestamp;

/// What a commit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitKind {
    /// A writer takes over the chain.
    Claim,
    /// A round with files.
    Changes,
    /// A commit without files that moves the checkpoint.
    Heartbeat,
}

impl CommitKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Changes => "changes",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// Which log a chain was written from; only the source compares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceIdentity {
    /// `postgres`, `mysql` …
    pub kind: String,
    /// Opaque outside the source.
    pub identity: String,
}

/// What the newest commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Name (under a hub: id) of the pipeline that owns the chain.
    pub pipeline: String,
    /// The pipeline's epoch at that commit; null without a hub.
    pub epoch: Option<u64>,
    /// Where it was read from.
    pub source: SourceIdentity,
    /// Up to where it is in the lake.
    pub checkpoint: Checkpoint,
    /// The tables; `None` where they were not read (`Target::head`) or are those of the commit before (a claim).
    pub registry: Option<Registry>,
    /// Snapshots under way.
    pub snapshots: Vec<SnapshotProgress>,
    /// When it was written, by the writer's clock.
    pub written_at: Timestamp,
}

/// The newest commit of a chain; commit 0 and no standing where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub commit: u64,
    /// What it says.
    pub standing: Option<Standing>,
    /// The target's own link to it (for files: the hash of its bytes).
    pub link: String,
    /// The target's own link to its tables.
    pub registry_link: String,
}

/// Number of rows by op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpCounts {
    /// `c`
    pub create: u64,
    /// `u`
    pub update: u64,
    /// `d`
    pub delete: u64,
    /// `t`
    pub truncate: u64,
    /// `r`
    pub read: u64,
}

impl OpCounts {
    /// Counts one row.
    pub fn count(&mut self, op: Op) {
        match op {
            Op::Create => self.create += 1,
            Op::Update => self.update += 1,
            Op::Delete => self.delete += 1,
            Op::Truncate => self.truncate += 1,
            Op::Read => self.read += 1,
        }
    }

    /// Counts the rows of a batch.
    pub fn add(&mut self, batch: &Batch) {
        for &op in &batch.ops {
            self.count(op);
        }
    }
}

/// A durable file that waits for the commit that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedFile {
    /// Relative to the root.
    pub path: String,
    /// Whose rows.
    pub table: TableName,
    /// Under which version of its schema.
    pub schema_version: u32,
    /// How many.
    pub rows: u64,
    /// Of which op.
    pub ops: OpCounts,
    /// Size.
    pub bytes: u64,
    /// Of its bytes, lower-case hex.
    pub sha256: String,
    /// Of its first row.
    pub first_sequence: Sequence,
    /// Of its last row.
    pub last_sequence: Sequence,
    /// Earliest commit time among its rows; null for snapshot rows.
    pub first_commit: Option<Timestamp>,
    /// Latest commit time among its rows; null for snapshot rows.
    pub last_commit: Option<Timestamp>,
    /// The snapshot its rows come from.
    pub snapshot: Option<u64>,
}

/// What one commit will say beyond the chain itself.
#[derive(Clone, Debug)]
pub struct Round {
    /// Rising from 1 under one claim; a round that was given up leaves a gap.
    pub number: u64,
    /// Changes or heartbeat; a claim is not a round.
    pub kind: CommitKind,
    /// Up to where.
    pub checkpoint: Checkpoint,
    /// Where it was read from.
    pub source: SourceIdentity,
    /// The tables.
    pub registry: Registry,
    /// Snapshots under way.
    pub snapshots: Vec<SnapshotProgress>,
    /// Source transactions with changes in it.
    pub transactions: u64,
    /// Its files, durable already.
    pub files: Vec<StagedFile>,
    /// Paths of files of earlier commits that leave the lake.
    pub removed: Arc<[String]>,
}
