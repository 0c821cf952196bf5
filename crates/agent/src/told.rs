//! What one run tells the hub: events as they happen, and a report whenever it is asked for one.
//!
//! Codes, names of tables and numbers only. The words of a database's own error stay in the agent's log: they may quote a
//! value.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millrace_engine::{Event, Observer};
use millrace_model::{Fault, Finding, Refusal, Remedy, Timestamp};
use millrace_protocol::gateway::{AgentEvent, HeldPipeline, Reason, Report, ReportedCheckpoint, ReportedTable};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::clock::SystemClock;
use crate::meter::{Meter, Phase, Reading};
use crate::outbox::{Outbox, new_event};

/// A stage that is tried again and again is told this often.
const SAY_AGAIN: Duration = Duration::from_mins(1);
/// So many tables are named in a report: it stays below the hub's limit.
const TABLES: usize = 2_000;

/// Codes whose message ends with the words of the server, and its SQLSTATE in brackets.
const QUOTING: [&str; 5] = ["PG-002", "PG-003", "PG-005", "PG-029", "PG-035"];
/// Code of a chain that belongs to another source: reading that one anew takes more than a restart.
const OTHER_SOURCE: &str = "EN-002";

/// The observer of one run.
pub(crate) struct Witness {
    pub(crate) meter: Arc<Meter>,
    pub(crate) held: HeldPipeline,
    /// The status that was told last, and since when.
    since: Mutex<(&'static str, Timestamp)>,
    /// The first snapshots of all tables were finished once: what joins later is read beside the stream.
    whole: AtomicBool,
    /// It has streamed: this definition works.
    streamed: AtomicBool,
    /// Rings when that becomes so.
    works: Arc<Notify>,
    outbox: Arc<Outbox>,
    said: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Witness {
    pub(crate) fn new(
        meter: Arc<Meter>,
        held: HeldPipeline,
        (outbox, works): (Arc<Outbox>, Arc<Notify>),
        whole: bool,
    ) -> Self {
        let since = Mutex::new(("STARTING", SystemClock::time()));
        let (whole, streamed) = (AtomicBool::new(whole), AtomicBool::new(false));
        Self { meter, held, since, whole, streamed, works, outbox, said: Mutex::default() }
    }

    /// Whether it has streamed.
    pub(crate) fn has_streamed(&self) -> bool {
        self.streamed.load(Ordering::Relaxed)
    }

    /// Whether the first snapshots of all tables were finished once.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    fn say(&self, severity: &str, code: &str, message: String, fields: Value) {
        let mut event = new_event(SystemClock::time(), severity, code);
        event.message = message;
        event.pipeline_id = Some(self.held.pipeline_id.clone());
        event.fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
        self.outbox.event(event);
    }

    /// Whether it is time to say again that a stage is tried again.
    fn is_worth_saying(&self, stage: &'static str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if said.get(stage).is_some_and(|last| now.duration_since(*last) < SAY_AGAIN) {
            return false;
        }
        said.insert(stage, now);
        true
    }

