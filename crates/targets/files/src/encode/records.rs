//! A slice of a batch as a record batch in the layout of the lake. User columns are taken as they lie; only ours are made.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType};
use millrace_model::{Batch, Origin, Run, Timestamp};

use super::old::{Old, sides, word_of};
use super::text;
use crate::settings::Layout;
use crate::shape::{Shape, element, entries, source_fields};

/// What is said of a file's rows beyond what is in them.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// Name (under a hub: id) of the pipeline.
    pub(crate) pipeline: Arc<str>,
    /// Kind of the source.
    pub(crate) connector: Arc<str>,
    /// What no other file and no reader of this one knows: the instance and the path.
    pub(crate) salt: String,
}

/// The rows `rows` of `batch`, which was read at `read`.
pub(super) fn record_batch(
    shape: &Shape,
    about: &About,
    batch: &Batch,
    read: Timestamp,
    rows: &Range<usize>,
) -> Result<RecordBatch, ArrowError> {
    let user = user_columns(shape, batch, rows)?;
    let marks = Marks::of(batch, rows)?;
    let columns = match shape.form.layout {
        Layout::Flat => flat(shape, batch, rows, user, marks)?,
        Layout::Envelope => envelope(shape, about, batch, (read, rows), user, marks)?,
    };
    RecordBatch::try_new(Arc::clone(&shape.schema), columns)
}

fn user_columns(shape: &Shape, batch: &Batch, rows: &Range<usize>) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut columns = Vec::with_capacity(shape.schema.fields().len());
    for (index, (array, column)) in batch.columns.iter().zip(&batch.schema.columns).enumerate() {
        if array.len() != batch.rows() {
            return Err(ArrowError::InvalidArgumentError("a column is not as long as its batch".into()));
        }
        let slice = array.slice(rows.start, rows.len());
        columns.push(if shape.is_text_of(column.kind) {
            let exact = within(&batch.exact, rows, |cell| cell.0).iter();
            let exact = exact.filter(|cell| usize::from(cell.1) == index);
            let exact: Vec<(usize, &str)> = exact.map(|(row, _, text)| (*row as usize - rows.start, &**text)).collect();
            decimal_texts(&slice, &exact)?
        } else {
            slice
        });
    }
    Ok(columns)
}

/// Decimals as the source's text, also those that no decimal can be: `exact`, in row order.
pub(super) fn decimal_texts(array: &ArrayRef, exact: &[(usize, &str)]) -> Result<ArrayRef, ArrowError> {
    let Some(decimals) = array.as_primitive_opt::<Decimal128Type>() else {
        return Err(ArrowError::InvalidArgumentError("a decimal column that holds none".into()));
    };
    let mut exact = exact.iter().peekable();
    let mut bytes = Vec::with_capacity(decimals.len() * 8);
    let mut offsets = Vec::with_capacity(decimals.len() + 1);
    let mut valid = Vec::with_capacity(decimals.len());
    offsets.push(0i32);
    for row in 0..decimals.len() {
        let beyond = exact.next_if(|cell| cell.0 == row);
        if let Some((_, text)) = beyond {
            bytes.extend_from_slice(text.as_bytes());
        } else if decimals.is_valid(row) {
            text::decimal(&mut bytes, decimals.value(row), decimals.scale());
        }
        valid.push(beyond.is_some() || decimals.is_valid(row));
        offsets.push(bytes.len() as i32);
    }
    let nulls = NullBuffer::new(BooleanBuffer::from(valid));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), Some(nulls))?))
}

/// Where the rows come from, a value a row.
struct Marks {
    sequence: ArrayRef,
    position: ArrayRef,
    tx_id: ArrayRef,
    tx_index: ArrayRef,
    /// Microseconds.
    commit: Option<Vec<i64>>,
    snapshot: ArrayRef,
}

impl Marks {
    fn of(batch: &Batch, rows: &Range<usize>) -> Result<Self, ArrowError> {
        match &batch.origin {
            Origin::Stream { sequences, runs } => Self::of_stream(sequences, runs, rows),
            Origin::Snapshot { id, sequence, position } => Ok(Self {
                sequence: Arc::new(Int64Array::from_value(sequence.0 as i64, rows.len())),
                position: Arc::new(repeated([(position.as_str(), rows.len())], rows.len())?),
                tx_id: new_null_array(&DataType::Utf8, rows.len()),
                tx_index: new_null_array(&DataType::Int64, rows.len()),
                commit: None,
                snapshot: Arc::new(repeated([(id.to_string().as_str(), rows.len())], rows.len())?),
            }),
        }
    }

