//! One line a second: what the source did, what the lake has, how far apart they are. Read from the lake itself, whatever it
//! lies in, by its commits.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_testkit::postgres::Database;
use millrace_testkit::{Fault, Result};
use serde_json::Value;

/// What stands above the columns, and again after so many lines.
const HEAD: [&str; 2] = [
    "             the shop │ the lake                                                      │ between them",
    "         transactions │ commit  snapshot  inserted  updated  deleted  files      size │   lag      log",
];
const HEAD_AGAIN: usize = 20;

/// Gives the bytes of a file of the lake, by its path from the root, if it is there.
pub(crate) type Reader<'a> = Box<dyn Fn(&str) -> Result<Option<Vec<u8>>> + 'a>;

/// Follows the pipeline's chain of commits.
pub(crate) struct View<'a> {
    database: &'a Database,
    chain: Chain<'a>,
    lines: usize,
}

/// The commits as far as they were read.
struct Chain<'a> {
    lake: Reader<'a>,
    /// How many.
    read: u64,
    totals: Totals,
    newest: Option<Newest>,
}

/// What all commits so far have brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Newest {
    fn of(commit: &Value) -> Self {
        let files = commit["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        let oldest = files.iter().filter_map(|file| file["first_commit_ts"].as_str()).min();
        let written_at = text_of(&commit["written_at"]);
        Self {
            position: text_of(&commit["checkpoint"]["position"]),
            oldest_change: oldest.map_or_else(|| written_at.clone(), str::to_owned),
            written_at,
        }
    }
}

impl Chain<'_> {
    /// Reads the commits that came since the last look.
    fn follow(&mut self) -> Result<()> {
        loop {
            let path = commit_path(Path::new(""), self.read + 1).display().to_string();
            let Some(text) = (self.lake)(&path)? else { return Ok(()) };
            let commit: Value = serde_json::from_slice(&text)
                .map_err(|cause| Fault::Unexpected(format!("{path} is no JSON: {cause}")))?;
            self.read += 1;
            commit["files"].as_array().into_iter().flatten().for_each(|file| self.totals.add(file));
            self.newest = Some(Newest::of(&commit));
        }
    }
}

impl<'a> View<'a> {
    /// From the first commit on.
    pub(crate) fn new(database: &'a Database, lake: Reader<'a>) -> Self {
        let chain = Chain { lake, read: 0, totals: Totals::default(), newest: None };
        Self { database, chain, lines: 0 }
    }

    /// Prints how things stand.
    pub(crate) fn line(&mut self, elapsed: Duration, transactions: u64) -> Result<()> {
        if self.lines.is_multiple_of(HEAD_AGAIN) {
            println!("{}", HEAD.map(|line| tone(Tone::Quiet, line)).join("\n"));
        }
        self.lines += 1;
        self.chain.follow()?;
        let (behind, wait) = match &self.chain.newest {
            Some(newest) => self.distance(newest)?,
            None => ("?".into(), "?".into()),
        };
        let Totals { snapshot, inserted, updated, deleted, files, bytes } = self.chain.totals;
        println!(
            "{:>5} s {:>13} │ {:>6}  {:>8}  {:>8}  {:>7}  {:>7}  {files:>5} {:>5} KiB │ {wait:>3} s {behind:>4} KiB",
            elapsed.as_secs(),
            grouped(transactions),
            self.chain.read,
            grouped(snapshot),
            grouped(inserted),
            grouped(updated),
            grouped(deleted),
            grouped(bytes / 1024),
        );
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_all_commits_wherever_they_are_read_from() {
        let commit = |number: u64, files: &str| {
            let text = format!(
                r#"{{"commit":{number},"written_at":"2026-11-22T14:03:0{number}Z","checkpoint":{{"position":"0/{number}"}},"files":[{files}]}}"#
            );
            (format!("_millrace/commits/00000000/{number:012}.json"), text)
        };
        let read = r#"{"ops":{"r":5},"bytes":2048}"#;
        let changed = r#"{"ops":{"c":2,"u":3,"d":1},"bytes":1000,"first_commit_ts":"2026-11-22T14:03:01Z"}"#;
        let lake = std::cell::RefCell::new(std::collections::HashMap::from([commit(1, ""), commit(2, read)]));
        let reader = |path: &str| Ok(lake.borrow().get(path).map(|text| text.clone().into_bytes()));
        let mut chain = Chain { lake: Box::new(reader), read: 0, totals: Totals::default(), newest: None };
        chain.follow().unwrap();
        assert_eq!((chain.read, chain.totals.snapshot, chain.totals.inserted), (2, 5, 0));
        lake.borrow_mut().extend([commit(3, changed)]);
        chain.follow().unwrap();
        let totals = Totals { snapshot: 5, inserted: 2, updated: 3, deleted: 1, files: 2, bytes: 3048 };
        assert_eq!((chain.read, chain.totals), (3, totals));
        let newest = chain.newest.unwrap();
        assert_eq!((newest.position.as_str(), newest.oldest_change.as_str()), ("0/3", "2026-11-22T14:03:01Z"));
    }
}
