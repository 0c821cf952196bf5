//! One line a second: what the source did, what the lake has, how far apart they are. Read from the lake itself.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_testkit::pipeline::Pipeline;
use millrace_testkit::postgres::Database;
use millrace_testkit::{Fault, Result};
use serde_json::Value;

/// What stands above the columns, and again after so many lines.
const HEAD: [&str; 2] = [
    "             the shop │ the lake                                                      │ between them",
    "         transactions │ commit  snapshot  inserted  updated  deleted  files      size │   lag      log",
];
const HEAD_AGAIN: usize = 20;

/// Follows the pipeline's chain of commits.
#[derive(Debug)]
pub(crate) struct View<'a> {
    database: &'a Database,
    pipeline: &'a Pipeline,
    /// Commits that were read.
    read: u64,
    totals: Totals,
    lines: usize,
}

/// What all commits so far have brought.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    snapshot: u64,
    inserted: u64,
    updated: u64,
    deleted: u64,
    files: u64,
    bytes: u64,
}

impl Totals {
    fn add(&mut self, file: &Value) {
        let operations = |name: &str| file["ops"][name].as_u64().unwrap_or_default();
        self.snapshot += operations("r");
        self.inserted += operations("c");
        self.updated += operations("u");
        self.deleted += operations("d");
        self.files += 1;
        self.bytes += file["bytes"].as_u64().unwrap_or_default();
    }
}

/// The newest commit, as far as the view needs it.
#[derive(Debug)]
struct Newest {
    position: String,
    oldest_change: String,
    written_at: String,
}

impl<'a> View<'a> {
    /// From the first commit on.
    pub(crate) fn new(database: &'a Database, pipeline: &'a Pipeline) -> Self {
        Self { database, pipeline, read: 0, totals: Totals::default(), lines: 0 }
    }

    /// Prints how things stand.
    pub(crate) fn line(&mut self, elapsed: Duration, transactions: u64) -> Result<()> {
        if self.lines.is_multiple_of(HEAD_AGAIN) {
            println!("{}", HEAD.map(|line| tone(Tone::Quiet, line)).join("\n"));
        }
        self.lines += 1;
        if !self.pipeline.lake.is_dir() {
            // Only files can be looked at from here.
            let seconds = elapsed.as_secs();
            println!("{seconds:>5} s {:>13} │ the lake's figures stand in the hub's console", grouped(transactions));
            return Ok(());
        }
        let newest = self.follow()?;
        let (behind, wait) = match &newest {
            Some(newest) => self.distance(newest)?,
            None => ("?".into(), "?".into()),
        };
        let Totals { snapshot, inserted, updated, deleted, files, bytes } = self.totals;
        println!(
            "{:>5} s {:>13} │ {:>6}  {:>8}  {:>8}  {:>7}  {:>7}  {files:>5} {:>5} KiB │ {wait:>3} s {behind:>4} KiB",
            elapsed.as_secs(),
            grouped(transactions),
            self.read,
            grouped(snapshot),
            grouped(inserted),
            grouped(updated),
            grouped(deleted),
            grouped(bytes / 1024),
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
            for file in commit["files"].as_array().into_iter().flatten() {
                self.totals.add(file);
            }
            newest = Some(commit);
        }
        let Some(commit) = newest.or_else(|| self.last()) else { return Ok(None) };
        let files = commit["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        let oldest = files.iter().filter_map(|file| file["first_commit_ts"].as_str()).min();
        let written_at = text_of(&commit["written_at"]);
        Ok(Some(Newest {
            position: text_of(&commit["checkpoint"]["position"]),
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

/// What a piece of text is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// Less important than the rest.
    Quiet,
    /// Look at this.
    Alarm,
    /// All is well.
    Good,
}

/// The text in the colour of its tone, on a terminal that wants colours.
pub(crate) fn tone(tone: Tone, text: &str) -> String {
    if !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|wish| !wish.is_empty()) {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Quiet => "2",
        Tone::Alarm => "33",
        Tone::Good => "32",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Where commit `number` stands (`docs/specs/file-lake.md`).
pub(crate) fn commit_path(lake: &Path, number: u64) -> PathBuf {
    lake.join(format!("_millrace/commits/{:08}/{number:012}.json", number / 10_000))
}
