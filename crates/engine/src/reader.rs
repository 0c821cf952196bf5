//! Fills rounds from the log and closes them at transaction boundaries.
//!
//! A round is closed when bytes, memory, time or a mark say so, and never inside a transaction. Where it ends may differ
//! from run to run; nothing depends on it. Back-pressure is the bounded queue to the writer: while it is full, the log is
//! not read.

use std::time::Duration;

use millrace_model::{
    Batch, Changes, Checkpoint, Clock, CommitKind, Fault, Gulp, Log, Mark, Opened, Position, Registry, Sequence,
    SourceIdentity, Timestamp,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::fault::Cause;
use crate::settings::Settings;
use crate::start::Writing;
use crate::stop::Stop;
use crate::writer::{Closing, Work};
use crate::{Engine, telemetry};

/// After a quiet time the first change waits this long for company, and at most a tenth of the commit interval.
const LINGER: Duration = Duration::from_millis(100);

pub(crate) struct Reader<'a> {
    settings: &'a Settings,
    clock: &'a dyn Clock,
    changes: Changes,
    registry: Registry,
    source: SourceIdentity,
    work: mpsc::Sender<Work>,
    /// The last round that is confirmed.
    committed: watch::Receiver<u64>,
    stop: Stop,
    until: Option<Mark>,
    /// The end that was asked for is reached.
    marked: bool,
    stopping: bool,
    /// Number and opening time of the open round.
    round: u64,
    opened_at: Option<Timestamp>,
    /// When the first change of the open round was seen.
    first_change: Option<Instant>,
    last_close: Instant,
    /// What the last closed round (else the confirmed commit) says.
    closed: Checkpoint,
    /// Rounds handed over that are not confirmed yet.
    last_handed: Option<u64>,
}

/// What to do at a boundary.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Close,
    /// Close what is there, and end.
    Last,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        writing: &mut Writing,
        opened: &Opened,
        work: mpsc::Sender<Work>,
        committed: watch::Receiver<u64>,
        until: Option<Mark>,
        stop: Stop,
    ) -> Self {
        let confirmed = &writing.confirmed;
        let mut changes = Changes::new(confirmed.checkpoint.sequence, engine.settings.batch_limit());
        changes.reached(opened.position.clone());
        let round = writing.next_round;
        Self {
            settings: &engine.settings,
            clock: engine.clock.as_ref(),
            changes,
            registry: confirmed.registry.clone(),
            source: confirmed.source.clone(),
            work,
            committed,
            stop,
            until,
            marked: false,
            stopping: false,
            round,
            opened_at: None,
            first_change: None,
            last_close: Instant::now(),
            closed: confirmed.checkpoint.clone(),
            last_handed: None,
        }
    }

    fn has_content(&self) -> bool {
        self.changes.transactions() > 0
    }

    fn moved(&self) -> bool {
        self.changes.position().is_some() && self.changes.position() != self.closed.position.as_ref()
    }

    /// When time alone will ask for something.
    fn wake_at(&self) -> Instant {
        let interval = self.settings.commit_interval;
        match self.first_change {
            Some(first) => (self.last_close + interval).max(first + LINGER.min(interval / 10)),
            None => self.last_close + self.settings.heartbeat_interval,
        }
    }

    fn writer_is_idle(&self) -> bool {
        self.last_handed.is_none_or(|round| *self.committed.borrow() >= round)
    }

    /// Whether the open round should end at the next boundary.
    fn wants_close(&self) -> bool {
        let full = self.changes.wire_bytes() >= self.settings.commit_bytes.get()
            || self.changes.held_bytes() >= self.settings.held_limit().get();
        full || (Instant::now() >= self.wake_at() && self.writer_is_idle())
    }

    fn due(&self) -> Due {
        if self.marked || self.stopping {
            return Due::Last;
        }
        // The chain learns at once where its log begins.
        let first = self.closed.position.is_none() && self.changes.position().is_some();
        if first || (self.wants_close() && (self.has_content() || self.moved())) { Due::Close } else { Due::Nothing }
    }
}

