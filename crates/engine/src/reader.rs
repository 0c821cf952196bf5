//! Fills rounds from the log and closes them at transaction boundaries.
//!
//! A round is closed when bytes, memory, time or a mark say so, and never inside a transaction. Where it ends may differ
//! from run to run; nothing depends on it. Back-pressure is the bounded queue to the writer: while it is full, the log is
//! not read. What the snapshotter asks for is done at boundaries, in the order in which it asks.

mod room;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millrace_model::{
    Anew, Barrier, Batch, Changes, Checkpoint, Clock, Fault, Gulp, Log, Mark, Opened, Position, SchemaChange,
    SourceIdentity, TableName, Timestamp,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::fault::Cause;
use crate::pending::Pending;
use crate::requests::{Joined, Joining, Known, Request};
use crate::settings::Settings;
use crate::start::Writing;
use crate::stop::Stop;
use crate::writer::{Closing, Done, Work};
use crate::{Engine, telemetry};
use room::Spilled;

/// After a quiet time the first change waits this long for company, and at most a tenth of the commit interval.
const LINGER: Duration = Duration::from_millis(100);

pub(crate) struct Reader<'a> {
    settings: &'a Settings,
    clock: &'a dyn Clock,
    changes: Changes,
    pending: Pending,
    source: SourceIdentity,
    work: mpsc::Sender<Work>,
    requests: mpsc::Receiver<Request>,
    committed: watch::Receiver<Done>,
    stop: Stop,
    until: Option<Mark>,
    /// The end that was asked for is reached.
    marked: bool,
    /// The log is not read: a snapshot is being made whose position may lie just ahead.
    held: bool,
    /// Every snapshot that was due is handed over.
    idle: bool,
    stopping: bool,
    /// The chain must say something that is neither a change nor a position.
    force: bool,
    rounds: &'a AtomicU64,
    /// Number and opening time of the open round.
    opened: Option<(u64, Timestamp)>,
    /// When the first change or chunk of the open round was seen.
    first_change: Option<Instant>,
    /// The observer knows how old the open round's changes are.
    told: bool,
    last_close: Instant,
    /// What the last closed round (else the confirmed commit) says.
    closed: Checkpoint,
    /// The last round that was handed over.
    last_handed: Option<u64>,
    /// Rows of transactions without an end that memory has no room for.
    spilled: Spilled,
    /// Requests that wait for a boundary.
    inbox: Vec<Request>,
    /// Marks that requests wait for.
    marks: Vec<(Mark, Awaiting)>,
    /// Replies that wait for the commit of a round.
    settling: Vec<(u64, oneshot::Sender<Known>, Known)>,
}

enum Awaiting {
    Hold(oneshot::Sender<()>),
    Join { position: Position, tables: Vec<Joining>, reply: oneshot::Sender<Vec<Joined>> },
}

/// What to do at a boundary.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Close,
    /// Close what is there, and end.
    Last,
}

/// Why the last round was the last.
#[derive(Debug)]
pub(crate) enum Last {
    /// A stop, or an end, was asked for.
    Asked,
    /// The transaction behind it sees a table with other columns.
    SchemaChanged(SchemaChange),
    /// The transaction behind it sees a table under another key, or otherwise as it never was: the table has left, so the
    /// log has to be opened anew, without it.
    Anew(Anew),
}

