//! The current rows of a table out of its committed ones: the readers' rule of `docs/specs/file-lake.md`.
//!
//! Rows are applied in sequence order, at one sequence the stream's before a snapshot's, a lower snapshot id before a
//! higher: so "the highest sequence wins, on a tie the snapshot row" is "the last one wins". An unavailable cell takes the
//! value of the row just before it; after a change of the key that row stands under the old key, one sequence below.

use std::collections::BTreeMap;

use millrace_model::{Column, Fault, TableEntry};

use crate::read::Next;
use crate::rows::{RowRef, quoted};
use crate::shape::lake_names;

/// The cells of a row as JSON; `None` is null.
type Cells = Vec<Option<String>>;

/// The current rows of a table.
pub(crate) struct Current {
    /// Of the newest version.
    columns: Vec<Column>,
    /// For each version: the name in its files of each of `columns`.
    names: BTreeMap<u32, Vec<Option<String>>>,
    /// Indexes into `columns`; empty without a key.
    key: Vec<usize>,
    /// The snapshot that the registry names: id and sequence.
    snapshot: Option<(u64, u64)>,
    rows: BTreeMap<String, Row>,
    /// The row that the last delete took, and at which sequence.
    deleted: Option<(u64, Cells)>,
}

struct Row {
    cells: Cells,
    /// More than one only without a key.
    times: u64,
}

impl Current {
    /// No rows yet of a table.
    pub(crate) fn of(entry: &TableEntry) -> Self {
        let columns = entry.versions.last().map_or_else(Vec::new, |newest| newest.columns.clone());
        let names = entry.versions.iter().map(|version| {
            let in_files = lake_names(&version.columns);
            let name_of = |wanted: &Column| {
                let its_id = version.columns.iter().position(|column| column.id == wanted.id);
                // Where the source could not tell which column it was, it has an id that it had only then. The key is known
                // by name; any other column of that name may be one that was dropped.
                let at = its_id.or_else(|| {
                    let is_key = entry.key.contains(&wanted.name);
                    version.columns.iter().position(|column| is_key && column.name == wanted.name)
                })?;
                in_files.get(at).cloned()
            };
            (version.version, columns.iter().map(name_of).collect())
        });
        let key = entry.key.iter().filter_map(|key| columns.iter().position(|column| column.name == *key)).collect();
        Self {
            names: names.collect(),
            key,
            snapshot: entry.snapshot.map(|done| (done.id, done.sequence.0)),
            rows: BTreeMap::new(),
            deleted: None,
            columns,
        }
    }

    /// Applies the next row.
    pub(crate) fn apply(&mut self, next: &Next<'_>) {
        let row = next.row();
        let version = next.schema_version();
        let names = self.names.get(&version).cloned().unwrap_or_default();
        let exact = row.exact();
        let cells: Cells = names.iter().map(|name| name.as_deref().and_then(|name| row.cell(name, &exact))).collect();
        if self.key.is_empty() { self.apply_keyless(row, cells) } else { self.apply_keyed(row, cells, &names) }
    }

    fn apply_keyed(&mut self, row: RowRef<'_>, mut cells: Cells, names: &[Option<String>]) {
        let (op, sequence) = (row.text("_op").unwrap_or(""), row.sequence());
        let key = text_of(self.key.iter().filter_map(|&at| cells.get(at)));
        let earlier = match op {
            "u" => self.rows.get(&key).map(|row| &row.cells),
            "c" => self.deleted.as_ref().filter(|(at, _)| at + 1 == sequence).map(|(_, cells)| cells),
            _ => None,
        };
        let unavailable = row.unavailable();
        for (at, (cell, name)) in cells.iter_mut().zip(names).enumerate() {
            if name.as_ref().is_some_and(|name| unavailable.contains(name)) {
                *cell = earlier.and_then(|earlier| earlier.get(at).cloned().flatten());
            }
        }
        match op {
            "t" => self.rows.clear(),
            "d" => self.deleted = self.rows.remove(&key).map(|row| (sequence, row.cells)),
            _ => drop(self.rows.insert(key, Row { cells, times: 1 })),
        }
    }

    fn apply_keyless(&mut self, row: RowRef<'_>, cells: Cells) {
        let op = row.text("_op").unwrap_or("");
        let counts = match (op, self.snapshot) {
            ("r", Some((id, _))) => row.text("_snapshot") == Some(&id.to_string()),
            ("r", None) => false,
            (_, base) => row.sequence() > base.map_or(0, |(_, sequence)| sequence),
        };
        if !counts {
            return;
        }
        let all = text_of(cells.iter());
        match op {
            "t" => self.rows.clear(),
            "d" => {
                if let Some(row) = self.rows.get_mut(&all) {
                    row.times -= 1;
                    if row.times == 0 {
                        self.rows.remove(&all);
                    }
                }
            }
            _ => self.rows.entry(all).or_insert(Row { cells, times: 0 }).times += 1,
        }
    }

    /// Gives `out` each row as a JSON line.
    pub(crate) fn lines(self, out: &mut (dyn FnMut(&str) -> Result<(), Fault> + Send)) -> Result<(), Fault> {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        for row in self.rows.values() {
            let cells = names.iter().zip(&row.cells);
            let cells: Vec<String> =
                cells.map(|(name, cell)| format!("{name}:{}", cell.as_deref().unwrap_or("null"))).collect();
            let line = format!("{{{}}}", cells.join(","));
            for _ in 0..row.times {
                out(&line)?;
            }
        }
        Ok(())
    }
}

/// Cells as one text that tells them apart. `exact` counts: it is in the cells.
fn text_of<'a>(cells: impl Iterator<Item = &'a Option<String>>) -> String {
    cells.map(|cell| cell.as_deref().unwrap_or("null")).collect::<Vec<_>>().join(",")
}
