//! Which earlier files of a table leave the lake, and which stay, when the table is read or counted anew.

use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::ScriptedRow;

use crate::stage::{Stage, block_on, fuse};

#[test]
fn a_table_that_joins_again_without_a_snapshot_starts_without_its_earlier_files() {
    block_on(async {
        let mut stage = Stage::default();
        let of_b = |stage: &Stage| stage.lake.rows().into_iter().filter(|row| row.row.table == "b").count();
        // There, there with a row in the lake, away, there again, and there with a row since.
        for (tables, expected) in [(None, 0), (None, 1), (Some(&["a"][..]), 1), (None, 0), (None, 1)] {
            stage.tables = tables;
            assert_eq!(stage.run(&Fuse::never(), "a life").await.code(), 0);
            assert_eq!(of_b(&stage), expected, "{tables:?}");
            stage.append(1);
        }
        stage.lake.verify(&stage.world, None).expect("sound");
    });
}

#[test]
fn a_snapshot_that_starts_again_leaves_what_the_log_has_said_in_the_lake() {
    let mut half_read = 0;
    for step in 20..80 {
        half_read += block_on(async {
            let stage = Stage { snapshot: true, ..Stage::default() };
            stage.world.append((100..300).step_by(10).map(|id| ScriptedRow::create("a", id, "x")));
            let first = fuse(step, Blow::DieAfter);
            let changing = async {
                while stage.lake.progress("a").is_none() && !first.is_dead() {
                    tokio::task::yield_now().await;
                }
                stage.append(2);
            };
            tokio::join!(stage.run(&first, "one"), changing);
            let said = stage.lake.rows().into_iter().filter(|row| row.row.table == "a").count();
            let is_half_read = stage.lake.progress("a").is_some_and(|it| !it.done.is_empty() && !it.finished);
            stage.world.rewrite("a");
            // I3 counts every change of the log.
            stage.recover(&first.trace().join("\n")).await;
            usize::from(is_half_read && said > 0)
        });
    }
    assert!(half_read > 1, "only {half_read} lives left a table half read that had changed");
}
