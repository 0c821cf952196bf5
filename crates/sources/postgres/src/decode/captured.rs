//! The decoder against bytes of a real server (`fixtures/`, captured by `tests/it/capture.rs`).

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef};
use millrace_model::{Batch, ByteSize, Changes, Column, Sequence, TableName, TableSchema, TransactionEnd};

use crate::decode::message::{Message, Relation};
use crate::decode::reader::Malformed;
use crate::decode::row::{self, Scratch, Table};
use crate::position::moment;
use crate::types::BaseType;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn messages(form: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(fixture(&format!("changes.{form}.hex"))).unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

/// A table as the message alone describes it: with full old rows the key is `id`, while there is a large column.
fn table(relation: &Relation) -> Table {
    let base = |oid: u32, modifier| BaseType { name: oid.to_string(), oid, modifier, send: "textsend".into() };
    let mappings: Vec<_> = relation.columns.iter().map(|it| base(it.type_oid, it.modifier).mapping()).collect();
    let columns = relation.columns.iter().zip(&mappings).enumerate();
    let columns: Vec<_> = columns
        .map(|(i, (it, mapping))| Column {
            name: it.name.clone(),
            id: i as u32 + 1,
            kind: mapping.kind,
            type_name: it.type_oid.to_string(),
            nullable: true,
        })
        .collect();
    let key = if relation.columns.iter().any(|it| it.name == "big") { vec![0] } else { Vec::new() };
    let is_key = (0..columns.len()).map(|column| key.contains(&column)).collect();
    let schema = TableSchema { table: TableName::new([&relation.table]), source_id: String::new(), columns, key };
    Table { slot: 0, schema: Arc::new(schema), decoders: mappings.iter().map(|it| it.decoder).collect(), is_key }
}

fn decode(messages: &[Vec<u8>]) -> Result<Vec<Batch>, Malformed> {
    let mut into = Changes::new(Sequence(0), ByteSize::mib(1));
    let (mut described, mut scratch, mut begun) = (None, Scratch::default(), None);
    for message in messages {
        let wire = message.len();
        let parsed = Message::parse(message)?;
        let table = || described.as_ref().ok_or(Malformed("no table"));
        match parsed {
            Message::Begin(begin) => {
                begun = Some(begin);
                into.begin();
            }
            Message::Commit(commit) => {
                let begin = begun.ok_or(Malformed("no begin"))?;
                let (id, commit_time) = (begin.xid.to_string().into(), moment(begin.committed));
                into.commit(TransactionEnd { position: commit.end.position(), id, commit: commit_time });
            }
            Message::Relation(relation) => {
                let table = table_of(&relation, &mut into);
                described = Some(table);
            }
            Message::Insert { new, .. } => row::insert(table()?, &mut into, new, wire, &mut scratch)?,
            Message::Update { old, new, .. } => {
                row::update(table()?, &mut into, (message, old, new), wire, &mut scratch)?;
            }
            Message::Delete { old, .. } => row::delete(table()?, &mut into, old, wire, &mut scratch)?,
            Message::Truncate(relations) => {
                for _ in relations {
                    row::truncate(table()?, &mut into, wire)?;
                }
            }
            Message::StreamStart { .. }
            | Message::StreamStop
            | Message::StreamCommit(..)
            | Message::StreamAbort { .. } => return Err(Malformed("of protocol 2")),
            Message::Other => {}
        }
    }
    into.cut_open_transaction();
    into.take_all().map_err(|_error| Malformed("text"))
}

fn table_of(relation: &Relation, into: &mut Changes) -> Table {
    let table = table(relation);
    into.define(0, Arc::clone(&table.schema));
    table
}

fn cell(column: &ArrayRef, row: usize) -> String {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        // What arrow shows of a time zone hangs on the features that it is built with.
        Some(moments) if moments.is_valid(row) => format!("{} µs", moments.value(row)),
        _ => format!("{:?}", column.slice(row, 1)),
    }
}

/// Every cell of every row, in words.
fn shown(batches: &[Batch]) -> String {
    let mut out = String::new();
    for batch in batches {
        let names: Vec<_> = batch.schema.columns.iter().map(|it| format!("{} {}", it.name, it.kind)).collect();
        writeln!(out, "# {} key {:?}: {}", batch.schema.table, batch.schema.key, names.join(", ")).unwrap();
        for row in 0..batch.rows() {
            let cells: Vec<_> = batch.columns.iter().map(|column| cell(column, row)).collect();
            let cells = cells.join(" ").replace('\n', "");
            writeln!(out, "{} {cells}", batch.ops[row].letter() as char).unwrap();
        }
        writeln!(out, "unavailable {:?}\nexact {:?}", batch.unavailable, batch.exact).unwrap();
    }
    out
}

#[test]
fn captured_bytes_decode_to_what_was_expected_in_both_forms() {
    let expected = std::fs::read_to_string(fixture("changes.expected")).unwrap();
    for form in ["text", "binary"] {
        let messages = messages(form);
        assert!(messages.len() >= 14, "the fixture is whole");
        assert_eq!(shown(&decode(&messages).unwrap()), expected, "{form}");
    }
}

#[test]
fn damaged_bytes_are_refused_or_read_but_never_panic() {
    let mut random = 7u64;
    for form in ["text", "binary"] {
        let whole = messages(form);
        for _ in 0..3_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut damaged = whole.clone();
            let index = (random >> 33) as usize % damaged.len();
            let message = &mut damaged[index];
            let place = (random >> 13) as usize % message.len();
            match random >> 61 {
                0..=2 => message.truncate(place),
                3..=5 => message[place] ^= 1 << (random & 7),
                _ => message[place] = (random >> 5) as u8,
            }
            drop(decode(&damaged));
        }
    }
}

#[test]
#[ignore = "no test: writes the expectation anew, by hand, after `capture` in tests/it has written the fixtures"]
fn bless() {
    std::fs::write(fixture("changes.expected"), shown(&decode(&messages("text")).unwrap())).unwrap();
}
