//! From changes of the log to rows of the lake (`file-lake.md`, "Records").
//!
//! - An update that changes a key *value* is the delete of the old key and the insert of the new one, in this order; so is
//!   every update of a table without a key. What changed is judged by the values, not by whether the log has an old row:
//!   it has one also where a key value is stored out of line.
//! - A value that was not sent is taken from the old row, if that has it. A key value always is there.
//! - Columns that an old row of kind `K` lacks are absent, which the lake shows as null.
//!
//! An insert goes straight from the wire into the columns. Only where there is an old row beside a new one are the cells of
//! both found first, in a list that is used again for the next.

use std::sync::Arc;

use millrace_model::{Changes, Image, Op, TableChanges, TableSchema};

use crate::decode::message::{Cell, Old, Tuple};
use crate::decode::reader::Malformed;
use crate::decode::value::{Decoder, append, append_null};

/// A table as changes are read from here on.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its number in `Changes`.
    pub(crate) slot: usize,
    /// As the engine sees it.
    pub(crate) schema: Arc<TableSchema>,
    /// One a column.
    pub(crate) decoders: Vec<Decoder>,
    /// One a column.
    pub(crate) is_key: Vec<bool>,
}

/// Memory that is used again from change to change.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Whether somebody asks for the rows before changes.
    pub(crate) keeps_old: bool,
    value: Vec<u8>,
    old: Vec<Span>,
    new: Vec<Span>,
}

/// Where a cell lies in its message: its form, first byte and length.
#[derive(Clone, Copy, Debug)]
struct Span {
    form: u8,
    start: usize,
    length: usize,
}

const NO_TABLE: Malformed = Malformed("a change outside a transaction or of an undescribed table");
const KEY_UNSENT: Malformed = Malformed("a key value that is neither in the new nor in the old row");
const OTHER_WIDTH: Malformed = Malformed("a row of another number of columns than its table has");

/// A row that was inserted.
pub(crate) fn insert(
    table: &Table,
    into: &mut Changes,
    new: Tuple<'_>,
    wire_bytes: usize,
    scratch: &mut Scratch,
) -> Result<(), Malformed> {
    let rows = start(table, into, Op::Create, wire_bytes)?;
    sent(table, rows, new, &mut scratch.value)
}

/// A row that was deleted: all columns, or those of the key.
pub(crate) fn delete(
    table: &Table,
    into: &mut Changes,
    old: Old<'_>,
    wire_bytes: usize,
    scratch: &mut Scratch,
) -> Result<(), Malformed> {
    check_old(table, old)?;
    let rows = start(table, into, Op::Delete, wire_bytes)?;
    if scratch.keeps_old {
        rows.note_image(if old.full { Image::Full } else { Image::Key });
    }
    let mut tuple = old.tuple;
    expect_width(table, tuple)?;
    for (column, (&decoder, &is_key)) in table.decoders.iter().zip(&table.is_key).enumerate() {
        let cell = tuple.next()?;
        old_cell(rows, column, decoder, cell, old.full || is_key, &mut scratch.value)?;
    }
    Ok(())
}

/// A row that was updated. `message` is what both rows lie in.
pub(crate) fn update(
    table: &Table,
    into: &mut Changes,
    (message, old, new): (&[u8], Option<Old<'_>>, Tuple<'_>),
    wire_bytes: usize,
    scratch: &mut Scratch,
) -> Result<(), Malformed> {
    let Some(old) = old else {
        if table.schema.key.is_empty() {
            return Err(Malformed("an update of a table without a key, without the old row"));
        }
        let rows = start(table, into, Op::Update, wire_bytes)?;
        return sent(table, rows, new, &mut scratch.value);
    };
    check_old(table, old)?;
    find(message, old.tuple, table, &mut scratch.old)?;
    find(message, new, table, &mut scratch.new)?;
    let changes_key =
        table.schema.key.is_empty() || table.schema.key.iter().any(|&column| differs(message, scratch, column));
    let op = if changes_key {
        delete(table, into, old, wire_bytes, scratch)?;
        Op::Create
    } else {
        Op::Update
    };
    let rows = start(table, into, op, if changes_key { 0 } else { wire_bytes })?;
    if scratch.keeps_old {
        before(table, rows, message, old.full && (!changes_key || table.schema.key.is_empty()), scratch)?;
    }
    merged(table, rows, message, old.full, scratch)
}

/// Every row of the table was removed.
pub(crate) fn truncate(table: &Table, into: &mut Changes, wire_bytes: usize) -> Result<(), Malformed> {
    let rows = start(table, into, Op::Truncate, wire_bytes)?;
    (0..table.decoders.len()).try_for_each(|column| append_null(rows, column))
}