    fn of_stream(sequences: &[i64], runs: &[Run], rows: &Range<usize>) -> Result<Self, ArrowError> {
        let sequences = sequences.get(rows.clone()).filter(|some| some.len() == rows.len());
        let Some(sequences) = sequences else {
            return Err(ArrowError::InvalidArgumentError("a row has no sequence".into()));
        };
        let parts: Vec<(&Run, usize)> = runs_within(runs, rows).collect();
        let mut indexes = Vec::with_capacity(rows.len());
        let mut times = Vec::with_capacity(rows.len());
        for (run, length) in &parts {
            let done = indexes.len();
            indexes.extend(sequences.iter().skip(done).take(*length).map(|sequence| sequence - run.base));
            times.extend(std::iter::repeat_n(run.commit.0, *length));
        }
        Ok(Self {
            sequence: Arc::new(Int64Array::new(ScalarBuffer::from(sequences.to_vec()), None)),
            position: Arc::new(repeated(parts.iter().map(|(run, length)| (&*run.position, *length)), rows.len())?),
            tx_id: Arc::new(repeated(parts.iter().map(|(run, length)| (&*run.id, *length)), rows.len())?),
            tx_index: Arc::new(Int64Array::from(indexes)),
            commit: Some(times),
            snapshot: new_null_array(&DataType::Utf8, rows.len()),
        })
    }
}

fn flat(
    shape: &Shape,
    batch: &Batch,
    rows: &Range<usize>,
    mut columns: Vec<ArrayRef>,
    marks: Marks,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let commit: TimestampMicrosecondArray = match marks.commit {
        Some(times) => TimestampMicrosecondArray::from(times),
        None => TimestampMicrosecondArray::new_null(rows.len()),
    };
    columns.push(ops(batch, rows)?);
    columns.extend([marks.sequence, marks.position, marks.tx_id, marks.tx_index]);
    columns.push(Arc::new(commit.with_timezone("UTC")));
    columns.push(unavailable(shape, batch, rows));
    columns.push(exact(shape, batch, rows)?);
    columns.push(marks.snapshot);
    Ok(columns)
}

fn envelope(
    shape: &Shape,
    about: &About,
    batch: &Batch,
    (read, rows): (Timestamp, &Range<usize>),
    user: Vec<ArrayRef>,
    marks: Marks,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let ops_of_rows = batch.ops.get(rows.clone()).unwrap_or(&[]);
    let mut columns = vec![ops(batch, rows)?];
    let old = Old::of(batch, rows);
    if !user.is_empty() {
        let old_columns = old.columns(shape, batch, &user)?;
        columns.extend(sides(shape, ops_of_rows, &old, old_columns, user)?);
    }
    columns.push(Arc::new(repeated(old.images.iter().map(|image| (word_of(*image), 1)), rows.len())?));
    columns.push(unavailable(shape, batch, rows));
    columns.push(exact(shape, batch, rows)?);
    columns.push(Arc::clone(&marks.sequence));
    columns.push(Arc::new(Int64Array::from_value(read.0, rows.len())));
    columns.push(source(about, batch, rows, marks)?);
    Ok(columns)
}

fn source(about: &About, batch: &Batch, rows: &Range<usize>, marks: Marks) -> Result<ArrayRef, ArrowError> {
    let text =
        |text: &str| -> Result<ArrayRef, ArrowError> { Ok(Arc::new(repeated([(text, rows.len())], rows.len())?)) };
    let optional = |part: Option<&String>| match part {
        Some(part) => text(part),
        None => Ok(new_null_array(&DataType::Utf8, rows.len())),
    };
    let mut parts = batch.schema.table.parts().iter().rev();
    let (table, schema, database) = (parts.next(), parts.next(), parts.next());
    let commit = match marks.commit {
        Some(times) => Arc::new(Int64Array::from(times)),
        None => new_null_array(&DataType::Int64, rows.len()),
    };
    let columns = vec![
        text(&about.pipeline)?,
        text(&about.connector)?,
        optional(database)?,
        optional(schema)?,
        text(table.map_or("", String::as_str))?,
        marks.position,
        marks.tx_id,
        marks.tx_index,
        commit,
        marks.snapshot,
    ];
    Ok(Arc::new(StructArray::try_new(source_fields(), columns, None)?))
}