    /// The status of a reading.
    fn word(&self, reading: &Reading) -> &'static str {
        let begins =
            !self.is_whole() && self.meter.snapshots() && (reading.tables_remaining > 0 || !reading.tables_known);
        match reading.phase() {
            Phase::Starting => "STARTING",
            Phase::Retrying if reading.commit == 0 => "STARTING",
            Phase::Stopping => "STOPPING",
            Phase::Snapshotting | Phase::Retrying | Phase::Streaming if begins => "SNAPSHOTTING",
            Phase::Snapshotting | Phase::Retrying | Phase::Streaming => "STREAMING",
        }
    }

    /// Tells a new status at once.
    fn look(&self) {
        let reading = self.meter.read();
        if reading.tables_known && reading.tables_remaining == 0 {
            self.whole.store(true, Ordering::Relaxed);
        }
        let word = self.word(&reading);
        drop(reading);
        let before = self.since.lock().unwrap_or_else(PoisonError::into_inner).0;
        if word != before {
            self.since(word, SystemClock::time());
            self.outbox.bell.notify_one();
        }
    }

    /// What it does now.
    pub(crate) fn report(&self) -> Report {
        let reading = self.meter.read();
        let now = SystemClock::time();
        let word = self.word(&reading);
        let reason = reading.waits_for().map(|stage| Reason {
            code: "retrying".into(),
            message: format!("nobody answers at `{stage}`; it is tried again"),
            cure: "the agent's log names the cause; it goes on by itself once there is an answer".into(),
            fault: None,
        });
        let mut figures = Map::new();
        let mut put = |name: &str, value: Value| figures.insert(name.to_owned(), value);
        put("lag_seconds", json!(reading.lag(now).as_secs_f64()));
        let (rows, bytes) = reading.per_second(Instant::now());
        put("rows_per_second", json!(rows));
        put("bytes_per_second", json!(bytes));
        for (name, waiting) in
            [("lag_bytes", reading.waiting.unread), ("source_retained_bytes", reading.waiting.retained)]
        {
            if let Some(waiting) = waiting {
                put(name, json!(waiting.get()));
            }
        }
        put("tables_remaining", json!(reading.tables_remaining));
        put("source_connected", json!(reading.source_connected));
        put("target_connected", json!(reading.target_connected));
        let all = reading.tables.sum();
        put("rows_written_total", json!(all.rows));
        put("bytes_written_total", json!(all.bytes));
        put("files_written_total", json!(all.files));
        let ops = json!({"create": all.ops.create, "update": all.ops.update, "delete": all.ops.delete,
            "truncate": all.ops.truncate, "read": all.ops.read});
        put("changes_total", ops);
        put("commits_total", json!(reading.commits.values().sum::<u64>()));
        put("commit_duration_seconds_sum", json!(reading.commit_durations.sum));
        put("commit_duration_seconds_count", json!(reading.commit_durations.count));
        let checkpoint = reading.committed.map(|(_, at)| ReportedCheckpoint {
            commit: reading.commit,
            position: reading.position.clone(),
            sequence: reading.sequence,
            at: at.to_string(),
        });
        let tables = self.tables(&reading);
        Report {
            pipeline_id: self.held.pipeline_id.clone(),
            status: word.into(),
            since: self.since(word, now).to_string(),
            reason,
            revision: self.held.revision,
            wish: self.held.wish,
            refused: None,
            epoch: self.held.epoch,
            checkpoint,
            counted_since: Some(self.meter.began().to_string()),
            figures,
            tables,
        }
    }

    /// The report of a run that is over, with what it had counted: what came after the last report would be lost.
    pub(crate) fn counted(&self, rests: Report) -> Report {
        let Report { counted_since, mut figures, .. } = self.report();
        figures.retain(|name, _| ["_total", "_sum", "_count"].iter().any(|ending| name.ends_with(ending)));
        Report { counted_since, figures, ..rests }
    }

    /// Each table that the lake has, or whose snapshot has begun.
    fn tables(&self, reading: &Reading) -> Vec<ReportedTable> {
        let snapshots: HashMap<&str, _> =
            reading.tables.snapshots().iter().map(|snapshot| (snapshot.table.as_str(), snapshot)).collect();
        let mut tables: BTreeMap<&str, bool> = reading.tables.names().map(|name| (name, false)).collect();
        tables.extend(reading.members.iter().map(|(name, finished)| (name.as_str(), *finished)));
        let told = tables.into_iter().take(TABLES).map(|(table, finished)| {
            let snapshot = snapshots.get(table);
            let word = match snapshot {
                _ if finished => "finished",
                Some(snapshot) if snapshot.finished => "finished",
                Some(_) => "running",
                None if self.meter.snapshots() => "pending",
                None => "none",
            };
            let written = reading.tables.of(table);
            ReportedTable {
                table: short(table).to_owned(),
                snapshot: word.into(),
                snapshot_rows: snapshot.map_or(0, |snapshot| snapshot.rows_done),
                snapshot_rows_estimate: snapshot.map_or(0, |snapshot| snapshot.rows_in_all()),
                rows: written.rows,
                bytes: written.bytes,
                inserts: written.ops.create,
                updates: written.ops.update,
                deletes: written.ops.delete,
                truncates: written.ops.truncate,
            }
        });
        told.collect()
    }

    /// Since when it is in this status.
    fn since(&self, word: &'static str, now: Timestamp) -> Timestamp {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.0 != word {
            *since = (word, now);
        }
        since.1
    }
}

impl Observer for Witness {
    fn observe(&self, event: &Event<'_>) {
        self.meter.observe(event);
        match event {
            Event::Claimed { commit, .. } => {
                self.say("info", "claimed", "claimed the chain".into(), json!({"commit": commit}));
            }
            Event::Streaming => {
                self.said.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.streamed.store(true, Ordering::Relaxed);
                self.works.notify_one();
                self.say("info", "streaming", "streaming".into(), Value::Null);
            }
            Event::SnapshotStarted { table, rows_done, rows_estimate } => {
                let fields = json!({"table": table.to_string(), "rowsDone": rows_done, "rowsEstimate": rows_estimate});
                self.say("info", "snapshot_started", format!("the snapshot of {table} began"), fields);
            }
            Event::ChunkCommitted(chunk) if chunk.finished => {
                let fields = json!({"table": chunk.table, "rows": chunk.rows_done});
                self.say("info", "snapshot_finished", format!("the snapshot of {} is finished", chunk.table), fields);
            }
            Event::SnapshotAgain { table } => {
                let message = format!("{table} was rewritten while it was read; its snapshot starts again");
                self.say("warning", "retrying", message, json!({"table": table.to_string()}));
            }
            Event::Leaving { tables } => {
                let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
                let message = format!("{} left the pipeline; the files stay in the lake", names.join(", "));
                self.say("warning", "leaving", message, json!({"tables": names}));
            }
            Event::Retrying { stage } if self.is_worth_saying(stage) => {
                let message = format!("nobody answers at `{stage}`; it is tried again");
                self.say("warning", "retrying", message, json!({"stage": stage}));
            }
            Event::Retrying { .. }
            | Event::ChunkCommitted(_)
            | Event::Filling { .. }
            | Event::Closed
            | Event::Committed { .. }
            | Event::SnapshotRead { .. }
            | Event::Spilled { .. }
            | Event::Waiting(_)
            | Event::Stopping => {}
        }
        // These come with every row or so, and change no status.
        if !matches!(event, Event::SnapshotRead { .. } | Event::Filling { .. } | Event::Closed | Event::Spilled { .. })
        {
            self.look();
        }
    }
}

