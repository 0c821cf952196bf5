//! `schema.change: stop`: what came before the change is in the lake, and nothing else, whatever befalls the process.

use std::time::Duration;

use millrace_engine::Stop;
use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::ScriptedRow;

use crate::stage::{Exit, Stage, block_on, fuse};

/// What the column of a table is renamed by.
#[derive(Clone, Copy, Debug)]
enum Ddl {
    /// A transaction of its own.
    Alone,
    /// One with rows of the table before and behind it.
    AmongRows,
    /// One with rows of another table alone.
    BesideOthers,
}

/// Six transactions, of which the third (or the one behind it) sees the change. Returns the end of the last before.
fn write(stage: &Stage, ddl: Ddl) -> u64 {
    let world = &stage.world;
    let rows = |table: &str, first: i64| -> Vec<_> {
        (first..first + 3).map(|id| ScriptedRow::create(table, id, "x")).collect()
    };
    world.append(rows("a", 10));
    let mut last = world.append(rows("b", 20));
    let of_both = rows("b", 30).into_iter().chain(rows("a", 30));
    match ddl {
        Ddl::Alone => {
            world.append_renaming([], "a", 0);
        }
        Ddl::AmongRows => {
            world.append_renaming(rows("b", 40).into_iter().chain(rows("a", 40)).chain(rows("a", 50)), "a", 6);
        }
        Ddl::BesideOthers => last = world.append_renaming(rows("b", 40), "a", 1),
    }
    world.append(of_both);
    world.append(rows("a", 60));
    world.append(rows("b", 60));
    last
}

/// The lake holds the transactions that ended by `last`, and nothing else.
fn assert_stands_before_the_change(stage: &Stage, last: u64, what: &str) {
    stage.assert_sound(what);
    let began = stage.world.began().expect("a slot was made");
    let rows: Vec<_> = stage.lake.rows().into_iter().map(|row| row.row).collect();
    assert_eq!(rows, stage.world.rows_between(began, last), "{what}");
}

/// One process goes wrong at `step`; those after it do not. Returns whether it came to that step.
async fn life(stage: &Stage, ddl: Ddl, step: u64, blow: Blow) -> bool {
    assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
    let last = write(stage, ddl);
    let first = fuse(step, blow);
    let exit = stage.run(&first, "one").await;
    let what = format!("{ddl:?}, {blow:?} at {step}: {exit:?}\n{}", first.trace().join("\n"));
    match exit {
        Exit::Killed => stage.assert_sound(&what),
        exit @ Exit::Ended(_) => {
            assert_eq!(exit.code(), 65, "{what}");
            assert_stands_before_the_change(stage, last, &what);
        }
    }
    for instance in ["two", "three"] {
        assert_eq!(stage.run(&Fuse::never(), instance).await.code(), 65, "{what}");
        assert_stands_before_the_change(stage, last, &what);
    }
    let evolving = Stage { stops_at_change: false, ..stage.clone() };
    evolving.recover(&what).await;
    assert_eq!(stage.lake.entry("a").map(|entry| entry.versions.len()), Some(2), "{what}");
    // What is in the lake by now is no change any more.
    stage.world.append([ScriptedRow::create("a", 90, "x")]);
    stage.recover(&what).await;
    first.steps() > step
}

#[test]
fn a_schema_change_stops_the_pipeline_before_its_transaction_wherever_it_is_killed() {
    for ddl in [Ddl::Alone, Ddl::AmongRows, Ddl::BesideOthers] {
        // With 600 bytes rounds are small; with 2,400 a transaction goes to disk while the one before it waits for its round.
        for (streamed, memory) in [None, Some(600), Some(2400)].into_iter().flat_map(|it| [(false, it), (true, it)]) {
            for blow in Blow::ALONE {
                let mut step = 0;
                let stage = || Stage { streamed, memory, stops_at_change: true, ..Stage::default() };
                while block_on(life(&stage(), ddl, step, blow)) {
                    step += 1;
                }
                assert!(step > 12, "{blow:?}: only {step} steps were tried");
            }
        }
    }
}

