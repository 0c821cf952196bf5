//! A source database as a script: a log of transactions and a slot that behaves like PostgreSQL's, traps included.
//!
//! The traps are the point: a start before the confirmed position is moved forward without an error; a slot can be dropped,
//! made anew, moved by a stranger or lose its log; a dead holder's slot is free at once, a paused one's only when the server
//! expels it.

mod pieces;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use millrace_model::{
    Changes, Column, ColumnBuilder, Fault, Finding, Gulp, Held, Kind, Log, Mark, Member, Op, Opened, Position,
    Registry, Release, Slot, SlotState, Snapshot, Source, SourceIdentity, TableName, TableSchema, Taken, Timestamp,
    TransactionEnd,
};
use tokio::sync::Notify;

use crate::fuse::{Fuse, Unanswered};
use pieces::Pieces;
use snapshot::ScriptedSnapshot;

/// One row change of the script. Every table has columns `id` (key) and `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedRow {
    /// Table.
    pub table: String,
    /// What happens to the row.
    pub op: Op,
    /// Its key.
    pub id: i64,
    /// Its value; null for deletes.
    pub value: Option<String>,
    /// The log does not carry the value, because it did not change.
    pub unsent: bool,
}

impl ScriptedRow {
    /// An insert.
    pub fn create(table: &str, id: i64, value: &str) -> Self {
        Self { table: table.into(), op: Op::Create, id, value: Some(value.into()), unsent: false }
    }

    /// An update.
    pub fn update(table: &str, id: i64, value: &str) -> Self {
        Self { op: Op::Update, ..Self::create(table, id, value) }
    }

    /// An update that leaves a large value alone: the log does not carry it.
    pub fn touch(table: &str, id: i64) -> Self {
        Self { op: Op::Update, value: None, unsent: true, ..Self::create(table, id, "") }
    }

    /// A delete.
    pub fn delete(table: &str, id: i64) -> Self {
        Self { op: Op::Delete, value: None, ..Self::create(table, id, "") }
    }
}

#[derive(Debug)]
struct Entry {
    start: u64,
    end: u64,
    /// Empty: somebody else's record.
    rows: Vec<ScriptedRow>,
    /// Tables that were published when the rows were written.
    published: Vec<String>,
}

#[derive(Debug)]
struct SlotRow {
    confirmed: u64,
    lost: bool,
    holder: Option<u64>,
    generation: u64,
}

#[derive(Debug)]
struct WorldState {
    log: Vec<Entry>,
    slot: Option<SlotRow>,
    generation: u64,
    holders: u64,
    cluster: String,
    began: Option<u64>,
    /// Tables of the publication, each with the number of its membership.
    published: BTreeMap<String, u64>,
    memberships: u64,
    /// How often each table was rewritten.
    rewrites: BTreeMap<String, u64>,
}

/// The database; shared by all processes of a test.
#[derive(Clone, Debug)]
pub struct World {
    state: Arc<Mutex<WorldState>>,
    changed: Arc<Notify>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty log and no slot.
    pub fn new() -> Self {
        let state = WorldState {
            log: Vec::new(),
            slot: None,
            generation: 0,
            holders: 0,
            cluster: "c1".into(),
            began: None,
            published: BTreeMap::new(),
            memberships: 0,
            rewrites: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(Notify::new()) }
    }

    fn state(&self) -> MutexGuard<'_, WorldState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The end of the log.
    pub fn end(&self) -> u64 {
        self.state().log.last().map_or(100, |entry| entry.end)
    }

    /// Commits a transaction; without rows it is a record that is none of ours. Returns its end.
    pub fn append(&self, rows: impl IntoIterator<Item = ScriptedRow>) -> u64 {
        let start = self.end();
        let end = start + 10;
        let mut state = self.state();
        let published = state.published.keys().cloned().collect();
        state.log.push(Entry { start, end, rows: rows.into_iter().collect(), published });
        drop(state);
        self.changed.notify_waiters();
        end
    }

    /// All rows of the transactions that end after `from` and at or before `to`, in order.
    pub fn rows_between(&self, from: u64, to: u64) -> Vec<ScriptedRow> {
        let state = self.state();
        let within = state.log.iter().filter(|entry| entry.end > from && entry.end <= to);
        within.flat_map(|entry| entry.rows.clone()).collect()
    }

