//! `fsck`: a sound lake passes, and each breach is found and named.

use std::sync::Arc;

use millrace_files::names::{commit_path, sha256_hex};
use millrace_files::{CommitJson, FileJson, FsckReport, LocalStore, MemoryStore, OpsJson, fsck};
use millrace_model::{Batch, Clock, Op, Origin, Sequence, SnapshotDone, StagedFile, TableSchema};

use crate::lake::{Row, SetClock, Writer, batches, settings, table, version_of, writer};

/// Commits 1 (claim), 2 (sequences 1–3, two transactions), 3 (4–5), 4 (heartbeat), 5 (claim), 6 (6).
async fn sound_lake() -> MemoryStore {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let orders = table("orders");
    one.commit(&orders, &[&[(Op::Create, 1, Some("a")), (Op::Create, 2, Some("b"))], &[(Op::Update, 1, None)]]).await;
    one.commit(&orders, &[&[(Op::Delete, 2, None)], &[(Op::Create, 3, Some("c"))]]).await;
    one.round += 1;
    let heartbeat = one.round_of(Vec::new());
    one.commit_round(&heartbeat).await;
    let mut two = Writer::start(&store, "two").await;
    two.transaction = 1000;
    two.commit(&orders, &[&[(Op::Truncate, 0, None)]]).await;
    store
}

async fn check(store: &MemoryStore) -> FsckReport {
    fsck(&writer(store, "fsck")).await.unwrap()
}

/// The first breach: its invariant, and its words.
async fn breach(store: &MemoryStore) -> (&'static str, String) {
    let report = check(store).await;
    let breach = report.breach.expect("a breach");
    assert!(!report.ok);
    (breach.invariant, breach.message)
}

/// Changes commit `number`, and links the later ones anew.
fn rewrite(store: &MemoryStore, number: u64, change: impl FnOnce(&mut CommitJson)) {
    let read = |number: u64| -> Option<CommitJson> {
        serde_json::from_slice(store.contents().get(&commit_path(number))?).ok()
    };
    let mut commit = read(number).unwrap();
    change(&mut commit);
    let mut bytes = serde_json::to_vec(&commit).unwrap();
    store.put(&commit_path(number), bytes.clone());
    let mut next = number + 1;
    while let Some(mut commit) = read(next) {
        commit.previous.as_mut().unwrap().sha256 = sha256_hex(&bytes);
        bytes = serde_json::to_vec(&commit).unwrap();
        store.put(&commit_path(next), bytes.clone());
        next += 1;
    }
}

fn first_file(store: &MemoryStore, number: u64) -> FileJson {
    let commit: CommitJson = serde_json::from_slice(&store.contents()[&commit_path(number)]).unwrap();
    commit.files[0].clone()
}

