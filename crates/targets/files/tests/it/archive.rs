//! Archives: what they say, who writes them when, and that reading them is reading the commits.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use millrace_files::names::{archive_path, commit_path};
use millrace_files::store::memory::{Answer, Moment, Step};
use millrace_files::{Files, MemoryStore, Status, fsck, read, status};
use millrace_model::{CommitKind, Op, StagedFile, Target};
use serde_json::{Value, json};

use crate::lake::{SetClock, Writer, settings, table, writer, writer_at};

const ROW: &[&[(Op, i64, Option<&str>)]] = &[&[(Op::Create, 1, Some("a"))]];
const DAY: i64 = 24 * 3600;

/// A chain of ten thousand commits and four: commit 2 and 9,998 have a file, 9,999 removes that of commit 2, 10,002 has a file.
struct Long {
    store: MemoryStore,
    one: Writer,
    clock: SetClock,
    gone: StagedFile,
}

impl Long {
    async fn make() -> Self {
        let (store, clock) = (MemoryStore::new(), SetClock::new());
        let mut one = Writer::over(writer_at(&store, "one", &clock), clock.clone()).await;
        let gone = one.commit(&table("orders"), ROW).await.remove(0);
        heartbeats_to(&mut one, 9_997).await;
        // Leftovers are looked for in the last hours of a writer.
        clock.forward(3 * 3600);
        one.commit(&table("orders"), ROW).await;
        one.round += 1;
        let mut round = one.round_of(Vec::new());
        (round.kind, round.removed) = (CommitKind::Changes, [gone.path.clone()].into());
        one.commit_round(&round).await;
        heartbeats_to(&mut one, 10_001).await;
        one.commit(&table("orders"), ROW).await;
        heartbeats_to(&mut one, 10_004).await;
        Self { store, one, clock, gone }
    }

    fn archive(&self) -> Option<Vec<u8>> {
        self.store.contents().get(&archive_path(1)).map(|bytes| bytes.to_vec())
    }
}

async fn heartbeats_to(writer: &mut Writer, last: u64) {
    while writer.chain.commit_number() < last {
        writer.round += 1;
        let heartbeat = writer.round_of(Vec::new());
        writer.commit_round(&heartbeat).await;
    }
}

fn lines(archive: &[u8]) -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(archive).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn packed(lines: &[Value]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    lines.iter().for_each(|line| std::io::Write::write_all(&mut out, format!("{line}\n").as_bytes()).unwrap());
    out.finish().unwrap()
}

