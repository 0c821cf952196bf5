//! `cargo xtask demo`: a small shop in a throw-away PostgreSQL, streamed into a lake, watched, and compared at the end.

mod view;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millrace_testkit::lake::{Equal, state};
use millrace_testkit::pipeline::{Draft, Pipeline};
use millrace_testkit::postgres::{Database, Server};
use millrace_testkit::process::{Invocation, Millrace};
use millrace_testkit::workload::{self, Load, Mover, Pace};
use millrace_testkit::{Fault, Result};

use crate::build::{self, Profile};
use crate::setup;
use view::View;
pub use view::commit_path;

/// The shop of every demo is the same.
const SEED: u64 = 7;

/// The shop has been open for a while when the pipeline starts.
const OPENING_TRANSACTIONS: usize = 1_500;

/// Keys of its own: those of the load's movers are others.
const OPENING_MOVER: u16 = 9;

/// Lively, and readable.
const PACE: Pace = Pace { movers: 2, transactions_a_second: Some(60) };

/// How long a start, a stop or a catching up may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the demo shall be like.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// End after this long (`60s`, `5m`) instead of at Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    length: Option<Duration>,
    /// Which kind of source.
    #[arg(long, value_enum, default_value = "postgres")]
    source: SourceKind,
}

/// The sources that the demo can show.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SourceKind {
    Postgres,
}

/// Shows it working, then proves it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let SourceKind::Postgres = arguments.source;
    setup::postgres()?;
    let millrace = build::millrace(Profile::Dev)?;
    let stop = interrupts()?;
    let folder = fresh_folder()?;
    println!("Starting PostgreSQL on 127.0.0.1, with a small shop in it");
    let server = Server::start()?;
    let database = server.create_database("shop")?;
    workload::create_shop(&database)?;
    // So that there is something to be read before anything is streamed. Number 0 and up are the load's movers.
    workload::move_rows(&database, &mut Mover::new(SEED, OPENING_MOVER), OPENING_TRANSACTIONS)?;
    let draft = Draft::new("shop", &database, &workload::TABLES);
    let pipeline = draft.write(&folder)?;
    println!("Starting millrace run {}", pipeline.file.display());
    let mut running = start(&millrace, &pipeline, &["run"])?;
    running.wait_for("streaming", PATIENCE)?;
    println!("Streaming into {}; {}\n", pipeline.lake.display(), ending(arguments.length));
    let load = Load::start(&database, SEED, PACE)?;
    watch(&database, &pipeline, &load, &mut running, arguments.length, &stop)?;
    let equal = settle(&millrace, &pipeline, &database, load, running)?;
    show_query(&pipeline, &folder)?;
    println!("{equal}");
    Ok(())
}

/// A line each second, until the time is up or someone presses Ctrl-C.
fn watch(
    database: &Database,
    pipeline: &Pipeline,
    load: &Load,
    running: &mut Millrace,
    length: Option<Duration>,
    stop: &AtomicBool,
) -> Result<()> {
    const TICK: Duration = Duration::from_secs(1);
    let mut view = View::new(database, pipeline);
    let began = Instant::now();
    let mut due = began + TICK;
    while !stop.load(Ordering::Relaxed) && length.is_none_or(|length| began.elapsed() < length) {
        thread::sleep(TICK.min(Duration::from_millis(50)));
        if Instant::now() < due {
            continue;
        }
        due += TICK;
        running.check()?;
        if running.has_ended() {
            return Err(Fault::Unexpected(format!("millrace ended: {:?}", running.lines().last())));
        }
        view.line(began.elapsed(), load.done().transactions)?;
    }
    Ok(())
}

/// Stops the shop, lets the pipeline catch up, checks the lake, compares it with the source.
fn settle(program: &Path, pipeline: &Pipeline, database: &Database, load: Load, running: Millrace) -> Result<Equal> {
    println!("\nStopping the shop");
    let done = load.stop()?;
    println!("Stopping millrace, after {} transactions", done.transactions);
    running.stop(PATIENCE)?;
    println!("Catching up: millrace run --until now");
    finish(start(program, pipeline, &["run", "--until", "now"])?)?;
    println!("Checking the lake: millrace fsck");
    finish(start(program, pipeline, &["fsck"])?)?;
    println!("Comparing every row of the lake with the source");
    state::compare(program, pipeline, database)
}

fn finish(process: Millrace) -> Result<()> {
    let ended = process.wait(PATIENCE)?;
    match ended.code {
        Some(0) => Ok(()),
        code => Err(Fault::Unexpected(format!("exit code {code:?}: {} {:?}", ended.stdout.trim(), ended.lines.last()))),
    }
}

/// `millrace COMMAND FILE FLAGS…`.
fn start(program: &Path, pipeline: &Pipeline, command: &[&str]) -> Result<Millrace> {
    let (name, flags) = command.split_first().ok_or_else(|| Fault::Unexpected("no command".into()))?;
    let mut invocation = Invocation::of(program, ["--format", "json", name]).argument(&pipeline.file);
    for flag in flags {
        invocation = invocation.argument(flag);
    }
    // A first start has findings that are good to know; they are no faults.
    invocation.start()
}

/// The lake stays until the next demo, so that one can look at it.
fn show_query(pipeline: &Pipeline, folder: &Path) -> Result<()> {
    let path = folder.join("orders.sql");
    let lake = pipeline.lake.display().to_string().replace('\'', "''");
    let sql = include_str!("demo/orders.sql").replace("./lake", &lake);
    fs::write(&path, sql).map_err(|cause| Fault::Io { path: path.clone(), cause })?;
    println!("\nThe lake stays until the next demo. The orders in it, with DuckDB:  duckdb < {}", path.display());
    Ok(())
}

fn ending(length: Option<Duration>) -> String {
    match length {
        Some(length) => format!("for {} s, or until Ctrl-C", length.as_secs()),
        None => "Ctrl-C ends it".into(),
    }
}

fn fresh_folder() -> Result<PathBuf> {
    let folder = build::folder()?.join("demo");
    let io = |cause| Fault::Io { path: folder.clone(), cause };
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(io)?;
    }
    fs::create_dir_all(&folder).map_err(io)?;
    Ok(folder)
}

/// Turns Ctrl-C and SIGTERM into a wish to end in good order; the second one ends at once.
fn interrupts() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let wished = Arc::clone(&stop);
    let io = |cause| Fault::Io { path: "signals".into(), cause };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
    let (ready, listening) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || {
        runtime.block_on(async move {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return ready.send(false).unwrap_or_default();
            };
            ready.send(true).unwrap_or_default();
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                if wished.swap(true, Ordering::Relaxed) {
                    // Children are killed with this process.
                    std::process::exit(1);
                }
            }
        });
    });
    match listening.recv() {
        Ok(true) => Ok(stop),
        _ => Err(Fault::Unexpected("signals cannot be listened to".into())),
    }
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let parsed = units.iter().find_map(|(unit, millis)| Some(text.strip_suffix(unit)?.parse::<u64>().ok()? * millis));
    parsed.map(Duration::from_millis).ok_or_else(|| "a number with ms, s, m or h, for example 60s".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("60").is_err() && duration("s").is_err());
    }
}
