//! A commit as it stands in the lake: field names and their order are the contract of `docs/specs/file-lake.md`.
//!
//! Readers ignore fields that they do not know; nobody reads a newer `format`, because a writer that did would go on from
//! something that it has not understood.

use std::sync::Arc;

use millrace_model::{
    Checkpoint, Fault, OpCounts, Position, Sequence, SnapshotProgress, StagedFile, TableName, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::fault::{Cause, damaged};
use crate::names::{commit_path, state_path};

/// The `format` that this version writes.
pub(crate) const FORMAT: u32 = 1;

/// One commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitJson {
    /// Rises when an old reader would misread a new commit.
    pub format: u32,
    /// Its number.
    pub commit: u64,
    /// `claim`, `changes` or `heartbeat`.
    pub kind: String,
    /// Whose chain it is.
    pub pipeline: String,
    /// Who wrote it.
    pub writer: WriterJson,
    /// The commit before; null in commit 1.
    pub previous: Option<PreviousJson>,
    /// By the writer's clock.
    #[serde(with = "time")]
    pub written_at: Timestamp,
    /// The log it was read from.
    pub source: SourceJson,
    /// Up to where.
    pub checkpoint: CheckpointJson,
    /// The registry's state file.
    pub tables: StateRef,
    /// The source's own state file.
    pub source_state: Option<StateRef>,
    /// Snapshots under way.
    pub snapshots: Vec<SnapshotJson>,
    /// Source transactions with changes in it.
    pub transactions: u64,
    /// Its files.
    pub files: Vec<FileJson>,
    /// Files of earlier commits that leave the lake.
    #[serde(with = "shared")]
    pub removed: Arc<[String]>,
}

/// Who wrote a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterJson {
    /// The number of its claim.
    pub claim: u64,
    /// 0 for the claim itself.
    pub round: u64,
    /// Made anew by each process.
    pub instance: String,
    /// From the hub; null without one.
    pub epoch: Option<u64>,
    /// Of the build.
    pub version: String,
}

/// The commit before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousJson {
    /// Its number.
    pub commit: u64,
    /// Of its bytes.
    pub sha256: String,
}

/// The log that a chain was written from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceJson {
    /// `postgres` …
    #[serde(rename = "type")]
    pub kind: String,
    /// Only the source compares it.
    pub identity: String,
}

/// Up to where the lake holds everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointJson {
    /// Null until it is known.
    pub position: Option<String>,
    /// Of the last change at or before it.
    pub sequence: u64,
}

/// A file named by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRef {
    /// Where it lies.
    pub path: String,
    /// Of its bytes.
    pub sha256: String,
}

impl StateRef {
    /// The state file whose bytes have this hash.
    pub(crate) fn of(sha256: &str) -> Self {
        Self { path: state_path(sha256), sha256: sha256.to_owned() }
    }
}

/// A snapshot under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotJson {
    /// A number, as text.
    #[serde(with = "text")]
    pub id: u64,
    /// Of which table.
    pub table: String,
    /// What its current part shows.
    pub position: String,
    /// The anchor of its current part.
    pub sequence: u64,
    /// The source's own.
    pub relation: String,
    /// A change forbids going on under a new database snapshot.
    pub moved: bool,
    /// The source's own.
    pub split: String,
    /// The source's own.
    pub done: Vec<(String, String)>,
    /// Committed so far.
    pub rows: u64,
    /// Whether every chunk is committed.
    pub finished: bool,
}

/// A data file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileJson {
    /// Relative to the root.
    pub path: String,
    /// Whose rows.
    pub table: String,
    /// Of the registry.
    pub schema_version: u32,
    /// How many.
    pub rows: u64,
    /// By op.
    pub ops: OpsJson,
    /// Its size.
    pub bytes: u64,
    /// Of its bytes.
    pub sha256: String,
    /// Of its first row.
    pub first_sequence: u64,
    /// Of its last row.
    pub last_sequence: u64,
    /// Earliest; null for snapshot rows.
    #[serde(with = "time_or_null")]
    pub first_commit_ts: Option<Timestamp>,
    /// Latest; null for snapshot rows.
    #[serde(with = "time_or_null")]
    pub last_commit_ts: Option<Timestamp>,
    /// The id of the snapshot that its rows come from.
    #[serde(with = "text_or_null")]
    pub snapshot: Option<u64>,
}

/// Rows by op; an op without rows is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpsJson {
    /// created
    #[serde(skip_serializing_if = "is_zero")]
    pub c: u64,
    /// updated
    #[serde(skip_serializing_if = "is_zero")]
    pub u: u64,
    /// deleted
    #[serde(skip_serializing_if = "is_zero")]
    pub d: u64,
    /// truncated
    #[serde(skip_serializing_if = "is_zero")]
    pub t: u64,
    /// read by a snapshot
    #[serde(skip_serializing_if = "is_zero")]
    pub r: u64,
}

