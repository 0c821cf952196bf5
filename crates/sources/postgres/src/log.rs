//! The log, read forward: frames of COPY BOTH in, rows in columns out.
//!
//! **It is the stream that S1 opened**, at the slot's confirmed position. Transactions that the checkpoint already has are
//! skipped here by the server's own rule (`SnapBuildXactNeedsSkip`): those whose commit record *starts* before the position
//! to read on from. Positions are ends of commit records, or keepalives', which are ends of records too, so no commit
//! record starts before such a position and ends behind it. Descriptions of tables are read in skipped transactions as
//! well: the server sends each only once.
//!
//! **Cancel-safe.** The only places where `read` waits are the readiness of the socket, a timer, and a look into the
//! catalogue, which is kept and goes on with the next call. Bytes that were read stay in the buffer, and a frame is
//! consumed in the same step in which its rows are appended.
//!
//! **Marks.** A transaction ends past a position exactly if its commit record starts at or past it (as above). A keepalive
//! counts between transactions only: inside one it may run ahead of what we have read.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millrace_model::{Changes, Fault, Gulp, Log, Mark, Position, Registry, TableName, TableSchema, TransactionEnd};
use tokio::time::Instant;

use crate::Shared;
use crate::client::duplex::Incoming;
use crate::client::replies::Replier;
use crate::client::server_error::{ServerError, state};
use crate::client::session::Session;
use crate::decode::message::{Begin, Message, Relation};
use crate::decode::reader::{Malformed, Reader};
use crate::decode::row::{self, Scratch, Table};
use crate::fault::Cause;
use crate::position::{Lsn, moment};
use crate::relation::{Description, Known};
use crate::slot::Grip;

/// How often an idle server is asked where it is, while somebody waits for a mark.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long a server may be silent where it has no timeout of its own.
const SILENCE_WITHOUT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the server may take to let go of the slot when we leave.
const LEAVE_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes of XLogData before its message: kind, start, end, clock.
const XLOG_HEADER: usize = 1 + 3 * 8;
/// Where in it the clock stands.
const CLOCK: usize = 1 + 2 * 8;
/// A server that asks for so many replies in a row, all at one place and each as soon as it has the one before, waits for
/// our flushed position in order to shut down (`WalSndDone`).
const SHUTDOWN_REQUESTS: u32 = 50;
/// In a row means within this time: an idle server that times out soon asks as well, but slowly.
const SHUTDOWN_WINDOW: Duration = Duration::from_secs(5);

type Lookup = Pin<Box<dyn Future<Output = Looked> + Send>>;

/// What came back from the catalogue, with the session to ask again.
struct Looked {
    relation: Relation,
    answer: Result<(Session, Description), Cause>,
}

/// What the log knows of a table.
enum Described {
    /// Not ours: its changes are passed over.
    Ignored,
    /// Ours; its changes count, or will from a mark on.
    Ours(Table, bool),
}

/// The open log of a slot.
pub(crate) struct PostgresLog {
    shared: Arc<Shared>,
    incoming: Incoming,
    replier: Replier,
    patience: Duration,
    binary: bool,
    catalogue: Option<Session>,
    lookup: Option<Lookup>,
    reading: Reading,
    /// When the server was asked for a sign of life, without one since.
    asked: Option<Instant>,
    /// Something was appended, or the position moved, that no call has returned for yet.
    progress: bool,
}

/// How far the stream has been understood.
struct Reading {
    known: Known,
    tables: HashMap<u32, Described>,
    slots: HashMap<u32, usize>,
    scratch: Scratch,
    from: Lsn,
    position: Lsn,
    /// The transaction under way; it is skipped where its commit record starts before `from`.
    open: Option<Begin>,
    marks: Vec<Watched>,
    last_mark: u64,
    counted: Counted,
    /// Requests for a reply in a row, and when the first of them came.
    requests: Option<(u32, Instant)>,
}

/// A position that somebody waits for.
struct Watched {
    lsn: Lsn,
    mark: Mark,
    /// Tables that count from there on.
    joining: Vec<TableName>,
}

/// The tables whose changes count: under which membership, or (`None`) under whichever they have.
struct Counted(HashMap<TableName, Option<String>>);

impl Counted {
    fn has(&self, schema: &TableSchema) -> bool {
        self.0.get(&schema.table).is_some_and(|id| id.as_ref().is_none_or(|id| *id == schema.source_id))
    }
}

/// What a frame leads to.
enum Step {
    /// The next frame.
    Next,
    /// The engine should hear.
    Progress,
    /// At the end of a transaction.
    Boundary,
    /// A reply is wanted.
    Reply,
    /// A table was described.
    Describe(Relation),
}

