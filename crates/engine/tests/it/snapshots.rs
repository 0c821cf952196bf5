//! Snapshots beside a stream that never stands still: kill -9 at every step, tables that join, leave and are rewritten.
//! After each life every finished table equals the source as of the checkpoint, and at the end all are finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millrace_engine::{Event, Observer, Restart, Stop, observed};
use millrace_model::{ByteSize, Op};
use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::{ScriptedRow, World};

use crate::stage::{Exit, Stage, block_on, fuse};

pub(crate) const TABLES: [&str; 2] = ["a", "b"];

/// A small generator of its own, so that a failure can be repeated from its seed.
pub(crate) struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// One random transaction over keys 100 … 300.
fn transaction(world: &World, dice: &mut Dice, touch: bool) -> Vec<ScriptedRow> {
    let mut rows: Vec<ScriptedRow> = Vec::new();
    for _ in 0..=dice.roll(3) {
        let table = TABLES[dice.roll(2) as usize];
        let id = 100 + 10 * dice.roll(20) as i64;
        if rows.iter().any(|row| row.table == table && row.id == id) {
            continue;
        }
        let exists = world.rows_at(table, u64::MAX).contains_key(&id);
        let value = format!("v{}", dice.roll(1_000_000));
        rows.push(match dice.roll(6) {
            _ if !exists => ScriptedRow::create(table, id, &value),
            0 => ScriptedRow::delete(table, id),
            1 if touch => ScriptedRow::touch(table, id),
            _ => ScriptedRow::update(table, id, &value),
        });
    }
    rows
}

pub(crate) fn filled(seed: u64) -> (Stage, Dice) {
    let memory = (seed % 2 == 1).then_some(400);
    let stage = Stage { snapshot: true, memory, ..Stage::default() };
    let mut dice = Dice(seed | 1);
    for _ in 0..20 {
        let rows = transaction(&stage.world, &mut dice, true);
        stage.world.append(rows);
    }
    (stage, dice)
}

/// Moves rows beside a process.
async fn keep_moving(stage: &Stage, dice: &mut Dice, count: usize) {
    for _ in 0..count {
        let rows = transaction(&stage.world, dice, true);
        stage.world.append(rows);
        for _ in 0..dice.roll(6) {
            tokio::task::yield_now().await;
        }
        if dice.roll(8) == 0 {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }
}

fn assert_states(stage: &Stage, what: &str) {
    stage.lake.verify(&stage.world, None).map_err(|breach| format!("{what}: {breach}")).expect("sound");
    stage.lake.verify_state(&stage.world, &TABLES).map_err(|breach| format!("{what}: {breach}")).expect("sound");
}

pub(crate) async fn finish(stage: &Stage, what: &str) {
    let exit = stage.run(&Fuse::never(), "recovery").await;
    assert_eq!(exit.code(), 0, "{what}: {exit:?}");
    assert_states(stage, what);
    for table in stage.tables.unwrap_or(&TABLES) {
        assert!(stage.lake.is_finished(table), "{what}: the snapshot of {table} is not finished");
    }
}

/// A first start with rows there already that goes wrong at these steps, while rows keep moving.
async fn life(seed: u64, blows: &[(u64, Blow)]) -> bool {
    let (stage, mut dice) = filled(seed);
    let first = Fuse::new(blows.iter().copied());
    let (exit, ()) = tokio::join!(stage.run(&first, "one"), keep_moving(&stage, &mut dice, 25));
    let what = format!("seed {seed}, {blows:?}\n{}", first.trace().join("\n"));
    if !matches!(exit, Exit::Killed) {
        assert_eq!(exit.code(), 0, "{what}: {exit:?}");
    }
    assert_states(&stage, &what);
    let second = Fuse::never();
    let (exit, ()) = tokio::join!(stage.run(&second, "two"), keep_moving(&stage, &mut dice, 10));
    let what = format!("{what}\nsecond life\n{}", second.trace().join("\n"));
    assert_eq!(exit.code(), 0, "{what}: {exit:?}");
    assert_states(&stage, &what);
    finish(&stage, &what).await;
    blows.iter().all(|&(step, _)| first.steps() > step)
}

#[test]
fn a_snapshot_beside_the_stream_that_goes_wrong_at_any_step_ends_equal_to_the_source() {
    for blow in Blow::ALONE {
        for seed in [11, 29] {
            let mut step = 0;
            while block_on(life(seed, &[(step, blow)])) {
                step += 1;
            }
            assert!(step > 30, "{blow:?}: only {step} steps were tried");
        }
    }
}

#[test]
fn random_histories_with_random_deaths_end_equal_to_the_source() {
    for seed in 1..400u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let blows = [(dice.roll(60), Blow::DieAfter), (dice.roll(60), Blow::LoseAnswer)];
        block_on(life(dice.roll(1 << 40), &blows));
    }
}

