//! `cargo xtask demo`: a hub, an agent and a small shop in a throw-away PostgreSQL, streamed into a lake, watched, and
//! compared at the end. Everything is created through the hub's API, as a person's automation would.

mod view;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millrace_testkit::hub::{Hub, OWNER};
use millrace_testkit::lake::{Equal, state};
use millrace_testkit::pipeline::{Draft, Pipeline};
use millrace_testkit::postgres::{Database, Server};
use millrace_testkit::process::{Invocation, Millrace};
use millrace_testkit::stores::{BUCKET, Program, StoreServer};
use millrace_testkit::workload::{self, Load, Mover, Pace};
use millrace_testkit::{Fault, Result};

use crate::build::{self, Profile};
use crate::{setup, stores};
pub(crate) use view::commit_path;
use view::{Reader, Tone, View, tone};

/// The shop of every demo is the same.
const SEED: u64 = 7;

/// The shop has been open for a while when the pipeline starts.
const OPENING_TRANSACTIONS: usize = 1_500;

/// Where in a bucket its lake lies.
const PREFIX: &str = "shop";

/// Keys of its own: those of the load's movers are others.
const OPENING_MOVER: u16 = 9;

/// Lively, and readable.
const PACE: Pace = Pace { movers: 2, transactions_a_second: Some(60) };

/// When millrace is killed in a demo that nobody gave a length; otherwise it is in the middle.
const UNASKED_KILL: Duration = Duration::from_secs(20);

/// A run that nobody watches ends by itself, also if it was not told when.
const UNWATCHED: Duration = Duration::from_mins(1);

/// How long a start, a stop or a catching up may take before the demo gives up.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the demo shall be like.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// End after this long (`60s`, `5m`) instead of at Ctrl-C; off a terminal 60s if it is not said.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    length: Option<Duration>,
    /// Which kind of source.
    #[arg(long, value_enum, default_value = "postgres")]
    source: SourceKind,
    /// Where the lake lies: in a folder, or in an object store that is started for it.
    #[arg(long, value_enum, default_value = "local")]
    target: TargetKind,
}

/// The targets that the demo can show.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum TargetKind {
    Local,
    S3,
    Abs,
    Gcs,
}

impl TargetKind {
    /// The program that stands for the cloud's store.
    fn program(self) -> Option<Program> {
        match self {
            Self::Local => None,
            Self::S3 => Some(Program::VersityGw),
            Self::Abs => Some(Program::Azurite),
            Self::Gcs => Some(Program::FakeGcs),
        }
    }
}

/// The sources that the demo can show.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SourceKind {
    Postgres,
}

/// Shows it working, then proves it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let SourceKind::Postgres = arguments.source;
    setup::postgres()?;
    let millrace = build::millrace(Profile::Dev)?;
    let stop = interrupts()?;
    let folder = fresh_folder()?;
    println!(
        "A hub, an agent, and a small shop in PostgreSQL: streamed into a lake of Parquet files, and compared at the end.\n"
    );
    let server = Server::start()?;
    let database = server.create_database("shop")?;
    workload::create_shop(&database)?;
    // So that there is something to be read before anything is streamed. Number 0 and up are the load's movers.
    workload::move_rows(&database, &mut Mover::new(SEED, OPENING_MOVER), OPENING_TRANSACTIONS)?;
    // The checkpoint follows the log closely also when the shop is quiet: at the end the demo waits for it.
    let draft = Draft::new("shop", &database, &workload::TABLES).property("heartbeat.interval", "1s");
    let store = arguments.target.program().map(store).transpose()?;
    let draft = match &store {
        Some(store) => draft.to(store.place(PREFIX, store.port())),
        None => draft,
    };
    let pipeline = draft.write(&folder)?;
    let hub = Hub::start(&millrace, &folder)?;
    let agent = agent_of(&hub, "demo", "Carries the shop's changes. It is killed once, and goes on.")?;
    let spare = agent_of(&hub, "spare", "Runs, and has nothing to do: create a pipeline for it.")?;
    let created = hub.add_pipeline(&draft.body(&agent, &folder))?;
    hub.command(&created, "START")?;
    println!(
        "  the source  PostgreSQL on 127.0.0.1:{}, {} tables; gone at the end",
        server.port(),
        pipeline.tables.len()
    );
    match &store {
        Some(store) => {
            println!("  the lake    in the bucket {BUCKET} of the store at {}; gone at the end", store.endpoint());
        }
        None => println!("  the lake    {}; stays until the next demo", pipeline.lake.display()),
    }
    println!("  the hub     {}, with two agents and a pipeline, made through its API", hub.url);
    println!("  between     millrace agent, which has nothing but its environment\n");
    invitation(&hub, server.port());
    let state = folder.join("state");
    let watched = std::io::stdout().is_terminal();
    let length = arguments.length.or((!watched).then_some(UNWATCHED));
    let demo = Demo {
        millrace: &millrace,
        pipeline: &pipeline,
        store: store.as_ref(),
        database: &database,
        hub: &hub,
        agent: &agent,
        state: &state,
        watched,
    };
    let running = demo.start_agent()?;
    let idle = hub.agent(&spare, &folder.join("spare"))?.allow_anything().start()?;
    hub.wait_for_pipeline(&created, "STREAMING", PATIENCE)?;
    println!("It streams; {}.\n", ending(length));
    let load = Load::start(&database, SEED, PACE)?;
    let running = demo.watch(&load, running, length, &stop)?;
    let equal = demo.settle(load, running, &created)?;
    idle.stop(PATIENCE)?;
    hub.stop()?;
    if store.is_none() {
        show_query(&pipeline, &folder)?;
    }
    println!("{equal}");
    Ok(())
}