/// A file with these rows after sequence `after`, put in the place of the one of commit `number`.
async fn replace_file(store: &MemoryStore, number: u64, after: u64, transaction: u64, rows: &[&[Row<'_>]]) {
    let elsewhere = MemoryStore::new();
    let mut forger = Writer::start(&elsewhere, "forger").await;
    (forger.sequence, forger.transaction) = (after, transaction);
    let staged = forger.stage(&table("orders"), rows).await;
    let path = format!("shop/public/orders/v0001/2026-11-22/14/{number:012}-000099-0000.parquet");
    store.put(&path, elsewhere.contents()[&staged[0].path].to_vec());
    rewrite(store, number, |commit| commit.files = vec![FileJson { path, ..file_json(&staged[0]) }]);
}

fn file_json(file: &StagedFile) -> FileJson {
    FileJson {
        path: file.path.clone(),
        table: file.table.to_string(),
        schema_version: file.schema_version,
        rows: file.rows,
        ops: OpsJson {
            c: file.ops.create,
            u: file.ops.update,
            d: file.ops.delete,
            t: file.ops.truncate,
            r: file.ops.read,
        },
        bytes: file.bytes,
        sha256: file.sha256.clone(),
        first_sequence: file.first_sequence.0,
        last_sequence: file.last_sequence.0,
        first_commit_ts: file.first_commit,
        last_commit_ts: file.last_commit,
        snapshot: file.snapshot,
    }
}

#[tokio::test]
async fn a_sound_lake_passes() {
    let store = sound_lake().await;
    let report = check(&store).await;
    let expected = FsckReport { ok: true, head: 6, files: 3, rows: 6, leftovers: 0, breach: None };
    assert_eq!(report, expected);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(json, r#"{"ok":true,"head":6,"files":3,"rows":6,"leftovers":0,"breach":null}"#);
    assert!(check(&MemoryStore::new()).await.ok, "an empty root is sound");
}

#[tokio::test]
async fn a_lake_on_a_disk_passes_too() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SetClock::new();
    let store = Arc::new(LocalStore::new(folder.path().join("lake")));
    let files = millrace_files::Files::new(settings("one"), store, Arc::new(clock.clone()));
    let mut one = Writer::over(files, clock).await;
    one.commit(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
    one.stage(&table("orders"), &[&[(Op::Create, 2, Some("never committed"))]]).await;
    let report = fsck(&one.files).await.unwrap();
    assert_eq!((report.ok, report.files, report.rows, report.leftovers), (true, 1, 1, 1));
}

#[tokio::test]
async fn a_file_that_no_commit_names_is_a_leftover_and_no_breach() {
    let store = sound_lake().await;
    store.put("shop/public/orders/v0001/2026-11-22/14/000000000001-000009-0000.parquet", &b"half"[..]);
    let report = check(&store).await;
    assert_eq!((report.ok, report.leftovers), (true, 1));
}

#[tokio::test]
async fn i1_a_hole_a_broken_link_and_a_falling_sequence_are_found() {
    for number in 1..=5 {
        let store = sound_lake().await;
        store.remove(&commit_path(number));
        assert_eq!(breach(&store).await.0, "I1", "commit {number} is gone");
    }
    for number in 1..=5 {
        let store = sound_lake().await;
        let text = String::from_utf8_lossy(&store.contents()[&commit_path(number)]).replace("\"shop\"", "\"shoq\"");
        store.put(&commit_path(number), text.into_bytes());
        let (invariant, message) = breach(&store).await;
        assert_eq!(invariant, "I1");
        assert!(message.contains(&format!("commit {}", number + 1)), "{message}");
    }
    let store = sound_lake().await;
    rewrite(&store, 4, |commit| commit.checkpoint.sequence = 2);
    assert_eq!(breach(&store).await.0, "I1");
}

#[tokio::test]
async fn i2_a_missing_a_changed_and_a_twice_named_file_are_found() {
    let store = sound_lake().await;
    let file = first_file(&store, 3);
    let bytes = store.contents()[&file.path].to_vec();
    store.remove(&file.path);
    assert_eq!(breach(&store).await.0, "I2");
    let mut flipped = bytes.clone();
    flipped[10] ^= 1;
    store.put(&file.path, flipped);
    assert_eq!(breach(&store).await.0, "I2");
    store.put(&file.path, bytes[..bytes.len() - 1].to_vec());
    assert_eq!(breach(&store).await.0, "I2");
    store.put(&file.path, bytes);
    assert!(check(&store).await.ok);
    rewrite(&store, 6, |commit| commit.files.push(file));
    assert_eq!(breach(&store).await.0, "I2");
}

#[tokio::test]
async fn i2_counts_and_sequences_that_a_file_has_not_are_found() {
    type Spoil = fn(&mut FileJson);
    let spoils: [Spoil; 3] = [
        |file| (file.ops.c, file.ops.d) = (file.ops.d + file.ops.c, 0),
        |file| file.first_sequence += 1,
        |file| file.rows += 1,
    ];
    for spoil in spoils {
        let store = sound_lake().await;
        rewrite(&store, 3, |commit| spoil(&mut commit.files[0]));
        assert_eq!(breach(&store).await.0, "I2");
    }
}

#[tokio::test]
async fn i2_a_missing_state_file_is_found() {
    let store = sound_lake().await;
    for path in store.contents().into_keys().filter(|path| path.starts_with("_millrace/state/")) {
        let bytes = store.contents()[&path].clone();
        store.remove(&path);
        assert_eq!(breach(&store).await.0, "I2", "{path}");
        store.put(&path, bytes);
    }
}

#[tokio::test]
async fn i3_sequences_that_lack_or_come_twice_are_found() {
    let store = sound_lake().await;
    rewrite(&store, 3, |commit| commit.files.clear());
    assert_eq!(breach(&store).await.0, "I3");
    // 3 and 4 instead of 4 and 5: one of the commit before, and one that lacks.
    let store = sound_lake().await;
    replace_file(&store, 3, 2, 500, &[&[(Op::Create, 8, Some("x")), (Op::Create, 9, Some("y"))]]).await;
    let (invariant, message) = breach(&store).await;
    assert_eq!(invariant, "I3");
    assert!(message.contains("sequence 3"), "{message}");
    // One sequence in two files of one commit.
    let store = sound_lake().await;
    let elsewhere = first_file(&store, 3);
    replace_file(&store, 3, 3, 500, &[&[(Op::Create, 8, Some("x"))]]).await;
    let forged = first_file(&store, 3);
    let copy = forged.path.replace("-0000.", "-0001.");
    store.put(&copy, store.contents()[&forged.path].to_vec());
    rewrite(&store, 3, |commit| commit.files.push(FileJson { path: copy, ..forged }));
    let (invariant, message) = breach(&store).await;
    assert_eq!(invariant, "I3");
    assert!(message.contains("a second time"), "{message}");
    assert_eq!(elsewhere.rows, 2);
}

#[tokio::test]
async fn i3_sequences_of_removed_files_may_lack_and_no_others() {
    let store = sound_lake().await;
    let file = first_file(&store, 3);
    rewrite(&store, 6, |commit| commit.removed = [file.path.clone()].into());
    assert!(check(&store).await.ok, "still there");
    store.remove(&file.path);
    let report = check(&store).await;
    assert_eq!((report.ok, report.files, report.rows), (true, 2, 4));
    rewrite(&store, 3, |commit| (commit.files[0].first_sequence, commit.files[0].last_sequence) = (5, 5));
    let (invariant, message) = breach(&store).await;
    assert_eq!(invariant, "I3");
    assert!(message.contains("sequence 4"), "{message}");
}

#[tokio::test]
async fn i4_a_transaction_in_two_commits_is_found() {
    // The same transaction again, with the next sequences.
    let store = sound_lake().await;
    replace_file(&store, 3, 3, 1, &[&[(Op::Create, 1, Some("a")), (Op::Create, 2, Some("b"))]]).await;
    let (invariant, message) = breach(&store).await;
    assert_eq!(invariant, "I4");
    assert!(message.contains("commits 2 and 3"), "{message}");
}

#[tokio::test]
async fn i4_a_transaction_that_is_cut_is_found() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let orders = table("orders");
    let rows: &[Row<'_>] = &[(Op::Create, 1, Some("a")), (Op::Create, 2, Some("b")), (Op::Create, 3, Some("c"))];
    for (from, to) in [(0, 2), (2, 3)] {
        one.round += 1;
        let version = version_of(&mut one.registry, &orders);
        let mut round = one.chain.stager().round(one.round, one.clock.now());
        for batch in batches(&orders, 0, 1, &[rows]) {
            round.write(cut(batch, from, to), version).await.unwrap();
        }
        let files = round.finish().await.unwrap();
        let round = one.round_of(files);
        one.commit_round(&round).await;
    }
    let (invariant, message) = breach(&store).await;
    assert_eq!(invariant, "I4");
    assert!(message.contains("commit 3"), "{message}");
}

/// Some rows of a batch of one transaction.
fn cut(batch: Batch, from: usize, to: usize) -> Batch {
    let Origin::Stream { sequences, runs } = batch.origin else { panic!("a batch of the stream") };
    Batch {
        columns: batch.columns.iter().map(|column| column.slice(from, to - from)).collect(),
        ops: batch.ops[from..to].to_vec(),
        origin: Origin::Stream { sequences: sequences[from..to].to_vec(), runs },
        ..batch
    }
}

#[tokio::test]
async fn i5_a_key_twice_in_a_finished_snapshot_is_found() {
    for (keys, ok) in [([1, 2], true), ([1, 1], false)] {
        let store = MemoryStore::new();
        let mut one = Writer::start(&store, "one").await;
        commit_snapshot(&mut one, &table("orders"), &keys).await;
        let report = check(&store).await;
        assert_eq!(report.ok, ok, "{report:?}");
        assert_eq!(report.breach.map(|breach| breach.invariant), (!ok).then_some("I5"));
    }
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    commit_snapshot(&mut one, &crate::lake::keyless("orders"), &[1, 1]).await;
    assert!(check(&store).await.ok, "without a key equal rows are two rows");
}

/// Commits a finished snapshot 1 with one row for each key, each in its own file.
pub(crate) async fn commit_snapshot(one: &mut Writer, schema: &Arc<TableSchema>, keys: &[i64]) {
    let round = crate::lake::snapshot_round(one, schema, 1, keys).await;
    let mut entry = (**one.registry.get(&schema.table).unwrap()).clone();
    entry.snapshot = Some(SnapshotDone { id: 1, sequence: Sequence(one.sequence) });
    one.registry.put(entry);
    let round = millrace_model::Round { registry: one.registry.clone(), ..round };
    one.commit_round(&round).await;
}
