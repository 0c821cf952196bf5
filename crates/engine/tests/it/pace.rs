//! When rounds close: by time, by bytes, by heartbeat, at a stop; and never inside a transaction.

use std::time::Duration;

use millrace_engine::{Engine, Stop};
use millrace_model::ByteSize;
use millrace_testkit::disk::SmallDisk;
use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::ScriptedRow;

use crate::stage::{Exit, Stage, block_on, fuse};

fn live(stage: &Stage) -> Engine {
    let mut engine = stage.engine(&Fuse::never(), "live");
    engine.settings.until_now = false;
    engine.settings.commit_interval = Duration::from_secs(10);
    engine.settings.commit_bytes = ByteSize::mib(1);
    engine.settings.heartbeat_interval = Duration::from_mins(1);
    engine
}

/// Runs `act` beside a live process and then stops it; everything must be in the lake by then.
fn beside(act: impl AsyncFnOnce(&Stage)) {
    block_on(async {
        let stage = Stage::default();
        let engine = live(&stage);
        let (handle, stop) = Stop::new();
        let acting = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            act(&stage).await;
            handle.request();
        };
        let (ended, ()) = tokio::join!(engine.run(stop), acting);
        assert!(ended.is_ok(), "{ended:?}");
        stage.assert_whole("after a stop");
    });
}

#[test]
fn the_chain_learns_at_once_where_its_log_begins() {
    beside(async |stage| {
        assert_eq!(stage.lake.head(), 2);
        assert!(stage.lake.checkpoint().position.is_some());
    });
}

#[test]
fn after_a_quiet_time_a_change_is_committed_at_once_and_the_next_one_after_the_interval() {
    beside(async |stage| {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let head = stage.lake.head();
        stage.append(1);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(stage.lake.head(), head + 1);
        stage.append(1);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(stage.lake.head(), head + 1, "the interval is not over");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(stage.lake.head(), head + 2);
    });
}

#[test]
fn a_log_that_moves_without_changes_of_ours_is_committed_by_a_heartbeat() {
    beside(async |stage| {
        let head = stage.lake.head();
        stage.world.append([]);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(stage.lake.head(), head, "the heartbeat interval is not over");
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(stage.lake.head(), head + 1);
        assert_eq!(stage.world.confirmed(), Some(stage.world.end()));
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert_eq!(stage.lake.head(), head + 1, "a log that stands makes no heartbeat");
    });
}

#[test]
fn a_transaction_larger_than_the_commit_is_committed_whole() {
    beside(async |stage| {
        let rows = (0..40_000).map(|id| ScriptedRow::create("a", id, "x"));
        let head = stage.lake.head();
        stage.world.append(rows);
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(stage.lake.head(), head + 1);
        assert_eq!(stage.lake.rows().len(), 40_000);
    });
}

#[test]
fn a_transaction_larger_than_memory_waits_on_disk_and_is_committed_whole() {
    block_on(async {
        let stage = Stage { memory: Some(32 << 10), ..Stage::default() };
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        stage.append(1);
        stage
            .world
            .append((0..5_000).map(|id| ScriptedRow::create(if id % 3 == 0 { "a" } else { "b" }, 1_000 + id, "x")));
        stage.append(1);
        stage.recover("a transaction larger than memory").await;
    });
}

#[test]
fn transactions_larger_than_memory_that_follow_each_other_keep_their_own_ends() {
    block_on(async {
        let stage = Stage { memory: Some(32 << 10), ..Stage::default() };
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        let rows = |number: i64| (0..60).map(move |id| ScriptedRow::create("a", 1_000 * number + id, "x"));
        let ends: Vec<_> = (0..5).map(|number| stage.world.append(rows(number))).collect();
        let mut engine = stage.engine(&Fuse::never(), "one");
        // Nothing but the spilled rows themselves asks for a boundary.
        engine.settings.commit_bytes = ByteSize::mib(1);
        engine.settings.commit_interval = Duration::from_secs(100);
        assert_eq!(stage.run_engine(engine, &Fuse::never()).await.code(), 0);
        stage.assert_whole("five large transactions");
        for row in stage.lake.rows() {
            assert_eq!(row.position, ends[row.row.id as usize / 1_000].to_string(), "{:?}", row.row);
        }
    });
}

/// The rows of a lake by sequence, as text.
async fn rows_of(streamed: bool, memory: Option<u64>) -> Vec<String> {
    let stage = Stage { memory, streamed, ..Stage::default() };
    assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
    for transaction in 0..40 {
        let rows = 1 + transaction * 7 % 23;
        stage.world.append((0..rows).map(|row| {
            let table = if (row + transaction) % 3 == 0 { "a" } else { "b" };
            ScriptedRow::create(table, transaction * 100 + row, "x")
        }));
    }
    stage.recover("forty transactions").await;
    let mut rows: Vec<_> = stage.lake.rows().iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows
}

#[test]
fn transactions_in_pieces_leave_the_lake_that_whole_ones_leave() {
    block_on(async {
        let whole = rows_of(false, None).await;
        assert!(whole.len() > 300, "only {} rows", whole.len());
        assert_eq!(rows_of(true, None).await, whole, "in memory");
        for memory in [600, 2_000, 10_000] {
            assert_eq!(rows_of(true, Some(memory)).await, whole, "with {memory} bytes of memory");
        }
    });
}

#[test]
fn a_full_disk_ends_the_streaming_of_transactions_in_progress_and_not_the_pipeline() {
    block_on(async {
        let stage = Stage { streamed: true, memory: Some(600), spill_limit: Some(2_500), ..Stage::default() };
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        let rows = |first: i64| (0..12).map(move |id| ScriptedRow::create("a", first + id, "x"));
        for transaction in 0..9 {
            stage.world.append(rows(100 * transaction));
        }
        let fuse = Fuse::never();
        assert_eq!(stage.run(&fuse, "one").await.code(), 0);
        stage.assert_whole("with a small disk");
        let opened = fuse.trace().iter().filter(|step| step.contains("open the log")).count();
        assert_eq!(opened, 2, "{}", fuse.trace().join("\n"));
    });
}

