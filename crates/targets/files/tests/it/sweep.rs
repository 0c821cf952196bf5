//! S5: what the sweep deletes, and what it must never touch.

use millrace_files::names::commit_path;
use millrace_files::{MemoryStore, fsck};
use millrace_model::{CommitKind, Op, Round};

use crate::lake::{SetClock, Writer, table, writer_at};

const ROW: &[&[(Op, i64, Option<&str>)]] = &[&[(Op::Create, 1, Some("a"))]];

#[tokio::test]
async fn leftovers_of_earlier_writers_go_and_nothing_else_does() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let named = one.commit(&table("orders"), ROW).await;
    let lost = one.stage(&table("orders"), ROW).await;
    let other = one.stage(&table("never committed"), ROW).await;
    let mut two = Writer::start(&store, "two").await;
    let own = two.stage(&table("orders"), ROW).await;
    let ours: Vec<String> = store.contents().into_keys().filter(|path| path.starts_with("_millrace/")).collect();
    assert_eq!(two.chain.sweeper().sweep().await.unwrap(), 2);
    let left = store.contents();
    assert!(!left.contains_key(&lost[0].path) && !left.contains_key(&other[0].path));
    assert!(left.contains_key(&named[0].path), "a file that a commit names");
    assert!(left.contains_key(&own[0].path), "a file of a round that is under way");
    assert!(ours.iter().all(|path| left.contains_key(path)), "state and commits");
    assert!(fsck(&two.files).await.unwrap().ok);
    assert_eq!(two.chain.sweeper().sweep().await.unwrap(), 0);
}

#[tokio::test]
async fn a_fenced_writers_sweep_harms_no_later_writer() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.commit(&table("orders"), ROW).await;
    let mut two = Writer::start(&store, "two").await;
    let under_way = two.stage(&table("orders"), ROW).await;
    // A state file that the next commit will name, written a moment ago.
    store.put("_millrace/state/00.json", &b"{}"[..]);
    assert_eq!(one.chain.sweeper().sweep().await.unwrap(), 0);
    assert!(store.contents().contains_key(&under_way[0].path));
    assert!(store.contents().contains_key("_millrace/state/00.json"));
    let round = two.round_of(under_way);
    two.commit_round(&round).await;
}

#[tokio::test]
async fn a_round_that_opened_in_the_hour_before_the_last_commit_is_swept_too() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.clock.forward(-3600);
    let ahead = one.stage(&table("orders"), ROW).await;
    one.clock.forward(3600);
    one.commit(&table("orders"), ROW).await;
    // As old as that, but two hours before: out of the sweep's reach.
    let mut early = Writer::start(&store, "early").await;
    early.clock.forward(-7200);
    let old = early.stage(&table("orders"), ROW).await;
    early.clock.forward(7200);
    early.commit(&table("orders"), ROW).await;
    let three = Writer::start(&store, "three").await;
    assert_eq!(three.chain.sweeper().sweep().await.unwrap(), 1);
    assert!(!store.contents().contains_key(&ahead[0].path) && store.contents().contains_key(&old[0].path));
}

#[tokio::test]
async fn a_chunk_that_was_read_while_a_round_of_a_lower_number_was_open_is_never_a_leftover() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    // Round 1 opens at 14:03; a chunk takes number 2 in the next hour, and the commit of round 1 names both.
    let streamed = one.stage(&table("orders"), ROW).await;
    one.clock.forward(3600);
    let chunk = one.stage(&table("customers"), ROW).await;
    one.round = 1;
    let round = one.round_of(streamed);
    let snapshot = chunk.iter().cloned().map(|file| millrace_model::StagedFile { snapshot: Some(1), ..file });
    one.commit_round(&Round { files: round.files.iter().cloned().chain(snapshot).collect(), ..round }).await;
    // The last round opens at 16:03: what opened from 15:00 on is looked at.
    one.clock.forward(3600);
    one.round = 2;
    one.commit(&table("orders"), ROW).await;
    let two = Writer::start(&store, "two").await;
    assert_eq!(two.chain.sweeper().sweep().await.unwrap(), 0);
    assert!(store.contents().contains_key(&chunk[0].path), "a commit names it");
}

#[tokio::test]
async fn leftovers_of_a_writer_that_never_committed_are_swept() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let lost = one.stage(&table("orders"), ROW).await;
    let two = Writer::start(&store, "two").await;
    let three = Writer::start(&store, "three").await;
    drop(two);
    assert_eq!(three.chain.sweeper().sweep().await.unwrap(), 1);
    assert!(!store.contents().contains_key(&lost[0].path));
}

#[tokio::test]
async fn files_that_are_not_ours_are_left_alone() {
    let store = MemoryStore::new();
    drop(Writer::start(&store, "one").await);
    let strange =
        ["notes.txt", "shop/public/orders/v0001/2026-11-22/14/part-0.parquet", "a/b/000000000001-000001-0000.parquet"];
    strange.iter().for_each(|path| store.put(path, &b"mine"[..]));
    let two = Writer::start(&store, "two").await;
    assert_eq!(two.chain.sweeper().sweep().await.unwrap(), 0);
    assert!(strange.iter().all(|path| store.contents().contains_key(*path)));
}

#[tokio::test]
async fn removed_files_go_a_day_after_the_commit_that_removed_them() {
    let store = MemoryStore::new();
    let clock = SetClock::new();
    let mut one = Writer::over(writer_at(&store, "one", &clock), clock.clone()).await;
    let gone = one.commit(&table("orders"), ROW).await;
    one.round += 1;
    let mut round = one.round_of(Vec::new());
    (round.kind, round.removed) = (CommitKind::Changes, vec![gone[0].path.clone(), commit_path(1)]);
    one.commit_round(&round).await;
    clock.forward(24 * 3600);
    assert_eq!(one.chain.sweeper().sweep().await.unwrap(), 0);
    clock.forward(1);
    assert_eq!(one.chain.sweeper().sweep().await.unwrap(), 1);
    assert!(!store.contents().contains_key(&gone[0].path));
    assert!(store.contents().contains_key(&commit_path(1)), "whatever a commit says, a commit is never deleted");
    assert!(fsck(&one.files).await.unwrap().ok);
    let two = Writer::over(writer_at(&store, "two", &clock), clock.clone()).await;
    assert_eq!(two.chain.sweeper().sweep().await.unwrap(), 0);
}