impl PostgresLog {
    pub(crate) fn new(shared: Arc<Shared>, grip: Grip, from: Lsn, registry: &Registry) -> Self {
        let known = Known::new(&shared.settings.database, registry);
        let counted = registry.entries().map(|entry| (entry.table.clone(), Some(entry.source_id.clone()))).collect();
        Self {
            shared,
            incoming: grip.incoming,
            replier: grip.replier,
            patience: grip.sender_timeout.unwrap_or(SILENCE_WITHOUT_TIMEOUT),
            binary: grip.binary,
            catalogue: Some(grip.catalogue),
            lookup: None,
            reading: Reading::new(known, from, counted),
            asked: None,
            progress: false,
        }
    }

    /// Appends from the frames that are there. `Some` where the engine should hear of it now.
    fn consume(&mut self, into: &mut Changes) -> Result<Option<Gulp>, Cause> {
        loop {
            if let Some(watched) = self.reading.due_mark(None) {
                return Ok(Some(self.reading.reach(watched, into)));
            }
            let Some(frame) = self.incoming.frame()? else {
                self.incoming.gulped();
                return Ok(None);
            };
            let body = self.incoming.body(&frame);
            let mut clock = None;
            let step = match (frame.tag, body.first()) {
                (b'd', Some(b'w')) => {
                    let message = body.get(XLOG_HEADER..).ok_or_else(|| cut_short("XLogData"))?;
                    if let Some(watched) = self.reading.mark_before(message)? {
                        return Ok(Some(self.reading.reach(watched, into)));
                    }
                    clock =
                        body.get(CLOCK..XLOG_HEADER).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
                    self.reading.message(message, body.len(), into)?
                }
                (b'd', Some(b'k')) => self.reading.keepalive(body, into)?,
                (b'E', _) => return Err(self.stream_error(ServerError::parse(body))),
                (b'c' | b'C' | b'Z', _) => return Err(Cause::Ended),
                _ => Step::Next,
            };
            self.incoming.consume(&frame);
            if let Some(clock) = clock {
                self.incoming.saw(clock);
            }
            match step {
                Step::Next => {}
                Step::Progress => {
                    self.progress = true;
                    self.replier.replies().received(self.reading.position);
                }
                Step::Boundary => {
                    self.progress = true;
                    self.replier.replies().received(self.reading.position);
                    if into.wants_return() {
                        return Ok(Some(Gulp::Read));
                    }
                }
                Step::Reply => {
                    self.replier.replies().received(self.reading.position);
                    self.replier.replies().answer();
                }
                Step::Describe(relation) => {
                    self.progress = true;
                    self.describe(relation);
                    return Ok(None);
                }
            }
        }
    }

    /// Starts to look a table up, if it is ours.
    fn describe(&mut self, relation: Relation) {
        if !self.shared.settings.lists(&relation.schema, &relation.table) {
            self.reading.tables.insert(relation.oid, Described::Ignored);
            return;
        }
        let (shared, session) = (Arc::clone(&self.shared), self.catalogue.take());
        self.lookup = Some(Box::pin(async move {
            let answer = shared.describe(session, &relation).await;
            Looked { relation, answer }
        }));
    }

    fn described(&mut self, looked: Looked, into: &mut Changes) -> Result<(), Cause> {
        let (session, description) = looked.answer?;
        self.catalogue = Some(session);
        let reading = &mut self.reading;
        let next = reading.slots.len();
        let slot = *reading.slots.entry(looked.relation.oid).or_insert(next);
        let resolved = reading.known.resolve(slot, &looked.relation, &description, self.binary);
        let described = match resolved.map_err(|cause| self.shared.without_binary(cause))? {
            Some(table) => {
                into.define(slot, Arc::clone(&table.schema));
                let counts = reading.counted.has(&table.schema);
                Described::Ours(table, counts)
            }
            None => Described::Ignored,
        };
        reading.tables.insert(looked.relation.oid, described);
        Ok(())
    }

    /// What an error means that ends the stream.
    fn stream_error(&self, error: ServerError) -> Cause {
        let settings = &self.shared.settings;
        let slot = settings.slot.clone();
        match Cause::of(error) {
            Cause::Statement(error)
                if error.is(state::NO_OBJECT) && is_about_publication(&error, &settings.publication) =>
            {
                Cause::Unreadable { slot, publication: settings.publication.clone() }
            }
            Cause::Statement(error) if error.is(state::NO_FILE) => Cause::SlotLost { slot, reason: error.message },
            Cause::Statement(error) => Cause::Stream(error),
            other => other,
        }
    }

