//! S5: what the sweep deletes, and what it must never touch.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use millrace_files::names::commit_path;
use millrace_files::store::memory::{Answer, Moment, Step};
use millrace_files::{Files, LocalStore, MemoryStore, Store, fsck};
use millrace_model::{CommitKind, Fault, Op, Round, Sequence, SnapshotProgress, Target};

use crate::lake::{SetClock, Writer, end_of, settings, table, writer_at};

const ROW: &[&[(Op, i64, Option<&str>)]] = &[&[(Op::Create, 1, Some("a"))]];

/// A commit of `writer`, without which it does not sweep, and a sweep.
async fn sweep(writer: &mut Writer) -> Result<u64, Fault> {
    writer.round += 1;
    let heartbeat = writer.round_of(Vec::new());
    writer.commit_round(&heartbeat).await;
    writer.chain.sweeper().sweep().await
}

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
    assert_eq!(sweep(&mut two).await.unwrap(), 2);
    let left = store.contents();
    assert!(!left.contains_key(&lost[0].path) && !left.contains_key(&other[0].path));
    assert!(left.contains_key(&named[0].path), "a file that a commit names");
    assert!(left.contains_key(&own[0].path), "a file of a round that is under way");
    assert!(ours.iter().all(|path| left.contains_key(path)), "state and commits");
    assert!(fsck(&two.files).await.unwrap().ok);
    assert_eq!(sweep(&mut two).await.unwrap(), 0);
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
    let mut three = Writer::start(&store, "three").await;
    assert_eq!(sweep(&mut three).await.unwrap(), 1);
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
    let mut two = Writer::start(&store, "two").await;
    assert_eq!(sweep(&mut two).await.unwrap(), 0);
    assert!(store.contents().contains_key(&chunk[0].path), "a commit names it");
}

#[tokio::test]
async fn a_chunk_that_was_read_for_hours_when_its_writer_died_is_swept_however_many_rounds_followed() {
    for (finished, swept) in [(false, 1), (true, 0)] {
        let store = MemoryStore::new();
        let mut one = Writer::start(&store, "one").await;
        let chunk = one.stage(&table("orders"), ROW).await;
        one.clock.forward(5 * 3600);
        one.round += 1;
        let mut round = one.round_of(Vec::new());
        round.snapshots = vec![SnapshotProgress {
            id: 1,
            table: table("orders").table.clone(),
            position: end_of(1).position,
            sequence: Sequence(0),
            relation: "1".into(),
            moved: false,
            split: "ctid".into(),
            done: Vec::new(),
            rows: 0,
            finished,
        }];
        one.commit_round(&round).await;
        let mut two = Writer::start(&store, "two").await;
        // Of a writer without a snapshot under way only the last hours are looked at.
        assert_eq!(sweep(&mut two).await.unwrap(), swept);
        assert_eq!(store.contents().contains_key(&chunk[0].path), finished);
    }
}

#[tokio::test]
async fn leftovers_of_a_writer_that_never_committed_are_swept() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let lost = one.stage(&table("orders"), ROW).await;
    let two = Writer::start(&store, "two").await;
    let mut three = Writer::start(&store, "three").await;
    drop(two);
    assert_eq!(sweep(&mut three).await.unwrap(), 1);
    assert!(!store.contents().contains_key(&lost[0].path));
}

#[tokio::test]
async fn files_that_are_not_ours_are_left_alone() {
    let store = MemoryStore::new();
    drop(Writer::start(&store, "one").await);
    let strange =
        ["notes.txt", "shop/public/orders/v0001/2026-11-22/14/part-0.parquet", "a/b/000000000001-000001-0000.parquet"];
    strange.iter().for_each(|path| store.put(path, &b"mine"[..]));
    let mut two = Writer::start(&store, "two").await;
    assert_eq!(sweep(&mut two).await.unwrap(), 0);
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
    (round.kind, round.removed) = (CommitKind::Changes, [gone[0].path.clone(), commit_path(1)].into());
    one.commit_round(&round).await;
    clock.forward(24 * 3600);
    assert_eq!(sweep(&mut one).await.unwrap(), 0);
    clock.forward(1);
    assert_eq!(sweep(&mut one).await.unwrap(), 1);
    assert!(!store.contents().contains_key(&gone[0].path));
    assert!(store.contents().contains_key(&commit_path(1)), "whatever a commit says, a commit is never deleted");
    assert!(fsck(&one.files).await.unwrap().ok);
    let mut two = Writer::over(writer_at(&store, "two", &clock), clock.clone()).await;
    assert_eq!(sweep(&mut two).await.unwrap(), 0);
}

