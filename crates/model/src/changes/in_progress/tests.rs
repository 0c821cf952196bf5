//! The same history, handed over whole and while in progress, gives the same rows.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::*;
use crate::column::ColumnBuilder;
use crate::position::{Position, Sequence};
use crate::schema::{Column, Kind, TableName};
use crate::size::ByteSize;
use crate::time::Timestamp;

fn schema(table: usize, columns: usize) -> Arc<TableSchema> {
    let column = |number: usize| Column {
        name: format!("c{number}"),
        id: number as u32,
        kind: if number == 0 { Kind::Int64 } else { Kind::Text },
        type_name: "t".into(),
        nullable: true,
    };
    Arc::new(TableSchema {
        table: TableName::new(["d", "s", &format!("t{table}")]),
        source_id: "1".into(),
        columns: (0..columns).map(column).collect(),
        key: vec![0],
    })
}

pub(in crate::changes) fn end(number: u32) -> TransactionEnd {
    TransactionEnd {
        position: Position::new(format!("p{number}")),
        id: Arc::from(format!("t{number}")),
        commit: Timestamp(i64::from(number)),
    }
}

fn append(changes: &mut Changes, table: usize, id: i64) {
    let row = changes.row(table, Op::Create, 10).unwrap();
    if let ColumnBuilder::Int64(builder) = &mut row.columns[0] {
        builder.append_value(id);
    }
    for column in 1..row.columns.len() {
        match id % 3 {
            0 => row.append_unavailable(column),
            1 => row.append_exact(column, format!("exact {id}")),
            _ => row.columns[column].append_null(),
        }
    }
}

/// A row of a script: its table, and the number of columns that the table has by then.
#[derive(Clone, Debug)]
struct Row {
    part: u32,
    table: usize,
    columns: usize,
    id: i64,
}

#[derive(Clone, Debug)]
struct Scripted {
    id: u32,
    rows: Vec<Row>,
    undone: Vec<u32>,
    commits: bool,
}

/// Numbers that are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn history(chance: &mut Chance) -> Vec<Scripted> {
    let mut next = 0;
    let transactions = (1..=6).map(|number| {
        let id = number * 100;
        let mut columns = [2, 2, 2];
        let rows = (0..chance.below(30)).map(|_| {
            let table = chance.below(3) as usize;
            columns[table] += usize::from(chance.below(12) == 0);
            next += 1;
            Row { part: id + chance.below(4) as u32, table, columns: columns[table], id: next }
        });
        let rows = rows.collect();
        let undone = (1..4).map(|part| id + part).filter(|_| chance.below(3) == 0).collect();
        Scripted { id, rows, undone, commits: chance.below(6) > 0 }
    });
    transactions.collect()
}

/// Sequence of a row → all that a batch says of it.
type Lake = BTreeMap<i64, String>;

fn read(batches: Vec<Batch>, lake: &mut Lake) {
    for batch in batches {
        let Origin::Stream { sequences, runs } = &batch.origin else { panic!("of the stream") };
        assert!(sequences.is_sorted(), "{sequences:?}");
        assert!(batch.columns.iter().all(|column| column.len() == batch.rows()));
        for (row, &sequence) in sequences.iter().enumerate() {
            let run = runs.iter().rev().find(|run| run.first_row <= row).unwrap();
            let id = batch.columns[0].as_primitive::<Int64Type>().value(row);
            let unavailable: Vec<_> = batch.unavailable.iter().filter(|cell| cell.0 as usize == row).collect();
            let unavailable: Vec<_> = unavailable.iter().map(|cell| cell.1).collect();
            let exact: Vec<_> = batch.exact.iter().filter(|cell| cell.0 as usize == row).collect();
            let exact: Vec<_> = exact.iter().map(|cell| (cell.1, cell.2.clone())).collect();
            let told = format!(
                "{id} {} {} {unavailable:?} {exact:?} {} {} {} {:?}",
                batch.schema.table,
                batch.columns.len(),
                run.base,
                run.position,
                run.id,
                run.commit
            );
            assert!(lake.insert(sequence, told).is_none(), "two rows have sequence {sequence}");
        }
    }
}

fn whole(history: &[Scripted]) -> Lake {
    let mut changes = Changes::new(Sequence(7), ByteSize::mib(1));
    for transaction in history.iter().filter(|transaction| transaction.commits) {
        changes.begin();
        for row in transaction.rows.iter().filter(|row| !transaction.undone.contains(&row.part)) {
            changes.define(row.table, schema(row.table, row.columns));
            append(&mut changes, row.table, row.id);
        }
        changes.commit(end(transaction.id));
    }
    let mut lake = Lake::new();
    read(changes.take_all().unwrap(), &mut lake);
    lake
}

