//! What a restart takes out of the lake and out of what is known, whichever tables it names.

use millrace_engine::{Restart, Stop};
use millrace_model::Fault;
use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::ScriptedRow;

use crate::stage::{Stage, block_on, fuse};

/// Returns whether a new slot was made.
async fn restart(stage: &Stage, tables: Option<&str>, adopt: bool) -> Result<bool, Fault> {
    let tables = tables.map(|table| vec![table.to_owned()]);
    let (_handle, stop) = Stop::new();
    stage.engine(&Fuse::never(), "restart").restart(&Restart { tables, adopt }, stop).await.map(|done| done.new_slot)
}

#[test]
fn after_a_gap_all_tables_leave_the_lake_whichever_are_named() {
    block_on(async {
        let stage = Stage::default();
        for _ in 0..2 {
            assert_eq!(stage.run(&Fuse::never(), "a life").await.code(), 0);
            stage.append(1);
        }
        stage.world.lose_slot();
        let new_slot = restart(&stage, Some("public.a"), false).await.expect("it is done");
        assert!(new_slot && stage.lake.rows().is_empty());
    });
}

#[test]
fn a_restart_with_an_older_epoch_is_refused_whoever_has_the_chain() {
    block_on(async {
        let stage = Stage { epoch: Some(7), ..Stage::default() };
        assert_eq!(stage.run(&Fuse::never(), "one").await.code(), 0);
        let (older, head) = (Stage { epoch: Some(6), ..stage.clone() }, stage.lake.head());
        for adopt in [false, true] {
            assert_eq!(restart(&older, None, adopt).await.expect_err("refused").exit_code(), 76);
        }
        assert_eq!(stage.lake.head(), head, "a restart that was refused wrote something");
    });
}

#[test]
fn a_restart_of_a_table_that_is_half_read_forgets_what_was_read() {
    let mut half_read = 0;
    for step in 10..60 {
        half_read += block_on(async {
            let stage = Stage { snapshot: true, ..Stage::default() };
            stage.world.append((0..40).map(|id| ScriptedRow::create("a", id, "x")));
            stage.run(&fuse(step, Blow::DieAfter), "one").await;
            let is_half_read = stage.lake.progress("a").is_some_and(|it| !it.done.is_empty() && !it.finished);
            if stage.lake.entry("a").is_none() {
                return 0;
            }
            // May be repeated.
            for _ in 0..2 {
                restart(&stage, Some("public.a"), false).await.expect("it is done");
                assert!(stage.lake.progress("a").is_none(), "killed at {step}");
            }
            assert_eq!(stage.run(&Fuse::never(), "two").await.code(), 0);
            stage.lake.verify(&stage.world, None).expect("sound");
            stage.lake.verify_state(&stage.world, &["a", "b"]).expect("sound");
            assert!(stage.lake.is_finished("a"), "killed at {step}");
            usize::from(is_half_read)
        });
    }
    assert!(half_read > 1, "only {half_read} lives left the table half read");
}
