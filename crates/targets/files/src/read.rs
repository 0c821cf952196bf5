//! `millrace read`: a table's committed rows in sequence order, or its current rows, as JSON lines.

use std::collections::VecDeque;
use std::sync::Arc;

use millrace_model::{Fault, Registry, TableEntry, TableName};

use crate::Files;
use crate::commit_json::FileJson;
use crate::current::Current;
use crate::fault::Cause;
use crate::head::newest;
use crate::rows::{FileRows, RowRef, quoted};
use crate::shape::OWN_COLUMNS;
use crate::store::Store;
use crate::walk::files_of;

/// Gives `out` a JSON line for each committed row of `table` in sequence order or, with `state`, for each current row.
pub async fn read(
    files: &Files,
    table: &str,
    state: bool,
    out: &mut (dyn FnMut(&str) -> Result<(), Fault> + Send),
) -> Result<(), Fault> {
    let store = &*files.lake.store;
    let no_table = || Fault::from(Cause::NoTable { table: table.into() });
    let Some(head) = newest(store).await? else { return Err(no_table()) };
    let registry = files.lake.states.read(store, &head.commit.tables).await?;
    let entry = entry_of(&registry, table);
    let name = entry.as_ref().map(|entry| entry.table.clone());
    let wanted = |one: &TableName| name.as_ref().map_or_else(|| one.answers_to(table), |name| name == one);
    let named = files_of(store, head.commit.commit, wanted).await?;
    let mut rows = InOrder::of(named);
    if state {
        let entry = entry.ok_or_else(no_table)?;
        let mut current = Current::of(&entry);
        while let Some(mut file) = rows.next(store).await? {
            current.apply(&file);
            file.done()?;
        }
        return current.lines(out);
    }
    // A table that has left the pipeline has files, but no entry.
    if entry.is_none() && rows.is_empty() {
        return Err(no_table());
    }
    while let Some(mut next) = rows.next(store).await? {
        out(&flat_line(next.row()))?;
        next.done()?;
    }
    Ok(())
}

/// The table by its full name or, failing that, without its database.
fn entry_of(registry: &Registry, table: &str) -> Option<Arc<TableEntry>> {
    let full = registry.get(&TableName::parse(table));
    full.or_else(|| registry.entries().find(|entry| entry.table.answers_to(table))).cloned()
}

/// A row with all its columns.
fn flat_line(row: RowRef<'_>) -> String {
    let exact = row.exact();
    let mut line = String::from("{");
    for field in row.batch.schema().fields() {
        let name = field.name();
        let exact: &[_] = if OWN_COLUMNS.contains(&name.as_str()) { &[] } else { &exact };
        if line.len() > 1 {
            line.push(',');
        }
        line.push_str(&quoted(name));
        line.push(':');
        line.push_str(row.cell(name, exact).as_deref().unwrap_or("null"));
    }
    line.push('}');
    line
}

/// The rows of many files in sequence order; of a stream row and a snapshot row with one sequence the stream row first.
///
/// Stream files of a table never overlap, and rows of a snapshot file share one sequence, so two open files are enough.
struct InOrder {
    stream: Lane,
    snapshot: Lane,
}

struct Lane {
    files: VecDeque<FileJson>,
    /// With the schema version of its rows.
    open: Option<(u32, FileRows)>,
}

/// The next row, in its file.
pub(crate) struct Next<'a> {
    schema_version: u32,
    rows: &'a mut FileRows,
}

impl InOrder {
    fn of(files: Vec<FileJson>) -> Self {
        let (mut stream, mut snapshot): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.snapshot.is_none());
        stream.sort_by_key(|file| file.first_sequence);
        snapshot.sort_by_key(|file| (file.first_sequence, file.snapshot));
        let lane = |files: Vec<FileJson>| Lane { files: files.into(), open: None };
        Self { stream: lane(stream), snapshot: lane(snapshot) }
    }

    fn is_empty(&self) -> bool {
        self.stream.files.is_empty() && self.snapshot.files.is_empty()
    }

    async fn next(&mut self, store: &dyn Store) -> Result<Option<Next<'_>>, Fault> {
        let stream = self.stream.sequence(store).await?;
        let snapshot = self.snapshot.sequence(store).await?;
        let lane = match (stream, snapshot) {
            (Some(stream), Some(snapshot)) if stream > snapshot => &mut self.snapshot,
            (None, _) => &mut self.snapshot,
            _ => &mut self.stream,
        };
        let open = lane.open.as_mut().filter(|(_, rows)| rows.current().is_some());
        Ok(open.map(|(schema_version, rows)| Next { schema_version: *schema_version, rows }))
    }
}

impl Lane {
    /// The sequence of the next row, whose file is open then.
    async fn sequence(&mut self, store: &dyn Store) -> Result<Option<u64>, Fault> {
        loop {
            if let Some(row) = self.open.as_ref().and_then(|(_, rows)| rows.current()) {
                return Ok(Some(row.sequence()));
            }
            let Some(file) = self.files.pop_front() else { return Ok(None) };
            self.open = Some((file.schema_version, FileRows::open(store, &file).await?));
        }
    }
}

impl Next<'_> {
    pub(crate) fn row(&self) -> RowRef<'_> {
        self.rows.current().expect("a next row is only made where there is one")
    }

    pub(crate) fn schema_version(&self) -> u32 {
        self.schema_version
    }

    fn done(&mut self) -> Result<(), Fault> {
        self.rows.advance()
    }
}
