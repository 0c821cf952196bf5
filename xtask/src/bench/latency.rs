//! For each change: from its commit in the source to the moment at which its commit in the lake is first seen by one who
//! looks every ten milliseconds.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
pub fn measure(stage: &Stage, report: &mut Report) -> Result<()> {
    println!("Streaming 5,000 changes a second for {} s", LENGTH.as_secs());
    let attempt = stage.attempt(super::stage::BENCH, &[backlog::TABLE])?;
    let mut running = stage.start(&attempt, &[])?;
    running.wait_for("streaming", PATIENCE)?;
    let database = stage.database.clone();
    let load = thread::spawn(move || write_at_pace(&database));
    let mut seen: Vec<Seen> = Vec::new();
    let mut wanted = None;
    while wanted.is_none_or(|blocks| seen.last().is_none_or(|last| last.sequence < changes_in(blocks))) {
        if wanted.is_none() && load.is_finished() {
            break;
        }
        look(&attempt.pipeline.lake, &mut seen)?;
        thread::sleep(POLL);
        wanted = None;
    }
    let blocks = load.join().map_err(|_panic| Fault::Unexpected("the load panicked".into()))??;
    let began = Instant::now();
    while seen.last().is_none_or(|last| last.sequence < changes_in(blocks)) {
        if began.elapsed() > Duration::from_secs(60) || running.has_ended() {
            return Err(Fault::Unexpected("the lake did not catch up within a minute".into()));
        }
        look(&attempt.pipeline.lake, &mut seen)?;
        thread::sleep(POLL);
    }
    running.stop(PATIENCE)?;
    let mut delays = delays(stage, &stage.read(&attempt, backlog::TABLE)?, &seen)?;
    delays.sort_by(f64::total_cmp);
    report.add("latency: changes", delays.len() as f64, "");
    report.judge("latency: p50", quantile(&delays, 0.5), "s", MEDIAN_BAR);
    report.judge("latency: p99", quantile(&delays, 0.99), "s", TAIL_BAR);
    Ok(())
}
