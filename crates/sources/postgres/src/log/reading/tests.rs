//! Boundaries, skipped transactions and marks, where positions touch each other to the byte.

use std::sync::Arc;

use millrace_model::{ByteSize, Registry, Sequence};

use super::*;
use crate::types::BaseType;

fn reading(from: u64) -> (Reading, Changes) {
    let mut reading = Reading::new(Known::new("d", &Registry::default()), Lsn(from), HashMap::new());
    let base = BaseType { name: "integer".into(), oid: 23, modifier: -1, send: "int4send".into() };
    let schema = millrace_model::TableSchema {
        table: millrace_model::TableName::new(["t"]),
        source_id: String::new(),
        columns: vec![millrace_model::Column {
            name: "id".into(),
            id: 1,
            kind: base.mapping().kind,
            type_name: base.name.clone(),
            nullable: false,
        }],
        key: vec![0],
    };
    let schema = Arc::new(schema);
    let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
    changes.define(0, Arc::clone(&schema));
    let table = Table { slot: 0, schema, decoders: vec![base.mapping().decoder], is_key: vec![true] };
    reading.tables.insert(7, Described::Ours(table, true));
    (reading, changes)
}

fn begin(commit_start: u64) -> Vec<u8> {
    [&b"B"[..], &commit_start.to_be_bytes(), &[0; 8], &[0, 0, 0, 9]].concat()
}

fn commit(commit_start: u64, end: u64) -> Vec<u8> {
    [&b"C\0"[..], &commit_start.to_be_bytes(), &end.to_be_bytes(), &[0; 8]].concat()
}

fn due(reading: &mut Reading) -> Option<Mark> {
    reading.due_mark(None).map(|watched| watched.mark)
}

fn before(reading: &mut Reading, commit_start: u64) -> Option<Mark> {
    reading.mark_before(&begin(commit_start)).unwrap().map(|watched| watched.mark)
}

const INSERT: &[u8] = b"I\0\0\0\x07N\0\x01t\0\0\0\x011";

fn keepalive(end: u64) -> Vec<u8> {
    [&b"k"[..], &end.to_be_bytes(), &[0; 8], &[0]].concat()
}

/// One transaction with one row.
fn transaction(reading: &mut Reading, changes: &mut Changes, commit_start: u64, end: u64) {
    for message in [begin(commit_start), INSERT.to_vec(), commit(commit_start, end)] {
        reading.message(&message, message.len(), changes).unwrap();
    }
}

#[test]
fn a_transaction_whose_commit_record_starts_where_the_last_one_ended_is_not_skipped() {
    let (mut reading, mut changes) = reading(100);
    transaction(&mut reading, &mut changes, 60, 100);
    assert_eq!((changes.transactions(), reading.position), (0, Lsn(100)));
    transaction(&mut reading, &mut changes, 100, 140);
    assert_eq!((changes.transactions(), changes.position()), (1, Some(&Lsn(140).position())));
}

#[test]
fn a_keepalive_inside_a_transaction_moves_nothing() {
    let (mut reading, mut changes) = reading(100);
    let mark = reading.watch(Lsn(180), Vec::new());
    reading.message(&begin(120), 21, &mut changes).unwrap();
    reading.keepalive(&keepalive(200), &mut changes).unwrap();
    assert_eq!((reading.position, due(&mut reading)), (Lsn(100), None));
    reading.message(&commit(120, 150), 26, &mut changes).unwrap();
    assert_eq!((reading.position, due(&mut reading)), (Lsn(150), None));
    reading.keepalive(&keepalive(180), &mut changes).unwrap();
    assert_eq!(due(&mut reading), Some(mark));
}

#[test]
fn a_keepalive_from_before_the_position_does_not_move_it_back() {
    let (mut reading, mut changes) = reading(100);
    reading.keepalive(&keepalive(40), &mut changes).unwrap();
    assert_eq!((reading.position, changes.position()), (Lsn(100), None));
}

#[test]
fn a_mark_stands_before_a_commit_record_that_starts_at_its_position() {
    let (mut reading, mut changes) = reading(100);
    let mark = reading.watch(Lsn(140), Vec::new());
    assert_eq!(before(&mut reading, 120), None);
    transaction(&mut reading, &mut changes, 120, 139);
    assert_eq!(before(&mut reading, 140), Some(mark));
    assert_eq!(before(&mut reading, 140), None);
}

fn piece(reading: &mut Reading, changes: &mut Changes, xid: u32, ends: bool) {
    let start = [&b"S"[..], &xid.to_be_bytes(), &[1]].concat();
    let insert = [b"I", &xid.to_be_bytes()[..], &INSERT[1..]].concat();
    reading.message(&start, start.len(), changes).unwrap();
    let table = |reading: &Reading| match reading.tables.get(&7) {
        Some(Described::Ours(table, _)) => {
            Table { slot: 0, schema: Arc::clone(&table.schema), decoders: table.decoders.clone(), is_key: vec![true] }
        }
        _ => panic!("described above"),
    };
    let table = table(reading);
    changes.define(0, Arc::clone(&table.schema));
    reading.describe(7, Described::Ours(table, true));
    reading.message(&insert, insert.len(), changes).unwrap();
    if ends {
        reading.message(b"E", 1, changes).unwrap();
    }
}

fn stream_commit(xid: u32, commit_start: u64, end: u64) -> Vec<u8> {
    [&b"c"[..], &xid.to_be_bytes(), &[0], &commit_start.to_be_bytes(), &end.to_be_bytes(), &[0; 8]].concat()
}

#[test]
fn a_keepalive_inside_a_piece_moves_nothing_and_one_between_pieces_does() {
    let (mut reading, mut changes) = reading(100);
    piece(&mut reading, &mut changes, 5, false);
    reading.keepalive(&keepalive(200), &mut changes).unwrap();
    assert_eq!((reading.position, changes.position()), (Lsn(100), None));
    reading.message(b"E", 1, &mut changes).unwrap();
    reading.keepalive(&keepalive(200), &mut changes).unwrap();
    assert_eq!((reading.position, changes.position()), (Lsn(200), Some(&Lsn(200).position())));
}

#[test]
fn a_mark_stands_before_the_commit_of_a_transaction_in_progress_and_not_before_its_pieces() {
    let (mut reading, mut changes) = reading(100);
    let mark = reading.watch(Lsn(140), Vec::new());
    piece(&mut reading, &mut changes, 5, true);
    assert_eq!(due(&mut reading), None);
    let watched = reading.mark_before(&stream_commit(5, 140, 180)).unwrap();
    assert_eq!(watched.map(|watched| watched.mark), Some(mark));
}

#[test]
fn a_transaction_in_progress_that_committed_before_the_checkpoint_is_dropped() {
    let (mut reading, mut changes) = reading(100);
    reading.counted.0.insert(TableName::new(["t"]), None);
    for (xid, commit_start, end) in [(5, 60, 100), (6, 100, 140)] {
        piece(&mut reading, &mut changes, xid, true);
        let message = stream_commit(xid, commit_start, end);
        reading.message(&message, message.len(), &mut changes).unwrap();
    }
    assert_eq!((changes.transactions(), changes.sequence()), (1, Sequence(1)));
    assert_eq!((reading.position, changes.position()), (Lsn(140), Some(&Lsn(140).position())));
}

#[test]
fn a_commit_inside_a_piece_is_refused() {
    let (mut reading, mut changes) = reading(100);
    piece(&mut reading, &mut changes, 5, false);
    assert!(reading.message(&stream_commit(5, 140, 180), 30, &mut changes).is_err());
    assert!(reading.message(&begin(140), 21, &mut changes).is_err());
}
