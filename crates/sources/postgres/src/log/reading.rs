//! How far the stream has been understood: transactions, tables, marks. Nothing here waits.

mod in_progress;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::{Changes, Column, Gulp, Mark, TableName, TableSchema, TransactionEnd};
use tokio::time::Instant;

use crate::decode::message::{Begin, Message, Relation};
use crate::decode::reader::{Malformed, Reader};
use crate::decode::row::{self, Scratch, Table};
use crate::fault::Cause;
use crate::position::{Lsn, moment};
use crate::relation::Known;
pub(super) use in_progress::{Doubt, InProgress};

/// A server that asks for so many replies in a row, all at one place and each as soon as it has the one before, waits for
/// our flushed position in order to shut down (`WalSndDone`).
const SHUTDOWN_REQUESTS: u32 = 50;
/// In a row means within this time: an idle server that times out soon asks as well, but slowly.
const SHUTDOWN_WINDOW: Duration = Duration::from_secs(5);

/// What the log knows of a table.
pub(super) enum Described {
    /// Not ours: its changes are passed over.
    Ignored,
    /// Ours; its changes count, or will from a mark on.
    Ours(Table, bool),
}

/// How far the stream has been understood.
pub(super) struct Reading {
    pub(super) known: Known,
    pub(super) tables: HashMap<u32, Described>,
    pub(super) slots: HashMap<u32, usize>,
    pub(super) in_progress: InProgress,
    /// Descriptions so far, and which of them `tables` holds.
    descriptions: u64,
    described: HashMap<u32, u64>,
    scratch: Scratch,
    from: Lsn,
    pub(super) position: Lsn,
    /// The transaction under way; it is skipped where its commit record starts before `from`.
    pub(super) open: Option<Begin>,
    pub(super) marks: Vec<Watched>,
    last_mark: u64,
    pub(super) counted: Counted,
    /// Requests for a reply in a row, and when the first of them came.
    requests: Option<(u32, Instant)>,
}

/// A position that somebody waits for.
pub(super) struct Watched {
    lsn: Lsn,
    mark: Mark,
    /// Tables that count from there on, as they look there.
    joining: Vec<Arc<TableSchema>>,
}

/// The tables whose changes count: under which membership, or (`None`) under whichever they have.
pub(super) struct Counted(pub(super) HashMap<TableName, Option<String>>);

impl Counted {
    pub(super) fn has(&self, schema: &TableSchema) -> bool {
        self.0.get(&schema.table).is_some_and(|id| id.as_ref().is_none_or(|id| *id == schema.source_id))
    }

    /// Under whichever membership.
    pub(super) fn names(&self, table: &TableName) -> bool {
        self.0.contains_key(table)
    }
}

/// What a frame leads to.
pub(super) enum Step {
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

impl Reading {
    /// Keeps the rows before changes too.
    pub(super) fn keep_old(&mut self) {
        self.scratch.keeps_old = true;
    }

