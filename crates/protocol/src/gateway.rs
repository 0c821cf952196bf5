//! What hub and agent say to each other: JSON over HTTPS, the agent asks, the hub answers. `docs/specs/agent-protocol.md`
//! is the contract in words.
//!
//! The hub's wish and the agent's state are apart: an answer carries what is wanted, a request what is. Unknown members are
//! ignored on both sides, so that hub N serves agents of N−1 and the other way round.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of these messages; a session of another one is refused.
pub const PROTOCOL: u32 = 1;

/// `POST /agent/v1/session`: once per process, and again whenever the hub no longer knows the session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The process, made anew by each.
    pub instance: String,
    /// Version of the agent.
    pub agent_version: String,
    /// Where it runs.
    #[serde(default)]
    pub platform: Platform,
    /// What it runs at this moment, from its cache: it started while the hub was away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldPipeline>,
    /// What the last process ran, as it was kept; this one waits for the hub's word before it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<HeldPipeline>,
}

/// Where an agent runs; whatever it can find out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Platform {
    /// `linux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// `x86_64`, `aarch64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Name of the host or the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Answer to [`Hello`]: the lease is granted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// Names the session in every later call.
    pub session_id: String,
    /// Seconds after which the lease ends unless it is renewed by a sync.
    pub lease_seconds: u64,
    /// The hub's clock, RFC 3339.
    pub hub_time: String,
    /// Version of the hub.
    pub hub_version: String,
}

/// Why the hub refuses a session for now or for good; member `code` of the problem.
pub mod refusal {
    /// 409: another process has the agent's lease. `retryAfter` seconds stand beside it.
    pub const DUPLICATE_INSTANCE: &str = "duplicate_instance";
    /// 410: the agent was removed.
    pub const AGENT_REMOVED: &str = "agent_removed";
    /// 409: the session is not known (any more): say hello again.
    pub const UNKNOWN_SESSION: &str = "unknown_session";
    /// 426: the protocol is not spoken here.
    pub const PROTOCOL: &str = "protocol_not_spoken";
}

/// `POST /agent/v1/sync`: sign of life, report and question in one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// Of the [`Welcome`].
    pub session_id: String,
    /// One more than the last one that was answered.
    pub sequence: u64,
    /// How long the answer may wait for news; the hub may cut it short. 0: answer at once.
    #[serde(default)]
    pub wait_ms: u64,
    /// The agent's clock when it sent this, RFC 3339.
    pub sent_at: String,
    /// What it was told last, and has taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldPipeline>,
    /// What it does; absent: as in the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// What happened and was not acknowledged yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<AgentEvent>,
    /// Commands that are done and were not acknowledged yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<CommandResult>,
    /// Commands that it has taken and whose results were not acknowledged yet: they are no news.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<String>,
    /// What is not as it should be beside the pipeline; absent: as in the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// What the process takes of its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessFigures>,
}

/// What an agent's process takes of its machine, as far as it can find out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessFigures {
    /// When it started, RFC 3339: its counters began at nothing then.
    pub since: String,
    /// Resident memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time so far, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milliseconds: Option<u64>,
}

/// A pipeline as the agent was told to run it, or not to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldPipeline {
    /// Which.
    pub pipeline_id: String,
    /// Which revision of it.
    pub revision: u64,
    /// The epoch under which it was given.
    pub epoch: u64,
    /// Whether it is to run.
    pub wanted: Wanted,
    /// Rises with each START and STOP: a START after a failure is another one.
    pub wish: u64,
    /// Of the definition: a hub that was set back gives a number of a revision a second time. The hub makes it, the agent
    /// gives it back as it is; absent where one of the two is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl HeldPipeline {
    /// Whether both are the same definition of the same pipeline, whatever is wanted of it.
    pub fn is_definition_of(&self, other: &Self) -> bool {
        (&self.pipeline_id, self.revision, &self.digest) == (&other.pipeline_id, other.revision, &other.digest)
    }
}

/// What the user wants of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wanted {
    /// It runs.
    Running,
    /// It does not.
    Stopped,
}

/// What an agent does, as of one moment. Never a value of a row, never a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Of which pipeline.
    pub pipeline_id: String,
    /// `STARTING SNAPSHOTTING STREAMING STOPPING NOT_RUNNING`.
    pub status: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why, where the status does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The revision that runs, or ran last.
    pub revision: u64,
    /// The wish that it answers.
    pub wish: u64,
    /// The revision that was refused, and why; the one before goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedRevision>,
    /// The highest epoch that the chain or a commit of it has shown.
    #[serde(default)]
    pub epoch: u64,
    /// Up to where the lake is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<ReportedCheckpoint>,
    /// When the counters of `figures` and `tables` began at nothing, RFC 3339: with each run of the pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_since: Option<String>,
    /// Figures, by their names in `docs/reference/cli.md` without `millrace_`.
    #[serde(default)]
    pub figures: serde_json::Map<String, Value>,
    /// Each table.
    #[serde(default)]
    pub tables: Vec<ReportedTable>,
}

