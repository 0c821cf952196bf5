//! A writer that stands still while another takes over: it ends with 75 or 76, or goes on rightly, and adds no commit.

use std::time::Duration;

use millrace_engine::Stop;
use millrace_testkit::fuse::{Blow, Fuse};

use crate::stage::{Stage, block_on, fuse};

/// `first` stands still at `step`; the server expels it; another process brings everything into the lake; it goes on.
async fn paused_at(step: u64, begun: bool) -> Option<u8> {
    let stage = Stage::default();
    if begun {
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
    }
    stage.append(3);
    let first = fuse(step, Blow::Pause);
    let ended = async { stage.run(&first, "one").await };
    let other = async {
        first.halted().await;
        stage.world.expel();
        stage.run(&Fuse::never(), "two").await;
        stage.append(2);
        let what = format!("paused at {step}, before it goes on\n{}", first.trace().join("\n"));
        stage.recover(&what).await;
        let head = stage.lake.head();
        first.resume();
        head
    };
    tokio::pin!(ended);
    tokio::pin!(other);
    let (exit, head) = tokio::select! {
        // It never came to that step.
        exit = &mut ended => { assert_eq!(exit.code(), 0); return None; }
        head = &mut other => (ended.await, head),
    };
    let what = format!("paused at {step}: {exit:?}\n{}", first.trace().join("\n"));
    assert!(matches!(exit.code(), 0 | 75 | 76), "{what}");
    stage.assert_whole(&what);
    if exit.code() != 0 {
        assert_eq!(stage.lake.head(), head, "it added a commit; {what}");
    } else if first.trace().iter().skip(step as usize).any(|line| line.contains("create a commit")) {
        assert!(stage.lake.head() > head, "it took the commit of another for its own; {what}");
    }
    stage.append(1);
    stage.recover(&what).await;
    Some(exit.code())
}

fn every_step(begun: bool) -> Vec<u8> {
    (0..).map_while(|step| block_on(paused_at(step, begun))).collect()
}

#[test]
fn a_writer_paused_at_any_step_of_a_later_start_is_fenced_or_takes_over_rightly() {
    // [B2] Also where its connection drops between the head and whatever it knows of the slot: another writer's commits and
    // releases make no 66 of it.
    let codes = every_step(true);
    assert!(codes.len() > 12 && codes.contains(&76), "{codes:?}");
}

#[test]
fn a_writer_paused_at_any_step_of_a_first_start_is_fenced_or_takes_over_rightly() {
    // [C] It saw no slot, and finds a head with a position: it looks once more, and does not say 66.
    let codes = every_step(false);
    assert!(codes.len() > 8 && codes.contains(&76), "{codes:?}");
}

#[test]
fn a_start_waits_for_a_slot_that_another_process_has_and_then_says_75() {
    block_on(async {
        let stage = Stage::default();
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        let mut engine = stage.engine(&Fuse::never(), "one");
        engine.settings.until_now = false;
        let (handle, stop) = Stop::new();
        let second = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let head = stage.lake.head();
            let asked = tokio::time::Instant::now();
            let exit = stage.run(&Fuse::never(), "two").await;
            assert_eq!(exit.code(), 75, "{exit:?}");
            // As long as the source says that a dead holder can keep it, and no longer.
            assert!((6..8).contains(&asked.elapsed().as_secs()), "it waited for {:?}", asked.elapsed());
            assert_eq!(stage.lake.head(), head, "a start that was refused wrote something");
            handle.request();
        };
        let (ended, ()) = tokio::join!(engine.run(stop), second);
        assert!(ended.is_ok(), "{ended:?}");
    });
}

#[test]
fn a_paused_writer_is_fenced_while_the_other_is_still_running() {
    block_on(async {
        let stage = Stage::default();
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        stage.append(2);
        // Step 6 and on: the stream is under way.
        let first = fuse(8, Blow::Pause);
        let mut engine = stage.engine(&Fuse::never(), "two");
        engine.settings.until_now = false;
        let (handle, stop) = Stop::new();
        let second = async {
            first.halted().await;
            stage.world.expel();
            engine.run(stop).await
        };
        let watcher = async {
            first.halted().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            first.resume();
            tokio::time::sleep(Duration::from_secs(20)).await;
            handle.request();
        };
        let (exit, second, ()) = tokio::join!(stage.run(&first, "one"), second, watcher);
        assert!(matches!(exit.code(), 75 | 76), "{exit:?}\n{}", first.trace().join("\n"));
        assert!(second.is_ok(), "{second:?}");
        stage.assert_sound("both ran");
    });
}

/// Two first starts stand still at these steps; the second goes on first. How they ended; `None` where one never came there.
async fn two_first_starts(steps: [u64; 2]) -> Option<[u8; 2]> {
    let stage = Stage::default();
    stage.append(2);
    let fuses = steps.map(|step| fuse(step, Blow::Pause));
    let [first, second] = &fuses;
    let both = async { tokio::join!(stage.run(first, "one"), stage.run(second, "two")) };
    let going_on = async {
        first.halted().await;
        second.halted().await;
        second.resume();
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.resume();
        std::future::pending::<()>().await;
    };
    let (one, two) = tokio::select! {
        exits = both => exits,
        () = going_on => return None,
        () = tokio::time::sleep(Duration::from_mins(5)) => return None,
    };
    let what = format!("{steps:?}: {one:?}, {two:?}\n{}\n\n{}", first.trace().join("\n"), second.trace().join("\n"));
    stage.recover(&what).await;
    let codes = [one.code(), two.code()];
    assert!(codes.contains(&0), "both gave up; {what}");
    assert!(codes.iter().all(|code| matches!(code, 0 | 75 | 76)), "{what}");
    Some(codes)
}

#[test]
fn of_two_first_starts_at_once_one_goes_on() {
    let mut ends = std::collections::BTreeSet::new();
    for first in 0..12 {
        for second in 0..6 {
            ends.extend(block_on(Box::pin(two_first_starts([first, second]))));
        }
    }
    assert!(ends.contains(&[76, 0]), "{ends:?}");
}
