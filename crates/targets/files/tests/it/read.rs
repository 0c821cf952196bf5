//! `read`: rows as JSON lines, and the current rows by the readers' rule.

use std::sync::Arc;

use millrace_files::{MemoryStore, read};
use millrace_model::{
    ByteSize, Changes, Clock, ColumnBuilder, CommitKind, Fault, Kind, Op, Sequence, TableName, TableSchema,
};

use crate::fsck::commit_snapshot;
use crate::lake::{Writer, append, column, end_of, keyless, snapshot_round, table, version_of, writer};

async fn lines(store: &MemoryStore, table: &str, state: bool) -> Result<Vec<String>, Fault> {
    let mut lines = Vec::new();
    let mut out = |line: &str| {
        lines.push(line.to_owned());
        Ok(())
    };
    read(&writer(store, "reader"), table, state, &mut out).await?;
    Ok(lines)
}

/// The current rows as `id:note`.
async fn current(store: &MemoryStore, table: &str) -> Vec<String> {
    let lines = lines(store, table, true).await.unwrap();
    let mut rows: Vec<String> = lines
        .iter()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{}:{}", row["id"], row["note"].as_str().unwrap_or("null"))
        })
        .collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn flat_lines_have_every_column_in_order() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.commit(&table("orders"), &[&[(Op::Create, 1, Some("a \"b\""))], &[(Op::Update, 1, None)]]).await;
    let lines = lines(&store, "public.orders", false).await.unwrap();
    assert_eq!(
        lines,
        [
            concat!(
                r#"{"id":1,"note":"a \"b\"","_op":"c","_sequence":1,"_position":"0/00000001","_tx_id":"1","#,
                r#""_tx_index":1,"_commit_ts":"2026-11-22T14:00:01.000Z","_unavailable":null,"_exact":null,"_snapshot":null}"#
            ),
            concat!(
                r#"{"id":1,"note":null,"_op":"u","_sequence":2,"_position":"0/00000002","_tx_id":"2","#,
                r#""_tx_index":1,"_commit_ts":"2026-11-22T14:00:02.000Z","_unavailable":["note"],"_exact":null,"_snapshot":null}"#
            ),
        ]
    );
}

#[tokio::test]
async fn an_unknown_table_is_refused_with_64() {
    let store = MemoryStore::new();
    assert_eq!(lines(&store, "public.orders", false).await.unwrap_err().exit_code(), 64);
    drop(Writer::start(&store, "one").await);
    assert_eq!(lines(&store, "public.orders", true).await.unwrap_err().code, "FL-010");
}

#[tokio::test]
async fn a_name_with_a_dot_in_it_is_told_as_it_has_to_be_written() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.commit(&table("a.b"), &[&[(Op::Create, 1, Some("a"))]]).await;
    for asked in ["shop.public.a.b", "public.a.b"] {
        for state in [true, false] {
            let fault = lines(&store, asked, state).await.unwrap_err();
            assert_eq!(fault.code, "FL-010");
            assert!(fault.cure.contains("`shop.public.a%2Eb`"), "{}", fault.cure);
        }
    }
    assert_eq!(lines(&store, "public.a%2Eb", false).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_state_follows_inserts_updates_deletes_and_truncates() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let orders = table("orders");
    one.commit(&orders, &[&[(Op::Create, 1, Some("a")), (Op::Create, 2, Some("b")), (Op::Create, 3, Some("c"))]]).await;
    one.commit(&orders, &[&[(Op::Update, 1, Some("a2"))], &[(Op::Update, 1, None)], &[(Op::Delete, 2, None)]]).await;
    assert_eq!(current(&store, "shop.public.orders").await, ["1:a2", "3:c"]);
    one.commit(&orders, &[&[(Op::Truncate, 0, None), (Op::Create, 4, Some("d"))]]).await;
    assert_eq!(current(&store, "public.orders").await, ["4:d"]);
}