    /// Waits for bytes and reads them, asking the server for a sign of life where it is silent.
    async fn fill(&mut self) -> Result<(), Cause> {
        let waits_for_mark = self.reading.open.is_none() && !self.reading.marks.is_empty();
        loop {
            self.incoming.pause().await;
            if self.incoming.fill()? {
                self.asked = None;
                return Ok(());
            }
            // Nothing is there now, so a server that was asked this long ago is not there either.
            if self.asked.is_some_and(|asked| asked.elapsed() > self.patience) {
                return Err(Cause::Silent { seconds: self.patience.as_secs() });
            }
            let pause = if waits_for_mark { ASK_AGAIN } else { self.patience / 2 };
            match tokio::time::timeout(pause, self.incoming.readable()).await {
                Ok(ready) => ready?,
                Err(_) => {
                    self.asked.get_or_insert_with(Instant::now);
                    self.replier.replies().ask();
                }
            }
        }
    }
}

/// Whether the decoder missed its publication. The text is in the server's language; the function's name is not.
fn is_about_publication(error: &ServerError, publication: &str) -> bool {
    error.routine.contains("publication")
        || error.routine.contains("Publication")
        || error.message.contains(publication)
}

fn cut_short(what: &'static str) -> Cause {
    Cause::malformed(Malformed("a message ends too early"), what)
}

impl Reading {
    fn new(known: Known, from: Lsn, counted: HashMap<TableName, Option<String>>) -> Self {
        Self {
            known,
            tables: HashMap::new(),
            slots: HashMap::new(),
            scratch: Scratch::default(),
            from,
            position: from,
            open: None,
            marks: Vec::new(),
            last_mark: 0,
            counted: Counted(counted),
            requests: None,
        }
    }

    fn watch(&mut self, lsn: Lsn, joining: Vec<TableName>) -> Mark {
        self.last_mark += 1;
        let mark = Mark(self.last_mark);
        self.marks.push(Watched { lsn, mark, joining });
        mark
    }

    /// A mark that has come due at a boundary: where the log is, or before a transaction whose commit record starts at
    /// `commit_start`.
    fn due_mark(&mut self, commit_start: Option<Lsn>) -> Option<Watched> {
        if self.open.is_some() || self.marks.is_empty() {
            return None;
        }
        let reached = self.position.max(commit_start.unwrap_or_default());
        let first = self.marks.iter().enumerate().min_by_key(|(_, watched)| (watched.lsn, watched.mark.0));
        let (index, _) = first.filter(|(_, watched)| watched.lsn <= reached)?;
        Some(self.marks.remove(index))
    }

    /// The log has come to a watched position, or stands beyond it: then changes may have been passed over that count.
    fn reach(&mut self, watched: Watched, into: &mut Changes) -> Gulp {
        for table in &watched.joining {
            self.counted.0.insert(table.clone(), None);
        }
        self.recount();
        if self.position > watched.lsn {
            return Gulp::Passed(watched.mark);
        }
        self.position = watched.lsn;
        into.reached(watched.lsn.position());
        Gulp::Mark(watched.mark)
    }

    fn recount(&mut self) {
        for described in self.tables.values_mut() {
            if let Described::Ours(table, counts) = described {
                *counts = self.counted.has(&table.schema);
            }
        }
    }

    /// The mark that stands before this message, if it begins a transaction.
    fn mark_before(&mut self, message: &[u8]) -> Result<Option<Watched>, Cause> {
        if self.marks.is_empty() || message.first() != Some(&b'B') {
            return Ok(None);
        }
        match Message::parse(message) {
            Ok(Message::Begin(begin)) => Ok(self.due_mark(Some(begin.commit_start))),
            Ok(_) => Ok(None),
            Err(what) => Err(Cause::malformed(what, "Begin")),
        }
    }

    fn keepalive(&mut self, body: &[u8], into: &mut Changes) -> Result<Step, Cause> {
        let mut reader = Reader::new(body);
        let mut parse = || {
            reader.take(1)?;
            let end = Lsn(reader.u64()?);
            reader.take(8)?;
            Ok((end, reader.u8()? == 1))
        };
        let (end, wants_reply) = parse().map_err(|what| Cause::malformed(what, "keepalive"))?;
        let moves = self.open.is_none() && end > self.position;
        if moves {
            self.position = end;
            into.reached(end.position());
        }
        let (count, first) =
            self.requests.filter(|(_, first)| first.elapsed() < SHUTDOWN_WINDOW).unwrap_or((0, Instant::now()));
        self.requests = (wants_reply && !moves).then_some((count + 1, first));
        if count >= SHUTDOWN_REQUESTS {
            return Err(Cause::ShuttingDown);
        }
        Ok(match (wants_reply, moves) {
            (true, _) => Step::Reply,
            (false, true) => Step::Progress,
            (false, false) => Step::Next,
        })
    }

