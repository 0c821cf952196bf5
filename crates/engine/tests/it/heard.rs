//! What a process says while nobody answers it: each pause is a line with its cause, and none of them is an end.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use millrace_engine::{Observer, observed};
use millrace_model::ByteSize;
use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::ScriptedRow;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::stage::{Stage, block_on, fuse};

/// A line of the log: its fields by name.
#[derive(Clone, Debug, Default)]
struct Line(Vec<(String, String)>);

impl Line {
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, text)| text)
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name().into(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name().into(), value.into()));
    }
}

thread_local! {
    /// The lines of this thread's test, where it listens.
    static LINES: RefCell<Option<Vec<Line>>> = const { RefCell::new(None) };
}

/// Keeps every line of a thread that listens. Why not a subscriber of each test's own: which events are worth their while is
/// remembered for the whole process, and tests run side by side.
struct Log;

/// Runs `act`; its lines.
fn listening<T>(act: impl FnOnce() -> T) -> (Vec<Line>, T) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| tracing::subscriber::set_global_default(Log).expect("nobody else listens"));
    LINES.set(Some(Vec::new()));
    let value = act();
    (LINES.take().unwrap_or_default(), value)
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        LINES.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.push(line.clone())));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// `--until now` beside a step that gets no answer for ten minutes: what it says meanwhile, and its exit code at last.
fn without_an_answer(step: &str) -> (Vec<Line>, u8) {
    let (mut lines, code) = listening(|| {
        block_on(async {
            let stage = Stage { snapshot: true, ..Stage::default() };
            stage.world.append((0..20).map(|id| ScriptedRow::create("a", id, "x")));
            // Not the first start: its snapshot needs no slot of its own.
            let mut before = stage.clone();
            before.snapshot = false;
            assert_eq!(before.run(&Fuse::never(), "zero").await.code(), 0);
            let fuse = Fuse::never();
            fuse.refuse(Some(step));
            let ended = stage.run(&fuse, "one");
            tokio::pin!(ended);
            tokio::select! {
                exit = &mut ended => panic!("{step}: it ended without an answer: {exit:?}"),
                () = tokio::time::sleep(Duration::from_mins(10)) => fuse.refuse(None),
            }
            let code = ended.await.code();
            stage.lake.verify_state(&stage.world, &["a", "b"]).expect("sound");
            assert!(stage.lake.is_finished("a") && stage.lake.is_finished("b"));
            code
        })
    });
    lines.retain(|line| line.get("code") == "retrying");
    (lines, code)
}

#[test]
fn a_snapshot_without_an_answer_is_heard_at_rising_pauses_and_ends_nothing() {
    for step in ["look at the tables", "make a temporary slot", "plan a table", "import the snapshot", "read a chunk"] {
        let (lines, code) = without_an_answer(step);
        assert_eq!(code, 0, "{step}");
        assert!(lines.len() > 20, "{step}: only {} lines", lines.len());
        for line in &lines {
            let (stage, fault) = (line.get("stage"), line.get("fault"));
            assert_eq!((stage, fault), ("snapshot", "TK-001"), "{step}: {line:?}");
            assert!(line.get("message").contains("gave no answer"), "{step}: {line:?}");
        }
        // A chunk is tried again at once, on another connection; then comes the pause.
        let mut pauses: Vec<u64> = lines.iter().map(|line| line.get("wait_ms").parse().unwrap()).collect();
        pauses.retain(|pause| *pause > 0);
        assert_eq!(pauses[..9], [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000], "{step}");
        assert!(pauses[9..].iter().all(|pause| *pause == 30_000), "{step}: {pauses:?}");
    }
}

#[test]
fn a_step_of_the_stream_without_an_answer_is_heard_and_ends_nothing() {
    for step in ["take the slot", "read the head", "create a commit", "open the log", "ask for the end", "write a file"]
    {
        let (lines, code) = without_an_answer(step);
        assert_eq!(code, 0, "{step}");
        assert!(lines.len() > 20, "{step}: only {} lines", lines.len());
    }
}

