//! The files of a round.

use std::sync::Arc;

use bytes::Bytes;
use millrace_files::names::sha256_hex;
use millrace_files::store::memory::{Answer, Moment, Step};
use millrace_files::{Files, MemoryStore, Settings};
use millrace_model::{ByteSize, Changes, Clock, Op, Remedy, Sequence};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::lake::{SetClock, Writer, append, batches, claim, end_of, settings, table, writer};

#[tokio::test]
async fn a_staged_file_is_what_it_says_it_is() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let files = one
        .stage(&table("orders"), &[&[(Op::Create, 1, Some("a")), (Op::Update, 1, None)], &[(Op::Delete, 1, None)]])
        .await;
    let [file] = &files[..] else { panic!("one file") };
    let bytes = store.contents()[&file.path].clone();
    assert_eq!((file.bytes, &file.sha256), (bytes.len() as u64, &sha256_hex(&bytes)));
    assert_eq!((file.rows, file.ops.create, file.ops.update, file.ops.delete), (3, 1, 1, 1));
    assert_eq!((file.first_sequence, file.last_sequence), (Sequence(1), Sequence(3)));
    assert_eq!((file.first_commit, file.last_commit), (Some(end_of(1).commit), Some(end_of(2).commit)));
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(&bytes)).unwrap();
    let names: Vec<&str> = reader.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names[..2], ["id", "note"]);
    assert_eq!(
        names[2..],
        ["_op", "_sequence", "_position", "_tx_id", "_tx_index", "_commit_ts", "_unavailable", "_exact", "_snapshot"]
    );
    let id = reader.parquet_schema().root_schema().get_fields()[0].get_basic_info().id();
    assert_eq!(id, 1);
}

#[tokio::test]
async fn thousands_of_quiet_tables_get_a_file_each() {
    let store = MemoryStore::new();
    let one = Writer::start(&store, "one").await;
    let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
    changes.begin();
    for slot in 0..2000 {
        changes.define(slot, table(&format!("t{slot}")));
        append(&mut changes, slot, (Op::Create, 1, Some("a")));
    }
    changes.commit(end_of(1));
    let mut round = one.chain.stager().round(1, one.clock.now());
    for batch in changes.take_all().unwrap() {
        round.write(batch, 1).await.unwrap();
    }
    let files = round.finish().await.unwrap();
    assert_eq!(files.len(), 2000);
    assert!(files.iter().all(|file| file.rows == 1 && store.contents().contains_key(&file.path)));
}

#[tokio::test]
async fn batches_of_one_table_share_a_file_in_sequence_order_whatever_their_size() {
    let store = MemoryStore::new();
    let one = Writer::start(&store, "one").await;
    let schema = table("orders");
    let large = "x".repeat(2 << 20);
    let mut round = one.chain.stager().round(1, one.clock.now());
    for (i, note) in ["small", &large, "small", "small"].iter().enumerate() {
        for batch in batches(&schema, i as u64, i as u64 + 1, &[&[(Op::Create, 1, Some(note))]]) {
            round.write(batch, 1).await.unwrap();
        }
    }
    let files = round.finish().await.unwrap();
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [4]);
    assert_eq!((files[0].first_sequence, files[0].last_sequence), (Sequence(1), Sequence(4)));
}

#[tokio::test]
async fn small_batches_of_one_table_are_one_file_however_many_they_are() {
    let store = MemoryStore::new();
    let one = Writer::start(&store, "one").await;
    let (schema, note) = (table("orders"), "x".repeat(300 << 10));
    let mut round = one.chain.stager().round(1, one.clock.now());
    for i in 0..60 {
        for batch in batches(&schema, i, i + 1, &[&[(Op::Create, 1, Some(&note))]]) {
            round.write(batch, 1).await.unwrap();
        }
    }
    let files = round.finish().await.unwrap();
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [60]);
}

