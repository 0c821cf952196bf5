//! Rows out of a data file, one after the other, with their cells as JSON text.
//!
//! Whatever format and layout a file has, its rows come in the flat layout: so all that reads a lake reads every lake.

mod avro;
mod lines;
mod members;
mod parquet;

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use millrace_model::{Fault, SchemaVersion, TableEntry};

use crate::commit_json::FileJson;
use crate::encode::cells::Cells;
use crate::encode::text;
use crate::fault::damaged;
use crate::names::sha256_hex;
use crate::settings::{Form, Format};
use crate::store::Store;

/// Rows that are decoded at once.
const READ_ROWS: usize = 8 * 1024;

/// What is known of a table's files before they are opened.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    form: Form,
    /// Names of the columns of each version of the schema; nothing of a table that the registry has not.
    columns: BTreeMap<u32, Vec<String>>,
}

impl Told {
    pub(crate) fn of(form: Form, entry: Option<&TableEntry>) -> Self {
        let versions = entry.map_or(&[][..], |entry| entry.versions.as_slice());
        let names = |version: &SchemaVersion| version.columns.iter().map(|column| column.name.clone()).collect();
        Self { form, columns: versions.iter().map(|version| (version.version, names(version))).collect() }
    }
}

/// A data file that is read row by row.
pub(crate) struct FileRows {
    reader: Batches,
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

/// Batches in the flat layout.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, Fault>> + Send>;

/// What of a file's rows is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every column.
    All,
    /// Ours alone.
    Own,
}

/// The rows of a data file in the flat layout. A column of the user's that is marked with `JSON_MARK` holds JSON.
///
/// `columns` are the names of the table's columns as the registry has them, where it has the table: a file of JSON lines
/// may not say them.
pub(crate) fn batches(
    form: Form,
    path: &str,
    bytes: Bytes,
    columns: Option<&[String]>,
    wanted: Wanted,
) -> Result<Batches, Fault> {
    match form.format {
        Format::Parquet => parquet::batches(form.layout, path, bytes, wanted),
        Format::Json => lines::batches(form.layout, path, &bytes, columns, wanted),
        Format::Avro => avro::batches(form.layout, path, bytes, wanted),
    }
}

/// The key under which a field says that its texts are JSON.
const JSON_MARK: &str = "json";

impl FileRows {
    /// The rows of a data file.
    pub(crate) async fn open(store: &dyn Store, told: &Told, file: &FileJson) -> Result<Self, Fault> {
        let bytes = read_data(store, file).await?;
        let columns = told.columns.get(&file.schema_version).map(Vec::as_slice);
        let reader = batches(told.form, &file.path, bytes, columns, Wanted::All)?;
        let mut rows = Self { reader, batch: None, row: 0 };
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
            self.batch = self.reader.next().transpose()?;
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
        let schema = self.batch.schema_ref();
        let (index, field) = schema.column_with_name(column)?;
        let array = self.batch.columns().get(index).filter(|array| array.is_valid(self.row))?;
        if field.metadata().contains_key(JSON_MARK) {
            return array.as_string_opt::<i32>().map(|texts| texts.value(self.row).to_owned());
        }
        Some(json_of(&**array, self.row))
    }
}

/// A cell that is not null as JSON.
fn json_of(array: &dyn Array, row: usize) -> String {
    let mut out = Vec::new();
    match Cells::of(array) {
        Ok(cells) => text::value(&mut out, &cells.values, row),
        Err(_) => text::string(&mut out, &format!("(a {})", array.data_type())),
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