/// What an observer was told of the disk, and when each committed transaction had committed in the source.
#[derive(Default)]
struct Seen {
    spilled: Mutex<Vec<u64>>,
    commits: Mutex<Vec<i64>>,
}

impl Observer for Seen {
    fn observe(&self, event: &millrace_engine::Event<'_>) {
        match event {
            millrace_engine::Event::Spilled { bytes } => {
                self.spilled.lock().expect("no test panics inside").push(*bytes);
            }
            millrace_engine::Event::Committed { round, commits, .. } => {
                assert_eq!(round.transactions, commits.len() as u64);
                self.commits.lock().expect("no test panics inside").extend(commits.iter().map(|commit| commit.0));
            }
            _ => {}
        }
    }
}

/// Three transactions that are larger than memory, in a life that may die; when they ended.
async fn large_ones(seen: &Arc<Seen>, streamed: bool, death: &Fuse) -> Vec<i64> {
    let stage = Stage { streamed, memory: Some(600), ..Stage::default() };
    assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
    let rows = |first: i64| (first..first + 40).map(|id| ScriptedRow::create("a", id, "x"));
    let ends = (0..3).map(|number| stage.world.append(rows(100 * number)) as i64).collect();
    observed(seen.clone(), Box::pin(stage.run(death, "one"))).await;
    ends
}

#[test]
fn an_observer_hears_what_waits_on_disk_until_nothing_does_and_each_transaction_once() {
    for streamed in [false, true] {
        let seen = Arc::new(Seen::default());
        let ends = block_on(large_ones(&seen, streamed, &Fuse::never()));
        let spilled = seen.spilled.lock().unwrap();
        assert!(spilled.iter().any(|&bytes| bytes > 100), "{spilled:?}");
        assert_eq!(spilled.last(), Some(&0), "{spilled:?}");
        assert!(spilled.windows(2).all(|two| two[0] != two[1]), "{spilled:?}");
        assert_eq!(*seen.commits.lock().unwrap(), ends, "streamed: {streamed}");
    }
}

#[test]
fn a_life_that_ends_leaves_nothing_on_disk_and_says_so() {
    let mut waited = 0;
    for step in 0..60 {
        let seen = Arc::new(Seen::default());
        block_on(large_ones(&seen, true, &fuse(step, Blow::DieAfter)));
        let spilled = seen.spilled.lock().unwrap();
        waited += usize::from(spilled.len() > 1);
        assert!(spilled.last().is_none_or(|&bytes| bytes == 0), "at {step}: {spilled:?}");
    }
    assert!(waited > 10, "only {waited} lives had something on disk");
}

#[test]
fn small_transactions_do_not_wait_on_disk_however_many_they_are() {
    let (lines, seen) = listening(|| {
        let seen = Arc::new(Seen::default());
        block_on(async {
            // Each read ends inside a transaction, with more in memory than one may take: fifty have ended.
            let stage = Stage { memory: Some(24 << 10), ..Stage::default() };
            assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
            let row = |id| ScriptedRow::create(if id % 2 == 0 { "a" } else { "b" }, id, "x");
            for number in 0..400 {
                stage.world.append((0..6).map(|id| row(10 * number + id)));
            }
            let mut engine = stage.engine(&Fuse::never(), "one");
            engine.settings.commit_bytes = ByteSize::mib(1);
            engine.settings.commit_interval = Duration::from_secs(100);
            let ended = observed(seen.clone(), Box::pin(stage.run_engine(engine, &Fuse::never()))).await;
            assert_eq!(ended.code(), 0, "{ended:?}");
            stage.assert_whole("many small transactions");
        });
        seen
    });
    assert!(lines.iter().any(|line| line.get("code") == "committed"), "nothing was heard");
    assert!(!lines.iter().any(|line| line.get("code") == "spilling"), "{lines:?}");
    assert_eq!(*seen.spilled.lock().unwrap(), Vec::<u64>::new());
    assert_eq!(seen.commits.lock().unwrap().len(), 400);
}
