//! Rows to Parquet: a batch, a slice at a time, becomes record batches, and these become row groups of bounded memory.
//!
//! Nothing here waits or touches a store but through `Write`; it runs on a blocking thread.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Schema};
use millrace_model::{Batch, Kind, Origin, Run, TableSchema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use crate::names::hex;
use crate::settings::Compression;
use crate::shape::{Lie, Shape, element, entries, lie_of};

/// Rows that are encoded at once: enough to amortise, few enough that our own columns stay in the cache.
const SLICE_ROWS: usize = 16 * 1024;
/// A row group is closed when an open encoder holds so much: the process has few such encoders and little memory.
const ROW_GROUP_MEMORY: usize = 8 << 20;
/// Uncompressed bytes of one page of one column.
const PAGE_BYTES: usize = 256 * 1024;
/// A column of text that has more distinct values than fit here goes on plain: hashing each would cost more than it saves.
const DICTIONARY_BYTES: usize = 64 * 1024;

/// From so many bytes on a value is large.
const LARGE_VALUE: usize = 1 << 20;

/// How large the values of a file may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// None is large.
    Small,
    /// Some are. A dictionary holds a copy of such a value, and so do the least and the greatest of a column: what would be
    /// left of these in the file are 64 bytes.
    Large,
}

impl Values {
    /// Of a batch.
    pub(crate) fn of(batch: &Batch) -> Self {
        let is_large = |column: &ArrayRef| {
            let lengths = |offsets: &[i32]| {
                let all = offsets.last().zip(offsets.first()).map_or(0, |(end, start)| end - start);
                all as usize >= LARGE_VALUE
                    && offsets.windows(2).any(|two| matches!(two, [from, to] if (to - from) as usize >= LARGE_VALUE))
            };
            let text = column.as_string_opt::<i32>().map(StringArray::value_offsets);
            let bytes = || column.as_binary_opt::<i32>().map(BinaryArray::value_offsets);
            text.or_else(bytes).is_some_and(lengths)
        };
        if batch.columns.iter().any(is_large) { Self::Large } else { Self::Small }
    }
}

/// A file that is being encoded, on its way into `W`.
pub(crate) struct Encoder<W: Write + Send> {
    shape: Shape,
    writer: ArrowWriter<Measured<W>>,
}