#[tokio::test]
async fn an_unavailable_value_is_carried_over_a_change_of_the_key_and_never_from_an_earlier_life() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let orders = table("orders");
    one.commit(&orders, &[&[(Op::Create, 1, Some("long"))], &[(Op::Update, 1, None)]]).await;
    one.commit(&orders, &[&[(Op::Delete, 1, None), (Op::Create, 2, None)]]).await;
    assert_eq!(current(&store, "public.orders").await, ["2:long"]);
    // Key 1 again, in a new life; then an update that leaves the value alone.
    one.commit(&orders, &[&[(Op::Create, 1, Some("new"))], &[(Op::Update, 1, None)], &[(Op::Update, 2, None)]]).await;
    assert_eq!(current(&store, "public.orders").await, ["1:new", "2:long"]);
    one.commit(&orders, &[&[(Op::Delete, 2, None)], &[(Op::Create, 3, Some("x"))], &[(Op::Create, 4, None)]]).await;
    assert_eq!(current(&store, "public.orders").await, ["1:new", "3:x", "4:null"]);
}

#[tokio::test]
async fn a_snapshot_row_wins_a_tie_and_loses_to_later_changes() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let orders = table("orders");
    one.commit(&orders, &[&[(Op::Create, 1, Some("old")), (Op::Create, 2, Some("old")), (Op::Delete, 2, None)]]).await;
    let snapshot = snapshot_round(&mut one, &orders, 1, &[1, 2, 3]).await;
    // The stream goes on before the snapshot's rows are committed.
    let ahead = one.round;
    one.round = ahead + 1;
    let mut changes = one.stage(&orders, &[&[(Op::Update, 1, None)], &[(Op::Delete, 3, None)]]).await;
    let mut round = one.round_of(changes.clone());
    changes.extend(snapshot.files.clone());
    (round.files, round.kind) = (changes, CommitKind::Changes);
    one.commit_round(&round).await;
    assert_eq!(current(&store, "public.orders").await, ["1:snapshot 1", "2:snapshot 1"]);
    let ops: Vec<String> = lines(&store, "public.orders", false)
        .await
        .unwrap()
        .iter()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{}{}", row["_op"].as_str().unwrap(), row["_sequence"])
        })
        .collect();
    assert_eq!(ops, ["c1", "c2", "d3", "r3", "r3", "r3", "u4", "d5"]);
}

#[tokio::test]
async fn of_two_snapshots_at_one_sequence_the_higher_id_wins() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let orders = table("orders");
    one.commit(&orders, &[&[(Op::Create, 1, Some("old"))]]).await;
    for id in [10, 9] {
        let round = snapshot_round(&mut one, &orders, id, &[1]).await;
        one.commit_round(&round).await;
    }
    assert_eq!(current(&store, "public.orders").await, ["1:snapshot 10"]);
}

#[tokio::test]
async fn without_a_key_the_state_is_a_multiset_above_its_snapshot() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let orders = keyless("orders");
    one.commit(&orders, &[&[(Op::Create, 1, Some("before the snapshot"))]]).await;
    commit_snapshot(&mut one, &orders, &[1, 1, 2]).await;
    assert_eq!(current(&store, "public.orders").await, ["1:snapshot 1", "1:snapshot 1", "2:snapshot 1"]);
    // A delete without a key carries every column.
    let mut changes = Changes::new(Sequence(one.sequence), ByteSize::mib(1));
    changes.define(0, Arc::clone(&orders));
    changes.begin();
    append(&mut changes, 0, (Op::Create, 1, Some("snapshot 1")));
    append(&mut changes, 0, (Op::Delete, 1, Some("snapshot 1")));
    append(&mut changes, 0, (Op::Delete, 1, Some("snapshot 1")));
    changes.commit(end_of(700));
    one.round += 1;
    let mut round = one.chain.stager().round(one.round, one.clock.now());
    for batch in changes.take_all().unwrap() {
        round.write(batch, 1).await.unwrap();
    }
    let files = round.finish().await.unwrap();
    let round = one.round_of(files);
    one.commit_round(&round).await;
    assert_eq!(current(&store, "public.orders").await, ["1:snapshot 1", "2:snapshot 1"]);
}