    /// The rows of `table` as of `position`: key and value.
    pub fn rows_at(&self, table: &str, position: u64) -> BTreeMap<i64, Option<String>> {
        let state = self.state();
        let mut rows = BTreeMap::new();
        for row in state.log.iter().filter(|entry| entry.end <= position).flat_map(|entry| &entry.rows) {
            if row.table != table {
                continue;
            }
            match row.op {
                Op::Delete => drop(rows.remove(&row.id)),
                Op::Truncate => rows.clear(),
                Op::Create | Op::Update | Op::Read if row.unsent => {}
                Op::Create | Op::Update | Op::Read => drop(rows.insert(row.id, row.value.clone())),
            }
        }
        rows
    }

    /// Where each row of `table` lies as of `position`: every write moves a row to another place.
    pub fn places_at(&self, table: &str, position: u64) -> BTreeMap<i64, i64> {
        let state = self.state();
        let mut places = BTreeMap::new();
        for entry in state.log.iter().filter(|entry| entry.end <= position) {
            for row in entry.rows.iter().filter(|row| row.table == table) {
                match row.op {
                    Op::Delete => drop(places.remove(&row.id)),
                    Op::Truncate => places.clear(),
                    Op::Create | Op::Update | Op::Read => {
                        places.insert(row.id, (entry.end as i64 / 10 * 37 + row.id / 10 * 11) % 100);
                    }
                }
            }
        }
        places
    }

    /// Publishes tables; one that is published keeps its membership.
    pub fn publish(&self, tables: &[String]) {
        let mut state = self.state();
        for table in tables {
            if !state.published.contains_key(table) {
                state.memberships += 1;
                let membership = state.memberships;
                state.published.insert(table.clone(), membership);
            }
        }
    }

    /// Takes tables out of the publication.
    pub fn unpublish(&self, tables: &[String]) {
        self.state().published.retain(|table, _| !tables.contains(table));
    }

    /// Rewrites a table: under an older snapshot it looks empty from now on.
    pub fn rewrite(&self, table: &str) {
        *self.state().rewrites.entry(table.into()).or_default() += 1;
    }

    fn rewrites(&self, table: &str) -> u64 {
        self.state().rewrites.get(table).copied().unwrap_or(0)
    }

    fn schema(&self, table: &str) -> Arc<TableSchema> {
        let membership = self.state().published.get(table).map_or_else(String::new, ToString::to_string);
        scripted_schema(table, &membership)
    }

    /// The slot's confirmed position.
    pub fn confirmed(&self) -> Option<u64> {
        self.state().slot.as_ref().map(|slot| slot.confirmed)
    }

    /// The server ends the connection of whoever holds the slot.
    pub fn expel(&self) {
        if let Some(slot) = &mut self.state().slot {
            slot.holder = None;
            slot.generation += 1_000;
        }
        self.changed.notify_waiters();
    }

    /// Somebody drops the slot.
    pub fn drop_slot(&self) {
        self.state().slot = None;
        self.changed.notify_waiters();
    }

    /// Somebody makes the slot at the end of the log, dropping the one that stands.
    pub fn make_slot(&self) {
        let confirmed = self.end();
        let mut state = self.state();
        state.generation += 1;
        let generation = state.generation;
        state.began.get_or_insert(confirmed);
        state.slot = Some(SlotRow { confirmed, lost: false, holder: None, generation });
        drop(state);
        self.changed.notify_waiters();
    }

    /// The server discards the log behind the slot.
    pub fn lose_slot(&self) {
        if let Some(slot) = &mut self.state().slot {
            slot.lost = true;
            slot.holder = None;
        }
        self.changed.notify_waiters();
    }

    /// A stranger moves the slot's confirmed position.
    pub fn confirm(&self, position: u64) {
        if let Some(slot) = &mut self.state().slot {
            slot.confirmed = position;
        }
    }

