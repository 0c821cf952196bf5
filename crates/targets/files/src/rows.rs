//! Rows out of a data file, one after the other, with their cells as JSON text.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use millrace_model::time::civil_from_days;
use millrace_model::{Fault, Timestamp};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::commit_json::FileJson;
use crate::fault::damaged;
use crate::names::sha256_hex;
use crate::store::Store;

/// Rows that are decoded at once.
const READ_ROWS: usize = 8 * 1024;

/// A data file that is read row by row.
pub(crate) struct FileRows {
    path: String,
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    row: usize,
}

/// The bytes of a data file that a commit names, proven to be those.
pub(crate) async fn read_data(store: &dyn Store, file: &FileJson) -> Result<Bytes, Fault> {
    let Some(bytes) = store.read(&file.path).await? else {
        return Err(damaged(&file.path, "a commit names this file, and it is not there"));
    };
    if bytes.len() as u64 != file.bytes {
        return Err(damaged(&file.path, format!("it has {} bytes, its commit says {}", bytes.len(), file.bytes)));
    }
    if sha256_hex(&bytes) != file.sha256 {
        return Err(damaged(&file.path, "its bytes are not those that its commit names"));
    }
    Ok(Bytes::from_owner(bytes))
}

/// Batches of some columns of a data file (all where `columns` is empty).
pub(crate) fn batches(path: &str, bytes: Bytes, columns: &[&str]) -> Result<ParquetRecordBatchReader, Fault> {
    let spoiled = |e: parquet::errors::ParquetError| damaged(path, e.to_string());
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(spoiled)?.with_batch_size(READ_ROWS);
    if !columns.is_empty() {
        let roots = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
        let wanted: Vec<usize> =
            roots.filter(|(_, field)| columns.contains(&field.name())).map(|(index, _)| index).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        builder = builder.with_projection(mask);
    }
    builder.build().map_err(spoiled)
}

impl FileRows {
    /// The rows of a data file.
    pub(crate) async fn open(store: &dyn Store, file: &FileJson) -> Result<Self, Fault> {
        let bytes = read_data(store, file).await?;
        let reader = batches(&file.path, bytes, &[])?;
        let mut rows = Self { path: file.path.clone(), reader, batch: None, row: 0 };
        rows.load()?;
        Ok(rows)
    }

    /// The current row; `None` after the last.
    pub(crate) fn current(&self) -> Option<RowRef<'_>> {
        self.batch.as_ref().map(|batch| RowRef { batch, row: self.row })
    }

    /// Goes on to the next row.
    pub(crate) fn advance(&mut self) -> Result<(), Fault> {
        self.row += 1;
        if self.batch.as_ref().is_some_and(|batch| self.row >= batch.num_rows()) {
            self.load()?;
        }
        Ok(())
    }

    fn load(&mut self) -> Result<(), Fault> {
        self.row = 0;
        loop {
            self.batch = self.reader.next().transpose().map_err(|e| damaged(&self.path, e.to_string()))?;
            if self.batch.as_ref().is_none_or(|batch| batch.num_rows() > 0) {
                return Ok(());
            }
        }
    }
}

/// One row of a batch.
#[derive(Clone, Copy)]
pub(crate) struct RowRef<'a> {
    pub(crate) batch: &'a RecordBatch,
    pub(crate) row: usize,
}

impl<'a> RowRef<'a> {
    pub(crate) fn sequence(self) -> u64 {
        let column = self.batch.column_by_name("_sequence").and_then(|column| column.as_primitive_opt::<Int64Type>());
        column.map_or(0, |column| column.value(self.row) as u64)
    }