#[test]
fn a_schema_change_that_only_a_snapshot_sees_stops_it_as_well() {
    let mut stopped = 0;
    for step in 0..60 {
        stopped += block_on(async {
            let stage = Stage { snapshot: true, stops_at_change: true, ..Stage::default() };
            stage.world.append((0..20).map(|id| ScriptedRow::create("a", id, "x")));
            stage.world.append((0..20).map(|id| ScriptedRow::create("b", id, "x")));
            let first = fuse(step, Blow::DieAfter);
            stage.run(&first, "one").await;
            let versions = stage.lake.entry("a").map_or(0, |entry| entry.versions.len());
            let is_finished = stage.lake.is_finished("a");
            stage.world.append_renaming([], "a", 0);
            let exit = stage.run(&Fuse::never(), "two").await;
            let what = format!("{exit:?}\n{}", first.trace().join("\n"));
            // A table that is read to its end, or of which the lake knows nothing, has no snapshot that could see a change.
            let expected = if versions > 0 && !is_finished { 65 } else { 0 };
            assert_eq!(exit.code(), expected, "killed at {step}: {what}");
            stage.lake.verify_state(&stage.world, &["a", "b"]).expect("sound");
            let evolving = Stage { stops_at_change: false, ..stage.clone() };
            assert_eq!(evolving.run(&Fuse::never(), "three").await.code(), 0, "{what}");
            stage.lake.verify_state(&stage.world, &["a", "b"]).expect("sound");
            assert!(stage.lake.is_finished("a") && stage.lake.is_finished("b"), "{what}");
            usize::from(expected == 65)
        });
    }
    assert!(stopped > 3, "only {stopped} lives ended while a table was half read");
}

#[test]
fn columns_that_a_snapshot_of_this_very_life_has_shown_are_those_that_a_table_is_held_to() {
    for joins in [false, true] {
        block_on(async {
            let mut stage = Stage { snapshot: true, stops_at_change: true, ..Stage::default() };
            stage.world.append([ScriptedRow::create("a", 1, "x")]);
            stage.tables = joins.then_some(&["b"]);
            assert_eq!(if joins { stage.run(&Fuse::never(), "zero").await.code() } else { 0 }, 0);
            stage.tables = None;
            let mut engine = stage.engine(&Fuse::never(), "one");
            engine.settings.until_now = false;
            let (_handle, stop) = Stop::new();
            let writing = async {
                while !stage.lake.is_finished("a") {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                // The first that the log says of the table.
                stage.world.append_renaming([ScriptedRow::update("a", 1, "y")], "a", 0);
            };
            let both = async { tokio::join!(engine.run(stop), writing).0 };
            let ended = tokio::time::timeout(Duration::from_mins(1), both).await.expect("it ends by itself");
            assert_eq!(ended.map_err(|fault| fault.exit_code()), Err(65), "joins: {joins}");
            stage.lake.verify_state(&stage.world, &["a", "b"]).expect("sound");
            assert_eq!(stage.lake.entry("a").map(|entry| entry.versions.len()), Some(1));
        });
    }
}

#[test]
fn the_fault_of_a_schema_change_names_table_change_and_cure() {
    block_on(async {
        let stage = Stage { stops_at_change: true, ..Stage::default() };
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        let last = write(&stage, Ddl::AmongRows);
        let Exit::Ended(Err(fault)) = stage.run(&Fuse::never(), "one").await else { panic!("no fault") };
        assert_eq!((fault.code, fault.exit_code()), ("EN-021", 65));
        for part in ["db.public.a", "`value` is called `value1`", &format!("up to {last}")] {
            assert!(fault.message.contains(part), "{}", fault.message);
        }
        assert!(fault.cure.contains("schema.change: evolve"), "{}", fault.cure);
    });
}

#[test]
fn a_live_process_ends_by_itself_at_a_schema_change() {
    block_on(async {
        let stage = Stage { stops_at_change: true, ..Stage::default() };
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        let mut engine = stage.engine(&Fuse::never(), "one");
        engine.settings.until_now = false;
        let (_handle, stop) = Stop::new();
        let writing = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            write(&stage, Ddl::Alone)
        };
        let (ended, last) = tokio::join!(engine.run(stop), writing);
        assert_eq!(ended.map_err(|fault| fault.exit_code()), Err(65));
        assert_stands_before_the_change(&stage, last, "a live process");
    });
}
