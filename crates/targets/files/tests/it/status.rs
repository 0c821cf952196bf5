//! `status`: what the lake says about itself.

use millrace_files::{MemoryStore, Status, status};
use millrace_model::{Op, Position, Sequence, SnapshotProgress};

use crate::lake::{Writer, table, writer};

#[tokio::test]
async fn an_empty_root_is_head_zero_and_checkpoint_null() {
    let status = status(&writer(&MemoryStore::new(), "any")).await.unwrap();
    assert_eq!(status, Status::default());
    assert_eq!(
        serde_json::to_string(&status).unwrap(),
        r#"{"pipeline":null,"head":0,"checkpoint":null,"written_at":null,"writer":null,"tables":[],"snapshots":[]}"#
    );
}

#[tokio::test]
async fn rows_are_those_of_files_that_are_not_removed() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let gone = one.commit(&table("orders"), &[&[(Op::Create, 1, Some("a")), (Op::Create, 2, Some("b"))]]).await;
    one.commit(&table("orders"), &[&[(Op::Create, 3, Some("c"))]]).await;
    one.commit(&table("customers"), &[&[(Op::Create, 3, Some("c"))]]).await;
    one.round += 1;
    let mut round = one.round_of(Vec::new());
    round.kind = millrace_model::CommitKind::Changes;
    round.removed = [gone[0].path.clone()].into();
    round.snapshots = vec![SnapshotProgress {
        id: 1,
        table: table("orders").table.clone(),
        position: Position::new("0/1"),
        sequence: Sequence(2),
        relation: "16423".into(),
        moved: false,
        split: "key".into(),
        done: Vec::new(),
        rows: 0,
        finished: false,
    }];
    one.commit_round(&round).await;
    let status = status(&writer(&store, "any")).await.unwrap();
    let tables: Vec<(&str, u64, &str)> =
        status.tables.iter().map(|table| (table.table.as_str(), table.rows, table.snapshot)).collect();
    assert_eq!(tables, [("shop.public.customers", 1, "none"), ("shop.public.orders", 1, "pending")]);
    assert_eq!((status.head, status.checkpoint.unwrap().sequence), (5, 4));
    assert_eq!(status.snapshots[0].id, 1);
}

#[tokio::test]
async fn status_writes_nothing() {
    let store = MemoryStore::new();
    drop(Writer::start(&store, "one").await);
    let before = store.contents();
    status(&writer(&store, "any")).await.unwrap();
    assert_eq!(store.contents(), before);
}