#[tokio::test]
async fn a_renamed_column_is_the_same_column_in_the_state() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let orders = table("orders");
    one.commit(&orders, &[&[(Op::Create, 1, Some("a"))]]).await;
    let mut renamed = (*orders).clone();
    renamed.columns[1].name = "remark".into();
    one.commit(&Arc::new(renamed), &[&[(Op::Create, 2, Some("b"))], &[(Op::Update, 1, None)]]).await;
    let lines = lines(&store, "public.orders", true).await.unwrap();
    assert_eq!(lines, [r#"{"id":1,"remark":"a"}"#, r#"{"id":2,"remark":"b"}"#]);
}

#[tokio::test]
async fn a_key_whose_column_id_was_unknown_for_a_while_is_the_same_key() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let orders = table("orders");
    one.commit(&orders, &[&[(Op::Create, 1, Some("a"))]]).await;
    // A log that lags behind a change of the table: the catalogue cannot tell its columns.
    let mut lagging = (*orders).clone();
    lagging.columns[0].id = 1601;
    let lagging = Arc::new(lagging);
    one.commit(&lagging, &[&[(Op::Create, 2, Some("b"))], &[(Op::Create, 3, Some("c"))]]).await;
    one.commit(&lagging, &[&[(Op::Update, 1, Some("d"))]]).await;
    one.commit(&orders, &[&[(Op::Delete, 2, None)]]).await;
    assert_eq!(current(&store, "public.orders").await, ["1:d", "3:c"]);
}