    /// Whether this holder's connection still stands.
    fn check(&self, holder: u64, generation: u64) -> Result<(), Fault> {
        match &self.state().slot {
            Some(slot) if slot.holder == Some(holder) && slot.generation == generation && !slot.lost => Ok(()),
            _ => Err(Fault::retry("TK-002", "the connection to the log is gone")),
        }
    }

    /// Where the first slot was made: the pipeline's log begins there.
    pub fn began(&self) -> Option<u64> {
        self.state().began
    }

    /// Another cluster answers from now on.
    pub fn replace_cluster(&self) {
        self.state().cluster = "c2".into();
    }
}

/// The database as one process sees it.
#[derive(Clone)]
pub struct ScriptedSource {
    world: World,
    fuse: Fuse,
    default_name: bool,
    tables: Vec<String>,
    /// Transactions are handed over while they are in progress.
    streams: Arc<AtomicBool>,
}

impl ScriptedSource {
    /// A process's view of `world`.
    pub fn new(world: &World, fuse: &Fuse) -> Self {
        Self {
            world: world.clone(),
            fuse: fuse.clone(),
            default_name: true,
            tables: vec!["a".into(), "b".into()],
            streams: Arc::default(),
        }
    }

    /// The same with transactions that are handed over while they are in progress: in pieces, by turns, partly undone.
    #[must_use]
    pub fn streamed(self, streams: bool) -> Self {
        self.streams.store(streams, Ordering::Release);
        self
    }

    /// The same with other tables in its pipeline file.
    #[must_use]
    pub fn with_tables(mut self, tables: &[&str]) -> Self {
        self.tables = tables.iter().map(ToString::to_string).collect();
        self
    }

    /// The same with a slot that the user named.
    #[must_use]
    pub fn with_named_slot(mut self) -> Self {
        self.default_name = false;
        self
    }

    fn identity(&self) -> SourceIdentity {
        SourceIdentity { kind: "scripted".into(), identity: format!("{}|timeline 1", self.world.state().cluster) }
    }

    /// Takes the slot if it is free: the number of the holder, and a guard that frees it.
    fn hold(&self) -> Result<Result<Grip, Slot>, Fault> {
        let mut state = self.world.state();
        state.holders += 1;
        let holder = state.holders;
        let Some(slot) = &mut state.slot else { return Ok(Err(Slot::Missing)) };
        if slot.lost {
            return Ok(Err(Slot::Lost { reason: "the log was discarded".into() }));
        }
        if let Some(other) = slot.holder {
            let patience = Duration::from_secs(6);
            return Ok(Err(Slot::Busy { holder: format!("holder {other}"), patience }));
        }
        slot.holder = Some(holder);
        let generation = slot.generation;
        Ok(Ok(Arc::new(Connection { world: self.world.clone(), holder, generation })))
    }
}

fn unanswered(_: Unanswered) -> Fault {
    Fault::retry("TK-001", "the scripted source gave no answer")
}

fn position(number: u64) -> Position {
    Position::new(number.to_string())
}

fn number(position: &Position) -> u64 {
    position.as_str().parse().unwrap_or_default()
}

/// A connection that holds the slot; dropping the last grip on it frees the slot.
type Grip = Arc<Connection>;

struct Connection {
    world: World,
    holder: u64,
    generation: u64,
}

impl Connection {
    fn check(&self) -> Result<(), Fault> {
        self.world.check(self.holder, self.generation)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(slot) = self.world.state().slot.as_mut().filter(|slot| slot.holder == Some(self.holder)) {
            slot.holder = None;
        }
    }
}

#[async_trait]
impl Source for ScriptedSource {
    async fn check(&self) -> Result<Vec<Finding>, Fault> {
        Ok(Vec::new())
    }

    async fn take(&self) -> Result<Taken, Fault> {
        let source = self.clone();
        let held = self.fuse.step("take the slot", move || source.hold()).await.map_err(unanswered)??;
        let slot = match held {
            Err(slot) => slot,
            Ok(grip) => Slot::Held(Box::new(self.note(grip).await?)),
        };
        Ok(Taken { identity: self.identity(), slot })
    }

