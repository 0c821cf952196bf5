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

use super::drain::MEMORY_BAR;
use super::report::{Report, median, quantile};
use super::stage::{MIB, PATIENCE, Stage};
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

/// Measures the delays of some hundred thousand changes, several times; the medians count.
pub(crate) fn measure(stage: &Stage, times: usize, report: &mut Report) -> Result<()> {
    let (mut middles, mut tails, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let (mut changes, mut block) = (0, 0);
    for time in 1..=times {
        let slot = format!("latency_{time}");
        stage.make_slot(&slot)?;
        let once = once(stage, &slot, &mut block)?;
        stage.drop_slot(&slot)?;
        changes += once.delays.len();
        middles.push(quantile(&once.delays, 0.5));
        tails.push(quantile(&once.delays, 0.99));
        peaks.push(once.peak_mib);
    }
    report.add("latency: changes", changes as f64, "");
    report.judge("latency: p50", median(middles), "s", MEDIAN_BAR);
    report.judge("latency: p99", median(tails), "s", TAIL_BAR);
    report.judge("latency: peak", median(peaks), "MiB", MEMORY_BAR);
    Ok(())
}

/// What one load has shown.
struct Once {
    /// Of each change, rising.
    delays: Vec<f64>,
    peak_mib: f64,
}

/// One load from `block` on, which it moves, read through a slot that stands at its beginning.
fn once(stage: &Stage, slot: &str, block: &mut u64) -> Result<Once> {
    println!("Streaming 5,000 changes a second for {} s", LENGTH.as_secs());
    let attempt = stage.attempt(slot, &[backlog::TABLE])?;
    let mut running = stage.start(&attempt, &[])?;
    running.wait_for("streaming", PATIENCE)?;
    let (database, first) = (stage.database.clone(), *block);
    let load = thread::spawn(move || write_at_pace(&database, first));
    let mut seen: Vec<Seen> = Vec::new();
    while !load.is_finished() {
        look(&attempt.pipeline.lake, &mut seen)?;
        thread::sleep(POLL);
    }
    *block = load.join().map_err(|_panic| Fault::Unexpected("the load panicked".into()))??;
    let began = Instant::now();
    let changes = changes_before(*block) - changes_before(first);
    while seen.last().is_none_or(|last| last.sequence < changes) {
        if began.elapsed() > CATCHING_UP || running.has_ended() {
            return Err(Fault::Unexpected("the lake did not catch up".into()));
        }
        look(&attempt.pipeline.lake, &mut seen)?;
        thread::sleep(POLL);
    }
    let ended = running.stop(PATIENCE)?;
    let mut delays = delays(&stage.database, &stage.read(&attempt, backlog::TABLE)?, &seen)?;
    delays.sort_by(f64::total_cmp);
    Ok(Once { delays, peak_mib: ended.peak_memory.get() as f64 / MIB })
}

/// Writes a block each twenty milliseconds, from `first` on; gives the first that it did not write.
fn write_at_pace(database: &Database, first: u64) -> Result<u64> {
    let mut session = database.session()?;
    let began = Instant::now();
    let mut written = 0;
    while began.elapsed() < LENGTH {
        session.run(&backlog::call(first + written, first + written + 1))?;
        written += 1;
        thread::sleep((BETWEEN * written as u32).saturating_sub(began.elapsed()));
    }
    Ok(first + written)
}

/// Changes of the blocks before this one. The first block has none before it whose two rows it could delete.
fn changes_before(block: u64) -> u64 {
    (block * backlog::CHANGES_OF_A_BLOCK).saturating_sub(2)
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