/// Reads until the end that was asked for is handed over (`Ok`), or a fault.
pub(crate) async fn run(mut reader: Reader<'_>, log: &mut dyn Log) -> Result<(), Fault> {
    loop {
        if reader.changes.in_transaction() {
            // The log returns at the next boundary, and then the round closes.
            let wants_close = reader.wants_close();
            reader.changes.pause(wants_close);
        } else {
            reader.changes.pause(false);
            if let Due::Last = reader.at_boundary().await? {
                return Ok(());
            }
        }
        reader.wait(log).await?;
        if reader.first_change.is_none() && (reader.has_content() || reader.changes.in_transaction()) {
            reader.first_change = Some(Instant::now());
        }
    }
}

impl Reader<'_> {
    /// Waits for the log, the clock, the writer or the wish to stop.
    async fn wait(&mut self, log: &mut dyn Log) -> Result<(), Fault> {
        let wake = self.wake_at();
        // A round that is old already waits for the writer, not for the clock.
        let old = wake <= Instant::now();
        tokio::select! {
            biased;
            () = self.stop.requested(), if !self.stopping => {
                telemetry::stopping();
                self.stopping = true;
                // Commit what is whole; the rest is read again by the next start.
                self.changes.cut_open_transaction();
            }
            () = self.work.closed() => return Err(writer_ended()),
            _ = self.committed.changed(), if old => {}
            () = tokio::time::sleep_until(wake), if !old => {}
            gulp = log.read(&mut self.changes) => {
                self.marked |= matches!(gulp?, Gulp::Mark(mark) if Some(mark) == self.until);
            }
        }
        Ok(())
    }

    /// Between transactions: hands over what has grown large, and closes the round where that is due.
    async fn at_boundary(&mut self) -> Result<Due, Fault> {
        self.hand_over_ready().await?;
        let due = self.due();
        if due == Due::Close || (due == Due::Last && (self.has_content() || self.moved())) {
            self.close().await?;
        }
        Ok(due)
    }

    /// Hands tables that have grown large to the writer before their round closes.
    async fn hand_over_ready(&mut self) -> Result<(), Fault> {
        if self.changes.wants_return() {
            let batches = self.changes.take_ready().map_err(|error| Cause::Batch(error.to_string()))?;
            self.hand_over(batches).await?;
        }
        Ok(())
    }

    async fn hand_over(&mut self, batches: Vec<Batch>) -> Result<(), Fault> {
        let opened_at = *self.opened_at.get_or_insert_with(|| self.clock.now());
        for batch in batches {
            let schema_version = self.registry.version_of(&batch.schema);
            self.send(Work::Batch { round: self.round, opened_at, batch, schema_version }).await?;
        }
        Ok(())
    }

    /// R1: closes the round at this boundary.
    async fn close(&mut self) -> Result<(), Fault> {
        let transactions = self.changes.transactions();
        let batches = self.changes.take_all().map_err(|error| Cause::Batch(error.to_string()))?;
        self.hand_over(batches).await?;
        let kind = if transactions > 0 { CommitKind::Changes } else { CommitKind::Heartbeat };
        self.closed = self.reached();
        let closing = Closing {
            number: self.round,
            kind,
            checkpoint: self.closed.clone(),
            source: self.source.clone(),
            registry: self.registry.clone(),
            transactions,
        };
        self.send(Work::Close(Box::new(closing))).await?;
        self.last_handed = Some(self.round);
        self.round += 1;
        self.opened_at = None;
        self.first_change = None;
        self.last_close = Instant::now();
        Ok(())
    }

    fn reached(&self) -> Checkpoint {
        let position: Option<Position> = self.changes.position().cloned();
        let sequence: Sequence = self.changes.sequence();
        Checkpoint { position, sequence }
    }

    async fn send(&mut self, work: Work) -> Result<(), Fault> {
        self.work.send(work).await.map_err(|_| writer_ended())
    }
}

fn writer_ended() -> Fault {
    Fault::retry("EN-012", "the writer of this stream has ended")
}