    async fn create(&self) -> Result<Box<dyn Held>, Fault> {
        let (world, tables) = (self.world.clone(), self.tables.clone());
        self.fuse.step("make the publication", move || world.publish(&tables)).await.map_err(unanswered)?;
        let world = self.world.clone();
        let made = move || {
            if world.state().slot.is_some() {
                return Err(Fault::retry("TK-003", "the slot exists"));
            }
            world.make_slot();
            Ok(())
        };
        self.fuse.step("make the slot", made).await.map_err(unanswered)??;
        let source = self.clone();
        match self.fuse.step("take the new slot", move || source.hold()).await.map_err(unanswered)?? {
            Ok(grip) => {
                let mut held = self.note(grip).await?;
                held.exported = Some(held.state.confirmed.clone());
                Ok(Box::new(held))
            }
            Err(_) => Err(Fault::retry("TK-004", "the new slot is not to be had")),
        }
    }

    async fn recreate(&self) -> Result<(SourceIdentity, Position), Fault> {
        let world = self.world.clone();
        self.fuse.step("drop the slot", move || world.drop_slot()).await.map_err(unanswered)?;
        let world = self.world.clone();
        self.fuse.step("make the slot anew", move || world.make_slot()).await.map_err(unanswered)?;
        let confirmed = self.world.confirmed().ok_or_else(|| Fault::retry("TK-005", "the new slot is gone"))?;
        Ok((self.identity(), position(confirmed)))
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        let (world, tables) = (self.world.clone(), self.tables.clone());
        let look = move || {
            let published = |table: &String| world.state().published.contains_key(table);
            tables.iter().map(|table| Member { schema: world.schema(table), published: published(table) }).collect()
        };
        self.fuse.step("look at the tables", look).await.map_err(unanswered)
    }

    async fn join(&self, tables: &[TableName]) -> Result<(), Fault> {
        let (world, tables) = (self.world.clone(), last_parts(tables));
        self.fuse.step("publish tables", move || world.publish(&tables)).await.map_err(unanswered)
    }

    async fn leave(&self, tables: &[TableName]) -> Result<(), Fault> {
        let (world, tables) = (self.world.clone(), last_parts(tables));
        self.fuse.step("unpublish tables", move || world.unpublish(&tables)).await.map_err(unanswered)
    }

    async fn snapshot(&self, bound: &(dyn Fn(Position) + Sync)) -> Result<Arc<dyn Snapshot>, Fault> {
        // Somebody else's transaction runs until now: the stream may come this far.
        bound(position(self.world.end()));
        let world = self.world.clone();
        let made = self.fuse.step("make a temporary slot", move || position(world.end())).await.map_err(unanswered)?;
        Ok(Arc::new(ScriptedSnapshot::new(self, made)))
    }

    fn same(&self, one: &SourceIdentity, other: &SourceIdentity) -> bool {
        let cluster = |identity: &SourceIdentity| identity.identity.split('|').next().map(str::to_owned);
        one.kind == other.kind && cluster(one) == cluster(other)
    }

    async fn end(&self) -> Result<Position, Fault> {
        let world = self.world.clone();
        self.fuse.step("ask for the end", move || position(world.end())).await.map_err(unanswered)
    }
}

impl ScriptedSource {
    async fn note(&self, grip: Grip) -> Result<ScriptedHeld, Fault> {
        let world = self.world.clone();
        let confirmed =
            self.fuse.step("note the confirmed position", move || world.confirmed()).await.map_err(unanswered)?;
        let confirmed = confirmed.ok_or_else(|| Fault::retry("TK-006", "the slot is gone"))?;
        let state = SlotState { confirmed: position(confirmed), default_name: self.default_name, unreadable: None };
        Ok(ScriptedHeld { source: self.clone(), identity: self.identity(), grip, state, exported: None })
    }
}

struct ScriptedHeld {
    source: ScriptedSource,
    identity: SourceIdentity,
    grip: Grip,
    state: SlotState,
    exported: Option<Position>,
}

#[async_trait]
impl Held for ScriptedHeld {
    fn state(&self) -> &SlotState {
        &self.state
    }

    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn covers(&self, position: &Position) -> bool {
        number(&self.state.confirmed) <= number(position)
    }

    fn exported(&mut self) -> Option<Arc<dyn Snapshot>> {
        let position = self.exported.take()?;
        Some(Arc::new(ScriptedSnapshot::new(&self.source, position)))
    }

