//! One line a second: what the source did, what the lake has, how far apart they are. Read from the lake itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_testkit::pipeline::Pipeline;
use millrace_testkit::postgres::Database;
use millrace_testkit::{Fault, Result};
use serde_json::Value;

/// Follows the pipeline's chain of commits.
#[derive(Debug)]
pub struct View<'a> {
    database: &'a Database,
    pipeline: &'a Pipeline,
    rows: u64,
    files: u64,
    read: u64,
}

/// The newest commit, as far as the view needs it.
#[derive(Debug)]
struct Newest {
    number: u64,
    position: String,
    changes: u64,
    oldest_change: String,
    written_at: String,
}

impl<'a> View<'a> {
    /// From the first commit on.
    pub fn new(database: &'a Database, pipeline: &'a Pipeline) -> Self {
        Self { database, pipeline, rows: 0, files: 0, read: 0 }
    }

    /// Prints how things stand.
    pub fn line(&mut self, elapsed: Duration, transactions: u64) -> Result<()> {
        let second = elapsed.as_secs();
        let Some(newest) = self.follow()? else {
            println!("{second:>4} s  shop: {transactions:>6} transactions   lake: no commit yet");
            return Ok(());
        };
        let (behind, wait) = self.distance(&newest)?;
        println!(
            "{second:>4} s  shop: {transactions:>6} transactions   lake: commit {:>4}, {:>7} changes, {:>7} rows in {:>4} files   \
             lag: {wait} s, {behind} KiB of log",
            newest.number, newest.changes, self.rows, self.files
        );
        Ok(())
    }

    /// Reads the commits that came since the last look.
    fn follow(&mut self) -> Result<Option<Newest>> {
        let mut newest = None;
        loop {
            let path = commit_path(&self.pipeline.lake, self.read + 1);
            let Ok(text) = fs::read(&path) else { break };
            let commit: Value = serde_json::from_slice(&text)
                .map_err(|cause| Fault::Unexpected(format!("{} is no JSON: {cause}", path.display())))?;
            self.read += 1;
            let files = commit["files"].as_array().map(Vec::as_slice).unwrap_or_default();
            self.files += files.len() as u64;
            self.rows += files.iter().filter_map(|file| file["rows"].as_u64()).sum::<u64>();
            newest = Some(commit);
        }
        let Some(commit) = newest.or_else(|| self.last()) else { return Ok(None) };
        let files = commit["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        let oldest = files.iter().filter_map(|file| file["first_commit_ts"].as_str()).min();
        let written_at = text_of(&commit["written_at"]);
        Ok(Some(Newest {
            number: self.read,
            position: text_of(&commit["checkpoint"]["position"]),
            changes: commit["checkpoint"]["sequence"].as_u64().unwrap_or_default(),
            oldest_change: oldest.map_or_else(|| written_at.clone(), str::to_owned),
            written_at,
        }))
    }

    fn last(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(commit_path(&self.pipeline.lake, self.read)).ok()?).ok()
    }

    /// How much of the log the newest commit lacks, and how long its oldest change waited for it. The database does the
    /// arithmetic of its own positions and times.
    fn distance(&self, newest: &Newest) -> Result<(String, String)> {
        if newest.position.is_empty() {
            return Ok(("?".into(), "?".into()));
        }
        let rows = self.database.rows(&format!(
            "SELECT ceil(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '{}') / 1024),
                    round(extract(epoch FROM timestamptz '{}' - timestamptz '{}')::numeric, 1)",
            newest.position, newest.written_at, newest.oldest_change
        ))?;
        let mut columns = rows.into_iter().flatten();
        Ok((columns.next().unwrap_or_default(), columns.next().unwrap_or_default()))
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Where commit `number` stands (`docs/specs/file-lake.md`).
pub fn commit_path(lake: &Path, number: u64) -> PathBuf {
    lake.join(format!("_millrace/commits/{:08}/{number:012}.json", number / 10_000))
}