#[test]
fn a_snapshot_goes_on_after_a_kill_where_nothing_forbids_it() {
    let mut resumed = 0;
    let mut step = 0;
    loop {
        let more = block_on(async {
            let stage = Stage { snapshot: true, ..Stage::default() };
            for id in (100..300).step_by(10) {
                stage.world.append([ScriptedRow::create("a", id, "x")]);
            }
            let first = fuse(step, Blow::DieAfter);
            stage.run(&first, "one").await;
            stage.world.append([ScriptedRow::update("a", 110, "y")]);
            let chunks = first.trace().iter().filter(|line| line.contains("read a chunk")).count();
            let second = Fuse::never();
            assert_eq!(stage.run(&second, "two").await.code(), 0);
            let again = second.trace().iter().filter(|line| line.contains("read a chunk")).count();
            if chunks > 0 && again > 0 && again < 8 {
                resumed += 1;
            }
            finish(&stage, "after it went on").await;
            first.is_dead()
        });
        if !more {
            break;
        }
        step += 1;
    }
    assert!(resumed > 0, "no life went on where the one before was left");
}

#[test]
fn a_chunk_that_could_not_be_read_or_written_is_tried_again_under_the_same_snapshot() {
    let life = |blows: Vec<(u64, Blow)>| {
        block_on(async {
            let stage = Stage { snapshot: true, ..Stage::default() };
            stage.world.append((100..300).step_by(10).map(|id| ScriptedRow::create("a", id, "x")));
            let fuse = Fuse::new(blows);
            assert_eq!(stage.run(&fuse, "one").await.code(), 0);
            finish(&stage, "after it was tried again").await;
            fuse.trace()
        })
    };
    let steps = life(Vec::new());
    for name in ["write a file", "read a chunk"] {
        let tried: Vec<usize> =
            (0..steps.len()).filter(|&at| steps.get(at).is_some_and(|it| it.contains(name))).collect();
        assert!(tried.len() > 3, "{}", steps.join("\n"));
        for step in tried {
            let trace = life(vec![(step as u64, Blow::Refuse)]);
            let anew = trace.iter().filter(|line| line.contains("make a temporary slot")).count();
            assert_eq!(anew, 0, "{name}, {step}: the snapshot was thrown away\n{}", trace.join("\n"));
        }
    }
}

/// Tables that are carried already are read: their snapshot is made beside the stream. With `pause` the process stands still
/// at that step while the log goes on.
async fn snapshot_beside_a_stream(streamed: bool, pause: Option<usize>) -> Vec<String> {
    let stage = Stage { streamed, ..Stage::default() };
    stage.append(3);
    assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
    let stage = Stage { snapshot: true, ..stage };
    let trace = stage.run_paused(pause).await;
    assert_states(&stage, "a snapshot beside a stream");
    assert!(stage.lake.is_finished("a") && stage.lake.is_finished("b"));
    trace
}