#[tokio::test]
async fn infinity_and_minus_infinity_are_two_keys() {
    // [semantics 9] A type that cannot hold them has a null for both; `_exact` tells them apart.
    let valid_to = Arc::new(TableSchema {
        table: TableName::new(["shop", "public", "prices"]),
        source_id: "1".into(),
        columns: vec![column("until", 1, Kind::Date), column("note", 2, Kind::Text)],
        key: vec![0],
    });
    let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
    changes.define(0, Arc::clone(&valid_to));
    changes.begin();
    for (op, until, note) in [
        (Op::Create, Some("infinity"), Some("a")),
        (Op::Create, Some("-infinity"), Some("b")),
        (Op::Create, None, Some("c")),
        (Op::Update, Some("-infinity"), Some("b2")),
        (Op::Delete, None, None),
    ] {
        let row = changes.row(0, op, 20).unwrap();
        match (until, &mut row.columns[0]) {
            (Some(until), _) => row.append_exact(0, until),
            (None, ColumnBuilder::Date(builder)) => builder.append_value(0),
            (None, _) => panic!("a date"),
        }
        if let ColumnBuilder::Text(builder) = &mut row.columns[1] {
            builder.append_option(note);
        }
    }
    changes.commit(end_of(1));
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let version = version_of(&mut one.registry, &valid_to);
    one.round = 1;
    let mut round = one.chain.stager().round(1, one.clock.now());
    for batch in changes.take_all().unwrap() {
        round.write(batch, version).await.unwrap();
    }
    let files = round.finish().await.unwrap();
    let round = one.round_of(files);
    one.commit_round(&round).await;
    let mut lines = lines(&store, "public.prices", true).await.unwrap();
    lines.sort();
    assert_eq!(lines, [r#"{"until":"-infinity","note":"b2"}"#, r#"{"until":"infinity","note":"a"}"#]);
}

#[tokio::test]
async fn every_kind_has_its_form() {
    let decimal = Kind::Decimal { precision: 10, scale: 2 };
    let wide = Kind::Decimal { precision: 38, scale: 0 };
    let kinds = [
        ("b", Kind::Bool),
        ("i1", Kind::Int8),
        ("i2", Kind::Int16),
        ("i4", Kind::Int32),
        ("i8", Kind::Int64),
        ("u8", Kind::UInt64),
        ("f4", Kind::Float32),
        ("f8", Kind::Float64),
        ("n", decimal),
        ("w", wide),
        ("t", Kind::Text),
        ("x", Kind::Bytes),
        ("d", Kind::Date),
        ("ti", Kind::Time),
        ("ts", Kind::Timestamp),
        ("tz", Kind::TimestampTz),
        ("iv", Kind::Interval),
        ("id", Kind::Uuid),
        ("j", Kind::Json),
        ("inf", Kind::Date),
    ];
    let columns = kinds.iter().enumerate().map(|(i, (name, kind))| column(name, i as u32 + 1, *kind)).collect();
    let schema = Arc::new(TableSchema {
        table: TableName::new(["shop", "public", "kinds"]),
        source_id: "1".into(),
        columns,
        key: vec![4, 19],
    });
    let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
    changes.define(0, Arc::clone(&schema));
    changes.begin();
    for value in [7i64, 0] {
        let row = changes.row(0, Op::Create, 100).unwrap();
        for column in &mut row.columns[..19] {
            match column {
                ColumnBuilder::Bool(builder) => builder.append_value(value != 0),
                ColumnBuilder::Int8(builder) => builder.append_value(value as i8),
                ColumnBuilder::Int16(builder) => builder.append_value(value as i16),
                ColumnBuilder::Int32(builder) => builder.append_value(value as i32),
                ColumnBuilder::Int64(builder) => builder.append_value(value),
                ColumnBuilder::UInt64(builder) => builder.append_value(u64::MAX - value as u64),
                ColumnBuilder::Float32(builder) => builder.append_value(if value == 0 { f32::NAN } else { 1.1 }),
                ColumnBuilder::Float64(builder) => {
                    builder.append_value(if value == 0 { f64::NEG_INFINITY } else { 0.1 });
                }
                ColumnBuilder::Decimal(builder) => builder.append_value(-i128::from(value)),
                ColumnBuilder::Text(builder) => builder.append_value("{\"a\": 1}"),
                ColumnBuilder::Bytes(builder) => builder.append_value([0xff, 0]),
                ColumnBuilder::Date(builder) => builder.append_value(-value as i32),
                ColumnBuilder::Time(builder) => builder.append_value(value * 1_000_001),
                ColumnBuilder::Timestamp(builder) => builder.append_value(value * 1_000_001),
            }
        }
        row.append_exact(19, if value == 0 { "infinity" } else { "-infinity" });
    }
    changes.commit(end_of(1));
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let version = version_of(&mut one.registry, &schema);
    one.round = 1;
    let mut round = one.chain.stager().round(1, one.clock.now());
    for batch in changes.take_all().unwrap() {
        round.write(batch, version).await.unwrap();
    }
    let files = round.finish().await.unwrap();
    let round = one.round_of(files);
    one.commit_round(&round).await;
    let mut lines = lines(&store, "public.kinds", true).await.unwrap();
    lines.sort();
    assert_eq!(
        lines,
        [
            concat!(
                r#"{"b":false,"i1":0,"i2":0,"i4":0,"i8":0,"u8":18446744073709551615,"f4":"NaN","f8":"-Infinity","#,
                r#""n":"0.00","w":"0","t":"{\"a\": 1}","x":"/wA=","d":"1970-01-01","ti":"00:00:00.000","#,
                r#""ts":"1970-01-01T00:00:00.000","tz":"1970-01-01T00:00:00.000Z","iv":"{\"a\": 1}","#,
                r#""id":"{\"a\": 1}","j":"{\"a\": 1}","inf":"infinity"}"#
            ),
            concat!(
                r#"{"b":true,"i1":7,"i2":7,"i4":7,"i8":7,"u8":18446744073709551608,"f4":1.1,"f8":0.1,"#,
                r#""n":"-0.07","w":"-7","t":"{\"a\": 1}","x":"/wA=","d":"1969-12-25","ti":"00:00:07.000007","#,
                r#""ts":"1970-01-01T00:00:07.000007","tz":"1970-01-01T00:00:07.000007Z","iv":"{\"a\": 1}","#,
                r#""id":"{\"a\": 1}","j":"{\"a\": 1}","inf":"-infinity"}"#
            ),
        ]
    );
    assert!(millrace_files::fsck(&one.files).await.unwrap().ok);
}
