//! JSON lines to batches in the flat layout: our own columns typed, the user's as the JSON that they are.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Field, Schema};
use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use millrace_model::{Fault, Timestamp};

use super::members::{Members, broken, json, there, unquoted};
use super::{Batches, JSON_MARK, READ_ROWS, Wanted};
use crate::fault::damaged;
use crate::settings::Layout;
use crate::shape::{OWN_COLUMNS, flat_names};

/// Where lines come from.
pub(super) trait Lines: Send {
    /// Reads the next row as a JSON object into `line`, which is empty; false after the last.
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool>;
}

/// The user's columns in a file.
pub(super) struct Names {
    /// By their names in the file, in order, with those that they have in the flat layout.
    pub(super) names: Vec<(String, String)>,
}

impl Names {
    /// Of columns that are named as the source names them.
    fn of(columns: Vec<String>) -> Self {
        let flat = flat_names(columns.iter().map(String::as_str));
        Self { names: columns.into_iter().zip(flat).collect() }
    }
}

/// The rows of a file of JSON lines.
pub(super) fn batches(
    layout: Layout,
    path: &str,
    bytes: &Bytes,
    columns: Option<&[String]>,
    wanted: Wanted,
) -> Result<Batches, Fault> {
    let open = || Text::open(path, bytes.clone());
    let spoiled = |e: io::Error| damaged(path, e.to_string());
    let names = match (layout, columns) {
        _ if wanted == Wanted::Own => Names { names: Vec::new() },
        // Where every row is a truncate, no line has a column.
        (Layout::Envelope, Some(columns)) => Names::of(columns.to_vec()),
        _ => names_in(layout, open().map_err(spoiled)?).map_err(spoiled)?,
    };
    Ok(of_lines(layout, path, names, Box::new(open().map_err(spoiled)?), wanted))
}

/// The rows that lines tell.
pub(super) fn of_lines(layout: Layout, path: &str, names: Names, lines: Box<dyn Lines>, wanted: Wanted) -> Batches {
    let names = if wanted == Wanted::All { names } else { Names { names: Vec::new() } };
    let mut rows = Rows { layout, wanted, names, lines, line: Vec::new() };
    let path = path.to_owned();
    Box::new(std::iter::from_fn(move || rows.batch().map_err(|e| damaged(&path, e.to_string())).transpose()))
}

/// The text of a file.
struct Text(Box<dyn BufRead + Send>);

impl Text {
    #[expect(clippy::case_sensitive_file_extension_comparisons, reason = "the endings are ours")]
    fn open(path: &str, bytes: Bytes) -> io::Result<Self> {
        let compressed = bytes.reader();
        Ok(Self(if path.ends_with(".zst") {
            Box::new(BufReader::new(zstd::stream::read::Decoder::new(compressed)?))
        } else if path.ends_with(".gz") {
            Box::new(BufReader::new(MultiGzDecoder::new(compressed)))
        } else {
            Box::new(BufReader::new(Box::new(compressed) as Box<dyn Read + Send>))
        }))
    }
}

impl Lines for Text {
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        self.0.read_until(b'\n', line)?;
        if line.pop_if(|last| *last == b'\n').is_none() && !line.is_empty() {
            return Err(broken("its last line has no end"));
        }
        Ok(!line.is_empty())
    }
}

/// The user's columns, from the first line that has any.
fn names_in(layout: Layout, mut text: Text) -> io::Result<Names> {
    let mut line = Vec::new();
    while text.next(&mut line)? {
        let members = Members::of(text_of(&line)?)?.collect::<io::Result<Vec<_>>>()?;
        match layout {
            Layout::Flat => {
                let names = members.iter().map(|(name, _)| unquoted(name)).collect::<io::Result<Vec<_>>>()?;
                let user = names.into_iter().filter(|name| !OWN_COLUMNS.contains(&name.as_str()));
                return Ok(Names { names: user.map(|name| (name.clone(), name)).collect() });
            }
            Layout::Envelope => {
                let is_side = |name: &str| matches!(name, "\"before\"" | "\"after\"");
                let side = members.iter().find(|(name, value)| is_side(name) && *value != "null");
                if let Some((_, side)) = side {
                    let names = Members::of(side)?.map(|member| unquoted(member?.0));
                    return Ok(Names::of(names.collect::<io::Result<_>>()?));
                }
            }
        }
        line.clear();
    }
    Ok(Names { names: Vec::new() })
}

