//! The engine's lifecycle: the one door from the engine to the log, and to whoever watches it.
//!
//! Each line carries an event `code` of `docs/reference/cli.md`. Tables and positions yes, cell values never. An observer
//! is told the same as [`Event`]s, and some that are too many for a log. An engine is one task, so its observer travels
//! with the task: two pipelines of one process never mix.

use std::sync::Arc;
use std::time::Duration;

use millrace_model::{Fault, LogWaiting, Position, Round, SnapshotProgress, TableName, Timestamp};
use tracing::{error, info, warn};

/// Is told what an engine does, as it does it. Called on the engine's task: it must be quick and must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);
}

/// What an engine tells its observer.
#[derive(Debug)]
pub enum Event<'a> {
    /// The chain is claimed, at this commit.
    Claimed {
        /// Its number.
        commit: u64,
        /// Up to where the lake is.
        position: Option<&'a str>,
    },
    /// The log is open.
    Streaming,
    /// The first transaction of a round was read.
    Filling {
        /// When it was committed in the source.
        since: Timestamp,
    },
    /// The round is handed over for its commit.
    Closed,
    /// A round is committed.
    Committed {
        /// Number of the commit.
        commit: u64,
        /// What it says.
        round: &'a Round,
        /// When each of its transactions committed in the source.
        commits: &'a [Timestamp],
        /// From the end of the round to the answer.
        took: Duration,
    },
    /// The snapshot of a table begins, or goes on.
    SnapshotStarted {
        /// Whose.
        table: &'a TableName,
        /// Committed so far.
        rows_done: u64,
        /// About so many in all.
        rows_estimate: u64,
    },
    /// Rows of a chunk were read; they count when the chunk is committed.
    SnapshotRead {
        /// Whose.
        table: &'a TableName,
        /// How many.
        rows: u64,
    },
    /// A chunk is committed.
    ChunkCommitted(&'a ChunkProgress),
    /// A table's snapshot starts again: the table was rewritten.
    SnapshotAgain {
        /// Whose.
        table: &'a TableName,
    },
    /// So much of transactions without an end waits on disk now.
    Spilled {
        /// Bytes of its files.
        bytes: u64,
    },
    /// So much of the source's log waits now.
    Waiting(LogWaiting),
    /// Tables leave the pipeline.
    Leaving {
        /// Which.
        tables: &'a [TableName],
    },
    /// Nobody said no: the engine waits and tries again.
    Retrying {
        /// What it was doing.
        stage: &'static str,
    },
    /// It was asked to stop.
    Stopping,
}

tokio::task_local! {
    static OBSERVER: Arc<dyn Observer>;
}

/// Runs an engine (`Engine::run`) under the eyes of `observer`.
pub async fn observed<F: Future>(observer: Arc<dyn Observer>, engine: F) -> F::Output {
    OBSERVER.scope(observer, engine).await
}

fn tell(event: &Event<'_>) {
    // Without an observer nobody is told, and that is all.
    let _unobserved = OBSERVER.try_with(|observer| observer.observe(event));
}

/// A round has its first transaction.
pub(crate) fn filling(since: Timestamp) {
    tell(&Event::Filling { since });
}

/// A round is on its way to its commit.
pub(crate) fn closed() {
    tell(&Event::Closed);
}

/// Rows of a chunk were read.
pub(crate) fn snapshot_read(table: &TableName, rows: u64) {
    tell(&Event::SnapshotRead { table, rows });
}

pub(crate) fn started(pipeline: &str) {
    info!(code = "started", pipeline, "pipeline started");
}

pub(crate) fn claimed(commit: u64, position: Option<&str>, sequence: u64) {
    info!(code = "claimed", commit, position = position.unwrap_or("none"), sequence, "claimed the chain");
    tell(&Event::Claimed { commit, position });
}

pub(crate) fn streaming(position: &str) {
    info!(code = "streaming", position, "streaming");
    tell(&Event::Streaming);
}

pub(crate) fn committed(commit: u64, round: &Round, commits: &[Timestamp], took: Duration) {
    let rows: u64 = round.files.iter().map(|file| file.rows).sum();
    let bytes: u64 = round.files.iter().map(|file| file.bytes).sum();
    info!(
        code = "committed",
        commit,
        kind = round.kind.as_str(),
        rows,
        files = round.files.len(),
        bytes,
        transactions = round.transactions,
        sequence = round.checkpoint.sequence.0,
        position = round.checkpoint.position.as_ref().map_or("none", Position::as_str),
        took_ms = took.as_millis() as u64,
        "committed"
    );
    tell(&Event::Committed { commit, round, commits, took });
}