/// What an encoder has become.
pub(crate) struct Encoded<W> {
    pub(crate) output: W,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl<W: Write + Send> Encoder<W> {
    /// Starts a file for rows of `table`.
    pub(crate) fn new(
        table: &TableSchema,
        compression: Compression,
        values: Values,
        output: W,
    ) -> Result<Self, ParquetError> {
        let shape = Shape::of(table);
        let options = ArrowWriterOptions::new()
            .with_properties(properties(table, &shape, compression, values)?)
            // Readers derive their own types from the Parquet schema; ours would only surprise them.
            .with_skip_arrow_metadata(true);
        let output = Measured { output, hash: Sha256::new(), bytes: 0 };
        let writer = ArrowWriter::try_new_with_options(output, Arc::clone(&shape.schema), options)?;
        Ok(Self { shape, writer })
    }

    /// Encodes rows of `batch` from `from` on, until the file has grown to `limit` bytes; returns the row it stopped at.
    pub(crate) fn write(&mut self, batch: &Batch, from: usize, limit: u64) -> Result<usize, ParquetError> {
        let mut row = from;
        while row < batch.rows() && self.size() < limit {
            let slice = row..batch.rows().min(row + SLICE_ROWS);
            self.writer.write(&record_batch(&self.shape, batch, slice.clone())?)?;
            if self.writer.memory_size() >= ROW_GROUP_MEMORY {
                self.writer.flush()?;
            }
            row = slice.end;
        }
        Ok(row)
    }

    /// About how large the file would be if it ended here.
    pub(crate) fn size(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Ends the file.
    pub(crate) fn finish(self) -> Result<Encoded<W>, ParquetError> {
        let Measured { output, hash, bytes } = self.writer.into_inner()?;
        Ok(Encoded { output, bytes, sha256: hex(&hash.finalize()) })
    }
}

/// Counts and hashes what passes, so that no file is ever read again for it.
struct Measured<W> {
    output: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn properties(
    table: &TableSchema,
    shape: &Shape,
    compression: Compression,
    values: Values,
) -> Result<WriterProperties, ParquetError> {
    let codec = match compression {
        Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(1)?),
        Compression::Snappy => Codec::SNAPPY,
        Compression::None => Codec::UNCOMPRESSED,
    };
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("millrace version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(codec)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_dictionary_enabled(true)
        .set_offset_index_disabled(true)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for (column, name) in table.columns.iter().zip(&shape.names) {
        let path = ColumnPath::new(vec![name.clone()]);
        let can_be_large = matches!(column.kind.data_type(), DataType::Utf8 | DataType::Binary);
        let is_large = can_be_large && values == Values::Large;
        if matches!(column.kind, Kind::Json | Kind::Bytes) || is_large {
            builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        builder = lay(builder, path, if is_large { Lie::Plain } else { lie_of(column.kind) });
    }
    for own in ["_sequence", "_tx_index", "_commit_ts"] {
        builder = lay(builder, ColumnPath::from(own), Lie::Delta);
    }
    for own in ["_tx_index", "_position", "_tx_id"] {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(own), EnabledStatistics::None);
    }
    Ok(builder.build())
}

fn lay(builder: WriterPropertiesBuilder, path: ColumnPath, lie: Lie) -> WriterPropertiesBuilder {
    match lie {
        Lie::Dictionary => builder,
        Lie::Plain => builder.set_column_dictionary_enabled(path, false),
        Lie::Delta => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
    }
}

fn record_batch(shape: &Shape, batch: &Batch, rows: Range<usize>) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(shape.schema.fields().len());
    for column in &batch.columns {
        if column.len() != batch.rows() {
            return Err(ArrowError::InvalidArgumentError("a column is not as long as its batch".into()));
        }
        columns.push(column.slice(rows.start, rows.len()));
    }
    columns.push(ops(batch, &rows)?);
    match &batch.origin {
        Origin::Stream { sequences, runs } => stream_columns(&mut columns, sequences, runs, &rows)?,
        Origin::Snapshot { sequence, position, .. } => {
            columns.push(Arc::new(Int64Array::from_value(sequence.0 as i64, rows.len())));
            columns.push(Arc::new(repeated([(position.as_str(), rows.len())], rows.len())?));
            let null = |name| null_column(&shape.schema, name, rows.len());
            columns.extend([null("_tx_id")?, null("_tx_index")?, null("_commit_ts")?]);
        }
    }
    columns.push(unavailable(shape, batch, &rows)?);
    columns.push(exact(shape, batch, &rows)?);
    columns.push(match batch.snapshot() {
        Some(id) => Arc::new(repeated([(id.to_string().as_str(), rows.len())], rows.len())?),
        None => null_column(&shape.schema, "_snapshot", rows.len())?,
    });
    RecordBatch::try_new(Arc::clone(&shape.schema), columns)
}

fn null_column(schema: &Schema, name: &str, rows: usize) -> Result<ArrayRef, ArrowError> {
    Ok(new_null_array(schema.field_with_name(name)?.data_type(), rows))
}

fn ops(batch: &Batch, rows: &Range<usize>) -> Result<ArrayRef, ArrowError> {
    let letters: Vec<u8> = batch.ops.get(rows.clone()).unwrap_or(&[]).iter().map(|op| op.letter()).collect();
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, letters.len()));
    Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(letters), None)?))
}

/// `_sequence`, `_position`, `_tx_id`, `_tx_index`, `_commit_ts`.
fn stream_columns(
    columns: &mut Vec<ArrayRef>,
    sequences: &[i64],
    runs: &[Run],
    rows: &Range<usize>,
) -> Result<(), ArrowError> {
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
    columns.push(Arc::new(Int64Array::new(ScalarBuffer::from(sequences.to_vec()), None)));
    columns.push(Arc::new(repeated(parts.iter().map(|(run, length)| (&*run.position, *length)), rows.len())?));
    columns.push(Arc::new(repeated(parts.iter().map(|(run, length)| (&*run.id, *length)), rows.len())?));
    columns.push(Arc::new(Int64Array::from(indexes)));
    columns.push(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")));
    Ok(())
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
fn within<'a, T>(list: &'a [T], rows: &Range<usize>, row: impl Fn(&T) -> u32) -> &'a [T] {
    let from = list.partition_point(|one| (row(one) as usize) < rows.start);
    let to = list.partition_point(|one| (row(one) as usize) < rows.end);
    list.get(from..to).unwrap_or(&[])
}

fn unavailable(shape: &Shape, batch: &Batch, rows: &Range<usize>) -> Result<ArrayRef, ArrowError> {
    let mut cells = within(&batch.unavailable, rows, |cell| cell.0);
    if cells.is_empty() {
        return null_column(&shape.schema, "_unavailable", rows.len());
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
    Ok(Arc::new(builder.finish()))
}

fn exact(shape: &Shape, batch: &Batch, rows: &Range<usize>) -> Result<ArrayRef, ArrowError> {
    let mut cells = within(&batch.exact, rows, |cell| cell.0);
    if cells.is_empty() {
        return null_column(&shape.schema, "_exact", rows.len());
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
        for (_, column, text) in of_row {
            builder.keys().append_value(shape.names.get(usize::from(*column)).map_or("", String::as_str));
            builder.values().append_value(text);
        }
        builder.append(!of_row.is_empty())?;
        cells = rest;
    }
    Ok(Arc::new(builder.finish()))
}