impl CommitJson {
    /// Reads commit `number` from its bytes.
    pub fn parse(number: u64, bytes: &[u8]) -> Result<Self, Fault> {
        let path = commit_path(number);
        check_format(&path, bytes)?;
        let commit: Self = serde_json::from_slice(bytes).map_err(|e| damaged(&path, e.to_string()))?;
        if commit.commit != number {
            return Err(damaged(&path, format!("it says that it is commit {}", commit.commit)));
        }
        Ok(commit)
    }

    /// The bytes that are stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(self).map_err(|e| crate::fault::rule("a commit has no JSON").because(e))
    }
}

/// Refuses a `format` that this version does not know, before anything else is read.
fn check_format(path: &str, bytes: &[u8]) -> Result<(), Fault> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = serde_json::from_slice(bytes).map_err(|e| damaged(path, e.to_string()))?;
    if format > FORMAT {
        return Err(Cause::Newer { path: path.into(), what: format!("format {format}") }.into());
    }
    Ok(())
}

impl From<&Checkpoint> for CheckpointJson {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            position: checkpoint.position.as_ref().map(|position| position.as_str().to_owned()),
            sequence: checkpoint.sequence.0,
        }
    }
}

impl From<&CheckpointJson> for Checkpoint {
    fn from(json: &CheckpointJson) -> Self {
        Self { position: json.position.as_deref().map(Position::new), sequence: Sequence(json.sequence) }
    }
}

impl From<&SnapshotProgress> for SnapshotJson {
    fn from(progress: &SnapshotProgress) -> Self {
        Self {
            id: progress.id,
            table: progress.table.to_string(),
            position: progress.position.as_str().to_owned(),
            sequence: progress.sequence.0,
            relation: progress.relation.clone(),
            moved: progress.moved,
            split: progress.split.clone(),
            done: progress.done.clone(),
            rows: progress.rows,
            finished: progress.finished,
        }
    }
}

impl From<&SnapshotJson> for SnapshotProgress {
    fn from(json: &SnapshotJson) -> Self {
        Self {
            id: json.id,
            table: TableName::parse(&json.table),
            position: Position::new(json.position.as_str()),
            sequence: Sequence(json.sequence),
            relation: json.relation.clone(),
            moved: json.moved,
            split: json.split.clone(),
            done: json.done.clone(),
            rows: json.rows,
            finished: json.finished,
        }
    }
}

impl From<&StagedFile> for FileJson {
    fn from(file: &StagedFile) -> Self {
        Self {
            path: file.path.clone(),
            table: file.table.to_string(),
            schema_version: file.schema_version,
            rows: file.rows,
            ops: file.ops.into(),
            bytes: file.bytes,
            sha256: file.sha256.clone(),
            first_sequence: file.first_sequence.0,
            last_sequence: file.last_sequence.0,
            first_commit_ts: file.first_commit,
            last_commit_ts: file.last_commit,
            snapshot: file.snapshot,
        }
    }
}

impl From<OpCounts> for OpsJson {
    fn from(ops: OpCounts) -> Self {
        Self { c: ops.create, u: ops.update, d: ops.delete, t: ops.truncate, r: ops.read }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Times as RFC 3339.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
mod time {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Timestamp;

    pub(super) fn serialize<S: Serializer>(moment: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(moment)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        Timestamp::parse(&text).ok_or_else(|| de::Error::custom("a time is not RFC 3339 with Z"))
    }
}

/// Times as RFC 3339, or null.
#[expect(clippy::ref_option, reason = "serde passes references")]
mod time_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::Timestamp;

    pub(super) fn serialize<S: Serializer>(moment: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        moment.map(|moment| moment.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        Timestamp::parse(&text).map(Some).ok_or_else(|| de::Error::custom("a time is not RFC 3339 with Z"))
    }
}

/// A list that may be a long one, and of which there is only one.
pub(crate) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(list: &Arc<[String]>, to: S) -> Result<S::Ok, S::Error> {
        list.as_ref().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[String]>, D::Error> {
        Vec::deserialize(from).map(Arc::from)
    }
}

/// A number as text.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(crate) mod text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// A number as text, or null.
#[expect(clippy::ref_option, reason = "serde passes references")]
mod text_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(super) fn serialize<S: Serializer>(number: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
        number.map(|number| number.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        text.parse().map(Some).map_err(de::Error::custom)
    }
}