/// How far a table's snapshot has come with a committed chunk.
#[derive(Debug)]
pub struct ChunkProgress {
    /// Whose.
    pub table: String,
    /// Rows of the chunk.
    pub rows: u64,
    /// Rows of all chunks that are committed.
    pub rows_done: u64,
    /// About so many in all.
    pub rows_estimate: u64,
    /// Done before this process began with it.
    pub rows_before: u64,
    /// Since this process began with it.
    pub took: Duration,
    /// It was the last chunk.
    pub finished: bool,
}

impl ChunkProgress {
    fn rate(&self) -> f64 {
        (self.rows_done - self.rows_before) as f64 / self.took.as_secs_f64().max(0.001)
    }

    fn seconds_left(&self) -> u64 {
        ((self.rows_estimate - self.rows_done) as f64 / self.rate().max(0.001)) as u64
    }
}

pub(crate) fn snapshot_started(progress: &SnapshotProgress, rows_estimate: u64) {
    info!(
        code = "snapshot_started",
        table = %progress.table,
        id = progress.id,
        position = progress.position.as_str(),
        sequence = progress.sequence.0,
        resumed = !progress.done.is_empty(),
        rows_estimate,
        "snapshot started"
    );
    tell(&Event::SnapshotStarted { table: &progress.table, rows_done: progress.rows, rows_estimate });
}

pub(crate) fn chunk_committed(chunk: &ChunkProgress) {
    info!(
        code = "chunk_committed",
        table = chunk.table,
        rows = chunk.rows,
        rows_done = chunk.rows_done,
        rows_estimate = chunk.rows_estimate,
        rows_per_second = chunk.rate() as u64,
        seconds_left = chunk.seconds_left(),
        "snapshot chunk committed"
    );
    if chunk.finished {
        info!(code = "snapshot_finished", table = chunk.table, rows = chunk.rows_done, "snapshot finished");
    }
    tell(&Event::ChunkCommitted(chunk));
}

pub(crate) fn spilling() {
    info!(code = "spilling", "a transaction is larger than memory has room for; its rows wait on disk until it ends");
}

/// More or less of transactions without an end waits on disk.
pub(crate) fn spilled(bytes: u64) {
    tell(&Event::Spilled { bytes });
}

/// How much of the log waits.
pub(crate) fn waiting(waiting: LogWaiting) {
    tell(&Event::Waiting(waiting));
}

pub(crate) fn starts_again(table: &TableName) {
    warn!(code = "retrying", stage = "snapshot", table = %table, "the table was rewritten while it was read; it starts again");
    tell(&Event::SnapshotAgain { table });
}

pub(crate) fn joins(tables: &[TableName]) {
    info!(code = "joining", tables = ?names(tables), "tables join the pipeline");
}

/// As a list of texts, which the log writes as a list.
fn names(tables: &[TableName]) -> Vec<String> {
    tables.iter().map(ToString::to_string).collect()
}

pub(crate) fn leaves(tables: &[TableName]) {
    info!(code = "leaving", tables = ?names(tables), "tables leave the pipeline; their files stay in the lake");
    tell(&Event::Leaving { tables });
}

pub(crate) fn retrying(stage: &'static str, fault: &Fault, pause: Duration) {
    let (wait_ms, cure) = (pause.as_millis() as u64, &fault.cure);
    warn!(code = "retrying", stage, fault = fault.code, wait_ms, cure, "{fault}");
    tell(&Event::Retrying { stage });
}

pub(crate) fn waiting_for_slot(holder: &str) {
    warn!(code = "retrying", stage = "take", holder, "another process has the slot; waiting until it is free");
    tell(&Event::Retrying { stage: "take" });
}

pub(crate) fn fault(fault: &Fault) {
    error!(code = "fault", fault = fault.code, cure = fault.cure, "{fault}");
}

pub(crate) fn stopping() {
    info!(code = "stopping", "stopping: committing what is whole");
    tell(&Event::Stopping);
}

pub(crate) fn left_at_deadline(deadline: Duration) {
    warn!(
        code = "stopping",
        deadline_ms = deadline.as_millis() as u64,
        "left at the deadline; what was not committed will be read again"
    );
}

pub(crate) fn stopped(pipeline: &str) {
    info!(code = "stopped", pipeline, "stopped");
}

pub(crate) fn swept(files: u64) {
    if files > 0 {
        info!(code = "swept", files, "deleted leftovers of earlier writers");
    }
}

pub(crate) fn sweep_failed(fault: &Fault) {
    warn!(code = "retrying", stage = "sweep", fault = fault.code, cure = fault.cure, "{fault}");
}