/// The event of a fault that ends a run.
pub(crate) fn fault_event(pipeline_id: &str, fault: &Fault) -> AgentEvent {
    let mut event = new_event(SystemClock::time(), "error", fault.code);
    event.pipeline_id = Some(pipeline_id.to_owned());
    event.message = spoken(fault.code, &fault.message);
    event.cure = cure(fault);
    event
}

/// Why a pipeline does not run: a fault as a reason. Its causes stay in the log.
pub(crate) fn failed(code: &str, fault: &Fault) -> Reason {
    Reason {
        code: code.into(),
        message: spoken(fault.code, &fault.message),
        cure: cure(fault),
        fault: Some(fault.code.to_owned()),
    }
}

/// Why a pipeline does not run: what stands in its way.
pub(crate) fn of_finding(finding: &Finding) -> Reason {
    Reason {
        code: "failed".into(),
        message: format!("{}: {}", finding.subject, spoken(finding.code, &finding.message)),
        cure: finding.cure.clone(),
        fault: Some(finding.code.to_owned()),
    }
}

/// A reason without a fault.
pub(crate) fn reason(code: &str, message: &str, cure: &str) -> Reason {
    Reason { code: code.into(), message: message.into(), cure: cure.into(), fault: None }
}

/// The message without the words of a server, which may quote a value; its SQLSTATE stays.
pub(crate) fn spoken(code: &str, message: &str) -> String {
    if !QUOTING.contains(&code) {
        return message.to_owned();
    }
    let ours = message.split(": ").next().unwrap_or_default();
    let state = message.rsplit_once('(').and_then(|(_, state)| state.strip_suffix(')'));
    let state = state.filter(|state| state.len() == 5 && state.chars().all(|c| c.is_ascii_alphanumeric()));
    let state = state.map_or_else(String::new, |state| format!(" (SQLSTATE {state})"));
    format!("{ours}{state}; its words stand in the agent's log")
}

/// What to do about it, for somebody at the hub.
fn cure(fault: &Fault) -> String {
    match fault.remedy {
        Remedy::Operator(Refusal::Gap) if fault.code != OTHER_SOURCE => {
            "RESTART: all tables are read anew behind a new slot, and their files so far leave the lake".into()
        }
        Remedy::Retry | Remedy::Operator(_) | Remedy::Defect => fault.cure.clone(),
    }
}

/// A pipeline that does not run.
pub(crate) fn idle(held: &HeldPipeline, since: Timestamp, reason: Option<Reason>) -> Report {
    Report {
        pipeline_id: held.pipeline_id.clone(),
        status: "NOT_RUNNING".into(),
        since: since.to_string(),
        reason,
        revision: held.revision,
        wish: held.wish,
        refused: None,
        epoch: held.epoch,
        checkpoint: None,
        counted_since: None,
        figures: Map::new(),
        tables: Vec::new(),
    }
}

/// A table's name without the database, which is the same for all.
pub(crate) fn short(table: &str) -> &str {
    match table.split_once('.') {
        Some((_, rest)) if rest.contains('.') => rest,
        _ => table,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_server_stay_here_and_its_state_is_told() {
        let message =
            "the server refused a statement: invalid input syntax for type integer: \"my: secret (a)\" (22P02)";
        let told = spoken("PG-029", message);
        assert_eq!(told, "the server refused a statement (SQLSTATE 22P02); its words stand in the agent's log");
        assert_eq!(spoken("EN-010", "a: b"), "a: b");
    }

    #[test]
    fn a_lost_log_offers_a_restart_and_another_source_does_not() {
        let gap = |code| Fault::refused(code, Refusal::Gap, "gone", "the cure of the file");
        assert!(failed("log_lost", &gap("EN-005")).cure.starts_with("RESTART"));
        assert_eq!(failed("log_lost", &gap(OTHER_SOURCE)).cure, "the cure of the file");
    }
}
