//! What commits say of snapshots under way, and what a later life makes of it.

use std::time::Duration;

use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::ScriptedRow;
use millrace_testkit::scripted_target::position_number;

use crate::snapshots::{TABLES, filled, finish};
use crate::stage::{Stage, block_on, fuse};

#[test]
fn an_entry_of_snapshots_stands_from_the_first_commit_at_its_position_even_with_nothing_done() {
    block_on(async {
        for streams in [false, true] {
            let (stage, _) = filled(8);
            if streams {
                // A later snapshot, beside a stream.
                let without = Stage { snapshot: false, ..stage.clone() };
                assert_eq!(without.run(&Fuse::never(), "zero").await.code(), 0);
            }
            let first = Fuse::never();
            // Not a row can be read.
            first.refuse(Some("read a chunk"));
            let waiting = tokio::time::timeout(Duration::from_secs(20), stage.run(&first, "one"));
            assert!(waiting.await.is_err(), "it is done without a row");
            let checkpoint = stage.lake.checkpoint().position.expect("it has begun");
            for table in TABLES {
                let entry = stage.lake.progress(table).expect("the entry stands");
                assert_eq!((entry.done.len(), entry.rows, entry.finished), (0, 0, false));
                assert!(position_number(&entry.position) <= position_number(&checkpoint), "{entry:?} at {checkpoint}");
            }
            finish(&stage, "after it").await;
        }
    });
}

#[test]
fn a_table_that_has_moved_starts_again_though_two_lives_lie_between() {
    let mut tried = 0;
    for (step, second_step) in (0..60).flat_map(|step| [(step, 0), (step, 4), (step, 8)]) {
        tried += block_on(async {
            let stage = Stage { snapshot: true, ..Stage::default() };
            stage.world.append((100..300).step_by(10).map(|id| ScriptedRow::create("a", id, "x")));
            let first = fuse(step, Blow::DieAfter);
            stage.run(&first, "one").await;
            let Some(begun) = stage.lake.progress("a").filter(|it| !it.done.is_empty() && !it.finished) else {
                return 0;
            };
            // The second life commits a change with an unsent value, and cannot make a snapshot of its own; it dies.
            stage.world.append([ScriptedRow::touch("a", 110)]);
            let second = Fuse::never();
            second.refuse(Some("make a temporary slot"));
            let waiting = tokio::time::timeout(Duration::from_secs(5), stage.run(&second, "two"));
            assert!(waiting.await.is_err());
            let what = format!("{step}, {second_step}\n{}", second.trace().join("\n"));
            assert!(stage.lake.progress("a").is_some_and(|it| it.moved && it.id == begun.id), "{what}");
            // The third only claims, or comes a little further.
            stage.run(&fuse(second_step, Blow::DieAfter), "three").await;
            finish(&stage, &what).await;
            let done = stage.lake.entry("a").and_then(|entry| entry.snapshot).expect("finished");
            assert!(done.id > begun.id, "{what}: it went on where it was left");
            1
        });
    }
    assert!(tried > 6, "only {tried} lives left a table half read");
}