    fn message(&mut self, message: &[u8], wire_bytes: usize, into: &mut Changes) -> Result<Step, Cause> {
        self.requests = None;
        let parsed = Message::parse(message).map_err(|what| Cause::malformed(what, "a message"))?;
        match parsed {
            Message::Begin(begin) => {
                self.open = Some(begin);
                if !self.skips() {
                    into.begin();
                }
            }
            Message::Commit(commit) => return self.commit(commit.end, into),
            Message::Relation(relation) => return Ok(Step::Describe(relation)),
            Message::Other => {}
            _ if self.skips() => {}
            change => self.change(change, message, wire_bytes, into)?,
        }
        Ok(Step::Next)
    }

    fn skips(&self) -> bool {
        self.open.is_some_and(|begin| begin.commit_start < self.from)
    }

    fn commit(&mut self, end: Lsn, into: &mut Changes) -> Result<Step, Cause> {
        let skips = self.skips();
        let begin =
            self.open.take().ok_or_else(|| Cause::malformed(Malformed("a commit without its begin"), "Commit"))?;
        if skips {
            return Ok(Step::Next);
        }
        self.position = self.position.max(end);
        into.commit(TransactionEnd {
            position: end.position(),
            id: begin.xid.to_string().into(),
            commit: moment(begin.committed),
        });
        Ok(Step::Boundary)
    }

    fn change(
        &mut self,
        change: Message<'_>,
        message: &[u8],
        wire_bytes: usize,
        into: &mut Changes,
    ) -> Result<(), Cause> {
        let scratch = &mut self.scratch;
        let (oid, result) = match change {
            Message::Insert { relation, new } => {
                let Some(table) = ours(&self.tables, relation)? else { return Ok(()) };
                (relation, row::insert(table, into, new, wire_bytes, scratch))
            }
            Message::Update { relation, old, new } => {
                let Some(table) = ours(&self.tables, relation)? else { return Ok(()) };
                (relation, row::update(table, into, (message, old, new), wire_bytes, scratch))
            }
            Message::Delete { relation, old } => {
                let Some(table) = ours(&self.tables, relation)? else { return Ok(()) };
                (relation, row::delete(table, into, old, wire_bytes, scratch))
            }
            Message::Truncate(mut relations) => {
                return relations.try_for_each(|relation| self.truncate(relation, wire_bytes, into));
            }
            _ => return Ok(()),
        };
        result.map_err(|what| self.malformed(what, oid))
    }

    fn truncate(&self, relation: u32, wire_bytes: usize, into: &mut Changes) -> Result<(), Cause> {
        let Some(table) = ours(&self.tables, relation)? else { return Ok(()) };
        row::truncate(table, into, wire_bytes).map_err(|what| self.malformed(what, relation))
    }

    fn malformed(&self, what: Malformed, oid: u32) -> Cause {
        let place = match self.tables.get(&oid) {
            Some(Described::Ours(table, _)) => format!("table {}, after {}", table.schema.table, self.position),
            _ => format!("relation {oid}, after {}", self.position),
        };
        Cause::malformed(what, place)
    }
}

/// The table of a change; `None` for one whose changes do not count.
fn ours(tables: &HashMap<u32, Described>, relation: u32) -> Result<Option<&Table>, Cause> {
    match tables.get(&relation) {
        Some(Described::Ours(table, true)) => Ok(Some(table)),
        Some(Described::Ours(_, false) | Described::Ignored) => Ok(None),
        None => Err(Cause::malformed(Malformed("a change of an undescribed table"), format!("relation {relation}"))),
    }
}

#[async_trait]
impl Log for PostgresLog {
    async fn read(&mut self, into: &mut Changes) -> Result<Gulp, Fault> {
        loop {
            if let Some(lookup) = &mut self.lookup {
                let looked = lookup.await;
                self.lookup = None;
                self.described(looked, into)?;
            }
            if let Some(gulp) = self.consume(into)? {
                self.progress = false;
                return Ok(gulp);
            }
            if self.lookup.is_some() {
                continue;
            }
            if std::mem::take(&mut self.progress) {
                return Ok(Gulp::Read);
            }
            self.fill().await?;
        }
    }

    fn watch(&mut self, position: &Position, joining: &[TableName]) -> Mark {
        // A position that is none of ours has no place before which to stop: it is passed at once.
        self.reading.watch(Lsn::of(position).unwrap_or_default(), joining.to_vec())
    }

    fn exclude(&mut self, tables: &[TableName]) {
        self.reading.counted.0.retain(|table, _| !tables.contains(table));
        self.reading.recount();
    }

    async fn close(self: Box<Self>) {
        let mut incoming = self.incoming;
        self.replier.finish();
        let ended = async {
            loop {
                while let Ok(Some(frame)) = incoming.frame() {
                    incoming.consume(&frame);
                    if frame.tag == b'Z' {
                        return;
                    }
                }
                if incoming.readable().await.is_err() || incoming.fill().is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(LEAVE_DEADLINE, ended).await.is_err() {
            tracing::debug!("the server is in the middle of a transaction; the connection is cut");
        }
    }
}

#[cfg(test)]
mod tests;
