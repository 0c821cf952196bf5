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

impl TableEntry {
    /// A table without versions and without a snapshot yet.
    pub fn new(schema: &TableSchema) -> Self {
        Self {
            table: schema.table.clone(),
            source_id: schema.source_id.clone(),
            key: schema.key_names(),
            snapshot: None,
            versions: Vec::new(),
        }
    }

    /// Whether rows of `schema` are told apart by the key that the rows so far were: by the same columns, whatever they are
    /// called by now, with values that compare with the earlier ones.
    pub fn has_key_of(&self, schema: &TableSchema) -> bool {
        let Some(newest) = self.versions.last() else { return self.key == schema.key_names() };
        let before = self.key.iter().map(|name| newest.columns.iter().find(|column| column.name == *name));
        let after = schema.key.iter().map(|&at| schema.columns.get(at));
        let by_id = |columns: &mut Vec<&Column>| columns.sort_unstable_by_key(|column| column.id);
        let (Some(mut before), Some(mut after)) =
            (before.collect::<Option<Vec<_>>>(), after.collect::<Option<Vec<_>>>())
        else {
            return false;
        };
        by_id(&mut before);
        by_id(&mut after);
        let is_same = |(one, other): (&&Column, &&Column)| one.id == other.id && one.kind.compares_with(other.kind);
        before.len() == after.len() && before.iter().zip(&after).all(is_same)
    }
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
    /// `None` for a table that is not there: only `put` lets one in.
    pub fn version_of(&mut self, schema: &TableSchema) -> Option<u32> {
        let entry = self.tables.get_mut(&schema.table)?;
        if let Some(newest) = entry.versions.last().filter(|newest| newest.columns == schema.columns) {
            return Some(newest.version);
        }
        let entry = Arc::make_mut(entry);
        let version = entry.versions.last().map_or(1, |newest| newest.version + 1);
        // The same columns (`TableEntry::has_key_of`), as they are called now.
        entry.key = schema.key_names();
        entry.versions.push(SchemaVersion { version, columns: schema.columns.clone() });
        Some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Kind;

    fn schema(columns: &[&str]) -> TableSchema {
        let column = |(name, id): (&&str, u32)| Column {
            name: (*name).into(),
            id,
            kind: Kind::Text,
            type_name: "text".into(),
            nullable: true,
        };
        TableSchema {
            table: TableName::new(["d", "s", "t"]),
            source_id: "1".into(),
            columns: columns.iter().zip(1..).map(column).collect(),
            key: vec![0],
        }
    }

    /// The key of `schema` is that of a table which came with `a` and `b` and the key `a`.
    fn is_same_key(schema: &TableSchema) -> bool {
        let mut registry = Registry::default();
        registry.put(TableEntry::new(&self::schema(&["a", "b"])));
        registry.version_of(&self::schema(&["a", "b"]));
        registry.get(&schema.table).is_some_and(|entry| entry.has_key_of(schema))
    }

    #[test]
    fn a_key_is_the_same_while_its_columns_are_and_their_values_compare() {
        let keyed = |columns: &[&str], key: &[usize]| TableSchema { key: key.to_vec(), ..schema(columns) };
        assert!(is_same_key(&keyed(&["a", "b"], &[0])) && is_same_key(&keyed(&["renamed", "b", "c"], &[0])));
        for key in [&[1][..], &[0, 1], &[]] {
            assert!(!is_same_key(&keyed(&["a", "b"], key)), "{key:?}");
        }
        let with = |change: fn(&mut Column)| {
            let mut other = schema(&["a", "b"]);
            other.columns.iter_mut().take(1).for_each(change);
            is_same_key(&other)
        };
        assert!(with(|column| column.type_name = "varchar".into()));
        assert!(!with(|column| column.kind = Kind::Int64), "a text and a number are never equal");
        assert!(!with(|column| column.id = 7), "dropped and added again under its name");
    }

    #[test]
    fn a_key_column_that_is_renamed_has_its_new_name_in_the_key() {
        let mut registry = Registry::default();
        let before = schema(&["a"]);
        registry.put(TableEntry::new(&before));
        registry.version_of(&before);
        registry.version_of(&schema(&["z"]));
        assert_eq!(registry.get(&before.table).map(|entry| entry.key.clone()), Some(vec!["z".to_owned()]));
    }

    #[test]
    fn only_other_columns_make_a_new_version_and_only_of_a_table_that_is_there() {
        let (one, two) = (schema(&["a"]), schema(&["a", "b"]));
        let mut registry = Registry::default();
        assert_eq!(registry.version_of(&one), None);
        assert_eq!(registry.entries().count(), 0, "asking for a version lets no table in");
        registry.put(TableEntry::new(&one));
        let versions: Vec<_> = [&one, &one, &two, &one].map(|schema| registry.version_of(schema)).into();
        assert_eq!(versions, [Some(1), Some(1), Some(2), Some(3)]);
    }
}
