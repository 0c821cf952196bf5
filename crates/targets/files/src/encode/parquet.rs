//! Record batches to Parquet: row groups of bounded memory.

use std::io::Write;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use millrace_model::{Kind, TableSchema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::{Measured, Values};
use crate::settings::{Compression, Layout};
use crate::shape::{Lie, Shape, lie_of};

/// A row group is closed when an open encoder holds so much: the process has few such encoders and little memory.
const ROW_GROUP_MEMORY: usize = 8 << 20;
/// Uncompressed bytes of one page of one column.
const PAGE_BYTES: usize = 256 * 1024;
/// A column of text that has more distinct values than fit here goes on plain: hashing each would cost more than it saves.
const DICTIONARY_BYTES: usize = 64 * 1024;

/// A Parquet file on its way.
pub(super) struct ParquetFile<W: Write + Send> {
    writer: ArrowWriter<Measured<W>>,
}

impl<W: Write + Send> ParquetFile<W> {
    pub(super) fn new(
        table: &TableSchema,
        shape: &Shape,
        values: Values,
        output: Measured<W>,
    ) -> Result<Self, ParquetError> {
        let options = ArrowWriterOptions::new()
            .with_properties(properties(table, shape, values)?)
            // Readers derive their own types from the Parquet schema; ours would only surprise them.
            .with_skip_arrow_metadata(true);
        Ok(Self { writer: ArrowWriter::try_new_with_options(output, Arc::clone(&shape.schema), options)? })
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        self.writer.write(rows)?;
        if self.writer.memory_size() >= ROW_GROUP_MEMORY {
            self.writer.flush()?;
        }
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    pub(super) fn finish(self) -> Result<Measured<W>, ParquetError> {
        self.writer.into_inner()
    }
}

fn properties(table: &TableSchema, shape: &Shape, values: Values) -> Result<WriterProperties, ParquetError> {
    let codec = match shape.form.compression {
        Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(1)?),
        Compression::Snappy => Codec::SNAPPY,
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Deflate | Compression::Gzip => {
            return Err(ParquetError::General("a compression that Parquet files of ours do not have".into()));
        }
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
    let (images, delta, without_statistics) = match shape.form.layout {
        Layout::Flat => (&[None][..], FLAT_DELTA, FLAT_WITHOUT_STATISTICS),
        Layout::Envelope => (&[Some("before"), Some("after")][..], ENVELOPE_DELTA, ENVELOPE_WITHOUT_STATISTICS),
    };
    for &image in images {
        for (column, name) in table.columns.iter().zip(&shape.names) {
            let parts = image.map(str::to_owned).into_iter().chain([name.clone()]);
            builder = of_column(builder, ColumnPath::new(parts.collect()), shape, column.kind, values);
        }
    }
    for own in delta {
        builder = lay(builder, path_of(own), Lie::Delta);
    }
    for own in without_statistics {
        builder = builder.set_column_statistics_enabled(path_of(own), EnabledStatistics::None);
    }
    Ok(builder.build())
}

/// Our own columns that hold rising numbers, and those whose least and greatest nobody asks for.
const FLAT_DELTA: &[&[&str]] = &[&["_sequence"], &["_tx_index"], &["_commit_ts"]];
const FLAT_WITHOUT_STATISTICS: &[&[&str]] = &[&["_tx_index"], &["_position"], &["_tx_id"]];
const ENVELOPE_DELTA: &[&[&str]] = &[&["sequence"], &["ts_us"], &["source", "tx_index"], &["source", "ts_us"]];
const ENVELOPE_WITHOUT_STATISTICS: &[&[&str]] =
    &[&["source", "tx_index"], &["source", "position"], &["source", "tx_id"]];

fn path_of(parts: &[&str]) -> ColumnPath {
    ColumnPath::new(parts.iter().map(|&part| part.to_owned()).collect())
}

fn of_column(
    mut builder: WriterPropertiesBuilder,
    path: ColumnPath,
    shape: &Shape,
    kind: Kind,
    values: Values,
) -> WriterPropertiesBuilder {
    let can_be_large = matches!(kind.data_type(), DataType::Utf8 | DataType::Binary);
    let is_large = can_be_large && values == Values::Large;
    if matches!(kind, Kind::Json | Kind::Bytes) || is_large {
        builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
    }
    let lie = if is_large {
        Lie::Plain
    } else if shape.is_text_of(kind) {
        Lie::Dictionary
    } else {
        lie_of(kind)
    };
    lay(builder, path, lie)
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
