//! Whether the lake is what the source is, said by two readers that share nothing with the writer.
//!
//! [`compare`] runs DuckDB with the published queries, and a PostgreSQL client library of its own; it is what the tests
//! believe. [`state`] holds the other comparison, of what `millrace read` prints with what `psql` prints, which needs no
//! Python: the demo ends with it.

pub mod state;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fault::{Fault, Result};
use crate::pipeline::Pipeline;
use crate::postgres::Database;
use crate::spawn;

/// What a comparison that found no difference has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equal {
    /// Tables compared.
    pub tables: usize,
    /// Rows of all of them.
    pub rows: u64,
}

impl std::fmt::Display for Equal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lake equals source: {} tables, {} rows", self.tables, self.rows)
    }
}

/// Compares lake and source row by row with native types. The source stands still and the lake has caught up with it.
pub fn compare(pipeline: &Pipeline, database: &Database) -> Result<Equal> {
    let tables: Vec<String> = pipeline.tables.iter().map(|table| format!("public.{table}")).collect();
    let mut reader = script("compare.py")?;
    reader.arg(&pipeline.lake).arg(database.url()).arg(&pipeline.database).args(&tables);
    Ok(Equal { tables: tables.len(), rows: rows_of(&last_line("compare.py", reader)?)? })
}

/// Readers that share nothing with the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// pyarrow, DuckDB, Polars, fastavro.
    Usual,
    /// Spark and ClickHouse too, which the long tier installs.
    All,
}

/// Reads a table in lakes of any format and layout that hold the same changes, each with all of these readers that there are
/// for it: all must find the same. Gives how many rows that were.
pub fn alike<'a>(readers: Readers, table: &str, lakes: impl IntoIterator<Item = &'a Path>) -> Result<u64> {
    let mut reader = script("alike.py")?;
    reader.args((readers == Readers::All).then_some("--all")).arg(table).args(lakes);
    rows_of(&last_line("alike.py", reader)?)
}

/// What each query of a page of the docs shows of a lake, run as it stands there below `heading`; a line of JSON each.
pub fn published(page: &Path, heading: &str, lake: &Path) -> Result<Vec<String>> {
    let mut reader = script("published.py")?;
    reader.arg(page).arg(heading).arg(lake);
    Ok(all_lines("published.py", reader)?.lines().map(str::to_owned).collect())
}

/// What a script says last.
fn last_line(name: &str, script: Command) -> Result<String> {
    Ok(all_lines(name, script)?.lines().last().unwrap_or_default().to_owned())
}

/// What a script says.
fn all_lines(name: &str, mut script: Command) -> Result<String> {
    let output = script.output().map_err(Fault::io("python"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) => Ok(text),
        Some(1) if output.stderr.is_empty() => Err(Fault::Difference(text)),
        _ => Err(Fault::Program {
            program: name.into(),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

/// The Python whose environment xtask makes: `MILLRACE_PYTHON`, or the one in the folder that cargo builds into.
pub fn python() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MILLRACE_PYTHON") {
        return Ok(path.into());
    }
    let running = std::env::current_exe().map_err(Fault::io("the running program"))?;
    let made = running.ancestors().skip(2).take(3).map(python_in).find(|python| python.is_file());
    made.ok_or_else(|| Fault::Missing {
        what: "the reader's Python environment".into(),
        cure: "cargo xtask setup".into(),
    })
}

/// Where the environment lies below the folder that cargo builds into.
pub fn python_in(build_folder: &Path) -> PathBuf {
    build_folder.join("testkit/python/bin/python")
}

/// The folder of the reader's scripts and of its `requirements.txt`.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

pub(crate) fn script(name: &str) -> Result<Command> {
    let mut command = spawn::bound(&python()?.to_string_lossy());
    command.arg("-B").arg(scripts().join(name));
    Ok(command)
}

fn rows_of(line: &str) -> Result<u64> {
    let number = line.rsplit(' ').nth(1).and_then(|word| word.parse().ok());
    number.ok_or_else(|| Fault::Unexpected(format!("the reader ended with: {line}")))
}

#[cfg(test)]
mod tests;
