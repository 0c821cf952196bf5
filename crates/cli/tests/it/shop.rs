//! A shop in a real server with a pipeline on it, and everything that a test asks of the real program about it.

use std::path::Path;
use std::time::{Duration, Instant};

use millrace_testkit::lake::{self, state};
use millrace_testkit::pipeline::{Draft, Pipeline};
use millrace_testkit::postgres::{Database, Server, Settings};
use millrace_testkit::process::{Ended, Invocation, Millrace};
use millrace_testkit::workload::{self, Load, Pace};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that is expected to happen, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The program under test.
pub(crate) const MILLRACE: &str = env!("CARGO_BIN_EXE_millrace");

/// Whether the long tier is asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("MILLRACE_LONG").is_some()
}

/// `millrace --format json COMMAND FILE FLAGS…`.
pub(crate) fn millrace(command: &str, pipeline: &Pipeline, flags: &[&str]) -> Invocation {
    let invocation = Invocation::of(Path::new(MILLRACE), ["--format", "json", command]).argument(&pipeline.file);
    let invocation = invocation.for_pipeline(pipeline);
    flags.iter().fold(invocation, Invocation::argument)
}

/// A server with a database, and a pipeline file for it.
pub(crate) struct Shop {
    pub(crate) server: Server,
    pub(crate) database: Database,
    pub(crate) pipeline: Pipeline,
    folder: TempDir,
}

impl Shop {
    /// The shop's tables, empty, and a pipeline of them all with quick commits.
    pub(crate) fn open() -> Self {
        Self::with(Settings::default(), &workload::TABLES, |draft| draft)
    }

    /// A server, tables and pipeline of one's own; the shop's tables are always there.
    pub(crate) fn with(server: Settings, tables: &[&str], draft: impl FnOnce(Draft) -> Draft) -> Self {
        let server = server.start().unwrap();
        let database = server.create_database("shop").unwrap();
        workload::create_shop(&database).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let quick = Draft::new("shop", &database, tables)
            .property("commit.interval", "100ms")
            .property("heartbeat.interval", "500ms");
        let pipeline = draft(quick).write(folder.path()).unwrap();
        Self { server, database, pipeline, folder }
    }

    /// The folder of the pipeline file.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command on the pipeline file that may find no answer, or a slot that is still in use, at first, as after a kill.
    pub(crate) fn command(&self, command: &str, flags: &[&str]) -> Invocation {
        millrace(command, &self.pipeline, flags).allow("retrying").allow("PG-012")
    }

    /// Starts `run`.
    pub(crate) fn run(&self) -> Millrace {
        self.command("run", &[]).start().unwrap()
    }

    /// Starts `run` and waits until it streams.
    pub(crate) fn streaming(&self) -> Millrace {
        let mut running = self.run();
        running.wait_for("streaming", PATIENCE).unwrap();
        running
    }

    /// `run --until now`, to its end.
    pub(crate) fn catch_up(&self) -> Ended {
        let ended = self.command("run", &["--until", "now"]).complete(PATIENCE).unwrap();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
        ended
    }

    /// `fsck`, which must find nothing; what it says.
    pub(crate) fn fsck(&self) -> Value {
        fsck(&self.pipeline)
    }

    /// What `status` says.
    pub(crate) fn status(&self) -> Value {
        self.command("status", &[]).json(PATIENCE).unwrap()
    }

    /// Compares every row of lake and source, quickly; the source stands still.
    pub(crate) fn compare(&self) {
        state::compare(Path::new(MILLRACE), &self.pipeline, &self.database).unwrap();
    }

    /// The same by the independent reader.
    pub(crate) fn compare_independently(&self) {
        lake::compare(&self.pipeline, &self.database).unwrap();
    }

    /// Two movers as fast as they go, numbered from `first`.
    pub(crate) fn load(&self, first: u16) -> Load {
        let pace = Pace { movers: 2, transactions_a_second: Some(150) };
        Load::with_movers_from(&self.database, 11, first, pace).unwrap()
    }

    /// Waits until the source may forget all that stands in its log now.
    pub(crate) fn wait_until_released(&self) {
        let end = self.database.sql("SELECT pg_current_wal_flush_lsn()").unwrap();
        let released = format!(
            "SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name = 'millrace_shop'"
        );
        wait("the source to be released", || self.database.sql(&released).unwrap() == "t");
    }

    /// Whether a process reads the pipeline's slot.
    pub(crate) fn slot_is_active(&self) -> bool {
        let active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'millrace_shop'";
        self.database.sql(active).unwrap() == "t"
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The lake of a failed test is what one wants to look at.
            self.folder.disable_cleanup(true);
            eprintln!("the pipeline and its lake are kept in {}", self.folder.path().display());
        }
    }
}

/// Looks until `done` says yes.
pub(crate) fn wait(what: &str, done: impl Fn() -> bool) {
    let asked = Instant::now();
    while !done() {
        assert!(asked.elapsed() < PATIENCE, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `fsck` of any pipeline, which must find nothing.
pub(crate) fn fsck(pipeline: &Pipeline) -> Value {
    let ended = millrace("fsck", pipeline, &[]).complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{} {:?}", ended.stdout, ended.lines);
    serde_json::from_str(&ended.stdout).unwrap()
}
