//! What a table must not become without a word of the engine: under another key, under values that the log does not say,
//! and, with `schema.change: stop`, under other columns. The round ends before the first transaction that sees it.
//!
//! It is seen with the first row under the new description, and what closed before that transaction stays, whole: DDL and
//! rows of one transaction fall together. From there on whatever the log appends is passed over, so that a gulp may end
//! where it likes. A transaction in progress is judged at its end, by the rows of it that survived.
//!
//! Whether a column may be null does not count: the log does not say it, so it has no place in the log.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Changes, TableChanges};
use crate::registry::Registry;
use crate::schema::{Column, Op, TableName, TableSchema};

/// Why nothing is taken in from a transaction on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// With `schema.change: stop`: a table has other columns.
    Columns(SchemaChange),
    /// What was read of this table says nothing of the rows to come: it starts anew.
    Anew(Anew),
}

/// A table that starts anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anew {
    /// Which.
    pub table: TableName,
    /// Why.
    pub reason: AnewReason,
}

/// Why a table starts anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnewReason {
    /// Other columns are its key.
    Key {
        /// Names of those that were; none where all columns were.
        before: Vec<String>,
        /// Names of those that are.
        after: Vec<String>,
    },
    /// Rows that were there have other values, which the log does not say, and no key by which they could be told.
    Values,
}

/// A table whose columns are no longer those that the lake knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaChange {
    /// Whose.
    pub table: TableName,
    /// As the newest version in the lake has them.
    pub before: Vec<Column>,
    /// As the log, or a snapshot, describes them.
    pub after: Vec<Column>,
}

/// What tables are held to, and the first that was broken.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    /// Their keys are these.
    keys: Registry,
    /// Descriptions under which rows have values that the log did not say.
    untold: Vec<Arc<TableSchema>>,
    /// `None`: any columns are taken.
    columns: Option<BTreeMap<TableName, Vec<Column>>>,
    barrier: Option<Barrier>,
    /// Takes what is passed over.
    discarded: Option<Box<TableChanges>>,
}

/// Which schemas the parts of a transaction in progress have rows under, by slot and part, oldest first.
#[derive(Debug, Default)]
pub(super) struct Used {
    all: BTreeMap<(usize, u32), Vec<Arc<TableSchema>>>,
    /// What was noted last: most rows come under the same.
    last: Option<(usize, u32, Arc<TableSchema>)>,
}

impl Used {
    pub(super) fn note(&mut self, slot: usize, part: u32, schema: &Arc<TableSchema>) {
        let is_same =
            |(at, of, last): &(usize, u32, Arc<TableSchema>)| *at == slot && *of == part && Arc::ptr_eq(last, schema);
        if self.last.as_ref().is_some_and(is_same) {
            return;
        }
        self.last = Some((slot, part, Arc::clone(schema)));
        let used = self.all.entry((slot, part)).or_default();
        if used.last().is_none_or(|last| !Arc::ptr_eq(last, schema)) {
            used.push(Arc::clone(schema));
        }
    }

    /// How many parts have rows of a table, over all tables.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn survived<'a>(&'a self, undone: &'a HashSet<u32>) -> impl Iterator<Item = &'a Arc<TableSchema>> {
        self.all.iter().filter(|((_, part), _)| !undone.contains(part)).flat_map(|(_, used)| used)
    }
}

impl Frozen {
    pub(super) fn is_broken(&self) -> bool {
        self.barrier.is_some()
    }

    /// Whether rows may come under this description; notes what is in the way.
    pub(super) fn admits(&mut self, schema: &TableSchema) -> bool {
        let barrier = self.other_columns(schema).or_else(|| self.starts_anew(schema));
        let admits = barrier.is_none();
        self.barrier = self.barrier.take().or(barrier);
        admits
    }

    /// Holds a table to the columns it comes with first.
    fn other_columns(&mut self, schema: &TableSchema) -> Option<Barrier> {
        let columns = self.columns.as_mut()?;
        let Some(before) = columns.get(&schema.table) else {
            columns.insert(schema.table.clone(), schema.columns.clone());
            return None;
        };
        let change =
            || SchemaChange { table: schema.table.clone(), before: before.clone(), after: schema.columns.clone() };
        (!are_same(before, &schema.columns)).then(|| Barrier::Columns(change()))
    }

    fn starts_anew(&mut self, schema: &TableSchema) -> Option<Barrier> {
        let entry = self.keys.get(&schema.table)?;
        let reason = if !entry.has_key_of(schema) {
            AnewReason::Key { before: entry.key.clone(), after: schema.key_names() }
        } else if self.untold.iter().any(|untold| **untold == *schema) {
            AnewReason::Values
        } else {
            // A key column that is called otherwise from here on is the same.
            self.keys.version_of(schema);
            return None;
        };
        Some(Barrier::Anew(Anew { table: schema.table.clone(), reason }))
    }

    /// A place for a row that is passed over.
    pub(super) fn discard(&mut self, schema: Arc<TableSchema>, op: Op) -> &mut TableChanges {
        let discarded = self.discarded.insert(Box::new(TableChanges::new(schema)));
        discarded.ops.push(op);
        discarded
    }
}

fn are_same(before: &[Column], after: &[Column]) -> bool {
    let said = |column: &Column| (column.id, column.kind, column.name.clone(), column.type_name.clone());
    before.iter().map(said).eq(after.iter().map(said))
}

impl Changes {
    /// Whether the next row of the table in `slot` is passed over. With the first that is, its transaction is cut off.
    pub(super) fn passes_over(&mut self, slot: usize) -> bool {
        if self.frozen.is_broken() {
            return true;
        }
        let table = self.tables.get(slot).and_then(Option::as_ref);
        // Rows that lie there came under the same description.
        let Some(first) = table.filter(|table| table.ops.is_empty()) else { return false };
        if self.frozen.admits(&first.schema) {
            return false;
        }
        self.cut_open_transaction();
        true
    }

    // ---- what a log calls ----

    /// Rows under this description have values that the log did not say, and no key: with the first of them, their table
    /// starts anew.
    pub fn untold(&mut self, schema: &Arc<TableSchema>) {
        self.frozen.untold.push(Arc::clone(schema));
    }

    // ---- what the engine calls ----

    /// From here on tables are held to the keys that `registry` has for them. At a boundary.
    pub fn hold_keys(&mut self, registry: &Registry) {
        self.frozen.keys = registry.clone();
    }

    /// From here on tables are held to the columns that `registry` has for them; one that has none yet, to the first that
    /// it comes with. At a boundary.
    pub fn freeze(&mut self, registry: &Registry) {
        let newest = registry.entries().filter_map(|entry| {
            let version = entry.versions.last()?;
            Some((entry.table.clone(), version.columns.clone()))
        });
        self.frozen.columns = Some(newest.collect());
    }

    /// Whether tables may come under this description; otherwise nothing is taken in from here on.
    pub fn admits(&mut self, schema: &TableSchema) -> bool {
        self.frozen.admits(schema)
    }

    /// What the round has ended before. What it holds then ends before the transaction that saw it.
    pub fn barrier(&self) -> Option<&Barrier> {
        self.frozen.barrier.as_ref()
    }
}

#[cfg(test)]
mod tests;