    async fn open(self: Box<Self>, from: Option<&Position>, registry: &Registry) -> Result<Opened, Fault> {
        let counted = registry.entries().map(|entry| (entry.table.clone(), Some(entry.source_id.clone()))).collect();
        let asked = number(from.unwrap_or(&self.state.confirmed));
        let (world, holder, generation) = (self.source.world.clone(), self.grip.holder, self.grip.generation);
        let open = move || {
            world.check(holder, generation)?;
            // The trap: a start before the confirmed position is moved forward without an error.
            Ok(asked.max(world.confirmed().unwrap_or(asked)))
        };
        let at = self.source.fuse.step("open the log", open).await.map_err(unanswered)??;
        let release = Arc::new(ScriptedRelease {
            world: self.source.world.clone(),
            holder: self.grip.holder,
            generation: self.grip.generation,
        });
        let position = position(asked);
        let pieces = self.source.streams.load(Ordering::Acquire).then(|| Pieces::new(at));
        let log = ScriptedLog {
            streams: self.source.streams,
            pieces,
            fuse: self.source.fuse,
            grip: self.grip,
            at,
            told: 0,
            marks: Vec::new(),
            watched: 0,
            open: None,
            tables: Vec::new(),
            counted,
        };
        Ok(Opened { position, log: Box::new(log), release })
    }
}

struct ScriptedRelease {
    world: World,
    holder: u64,
    generation: u64,
}

impl Release for ScriptedRelease {
    fn release(&self, position: &Position) {
        let mut state = self.world.state();
        let ours = |slot: &&mut SlotRow| slot.holder == Some(self.holder) && slot.generation == self.generation;
        if let Some(slot) = state.slot.as_mut().filter(ours) {
            slot.confirmed = slot.confirmed.max(number(position));
        }
    }
}

struct ScriptedLog {
    streams: Arc<AtomicBool>,
    pieces: Option<Pieces>,
    fuse: Fuse,
    grip: Grip,
    at: u64,
    /// The position that the engine was told last while idle.
    told: u64,
    marks: Vec<Watched>,
    watched: u64,
    /// The transaction being read: its end and the rows to come.
    open: Option<(u64, VecDeque<ScriptedRow>)>,
    tables: Vec<String>,
    /// Tables whose changes count, with their memberships.
    /// Under which membership, or (`None`) under whichever they have.
    counted: BTreeMap<TableName, Option<String>>,
}

fn ended(end: u64) -> TransactionEnd {
    TransactionEnd { position: position(end), id: Arc::from(format!("t{end}")), commit: Timestamp(end as i64) }
}

struct Watched {
    at: u64,
    mark: Mark,
    joining: Vec<TableName>,
}

impl ScriptedLog {
    fn slot_of(&mut self, table: &str, into: &mut Changes) -> usize {
        let slot = self.tables.iter().position(|known| known == table).unwrap_or_else(|| {
            self.tables.push(table.into());
            self.tables.len() - 1
        });
        into.define(slot, self.grip.world.schema(table));
        slot
    }

    /// Appends the next rows of the open transaction, and its end after the last.
    fn append(&mut self, into: &mut Changes) -> Result<(), Fault> {
        let Some((end, mut rows)) = self.open.take() else { return Ok(()) };
        for row in rows.drain(..rows.len().min(GULP)) {
            if self.counts(&row.table) {
                self.put(&row, into)?;
            }
        }
        if !rows.is_empty() {
            self.open = Some((end, rows));
            return Ok(());
        }
        into.commit(ended(end));
        Ok(())
    }

    fn counts(&self, table: &str) -> bool {
        let schema = self.grip.world.schema(table);
        self.counted.get(&schema.table).is_some_and(|it| it.as_ref().is_none_or(|it| *it == schema.source_id))
    }

    fn put(&mut self, row: &ScriptedRow, into: &mut Changes) -> Result<(), Fault> {
        let slot = self.slot_of(&row.table, into);
        let table = into.row(slot, row.op, 32).ok_or_else(|| Fault::defect("TK-007", "a row outside a transaction"))?;
        if let [ColumnBuilder::Int64(id), ColumnBuilder::Text(value)] = table.columns.as_mut_slice() {
            id.append_value(row.id);
            if !row.unsent {
                value.append_option(row.value.as_deref());
            }
        }
        if row.unsent {
            table.append_unavailable(1);
        }
        Ok(())
    }