fn start<'a>(
    table: &Table,
    into: &'a mut Changes,
    op: Op,
    wire_bytes: usize,
) -> Result<&'a mut TableChanges, Malformed> {
    into.row(table.slot, op, wire_bytes).ok_or(NO_TABLE)
}

fn expect_width(table: &Table, tuple: Tuple<'_>) -> Result<(), Malformed> {
    if tuple.columns() == table.decoders.len() { Ok(()) } else { Err(OTHER_WIDTH) }
}

/// Without a key only full old rows tell which row is meant.
fn check_old(table: &Table, old: Old<'_>) -> Result<(), Malformed> {
    if table.schema.key.is_empty() && !old.full {
        return Err(Malformed("an old row with the key only, of a table without a key"));
    }
    Ok(())
}

/// Appends a new row as it was sent.
fn sent(table: &Table, rows: &mut TableChanges, mut new: Tuple<'_>, value: &mut Vec<u8>) -> Result<(), Malformed> {
    expect_width(table, new)?;
    for (column, &decoder) in table.decoders.iter().enumerate() {
        let cell = new.next()?;
        if cell.form == b'u' {
            unsent(table, rows, column)?;
        } else {
            append(rows, column, decoder, cell, value)?;
        }
    }
    Ok(())
}

/// Appends a new row; what was not sent comes from the old one where that has it.
fn merged(
    table: &Table,
    rows: &mut TableChanges,
    message: &[u8],
    old_is_full: bool,
    scratch: &mut Scratch,
) -> Result<(), Malformed> {
    let Scratch { value, old, new, .. } = scratch;
    for (column, (&decoder, &is_key)) in table.decoders.iter().zip(&table.is_key).enumerate() {
        let mut cell = cell_at(message, new, column)?;
        if cell.form == b'u' && (old_is_full || is_key) {
            cell = cell_at(message, old, column)?;
        }
        if cell.form == b'u' {
            unsent(table, rows, column)?;
        } else {
            append(rows, column, decoder, cell, value)?;
        }
    }
    Ok(())
}

/// Keeps the row before a change: all of it, or its key. After a change of the key it is the old key.
fn before(
    table: &Table,
    rows: &mut TableChanges,
    message: &[u8],
    is_full: bool,
    scratch: &mut Scratch,
) -> Result<(), Malformed> {
    let Scratch { value, old, .. } = scratch;
    let rows = rows.begin_old(if is_full { Image::Full } else { Image::Key });
    for (column, (&decoder, &is_key)) in table.decoders.iter().zip(&table.is_key).enumerate() {
        old_cell(rows, column, decoder, cell_at(message, old, column)?, is_full || is_key, value)?;
    }
    Ok(())
}

fn unsent(table: &Table, rows: &mut TableChanges, column: usize) -> Result<(), Malformed> {
    if table.schema.key.is_empty() || table.is_key.get(column).copied().unwrap_or(true) {
        return Err(KEY_UNSENT);
    }
    rows.append_unavailable(column);
    Ok(())
}

fn old_cell(
    rows: &mut TableChanges,
    column: usize,
    decoder: Decoder,
    cell: Cell<'_>,
    is_there: bool,
    value: &mut Vec<u8>,
) -> Result<(), Malformed> {
    if is_there { append(rows, column, decoder, cell, value) } else { append_null(rows, column) }
}

/// Finds the cells of a row.
fn find(message: &[u8], mut tuple: Tuple<'_>, table: &Table, spans: &mut Vec<Span>) -> Result<(), Malformed> {
    expect_width(table, tuple)?;
    spans.clear();
    for _ in 0..tuple.columns() {
        let cell = tuple.next()?;
        let end = message.len() - tuple.bytes_left();
        spans.push(Span { form: cell.form, start: end - cell.bytes.len(), length: cell.bytes.len() });
    }
    Ok(())
}

fn cell_at<'a>(message: &'a [u8], spans: &[Span], column: usize) -> Result<Cell<'a>, Malformed> {
    let span = spans.get(column).ok_or(OTHER_WIDTH)?;
    let bytes = match span.form {
        b't' | b'b' => message.get(span.start..span.start + span.length).ok_or(OTHER_WIDTH)?,
        _ => &[],
    };
    Ok(Cell { form: span.form, bytes })
}

/// Whether a column has another value in the new row; one that was not sent has not.
fn differs(message: &[u8], scratch: &Scratch, column: usize) -> bool {
    match (cell_at(message, &scratch.old, column), cell_at(message, &scratch.new, column)) {
        (Ok(old), Ok(new)) => new.form != b'u' && old != new,
        _ => true,
    }
}
