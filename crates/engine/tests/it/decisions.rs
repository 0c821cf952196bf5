//! Single decisions of the engine that no life, however it ends, would show by chance: each test fails without the line
//! that it is about.

use std::time::Duration;

use millrace_engine::Stop;
use millrace_model::ByteSize;
use millrace_testkit::fuse::Fuse;

use crate::stage::{Stage, block_on};

/// Waits until the process has done something of this name so often.
async fn until(fuse: &Fuse, step: &str, times: usize) {
    while fuse.trace().iter().filter(|line| line.contains(step)).count() < times {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A chain with commits, whose next process waits long for company of its changes.
async fn begun(stage: &Stage, fuse: &Fuse) -> millrace_engine::Engine {
    assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
    let mut engine = stage.engine(fuse, "one");
    engine.settings.until_now = false;
    engine.settings.commit_interval = Duration::from_mins(1);
    engine.settings.commit_bytes = ByteSize::mib(1);
    engine.settings.heartbeat_interval = Duration::from_secs(10);
    engine
}

#[test]
fn a_writer_that_lost_its_log_waits_for_its_slot_as_long_as_a_dead_holder_can_have_it_and_then_says_75() {
    block_on(async {
        let stage = Stage::default();
        let one = Fuse::never();
        let engine = begun(&stage, &one).await;
        let (_handle, stop) = Stop::new();
        let holding = async {
            until(&one, "open the log", 1).await;
            // Another process takes the slot, and stands still before it does anything to the chain.
            stage.world.expel();
            stage.world.occupy();
            std::future::pending::<()>().await;
        };
        let asked = tokio::time::Instant::now();
        let ended = tokio::select! {
            ended = engine.run(stop) => ended,
            () = holding => unreachable!("it holds for ever"),
            () = tokio::time::sleep(Duration::from_mins(5)) => panic!("it waits for ever"),
        };
        assert_eq!(ended.map_err(|fault| fault.exit_code()), Err(75), "after {:?}", asked.elapsed());
    });
}

#[test]
fn a_writer_whose_source_is_silent_hears_from_the_chain_that_another_has_taken_over() {
    block_on(async {
        let stage = Stage::default();
        let one = Fuse::never();
        let engine = begun(&stage, &one).await;
        let (_handle, stop) = Stop::new();
        let taking_over = async {
            until(&one, "open the log", 1).await;
            one.refuse(Some("take the slot"));
            stage.world.expel();
            stage.append(1);
            stage.recover("another takes over").await;
            tokio::time::sleep(Duration::from_mins(5)).await;
        };
        let ended = tokio::select! {
            ended = engine.run(stop) => ended,
            () = taking_over => panic!("it waits for its source and never looks at the chain"),
        };
        assert_eq!(ended.map_err(|fault| fault.exit_code()), Err(76));
    });
}

#[test]
fn what_was_read_of_a_table_that_leaves_is_in_a_commit_that_still_has_it() {
    block_on(async {
        let stage = Stage::default();
        let one = Fuse::never();
        let engine = begun(&stage, &one).await;
        let (handle, stop) = Stop::new();
        let acting = async {
            stage.append(1);
            tokio::time::sleep(Duration::from_secs(2)).await;
            // The look at the tables waits for a commit that gets no answer, and meanwhile the log is read on.
            stage.append(1);
            tokio::time::sleep(Duration::from_millis(5)).await;
            stage.world.make_unfit("b");
            one.refuse(Some("create a commit"));
            until(&one, "create a commit: Refuse", 1).await;
            stage.append(1);
            tokio::time::sleep(Duration::from_millis(50)).await;
            one.refuse(None);
            until(&one, "unpublish tables", 1).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            handle.request();
        };
        let (ended, ()) = tokio::join!(engine.run(stop), acting);
        assert!(ended.is_ok(), "{ended:?}\n{}", one.trace().join("\n"));
        assert!(stage.lake.entry("b").is_none());
        stage.assert_whole("up to its leaving");
        let opened = one.trace().iter().filter(|line| line.contains("open the log")).count();
        assert_eq!(opened, 1, "the log is read on\n{}", one.trace().join("\n"));
    });
}

#[test]
fn nothing_is_released_while_its_commit_gets_no_answer() {
    block_on(async {
        let stage = Stage::default();
        let one = Fuse::never();
        let mut engine = begun(&stage, &one).await;
        engine.settings.commit_interval = Duration::from_millis(100);
        let (handle, stop) = Stop::new();
        let acting = async {
            until(&one, "open the log", 1).await;
            let before = stage.world.confirmed();
            one.refuse(Some("create a commit"));
            stage.append(2);
            until(&one, "create a commit: Refuse", 3).await;
            assert_eq!(stage.world.confirmed(), before, "released before it was committed");
            one.refuse(None);
            tokio::time::sleep(Duration::from_mins(1)).await;
            assert!(stage.world.confirmed() > before);
            handle.request();
        };
        let (ended, ()) = tokio::join!(engine.run(stop), acting);
        assert!(ended.is_ok(), "{ended:?}");
    });
}

#[test]
fn a_table_that_leaves_is_published_until_the_commit_without_it_has_its_answer() {
    block_on(async {
        let stage = Stage::default();
        let one = Fuse::never();
        let engine = begun(&stage, &one).await;
        let (handle, stop) = Stop::new();
        let acting = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stage.world.make_unfit("b");
            one.refuse(Some("create a commit"));
            until(&one, "create a commit: Refuse", 4).await;
            let left = one.trace().iter().any(|line| line.contains("unpublish tables"));
            assert!(!left && stage.lake.entry("b").is_some(), "{}", one.trace().join("\n"));
            one.refuse(None);
            until(&one, "unpublish tables", 1).await;
            assert!(stage.lake.entry("b").is_none());
            handle.request();
        };
        let (ended, ()) = tokio::join!(engine.run(stop), acting);
        assert!(ended.is_ok(), "{ended:?}");
    });
}

#[test]
fn a_snapshot_that_the_stream_has_passed_is_thrown_away_and_made_again() {
    block_on(async {
        let stage = Stage::default();
        stage.append(2);
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        stage.append(2);
        let stage = Stage { snapshot: true, ..stage };
        stage.world.make_late(30);
        let one = Fuse::never();
        assert_eq!(stage.run(&one, "one").await.code(), 0);
        let made = one.trace().iter().filter(|line| line.contains("make a temporary slot")).count();
        assert_eq!(made, 2, "{}", one.trace().join("\n"));
        // Its anchor would have been too high.
        stage.lake.verify_state(&stage.world, &["a", "b"]).expect("sound");
        assert!(stage.lake.is_finished("a") && stage.lake.is_finished("b"));
    });
}