/// The ends of the channels that a reader uses.
pub(crate) struct Ends {
    pub work: mpsc::Sender<Work>,
    pub requests: mpsc::Receiver<Request>,
    pub committed: watch::Receiver<Done>,
    /// The first snapshot shows the very position at which the log begins: it is not read before the snapshot joins.
    pub held: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        writing: &Writing,
        rounds: &'a AtomicU64,
        opened: &Opened,
        ends: Ends,
        until: Option<Mark>,
        stop: Stop,
    ) -> Self {
        let confirmed = &writing.confirmed;
        let mut changes = Changes::new(confirmed.checkpoint.sequence, engine.settings.batch_limit());
        changes.reached(opened.position.clone());
        changes.hold_keys(&confirmed.registry);
        if engine.settings.stop_at_schema_change {
            changes.freeze(&confirmed.registry);
        }
        Self {
            settings: &engine.settings,
            clock: engine.clock.as_ref(),
            changes,
            pending: Pending::new(confirmed.registry.clone(), confirmed.snapshots.clone()),
            source: confirmed.source.clone(),
            work: ends.work,
            requests: ends.requests,
            committed: ends.committed,
            stop,
            until,
            marked: false,
            held: ends.held,
            idle: false,
            stopping: false,
            force: false,
            rounds,
            opened: None,
            first_change: None,
            told: false,
            last_close: Instant::now(),
            closed: confirmed.checkpoint.clone(),
            last_handed: None,
            spilled: Spilled::default(),
            inbox: Vec::new(),
            marks: Vec::new(),
            settling: Vec::new(),
        }
    }

    fn has_content(&self) -> bool {
        self.changes.transactions() > 0 || self.pending.has_chunks() || self.force
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
        self.last_handed.is_none_or(|round| self.committed.borrow().round >= round)
    }

    /// Whether the open round should end at the next boundary.
    fn wants_close(&self) -> bool {
        let full = self.changes.wire_bytes() >= self.settings.commit_bytes.get()
            || self.changes.held_bytes() + self.changes.in_progress_bytes() >= self.settings.held_limit().get();
        full || self.force || (Instant::now() >= self.wake_at() && self.writer_is_idle())
    }

    fn due(&self) -> Due {
        if self.stopping || (self.marked && self.idle) {
            return Due::Last;
        }
        // The chain learns at once where its log begins; where a snapshot is about to join there, with its entries.
        let waits = self.held || !self.marks.is_empty();
        let first = self.closed.position.is_none() && self.changes.position().is_some() && !waits;
        if first || (self.wants_close() && (self.has_content() || self.moved())) { Due::Close } else { Due::Nothing }
    }
}

/// Reads until the last round is handed over (`Ok`), or a fault.
pub(crate) async fn run(mut reader: Reader<'_>, log: &mut dyn Log) -> Result<Last, Fault> {
    loop {
        reader.make_room(log).await?;
        if reader.changes.in_transaction() {
            // The log returns at the next boundary, and then the round closes. It must also where rows lie on disk: they
            // learn their end from the transaction that ended last.
            let wants_boundary = reader.wants_close() || !reader.inbox.is_empty() || reader.spilled.has_open();
            reader.changes.pause(wants_boundary);
        } else {
            reader.changes.pause(false);
            if let Due::Last = reader.at_boundary(log).await? {
                return Ok(Last::Asked);
            }
        }
        reader.wait(log).await?;
        match reader.changes.barrier().cloned() {
            None => {}
            Some(Barrier::Columns(change)) => return reader.stop_before(change).await,
            Some(Barrier::Anew(anew)) => return reader.start_anew(anew).await,
        }
        if reader.first_change.is_none() && (reader.has_content() || reader.changes.in_transaction()) {
            reader.first_change = Some(Instant::now());
        }
        if !reader.told
            && let Some(since) = reader.changes.oldest_commit()
        {
            telemetry::filling(since);
            reader.told = true;
        }
    }
}

