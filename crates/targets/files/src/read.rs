//! `millrace read`: a table's committed rows in sequence order, or its current rows, as JSON lines.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use millrace_model::{Fault, Registry, TableEntry, TableName};

use crate::Files;
use crate::archive::{Archives, Deed};
use crate::commit_json::FileJson;
use crate::current::Current;
use crate::fault::Cause;
use crate::head::newest;
use crate::names::{ARCHIVED, short_hash};
use crate::rows::{FileRows, RowRef, Told, quoted};
use crate::shape::OWN_COLUMNS;
use crate::store::Store;
use crate::walk::{Deeds, removed};

/// Gives `out` a JSON line for each committed row of `table` in sequence order or, with `state`, for each current row.
pub async fn read(
    files: &Files,
    table: &str,
    state: bool,
    out: &mut (dyn FnMut(&str) -> Result<(), Fault> + Send),
) -> Result<(), Fault> {
    let shared = &files.lake.store;
    let store = &**shared;
    let no_table = |meant| Fault::from(Cause::NoTable { table: table.into(), meant });
    let Some(head) = newest(store).await? else { return Err(no_table(None)) };
    let registry = files.lake.states.read(shared, &head.commit.tables).await?;
    let entry = entry_of(&registry, table);
    let name = entry.as_ref().map(|entry| entry.table.clone());
    let asked = table.to_owned();
    let wanted = Arc::new(move |one: &str| {
        let one = TableName::parse(one);
        name.as_ref().map_or_else(|| one.answers_to(&asked), |name| *name == one)
    });
    let told = Told::of(files.lake.settings.form, entry.as_deref());
    let mut rows = InOrder::find(shared, told, head.commit.commit, wanted).await?;
    if state {
        let entry = entry.ok_or_else(|| no_table(meant(&registry, table)))?;
        let mut current = Current::of(&entry);
        while let Some(mut file) = rows.next(store).await? {
            current.apply(&file);
            file.done()?;
        }
        return current.lines(out);
    }
    // A table that has left the pipeline has files, but no entry.
    if entry.is_none() && rows.is_empty() {
        return Err(no_table(meant(&registry, table)));
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

/// The table that `asked` names if the dots inside its parts are written plainly.
fn meant(registry: &Registry, asked: &str) -> Option<String> {
    let plainly = |parts: &[String]| parts.join(".") == asked;
    let is_meant = |table: &TableName| {
        let parts = table.parts();
        plainly(parts) || parts.split_first().is_some_and(|(_, rest)| plainly(rest))
    };
    registry.entries().map(|entry| &entry.table).find(|table| is_meant(table)).map(ToString::to_string)
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

/// Tells the files of one table by the table's name as commits have it.
type Wanted = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The rows of many files in sequence order; of a stream row and a snapshot row with one sequence the stream row first.
///
/// Stream files of a table never overlap, and rows of a snapshot file share one sequence, so two open files are enough. The
/// stream's files lie in the chain in the order of their sequences and are found there as they are needed; those of
/// snapshots stand in commits after their anchor and are known before.
struct InOrder {
    told: Told,
    stream: Lane,
    snapshot: Lane,
    is_empty: bool,
}

struct Lane {
    files: VecDeque<FileJson>,
    /// Where more files come from.
    later: Option<Later>,
    /// With the schema version of its rows.
    open: Option<(u32, FileRows)>,
}

/// Files of the stream that were not met yet.
struct Later {
    commits: Deeds<Vec<FileJson>>,
    gone: HashSet<u128>,
}

/// What the chain says about a table.
#[derive(Default)]
struct Known {
    snapshots: Vec<FileJson>,
    /// The first and the last commit that has files of the stream.
    stream: Option<(u64, u64)>,
}

impl Known {
    async fn of(
        store: &Arc<dyn Store>,
        archives: &Archives,
        head: u64,
        gone: &HashSet<u128>,
        wanted: &Wanted,
    ) -> Result<Self, Fault> {
        let mut known = Self::default();
        let wanted = Arc::clone(wanted);
        let pick = move |mut deed: Deed| {
            deed.files.retain(|file| wanted(&file.table));
            (deed.commit, deed.files)
        };
        let mut commits = Deeds::new(store, archives, 1..=head, pick);
        while let Some(span) = commits.next().await? {
            for (number, files) in span {
                for file in files.into_iter().filter(|file| !gone.contains(&short_hash(&file.path))) {
                    if file.snapshot.is_some() {
                        known.snapshots.push(file);
                    } else {
                        let first = known.stream.map_or(number, |(first, _)| first);
                        known.stream = Some((first, number));
                    }
                }
            }
        }
        Ok(known)
    }
}

impl InOrder {
    /// The files of a table in the commits up to `head`.
    async fn find(store: &Arc<dyn Store>, told: Told, head: u64, wanted: Wanted) -> Result<Self, Fault> {
        let archives = Archives::find(&**store).await?;
        let gone = removed(store, &archives, head).await?;
        let Known { mut snapshots, stream } = Known::of(store, &archives, head, &gone, &wanted).await?;
        snapshots.sort_by_key(|file| (file.first_sequence, file.snapshot));
        let is_empty = snapshots.is_empty() && stream.is_none();
        let later = stream.map(|(first, last)| {
            let pick = move |mut deed: Deed| {
                deed.files.retain(|file| file.snapshot.is_none() && wanted(&file.table));
                deed.files
            };
            // From the beginning of its archive, so that this is read.
            let first = first - (first - 1) % ARCHIVED;
            Later { commits: Deeds::new(store, &archives, first..=last, pick), gone }
        });
        Ok(Self {
            told,
            stream: Lane { files: VecDeque::new(), later, open: None },
            snapshot: Lane { files: snapshots.into(), later: None, open: None },
            is_empty,
        })
    }

    fn is_empty(&self) -> bool {
        self.is_empty
    }

    async fn next(&mut self, store: &dyn Store) -> Result<Option<Next<'_>>, Fault> {
        let stream = self.stream.sequence(store, &self.told).await?;
        let snapshot = self.snapshot.sequence(store, &self.told).await?;
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
    async fn sequence(&mut self, store: &dyn Store, told: &Told) -> Result<Option<u64>, Fault> {
        loop {
            if let Some(row) = self.open.as_ref().and_then(|(_, rows)| rows.current()) {
                return Ok(Some(row.sequence()));
            }
            let Some(file) = self.next_file().await? else { return Ok(None) };
            self.open = Some((file.schema_version, FileRows::open(store, told, &file).await?));
        }
    }

    async fn next_file(&mut self) -> Result<Option<FileJson>, Fault> {
        while self.files.is_empty() {
            let Some(later) = &mut self.later else { return Ok(None) };
            let Some(span) = later.commits.next().await? else { return Ok(None) };
            let mut files: Vec<FileJson> = span.into_iter().flatten().collect();
            files.retain(|file| !later.gone.contains(&short_hash(&file.path)));
            files.sort_by_key(|file| file.first_sequence);
            self.files = files.into();
        }
        Ok(self.files.pop_front())
    }
}

/// The next row, in its file.
pub(crate) struct Next<'a> {
    schema_version: u32,
    rows: &'a mut FileRows,
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
