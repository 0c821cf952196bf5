//! I5: a finished snapshot of a table with a key holds each key once per snapshot id and sequence.

use std::collections::BTreeMap;

use millrace_model::{Registry, TableEntry, TableName};

use super::{Stop, breach, damage_is};
use crate::commit_json::FileJson;
use crate::names::short_hash;
use crate::rows::{FileRows, Told};
use crate::settings::Form;
use crate::shape::lake_names;
use crate::store::Store;

/// Checks the finished snapshots that the registry names; `files` are those of all snapshots in the lake.
pub(crate) async fn check(store: &dyn Store, form: Form, registry: &Registry, files: &[FileJson]) -> Result<(), Stop> {
    let mut by_table: BTreeMap<TableName, Vec<&FileJson>> = BTreeMap::new();
    for file in files {
        by_table.entry(TableName::parse(&file.table)).or_default().push(file);
    }
    for entry in registry.entries().filter(|entry| !entry.key.is_empty()) {
        let Some(done) = entry.snapshot else { continue };
        let told = Told::of(form, Some(entry));
        let mut parts: BTreeMap<u64, Vec<&FileJson>> = BTreeMap::new();
        for &file in by_table.get(&entry.table).map_or(&[][..], Vec::as_slice) {
            if file.snapshot == Some(done.id) {
                parts.entry(file.first_sequence).or_default().push(file);
            }
        }
        for (sequence, files) in parts {
            check_part((store, &told), entry, sequence, &files).await?;
        }
    }
    Ok(())
}

async fn check_part(
    (store, told): (&dyn Store, &Told),
    entry: &TableEntry,
    sequence: u64,
    files: &[&FileJson],
) -> Result<(), Stop> {
    let mut keys: Vec<u128> = Vec::new();
    for file in files {
        let names = key_names(entry, file.schema_version);
        let mut rows = FileRows::open(store, told, file).await.map_err(damage_is("I2"))?;
        while let Some(row) = rows.current() {
            let exact = row.exact();
            let cells = names.iter().map(|name| row.cell(name, &exact).unwrap_or_default());
            keys.push(short_hash(&cells.collect::<Vec<_>>().join(",")));
            rows.advance().map_err(damage_is("I2"))?;
        }
    }
    keys.sort_unstable();
    if keys.windows(2).any(|two| matches!(two, [one, other] if one == other)) {
        let table = &entry.table;
        return Err(breach("I5", format!("the snapshot of `{table}` at sequence {sequence} has a key more than once")));
    }
    Ok(())
}

/// The key's columns by their names in the files of a schema version.
fn key_names(entry: &TableEntry, schema_version: u32) -> Vec<String> {
    let (Some(newest), Some(version)) =
        (entry.versions.last(), entry.versions.iter().find(|version| version.version == schema_version))
    else {
        return Vec::new();
    };
    let ids = entry.key.iter().filter_map(|key| newest.columns.iter().find(|column| column.name == *key));
    let in_files = lake_names(&version.columns);
    let name_of = |id: u32| in_files.get(version.columns.iter().position(|column| column.id == id)?).cloned();
    ids.filter_map(|column| name_of(column.id)).collect()
}