/// Rows on their way into batches.
struct Rows {
    layout: Layout,
    wanted: Wanted,
    names: Names,
    lines: Box<dyn Lines>,
    line: Vec<u8>,
}

impl Rows {
    fn batch(&mut self) -> io::Result<Option<RecordBatch>> {
        let mut columns = Columns::new(&self.names);
        let mut rows = 0;
        while rows < READ_ROWS {
            self.line.clear();
            if !self.lines.next(&mut self.line)? {
                break;
            }
            columns.line(self.layout, self.wanted, text_of(&self.line)?)?;
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        columns.finish(&self.names).map(Some).map_err(io::Error::other)
    }
}

/// The columns of a batch in the flat layout as they grow.
struct Columns {
    user: Vec<StringBuilder>,
    /// From a name in the file to that in the flat layout, where they differ.
    renamed: HashMap<String, String>,
    op: StringBuilder,
    sequence: Int64Builder,
    position: StringBuilder,
    tx_id: StringBuilder,
    tx_index: Int64Builder,
    commit_ts: TimestampMicrosecondBuilder,
    unavailable: ListBuilder<StringBuilder>,
    exact: MapBuilder<StringBuilder, StringBuilder>,
    snapshot: StringBuilder,
}

/// The members of a row that are ours, as JSON.
#[derive(Default)]
struct Own<'a> {
    op: &'a str,
    sequence: &'a str,
    position: &'a str,
    tx_id: &'a str,
    tx_index: &'a str,
    commit_ts: Commit<'a>,
    unavailable: &'a str,
    exact: &'a str,
    snapshot: &'a str,
}

/// When a row was committed, as JSON.
enum Commit<'a> {
    Text(&'a str),
    Micros(&'a str),
}

impl Default for Commit<'_> {
    fn default() -> Self {
        Self::Micros("null")
    }
}

impl Columns {
    fn new(names: &Names) -> Self {
        Self {
            user: names.names.iter().map(|_| StringBuilder::new()).collect(),
            renamed: names.names.iter().filter(|(here, flat)| here != flat).cloned().collect(),
            op: StringBuilder::new(),
            sequence: Int64Builder::new(),
            position: StringBuilder::new(),
            tx_id: StringBuilder::new(),
            tx_index: Int64Builder::new(),
            commit_ts: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            unavailable: ListBuilder::new(StringBuilder::new()),
            exact: MapBuilder::new(None, StringBuilder::new(), StringBuilder::new()),
            snapshot: StringBuilder::new(),
        }
    }

    fn line(&mut self, layout: Layout, wanted: Wanted, line: &str) -> io::Result<()> {
        let mut own = Own::default();
        match layout {
            Layout::Flat => {
                let mut user = self.user.iter_mut();
                for member in Members::of(line)? {
                    let (name, value) = member?;
                    if !own.take_flat(name, value) && wanted == Wanted::All {
                        user.next()
                            .ok_or_else(|| broken("a row has more columns than the first"))?
                            .append_option(there(value));
                    }
                }
                if user.next().is_some() {
                    return Err(broken("a row has fewer columns than the first"));
                }
            }
            Layout::Envelope => {
                let side = own.take_envelope(line)?;
                let mut members = there(side).map(Members::of).transpose()?;
                for column in &mut self.user {
                    let value = match &mut members {
                        Some(members) => members.next().ok_or_else(|| broken("a row lacks a column"))??.1,
                        None => "null",
                    };
                    column.append_option(there(value));
                }
            }
        }
        self.own(&own)
    }