/// A checkpoint of the lake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedCheckpoint {
    /// Number of the commit.
    pub commit: u64,
    /// Opaque.
    pub position: String,
    /// Of the last change.
    pub sequence: u64,
    /// When it was committed, RFC 3339.
    pub at: String,
}

/// A table of the running pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedTable {
    /// `schema.table`.
    pub table: String,
    /// `none pending running finished`.
    pub snapshot: String,
    /// Rows of the snapshot that are committed.
    #[serde(default)]
    pub snapshot_rows: u64,
    /// About so many in all.
    #[serde(default)]
    pub snapshot_rows_estimate: u64,
    /// Rows written since `countedSince`.
    #[serde(default)]
    pub rows: u64,
    /// Bytes of the files that were written since then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Changes since then, by kind.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inserts: u64,
    /// The same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub updates: u64,
    /// The same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deletes: u64,
    /// The same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncates: u64,
}

/// A table that nothing happened to takes no room.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the serializer passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why something is as it is: a code, and for people a sentence and a cure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// `waiting_for_agent`, `retrying`, `failed`, … or the code of a fault.
    pub code: String,
    /// What is the case.
    pub message: String,
    /// What to do; empty where there is nothing to do but wait.
    #[serde(default)]
    pub cure: String,
    /// Code of the fault beneath, with a page in `docs/errors/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A revision that the agent could not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedRevision {
    /// Which.
    pub revision: u64,
    /// Why.
    pub reason: Reason,
}

/// Something beside the pipeline that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `clock_skew`, `settings_refused`, …
    pub kind: String,
    /// What is the case.
    pub message: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent {
    /// UUID; the hub stores each once.
    pub id: String,
    /// When, RFC 3339.
    pub at: String,
    /// Of which pipeline, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_id: Option<String>,
    /// `info warning error`.
    pub severity: String,
    /// Event code of `docs/reference/cli.md`.
    pub code: String,
    /// In plain words, without values of rows.
    pub message: String,
    /// What to do; mostly empty.
    #[serde(default)]
    pub cure: String,
    /// Typed members.
    #[serde(default)]
    pub fields: serde_json::Map<String, Value>,
}

/// Answer to [`Sync`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    /// The hub's clock, RFC 3339.
    pub hub_time: String,
    /// How long the answer was held back.
    pub held_ms: u64,
    /// Seconds from now to the end of the lease.
    pub lease_seconds: u64,
    /// Take it back as [`Sync::sequence`] plus one.
    pub sequence: u64,
    /// These events are stored.
    #[serde(default)]
    pub acknowledged_events: Vec<String>,
    /// The results of these commands are stored.
    #[serde(default)]
    pub acknowledged_commands: Vec<String>,
    /// Say everything the next time: something is missing here.
    #[serde(default)]
    pub report_in_full: bool,
    /// What is wanted, where it is not what the agent holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Desired>,
    /// To be done once each.
    #[serde(default)]
    pub commands: Vec<Command>,
}

/// What is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// The pipeline; absent: none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<DesiredPipeline>,
}

/// The pipeline as it is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredPipeline {
    /// Which, which revision, under which epoch, running or not.
    #[serde(flatten)]
    pub held: HeldPipeline,
    /// Default slot and publication are named after this, however often the pipeline is renamed.
    pub default_name: String,
    /// Its target was moved to another root, and no report has shown a commit there yet: before it runs, a new lake is
    /// begun, with a new slot and new snapshots.
    #[serde(default)]
    pub new_lake: bool,
    /// Body of the REST API's pipeline.
    pub spec: Value,
}

/// Something to do once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// UUID.
    pub id: String,
    /// `check`, `discover`, `restart`, `cleanup`.
    pub kind: String,
    /// What the kind needs.
    #[serde(default)]
    pub arguments: Value,
    /// The pipeline that it is about, also one that is stopped or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<DesiredPipeline>,
    /// After so many seconds nobody waits for it any more.
    pub expires_in_seconds: u64,
}

/// How a command ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandResult {
    /// Of the command.
    pub id: String,
    /// Whether it was done.
    pub done: bool,
    /// What it found; for one that failed a [`Reason`].
    #[serde(default)]
    pub result: Value,
}

/// `POST /agent/v1/goodbye`: the process ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Goodbye {
    /// Of the [`Welcome`].
    pub session_id: String,
    /// `stopped`, `fenced`, `fault`, …
    pub reason: String,
}
