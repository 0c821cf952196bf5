//! `schema.change: stop`: nothing is taken in from the first transaction on that sees a table with other columns.
//!
//! The change is seen with the first row under the new columns, and what closed before that transaction stays, whole:
//! DDL and rows of one transaction fall together. From there on whatever the log appends is passed over, so that a gulp may
//! end where it likes. A transaction in progress is judged at its end, by the rows of it that survived.
//!
//! Whether a column may be null does not count: the log does not say it, so it has no place in the log.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Changes, TableChanges};
use crate::registry::Registry;
use crate::schema::{Column, Op, TableName, TableSchema};

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

/// The columns that tables are held to, and the first change of them.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    /// `None`: any columns are taken.
    columns: Option<BTreeMap<TableName, Vec<Column>>>,
    change: Option<SchemaChange>,
    /// Takes what is passed over.
    discarded: Option<Box<TableChanges>>,
}

/// Which schemas the parts of a transaction in progress have rows under, by slot and part, oldest first.
#[derive(Debug, Default)]
pub(super) struct Used(BTreeMap<(usize, u32), Vec<Arc<TableSchema>>>);

impl Used {
    pub(super) fn note(&mut self, slot: usize, part: u32, schema: &Arc<TableSchema>) {
        let used = self.0.entry((slot, part)).or_default();
        if used.last().is_none_or(|last| !Arc::ptr_eq(last, schema)) {
            used.push(Arc::clone(schema));
        }
    }

    pub(super) fn survived<'a>(&'a self, undone: &'a HashSet<u32>) -> impl Iterator<Item = &'a Arc<TableSchema>> {
        self.0.iter().filter(|((_, part), _)| !undone.contains(part)).flat_map(|(_, used)| used)
    }
}

impl Frozen {
    pub(super) fn is_on(&self) -> bool {
        self.columns.is_some()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.change.is_some()
    }

    /// Holds a table to the columns it comes with first; notes the change where it comes with others.
    pub(super) fn admits(&mut self, schema: &TableSchema) -> bool {
        let Some(columns) = &mut self.columns else { return true };
        let Some(before) = columns.get(&schema.table) else {
            columns.insert(schema.table.clone(), schema.columns.clone());
            return true;
        };
        if are_same(before, &schema.columns) {
            return true;
        }
        let (table, before, after) = (schema.table.clone(), before.clone(), schema.columns.clone());
        self.change.get_or_insert(SchemaChange { table, before, after });
        false
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
        // Rows that lie there came under the same columns.
        let Some(first) = table.filter(|table| table.ops.is_empty()) else { return false };
        if self.frozen.admits(&first.schema) {
            return false;
        }
        self.cut_open_transaction();
        true
    }

    // ---- what the engine calls ----

    /// From here on tables are held to the columns that `registry` has for them; one that has none yet, to the first that
    /// it comes with. At a boundary.
    pub fn freeze(&mut self, registry: &Registry) {
        let newest = registry.entries().filter_map(|entry| {
            let version = entry.versions.last()?;
            Some((entry.table.clone(), version.columns.clone()))
        });
        self.frozen.columns = Some(newest.collect());
        self.in_progress.note_schemas();
    }

    /// Whether tables that are held to their columns may come with these; otherwise nothing is taken in from here on.
    pub fn admits(&mut self, schema: &TableSchema) -> bool {
        self.frozen.admits(schema)
    }

    /// The change before which the round has ended. What it holds then ends before the transaction that saw the change.
    pub fn schema_change(&self) -> Option<&SchemaChange> {
        self.frozen.change.as_ref()
    }
}

#[cfg(test)]
mod tests;
