//! The scripted database itself: its log, its slot with all that can befall it, its publication.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use millrace_model::{Column, Fault, Kind, Op, TableName, TableSchema};
use tokio::sync::Notify;

use super::ScriptedRow;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Empty: somebody else's record.
    pub(super) rows: Vec<ScriptedRow>,
    /// How the table of each row looked by then.
    pub(super) shapes: Vec<Shape>,
    /// Tables that were published when the rows were written.
    pub(super) published: Vec<String>,
}

/// A row as the log carries it.
#[derive(Clone, Debug)]
pub(super) struct LoggedRow {
    pub(super) row: ScriptedRow,
    /// How its table looks.
    pub(super) shape: Shape,
}

/// What became of a table by some position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// How often its column was renamed.
    renames: u64,
    /// How often it was given another key: `id`, `id` and `value`, none, and again.
    keys: u64,
    /// How often rows that were there got other values without a word in the log: its column has another type since.
    fills: u64,
}

/// A table that was altered: in the transaction that ends at `end`, behind so many rows of it.
#[derive(Clone, Debug)]
pub(super) struct Altered {
    end: u64,
    after: usize,
    table: String,
    alter: Alter,
}

/// What is done to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alter {
    /// Its column gets another name.
    Rename,
    /// Other columns are its key: `id`, `id` and `value`, none, and again.
    Key,
    /// Rows that are there get other values, which are not in the log.
    Fill,
}

#[derive(Debug)]
pub(super) struct SlotRow {
    pub(super) confirmed: u64,
    pub(super) lost: bool,
    /// Its publication is missing.
    pub(super) unreadable: bool,
    pub(super) holder: Option<u64>,
    pub(super) generation: u64,
}

#[derive(Debug)]
pub(super) struct WorldState {
    pub(super) log: Vec<Entry>,
    pub(super) slot: Option<SlotRow>,
    pub(super) generation: u64,
    pub(super) holders: u64,
    pub(super) cluster: String,
    pub(super) began: Option<u64>,
    /// Tables of the publication, each with the number of its membership.
    pub(super) published: BTreeMap<String, u64>,
    pub(super) memberships: u64,
    /// Tables that were altered.
    pub(super) alters: Vec<Altered>,
    /// How often each table was rewritten.
    pub(super) rewrites: BTreeMap<String, u64>,
    /// Tables that cannot be carried any more, though the log still has them.
    pub(super) unfit: BTreeSet<String>,
    /// How far before the log's end the next snapshot lies.
    pub(super) late: u64,
    /// The log falls silent where so many rows of a transaction are still to come.
    pub(super) silent_before: Option<usize>,
}

impl WorldState {
    /// How `table` looked at `position`.
    fn shape(&self, table: &str, position: u64) -> Shape {
        let mut shape = Shape::default();
        let altered = self.alters.iter().filter(|it| it.end <= position && it.table == table);
        altered.for_each(|it| shape.take(it.alter));
        shape
    }
}

impl Shape {
    fn take(&mut self, alter: Alter) {
        match alter {
            Alter::Rename => self.renames += 1,
            Alter::Key => self.keys += 1,
            Alter::Fill => self.fills += 1,
        }
    }
}