impl Reader<'_> {
    /// Waits for the log, the clock, the writer, the snapshotter or the wish to stop.
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
                self.changes.drop_in_progress();
                self.spilled.drop_open();
            }
            () = self.work.closed() => return Err(writer_ended()),
            changed = self.committed.changed(), if old || !self.settling.is_empty() => {
                changed.map_err(|_gone| writer_ended())?;
                self.settle();
            }
            request = self.requests.recv() => match request {
                Some(Request::Chunk(chunk)) => self.pending.add_chunk(*chunk),
                Some(Request::Idle) => self.idle = true,
                Some(request) => {
                    self.idle = false;
                    self.inbox.push(request);
                }
                None => return Err(Cause::SnapshotterEnded.into()),
            },
            () = tokio::time::sleep_until(wake), if !old => {}
            gulp = log.read(&mut self.changes), if !self.held => match gulp? {
                Gulp::Read => {}
                // Nothing joins a round that has ended.
                Gulp::Mark(_) | Gulp::Passed(_) if self.changes.barrier().is_some() => {}
                Gulp::Mark(mark) => self.reached(mark, false).await?,
                Gulp::Passed(mark) => self.reached(mark, true).await?,
            }
        }
        Ok(())
    }

    /// Between transactions: does what was asked, hands over what has grown large, and closes the round where that is due.
    async fn at_boundary(&mut self, log: &mut dyn Log) -> Result<Due, Fault> {
        self.unspill().await?;
        for request in std::mem::take(&mut self.inbox) {
            self.serve(request, log).await?;
        }
        if self.changes.wants_return() {
            let batches = self.changes.take_ready().map_err(|error| Cause::Batch(error.to_string()))?;
            self.hand_over(batches).await?;
        }
        let due = self.due();
        if due == Due::Close || (due == Due::Last && (self.has_content() || self.moved())) {
            self.close().await?;
        }
        Ok(due)
    }

    async fn serve(&mut self, request: Request, log: &mut dyn Log) -> Result<(), Fault> {
        match request {
            Request::Hold { position, reply } => {
                self.held = false;
                self.marks.push((log.watch(&position, &[]), Awaiting::Hold(reply)));
            }
            Request::Go => self.held = false,
            Request::Join { position, tables, reply } => {
                let joining: Vec<_> =
                    tables.iter().filter(|table| table.is_new).map(|table| Arc::clone(&table.schema)).collect();
                self.held = false;
                let mark = log.watch(&position, &joining);
                self.marks.push((mark, Awaiting::Join { position, tables, reply }));
            }
            Request::Leave { tables, reply } => {
                // What was read of them goes into a commit that still has them: after it, it would bring them back.
                if self.has_content() {
                    self.close().await?;
                }
                log.exclude(&tables);
                self.pending.leave(&tables);
                self.force = true;
                self.close_and_settle(reply).await?;
            }
            Request::Settle { reply } => self.close_and_settle(reply).await?,
            // Taken as they come.
            Request::Chunk(_) | Request::Idle => {}
        }
        Ok(())
    }

    /// A watched position is reached: everything read so far lies at or before it.
    async fn reached(&mut self, mark: Mark, passed: bool) -> Result<(), Fault> {
        if Some(mark) == self.until {
            self.marked = true;
        }
        let Some(at) = self.marks.iter().position(|(waiting, _)| *waiting == mark) else { return Ok(()) };
        match self.marks.swap_remove(at).1 {
            Awaiting::Hold(reply) => {
                self.held = reply.send(()).is_ok();
            }
            // An anchor taken now would count changes that the snapshot does not show.
            Awaiting::Join { .. } if passed => return Err(Cause::PassedSnapshot.into()),
            Awaiting::Join { position, tables, reply } => {
                // Everything up to C passes through `hand_over` first: a change seen there may forbid going on.
                let commits = self.changes.commit_times();
                let batches = self.changes.take_all().map_err(|error| Cause::Batch(error.to_string()))?;
                self.hand_over(batches).await?;
                // A snapshot shows other columns before the log does.
                if !tables.iter().all(|table| table.is_new || self.changes.admits(&table.schema)) {
                    self.close_after(commits).await?;
                    return Ok(());
                }
                let anchor = self.changes.sequence();
                let mut joined = Vec::new();
                for table in tables {
                    let name = table.schema.table.clone();
                    let known = self.pending.join(table, &position, anchor);
                    joined.push(known.ok_or_else(|| not_carried(&name))?);
                }
                self.hold();
                // The entries stand from this commit on, even with nothing done.
                self.close_after(commits).await?;
                let _gone = reply.send(joined);
            }
        }
        Ok(())
    }

    /// Tables are held to the keys, and with `schema.change: stop` to the columns, that the next commits will say.
    fn hold(&mut self) {
        self.changes.hold_keys(&self.pending.registry);
        if self.settings.stop_at_schema_change {
            self.changes.freeze(&self.pending.registry);
        }
    }

    /// Hands over what came before a schema change, as the last round.
    async fn stop_before(&mut self, change: SchemaChange) -> Result<Last, Fault> {
        self.close_before().await?;
        Ok(Last::SchemaChanged(change))
    }

    /// Hands over what came before the transaction from which on a table starts anew, and lets it leave in a commit behind
    /// that: wherever this process dies, its changes count up to there and then no more. It joins by itself.
    async fn start_anew(&mut self, anew: Anew) -> Result<Last, Fault> {
        self.close_before().await?;
        self.pending.leave(std::slice::from_ref(&anew.table));
        self.close().await?;
        Ok(Last::Anew(anew))
    }

    /// The last round before a barrier.
    async fn close_before(&mut self) -> Result<(), Fault> {
        self.changes.drop_in_progress();
        self.spilled.drop_open();
        self.unspill().await?;
        if self.has_content() || self.moved() {
            self.close().await?;
        }
        Ok(())
    }

    async fn close_and_settle(&mut self, reply: oneshot::Sender<Known>) -> Result<(), Fault> {
        let round = if self.has_content() { self.close().await? } else { self.last_handed.unwrap_or(0) };
        let known =
            Known { commit: 0, registry: self.pending.registry.clone(), snapshots: self.pending.snapshots.clone() };
        self.settling.push((round, reply, known));
        self.settle();
        Ok(())
    }

    /// Replies to those whose round is committed.
    fn settle(&mut self) {
        let done = *self.committed.borrow_and_update();
        let (ready, waiting) =
            std::mem::take(&mut self.settling).into_iter().partition(|(round, ..)| *round <= done.round);
        self.settling = waiting;
        let ready: Vec<(u64, oneshot::Sender<Known>, Known)> = ready;
        for (_, reply, known) in ready {
            let _gone = reply.send(Known { commit: done.commit, ..known });
        }
    }

    async fn hand_over(&mut self, batches: Vec<Batch>) -> Result<(), Fault> {
        for batch in batches {
            let (round, opened_at) = self.open_round();
            self.pending.note_batch(&batch);
            let version = self.pending.registry.version_of(&batch.schema);
            let schema_version = version.ok_or_else(|| not_carried(&batch.schema.table))?;
            self.send(Work::Batch { round, opened_at, batch: Box::new(batch), schema_version }).await?;
        }
        Ok(())
    }

    fn open_round(&mut self) -> (u64, Timestamp) {
        *self.opened.get_or_insert_with(|| (self.rounds.fetch_add(1, Ordering::Relaxed), self.clock.now()))
    }

    /// R1: closes the round at this boundary. Returns its number.
    async fn close(&mut self) -> Result<u64, Fault> {
        let commits = self.changes.commit_times();
        let batches = self.changes.take_all().map_err(|error| Cause::Batch(error.to_string()))?;
        self.hand_over(batches).await?;
        self.close_after(commits).await
    }

    /// The same once the batches of its transactions, which committed in the source at these times, are handed over.
    async fn close_after(&mut self, commits: Vec<Timestamp>) -> Result<u64, Fault> {
        let (number, _) = self.open_round();
        let (files, chunks) = self.pending.take_chunks();
        self.closed = Checkpoint { position: self.changes.position().cloned(), sequence: self.changes.sequence() };
        let closing = Closing {
            number,
            checkpoint: self.closed.clone(),
            source: self.source.clone(),
            registry: self.pending.registry.clone(),
            snapshots: self.pending.snapshots.clone(),
            removed: std::mem::take(&mut self.pending.removed),
            commits,
            files,
            chunks,
        };
        self.pending.closed();
        telemetry::closed();
        self.send(Work::Close(Box::new(closing))).await?;
        self.last_handed = Some(number);
        self.opened = None;
        self.first_change = None;
        self.told = false;
        self.force = false;
        self.last_close = Instant::now();
        Ok(number)
    }

    async fn send(&mut self, work: Work) -> Result<(), Fault> {
        self.work.send(work).await.map_err(|_gone| writer_ended())
    }
}

fn not_carried(table: &TableName) -> Fault {
    Cause::NotCarried { table: table.to_string() }.into()
}

fn writer_ended() -> Fault {
    Cause::WriterEnded.into()
}
