//! For each change: from its commit in the source to the moment at which its commit in the lake is first seen by one who
//! looks every ten milliseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_testkit::postgres::Database;
use millrace_testkit::{Fault, Result, backlog};
use serde_json::Value;

use super::report::{Report, quantile};
use super::stage::{PATIENCE, Stage};
use crate::demo::commit_path;

/// The reader's poll.
const POLL: Duration = Duration::from_millis(10);

/// Transactions of a hundred changes each: 5,000 changes a second.
const BETWEEN: Duration = Duration::from_millis(20);

/// How long the load runs.
const LENGTH: Duration = Duration::from_secs(30);

/// How long the last changes may take to arrive.
const CATCHING_UP: Duration = Duration::from_mins(1);

/// Bars, in seconds, at a `commit.interval` of one second.
const MEDIAN_BAR: f64 = 1.0;
const TAIL_BAR: f64 = 2.0;

/// A commit of the lake: when it was first seen, and the last change that it has.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: f64,
    sequence: u64,
}

/// Measures the delays of some ten thousand changes.
pub(crate) fn measure(stage: &Stage, report: &mut Report) -> Result<()> {
    println!("Streaming 5,000 changes a second for {} s", LENGTH.as_secs());
    let attempt = stage.attempt(super::stage::BENCH, &[backlog::TABLE])?;
    let mut running = stage.start(&attempt, &[])?;
    running.wait_for("streaming", PATIENCE)?;
    let database = stage.database.clone();
    let load = thread::spawn(move || write_at_pace(&database));
    let mut seen: Vec<Seen> = Vec::new();
    while !load.is_finished() {
        look(&attempt.pipeline.lake, &mut seen)?;
        thread::sleep(POLL);
    }
    let blocks = load.join().map_err(|_panic| Fault::Unexpected("the load panicked".into()))??;
    let began = Instant::now();
    while seen.last().is_none_or(|last| last.sequence < changes_in(blocks)) {
        if began.elapsed() > CATCHING_UP || running.has_ended() {
            return Err(Fault::Unexpected("the lake did not catch up".into()));
        }
        look(&attempt.pipeline.lake, &mut seen)?;
        thread::sleep(POLL);
    }
    running.stop(PATIENCE)?;
    let mut delays = delays(&stage.database, &stage.read(&attempt, backlog::TABLE)?, &seen)?;
    delays.sort_by(f64::total_cmp);
    report.add("latency: changes", delays.len() as f64, "");
    report.judge("latency: p50", quantile(&delays, 0.5), "s", MEDIAN_BAR);
    report.judge("latency: p99", quantile(&delays, 0.99), "s", TAIL_BAR);
    Ok(())
}

/// Writes a block each twenty milliseconds; gives the number of blocks.
fn write_at_pace(database: &Database) -> Result<u64> {
    let mut session = database.session()?;
    let began = Instant::now();
    let mut blocks = 0;
    while began.elapsed() < LENGTH {
        session.run(&backlog::call(blocks, blocks + 1))?;
        blocks += 1;
        thread::sleep((BETWEEN * blocks as u32).saturating_sub(began.elapsed()));
    }
    Ok(blocks)
}

/// The first block has no block before it whose two rows it could delete.
fn changes_in(blocks: u64) -> u64 {
    (blocks * backlog::CHANGES_OF_A_BLOCK).saturating_sub(2)
}

/// Notes the commits that can be seen now and could not before.
#[expect(clippy::disallowed_methods, reason = "compared with what the database wrote by the same machine's clock")]
fn look(lake: &Path, seen: &mut Vec<Seen>) -> Result<()> {
    while let Ok(text) = fs::read(commit_path(lake, seen.len() as u64 + 1)) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let commit: Value = serde_json::from_slice(&text)
            .map_err(|cause| Fault::Unexpected(format!("a commit is no JSON: {cause}")))?;
        seen.push(Seen { at, sequence: commit["checkpoint"]["sequence"].as_u64().unwrap_or_default() });
    }
    Ok(())
}

/// The delay of each change that `printed` shows.
fn delays(database: &Database, printed: &str, seen: &[Seen]) -> Result<Vec<f64>> {
    let mut changes: Vec<(u64, String)> = Vec::new();
    for line in printed.lines() {
        let row: Value = serde_json::from_str(line).map_err(|cause| Fault::Unexpected(format!("no row: {cause}")))?;
        let (Some(sequence), Some(committed)) = (row["_sequence"].as_u64(), row["_commit_ts"].as_str()) else {
            return Err(Fault::Unexpected("a change without sequence or commit time".into()));
        };
        changes.push((sequence, committed.to_owned()));
    }
    let committed = seconds(database, &changes.iter().map(|(_, text)| text.as_str()).collect())?;
    let delay = |(sequence, text): &(u64, String)| {
        let commit = seen.get(seen.partition_point(|commit| commit.sequence < *sequence))?;
        Some(commit.at - committed.get(text)?)
    };
    let delays: Option<Vec<f64>> = changes.iter().map(delay).collect();
    delays.ok_or_else(|| Fault::Unexpected("a change that no commit has".into()))
}

/// Times as seconds since 1970, reckoned by the database.
fn seconds(database: &Database, times: &BTreeSet<&str>) -> Result<BTreeMap<String, f64>> {
    let list: Vec<String> = times.iter().map(|time| format!("('{time}')")).collect();
    let mut session = database.session()?;
    let lines = session.run(&format!(
        "SELECT t || ' ' || extract(epoch FROM t::timestamptz) FROM (VALUES {}) AS listed(t)",
        list.join(", ")
    ))?;
    let pair = |line: String| {
        let (time, seconds) = line.split_once(' ')?;
        Some((time.to_owned(), seconds.parse().ok()?))
    };
    let pairs: Option<BTreeMap<String, f64>> = lines.into_iter().map(pair).collect();
    pairs.ok_or_else(|| Fault::Unexpected("the database did not reckon with times".into()))
}
