//! The engine's lifecycle lines: the one door from the engine to the log.
//!
//! Each line carries an event `code` of `docs/reference/cli.md`. Tables and positions yes, cell values never.

use std::time::Duration;

use millrace_model::{Fault, Round, SnapshotProgress, TableName};
use tracing::{error, info, warn};

pub(crate) fn started(pipeline: &str) {
    info!(code = "started", pipeline, "pipeline started");
}

pub(crate) fn claimed(commit: u64, position: Option<&str>, sequence: u64) {
    info!(code = "claimed", commit, position = position.unwrap_or("none"), sequence, "claimed the chain");
}

pub(crate) fn streaming(position: &str) {
    info!(code = "streaming", position, "streaming");
}

pub(crate) fn committed(commit: u64, round: &Round, took: Duration) {
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
        position = round.checkpoint.position.as_ref().map_or("none", |position| position.as_str()),
        took_ms = took.as_millis() as u64,
        "committed"
    );
}

/// How far a table's snapshot has come with a committed chunk.
#[derive(Debug)]
pub(crate) struct ChunkProgress {
    pub table: String,
    pub rows: u64,
    pub rows_done: u64,
    pub rows_estimate: u64,
    /// Done before this process began with it.
    pub rows_before: u64,
    pub took: Duration,
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

pub(crate) fn snapshot_started(progress: &SnapshotProgress) {
    info!(
        code = "snapshot_started",
        table = %progress.table,
        id = progress.id,
        position = progress.position.as_str(),
        sequence = progress.sequence.0,
        resumed = !progress.done.is_empty(),
        "snapshot started"
    );
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
}

pub(crate) fn spilling() {
    info!(code = "spilling", "a transaction is larger than memory has room for; its rows wait on disk until it ends");
}

pub(crate) fn starts_again(table: &TableName) {
    warn!(code = "retrying", stage = "snapshot", table = %table, "the table was rewritten while it was read; it starts again");
}

pub(crate) fn joins(tables: &[TableName]) {
    info!(code = "joining", tables = ?tables, "tables join the pipeline");
}

pub(crate) fn leaves(tables: &[TableName]) {
    info!(code = "leaving", tables = ?tables, "tables leave the pipeline; their files stay in the lake");
}

pub(crate) fn retrying(stage: &'static str, fault: &Fault, pause: Duration) {
    warn!(code = "retrying", stage, fault = fault.code, wait_ms = pause.as_millis() as u64, "{fault}");
}

pub(crate) fn waiting_for_slot(holder: &str) {
    warn!(code = "retrying", stage = "take", holder, "another process has the slot; waiting until it is free");
}

pub(crate) fn fault(fault: &Fault) {
    error!(code = "fault", fault = fault.code, cure = fault.cure, "{fault}");
}

pub(crate) fn stopping() {
    info!(code = "stopping", "stopping: committing what is whole");
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
    warn!(code = "retrying", stage = "sweep", fault = fault.code, "{fault}");
}
