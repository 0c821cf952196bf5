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
//! **Transactions in progress** come in pieces (protocol 2), see `reading::in_progress`. Letting the server forget what lies
//! before the end of a finished transaction is safe while others are in progress: they end later, and a log that is opened
//! anew hands them over from their start.
//!
//! **Marks.** A transaction ends past a position exactly if its commit record starts at or past it (as above). A keepalive
//! counts between transactions only: inside one, or inside a piece of one, it may run ahead of what we have read.

mod reading;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use millrace_model::{Changes, Fault, Gulp, Log, Mark, Position, Registry, TableName, TableSchema};
use tokio::time::Instant;

use crate::Shared;
use crate::client::duplex::Incoming;
use crate::client::replies::Replier;
use crate::client::server_error::{ServerError, state};
use crate::client::session::Session;
use crate::decode::message::Relation;
use crate::decode::reader::Malformed;
use crate::fault::Cause;
use crate::position::Lsn;
use crate::relation::{Bulk, Description, Known, Resolved};
use crate::slot::Grip;
use reading::{Described, Doubt, Reading, Step};

/// How often an idle server is asked where it is, while somebody waits for a mark.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long a server may be silent where it has no timeout of its own.
const SILENCE_WITHOUT_TIMEOUT: Duration = Duration::from_mins(5);
/// How long the server may take to let go of the slot when we leave.
const LEAVE_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes of XLogData before its message: kind, start, end, clock.
const XLOG_HEADER: usize = 1 + 3 * 8;
/// Where in it the clock stands.
const CLOCK: usize = 1 + 2 * 8;

type Lookup = Pin<Box<dyn Future<Output = Looked> + Send>>;

/// What came back from the catalogue, with the session to ask again.
struct Looked {
    relation: Relation,
    /// Asked because of it.
    doubt: Option<Doubt>,
    answer: Result<(Session, Description, Option<Bulk>), Cause>,
}

/// The open log of a slot.
pub(crate) struct PostgresLog {
    shared: Arc<Shared>,
    incoming: Incoming,
    replier: Replier,
    patience: Duration,
    binary: bool,
    streaming: bool,
    catalogue: Option<Session>,
    lookup: Option<Lookup>,
    bulk: Bulk,
    reading: Reading,
    /// When the server was asked for a sign of life, without one since.
    asked: Option<Instant>,
    /// Something was appended, or the position moved, that no call has returned for yet.
    progress: bool,
}

impl PostgresLog {
    pub(crate) fn new(shared: Arc<Shared>, grip: Grip, from: Lsn, registry: &Registry) -> Self {
        let known = Known::new(&shared.settings.database, registry);
        let counted = registry.entries().map(|entry| (entry.table.clone(), Some(entry.source_id.clone()))).collect();
        let mut reading = Reading::new(known, from, counted);
        if shared.settings.old_rows {
            reading.keep_old();
        }
        Self {
            shared,
            incoming: grip.incoming,
            replier: grip.replier,
            patience: grip.sender_timeout.unwrap_or(SILENCE_WITHOUT_TIMEOUT),
            binary: grip.binary,
            streaming: grip.streaming,
            catalogue: Some(grip.catalogue),
            lookup: None,
            bulk: Bulk::default(),
            reading,
            asked: None,
            progress: false,
        }
    }

