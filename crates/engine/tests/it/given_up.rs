//! What a writer that lost its log gives up.

use std::time::Duration;

use millrace_testkit::fuse::Fuse;

use crate::stage::{Stage, block_on};

/// Waits until the process has done something of this name.
async fn until(fuse: &Fuse, step: &str) {
    while !fuse.trace().iter().any(|line| line.contains(step)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_writer_that_lost_its_log_brings_the_commit_in_flight_to_its_end_and_gives_up_the_rounds_behind_it() {
    block_on(async {
        let stage = Stage::default();
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        stage.append(12);
        let fuse = Fuse::never();
        let losing = async {
            while !fuse.trace().iter().any(|line| line.contains("read a transaction")) {
                // No time passes meanwhile, so that it is still at its first transaction.
                tokio::task::yield_now().await;
            }
            // The store falls silent; the log is read on until the rounds that wait for it are as many as may.
            fuse.refuse(Some("create a commit"));
            until(&fuse, "create a commit: Refuse").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            stage.world.expel();
            tokio::time::sleep(Duration::from_millis(20)).await;
            fuse.refuse(None);
        };
        let (exit, ()) = tokio::join!(stage.run(&fuse, "one"), losing);
        assert_eq!(exit.code(), 0, "{exit:?}");
        let trace = fuse.trace();
        let done = |line: &&String| line.ends_with("create a commit");
        let silent = trace.iter().position(|line| line.contains("Refuse")).expect("it was refused");
        let took = trace.iter().rposition(|line| line.ends_with("take the slot")).expect("it took the slot again");
        let between = trace.get(silent..took).expect("it lost the log after that");
        assert_eq!(between.iter().filter(done).count(), 1, "{}", trace.join("\n"));
        stage.assert_whole("after all");
    });
}
