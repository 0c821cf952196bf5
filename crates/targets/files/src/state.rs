//! State files: the table registry, one file a table and one that names them, each named by its content.
//!
//! A commit of thousands of tables must not write them all again, nor even describe them all again: what this process has
//! described stays known by the entry's own address, and what it has made durable by its hash.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_model::{Column, Fault, Kind, Registry, SchemaVersion, Sequence, SnapshotDone, TableEntry, TableName};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::ahead::{Ahead, SPAN};
use crate::commit_json::{StateRef, text};
use crate::fault::{Cause, damaged, lost_task, rule};
use crate::names::{sha256_hex, state_path};
use crate::settings::{Form, Format, Layout};
use crate::store::{Created, Store};

#[derive(Debug, Serialize, Deserialize)]
struct RegistryJson {
    format: String,
    layout: String,
    tables: Vec<TableRefJson>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TableRefJson {
    table: String,
    path: String,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct TableJson {
    table: String,
    source_id: String,
    key: Vec<String>,
    snapshot: Option<SnapshotDoneJson>,
    versions: Vec<VersionJson>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SnapshotDoneJson {
    #[serde(with = "text")]
    id: u64,
    sequence: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct VersionJson {
    version: u32,
    columns: Vec<ColumnJson>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ColumnJson {
    name: String,
    id: u32,
    kind: String,
    #[serde(rename = "type")]
    type_name: String,
    nullable: bool,
}

/// State files that have to be there before a commit that names `reference`.
pub(crate) struct StateFiles {
    pub(crate) reference: StateRef,
    pub(crate) missing: Vec<(String, Arc<[u8]>)>,
}

/// What this process knows about the state files of its lake.
pub(crate) struct StateMemory {
    format: Format,
    layout: Layout,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Paths that this process has made durable.
    durable: HashSet<String>,
    /// The entry last described under each name, and the file that says so.
    tables: HashMap<TableName, (Arc<TableEntry>, StateRef)>,
    /// The registry last described, and the file that says so.
    registry: Option<(Registry, StateRef)>,
}

impl StateMemory {
    /// Of a lake whose data files are of this format and layout.
    pub(crate) fn new(form: Form) -> Self {
        Self { format: form.format, layout: form.layout, known: Mutex::default() }
    }

    /// Describes a registry: the file that says it, and what of it this process has not made durable yet.
    pub(crate) fn describe(&self, registry: &Registry) -> Result<StateFiles, Fault> {
        let mut known = self.lock();
        if let Some((last, reference)) = &known.registry
            && same_entries(last, registry)
            && known.durable.contains(&reference.path)
        {
            return Ok(StateFiles { reference: reference.clone(), missing: Vec::new() });
        }
        let mut missing = Vec::new();
        let mut tables = Vec::new();
        for entry in registry.entries() {
            let StateRef { path, sha256 } = known.describe_table(entry, &mut missing)?;
            tables.push(TableRefJson { table: entry.table.to_string(), path, sha256 });
        }
        let json = RegistryJson { format: self.format.word().into(), layout: self.layout.word().into(), tables };
        let (reference, bytes) = by_content(&json)?;
        if !known.durable.contains(&reference.path) {
            missing.push((reference.path.clone(), bytes));
        }
        known.tables.retain(|table, _| registry.get(table).is_some());
        known.registry = Some((registry.clone(), reference.clone()));
        Ok(StateFiles { reference, missing })
    }

    /// Writes state files that have to be there before a commit, a few at a time: most of their time is waiting for a disk.
    pub(crate) async fn write(&self, store: &Arc<dyn Store>, files: &[(String, Arc<[u8]>)]) -> Result<(), Fault> {
        let mut lanes = JoinSet::new();
        for (path, bytes) in files {
            if self.lock().durable.contains(path) {
                continue;
            }
            if lanes.len() >= store.lanes() {
                self.take_durable(&mut lanes).await?;
            }
            let (store, path, bytes) = (Arc::clone(store), path.clone(), Arc::clone(bytes));
            lanes.spawn(async move {
                if store.create(&path, bytes).await? == Created::Exists {
                    // Another process may have made it a moment ago, and it may still be lost with the power.
                    store.confirm(&path).await?;
                }
                Ok(path)
            });
        }
        while !lanes.is_empty() {
            self.take_durable(&mut lanes).await?;
        }
        Ok(())
    }

    async fn take_durable(&self, lanes: &mut JoinSet<Result<String, Fault>>) -> Result<(), Fault> {
        if let Some(written) = lanes.join_next().await {
            self.lock().durable.insert(written.map_err(lost_task)??);
        }
        Ok(())
    }

    /// Whether this version can go on from a registry that a commit names.
    pub(crate) async fn check_shape(&self, store: &dyn Store, reference: &StateRef) -> Result<(), Fault> {
        self.registry_json(store, reference).await.map(drop)
    }

    /// Reads the registry that a commit names.
    ///
    /// What a commit names was durable before that commit was created, so it counts as durable here.
    pub(crate) async fn read(&self, store: &Arc<dyn Store>, reference: &StateRef) -> Result<Registry, Fault> {
        let json = self.registry_json(&**store, reference).await?;
        let (mut entries, mut unknown) = (Vec::new(), Vec::new());
        for TableRefJson { table, path, sha256 } in json.tables {
            let (table, reference) = (TableName::parse(&table), StateRef { path, sha256 });
            match self.lock().tables.get(&table).filter(|(_, seen)| *seen == reference) {
                Some((entry, _)) => entries.push(Arc::clone(entry)),
                None => unknown.push(reference),
            }
        }
        let spans: Vec<Vec<StateRef>> = unknown.chunks(SPAN).map(<[StateRef]>::to_vec).collect();
        let mut read = Ahead::new(
            store,
            spans.into_iter(),
            |it| it.path.clone(),
            |reference: StateRef, bytes| {
                let bytes = checked(&reference, bytes)?;
                Ok((Arc::new(entry_of(&reference.path, parse(&reference.path, &bytes)?)?), reference))
            },
        );
        while let Some(span) = read.next().await? {
            let mut known = self.lock();
            for (entry, reference) in span {
                known.durable.insert(reference.path.clone());
                known.tables.insert(entry.table.clone(), (Arc::clone(&entry), reference));
                entries.push(entry);
            }
        }
        let registry = Registry::new(entries);
        let mut known = self.lock();
        known.durable.insert(reference.path.clone());
        known.registry = Some((registry.clone(), reference.clone()));
        Ok(registry)
    }

    /// The registry file that a commit names.
    async fn registry_json(&self, store: &dyn Store, reference: &StateRef) -> Result<RegistryJson, Fault> {
        let json: RegistryJson = parse(&reference.path, &read_checked(store, reference).await?)?;
        let (format, layout) = (self.format.word(), self.layout.word());
        if (json.format.as_str(), json.layout.as_str()) != (format, layout) {
            let found = format!("{} {}", json.layout, json.format);
            return Err(Cause::OtherShape { found, asked: format!("{layout} {format}") }.into());
        }
        Ok(json)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn describe_table(
        &mut self,
        entry: &Arc<TableEntry>,
        missing: &mut Vec<(String, Arc<[u8]>)>,
    ) -> Result<StateRef, Fault> {
        if let Some((described, reference)) = self.tables.get(&entry.table)
            && Arc::ptr_eq(described, entry)
            && self.durable.contains(&reference.path)
        {
            return Ok(reference.clone());
        }
        let (reference, bytes) = by_content(&json_of(entry))?;
        if !self.durable.contains(&reference.path) {
            missing.push((reference.path.clone(), bytes));
        }
        self.tables.insert(entry.table.clone(), (Arc::clone(entry), reference.clone()));
        Ok(reference)
    }
}

/// Whether two registries are the same entries in memory.
fn same_entries(one: &Registry, other: &Registry) -> bool {
    let mut others = other.entries();
    one.entries().all(|entry| others.next().is_some_and(|other| Arc::ptr_eq(entry, other))) && others.next().is_none()
}

fn by_content(json: &impl Serialize) -> Result<(StateRef, Arc<[u8]>), Fault> {
    let bytes = serde_json::to_vec(json).map_err(|e| rule("a state file has no JSON").because(e))?;
    let sha256 = sha256_hex(&bytes);
    Ok((StateRef { path: state_path(&sha256), sha256 }, bytes.into()))
}

/// The bytes of a state file that a commit names.
pub(crate) async fn read_checked(store: &dyn Store, reference: &StateRef) -> Result<Arc<[u8]>, Fault> {
    let bytes = store.read(&reference.path).await?;
    checked(reference, bytes)
}

/// What stands under the name of a state file, if it is what a commit names.
fn checked(reference: &StateRef, bytes: Option<Arc<[u8]>>) -> Result<Arc<[u8]>, Fault> {
    let Some(bytes) = bytes else {
        return Err(damaged(&reference.path, "a commit names this state file, and it is not there"));
    };
    if sha256_hex(&bytes) != reference.sha256 {
        return Err(damaged(&reference.path, "its bytes are not those that a commit names"));
    }
    Ok(bytes)
}

fn parse<T: for<'de> Deserialize<'de>>(path: &str, bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|e| damaged(path, e.to_string()))
}

fn json_of(entry: &TableEntry) -> TableJson {
    let column = |column: &Column| ColumnJson {
        name: column.name.clone(),
        id: column.id,
        kind: column.kind.to_string(),
        type_name: column.type_name.clone(),
        nullable: column.nullable,
    };
    let version = |version: &SchemaVersion| VersionJson {
        version: version.version,
        columns: version.columns.iter().map(column).collect(),
    };
    TableJson {
        table: entry.table.to_string(),
        source_id: entry.source_id.clone(),
        key: entry.key.clone(),
        snapshot: entry.snapshot.map(|done| SnapshotDoneJson { id: done.id, sequence: done.sequence.0 }),
        versions: entry.versions.iter().map(version).collect(),
    }
}

fn entry_of(path: &str, json: TableJson) -> Result<TableEntry, Fault> {
    let mut versions = Vec::new();
    for VersionJson { version, columns } in json.versions {
        let mut known = Vec::new();
        for ColumnJson { name, id, kind, type_name, nullable } in columns {
            let Some(kind) = Kind::parse(&kind) else {
                return Err(Cause::Newer { path: path.into(), what: format!("kind {kind}") }.into());
            };
            known.push(Column { name, id, kind, type_name, nullable });
        }
        versions.push(SchemaVersion { version, columns: known });
    }
    Ok(TableEntry {
        table: TableName::parse(&json.table),
        source_id: json.source_id,
        key: json.key,
        snapshot: json.snapshot.map(|done| SnapshotDone { id: done.id, sequence: Sequence(done.sequence) }),
        versions,
    })
}