#[test]
fn a_disk_without_room_ends_the_streaming_of_transactions_in_progress_and_not_the_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    // Two pages: each file takes one at least, and several transactions are in progress at once.
    let disk = SmallDisk::mount(&folder.path().join("spill"), "8k").unwrap();
    block_on(async {
        let stage = Stage { streamed: true, memory: Some(600), ..Stage::default() };
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        for transaction in 0..9 {
            stage.world.append((0..12).map(|id| ScriptedRow::create("a", 100 * transaction + id, "x")));
        }
        let fuse = Fuse::never();
        let mut engine = stage.engine(&fuse, "one");
        engine.settings.spill_directory = disk.path().to_owned();
        let ended = tokio::time::timeout(Duration::from_hours(1), stage.run_engine(engine, &fuse)).await;
        assert!(matches!(ended, Ok(Exit::Ended(Ok(())))), "{ended:?}\n{}", fuse.trace().join("\n"));
        stage.assert_whole("with a full disk");
        let opened = fuse.trace().iter().filter(|step| step.contains("open the log")).count();
        assert_eq!(opened, 2, "{}", fuse.trace().join("\n"));
    });
}

#[test]
fn subtransactions_beyond_memory_end_the_streaming_of_transactions_in_progress_and_not_the_pipeline() {
    for (rows, opened) in [(500, 1), (6_000, 2)] {
        block_on(async {
            let stage = Stage { streamed: true, memory: Some(1 << 20), ..Stage::default() };
            assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
            stage.append(1);
            // One of two transactions in a row comes in pieces, some of them of parts of their own.
            for transaction in 0..2 {
                stage.world.append((0..rows).map(|id| ScriptedRow::create("a", 100_000 * transaction + id, "x")));
            }
            let fuse = Fuse::never();
            assert_eq!(stage.run(&fuse, "one").await.code(), 0);
            stage.assert_whole("with many subtransactions");
            let found = fuse.trace().iter().filter(|step| step.contains("open the log")).count();
            assert_eq!(found, opened, "with {rows} rows");
        });
    }
}

#[test]
fn a_transaction_that_no_disk_can_hold_is_refused() {
    block_on(async {
        let stage = Stage { streamed: true, memory: Some(600), spill_limit: Some(100), ..Stage::default() };
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        stage.world.append((0..60).map(|id| ScriptedRow::create("a", id, "x")));
        let Exit::Ended(Err(fault)) = stage.run(&Fuse::never(), "one").await else { panic!("no fault") };
        assert_eq!(fault.code, "EN-018");
    });
}

#[test]
fn a_stop_commits_what_is_whole() {
    beside(async |stage| {
        stage.append(1);
        tokio::time::sleep(Duration::from_millis(200)).await;
        stage.append(3);
        tokio::time::sleep(Duration::from_millis(1)).await;
    });
}

#[test]
fn a_stop_inside_a_transaction_leaves_it_to_the_next_start() {
    // In memory, and with most of it on disk.
    for memory in [None, Some(2400)] {
        block_on(async {
            let stage = Stage { memory, ..Stage::default() };
            assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
            let mut engine = live(&stage);
            engine.settings.memory_limit = ByteSize::bytes(memory.unwrap_or(8 << 20));
            let (handle, stop) = Stop::new();
            let acting = async {
                stage.world.append([ScriptedRow::create("a", 1, "whole")]);
                tokio::time::sleep(Duration::from_millis(1)).await;
                stage.world.fall_silent(Some(3));
                stage.world.append((100..140).map(|id| ScriptedRow::create("a", id, "x")));
                tokio::time::sleep(Duration::from_secs(1)).await;
                handle.request();
                tokio::time::Instant::now()
            };
            let (ended, asked) = tokio::join!(engine.run(stop), acting);
            assert!(ended.is_ok() && asked.elapsed() < Duration::from_secs(1), "{ended:?} after {:?}", asked.elapsed());
            stage.assert_sound("after a stop");
            assert_eq!(stage.lake.rows().len(), 1, "only what was whole");
            stage.world.fall_silent(None);
            stage.recover("the next start").await;
        });
    }
}

#[test]
fn a_stop_before_the_log_is_open_is_heard_at_once() {
    for step in 0..8 {
        let opened = block_on(async {
            let stage = Stage::default();
            let fuse = fuse(step, Blow::Pause);
            let (handle, stop) = Stop::new();
            let engine = stage.engine(&fuse, "one");
            let life = engine.run(stop);
            tokio::pin!(life);
            tokio::select! {
                ended = &mut life => panic!("step {step}: {ended:?}"),
                () = fuse.halted() => {}
            }
            if fuse.trace().iter().any(|line| line.contains("read a transaction")) {
                return true;
            }
            let asked = tokio::time::Instant::now();
            handle.request();
            life.await.expect("stopped as asked");
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}: {:?}", fuse.trace(), asked.elapsed());
            false
        });
        if opened {
            assert!(step > 4, "only {step} steps were tried");
            return;
        }
    }
}

#[test]
fn a_log_that_is_lost_now_and_then_is_back_as_quickly_each_time() {
    beside(async |stage| {
        for number in 0..12 {
            let head = stage.lake.head();
            stage.world.expel();
            stage.append(1);
            tokio::time::sleep(Duration::from_secs(15)).await;
            assert!(stage.lake.head() > head, "nothing was committed within 15 s after loss {number}");
        }
    });
}