    pub(super) fn new(known: Known, from: Lsn, counted: HashMap<TableName, Option<String>>) -> Self {
        Self {
            known,
            tables: HashMap::new(),
            slots: HashMap::new(),
            in_progress: InProgress::default(),
            descriptions: 0,
            described: HashMap::new(),
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

    pub(super) fn watch(&mut self, lsn: Lsn, joining: Vec<Arc<TableSchema>>) -> Mark {
        self.last_mark += 1;
        let mark = Mark(self.last_mark);
        self.marks.push(Watched { lsn, mark, joining });
        mark
    }

    /// A mark that has come due at a boundary: where the log is, or before a transaction whose commit record starts at
    /// `commit_start`.
    pub(super) fn due_mark(&mut self, commit_start: Option<Lsn>) -> Option<Watched> {
        if self.open.is_some() || self.marks.is_empty() {
            return None;
        }
        let reached = self.position.max(commit_start.unwrap_or_default());
        let first = self.marks.iter().enumerate().min_by_key(|(_, watched)| (watched.lsn, watched.mark.0));
        let (index, _) = first.filter(|(_, watched)| watched.lsn <= reached)?;
        Some(self.marks.remove(index))
    }

    /// The log has come to a watched position, or stands beyond it: then changes may have been passed over that count.
    pub(super) fn reach(&mut self, watched: &Watched, into: &mut Changes) -> Gulp {
        for schema in &watched.joining {
            self.counted.0.insert(schema.table.clone(), None);
            self.known.learn(schema);
            self.adopt(schema, into);
        }
        self.recount();
        if self.position > watched.lsn {
            return Gulp::Passed(watched.mark);
        }
        self.position = watched.lsn;
        into.reached(watched.lsn.position());
        Gulp::Mark(watched.mark)
    }

    /// A table that joins keeps the column ids and the key that its snapshot has: the log may have described it before, when
    /// the catalogue no longer showed it, and does not describe it again for that.
    fn adopt(&mut self, joining: &TableSchema, into: &mut Changes) {
        for described in self.tables.values_mut() {
            let Described::Ours(table, _) = described else { continue };
            if table.schema.table == joining.table && look_alike(&table.schema, joining) {
                let (columns, key) = (joining.columns.clone(), joining.key.clone());
                table.is_key = (0..columns.len()).map(|column| key.contains(&column)).collect();
                table.schema = Arc::new(TableSchema { columns, key, ..(*table.schema).clone() });
                into.define(table.slot, Arc::clone(&table.schema));
            }
        }
    }

    pub(super) fn recount(&mut self) {
        for described in self.tables.values_mut() {
            if let Described::Ours(table, counts) = described {
                *counts = self.counted.has(&table.schema);
            }
        }
    }

    /// The mark that stands before this message, if it begins a transaction or is a whole one's.
    pub(super) fn mark_before(&mut self, message: &[u8]) -> Result<Option<Watched>, Cause> {
        if self.marks.is_empty() || !matches!(message.first(), Some(b'B' | b'c')) {
            return Ok(None);
        }
        match Message::parse(message) {
            Ok(Message::Begin(begin) | Message::StreamCommit(begin, _)) => Ok(self.due_mark(Some(begin.commit_start))),
            Ok(_) => Ok(None),
            Err(what) => Err(Cause::malformed(what, "Begin")),
        }
    }

    /// A doubt that has to be settled before this message, if that ends a transaction in progress.
    pub(super) fn doubt_before(&mut self, message: &[u8]) -> Result<Option<Doubt>, Cause> {
        if message.first() != Some(&b'c') {
            return Ok(None);
        }
        match Message::parse(message) {
            Ok(Message::StreamCommit(begin, _)) => Ok(self.in_progress.doubt(begin.xid)),
            Ok(_) => Ok(None),
            Err(what) => Err(Cause::malformed(what, "Stream Commit")),
        }
    }

    /// A mark that has to be given before a sign of life moves the log beyond it: the server may have gone on through what
    /// others wrote, and nothing that counts lies between.
    pub(super) fn mark_before_keepalive(&mut self, body: &[u8]) -> Result<Option<Watched>, Cause> {
        let (end, _) = parse_keepalive(body)?;
        Ok(if self.moves_to(end) { self.due_mark(Some(end)) } else { None })
    }

    /// Whether a sign of life at `end` moves the log: one inside a transaction says nothing.
    fn moves_to(&self, end: Lsn) -> bool {
        self.open.is_none() && self.in_progress.xid().is_none() && end > self.position
    }

    pub(super) fn keepalive(&mut self, body: &[u8], into: &mut Changes) -> Result<Step, Cause> {
        let (end, wants_reply) = parse_keepalive(body)?;
        let moves = self.moves_to(end);
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

    pub(super) fn message(&mut self, message: &[u8], wire_bytes: usize, into: &mut Changes) -> Result<Step, Cause> {
        self.requests = None;
        let parsed = match self.in_progress.xid() {
            None => Message::parse(message).map_err(|what| Cause::malformed(what, "a message"))?,
            Some(_) => self.piece(message, into)?,
        };
        match parsed {
            Message::Begin(begin) => {
                self.open = Some(begin);
                if !self.skips() {
                    into.begin();
                }
            }
            Message::Commit(commit) => return self.commit(commit.end, into),
            Message::Relation(relation) => return Ok(Step::Describe(relation)),
            Message::StreamStart { xid } => {
                self.in_progress.enter(xid);
                into.enter(xid);
            }
            Message::StreamStop => {
                self.in_progress.leave();
                into.leave();
            }
            Message::StreamAbort { xid, part } => {
                self.in_progress.undo(xid, part);
                into.undo(xid, part);
            }
            Message::StreamCommit(begin, commit) => return self.stream_commit(begin, commit.end, into),
            Message::Other => {}
            _ if self.skips() => {}
            change @ (Message::Insert { .. }
            | Message::Update { .. }
            | Message::Delete { .. }
            | Message::Truncate(_)) => {
                self.change(change, message, wire_bytes, into)?;
            }
        }
        Ok(Step::Next)
    }

    /// A message of a transaction in progress.
    fn piece<'a>(&mut self, message: &'a [u8], into: &mut Changes) -> Result<Message<'a>, Cause> {
        let (part, parsed) = Message::parse_streamed(message).map_err(|what| Cause::malformed(what, "a message"))?;
        if let Some(part) = part.filter(|&part| part != self.in_progress.part) {
            self.in_progress.part = part;
            into.enter_part(part);
        }
        if matches!(
            parsed,
            Message::Begin(_) | Message::Commit(_) | Message::StreamCommit(..) | Message::StreamAbort { .. }
        ) {
            return Err(Cause::malformed(Malformed("a transaction inside a piece of another"), "Stream Start"));
        }
        Ok(parsed)
    }

    /// A transaction of which pieces came has committed.
    fn stream_commit(&mut self, begin: Begin, end: Lsn, into: &mut Changes) -> Result<Step, Cause> {
        let pieces = self.in_progress.end(begin.xid).unwrap_or_default();
        let skips = begin.commit_start < self.from;
        if skips {
            into.undo(begin.xid, begin.xid);
        } else {
            if let Some(table) = pieces.moved(&self.counted) {
                return Err(Cause::InProgress { table: table.to_string() });
            }
            self.position = self.position.max(end);
            into.end(begin.xid, transaction_end(begin, end));
        }
        for (oid, (number, mut described)) in pieces.tables {
            // A later description by another transaction counts more.
            if self.described.get(&oid).is_none_or(|&newest| newest < number) {
                if let Described::Ours(table, counts) = &mut described {
                    *counts = self.counted.has(&table.schema);
                    into.define(table.slot, Arc::clone(&table.schema));
                }
                self.described.insert(oid, number);
                self.tables.insert(oid, described);
            }
        }
        Ok(if skips { Step::Next } else { Step::Boundary })
    }

    /// The number of the description that comes now.
    pub(super) fn next_description(&mut self) -> u64 {
        self.descriptions += 1;
        self.descriptions
    }

    /// What a table is from here on, for the transaction in progress whose piece this is, or for all that follow.
    pub(super) fn describe(&mut self, oid: u32, described: Described) {
        let number = self.next_description();
        match self.in_progress.current() {
            Some(pieces) => drop(pieces.tables.insert(oid, (number, described))),
            None => {
                self.described.insert(oid, number);
                self.tables.insert(oid, described);
            }
        }
    }

    /// Where the commit record of the transaction under way starts.
    pub(super) fn commit_start(&self) -> Option<Lsn> {
        self.open.map(|begin| begin.commit_start)
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
        into.commit(transaction_end(begin, end));
        Ok(Step::Boundary)
    }

    #[expect(clippy::needless_pass_by_value, reason = "a list of relations is read up on the way")]
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other message is a change")]
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
                let Some(table) = ours(&self.tables, &self.in_progress, relation)? else { return Ok(()) };
                (relation, row::insert(table, into, new, wire_bytes, scratch))
            }
            Message::Update { relation, old, new } => {
                let Some(table) = ours(&self.tables, &self.in_progress, relation)? else { return Ok(()) };
                (relation, row::update(table, into, (message, old, new), wire_bytes, scratch))
            }
            Message::Delete { relation, old } => {
                let Some(table) = ours(&self.tables, &self.in_progress, relation)? else { return Ok(()) };
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
        let Some(table) = ours(&self.tables, &self.in_progress, relation)? else { return Ok(()) };
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

/// Whether two descriptions differ in nothing but ids and what may be null.
fn look_alike(one: &TableSchema, other: &TableSchema) -> bool {
    let alike = |(one, other): (&Column, &Column)| one.name == other.name && one.type_name == other.type_name;
    one.columns.len() == other.columns.len() && one.columns.iter().zip(&other.columns).all(alike)
}

fn transaction_end(begin: Begin, end: Lsn) -> TransactionEnd {
    TransactionEnd { position: end.position(), id: begin.xid.to_string().into(), commit: moment(begin.committed) }
}

/// The table of a change; `None` for one whose changes do not count.
fn ours<'a>(
    tables: &'a HashMap<u32, Described>,
    in_progress: &'a InProgress,
    relation: u32,
) -> Result<Option<&'a Table>, Cause> {
    match in_progress.table(relation, tables) {
        Some(Described::Ours(table, true)) => Ok(Some(table)),
        Some(Described::Ours(_, false) | Described::Ignored) => Ok(None),
        None => Err(Cause::malformed(Malformed("a change of an undescribed table"), format!("relation {relation}"))),
    }
}

/// Up to where the server has sent, and whether it asks for a reply.
fn parse_keepalive(body: &[u8]) -> Result<(Lsn, bool), Cause> {
    let mut reader = Reader::new(body);
    let mut parse = || {
        reader.take(1)?;
        let end = Lsn(reader.u64()?);
        reader.take(8)?;
        Ok((end, reader.u8()? == 1))
    };
    parse().map_err(|what| Cause::malformed(what, "keepalive"))
}

#[cfg(test)]
mod tests;