#[test]
fn the_log_stands_while_a_snapshot_is_made_and_planned() {
    for streamed in [false, true] {
        let steps = block_on(snapshot_beside_a_stream(streamed, None));
        let planned = |line: &String| line.contains("plan a table");
        let tried: Vec<usize> = (0..steps.len()).filter(|&at| steps.get(at).is_some_and(planned)).collect();
        assert!(tried.len() > 1, "{}", steps.join("\n"));
        for step in tried {
            let trace = block_on(snapshot_beside_a_stream(streamed, Some(step)));
            assert!(trace.get(step).is_some_and(planned), "the same life twice\n{}", trace.join("\n"));
            // Were the log read past C meanwhile, the stream would have to be given up and the log opened anew.
            let count = |name: &str| trace.iter().filter(|line| line.contains(name)).count();
            assert_eq!((count("open the log"), count("make a temporary slot")), (1, 1), "{}", trace.join("\n"));
        }
    }
}

#[test]
fn the_anchor_is_0_only_for_the_snapshot_that_the_making_of_the_slot_exported() {
    let anchors = |stage: &Stage| TABLES.map(|table| stage.lake.entry(table).unwrap().snapshot.unwrap().sequence.0);
    let mut later = 0;
    for step in 0..60 {
        block_on(async {
            let stage = Stage { snapshot: true, ..Stage::default() };
            stage.append(3);
            let first = fuse(step, Blow::DieBefore);
            let exit = stage.run(&first, "one").await;
            // Six changes that the log has by the time of the second start, if a slot stands.
            stage.append(2);
            let began = stage.world.began();
            let begun = stage.lake.is_finished("a") || stage.lake.is_finished("b");
            finish(&stage, &format!("killed at {step}\n{}", first.trace().join("\n"))).await;
            match exit {
                Exit::Ended(_) => assert_eq!(anchors(&stage), [0, 0]),
                // The second start made the slot.
                Exit::Killed if began.is_none() => assert_eq!(anchors(&stage), [0, 0]),
                Exit::Killed if begun => {}
                // The slot stood: the snapshot is another one, and the six changes lie before it.
                Exit::Killed => {
                    assert_eq!(anchors(&stage), [6, 6], "killed at {step}\n{}", first.trace().join("\n"));
                    later += 1;
                }
            }
        });
    }
    assert!(later > 3, "only {later} snapshots were taken over a slot that stood");
    // A slot that the user made is one that stands.
    block_on(async {
        let stage = Stage { snapshot: true, named_slot: true, ..Stage::default() };
        stage.world.publish(&["a".into(), "b".into()]);
        stage.world.make_slot();
        stage.append(2);
        finish(&stage, "a named slot").await;
        assert_eq!(anchors(&stage), [6, 6]);
    });
}

#[test]
fn a_table_that_was_rewritten_between_two_lives_starts_again() {
    let mut half_read = 0;
    for step in 0..80 {
        half_read += block_on(async {
            let stage = Stage { snapshot: true, ..Stage::default() };
            stage.world.append((100..300).step_by(10).map(|id| ScriptedRow::create("a", id, "x")));
            let first = fuse(step, Blow::DieAfter);
            stage.run(&first, "one").await;
            let before = stage.lake.progress("a").filter(|it| !it.finished);
            stage.world.rewrite("a");
            finish(&stage, "after it was rewritten").await;
            let Some(before) = before else { return 0 };
            let after = stage.lake.entry("a").and_then(|entry| entry.snapshot).expect("it is finished");
            assert_eq!(after.id, before.id + 1, "killed at {step}: places of the old relation are those of no row now");
            usize::from(!before.done.is_empty())
        });
    }
    assert!(half_read > 1, "only {half_read} lives left a table half read");
}

/// How many tables were heard to start again.
#[derive(Default)]
struct Again(AtomicUsize);

