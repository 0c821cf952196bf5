//! Where a round ends when the columns or the key of a table change: always before the whole transaction that saw it.

use super::*;
use crate::changes::in_progress::tests::end;
use crate::column::ColumnBuilder;
use crate::position::{Position, Sequence};
use crate::registry::TableEntry;
use crate::schema::Kind;
use crate::size::ByteSize;

/// A table of an id and further columns.
fn schema(table: &str, columns: &[&str]) -> Arc<TableSchema> {
    let column = |(name, id): (&&str, u32)| Column {
        name: (*name).into(),
        id,
        kind: if id == 1 { Kind::Int64 } else { Kind::Text },
        type_name: "t".into(),
        nullable: true,
    };
    Arc::new(TableSchema {
        table: TableName::new(["d", "s", table]),
        source_id: "1".into(),
        columns: columns.iter().zip(1..).map(column).collect(),
        key: vec![0],
    })
}

fn append(changes: &mut Changes, slot: usize, id: i64) {
    let row = changes.row(slot, Op::Create, 10).unwrap();
    for column in &mut row.columns {
        if let ColumnBuilder::Int64(builder) = column {
            builder.append_value(id);
        } else {
            column.append_null();
        }
    }
}

/// Tables `a` (slot 0) and `b` (slot 1), both known to the lake.
fn frozen() -> Changes {
    let mut registry = Registry::default();
    let mut changes = Changes::new(Sequence(7), ByteSize::mib(1));
    for (slot, table) in ["a", "b"].into_iter().enumerate() {
        let schema = schema(table, &["id", "v"]);
        registry.put(TableEntry::new(&schema));
        registry.version_of(&schema);
        changes.define(slot, schema);
    }
    changes.freeze(&registry);
    changes
}

fn transaction(changes: &mut Changes, number: u32, slots: &[usize]) {
    changes.begin();
    for &slot in slots {
        append(changes, slot, i64::from(number));
    }
    changes.commit(end(number));
}

/// Position, last sequence, and rows of what the round holds.
fn held(changes: &mut Changes) -> (String, u64, usize) {
    assert!(!changes.in_transaction());
    let (position, sequence) = (changes.position().unwrap().to_string(), changes.sequence().0);
    let rows = changes.take_all().unwrap().iter().map(crate::Batch::rows).sum();
    (position, sequence, rows)
}

#[test]
fn the_round_ends_before_the_transaction_that_sees_other_columns() {
    let mut changes = frozen();
    transaction(&mut changes, 1, &[0, 1]);
    changes.begin();
    append(&mut changes, 0, 2);
    append(&mut changes, 1, 2);
    assert!(changes.barrier().is_none() && !changes.wants_return());
    changes.define(0, schema("a", &["id", "v", "w"]));
    append(&mut changes, 0, 3);
    append(&mut changes, 1, 3);
    changes.commit(end(2));
    // Whatever comes after it in the same gulp is passed over.
    transaction(&mut changes, 3, &[1, 0, 1]);
    changes.reached(Position::new("p4"));
    assert!(changes.wants_return());
    let Some(Barrier::Columns(change)) = changes.barrier() else { panic!("no barrier") };
    let lengths = (change.table.to_string(), change.before.len(), change.after.len());
    assert_eq!(lengths, ("d.s.a".into(), 2, 3));
    assert_eq!(held(&mut changes), ("p1".into(), 9, 2));
}

#[test]
fn an_equal_description_and_one_that_differs_only_in_what_may_be_null_are_no_change() {
    let mut changes = frozen();
    let mut strict = (*schema("a", &["id", "v"])).clone();
    strict.columns[1].nullable = false;
    changes.define(0, Arc::new(strict));
    changes.define(1, schema("b", &["id", "v"]));
    transaction(&mut changes, 1, &[0, 1]);
    assert!(changes.barrier().is_none());
    assert_eq!(held(&mut changes), ("p1".into(), 9, 2));
}

#[test]
fn a_description_without_a_row_is_no_change() {
    let mut changes = frozen();
    changes.define(0, schema("a", &["id", "renamed"]));
    transaction(&mut changes, 1, &[1]);
    assert!(changes.barrier().is_none());
    transaction(&mut changes, 2, &[0]);
    assert_eq!(held(&mut changes), ("p1".into(), 8, 1));
}

#[test]
fn a_table_that_the_lake_has_no_columns_of_is_held_to_those_it_comes_with_first() {
    let mut changes = frozen();
    changes.define(2, schema("c", &["id", "v"]));
    transaction(&mut changes, 1, &[2]);
    changes.define(2, schema("c", &["id"]));
    transaction(&mut changes, 2, &[2]);
    assert!(matches!(changes.barrier(), Some(Barrier::Columns(change)) if change.table.to_string() == "d.s.c"));
    assert_eq!(held(&mut changes), ("p1".into(), 8, 1));
}