#[tokio::test]
async fn rows_that_come_out_of_order_are_refused() {
    let store = MemoryStore::new();
    let one = Writer::start(&store, "one").await;
    let schema = table("orders");
    let mut round = one.chain.stager().round(1, one.clock.now());
    for after in [5, 3] {
        for batch in batches(&schema, after, 1, &[&[(Op::Create, 1, Some("a"))]]) {
            round.write(batch, 1).await.unwrap();
        }
    }
    assert_eq!(round.finish().await.unwrap_err().remedy, Remedy::Defect);
}

#[tokio::test]
async fn a_large_value_begins_a_part_that_keeps_no_copy_of_it() {
    let store = MemoryStore::new();
    let one = Writer::start(&store, "one").await;
    let schema = table("orders");
    let notes: Vec<String> = (0..40_000u64).map(|i| sha256_hex(&i.to_le_bytes())).collect();
    let small: Vec<crate::lake::Row<'_>> = notes.iter().map(|note| (Op::Create, 1, Some(note.as_str()))).collect();
    let large = "x".repeat(2 << 20);
    let mut round = one.chain.stager().round(1, one.clock.now());
    let mut after = 0;
    for rows in [&small[..], &[(Op::Create, 1, Some(&*large))], &small[..]] {
        for batch in batches(&schema, after, after + 1, &[rows]) {
            round.write(batch, 1).await.unwrap();
        }
        after += rows.len() as u64;
    }
    let parts = round.finish().await.unwrap();
    let rows: Vec<u64> = parts.iter().map(|part| part.rows).collect();
    assert_eq!(rows, [40_000, 40_001]);
    assert_eq!(parts[1].first_sequence, Sequence(40_001));
}

#[tokio::test]
async fn a_file_that_has_grown_large_goes_on_in_the_next_part() {
    let store = MemoryStore::new();
    let small = Settings { file_max_bytes: ByteSize::kib(64), ..settings("one") };
    let files = Files::new(small, Arc::new(store.clone()), Arc::new(SetClock::new()));
    let chain = claim(&files).await;
    let schema = table("orders");
    let notes: Vec<String> = (0..100_000u64).map(|i| sha256_hex(&i.to_le_bytes())).collect();
    let rows: Vec<crate::lake::Row<'_>> = notes.iter().map(|note| (Op::Create, 1, Some(note.as_str()))).collect();
    let mut round = chain.stager().round(1, SetClock::new().now());
    for batch in batches(&schema, 0, 1, &[&rows]) {
        round.write(batch, 1).await.unwrap();
    }
    let parts = round.finish().await.unwrap();
    assert!(parts.len() > 2, "{} parts", parts.len());
    let mut next = 1;
    for (i, part) in parts.iter().enumerate() {
        assert!(part.path.ends_with(&format!("-{i:04}.parquet")), "{}", part.path);
        assert_eq!(part.first_sequence.0, next);
        assert_eq!(part.rows, part.last_sequence.0 - part.first_sequence.0 + 1);
        next = part.last_sequence.0 + 1;
    }
    assert_eq!(next, 100_001);
}

#[tokio::test]
async fn a_data_name_is_never_written_twice() {
    let store = MemoryStore::new();
    let one = Writer::start(&store, "one").await;
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let mut round = one.chain.stager().round(2, one.clock.now());
        for batch in batches(&table("orders"), 0, 1, &[&[(Op::Create, 1, Some("a"))]]) {
            round.write(batch, 1).await.unwrap();
        }
        outcomes.push(round.finish().await.is_ok());
    }
    assert_eq!(outcomes, [true, false]);
}

#[tokio::test]
async fn a_round_that_has_failed_is_never_finished() {
    let store = MemoryStore::new();
    let one = claim(&writer(&store, "one")).await;
    drop(one);
    let failing = store.with_hook(|call| match (call.step, call.moment) {
        (Step::Publish, Moment::Before) => Answer::Lose,
        _ => Answer::Go,
    });
    let mut two = Writer::start(&failing, "two").await;
    two.round = 1;
    let mut round = two.chain.stager().round(1, two.clock.now());
    for batch in batches(&table("orders"), 0, 1, &[&[(Op::Create, 1, Some("a"))]]) {
        round.write(batch, 1).await.unwrap();
    }
    assert_eq!(round.finish().await.unwrap_err().remedy, Remedy::Retry);
}