impl Observer for Again {
    fn observe(&self, event: &Event<'_>) {
        if let Event::SnapshotAgain { .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_table_that_was_rewritten_while_it_was_read_starts_again() {
    let mut step = 0;
    let mut tried = 0;
    let again = Arc::new(Again::default());
    loop {
        let (halted, reading) = block_on(async {
            let (stage, _) = filled(7);
            let first = fuse(step, Blow::Pause);
            let ended = observed(again.clone(), stage.run(&first, "one"));
            tokio::pin!(ended);
            tokio::select! {
                exit = &mut ended => { assert_eq!(exit.code(), 0); return (false, false); }
                () = first.halted() => {}
            }
            let reading = first.trace().last().is_some_and(|line| line.contains("read a chunk"));
            stage.world.rewrite("a");
            first.resume();
            assert_eq!(ended.await.code(), 0);
            finish(&stage, &format!("rewritten at {step}\n{}", first.trace().join("\n"))).await;
            (true, reading)
        });
        if !halted {
            break;
        }
        tried += usize::from(reading);
        step += 1;
    }
    assert!(tried >= 4, "only {tried} chunks were tried");
    assert!(again.0.load(Ordering::Relaxed) >= 4, "a table that starts again is told of");
}

#[test]
fn a_table_that_joins_a_running_pipeline_counts_from_its_snapshot_on() {
    for seed in 1..60u64 {
        block_on(async {
            let (mut stage, mut dice) = filled(seed);
            stage.tables = Some(&["a"]);
            assert_eq!(stage.run(&Fuse::never(), "one").await.code(), 0);
            let rows = transaction(&stage.world, &mut dice, true);
            stage.world.append(rows);
            stage.tables = None;
            let second = fuse(dice.roll(50), if seed % 2 == 0 { Blow::DieAfter } else { Blow::LoseAnswer });
            let (_, ()) = tokio::join!(stage.run(&second, "two"), keep_moving(&stage, &mut dice, 15));
            let what = format!("seed {seed}\n{}", second.trace().join("\n"));
            assert_states(&stage, &what);
            finish(&stage, &what).await;
        });
    }
}

#[test]
fn a_table_that_leaves_and_joins_again_starts_without_its_earlier_files() {
    // Removed, deleted from meanwhile, added again: the deleted row must not stay.
    for seed in 1..60u64 {
        block_on(async {
            let (mut stage, mut dice) = filled(seed);
            assert_eq!(stage.run(&Fuse::never(), "one").await.code(), 0);
            stage.tables = Some(&["a"]);
            let second = fuse(dice.roll(40), Blow::DieAfter);
            stage.run(&second, "two").await;
            let gone: Vec<_> = stage.world.rows_at("b", u64::MAX).into_keys().take(2).collect();
            stage.world.append(gone.into_iter().map(|id| ScriptedRow::delete("b", id)));
            stage.tables = None;
            let third = fuse(dice.roll(40), Blow::DieBefore);
            let (_, ()) = tokio::join!(stage.run(&third, "three"), keep_moving(&stage, &mut dice, 10));
            let what = format!("seed {seed}\n{}\n--\n{}", second.trace().join("\n"), third.trace().join("\n"));
            assert_states(&stage, &what);
            finish(&stage, &what).await;
        });
    }
}

/// A pipeline whose table `b` is out of the publication for a moment, again and again, while its rows keep coming.
async fn in_and_out(seed: u64, second: &Fuse) -> Stage {
    let (stage, mut dice) = filled(seed);
    assert_eq!(stage.run(&Fuse::never(), "one").await.code(), 0);
    let mut engine = stage.engine(second, "two");
    (engine.settings.until_now, engine.settings.heartbeat_interval) = (false, Duration::from_millis(100));
    // Rounds that wait for more than a few rows.
    engine.settings.commit_bytes = ByteSize::mib(1);
    let (handle, stop) = Stop::new();
    let moving = async {
        for turn in 0..40 {
            // Together with the look at the tables.
            tokio::time::sleep(Duration::from_millis(dice.roll(60))).await;
            for _ in 0..20 {
                let rows = transaction(&stage.world, &mut dice, true);
                stage.world.append(rows);
            }
            if turn % 8 == 2 {
                stage.world.unpublish(&["b".into()]);
                stage.world.publish(&["b".into()]);
            }
        }
        handle.request();
    };
    tokio::select! {
        (ended, ()) = async { tokio::join!(engine.run(stop), moving) } => ended.expect("it stops as asked"),
        () = second.halted() => {}
    }
    stage
}

#[test]
fn a_table_leaves_the_publication_only_after_a_commit_that_no_longer_has_it() {
    // Even ones: a life that spills does not go the same way twice.
    for seed in (2..60u64).step_by(2) {
        block_on(async {
            let whole = Fuse::never();
            in_and_out(seed, &whole).await;
            let leaves = |line: &String| line.contains("unpublish tables");
            for (step, _) in whole.trace().iter().enumerate().filter(|(_, line)| leaves(line)) {
                let second = fuse(step as u64, Blow::Pause);
                let stage = in_and_out(seed, &second).await;
                let trace = second.trace();
                assert!(trace.get(step).is_some_and(leaves), "seed {seed}: the same life twice");
                assert!(
                    stage.lake.entry("b").is_none(),
                    "seed {seed}, step {step}: the newest commit still has the table"
                );
            }
        });
    }
}

#[test]
fn a_table_stays_in_the_publication_while_the_commit_without_it_gets_no_answer() {
    block_on(async {
        let (mut stage, _) = filled(2);
        assert_eq!(stage.run(&Fuse::never(), "one").await.code(), 0);
        stage.tables = Some(&["a"]);
        let (second, head) = (Fuse::never(), stage.lake.head());
        let unanswered = async {
            while stage.lake.head() == head {
                tokio::task::yield_now().await;
            }
            // The claim is there; nothing after it.
            second.refuse(Some("create a commit"));
            tokio::time::sleep(Duration::from_mins(1)).await;
            let left = second.trace().iter().any(|line| line.contains("unpublish tables"));
            assert!(!left && stage.lake.entry("b").is_some(), "{}", second.trace().join("\n"));
            second.refuse(None);
        };
        let (exit, ()) = tokio::join!(stage.run(&second, "two"), unanswered);
        assert_eq!(exit.code(), 0);
        assert!(stage.lake.entry("b").is_none());
        assert!(second.trace().iter().any(|line| line.contains("unpublish tables")));
    });
}

#[test]
fn a_table_taken_out_of_the_publication_behind_our_back_joins_anew() {
    block_on(async {
        let (stage, mut dice) = filled(3);
        assert_eq!(stage.run(&Fuse::never(), "one").await.code(), 0);
        stage.world.unpublish(&["b".into()]);
        // Not in the log: a gap that leaves no trace there.
        stage.world.append([ScriptedRow { op: Op::Truncate, ..ScriptedRow::delete("b", 0) }]);
        stage.world.publish(&["b".into()]);
        let rows = transaction(&stage.world, &mut dice, false);
        stage.world.append(rows);
        finish(&stage, "after a gap in the publication").await;
    });
}

#[test]
fn a_restart_reads_the_tables_it_names_anew() {
    for seed in 1..30u64 {
        block_on(async {
            let (stage, mut dice) = filled(seed);
            assert_eq!(stage.run(&Fuse::never(), "one").await.code(), 0);
            let engine = stage.engine(&Fuse::never(), "restart");
            let (_handle, stop) = Stop::new();
            let tables = (seed % 2 == 0).then(|| vec!["public.a".to_string()]);
            engine.restart(&Restart { tables, adopt: false }, stop).await.unwrap();
            assert!(!stage.lake.is_finished("a"));
            let second = fuse(dice.roll(50), Blow::DieAfter);
            let (_, ()) = tokio::join!(stage.run(&second, "two"), keep_moving(&stage, &mut dice, 10));
            finish(&stage, &format!("seed {seed}\n{}", second.trace().join("\n"))).await;
        });
    }
}

#[test]
fn a_restart_of_a_table_that_is_not_there_claims_nothing() {
    block_on(async {
        let (stage, _) = filled(2);
        assert_eq!(stage.run(&Fuse::never(), "one").await.code(), 0);
        let head = stage.lake.head();
        let engine = stage.engine(&Fuse::never(), "restart");
        let (_handle, stop) = Stop::new();
        let restart = Restart { tables: Some(vec!["public.a".into(), "public.typo".into()]), adopt: false };
        let fault = engine.restart(&restart, stop).await.unwrap_err();
        assert_eq!((fault.code, fault.exit_code(), stage.lake.head()), ("EN-020", 64, head));
    });
}