    fn own(&mut self, own: &Own<'_>) -> io::Result<()> {
        self.op.append_option(json::<Option<String>>(own.op)?);
        self.sequence.append_option(json::<Option<i64>>(own.sequence)?);
        self.position.append_option(json::<Option<String>>(own.position)?);
        self.tx_id.append_option(json::<Option<String>>(own.tx_id)?);
        self.tx_index.append_option(json::<Option<i64>>(own.tx_index)?);
        self.commit_ts.append_option(match own.commit_ts {
            Commit::Micros(micros) => json::<Option<i64>>(micros)?,
            Commit::Text(text) => match json::<Option<String>>(text)? {
                Some(text) => Some(Timestamp::parse(&text).ok_or_else(|| broken("a time that is none"))?.0),
                None => None,
            },
        });
        let flat = |name: String| self.renamed.get(&name).cloned().unwrap_or(name);
        let unavailable = json::<Option<Vec<String>>>(own.unavailable)?;
        for name in unavailable.iter().flatten() {
            self.unavailable.values().append_value(flat(name.clone()));
        }
        self.unavailable.append(unavailable.is_some());
        if let Some(exact) = there(own.exact) {
            for member in Members::of(exact)? {
                let (name, text) = member?;
                self.exact.keys().append_value(flat(unquoted(name)?));
                self.exact.values().append_value(unquoted(text)?);
            }
        }
        self.exact.append(there(own.exact).is_some()).map_err(io::Error::other)?;
        self.snapshot.append_option(json::<Option<String>>(own.snapshot)?);
        Ok(())
    }

    fn finish(mut self, names: &Names) -> Result<RecordBatch, ArrowError> {
        let mark = HashMap::from([(JSON_MARK.to_owned(), String::new())]);
        let mut columns: Vec<ArrayRef> = Vec::new();
        let mut fields: Vec<Field> = Vec::new();
        for (column, (_, flat)) in self.user.iter_mut().zip(&names.names) {
            let column = column.finish();
            fields.push(Field::new(flat, arrow_schema::DataType::Utf8, true).with_metadata(mark.clone()));
            columns.push(Arc::new(column));
        }
        let own: [ArrayRef; 9] = [
            Arc::new(self.op.finish()),
            Arc::new(self.sequence.finish()),
            Arc::new(self.position.finish()),
            Arc::new(self.tx_id.finish()),
            Arc::new(self.tx_index.finish()),
            Arc::new(self.commit_ts.finish()),
            Arc::new(self.unavailable.finish()),
            Arc::new(self.exact.finish()),
            Arc::new(self.snapshot.finish()),
        ];
        fields.extend(
            OWN_COLUMNS.iter().zip(&own).map(|(name, array)| Field::new(*name, array.data_type().clone(), true)),
        );
        columns.extend(own);
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

impl<'a> Own<'a> {
    /// Takes a member of a flat row, if it is ours.
    fn take_flat(&mut self, name: &str, value: &'a str) -> bool {
        let place = match name {
            "\"_op\"" => &mut self.op,
            "\"_sequence\"" => &mut self.sequence,
            "\"_position\"" => &mut self.position,
            "\"_tx_id\"" => &mut self.tx_id,
            "\"_tx_index\"" => &mut self.tx_index,
            "\"_commit_ts\"" => {
                self.commit_ts = Commit::Text(value);
                return true;
            }
            "\"_unavailable\"" => &mut self.unavailable,
            "\"_exact\"" => &mut self.exact,
            "\"_snapshot\"" => &mut self.snapshot,
            _ => return false,
        };
        *place = value;
        true
    }

    /// Takes what is ours of an envelope; gives the side that the row has.
    fn take_envelope(&mut self, line: &'a str) -> io::Result<&'a str> {
        let (mut before, mut after) = ("null", "null");
        for member in Members::of(line)? {
            let (name, value) = member?;
            match name {
                "\"op\"" => self.op = value,
                "\"before\"" => before = value,
                "\"after\"" => after = value,
                "\"unavailable\"" => self.unavailable = value,
                "\"exact\"" => self.exact = value,
                "\"sequence\"" => self.sequence = value,
                "\"source\"" => self.take_source(value)?,
                _ => {}
            }
        }
        Ok(if self.op == "\"d\"" { before } else { after })
    }

    fn take_source(&mut self, source: &'a str) -> io::Result<()> {
        for member in Members::of(source)? {
            let (name, value) = member?;
            match name {
                "\"position\"" => self.position = value,
                "\"tx_id\"" => self.tx_id = value,
                "\"tx_index\"" => self.tx_index = value,
                "\"ts_us\"" => self.commit_ts = Commit::Micros(value),
                "\"snapshot\"" => self.snapshot = value,
                _ => {}
            }
        }
        Ok(())
    }
}

fn text_of(line: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(line).map_err(io::Error::other)
}