/// An object store, empty but for its bucket.
fn store(program: Program) -> Result<StoreServer> {
    stores::installed()?;
    StoreServer::start(program)
}

/// A new agent that says what it is for.
fn agent_of(hub: &Hub, name: &str, description: &str) -> Result<String> {
    let id = hub.add_agent(name)?;
    hub.describe_agent(&id, description)?;
    Ok(id)
}

/// Where the console is, who may sign in, and what to look at.
fn invitation(hub: &Hub, port: u16) {
    let (email, password) = OWNER;
    println!("Look at it in the console while it runs:\n");
    println!("  {}", tone(Tone::Good, &hub.url));
    println!("  Email       {email}");
    println!("  Password    {password}\n");
    println!("  Pipelines, shop   what flows, its tables, what happened when the agent was killed");
    println!("  Create pipeline   for the agent `spare`, from 127.0.0.1:{port}, database shop, user postgres,");
    println!("                    no password, to a folder of your choice\n");
}

/// What all parts of the demo are about.
struct Demo<'a> {
    millrace: &'a Path,
    pipeline: &'a Pipeline,
    /// Where the lake lies, if not in a folder.
    store: Option<&'a StoreServer>,
    database: &'a Database,
    hub: &'a Hub,
    agent: &'a str,
    /// What the agent keeps over a restart.
    state: &'a Path,
    /// Somebody may play with it in the console.
    watched: bool,
}

