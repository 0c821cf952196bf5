//! What a run has done so far, as numbers: fed by the engine's events, read by `/metrics`, `/readyz` and the live view.
//!
//! It holds numbers and names of tables, never values; it decides nothing.

mod histogram;
mod lag;
mod tables;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_engine::{Event, Observer};
use millrace_model::{CommitKind, LogWaiting, Position, Registry, Round, Timestamp};

pub use histogram::Histogram;
use lag::Lag;
pub use tables::{TableSnapshot, TableTotals, Tables};

/// Rows a second are those of so long.
const WINDOW: Duration = Duration::from_secs(10);

/// What the run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Source and target are asked, the chain is claimed.
    Starting,
    /// Rows that are already there are read.
    Snapshotting,
    /// Changes are read as they come.
    Streaming,
    /// Nobody answers; it tries again.
    Retrying,
    /// What is whole is committed, then it ends.
    Stopping,
}

impl Phase {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Snapshotting => "snapshotting",
            Self::Streaming => "streaming",
            Self::Retrying => "retrying",
            Self::Stopping => "stopping",
        }
    }
}

/// The numbers of one pipeline.
pub struct Meter {
    pipeline: String,
    /// Whether tables are to be read that were not yet (`snapshot.mode: initial`).
    snapshots: bool,
    /// When all counters were nothing.
    began: Timestamp,
    reading: Mutex<Reading>,
}

/// The numbers at one moment.
#[derive(Debug, Default)]
pub struct Reading {
    /// Whether the source answered last.
    pub source_connected: bool,
    /// Whether the target answered last.
    pub target_connected: bool,
    /// Whether it was asked to stop.
    pub stopping: bool,
    /// The newest commit, and when it was confirmed.
    pub commit: u64,
    /// When it was committed.
    pub committed: Option<(Instant, Timestamp)>,
    /// Up to where the source was read for it; opaque.
    pub position: String,
    /// Of the last change that is committed.
    pub sequence: u64,
    /// Of each table.
    pub tables: Tables,
    /// Tables of the newest commit whose snapshot is not finished.
    pub tables_remaining: u64,
    /// Whether that is known yet.
    pub tables_known: bool,
    /// Each table of the newest commit, and whether its snapshot is finished.
    pub members: Vec<(String, bool)>,
    /// Commits by their kind.
    pub commits: BTreeMap<&'static str, u64>,
    /// How long commits took.
    pub commit_durations: Histogram,
    /// From the commit in the source to the commit that has it, one for each transaction.
    pub delivery_latencies: Histogram,
    /// Bytes of transactions without an end that wait on disk.
    pub spilled: u64,
    /// How much of the source's log waits, as it last said.
    pub waiting: LogWaiting,
    /// How often each stage was tried again.
    pub retries: BTreeMap<String, u64>,
    lag: Lag,
    /// What became of the last stage: what it waits for, until it goes on.
    waits_for: Option<String>,
    /// Rows and bytes of the newest commits.
    recent: VecDeque<(Instant, u64, u64)>,
}

impl Meter {
    /// Of a pipeline that has not begun yet.
    pub fn new(pipeline: &str, snapshots: bool) -> Self {
        Self { pipeline: pipeline.to_owned(), snapshots, began: now(), reading: Mutex::default() }
    }

    /// Whose numbers they are.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// When it began to count.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// The numbers now. Nothing that waits may be done while they are held.
    pub fn read(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether tables are to be read that were not yet.
    pub fn snapshots(&self) -> bool {
        self.snapshots
    }

    /// What the lake has before this run does anything, and how many tables it is yet to have.
    pub fn begins_with(&self, registry: &Registry, absent: u64) {
        let mut reading = self.read();
        reading.members(registry, self.snapshots);
        if self.snapshots {
            reading.tables_remaining += absent;
        }
    }

    /// Nobody answered at `stage`.
    pub fn retrying(&self, stage: &str) {
        self.read().retrying(stage);
    }
}

impl Observer for Meter {
    fn observe(&self, event: &Event<'_>) {
        let mut reading = self.read();
        match event {
            Event::Claimed { commit, position } => {
                reading.claimed(*commit, position.unwrap_or_default());
            }
            Event::Streaming => {
                reading.source_connected = true;
                reading.waits_for = None;
                // What was read and not committed is read again.
                reading.lag = Lag::default();
            }
            Event::Filling { since } => reading.lag.filling(*since),
            Event::Closed => reading.lag.closed(),
            Event::Committed { commit, round, commits, took } => {
                reading.commit(*commit, round, *took, self.snapshots);
                reading.deliver(commits, now());
            }
            Event::Waiting(waiting) => reading.waiting = *waiting,
            Event::Spilled { bytes } => reading.spilled = *bytes,
            Event::SnapshotStarted { table, rows_done, rows_estimate } => {
                reading.waits_for = None;
                reading.tables.snapshot_started(table.to_string(), *rows_done, *rows_estimate);
            }
            Event::SnapshotRead { table, rows } => {
                reading.tables.snapshot_read(&table.to_string(), *rows, Instant::now());
            }
            Event::ChunkCommitted(chunk) => reading.tables.chunk_committed(chunk),
            Event::SnapshotAgain { table } => reading.tables.snapshot_ended(&table.to_string()),
            Event::Leaving { tables } => {
                reading.members.clear();
                tables.iter().for_each(|table| reading.tables.snapshot_ended(&table.to_string()));
            }
            Event::Retrying { stage } => reading.retrying(stage),
            Event::Stopping => reading.stopping = true,
        }
    }
}

impl Reading {
    fn claimed(&mut self, commit: u64, position: &str) {
        self.source_connected = true;
        self.target_connected = true;
        self.waits_for = None;
        self.commit = commit;
        self.committed = Some((Instant::now(), now()));
        position.clone_into(&mut self.position);
        *self.commits.entry(CommitKind::Claim.as_str()).or_default() += 1;
    }