    pub(crate) fn text(self, column: &str) -> Option<&'a str> {
        let column = self.batch.column_by_name(column)?.as_string_opt::<i32>()?;
        column.is_valid(self.row).then(|| column.value(self.row))
    }

    /// Names of the columns whose value the log did not carry.
    pub(crate) fn unavailable(self) -> Vec<String> {
        let column = self.batch.column_by_name("_unavailable").and_then(|column| column.as_list_opt::<i32>());
        let Some(column) = column.filter(|column| column.is_valid(self.row)) else { return Vec::new() };
        let names = column.value(self.row);
        names.as_string_opt::<i32>().map_or_else(Vec::new, |names| names.iter().flatten().map(str::to_owned).collect())
    }

    /// The source's text of the cells that their type cannot hold, by column.
    pub(crate) fn exact(self) -> Vec<(String, String)> {
        let column = self.batch.column_by_name("_exact").and_then(|column| column.as_map_opt());
        let Some(column) = column.filter(|column| column.is_valid(self.row)) else { return Vec::new() };
        let entries = column.value(self.row);
        let texts = |index: usize| {
            let texts = entries.columns().get(index).and_then(|texts| texts.as_string_opt::<i32>());
            texts.map_or_else(Vec::new, |texts| texts.iter().map(|text| text.unwrap_or("").to_owned()).collect())
        };
        texts(0).into_iter().zip(texts(1)).collect()
    }

    /// A cell as JSON, with the source's own text where the type could not hold it; `None` for null.
    pub(crate) fn cell(self, column: &str, exact: &[(String, String)]) -> Option<String> {
        if let Some((_, text)) = exact.iter().find(|(name, _)| name == column) {
            return Some(quoted(text));
        }
        let array = self.batch.column_by_name(column)?;
        array.is_valid(self.row).then(|| json_of(&**array, self.row))
    }
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A cell that is not null as JSON.
#[expect(clippy::wildcard_enum_match_arm, reason = "Arrow has more types than the layout")]
fn json_of(array: &dyn Array, row: usize) -> String {
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            float(value.is_finite(), f64::from(value), serde_json::to_string(&value))
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            float(value.is_finite(), value, serde_json::to_string(&value))
        }
        DataType::Decimal128(_, _) => quoted(&array.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Utf8 => quoted(array.as_string::<i32>().value(row)),
        DataType::Binary => quoted(&base64(array.as_binary::<i32>().value(row))),
        DataType::Date32 => quoted(&date(array.as_primitive::<Date32Type>().value(row))),
        DataType::Time64(_) => quoted(&time(array.as_primitive::<Time64MicrosecondType>().value(row))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let text = Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)).to_string();
            quoted(if zone.is_some() { &text } else { text.trim_end_matches('Z') })
        }
        DataType::List(_) => list(&*array.as_list::<i32>().value(row)),
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
            let pairs = keys.iter().zip(values.iter());
            let pairs: Vec<String> = pairs
                .map(|(key, value)| format!("{}:{}", quoted(key.unwrap_or("")), quoted(value.unwrap_or(""))))
                .collect();
            format!("{{{}}}", pairs.join(","))
        }
        other => quoted(&format!("(a {other})")),
    }
}

fn list(values: &dyn Array) -> String {
    let cells: Vec<String> =
        (0..values.len()).map(|i| if values.is_valid(i) { json_of(values, i) } else { "null".into() }).collect();
    format!("[{}]", cells.join(","))
}

/// Numbers plain; what is no number as a string, by the names that PostgreSQL has for it.
fn float(finite: bool, value: f64, plain: Result<String, serde_json::Error>) -> String {
    match plain {
        Ok(plain) if finite => plain,
        _ if value.is_nan() => quoted("NaN"),
        _ if value > 0.0 => quoted("Infinity"),
        _ => quoted("-Infinity"),
    }
}

fn date(days: i32) -> String {
    let (year, month, day) = civil_from_days(i64::from(days));
    format!("{year:04}-{month:02}-{day:02}")
}

/// As the time of day in a timestamp.
fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction % 1000 == 0 {
        format!("{hour:02}:{minute:02}:{second:02}.{:03}", fraction / 1000)
    } else {
        format!("{hour:02}:{minute:02}:{second:02}.{fraction:06}")
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    let letter = |six: u8| match six {
        0..26 => b'A' + six,
        26..52 => b'a' + (six - 26),
        52..62 => b'0' + (six - 52),
        62 => b'+',
        _ => b'/',
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| bits << 8 | u32::from(three.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let six = (bits >> (18 - 6 * i) & 63) as u8;
            text.push(if i <= three.len() { char::from(letter(six)) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_base64() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn times_of_day_have_milliseconds_or_microseconds() {
        assert_eq!(time(50_587_412_000), "14:03:07.412");
        assert_eq!(time(86_399_999_999), "23:59:59.999999");
    }
}