/// Every second transaction comes whole, the others in pieces between them; now and then the largest goes to "disk".
fn in_pieces(history: &[Scripted], chance: &mut Chance) -> Lake {
    let mut changes = Changes::new(Sequence(7), ByteSize::bytes(60));
    let (mut lake, mut disk) = (Lake::new(), BTreeMap::<u32, Vec<Batch>>::new());
    let mut rest: Vec<Scripted> = history.to_vec();
    for (number, transaction) in history.iter().enumerate() {
        if number % 2 == 0 && transaction.commits {
            changes.begin();
            for row in transaction.rows.iter().filter(|row| !transaction.undone.contains(&row.part)) {
                changes.define(row.table, schema(row.table, row.columns));
                append(&mut changes, row.table, row.id);
            }
            changes.commit(end(transaction.id));
        } else if number % 2 == 1 {
            // Pieces of this one and of later ones, by turns.
            while !rest[number].rows.is_empty() {
                let later = (number..history.len()).step_by(2).collect::<Vec<_>>();
                let piece = &mut rest[later[chance.below(later.len() as u64) as usize]];
                changes.enter(piece.id);
                let count = chance.below(5).min(piece.rows.len() as u64) as usize;
                for row in piece.rows.drain(..count) {
                    changes.enter_part(row.part);
                    changes.define(row.table, schema(row.table, row.columns));
                    append(&mut changes, row.table, row.id);
                }
                changes.leave();
                if chance.below(3) == 0
                    && let Some((id, batches)) = changes.take_largest().unwrap()
                {
                    disk.entry(id).or_default().extend(batches);
                }
            }
            transaction.undone.iter().for_each(|&part| changes.undo(transaction.id, part));
            if transaction.commits {
                changes.end(transaction.id, end(transaction.id));
            } else {
                changes.undo(transaction.id, transaction.id);
            }
        }
        while let Some(ended) = changes.take_ended().unwrap() {
            read(ended.before, &mut lake);
            for batch in disk.remove(&ended.id).unwrap() {
                read(ended.survivors.number(batch).unwrap().into_iter().collect(), &mut lake);
            }
        }
        read(changes.take_ready().unwrap(), &mut lake);
    }
    read(changes.take_all().unwrap(), &mut lake);
    assert_eq!((changes.in_progress_bytes(), changes.held_bytes()), (0, 0));
    lake
}

#[test]
fn transactions_in_pieces_get_the_sequences_that_whole_ones_get() {
    let mut chance = Chance(1);
    let mut rows = 0;
    for round in 0..500 {
        let history = history(&mut chance);
        let lake = whole(&history);
        rows += lake.len();
        assert_eq!(in_pieces(&history, &mut chance), lake, "history {round}: {history:?}");
    }
    assert!(rows > 10_000, "only {rows} rows");
}

#[test]
fn a_transaction_of_which_nothing_survives_leaves_no_trace_but_its_position() {
    let mut changes = Changes::new(Sequence(7), ByteSize::mib(1));
    changes.enter(5);
    changes.define(0, schema(0, 1));
    changes.enter_part(6);
    append(&mut changes, 0, 1);
    changes.leave();
    changes.undo(5, 6);
    changes.end(5, end(5));
    assert_eq!((changes.transactions(), changes.sequence(), changes.held_bytes()), (0, Sequence(7), 0));
    assert_eq!(changes.position(), Some(&Position::new("p5")));
    assert!(changes.take_all().unwrap().is_empty());
}

#[test]
fn parts_take_memory_until_their_transaction_ends_wherever_their_rows_are() {
    let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
    changes.enter(5);
    changes.define(0, schema(0, 1));
    append(&mut changes, 0, 1);
    let of_one = changes.part_bytes();
    for part in 1..=1_000 {
        changes.enter_part(5 + part);
        append(&mut changes, 0, i64::from(part));
    }
    changes.leave();
    let of_many = changes.part_bytes();
    assert!(of_one < 200 && of_many > 150_000, "{of_one} and {of_many}");
    changes.take_largest().unwrap().unwrap();
    assert_eq!(changes.part_bytes(), of_many);
    changes.undo(5, 6);
    assert!(changes.part_bytes() > of_many);
    changes.end(5, end(5));
    assert_eq!(changes.part_bytes(), 0);
}

#[test]
fn a_log_returns_for_a_transaction_of_which_rows_lie_elsewhere() {
    let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
    changes.enter(5);
    changes.define(0, schema(0, 1));
    append(&mut changes, 0, 1);
    changes.leave();
    assert!(changes.in_progress_bytes() > 0);
    assert!(changes.take_largest().unwrap().is_some() && changes.take_largest().unwrap().is_none());
    assert!(!changes.wants_return() && changes.is_in_progress(5));
    changes.end(5, end(5));
    assert!(changes.wants_return() && changes.is_in_progress(5));
    assert_eq!(changes.take_ended().unwrap().map(|ended| ended.id), Some(5));
    assert!(!changes.is_in_progress(5));
}

#[test]
fn what_leaves_memory_inside_a_transaction_leaves_in_order_of_sequence() {
    // Whole, in pieces, whole, in pieces: all of one table and in one round; then one that has not ended.
    let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
    changes.define(0, schema(0, 2));
    for number in (1..=3).step_by(2) {
        changes.begin();
        append(&mut changes, 0, i64::from(number));
        changes.commit(end(number));
        changes.enter(number + 1);
        changes.define(0, schema(0, 2));
        append(&mut changes, 0, i64::from(number) + 1);
        changes.leave();
        changes.end(number + 1, end(number + 1));
    }
    changes.begin();
    append(&mut changes, 0, 5);
    let (ended, unended) = changes.take_open().unwrap();
    let first = |batches: &[Batch]| batches.iter().map(|batch| batch.sequence_range().0.0).collect::<Vec<_>>();
    assert_eq!((first(&ended), first(&unended)), (vec![1, 2, 3, 4], vec![5]));
}
