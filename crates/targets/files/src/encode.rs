//! Rows to data files: a batch, a slice at a time, becomes record batches in the layout (`records`), and these become bytes
//! of the format (`parquet`, `avro`, `json`).
//!
//! Nothing here waits or touches a store but through `Write`; it runs on a blocking thread.

mod avro;
pub(crate) mod cells;
mod json;
mod old;
mod parquet;
pub(crate) mod records;
mod squeeze;
pub(crate) mod text;

use std::io::{self, Write};

use ::parquet::errors::ParquetError;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_schema::ArrowError;
use millrace_model::{Batch, TableSchema, Timestamp};
use sha2::{Digest, Sha256};

use self::avro::AvroFile;
pub(crate) use self::avro::MAGIC;
use self::json::JsonFile;
use self::parquet::ParquetFile;
use self::records::{About, record_batch};
use crate::names::hex;
use crate::settings::{Form, Format};
use crate::shape::Shape;

/// Rows that are encoded at once: enough to amortise, few enough that our own columns stay in the cache.
const SLICE_ROWS: usize = 16 * 1024;

/// zstd's fastest of its regular levels.
const ZSTD_LEVEL: i32 = 1;
/// Deflate's fastest: higher ones cost several times as much for a tenth of the bytes.
const DEFLATE_LEVEL: flate2::Compression = flate2::Compression::fast();

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
    /// Of a batch, as far as it makes a difference: only Parquet keeps anything of a value but the value.
    pub(crate) fn of(batch: &Batch, format: Format) -> Self {
        if format != Format::Parquet {
            return Self::Small;
        }
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
    about: About,
    file: File<W>,
}

enum File<W: Write + Send> {
    Parquet(ParquetFile<W>),
    Json(JsonFile<W>),
    Avro(AvroFile<W>),
}

/// What an encoder has become.
pub(crate) struct Encoded<W> {
    pub(crate) output: W,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// Why rows could not be encoded.
#[derive(Debug)]
pub(crate) enum EncodeError {
    /// The file takes no bytes.
    Output(io::Error),
    /// The rows are not what they should be.
    Rows(Box<dyn std::error::Error + Send + Sync>),
}

impl<W: Write + Send> Encoder<W> {
    /// Starts a file for rows of `table`.
    pub(crate) fn new(
        table: &TableSchema,
        form: Form,
        values: Values,
        about: About,
        output: W,
    ) -> Result<Self, EncodeError> {
        let shape = Shape::of(table, form);
        let output = Measured { output, hash: Sha256::new(), bytes: 0 };
        let file = match form.format {
            Format::Parquet => File::Parquet(ParquetFile::new(table, &shape, values, output)?),
            Format::Json => File::Json(JsonFile::new(&shape, output)?),
            Format::Avro => File::Avro(AvroFile::new(table, &shape, &about.salt, output)?),
        };
        Ok(Self { shape, about, file })
    }

    /// Encodes rows of `batch`, which was read at `read`, from `from` on, until the file has grown to `limit` bytes; returns
    /// the row it stopped at.
    pub(crate) fn write(
        &mut self,
        batch: &Batch,
        read: Timestamp,
        from: usize,
        limit: u64,
    ) -> Result<usize, EncodeError> {
        let mut row = from;
        while row < batch.rows() && self.size() < limit {
            let slice = row..batch.rows().min(row + SLICE_ROWS);
            let rows: RecordBatch = record_batch(&self.shape, &self.about, batch, read, &slice)?;
            match &mut self.file {
                File::Parquet(file) => file.write(&rows)?,
                File::Json(file) => file.write(&rows)?,
                File::Avro(file) => file.write(&rows)?,
            }
            row = slice.end;
        }
        Ok(row)
    }

    /// About how large the file would be if it ended here.
    fn size(&self) -> u64 {
        match &self.file {
            File::Parquet(file) => file.size(),
            File::Json(file) => file.size(),
            File::Avro(file) => file.size(),
        }
    }

    /// Ends the file.
    pub(crate) fn finish(self) -> Result<Encoded<W>, EncodeError> {
        let Measured { output, hash, bytes } = match self.file {
            File::Parquet(file) => file.finish()?,
            File::Json(file) => file.finish()?,
            File::Avro(file) => file.finish()?,
        };
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

impl From<io::Error> for EncodeError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<ArrowError> for EncodeError {
    fn from(error: ArrowError) -> Self {
        Self::Rows(Box::new(error))
    }
}

impl From<ParquetError> for EncodeError {
    /// A full disk shows while a page is written; all else is a mistake of ours.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only one kind of theirs is not our mistake")]
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(io) => Self::Output(*io),
                Err(inner) => Self::Rows(inner),
            },
            error => Self::Rows(Box::new(error)),
        }
    }
}