impl Demo<'_> {
    /// A line each second, and in the middle a kill, until the time is up or someone presses Ctrl-C.
    fn watch(
        &self,
        load: &Load,
        mut running: Millrace,
        length: Option<Duration>,
        stop: &AtomicBool,
    ) -> Result<Millrace> {
        const TICK: Duration = Duration::from_secs(1);
        let mut view = View::new(self.database, self.lake());
        let mut kill_at = Some(length.map_or(UNASKED_KILL, |length| length / 2));
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
            if kill_at.take_if(|at| began.elapsed() >= *at).is_some() {
                running = self.kill(running)?;
            }
        }
        Ok(running)
    }

    /// Reads files of the lake.
    fn lake(&self) -> Reader<'_> {
        match self.store {
            Some(store) => Box::new(|path| store.read(&format!("{PREFIX}/{path}"))),
            None => Box::new(|path| Ok(fs::read(self.pipeline.lake.join(path)).ok())),
        }
    }

    /// Kills it as a power cut would, and starts it again.
    fn kill(&self, running: Millrace) -> Result<Millrace> {
        let blow = format!("kill -9 {}: the agent is gone in the middle of its work, the shop goes on", running.id());
        println!("        {}", tone(Tone::Alarm, &blow));
        running.kill()?;
        let died = Instant::now();
        let running = self.start_agent()?;
        let pause = died.elapsed().as_millis();
        let back =
            format!("it streams again after {pause} ms, before the hub has noticed: the lake remembers where it was");
        println!("        {}", tone(Tone::Good, &back));
        Ok(running)
    }

    /// Stops the shop, lets the pipeline catch up, checks the lake, compares it with the source.
    fn settle(&self, load: Load, mut running: Millrace, created: &str) -> Result<Equal> {
        let done = load.stop()?;
        println!("\nThe shop is closed, after {} transactions. The lake catches up.", view::grouped(done.transactions));
        // Somebody may have stopped it in the console.
        self.hub.command(created, "START")?;
        self.catch_up()?;
        // The lease of the process that was killed lasts for 45 s; the stream did not wait for it, the hub does.
        running.wait_for("connected", PATIENCE)?;
        self.hub.wait_for_pipeline(created, "STREAMING", PATIENCE)?;
        let status = self.hub.status(created)?;
        println!("the hub says               {}", status["status"].as_str().unwrap_or_default());
        running.stop(PATIENCE)?;
        self.hub.wait_for_agent(self.agent, "STOPPED", PATIENCE)?;
        println!("the agent is stopped (SIGTERM), and the hub knows it");
        println!("millrace fsck              reads every file: {}", self.whole()?);
        println!("millrace read --state      every row of each table is compared with the source");
        state::compare(self.millrace, self.pipeline, self.database)
    }

    /// Waits until the newest commit has come to where the log ends now.
    fn catch_up(&self) -> Result<()> {
        let end = self.database.sql("SELECT pg_current_wal_flush_lsn()")?;
        let began = Instant::now();
        loop {
            let status: serde_json::Value = serde_json::from_str(&self.finish(&["status"])?).unwrap_or_default();
            let position = status["checkpoint"]["position"].as_str().unwrap_or("0/0").to_owned();
            if self.database.sql(&format!("SELECT '{position}'::pg_lsn >= '{end}'::pg_lsn"))? == "t" {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(Fault::Late { what: format!("a commit at {end}"), waited: PATIENCE, seen: position });
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts the agent from its environment, and waits until changes come.
    fn start_agent(&self) -> Result<Millrace> {
        // After a kill the server may take a moment to notice that the one before is gone, and so may the hub.
        let agent =
            self.hub.agent(self.agent, self.state)?.for_pipeline(self.pipeline).allow("retrying").allow("PG-012");
        let agent = if self.watched { agent.allow_anything() } else { agent };
        let mut running = agent.start()?;
        running.wait_for("streaming", PATIENCE)?;
        Ok(running)
    }

    /// What `fsck` counted.
    fn whole(&self) -> Result<String> {
        let printed = self.finish(&["fsck"])?;
        let report: serde_json::Value = serde_json::from_str(&printed).unwrap_or_default();
        let number = |name: &str| view::grouped(report[name].as_u64().unwrap_or_default());
        Ok(format!("{} commits, {} files, {} rows, whole", number("head"), number("files"), number("rows")))
    }

    /// Lets a command run to its end, which has to be a good one, and gives what it printed.
    fn finish(&self, command: &[&str]) -> Result<String> {
        let ended = self.start(command)?.wait(PATIENCE)?;
        match ended.code {
            Some(0) => Ok(ended.stdout),
            code => {
                let last = ended.lines.last();
                Err(Fault::Unexpected(format!("exit code {code:?}: {} {last:?}", ended.stdout.trim())))
            }
        }
    }

    /// `millrace COMMAND FILE FLAGS…`.
    fn start(&self, command: &[&str]) -> Result<Millrace> {
        let (name, flags) = command.split_first().ok_or_else(|| Fault::Unexpected("no command".into()))?;
        let invocation = Invocation::of(self.millrace, ["--format", "json", name]).argument(&self.pipeline.file);
        let invocation = invocation.for_pipeline(self.pipeline);
        flags.iter().fold(invocation, Invocation::argument).start()
    }
}

/// Says how the lake is queried. It stays, so that one can look at it.
fn show_query(pipeline: &Pipeline, folder: &Path) -> Result<()> {
    let path = folder.join("orders.sql");
    let lake = pipeline.lake.display().to_string().replace('\'', "''");
    let sql = include_str!("demo/orders.sql").replace("./lake", &lake);
    fs::write(&path, sql).map_err(|cause| Fault::Io { path: path.clone(), cause })?;
    let duckdb = if Command::new("duckdb").arg("--version").output().is_ok() {
        "duckdb".to_owned()
    } else {
        let environment = folder.join("duckdb").display().to_string();
        println!("\nDuckDB is not on this machine; this brings it:\n");
        println!("    python3 -m venv {environment} && {environment}/bin/pip install duckdb-cli");
        format!("{environment}/bin/duckdb")
    };
    println!("\nThe orders by status, as the lake has them:\n\n    {duckdb} < {}\n", path.display());
    Ok(())
}

fn ending(length: Option<Duration>) -> String {
    match length {
        Some(length) => format!("for {} s, or until Ctrl-C", length.as_secs()),
        None => "Ctrl-C ends it in good order".into(),
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
        assert_eq!(duration("60s"), Ok(Duration::from_mins(1)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("60").is_err() && duration("s").is_err());
    }
}