    fn commit(&mut self, commit: u64, round: &Round, took: Duration, snapshots: bool) {
        let at = Instant::now();
        self.target_connected = true;
        self.waits_for = None;
        self.commit = commit;
        self.committed = Some((at, now()));
        round.checkpoint.position.as_ref().map_or("", Position::as_str).clone_into(&mut self.position);
        self.sequence = round.checkpoint.sequence.0;
        *self.commits.entry(round.kind.as_str()).or_default() += 1;
        self.commit_durations.add(took);
        self.lag.committed();
        let (mut rows, mut bytes) = (0, 0);
        for file in &round.files {
            rows += file.rows;
            bytes += file.bytes;
            self.tables.file(file);
        }
        self.recent.push_back((at, rows, bytes));
        while self.recent.front().is_some_and(|(then, ..)| at.duration_since(*then) > WINDOW) {
            self.recent.pop_front();
        }
        self.members(&round.registry, snapshots);
    }

    fn members(&mut self, registry: &Registry, snapshots: bool) {
        let unread = registry.entries().filter(|entry| entry.snapshot.is_none()).count();
        let known = self.members.iter().filter(|(_, finished)| !finished).count();
        // Names are made anew only when something has changed: commits are many, and so are tables.
        if known != unread || self.members.len() != registry.entries().count() {
            let named = registry.entries().map(|entry| (entry.table.to_string(), entry.snapshot.is_some()));
            self.members = named.collect();
        }
        self.tables_remaining = if snapshots { unread as u64 } else { 0 };
        self.tables_known = true;
    }

    /// Transactions that committed in the source at these times are durable. Two clocks may differ: never less than nothing.
    fn deliver(&mut self, commits: &[Timestamp], at: Timestamp) {
        for commit in commits {
            let micros = u64::try_from(at.0.saturating_sub(commit.0)).unwrap_or_default();
            self.delivery_latencies.add(Duration::from_micros(micros));
        }
    }

    fn retrying(&mut self, stage: &str) {
        *self.retries.entry(stage.to_owned()).or_default() += 1;
        match stage {
            "stream" | "take" => self.source_connected = false,
            "commit" | "head" | "claim" | "chain" => self.target_connected = false,
            // Beside the stream, which goes on; or either of the two.
            _ => return,
        }
        self.waits_for = Some(stage.to_owned());
    }

    /// What the run is at.
    pub fn phase(&self) -> Phase {
        match &self.waits_for {
            _ if self.stopping => Phase::Stopping,
            Some(_) => Phase::Retrying,
            None if !(self.source_connected && self.target_connected) => Phase::Starting,
            None if self.tables.reading() => Phase::Snapshotting,
            None => Phase::Streaming,
        }
    }

    /// What it tries again and again, where nobody answers.
    pub fn waits_for(&self) -> Option<&str> {
        self.waits_for.as_deref()
    }

    /// How late the lake is: the age of the oldest change that was read and is not committed; none where there is none.
    pub fn lag(&self, now: Timestamp) -> Duration {
        self.lag.at(now)
    }

    /// Committed rows a second, of the last seconds.
    pub fn rows_per_second(&self, at: Instant) -> u64 {
        self.per_second(at).0
    }

    /// Committed rows and bytes a second, of the last seconds.
    pub fn per_second(&self, at: Instant) -> (u64, u64) {
        let recent = self.recent.iter().filter(|(then, ..)| at.duration_since(*then) <= WINDOW);
        let (rows, bytes) = recent.fold((0, 0), |(rows, bytes), (_, more, large)| (rows + more, bytes + large));
        let pace = |sum: u64| (sum as f64 / WINDOW.as_secs_f64()).round() as u64;
        (pace(rows), pace(bytes))
    }
}

fn now() -> Timestamp {
    crate::clock::SystemClock::time()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transaction_is_delivered_once_and_never_before_it_committed() {
        let mut reading = Reading::default();
        let second = 1_000_000;
        reading.deliver(&[Timestamp(second), Timestamp(3 * second), Timestamp(9 * second)], Timestamp(4 * second));
        let latencies = &reading.delivery_latencies;
        assert_eq!((latencies.count, latencies.sum), (3, 4.0));
        let within =
            |seconds| latencies.buckets().find(|(bound, _)| bound.total_cmp(&seconds).is_eq()).map(|(_, count)| count);
        assert_eq!((within(0.005), within(1.0), within(5.0)), (Some(1), Some(2), Some(3)));
    }

    #[test]
    fn what_waits_is_not_connected_until_it_answers() {
        let meter = Meter::new("shop", true);
        assert_eq!(meter.read().phase(), Phase::Starting);
        meter.observe(&Event::Claimed { commit: 4, position: Some("0/1") });
        meter.observe(&Event::Streaming);
        assert_eq!(meter.read().phase(), Phase::Streaming);
        meter.observe(&Event::Retrying { stage: "stream" });
        let seen = |reading: &Reading| (reading.phase(), reading.source_connected);
        assert_eq!(seen(&meter.read()), (Phase::Retrying, false));
        // A snapshot that tries again does not hold up the stream.
        meter.observe(&Event::Streaming);
        meter.observe(&Event::Retrying { stage: "snapshot" });
        assert_eq!(seen(&meter.read()), (Phase::Streaming, true));
        assert_eq!(meter.read().retries, BTreeMap::from([("snapshot".into(), 1), ("stream".into(), 1)]));
    }
}