/// A lake that counts how many commits are read.
fn counting(store: &MemoryStore, clock: &SetClock) -> (Files, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let counted = store.with_hook(move |call| {
        if call.step == Step::Read && call.moment == Moment::Before && call.path.starts_with("_millrace/commits/") {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Answer::Go
    });
    (Files::new(settings("counted"), Arc::new(counted), Arc::new(clock.clone())), count)
}

/// What readers say of a lake.
async fn said(files: &Files) -> (Status, Vec<String>, Vec<String>, usize) {
    let (mut rows, mut current) = (Vec::new(), Vec::new());
    let mut push = |line: &str| {
        rows.push(line.to_owned());
        Ok(())
    };
    read(files, "public.orders", false, &mut push).await.unwrap();
    let mut push = |line: &str| {
        current.push(line.to_owned());
        Ok(())
    };
    read(files, "public.orders", true, &mut push).await.unwrap();
    let head = files.head().await.unwrap().commit;
    (status(files).await.unwrap(), rows, current, files.files_of(head, None).await.unwrap().len())
}

#[tokio::test]
async fn a_sweep_writes_the_archives_that_are_due_and_readers_read_them_instead_of_the_commits() {
    let long = Long::make().await;
    let (reader, commits_read) = counting(&long.store, &long.clock);
    let before = said(&reader).await;
    assert!(commits_read.swap(0, Ordering::Relaxed) > 50_000);
    long.one.chain.sweeper().sweep().await.unwrap();

    let archive = lines(&long.archive().unwrap());
    let commit =
        |number: u64| -> Value { serde_json::from_slice(&long.store.contents()[&commit_path(number)]).unwrap() };
    let expected: Vec<Value> = [2, 9_998, 9_999]
        .map(|number| json!({"commit": number, "files": commit(number)["files"], "removed": commit(number)["removed"]}))
        .into();
    assert_eq!(archive, expected, "a line for each commit that has any");
    assert!(!long.store.contents().contains_key(&archive_path(10_001)), "not before its last commit");

    assert_eq!(said(&reader).await, before);
    assert!(commits_read.load(Ordering::Relaxed) < 100, "{commits_read:?}");
    assert!(fsck(&long.one.files).await.unwrap().ok);
}

#[tokio::test]
async fn files_of_a_table_share_its_name() {
    let (store, clock) = (MemoryStore::new(), SetClock::new());
    let mut one = Writer::over(writer_at(&store, "one", &clock), clock).await;
    for _ in 0..200 {
        one.commit(&table("orders"), ROW).await;
    }
    let head = one.files.head().await.unwrap().commit;
    let files = one.files.files_of(head, None).await.unwrap();
    let names: BTreeSet<*const String> = files.iter().map(|file| file.table.parts().as_ptr()).collect();
    assert_eq!((files.len(), names.len()), (200, 1));
}

#[tokio::test]
async fn an_archive_is_created_once_whoever_comes_second() {
    let mut long = Long::make().await;
    let (first, path) = (long.store.clone(), archive_path(1));
    let (mine, store) = (packed(&[]), long.store.clone());
    // Another process publishes between this one's last look and its own publishing.
    let hooked = first.with_hook(move |call| {
        if call.step == Step::Publish && call.moment == Moment::Before && call.path == path {
            store.put(&path, mine.clone());
        }
        Answer::Go
    });
    let files = Files::new(settings("one"), Arc::new(hooked), Arc::new(long.clock.clone()));
    let mut two = Writer::over(files, long.clock.clone()).await;
    heartbeats_to(&mut two, 10_006).await;
    two.chain.sweeper().sweep().await.unwrap();
    assert!(lines(&long.archive().unwrap()).is_empty(), "the other's stands");
    // One that stands is not even begun.
    long.store.remove(&archive_path(1));
    long.one = Writer::over(writer_at(&long.store, "three", &long.clock), long.clock.clone()).await;
    heartbeats_to(&mut long.one, 10_008).await;
    long.one.chain.sweeper().sweep().await.unwrap();
    let archive = long.archive().unwrap();
    long.one.chain.sweeper().sweep().await.unwrap();
    assert_eq!(long.archive().unwrap(), archive);
    assert!(fsck(&long.one.files).await.unwrap().ok);
}

#[tokio::test]
async fn what_archived_commits_have_removed_is_swept_by_a_later_process_without_reading_all_of_them() {
    let long = Long::make().await;
    long.one.chain.sweeper().sweep().await.unwrap();
    assert!(long.store.contents().contains_key(&long.gone.path));
    long.clock.forward(DAY + 1);
    let (files, commits_read) = counting(&long.store, &long.clock);
    let mut two = Writer::over(files, long.clock.clone()).await;
    heartbeats_to(&mut two, 10_006).await;
    assert_eq!(two.chain.sweeper().sweep().await.unwrap(), 1);
    assert!(!long.store.contents().contains_key(&long.gone.path));
    assert!(commits_read.load(Ordering::Relaxed) < 100, "{commits_read:?}");
}

#[tokio::test]
async fn i6_an_archive_that_does_not_say_what_its_commits_say_is_found() {
    let long = Long::make().await;
    long.one.chain.sweeper().sweep().await.unwrap();
    let whole = lines(&long.archive().unwrap());
    let breach = async |path: &str, bytes: Vec<u8>| {
        let before = long.store.contents().get(path).map(|bytes| bytes.to_vec());
        long.store.put(path, bytes);
        let report = fsck(&writer(&long.store, "fsck")).await.unwrap();
        match before {
            Some(bytes) => long.store.put(path, bytes),
            None => long.store.remove(path),
        }
        let breach = report.breach.expect("a breach");
        assert_eq!(breach.invariant, "I6");
        breach.message
    };
    let mut other = whole.clone();
    other[0]["files"][0]["rows"] = json!(2);
    for lines in [&whole[1..], &whole[..2], &other, &[whole[0].clone(), whole[2].clone(), whole[1].clone()]] {
        let message = breach(&archive_path(1), packed(lines)).await;
        assert!(message.contains("000000000001-000000010000.jsonl.gz"), "{message}");
    }
    let cut = long.archive().unwrap();
    assert!(breach(&archive_path(1), cut[..cut.len() / 2].to_vec()).await.contains("may be deleted"));
    assert!(breach(&archive_path(10_001), packed(&[])).await.contains("commit 10004 is the last"));
    assert!(fsck(&writer(&long.store, "fsck")).await.unwrap().ok);
}

#[tokio::test]
async fn a_damaged_archive_is_named_and_may_be_deleted() {
    let long = Long::make().await;
    long.one.chain.sweeper().sweep().await.unwrap();
    let reader = writer(&long.store, "reader");
    let before = status(&reader).await.unwrap();
    long.store.put(&archive_path(1), &b"no gzip"[..]);
    let fault = status(&reader).await.unwrap_err();
    assert_eq!(fault.code, "FL-008");
    assert!(fault.message.contains(&archive_path(1)) && fault.message.contains("may be deleted"), "{fault}");
    long.store.remove(&archive_path(1));
    assert_eq!(status(&reader).await.unwrap(), before);
    long.one.chain.sweeper().sweep().await.unwrap();
    assert_eq!(status(&reader).await.unwrap(), before);
}
