//! A very long chain: a start, from process start to streaming, with the hint and without, and what only reads it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use millrace_testkit::process::Ended;
use millrace_testkit::{Fault, Result, backlog};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::drain::MEMORY_BAR;
use super::report::Report;
use super::stage::{BENCH, MIB, Stage};

/// Commits in the chain when the drain's default of rows is asked for.
const COMMITS: u64 = 1_000_000;
/// Until the log is open.
const START_BAR: f64 = 5.0;

/// Measures a chain of so many commits.
pub(crate) fn measure(stage: &Stage, share: f64, report: &mut Report) -> Result<()> {
    let commits = ((COMMITS as f64 * share) as u64).max(1_000);
    let attempt = stage.attempt(BENCH, &[backlog::TABLE])?;
    stage.drain(&attempt)?;
    println!("Lengthening the chain to {commits} commits");
    lengthen(&attempt.pipeline.lake, commits)?;
    for with_hint in [true, false] {
        let hint = attempt.pipeline.lake.join("_millrace/head.json");
        if with_hint {
            write(&hint, &json!({ "commit": commits - 7 }))?;
        } else {
            fs::remove_file(&hint).map_err(|cause| Fault::Io { path: hint.clone(), cause })?;
        }
        let began = Instant::now();
        let mut running = stage.start(&attempt, &[])?;
        running.wait_for("streaming", Duration::from_mins(10))?;
        let name = if with_hint { "with the hint" } else { "without it" };
        report.judge(format!("chain of {commits}: start {name}"), began.elapsed().as_secs_f64(), "s", START_BAR);
        let ended = running.stop(Duration::from_mins(1))?;
        report.judge(format!("chain of {commits}: peak memory {name}"), mib(&ended), "MiB", MEMORY_BAR);
    }
    for command in ["status", "fsck"] {
        let ended = stage.look(&attempt, command)?;
        report.add(format!("chain of {commits}: {command}"), ended.wall_time.as_secs_f64(), "s");
        report.add(format!("chain of {commits}: peak memory of {command}"), mib(&ended), "MiB");
    }
    Ok(())
}

fn mib(ended: &Ended) -> f64 {
    ended.peak_memory.get() as f64 / MIB
}

/// Adds heartbeats to a chain, as a writer of years would have.
fn lengthen(lake: &Path, commits: u64) -> Result<()> {
    let path = |number: u64| lake.join(format!("_millrace/commits/{:08}/{number:012}.json", number / 10_000));
    let read = |number| fs::read(path(number)).map_err(|cause| Fault::Io { path: path(number), cause });
    let mut last = 1;
    while path(last + 1).exists() {
        last += 1;
    }
    let mut bytes = read(last)?;
    let mut commit: Value = serde_json::from_slice(&bytes).map_err(|cause| Fault::Unexpected(cause.to_string()))?;
    commit["kind"] = json!("heartbeat");
    commit["transactions"] = json!(0);
    commit["files"] = json!([]);
    commit["removed"] = json!([]);
    let round = commit["writer"]["round"].as_u64().unwrap_or(0);
    for number in last + 1..=commits {
        let hash = hexadecimal(&Sha256::digest(&bytes));
        commit["commit"] = json!(number);
        commit["writer"]["round"] = json!(round + number - last);
        commit["previous"] = json!({ "commit": number - 1, "sha256": hash });
        bytes = commit.to_string().into_bytes();
        let path = path(number);
        if number % 10_000 == 0 || number == last + 1 {
            let folder = path.parent().unwrap_or(lake);
            fs::create_dir_all(folder).map_err(|cause| Fault::Io { path: folder.to_owned(), cause })?;
        }
        fs::write(&path, &bytes).map_err(|cause| Fault::Io { path, cause })?;
    }
    Ok(())
}

fn write(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, value.to_string()).map_err(|cause| Fault::Io { path: path.to_owned(), cause })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
