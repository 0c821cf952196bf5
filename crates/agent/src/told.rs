//! What one run tells the hub: events as they happen, and a report whenever it is asked for one.
//!
//! Codes, names of tables and numbers only. The words of a database's own error stay in the agent's log: they may quote a
//! value.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millrace_engine::{Event, Observer};
use millrace_model::{Fault, Timestamp};
use millrace_protocol::gateway::{AgentEvent, HeldPipeline, Reason, Report, ReportedCheckpoint, ReportedTable};
use serde_json::{Map, Value, json};

use crate::clock::SystemClock;
use crate::meter::{Meter, Phase};
use crate::outbox::{Outbox, new_event};

/// A stage that is tried again and again is told this often.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// So many tables are named in a report: it stays below the hub's limit.
const TABLES: usize = 2_000;

/// The observer of one run.
pub(crate) struct Witness {
    pub(crate) meter: Arc<Meter>,
    pub(crate) held: HeldPipeline,
    pub(crate) since: Mutex<(String, Timestamp)>,
    outbox: Arc<Outbox>,
    said: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Witness {
    pub(crate) fn new(meter: Arc<Meter>, held: HeldPipeline, outbox: Arc<Outbox>) -> Self {
        let since = Mutex::new(("STARTING".to_owned(), SystemClock::time()));
        Self { meter, held, since, outbox, said: Mutex::default() }
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

    /// What it does now.
    pub(crate) fn report(&self) -> Report {
        let reading = self.meter.read();
        let now = SystemClock::time();
        let phase = reading.phase();
        let word = match phase {
            Phase::Starting => "STARTING",
            Phase::Retrying if reading.commit == 0 => "STARTING",
            Phase::Stopping => "STOPPING",
            Phase::Snapshotting => "SNAPSHOTTING",
            Phase::Retrying | Phase::Streaming if reading.tables_remaining > 0 => "SNAPSHOTTING",
            Phase::Retrying | Phase::Streaming => "STREAMING",
        };
        let reason = reading.waits_for().map(|stage| Reason {
            code: "retrying".into(),
            message: format!("nobody answers at `{stage}`; it is tried again"),
            cure: "the agent's log names the cause; it goes on by itself once there is an answer".into(),
            fault: None,
        });
        let mut figures = Map::new();
        let mut put = |name: &str, value: Value| figures.insert(name.to_owned(), value);
        put("lag_seconds", json!(reading.lag(now).as_secs_f64()));
        put("rows_per_second", json!(reading.rows_per_second(Instant::now())));
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
        let checkpoint = reading.committed.map(|(_, at)| ReportedCheckpoint {
            commit: reading.commit,
            position: reading.position.clone(),
            sequence: reading.sequence,
            at: at.to_string(),
        });
        let tables = reading.tables.each().take(TABLES).map(|(table, totals, snapshot)| ReportedTable {
            table: short(table).to_owned(),
            snapshot: match snapshot {
                None => "none",
                Some(snapshot) if snapshot.finished => "finished",
                Some(_) => "running",
            }
            .into(),
            snapshot_rows: snapshot.map_or(0, |snapshot| snapshot.rows_done),
            snapshot_rows_estimate: snapshot.map_or(0, |snapshot| snapshot.rows_in_all()),
            rows: totals.rows,
        });
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
            figures,
            tables: tables.collect(),
        }
    }

    /// Since when it is in this status.
    fn since(&self, word: &str, now: Timestamp) -> Timestamp {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.0 != word {
            *since = (word.to_owned(), now);
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
            _ => {}
        }
    }
}

/// The event of a fault that ends a run.
pub(crate) fn fault_event(pipeline_id: &str, fault: &Fault) -> AgentEvent {
    let mut event = new_event(SystemClock::time(), "error", fault.code);
    event.pipeline_id = Some(pipeline_id.to_owned());
    event.message = fault.message.clone();
    event.cure = fault.cure.clone();
    event
}

/// Why a pipeline does not run: a fault as a reason. Its causes stay in the log.
pub(crate) fn failed(code: &str, fault: &Fault) -> Reason {
    Reason {
        code: code.into(),
        message: fault.message.clone(),
        cure: fault.cure.clone(),
        fault: Some(fault.code.to_owned()),
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
        figures: Map::new(),
        tables: Vec::new(),
    }
}

/// A table's name without the database, which is the same for all.
fn short(table: &str) -> &str {
    match table.split_once('.') {
        Some((_, rest)) if rest.contains('.') => rest,
        _ => table,
    }
}
