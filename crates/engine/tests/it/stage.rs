//! The stage of a test: one world, one lake, and processes with fuses.

use std::sync::Arc;
use std::time::Duration;

use millrace_engine::{Engine, Settings, Stop};
use millrace_model::{ByteSize, Clock, Fault, Timestamp};
use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::{ScriptedRow, ScriptedSource, World};
use millrace_testkit::scripted_target::{Lake, ScriptedTarget};

/// A clock that stands.
pub(crate) struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_356_187_412_000)
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) enum Exit {
    Killed,
    Ended(Result<(), Fault>),
}

impl Exit {
    /// The exit code, 137 for a killed process.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Killed => 137,
            Self::Ended(Ok(())) => 0,
            Self::Ended(Err(fault)) => fault.exit_code(),
        }
    }
}

/// One world and one lake.
#[derive(Clone, Default)]
pub(crate) struct Stage {
    pub world: World,
    pub lake: Lake,
    pub epoch: Option<u64>,
    pub named_slot: bool,
    pub snapshot: bool,
    pub tables: Option<&'static [&'static str]>,
    pub memory: Option<u64>,
    /// Transactions come while they are in progress.
    pub streamed: bool,
    pub spill_limit: Option<u64>,
    /// `schema.change: stop`.
    pub stops_at_change: bool,
}

impl Stage {
    /// A world with `count` transactions still to come is written by `append`.
    pub(crate) fn append(&self, count: i64) {
        for _ in 0..count {
            let n = self.world.end() as i64;
            self.world.append([
                ScriptedRow::create("a", n, "x"),
                ScriptedRow::create("b", n, "y"),
                ScriptedRow::update("a", n, "z"),
            ]);
            self.world.append([]);
        }
    }

    /// A process of pipeline "p" that runs until the log's end of now.
    pub(crate) fn engine(&self, fuse: &Fuse, instance: &str) -> Engine {
        let mut settings = Settings::new("p");
        settings.commit_interval = Duration::from_millis(100);
        settings.heartbeat_interval = Duration::from_secs(5);
        // Small, so that a few transactions make several rounds.
        settings.commit_bytes = ByteSize::bytes(250);
        // So little memory that a transaction of a few rows is spilled.
        settings.memory_limit = ByteSize::bytes(self.memory.unwrap_or(8 << 20));
        if let Some(limit) = self.spill_limit {
            settings.spill_limit = ByteSize::bytes(limit);
        }
        settings.until_now = true;
        settings.snapshot = self.snapshot;
        settings.stop_at_schema_change = self.stops_at_change;
        settings.epoch = self.epoch;
        let mut source = ScriptedSource::new(&self.world, fuse).streamed(self.streamed);
        if let Some(tables) = self.tables {
            source = source.with_tables(tables);
        }
        Engine {
            source: Arc::new(if self.named_slot { source.with_named_slot() } else { source }),
            target: Arc::new(ScriptedTarget::new(&self.lake, fuse, instance)),
            clock: Arc::new(Standing),
            settings,
        }
    }

    /// Runs a process until it ends or is killed.
    pub(crate) async fn run(&self, fuse: &Fuse, instance: &str) -> Exit {
        self.run_engine(self.engine(fuse, instance), fuse).await
    }

    /// The same with an engine of the test's own making.
    pub(crate) async fn run_engine(&self, engine: Engine, fuse: &Fuse) -> Exit {
        let (_handle, stop) = Stop::new();
        tokio::select! {
            ended = engine.run(stop) => Exit::Ended(ended),
            () = fuse.dead() => Exit::Killed,
        }
    }

    /// The process "one" to its end and what it did, step by step; with `pause` it stands still at that step while the log
    /// goes on.
    pub(crate) async fn run_paused(&self, pause: Option<usize>) -> Vec<String> {
        let one = Fuse::new(pause.map(|step| (step as u64, Blow::Pause)));
        let meanwhile = async {
            if pause.is_some() {
                one.halted().await;
                self.append(5);
                tokio::time::sleep(Duration::from_secs(1)).await;
                one.resume();
            }
        };
        let (exit, ()) = tokio::join!(self.run(&one, "one"), meanwhile);
        assert_eq!(exit.code(), 0, "{}", one.trace().join("\n"));
        one.trace()
    }

    /// A fresh process without faults brings everything into the lake, and the invariants hold.
    pub(crate) async fn recover(&self, what: &str) {
        let exit = self.run(&Fuse::never(), "recovery").await;
        assert_eq!(exit.code(), 0, "{what}: {exit:?}");
        self.assert_whole(what);
    }

    /// I1 to I4, and every change of the log is in the lake.
    pub(crate) fn assert_whole(&self, what: &str) {
        self.assert_sound(what);
        let began = self.world.began().expect("a slot was made");
        let rows = self.world.rows_between(began, u64::MAX).len();
        assert_eq!(self.lake.rows().len(), rows, "{what}: not everything is in the lake");
    }

    /// I1 to I4 hold for what is in the lake by now.
    pub(crate) fn assert_sound(&self, what: &str) {
        self.lake
            .verify(&self.world, self.world.began())
            .map_err(|breach| format!("{what}: {breach}"))
            .expect("I1 to I4 hold");
    }
}

/// One paused-time runtime for a test.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime starts")
        .block_on(future)
}

/// A fuse with one blow.
pub(crate) fn fuse(step: u64, blow: Blow) -> Fuse {
    Fuse::new([(step, blow)])
}
