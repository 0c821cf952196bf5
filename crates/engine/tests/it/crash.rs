//! Kill -9, lost answers and late requests at every step: each change exactly once.

use millrace_testkit::fuse::{Blow, Fuse};

use crate::stage::{Exit, Stage, block_on, fuse};

/// Transactions before the first start, and more while it runs.
const FIRST: i64 = 3;
const MORE: i64 = 3;

async fn life(step: u64, blow: Blow) -> Option<u64> {
    let stage = Stage::default();
    stage.world.append([]);
    let first = fuse(step, blow);
    let exit = stage.run(&first, "one").await;
    let blown = first.steps() > step;
    if !matches!(exit, Exit::Killed) {
        assert_eq!(exit.code(), 0, "{blow:?} at {step}: {exit:?}\n{}", first.trace().join("\n"));
    }
    stage.append(FIRST);
    stage.recover(&format!("{blow:?} at {step} of a first start\n{}", first.trace().join("\n"))).await;
    blown.then(|| first.steps())
}

#[test]
fn a_first_start_that_goes_wrong_at_any_step_loses_and_doubles_nothing() {
    for blow in Blow::ALONE {
        let mut step = 0;
        while block_on(life_from_now(step, blow)) {
            step += 1;
        }
        assert!(step > 5, "{blow:?}: only {step} steps were tried");
    }
}

async fn life_from_now(step: u64, blow: Blow) -> bool {
    life(step, blow).await.is_some()
}

/// A chain with a few commits, then a process that goes wrong at `step`, then a recovery.
async fn later_life(steps: &[(u64, Blow)]) -> bool {
    later_life_of(Stage::default(), steps).await
}

/// The same with transactions that come in pieces, and so little memory that every piece goes to disk.
fn streamed(memory: Option<u64>) -> Stage {
    Stage { streamed: true, memory, ..Stage::default() }
}

async fn later_life_of(stage: Stage, steps: &[(u64, Blow)]) -> bool {
    assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
    stage.append(FIRST);
    let first = Fuse::new(steps.iter().copied());
    let (exit, ()) = tokio::join!(stage.run(&first, "one"), async {
        tokio::task::yield_now().await;
        stage.append(MORE);
    });
    let what = format!("{steps:?} of a later start\n{}", first.trace().join("\n"));
    if !matches!(exit, Exit::Killed) {
        assert_eq!(exit.code(), 0, "{what}: {exit:?}");
    }
    stage.assert_sound(&what);
    stage.recover(&what).await;
    steps.iter().all(|&(step, _)| first.steps() > step)
}

#[test]
fn a_later_start_that_goes_wrong_at_any_step_loses_and_doubles_nothing() {
    for blow in Blow::ALONE {
        let mut step = 0;
        while block_on(later_life(&[(step, blow)])) {
            step += 1;
        }
        assert!(step > 12, "{blow:?}: only {step} steps were tried");
    }
}

#[test]
fn a_start_that_goes_wrong_while_transactions_are_in_progress_loses_and_doubles_nothing() {
    for memory in [None, Some(600)] {
        for blow in Blow::ALONE {
            let mut step = 0;
            while block_on(later_life_of(streamed(memory), &[(step, blow)])) {
                step += 1;
            }
            assert!(step > 25, "{blow:?}: only {step} steps were tried");
        }
    }
}

/// Two processes of the stage that `make` sets are killed one after the other: the first at every step of a `stride`, the
/// second at every step of another. Returns how many pairs were tried.
fn two_deaths(make: impl Fn() -> Stage, stride: (usize, usize)) -> usize {
    let mut tried = 0;
    for step in (0..).step_by(stride.0) {
        let mut reached = false;
        for next in (0..).step_by(stride.1) {
            let (first_died, second_died) = block_on(async {
                let stage = make();
                assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
                stage.append(FIRST);
                let first = fuse(step, Blow::DieAfter);
                stage.run(&first, "one").await;
                stage.append(1);
                let second = fuse(next, Blow::DieBefore);
                stage.run(&second, "two").await;
                stage.recover(&format!("killed at {step}, then at {next}")).await;
                (first.is_dead(), second.is_dead())
            });
            reached |= first_died;
            tried += 1;
            if !second_died || !first_died {
                break;
            }
        }
        if !reached {
            break;
        }
    }
    tried
}

#[test]
fn two_lives_that_end_while_transactions_are_in_progress_lose_and_double_nothing() {
    let tried = two_deaths(|| streamed(Some(600)), (2, 3));
    assert!(tried > 60, "only {tried} pairs were tried");
}

#[test]
fn two_steps_that_go_wrong_in_one_life_lose_and_double_nothing() {
    for first in [Blow::LoseAnswer, Blow::Refuse] {
        for second in Blow::ALONE {
            let mut step = 0;
            loop {
                let mut next = step + 1;
                while block_on(later_life(&[(step, first), (next, second)])) {
                    next += 1;
                }
                if next == step + 1 {
                    break;
                }
                step += 1;
            }
            assert!(step > 10, "{first:?}, {second:?}: only {step} steps were tried");
        }
    }
}

#[test]
fn two_lives_that_end_at_any_two_steps_lose_and_double_nothing() {
    let tried = two_deaths(Stage::default, (1, 1));
    assert!(tried > 100, "only {tried} pairs were tried");
}

#[test]
fn a_request_that_lands_late_is_met_as_ones_own() {
    // Late and then landed while the process still asks: "my bytes → done".
    let mut step = 0;
    loop {
        let (blown, exit, trace) = block_on(async {
            let stage = Stage::default();
            assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
            stage.append(FIRST);
            let late = fuse(step, Blow::Late);
            let exit = tokio::select! {
                exit = stage.run(&late, "one") => exit,
                () = async {
                    loop {
                        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
                        late.land();
                    }
                } => unreachable!("it lands for ever"),
            };
            stage.recover(&format!("late at {step}\n{}", late.trace().join("\n"))).await;
            (late.steps() > step, exit, late.trace())
        });
        assert_eq!(exit.code(), 0, "late at {step}: {exit:?}\n{}", trace.join("\n"));
        if !blown {
            break;
        }
        step += 1;
    }
    assert!(step > 12);
}

#[test]
fn a_request_that_lands_after_another_writer_took_over_changes_nothing() {
    let mut step = 0;
    loop {
        let blown = block_on(async {
            let stage = Stage::default();
            assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
            stage.append(FIRST);
            // The process dies at the step after the one whose request is under way.
            let late = Fuse::new([(step, Blow::Late), (step + 1, Blow::DieBefore)]);
            stage.run(&late, "one").await;
            stage.recover("before it lands").await;
            late.land();
            stage.append(1);
            stage.recover(&format!("late at {step}, landed after a takeover\n{}", late.trace().join("\n"))).await;
            late.steps() > step
        });
        if !blown {
            break;
        }
        step += 1;
    }
    assert!(step > 12);
}
