//! The open log of the scripted database: gulps that end wherever they like, and marks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use millrace_model::{
    Changes, ColumnBuilder, Fault, Gulp, Log, Mark, Position, TableName, TableSchema, Timestamp, TransactionEnd,
};

use super::held::Grip;
use super::pieces::Pieces;
use super::world::{LoggedRow, Shape};
use super::{number, position, unanswered};
use crate::fuse::Fuse;

/// Rows that a call of `read` appends at most: most calls end inside a transaction.
const GULP: usize = 2;
pub(super) struct ScriptedLog {
    pub(super) streams: Arc<AtomicBool>,
    pub(super) pieces: Option<Pieces>,
    pub(super) fuse: Fuse,
    pub(super) grip: Grip,
    pub(super) at: u64,
    /// The position that the engine was told last while idle.
    pub(super) told: u64,
    pub(super) marks: Vec<Watched>,
    pub(super) watched: u64,
    /// The transaction being read: its end and the rows to come.
    pub(super) open: Option<(u64, VecDeque<LoggedRow>)>,
    pub(super) tables: Vec<String>,
    /// Tables whose changes count, with their memberships.
    /// Under which membership, or (`None`) under whichever they have.
    pub(super) counted: BTreeMap<TableName, Option<String>>,
    /// Of which type the value of each table was last, as far as the lake or the log says.
    pub(super) types: BTreeMap<TableName, String>,
}

pub(super) fn ended(end: u64) -> TransactionEnd {
    TransactionEnd { position: position(end), id: Arc::from(format!("t{end}")), commit: Timestamp(end as i64) }
}

pub(super) struct Watched {
    at: u64,
    mark: Mark,
    joining: Vec<Arc<TableSchema>>,
}

impl ScriptedLog {
    fn slot_of(&mut self, table: &str, shape: Shape, into: &mut Changes) -> usize {
        let slot = self.tables.iter().position(|known| known == table).unwrap_or_else(|| {
            self.tables.push(table.into());
            self.tables.len() - 1
        });
        let schema = self.grip.world.schema_of(table, shape);
        into.define(slot, Arc::clone(&schema));
        if self.learn(&schema) && schema.key.is_empty() {
            into.untold(&schema);
        }
        slot
    }

    /// Whether rows that were there have other values than those that the lake or the log said.
    fn learn(&mut self, schema: &TableSchema) -> bool {
        let Some(value) = schema.columns.last() else { return false };
        let before = self.types.insert(schema.table.clone(), value.type_name.clone());
        before.is_some_and(|before| before != value.type_name)
    }

    /// Appends the next rows of the open transaction, and its end after the last.
    fn append(&mut self, into: &mut Changes) -> Result<(), Fault> {
        let Some((end, mut rows)) = self.open.take() else { return Ok(()) };
        for row in rows.drain(..rows.len().min(GULP)) {
            if self.counts(&row.row.table) {
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

    pub(super) fn counts(&self, table: &str) -> bool {
        let schema = self.grip.world.schema(table);
        self.counted.get(&schema.table).is_some_and(|it| it.as_ref().is_none_or(|it| *it == schema.source_id))
    }

    pub(super) fn put(&mut self, logged: &LoggedRow, into: &mut Changes) -> Result<(), Fault> {
        let row = &logged.row;
        let slot = self.slot_of(&row.table, logged.shape, into);
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

    fn count(&mut self, tables: &[Arc<TableSchema>]) {
        for schema in tables {
            self.counted.insert(schema.table.clone(), None);
            self.learn(schema);
        }
    }
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
            if let Some((_, rows)) = &self.open {
                if self.grip.world.state().silent_before.is_some_and(|rest| rows.len() <= rest) {
                    notified.await;
                    continue;
                }
                self.append(into)?;
                // Not every boundary ends a gulp; a stop lets every second pass.
                if self.open.is_some() || into.wants_return() || self.at.is_multiple_of(20) {
                    return Ok(Gulp::Read);
                }
                continue;
            }
            if let Some(piece) = self.next_piece() {
                self.fuse.step("read a piece", || ()).await.map_err(unanswered)?;
                self.append_piece(&piece, into)?;
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
        self.marks.push(Watched { at: number(at), mark, joining: joining.to_vec() });
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