    /// The watch that is due before an entry that begins at `start`.
    fn due(&mut self, start: u64) -> Option<Watched> {
        let index = self.marks.iter().position(|watched| start >= watched.at)?;
        Some(self.marks.remove(index))
    }

    fn count(&mut self, tables: &[TableName]) {
        self.counted.extend(tables.iter().map(|table| (table.clone(), None)));
    }
}

/// The schema of every scripted table: `id` (key) and `value`.
pub fn scripted_schema(table: &str, membership: &str) -> Arc<TableSchema> {
    let column = |name: &str, id, kind: Kind, nullable| Column {
        name: name.into(),
        id,
        kind,
        type_name: kind.to_string(),
        nullable,
    };
    Arc::new(TableSchema {
        table: TableName::new(["db", "public", table]),
        source_id: format!("{table}|{membership}"),
        columns: vec![column("id", 1, Kind::Int64, false), column("value", 2, Kind::Text, true)],
        key: vec![0],
    })
}

#[async_trait]
impl Log for ScriptedLog {
    async fn read(&mut self, into: &mut Changes) -> Result<Gulp, Fault> {
        loop {
            let changed = Arc::clone(&self.grip.world.changed);
            let notified = changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            self.grip.check()?;
            if self.open.is_some() {
                self.append(into)?;
                // Not every boundary ends a gulp; a stop lets every second pass.
                if self.open.is_some() || into.wants_return() || self.at.is_multiple_of(20) {
                    return Ok(Gulp::Read);
                }
                continue;
            }
            if let Some(piece) = self.next_piece() {
                self.fuse.step("read a piece", || ()).await.map_err(unanswered)?;
                self.append_piece(piece, into)?;
                return Ok(Gulp::Read);
            }
            let next = {
                let state = self.grip.world.state();
                let next = state.log.iter().find(|entry| entry.end > self.at);
                next.map(|entry| (entry.start, entry.end, entry.logged()))
            };
            let end = self.grip.world.end();
            if let Some(watched) = self.due(next.as_ref().map_or(end.max(self.at), |&(start, ..)| start)) {
                self.count(&watched.joining);
                if self.at > watched.at {
                    return Ok(Gulp::Passed(watched.mark));
                }
                into.reached(position(watched.at));
                return Ok(Gulp::Mark(watched.mark));
            }
            let Some((_, end, rows)) = next else {
                if self.told < self.at {
                    self.told = self.at;
                    into.reached(position(self.at));
                    return Ok(Gulp::Read);
                }
                notified.await;
                continue;
            };
            self.fuse.step("read a transaction", || ()).await.map_err(unanswered)?;
            self.at = end;
            if self.end_pieces(end, into)? {
                return Ok(Gulp::Read);
            }
            if !rows.is_empty() {
                into.begin();
                self.open = Some((end, rows.into()));
            }
        }
    }

    fn watch(&mut self, at: &Position, joining: &[Arc<TableSchema>]) -> Mark {
        self.watched += 1;
        let mark = Mark(self.watched);
        self.marks.push(Watched { at: number(at), mark, joining: joining.iter().map(|it| it.table.clone()).collect() });
        mark
    }

    fn exclude(&mut self, tables: &[TableName]) {
        self.counted.retain(|table, _| !tables.contains(table));
    }

    fn decline_in_progress(&mut self) -> bool {
        self.streams.swap(false, Ordering::AcqRel)
    }

    async fn close(self: Box<Self>) {}
}

impl Entry {
    /// The rows that the log carries.
    fn logged(&self) -> Vec<ScriptedRow> {
        self.rows.iter().filter(|row| self.published.contains(&row.table)).cloned().collect()
    }
}

fn last_parts(tables: &[TableName]) -> Vec<String> {
    tables.iter().filter_map(|table| table.parts().last().cloned()).collect()
}

/// Rows that a call of `read` appends at most: most calls end inside a transaction.
const GULP: usize = 2;
