//! `millrace status`: what the lake says about itself. Reads the target only, and writes nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use millrace_model::{Fault, Registry};
use serde::Serialize;

use crate::Files;
use crate::archive::{Archives, Deed};
use crate::commit_json::{CheckpointJson, CommitJson, SnapshotJson, WriterJson};
use crate::head::newest;
use crate::names::short_hash;
use crate::store::Store;
use crate::walk::{Deeds, hashes};

/// What the newest commit of a lake says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whose chain it is; null where there is none.
    pub pipeline: Option<String>,
    /// Number of the newest commit; 0 where there is none.
    pub head: u64,
    /// Up to where it is in the lake.
    pub checkpoint: Option<CheckpointJson>,
    /// When the newest commit was written, by its writer's clock.
    pub written_at: Option<String>,
    /// Who wrote it.
    pub writer: Option<WriterJson>,
    /// The tables, by name.
    pub tables: Vec<TableStatus>,
    /// Snapshots under way.
    pub snapshots: Vec<SnapshotJson>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableStatus {
    /// Its full name.
    pub table: String,
    /// The newest version of its schema.
    pub schema_version: u32,
    /// In its files that are not removed.
    pub rows: u64,
    /// `none`, `pending`, `running` or `finished`.
    pub snapshot: &'static str,
}

/// Reads what a lake says about itself.
pub async fn status(files: &Files) -> Result<Status, Fault> {
    let store = &files.lake.store;
    let Some(newest) = newest(&**store).await? else { return Ok(Status::default()) };
    let commit = newest.commit;
    let registry = files.lake.states.read(store, &commit.tables).await?;
    let rows = rows_by_table(store, commit.commit).await?;
    let tables = tables(&registry, &commit, &rows);
    Ok(Status {
        pipeline: Some(commit.pipeline),
        head: commit.commit,
        checkpoint: Some(commit.checkpoint),
        written_at: Some(commit.written_at.to_string()),
        writer: Some(commit.writer),
        tables,
        snapshots: commit.snapshots,
    })
}

/// Rows of files that are not removed. Only the whole chain says how many.
async fn rows_by_table(store: &Arc<dyn Store>, head: u64) -> Result<BTreeMap<String, u64>, Fault> {
    let archives = Archives::find(&**store).await?;
    let pick = |deed: Deed| {
        let files = deed.files.into_iter().map(|file| (file.table, file.rows, short_hash(&file.path)));
        (hashes(&deed.removed), files.collect::<Vec<_>>())
    };
    let (mut rows, mut removed) = (BTreeMap::<String, u64>::new(), HashSet::new());
    let mut commits = Deeds::backwards(store, &archives, 1..=head, pick);
    while let Some(span) = commits.next().await? {
        for (gone, files) in span {
            removed.extend(gone);
            for (table, count, path) in files {
                if !removed.contains(&path) {
                    *rows.entry(table).or_default() += count;
                }
            }
        }
    }
    Ok(rows)
}

fn tables(registry: &Registry, commit: &CommitJson, rows: &BTreeMap<String, u64>) -> Vec<TableStatus> {
    let entries = registry.entries().map(|entry| {
        let table = entry.table.to_string();
        let under_way = commit.snapshots.iter().find(|snapshot| snapshot.table == table);
        let snapshot = match under_way {
            Some(snapshot) if snapshot.finished => "finished",
            Some(snapshot) if snapshot.rows == 0 && snapshot.done.is_empty() => "pending",
            Some(_) => "running",
            None if entry.snapshot.is_some() => "finished",
            None => "none",
        };
        TableStatus {
            schema_version: entry.versions.last().map_or(0, |version| version.version),
            rows: rows.get(&table).copied().unwrap_or(0),
            snapshot,
            table,
        }
    });
    entries.collect()
}
