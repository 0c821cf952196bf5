//! The engine's lifecycle lines: the one door from the engine to the log.
//!
//! Each line carries an event `code` of `docs/reference/cli.md`. Tables and positions yes, cell values never.

use std::time::Duration;

use millrace_model::{Fault, Round};
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