fn ops(batch: &Batch, rows: &Range<usize>) -> Result<ArrayRef, ArrowError> {
    let letters: Vec<u8> = batch.ops.get(rows.clone()).unwrap_or(&[]).iter().map(|op| op.letter()).collect();
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, letters.len()));
    Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(letters), None)?))
}

/// The runs that have rows in `rows`, each with how many.
fn runs_within<'a>(runs: &'a [Run], rows: &'a Range<usize>) -> impl Iterator<Item = (&'a Run, usize)> {
    let first = runs.partition_point(|run| run.first_row <= rows.start).saturating_sub(1);
    let ends = runs.iter().skip(first + 1).map(|next| next.first_row).chain([usize::MAX]);
    runs.iter()
        .skip(first)
        .zip(ends)
        .map(|(run, end)| (run, end.min(rows.end).saturating_sub(run.first_row.max(rows.start))))
        .take_while(|(run, _)| run.first_row < rows.end)
        .filter(|(_, length)| *length > 0)
}

/// Texts, each so many times.
fn repeated<'a>(parts: impl IntoIterator<Item = (&'a str, usize)>, rows: usize) -> Result<StringArray, ArrowError> {
    let mut bytes = Vec::new();
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0i32);
    for (text, times) in parts {
        for _ in 0..times {
            bytes.extend_from_slice(text.as_bytes());
            offsets.push(bytes.len() as i32);
        }
    }
    StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes), None)
}

/// The part of a list in row order that lies in `rows`.
pub(super) fn within<'a, T>(list: &'a [T], rows: &Range<usize>, row: impl Fn(&T) -> u32) -> &'a [T] {
    let from = list.partition_point(|one| (row(one) as usize) < rows.start);
    let to = list.partition_point(|one| (row(one) as usize) < rows.end);
    list.get(from..to).unwrap_or(&[])
}

fn unavailable(shape: &Shape, batch: &Batch, rows: &Range<usize>) -> ArrayRef {
    let mut cells = within(&batch.unavailable, rows, |cell| cell.0);
    if cells.is_empty() {
        return new_null_array(&DataType::List(element()), rows.len());
    }
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(element());
    for row in rows.clone() {
        let here = cells.partition_point(|cell| cell.0 as usize <= row);
        let (of_row, rest) = cells.split_at(here);
        for &(_, column) in of_row {
            builder.values().append_option(shape.names.get(usize::from(column)));
        }
        builder.append(!of_row.is_empty());
        cells = rest;
    }
    Arc::new(builder.finish())
}

fn exact(shape: &Shape, batch: &Batch, rows: &Range<usize>) -> Result<ArrayRef, ArrowError> {
    let mut cells = within(&batch.exact, rows, |cell| cell.0);
    // A column that is text holds the text itself.
    let is_text: Vec<bool> = batch.schema.columns.iter().map(|column| shape.is_text_of(column.kind)).collect();
    let counts = |column: u16| !is_text.get(usize::from(column)).copied().unwrap_or(false);
    if !cells.iter().any(|cell| counts(cell.1)) {
        return Ok(new_null_array(&DataType::Map(entries(), false), rows.len()));
    }
    let DataType::Struct(fields) = entries().data_type().clone() else {
        return Err(ArrowError::SchemaError("entries are a struct".into()));
    };
    let [key, value] = [fields.first().cloned(), fields.get(1).cloned()];
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    if let (Some(key), Some(value)) = (key, value) {
        builder = builder.with_keys_field(key).with_values_field(value);
    }
    for row in rows.clone() {
        let here = cells.partition_point(|cell| cell.0 as usize <= row);
        let (of_row, rest) = cells.split_at(here);
        let mut is_empty = true;
        for (_, column, text) in of_row.iter().filter(|cell| counts(cell.1)) {
            is_empty = false;
            builder.keys().append_value(shape.names.get(usize::from(*column)).map_or("", String::as_str));
            builder.values().append_value(text);
        }
        builder.append(!is_empty)?;
        cells = rest;
    }
    Ok(Arc::new(builder.finish()))
}
