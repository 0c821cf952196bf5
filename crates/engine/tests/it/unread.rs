//! `snapshot.mode: never`: tables that join and are not read.

use millrace_testkit::fuse::Fuse;

use crate::stage::{Stage, block_on};

/// A table joins without being read, while the log goes on at every step of its joining.
async fn joins_unread_beside_a_stream(streamed: bool, pause: Option<usize>) -> Vec<String> {
    let mut stage = Stage { tables: Some(&["a"]), streamed, ..Stage::default() };
    stage.append(3);
    assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
    stage.tables = None;
    let trace = stage.run_paused(pause).await;
    stage.lake.verify(&stage.world, None).expect("the lake is sound");
    trace
}

#[test]
fn the_log_stands_while_a_table_joins_unread() {
    for streamed in [false, true] {
        let steps = block_on(joins_unread_beside_a_stream(streamed, None));
        for step in 0..steps.len() {
            let trace = block_on(joins_unread_beside_a_stream(streamed, Some(step)));
            let opened = trace.iter().filter(|line| line.contains("open the log")).count();
            assert_eq!(opened, 1, "the stream passed the table that joins, at {step}\n{}", trace.join("\n"));
        }
    }
}

#[test]
fn a_table_that_joins_without_a_snapshot_counts_from_its_joining_on() {
    block_on(async {
        let mut stage = Stage { tables: Some(&["a"]), ..Stage::default() };
        assert_eq!(stage.run(&Fuse::never(), "one").await.code(), 0);
        stage.append(1);
        stage.tables = None;
        assert_eq!(stage.run(&Fuse::never(), "two").await.code(), 0);
        stage.append(1);
        assert_eq!(stage.run(&Fuse::never(), "three").await.code(), 0);
        let of_b = stage.lake.rows().into_iter().filter(|row| row.row.table == "b").count();
        assert_eq!(of_b, 1);
        stage.lake.verify(&stage.world, None).unwrap();
    });
}