#[test]
fn a_transaction_in_progress_is_judged_at_its_end_by_the_rows_that_survived() {
    for (undone, expected) in [(true, ("p2", 9, 2)), (false, ("p1", 8, 1))] {
        let mut changes = frozen();
        changes.enter(50);
        changes.define(0, schema("a", &["id", "v"]));
        append(&mut changes, 0, 1);
        // Two columns more, in a part; its rows go to disk before the end.
        changes.enter_part(51);
        changes.define(0, schema("a", &["id", "v", "w", "x"]));
        append(&mut changes, 0, 2);
        changes.leave();
        changes.take_largest().unwrap().unwrap();
        transaction(&mut changes, 1, &[1]);
        assert!(changes.barrier().is_none(), "it may yet be undone");
        if undone {
            changes.undo(50, 51);
        }
        changes.end(50, end(2));
        assert_eq!(changes.barrier().is_none(), undone);
        let (position, sequence, _) = expected;
        assert_eq!((changes.position().unwrap().as_str(), changes.sequence().0), (position, sequence));
    }
}

#[test]
fn rows_that_are_restated_at_the_end_count_as_what_they_are() {
    let mut changes = frozen();
    let (then, now) = (schema("a", &["id", "guessed"]), schema("a", &["id", "v"]));
    changes.enter(50);
    changes.define(0, Arc::clone(&then));
    append(&mut changes, 0, 1);
    changes.leave();
    changes.restate(50, then, now);
    changes.end(50, end(1));
    assert!(changes.barrier().is_none());
    assert_eq!(held(&mut changes), ("p1".into(), 8, 1));
}

/// Both tables held to the key `id`, and to no columns.
fn keyed() -> Changes {
    let mut registry = Registry::default();
    let mut changes = Changes::new(Sequence(7), ByteSize::mib(1));
    for (slot, table) in ["a", "b"].into_iter().enumerate() {
        let schema = schema(table, &["id", "v"]);
        registry.put(TableEntry::new(&schema));
        registry.version_of(&schema);
        changes.define(slot, schema);
    }
    changes.hold_keys(&registry);
    changes
}

/// The description of a table with this key.
fn with_key(table: &str, columns: &[&str], key: &[usize]) -> Arc<TableSchema> {
    Arc::new(TableSchema { key: key.to_vec(), ..(*schema(table, columns)).clone() })
}

/// The table that starts anew, and why.
fn anew(changes: &Changes) -> Option<(String, AnewReason)> {
    let Some(Barrier::Anew(anew)) = changes.barrier() else { return None };
    Some((anew.table.to_string(), anew.reason.clone()))
}

#[test]
fn the_round_ends_before_the_transaction_that_sees_another_key() {
    let (id, v) = ("id".to_owned(), "v".to_owned());
    for (key, after) in [(&[1][..], vec![v.clone()]), (&[0, 1], vec![id.clone(), v]), (&[], vec![])] {
        let mut changes = keyed();
        transaction(&mut changes, 1, &[0, 1]);
        changes.begin();
        append(&mut changes, 1, 2);
        append(&mut changes, 0, 2);
        changes.define(0, with_key("a", &["id", "v"], key));
        append(&mut changes, 0, 3);
        changes.commit(end(2));
        transaction(&mut changes, 3, &[1, 0]);
        assert!(changes.wants_return());
        assert_eq!(anew(&changes), Some(("d.s.a".into(), AnewReason::Key { before: vec![id.clone()], after })));
        assert_eq!(held(&mut changes), ("p1".into(), 9, 2));
    }
}

#[test]
fn other_columns_and_a_key_column_with_another_name_are_the_same_key() {
    let mut changes = keyed();
    changes.define(0, schema("a", &["id", "v", "w"]));
    transaction(&mut changes, 1, &[0]);
    changes.define(0, schema("a", &["renamed", "v", "w"]));
    transaction(&mut changes, 2, &[0]);
    changes.define(0, schema("a", &["again", "v"]));
    transaction(&mut changes, 3, &[0, 1]);
    assert_eq!((anew(&changes), held(&mut changes)), (None, ("p3".into(), 11, 4)));
}

#[test]
fn a_transaction_in_progress_that_changes_a_key_is_judged_by_the_rows_that_survived() {
    for undone in [true, false] {
        let mut changes = keyed();
        changes.enter(50);
        changes.define(0, schema("a", &["id", "v"]));
        append(&mut changes, 0, 1);
        changes.enter_part(51);
        changes.define(0, with_key("a", &["id", "v"], &[1]));
        append(&mut changes, 0, 2);
        changes.leave();
        transaction(&mut changes, 1, &[1]);
        if undone {
            changes.undo(50, 51);
        }
        changes.end(50, end(2));
        assert_eq!(anew(&changes).is_none(), undone);
        assert_eq!(changes.sequence().0, if undone { 9 } else { 8 });
    }
}

#[test]
fn the_round_ends_before_rows_whose_table_has_values_that_the_log_did_not_say() {
    let mut changes = keyed();
    let filled = schema("a", &["id", "v", "filled"]);
    changes.untold(&filled);
    changes.define(0, filled);
    transaction(&mut changes, 1, &[1]);
    assert_eq!(anew(&changes), None, "no row of it has come");
    transaction(&mut changes, 2, &[1, 0]);
    assert_eq!(anew(&changes), Some(("d.s.a".into(), AnewReason::Values)));
    assert_eq!(held(&mut changes), ("p1".into(), 8, 1));
}
