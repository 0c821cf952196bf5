//! The table registry: which tables the pipeline carries, with their keys, schema versions and finished snapshots.
//!
//! It changes at commits only, so it is cheap to share and easy to take back: a round that is given up drops its copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::position::Sequence;
use crate::schema::{Column, TableName, TableSchema};

/// All tables of the pipeline as of one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    tables: BTreeMap<TableName, Arc<TableEntry>>,
}

/// One table of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Its full name.
    pub table: TableName,
    /// The source's mark of its membership.
    pub source_id: String,
    /// Names of the key columns; empty where all columns are the key.
    pub key: Vec<String>,
    /// The snapshot that readers count from; `None` until one is finished.
    pub snapshot: Option<SnapshotDone>,
    /// Numbered from 1, oldest first.
    pub versions: Vec<SchemaVersion>,
}

/// A finished snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotDone {
    /// Its id.
    pub id: u64,
    /// The anchor of its last part.
    pub sequence: Sequence,
}

/// How a table looked from some round on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaVersion {
    /// 1, 2, 3 …
    pub version: u32,
    /// In the order of the log.
    pub columns: Vec<Column>,
}

impl Registry {
    /// From its entries.
    pub fn new(entries: impl IntoIterator<Item = Arc<TableEntry>>) -> Self {
        Self { tables: entries.into_iter().map(|entry| (entry.table.clone(), entry)).collect() }
    }

    /// All entries, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<TableEntry>> {
        self.tables.values()
    }

    /// The entry of `table`.
    pub fn get(&self, table: &TableName) -> Option<&Arc<TableEntry>> {
        self.tables.get(table)
    }

    /// Puts an entry in the place of the one with its name.
    pub fn put(&mut self, entry: TableEntry) {
        self.tables.insert(entry.table.clone(), Arc::new(entry));
    }

    /// Takes a table out.
    pub fn remove(&mut self, table: &TableName) -> Option<Arc<TableEntry>> {
        self.tables.remove(table)
    }

    /// The version under which rows of `schema` are written; a description that differs from the newest becomes a new one.
    pub fn version_of(&mut self, schema: &TableSchema) -> u32 {
        let entry = self.tables.entry(schema.table.clone()).or_insert_with(|| {
            Arc::new(TableEntry {
                table: schema.table.clone(),
                source_id: schema.source_id.clone(),
                key: schema.key_names(),
                snapshot: None,
                versions: Vec::new(),
            })
        });
        if let Some(newest) = entry.versions.last().filter(|newest| newest.columns == schema.columns) {
            return newest.version;
        }
        let entry = Arc::make_mut(entry);
        let version = entry.versions.last().map_or(1, |newest| newest.version + 1);
        entry.versions.push(SchemaVersion { version, columns: schema.columns.clone() });
        version
    }
}