#[tokio::test]
async fn a_writer_whose_claim_fell_into_a_hole_sweeps_nothing_that_a_commit_beyond_it_names() {
    for width in 1..=4 {
        let store = MemoryStore::new();
        let mut one = Writer::start(&store, "one").await;
        let mut named = Vec::new();
        for _ in 0..12 {
            named.extend(one.commit(&table("orders"), ROW).await);
        }
        // Commits get lost, as when an older copy of the lake is put back in part; the head search ends before them.
        (4..4 + width).for_each(|number| store.remove(&commit_path(number)));
        store.put("_millrace/head.json", &b"{\"commit\":3}"[..]);
        let mut two = Writer::start(&store, "two").await;
        assert_eq!(two.chain.claim(), 4);
        for landed in 0..width - 1 {
            // As long as the hole has room it goes well, and no sweep may begin to delete.
            let swept = sweep(&mut two).await;
            assert_eq!(swept.is_err(), landed + 2 < width, "{swept:?}");
        }
        let sweeper = two.chain.sweeper();
        let sweeping = tokio::spawn(async move { sweeper.sweep().await });
        two.round += 1;
        let prepared = two.chain.prepare(&two.round_of(Vec::new())).unwrap();
        assert_eq!(two.chain.commit(&prepared).await.unwrap(), millrace_model::Committed::Fenced);
        sweeping.abort();
        let left = store.contents();
        assert!(named.iter().all(|file| left.contains_key(&file.path)), "a hole of {width}");
    }
}

#[tokio::test]
async fn no_sweep_begins_before_the_first_commit_after_the_claim() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let lost = one.stage(&table("orders"), ROW).await;
    let mut two = Writer::start(&store, "two").await;
    let sweeper = two.chain.sweeper();
    let mut early = Box::pin(sweeper.sweep());
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(early.as_mut().poll(context).is_pending())).await);
    assert!(store.contents().contains_key(&lost[0].path));
    two.commit(&table("orders"), ROW).await;
    assert_eq!(early.await.unwrap(), 1);
}

#[tokio::test]
async fn what_a_fenced_writer_brings_late_goes_with_a_later_sweep() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.commit(&table("orders"), ROW).await;
    let mut two = Writer::start(&store, "two").await;
    assert_eq!(sweep(&mut two).await.unwrap(), 0);
    let late = one.stage(&table("orders"), ROW).await;
    two.clock.forward(24 * 3600);
    assert_eq!(sweep(&mut two).await.unwrap(), 1);
    assert!(!store.contents().contains_key(&late[0].path));
}

/// Counts the reads of commits through a store.
fn counting(store: &MemoryStore) -> (MemoryStore, Arc<AtomicU64>) {
    let reads = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&reads);
    let counted = store.with_hook(move |call| {
        let is_one = (call.step, call.moment) == (Step::Read, Moment::Before) && call.path.contains("/commits/");
        counter.fetch_add(u64::from(is_one), Ordering::SeqCst);
        Answer::Go
    });
    (counted, reads)
}

#[tokio::test]
async fn a_process_reads_the_chain_once_for_all_its_sweeps() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    for _ in 0..300 {
        sweep_nothing(&mut one).await;
    }
    let (counted, reads) = counting(&store);
    let mut two = Writer::start(&counted, "two").await;
    sweep(&mut two).await.unwrap();
    let first = reads.swap(0, Ordering::SeqCst);
    assert!((302..=330).contains(&first), "{first}");
    sweep(&mut two).await.unwrap();
    let second = reads.load(Ordering::SeqCst);
    assert!(second <= 4, "{second}");
}

async fn sweep_nothing(one: &mut Writer) {
    one.round += 1;
    let heartbeat = one.round_of(Vec::new());
    one.commit_round(&heartbeat).await;
}

#[tokio::test]
async fn a_sweep_that_was_cut_off_goes_on_where_it_was() {
    let store = MemoryStore::new();
    let clock = SetClock::new();
    let mut one = Writer::over(writer_at(&store, "one", &clock), clock.clone()).await;
    let gone = one.commit(&table("orders"), ROW).await;
    clock.forward(3 * 3600);
    for _ in 0..200 {
        sweep_nothing(&mut one).await;
    }
    one.round += 1;
    let mut round = one.round_of(Vec::new());
    (round.kind, round.removed) = (CommitKind::Changes, [gone[0].path.clone()].into());
    one.commit_round(&round).await;
    clock.forward(25 * 3600);
    let spoilt = Arc::new(AtomicBool::new(true));
    let is_spoilt = Arc::clone(&spoilt);
    let broken = store.with_hook(move |call| match (call.step, call.path == commit_path(10)) {
        (Step::Read, true) if is_spoilt.load(Ordering::SeqCst) => Answer::Lose,
        _ => Answer::Go,
    });
    let mut two = Writer::over(writer_at(&broken, "two", &clock), clock.clone()).await;
    assert!(sweep(&mut two).await.unwrap_err().is_retry());
    assert!(!store.contents().contains_key(&gone[0].path), "the newest commits come first");
    spoilt.store(false, Ordering::SeqCst);
    assert_eq!(sweep(&mut two).await.unwrap(), 0);
    assert_eq!(two.files.head().await.unwrap().commit, 206);
}

#[tokio::test]
async fn what_lies_unfinished_for_a_day_goes_and_nothing_younger() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SetClock::new();
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(folder.path().to_path_buf()));
    let mut one = Writer::over(Files::new(settings("one"), store, Arc::new(clock.clone())), clock.clone()).await;
    let unfinished = folder.path().join("_millrace/tmp/1-2-3");
    std::fs::write(&unfinished, "half a fi").unwrap();
    // The disk has a clock of its own.
    let written = std::fs::metadata(&unfinished).unwrap().modified().unwrap();
    clock.set(written, 23 * 3600);
    sweep(&mut one).await.unwrap();
    assert!(unfinished.exists());
    clock.set(written, 25 * 3600);
    sweep(&mut one).await.unwrap();
    assert!(!unfinished.exists());
}
