//! What is counted is what the builders' rows take in memory.

use std::sync::Arc;

use arrow_array::Array;

use crate::batch::{Batch, Image};
use crate::changes::in_progress::tests::end;
use crate::changes::{Changes, TRANSACTION_BYTES, TableChanges};
use crate::column::ColumnBuilder;
use crate::position::Sequence;
use crate::schema::{Column, Kind, Op, TableName, TableSchema};
use crate::size::ByteSize;

const ROWS: u64 = 1_000;
const NUMERIC: Kind = Kind::Decimal { precision: 12, scale: 2 };

fn changes(kind: Kind, columns: u32, batch_limit: u64) -> Changes {
    let column = |id: u32| Column { name: format!("c{id}"), id, kind, type_name: "t".into(), nullable: true };
    let schema = TableSchema {
        table: TableName::new(["d", "s", "t"]),
        source_id: "1".into(),
        columns: (1..=columns).map(column).collect(),
        key: vec![0],
    };
    let mut changes = Changes::new(Sequence(0), ByteSize::bytes(batch_limit));
    changes.define(0, Arc::new(schema.clone()));
    changes.enter(7);
    changes.define(0, Arc::new(schema));
    changes.leave();
    changes.begin();
    changes
}

fn nulls(row: &mut TableChanges) {
    row.columns.iter_mut().for_each(ColumnBuilder::append_null);
}

/// Rows without a value, of one byte a column.
fn rows(changes: &mut Changes, columns: usize) {
    for _ in 0..ROWS {
        nulls(changes.row(0, Op::Create, columns).unwrap());
    }
}

/// What the rows of a batch take.
fn memory(batch: &Batch) -> u64 {
    let columns = batch.columns.iter().chain(&batch.old);
    columns.map(|column| column.to_data().get_slice_memory_size().unwrap() as u64).sum::<u64>()
        + batch.rows() as u64 * 9
}

#[test]
fn a_null_counts_with_what_its_builder_takes() {
    let numbers =
        [Kind::Bool, Kind::Int8, Kind::Int16, Kind::Int32, Kind::Int64, Kind::UInt64, Kind::Float32, Kind::Float64];
    let others = [NUMERIC, Kind::Text, Kind::Bytes, Kind::Date, Kind::Time, Kind::Timestamp, Kind::TimestampTz];
    let texts = [Kind::Interval, Kind::Uuid, Kind::Json];
    for kind in numbers.into_iter().chain(others).chain(texts) {
        let mut changes = changes(kind, 400, u64::MAX);
        rows(&mut changes, 400);
        let (held, open) = (changes.held_bytes(), changes.open_bytes());
        assert_eq!((changes.wire_bytes(), open), (400 * ROWS, held), "{kind}");
        changes.commit(end(1));
        let memory = memory(&changes.take_all().unwrap()[0]).max(400 * ROWS);
        assert!(
            held >= memory - memory / 100 && held <= memory + memory / 10,
            "{kind}: {held} are counted, {memory} are taken"
        );
    }
}

#[test]
fn a_batch_is_worth_taking_when_it_is_large_in_memory_and_then_counts_no_more() {
    let mut changes = changes(NUMERIC, 400, 1 << 20);
    rows(&mut changes, 400);
    changes.commit(end(1));
    assert!(changes.wants_return() && changes.wire_bytes() < 1 << 20);
    assert_eq!(changes.take_ready().unwrap().len(), 1);
    assert_eq!(changes.held_bytes(), TRANSACTION_BYTES);
}

#[test]
fn rows_in_progress_count_alike_and_count_no_more_once_they_are_taken() {
    let mut changes = changes(NUMERIC, 400, u64::MAX);
    rows(&mut changes, 400);
    let whole = changes.held_bytes();
    changes.commit(end(1));
    changes.enter(7);
    rows(&mut changes, 400);
    changes.leave();
    assert_eq!(changes.in_progress_bytes(), whole);
    changes.take_largest().unwrap().unwrap();
    assert_eq!(changes.in_progress_bytes(), 0);
}

#[test]
fn what_lies_beside_the_builders_counts_too() {
    let one = |fill: &dyn Fn(&mut TableChanges)| {
        let mut changes = changes(Kind::Int64, 100, u64::MAX);
        for _ in 0..ROWS {
            fill(changes.row(0, Op::Update, 100).unwrap());
        }
        changes.held_bytes() / ROWS
    };
    let null = one(&nulls);
    let unavailable = one(&|row| (0..100).for_each(|column| row.append_unavailable(column)));
    let exact = one(&|row| (0..100).for_each(|column| row.append_exact(column, "infinity")));
    let old = one(&|row| {
        nulls(row);
        nulls(row.begin_old(Image::Full));
    });
    assert!(
        unavailable > null + 790 && exact > null + 4_700 && old > 2 * null - 10,
        "{null} {unavailable} {exact} {old}"
    );
}
