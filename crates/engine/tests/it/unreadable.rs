//! A slot whose publication is missing, before anything was read through it.

use millrace_engine::Restart;
use millrace_testkit::fuse::{Blow, Fuse};

use crate::gaps::restart;
use crate::stage::{Exit, Stage, block_on, fuse};

#[test]
fn a_restart_cures_a_slot_without_its_publication_before_anything_was_committed() {
    block_on(async {
        let mut tried = 0;
        for step in 0.. {
            let stage = Stage::default();
            let first = fuse(step, Blow::DieAfter);
            let exit = stage.run(&first, "one").await;
            if stage.lake.checkpoint().position.is_some() || matches!(exit, Exit::Ended(_)) {
                break;
            }
            if stage.world.confirmed().is_none() || stage.lake.head() == 0 {
                continue;
            }
            tried += 1;
            stage.world.drop_publication();
            let Exit::Ended(Err(fault)) = stage.run(&Fuse::never(), "two").await else { panic!("it went on") };
            assert_eq!((fault.code, fault.exit_code()), ("EN-007", 66));
            assert_eq!(restart(&stage, &Fuse::never(), Restart::default()).await.code(), 0);
            stage.append(2);
            assert_eq!(stage.run(&Fuse::never(), "three").await.code(), 0);
        }
        assert!(tried > 0, "no process died between slot and first position");
    });
}
