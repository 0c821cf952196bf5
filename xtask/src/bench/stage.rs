//! Where measurements are taken: a throw-away server with the benchmark's table, its publication and a slot that stands
//! before everything and is copied for each run, so that every run reads the very same log.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use millrace_testkit::pipeline::{Draft, Pipeline};
use millrace_testkit::postgres::{Database, SUPERUSER, Server, Settings};
use millrace_testkit::process::{Ended, Invocation, Millrace};
use millrace_testkit::{Fault, Result, backlog, spawn};
use tempfile::TempDir;

/// Publication and first slot.
pub(crate) const BENCH: &str = "bench";

/// Bytes of a MiB.
pub(crate) const MIB: f64 = 1_048_576.0;

/// A run that takes longer has gone wrong.
pub(crate) const PATIENCE: Duration = Duration::from_hours(1);

/// A server that is ready to be measured with.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The server.
    pub(crate) server: Server,
    /// Its database with the table `events`.
    pub(crate) database: Database,
    millrace: PathBuf,
}

/// One pipeline with a folder of its own; the lake is deleted with it.
#[derive(Debug)]
pub(crate) struct Try {
    /// Its pipeline file.
    pub(crate) pipeline: Pipeline,
    /// Deleted when dropped.
    _folder: TempDir,
}

impl Stage {
    /// Starts a server with the benchmark's table; `millrace` is what is measured.
    pub(crate) fn set(millrace: &Path) -> Result<Self> {
        Self::with(millrace, |_| Ok(()))
    }

    /// The same, with more tables; they are made before publication and slot.
    pub(crate) fn with(millrace: &Path, more: impl FnOnce(&Database) -> Result<()>) -> Result<Self> {
        let server = Settings::default().set("max_wal_size", "20GB").set("shared_buffers", "512MB").start()?;
        let database = server.create_database(BENCH)?;
        backlog::create(&database)?;
        more(&database)?;
        let tables = "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables WHERE schemaname = 'public'";
        let tables = database.sql(tables)?;
        // Through a session: a list of thousands of tables is longer than an argument may be.
        database.session()?.run(&format!("CREATE PUBLICATION {BENCH} FOR TABLE {tables}"))?;
        let stage = Self { server, database, millrace: millrace.to_owned() };
        stage.make_slot(BENCH)?;
        Ok(stage)
    }

    /// The end of the log now.
    pub(crate) fn end_of_log(&self) -> Result<String> {
        self.database.sql("SELECT pg_current_wal_flush_lsn()")
    }

    /// A copy of the first slot: it stands where that one stands.
    pub(crate) fn copy_slot(&self, name: &str) -> Result<()> {
        self.database.sql(&format!("SELECT pg_copy_logical_replication_slot('{BENCH}', '{name}')")).map(drop)
    }

    /// A slot that stands at the present end of the log.
    pub(crate) fn make_slot(&self, name: &str) -> Result<()> {
        self.database.sql(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")).map(drop)
    }

    /// Drops a slot that has been used up, as soon as its last user has let go of it.
    pub(crate) fn drop_slot(&self, name: &str) -> Result<()> {
        let dropped = format!(
            "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{name}' AND active) LOOP
                 PERFORM pg_sleep(0.01); END LOOP; PERFORM pg_drop_replication_slot('{name}'); END $$"
        );
        self.database.sql(&dropped).map(drop)
    }

    /// A pipeline over `tables` that reads `slot`, which stands.
    pub(crate) fn attempt(&self, slot: &str, tables: &[&str]) -> Result<Try> {
        self.attempt_with(slot, tables, |draft| draft)
    }

    /// The same, with more said in its file.
    pub(crate) fn attempt_with(&self, slot: &str, tables: &[&str], more: impl FnOnce(Draft) -> Draft) -> Result<Try> {
        let folder = tempfile::tempdir().map_err(|cause| Fault::Io { path: std::env::temp_dir(), cause })?;
        let draft = Draft::new(slot, &self.database, tables)
            .property("snapshot.mode", "never")
            .property("slot.name", slot)
            .property("publication.name", BENCH)
            .property("publication.mode", "use");
        Ok(Try { pipeline: more(draft).write(folder.path())?, _folder: folder })
    }

    /// `millrace run --until now` with a pipeline file of the caller's own.
    pub(crate) fn drain_draft(&self, draft: impl FnOnce(&Database) -> Draft) -> Result<Ended> {
        let folder = tempfile::tempdir().map_err(|cause| Fault::Io { path: std::env::temp_dir(), cause })?;
        self.drain(&Try { pipeline: draft(&self.database).write(folder.path())?, _folder: folder })
    }

    /// Starts `millrace run`, to the present end of the log or for ever.
    pub(crate) fn start(&self, attempt: &Try, flags: &[&str]) -> Result<Millrace> {
        let mut run = self.command(attempt, "run");
        for flag in flags {
            run = run.argument(flag);
        }
        run.start()
    }

    /// `millrace run --until now`, from start to exit.
    pub(crate) fn drain(&self, attempt: &Try) -> Result<Ended> {
        let ended = self.start(attempt, &["--until", "now"])?.wait(PATIENCE)?;
        if ended.code == Some(0) {
            return Ok(ended);
        }
        Err(Fault::Unexpected(format!("millrace run: exit code {:?}: {:?}", ended.code, ended.lines.last())))
    }

    /// What `millrace read` prints of a table: its changes, as JSON lines.
    pub(crate) fn read(&self, attempt: &Try, table: &str) -> Result<String> {
        let read = self.command(attempt, "read");
        Ok(read.argument("--table").argument(attempt.pipeline.full_name(table)).complete(PATIENCE)?.stdout)
    }

    /// A command that looks at the lake, from start to exit.
    pub(super) fn look(&self, attempt: &Try, command: &str) -> Result<Ended> {
        self.command(attempt, command).complete(PATIENCE)
    }

    /// A command over a pipeline, with what it needs in its environment.
    fn command(&self, attempt: &Try, command: &str) -> Invocation {
        let invocation = Invocation::of(&self.millrace, ["--format", "json", command]).argument(&attempt.pipeline.file);
        let environment = attempt.pipeline.environment.iter();
        environment.fold(invocation, |invocation, (name, value)| invocation.env(name, value))
    }

    /// The yardstick: PostgreSQL's own client reads `slot` over TCP up to `end` and throws everything away.
    pub(crate) fn receive(&self, slot: &str, end: &str) -> Result<Duration> {
        let mut receiver = Command::new(self.server.programs().path("pg_recvlogical"));
        receiver.args(["-h", self.server.host(), "-p", &self.server.port().to_string(), "-U", SUPERUSER, "-d", BENCH]);
        receiver.args(["--slot", slot, "--start", "--no-loop", "--endpos", end, "-f", "/dev/null"]);
        receiver.args(["-o", "proto_version=1", "-o", &format!("publication_names={BENCH}")]);
        let began = Instant::now();
        spawn::complete(&mut receiver)?;
        Ok(began.elapsed())
    }
}