    /// Appends from the frames that are there. `Some` where the engine should hear of it now.
    fn consume(&mut self, into: &mut Changes) -> Result<Option<Gulp>, Cause> {
        loop {
            if let Some(watched) = self.reading.due_mark(None) {
                return Ok(Some(self.reading.reach(&watched, into)));
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
                        return Ok(Some(self.reading.reach(&watched, into)));
                    }
                    if let Some(doubt) = self.reading.doubt_before(message)? {
                        self.look(doubt.relation.clone(), Some(doubt));
                        return Ok(None);
                    }
                    clock =
                        body.get(CLOCK..XLOG_HEADER).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
                    let step = self.reading.message(message, body.len(), into);
                    step.map_err(|cause| self.shared.without_streaming(cause))?
                }
                (b'd', Some(b'k')) => {
                    if let Some(watched) = self.reading.mark_before_keepalive(body)? {
                        return Ok(Some(self.reading.reach(&watched, into)));
                    }
                    self.reading.keepalive(body, into)?
                }
                (b'E', _) => return Err(self.stream_error(ServerError::parse(body))),
                (b'c' | b'C' | b'Z', _) => return Err(Cause::Ended),
                _ => Step::Next,
            };
            self.incoming.consume(&frame);
            if let Some(clock) = clock {
                self.incoming.saw(clock);
                // The engine hears of each gulp, also inside a transaction: it has memory to watch.
                self.progress = true;
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
                    if self.describe(relation, into)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Learns what a table is, if it is ours. Returns whether it has to be looked up first.
    fn describe(&mut self, relation: Relation, into: &mut Changes) -> Result<bool, Cause> {
        if !self.shared.settings.lists(&relation.schema, &relation.table) {
            self.reading.describe(relation.oid, Described::Ignored);
            return Ok(false);
        }
        let commit_start = self.reading.commit_start();
        if let Some(description) = commit_start.and_then(|start| self.bulk.take(&relation, start)) {
            self.resolve(&relation, &description, into)?;
            return Ok(false);
        }
        self.look(relation, None);
        Ok(true)
    }

    /// Asks the catalogue.
    fn look(&mut self, relation: Relation, doubt: Option<Doubt>) {
        let with_all = self.bulk.is_due();
        let (shared, session) = (Arc::clone(&self.shared), self.catalogue.take());
        self.lookup = Some(Box::pin(async move {
            let answer = shared.describe(session, &relation, with_all).await;
            Looked { relation, doubt, answer }
        }));
    }

    fn described(&mut self, looked: Looked, into: &mut Changes) -> Result<(), Cause> {
        let (session, description, bulk) = looked.answer?;
        self.catalogue = Some(session);
        if let Some(bulk) = bulk {
            self.bulk = bulk;
        }
        let relation = &looked.relation;
        match looked.doubt {
            Some(doubt) => self.settle(&doubt, &description, into),
            None if self.is_doubtful(relation, &description) => self.resolve_for_now(relation, &description, into),
            None => self.resolve(relation, &description, into),
        }
    }

    fn slot_of(&mut self, relation: &Relation) -> usize {
        let next = self.reading.slots.len();
        *self.reading.slots.entry(relation.oid).or_insert(next)
    }

    fn resolve(&mut self, relation: &Relation, description: &Description, into: &mut Changes) -> Result<(), Cause> {
        let slot = self.slot_of(relation);
        let reading = &mut self.reading;
        let resolved = reading.known.resolve(slot, relation, description, self.binary);
        let resolved = match reading.in_progress.xid() {
            None => resolved.map_err(|cause| self.shared.without_binary(cause))?,
            // It may yet be undone, so it must not stop the pipeline.
            Some(_) => resolved.map_err(|_cause| {
                let table = reading.known.name_of(relation).to_string();
                self.shared.without_streaming(Cause::InProgress { table })
            })?,
        };
        let described = match resolved {
            Some(Resolved { table, is_untold }) => {
                into.define(slot, Arc::clone(&table.schema));
                let counts = reading.counted.has(&table.schema);
                if counts && is_untold {
                    into.untold(&table.schema);
                }
                if let Some(pieces) = reading.in_progress.current() {
                    pieces.see(table.schema.table.clone(), Some(Arc::clone(&table.schema)), counts);
                }
                Described::Ours(table, counts)
            }
            None => Described::Ignored,
        };
        reading.describe(relation.oid, described);
        Ok(())
    }

    fn is_doubtful(&self, relation: &Relation, description: &Description) -> bool {
        self.reading.in_progress.xid().is_some() && self.reading.known.doubts(relation, description)
    }

    /// What a transaction in progress has done to a table is known only when it has ended; until then its rows are read
    /// by the log's word.
    fn resolve_for_now(
        &mut self,
        relation: &Relation,
        description: &Description,
        into: &mut Changes,
    ) -> Result<(), Cause> {
        let slot = self.slot_of(relation);
        let reading = &mut self.reading;
        let name = reading.known.name_of(relation);
        let counts = reading.counted.names(&name);
        let unreadable = || self.shared.without_streaming(Cause::InProgress { table: name.to_string() });
        let seen = reading.known.see(slot, relation, description, self.binary);
        let table = if counts { seen.map_err(|_cause| unreadable())? } else { None };
        let provisional = table.as_ref().map(|table| Arc::clone(&table.schema));
        let described = match table {
            Some(table) => {
                into.define(slot, Arc::clone(&table.schema));
                Described::Ours(table, true)
            }
            None => Described::Ignored,
        };
        reading.describe(relation.oid, described);
        let (number, part) = (reading.next_description(), reading.in_progress.part);
        if let (Some(xid), Some(pieces)) = (reading.in_progress.xid(), reading.in_progress.current()) {
            pieces.see(name, None, counts);
            pieces.doubt(xid, part, number, relation.clone(), provisional);
        }
        Ok(())
    }

    /// The transaction has ended: what it did to a table is for all to see.
    fn settle(&mut self, doubt: &Doubt, description: &Description, into: &mut Changes) -> Result<(), Cause> {
        let slot = self.slot_of(&doubt.relation);
        let reading = &mut self.reading;
        let resolved = reading.known.resolve(slot, &doubt.relation, description, self.binary);
        let resolved = resolved.map_err(|cause| self.shared.without_binary(cause))?;
        if let Some(Resolved { table, is_untold: true }) = &resolved
            && reading.counted.has(&table.schema)
        {
            into.untold(&table.schema);
        }
        let table = resolved.map(|resolved| resolved.table);
        match (&doubt.provisional, &table) {
            (Some(then), Some(table)) if is_read_alike(then, &table.schema) && reading.counted.has(&table.schema) => {
                into.restate(doubt.xid, Arc::clone(then), Arc::clone(&table.schema));
            }
            (Some(then), _) => {
                return Err(self.shared.without_streaming(Cause::InProgress { table: then.table.to_string() }));
            }
            (None, _) => {}
        }
        let described = table.map_or(Described::Ignored, |table| Described::Ours(table, false));
        reading.in_progress.settle(doubt, described);
        Ok(())
    }

    /// What an error means that ends the stream.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else went wrong stays what it is")]
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

/// Whether rows that were read under one schema are what they would be under the other.
fn is_read_alike(then: &TableSchema, now: &TableSchema) -> bool {
    let kinds = |schema: &TableSchema| schema.columns.iter().map(|column| column.kind).collect::<Vec<_>>();
    then.key == now.key && kinds(then) == kinds(now)
}

fn cut_short(what: &'static str) -> Cause {
    Cause::malformed(Malformed("a message ends too early"), what)
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

    fn watch(&mut self, position: &Position, joining: &[Arc<TableSchema>]) -> Mark {
        // A position that is none of ours has no place before which to stop: it is passed at once.
        self.reading.watch(Lsn::of(position).unwrap_or_default(), joining.to_vec())
    }

    fn exclude(&mut self, tables: &[TableName]) {
        self.reading.counted.0.retain(|table, _| !tables.contains(table));
        self.reading.recount();
    }

    fn decline_in_progress(&mut self) -> bool {
        self.shared.whole_only.store(true, Ordering::Release);
        self.streaming
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