/// The database; shared by all processes of a test.
#[derive(Clone, Debug)]
pub struct World {
    state: Arc<Mutex<WorldState>>,
    pub(super) changed: Arc<Notify>,
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
            alters: Vec::new(),
            rewrites: BTreeMap::new(),
            unfit: BTreeSet::new(),
            late: 0,
            silent_before: None,
        };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(Notify::new()) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, WorldState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The end of the log.
    pub fn end(&self) -> u64 {
        self.state().log.last().map_or(100, |entry| entry.end)
    }

    /// Commits a transaction; without rows it is a record that is none of ours. Returns its end.
    pub fn append(&self, rows: impl IntoIterator<Item = ScriptedRow>) -> u64 {
        self.commit(rows.into_iter().collect(), None)
    }

    /// Commits a transaction with these rows, in which the column of `table` gets another name after so many of them. The
    /// catalogue shows it from then on, the log with the next row of the table.
    pub fn append_renaming(&self, rows: impl IntoIterator<Item = ScriptedRow>, table: &str, after: usize) -> u64 {
        self.append_altering(rows, table, after, Alter::Rename)
    }

    /// The same with whatever is done to the table.
    pub fn append_altering(
        &self,
        rows: impl IntoIterator<Item = ScriptedRow>,
        table: &str,
        after: usize,
        alter: Alter,
    ) -> u64 {
        self.commit(rows.into_iter().collect(), Some((after, table, alter)))
    }

    /// From here on the log falls silent inside every transaction, where so many of its rows are still to come; `None`: it
    /// speaks again.
    pub fn fall_silent(&self, before: Option<usize>) {
        self.state().silent_before = before;
        self.changed.notify_waiters();
    }

    fn commit(&self, rows: Vec<ScriptedRow>, alter: Option<(usize, &str, Alter)>) -> u64 {
        let start = self.end();
        let end = start + 10;
        let mut state = self.state();
        let published = state.published.keys().cloned().collect();
        let shape = |(at, row): (usize, &ScriptedRow)| {
            let mut shape = state.shape(&row.table, start);
            alter
                .iter()
                .filter(|&&(after, table, _)| at >= after && row.table == table)
                .for_each(|it| shape.take(it.2));
            shape
        };
        let shapes = rows.iter().enumerate().map(shape).collect();
        let altered = alter.map(|(after, table, alter)| Altered { end, after, table: table.to_owned(), alter });
        state.alters.extend(altered);
        state.log.push(Entry { start, end, rows, shapes, published });
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
        for entry in state.log.iter().filter(|entry| entry.end <= position) {
            let filled =
                state.alters.iter().find(|it| it.end == entry.end && it.table == table && it.alter == Alter::Fill);
            let (before, after) = entry.rows.split_at(filled.map_or(0, |it| it.after));
            take(&mut rows, table, before);
            if filled.is_some() {
                rows.values_mut().flatten().for_each(|value| value.push_str(" filled"));
            }
            take(&mut rows, table, after);
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

    /// From here on a table cannot be carried, though the log has it for as long as it is published.
    pub fn make_unfit(&self, table: &str) {
        self.state().unfit.insert(table.into());
    }

    /// The next snapshot shows a position that lies so far before the log's end.
    pub fn make_late(&self, by: u64) {
        self.state().late = by;
    }

    /// Rewrites a table: under an older snapshot it looks empty from now on.
    pub fn rewrite(&self, table: &str) {
        *self.state().rewrites.entry(table.into()).or_default() += 1;
    }

    pub(super) fn rewrites(&self, table: &str) -> u64 {
        self.state().rewrites.get(table).copied().unwrap_or(0)
    }

    /// As the catalogue describes it now.
    pub(super) fn schema(&self, table: &str) -> Arc<TableSchema> {
        self.schema_at(table, u64::MAX)
    }

    /// As it was at a position; its membership is that of now.
    pub(super) fn schema_at(&self, table: &str, position: u64) -> Arc<TableSchema> {
        let shape = self.state().shape(table, position);
        self.schema_of(table, shape)
    }

    /// When it looks so.
    pub(super) fn schema_of(&self, table: &str, shape: Shape) -> Arc<TableSchema> {
        let membership = self.state().published.get(table).map_or_else(String::new, ToString::to_string);
        let schema = scripted_schema(table, &membership);
        if shape == Shape::default() {
            return schema;
        }
        let mut schema = (*schema).clone();
        if let Some(column) = schema.columns.last_mut().filter(|_| shape.renames > 0) {
            column.name = format!("value{}", shape.renames);
        }
        if let Some(column) = schema.columns.last_mut().filter(|_| shape.fills > 0) {
            column.type_name = format!("text{}", shape.fills);
        }
        schema.key = match shape.keys % 3 {
            0 => vec![0],
            1 => vec![0, 1],
            _ => Vec::new(),
        };
        Arc::new(schema)
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

    /// Somebody takes the slot, which is free, and does nothing with it.
    pub fn occupy(&self) {
        if let Some(slot) = &mut self.state().slot {
            slot.holder = Some(u64::MAX);
        }
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
        state.slot = Some(SlotRow { confirmed, lost: false, unreadable: false, holder: None, generation });
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

    /// Somebody drops the publication; one that is made again does not help the slot that stands.
    pub fn drop_publication(&self) {
        if let Some(slot) = &mut self.state().slot {
            slot.unreadable = true;
        }
    }

    /// A stranger moves the slot's confirmed position.
    pub fn confirm(&self, position: u64) {
        if let Some(slot) = &mut self.state().slot {
            slot.confirmed = position;
        }
    }

    /// Whether this holder's connection still stands.
    pub(super) fn check(&self, holder: u64, generation: u64) -> Result<(), Fault> {
        match &self.state().slot {
            Some(slot) if slot.holder == Some(holder) && slot.generation == generation && !slot.lost => Ok(()),
            _ => Err(Fault::retry("TK-002", "the connection to the log is gone")),
        }
    }

    /// Where the first slot was made: the pipeline's log begins there.
    pub fn began(&self) -> Option<u64> {
        self.state().began
    }

    /// The server is a copy of its earlier self, whose log ended at `to`; whoever holds the slot is expelled.
    pub fn set_back(&self, to: u64) {
        let mut state = self.state();
        state.log.retain(|entry| entry.end <= to);
        if let Some(slot) = &mut state.slot {
            slot.confirmed = slot.confirmed.min(to);
        }
        drop(state);
        self.expel();
    }

    /// Another cluster answers from now on.
    pub fn replace_cluster(&self) {
        self.state().cluster = "c2".into();
    }
}

/// Does what these rows say to the rows of `table`.
fn take(rows: &mut BTreeMap<i64, Option<String>>, table: &str, changes: &[ScriptedRow]) {
    for row in changes.iter().filter(|row| row.table == table) {
        match row.op {
            Op::Delete => drop(rows.remove(&row.id)),
            Op::Truncate => rows.clear(),
            Op::Create | Op::Update | Op::Read if row.unsent => {}
            Op::Create | Op::Update | Op::Read => drop(rows.insert(row.id, row.value.clone())),
        }
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

impl Entry {
    /// The rows that the log carries.
    pub(super) fn logged(&self) -> Vec<LoggedRow> {
        let rows = self.rows.iter().zip(&self.shapes).filter(|(row, _)| self.published.contains(&row.table));
        rows.map(|(row, &shape)| LoggedRow { row: row.clone(), shape }).collect()
    }
}
