//! Avro files to batches in the flat layout: each row becomes the line that a file of JSON lines would have.

use std::io;

use bytes::Bytes;
use flate2::read::DeflateDecoder;
use millrace_model::Fault;
use serde_json::Value;

use super::lines::{Lines, Names, of_lines};
use super::members::broken;
use super::{Batches, Wanted};
use crate::encode::MAGIC;
use crate::encode::text;
use crate::fault::damaged;
use crate::settings::Layout;
use crate::shape::{OWN_COLUMNS, flat_names};

/// The rows of a file.
pub(super) fn batches(layout: Layout, path: &str, bytes: Bytes, wanted: Wanted) -> Result<Batches, Fault> {
    let file = Container::open(bytes).map_err(|e| damaged(path, e.to_string()))?;
    let names = file.names(layout);
    Ok(of_lines(layout, path, names, Box::new(file), wanted))
}

/// A container file.
struct Container {
    bytes: Bytes,
    /// Where the next block begins.
    next: usize,
    codec: String,
    sync: Vec<u8>,
    fields: Vec<Field>,
    block: Vec<u8>,
    /// Where the next row of the block begins, and how many are left.
    row: usize,
    rows: i64,
}

/// A field of a record.
struct Field {
    name: String,
    /// As the source names it, where it is a column of the user's.
    column: Option<String>,
    kind: Kind,
}

/// What a value looks like.
enum Kind {
    Bool,
    Whole,
    Float,
    Double,
    /// With its scale; a number as JSON has it, or a text.
    Decimal(i8, IsNumber),
    Bytes,
    Text,
    Date,
    Time,
    Timestamp(IsUtc),
    List(Box<Kind>),
    Map(Box<Kind>),
    Record(Vec<Field>),
}

type IsNumber = bool;
type IsUtc = bool;

impl Container {
    fn open(bytes: Bytes) -> io::Result<Self> {
        let mut reader = Reader { bytes: &bytes, at: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(broken("it is no container file of Avro"));
        }
        let (mut schema, mut codec) = (None, "null".to_owned());
        loop {
            let count = reader.long()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let (name, value) = (reader.bytes()?, reader.bytes()?);
                match name {
                    b"avro.schema" => schema = serde_json::from_slice::<Value>(value).ok(),
                    b"avro.codec" => codec = String::from_utf8_lossy(value).into_owned(),
                    _ => {}
                }
            }
        }
        let sync = reader.take(16)?.to_vec();
        let next = reader.at;
        let Some(Kind::Record(fields)) = schema.as_ref().and_then(|schema| kind_of(schema, None)) else {
            return Err(broken("its schema is not one of millrace"));
        };
        Ok(Self { bytes, next, codec, sync, fields, block: Vec::new(), row: 0, rows: 0 })
    }

    /// The user's columns.
    fn names(&self, layout: Layout) -> Names {
        let fields: &[Field] = match layout {
            Layout::Flat => &self.fields,
            Layout::Envelope => {
                let after = self.fields.iter().find(|field| field.name == "after").map(|field| &field.kind);
                if let Some(Kind::Record(fields)) = after { fields } else { &[] }
            }
        };
        let is_own = |field: &Field| layout == Layout::Flat && OWN_COLUMNS.contains(&field.name.as_str());
        let user: Vec<&Field> = fields.iter().filter(|field| !is_own(field)).collect();
        let flat = flat_names(user.iter().map(|field| field.column.as_deref().unwrap_or(&field.name)));
        Names { names: user.into_iter().map(|field| field.name.clone()).zip(flat).collect() }
    }

    fn next_block(&mut self) -> io::Result<bool> {
        if self.next >= self.bytes.len() {
            return Ok(false);
        }
        let mut reader = Reader { bytes: &self.bytes, at: self.next };
        self.rows = reader.long()?;
        let squeezed = reader.bytes()?;
        self.block = unsqueezed(&self.codec, squeezed)?;
        if reader.take(16)? != self.sync {
            return Err(broken("a block does not end as it should"));
        }
        self.next = reader.at;
        self.row = 0;
        Ok(true)
    }
}

impl Lines for Container {
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        while self.rows == 0 {
            if !self.next_block()? {
                return Ok(false);
            }
        }
        let mut reader = Reader { bytes: &self.block, at: self.row };
        record(&mut reader, &self.fields, line)?;
        self.row = reader.at;
        self.rows -= 1;
        Ok(true)
    }
}

fn unsqueezed(codec: &str, squeezed: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        "null" => Ok(squeezed.to_vec()),
        "zstandard" => zstd::stream::decode_all(squeezed),
        "deflate" => {
            let mut block = Vec::new();
            io::copy(&mut DeflateDecoder::new(squeezed), &mut block)?;
            Ok(block)
        }
        "snappy" => {
            let (block, crc) =
                squeezed.split_last_chunk::<4>().ok_or_else(|| broken("a block without its checksum"))?;
            let block = snap::raw::Decoder::new().decompress_vec(block)?;
            let mut sum = flate2::Crc::new();
            sum.update(&block);
            if sum.sum().to_be_bytes() != *crc {
                return Err(broken("a block has another checksum than it says"));
            }
            Ok(block)
        }
        _ => Err(broken("a codec that millrace does not write")),
    }
}

/// What a schema says; `None` for what no file of ours has.
fn kind_of(schema: &Value, column_kind: Option<&str>) -> Option<Kind> {
    let word = schema.as_str().or_else(|| schema.get("type")?.as_str())?;
    let logical = schema.get("logicalType").and_then(Value::as_str);
    Some(match (word, logical) {
        ("bytes", Some("decimal")) => {
            let scale = schema.get("scale").and_then(Value::as_i64).unwrap_or(0);
            Kind::Decimal(i8::try_from(scale).ok()?, column_kind == Some("uint64"))
        }
        (_, Some("date")) => Kind::Date,
        (_, Some("time-micros")) => Kind::Time,
        (_, Some("timestamp-micros")) => Kind::Timestamp(true),
        (_, Some("local-timestamp-micros")) => Kind::Timestamp(false),
        ("boolean", _) => Kind::Bool,
        ("int" | "long", _) => Kind::Whole,
        ("float", _) => Kind::Float,
        ("double", _) => Kind::Double,
        ("bytes", _) => Kind::Bytes,
        ("string", _) => Kind::Text,
        ("array", _) => Kind::List(Box::new(kind_of(schema.get("items")?, None)?)),
        ("map", _) => Kind::Map(Box::new(kind_of(schema.get("values")?, None)?)),
        ("record", _) => {
            let fields = schema.get("fields")?.as_array()?.iter().map(field_of);
            Kind::Record(fields.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// A field: a union of null and what it is.
fn field_of(field: &Value) -> Option<Field> {
    let text = |name: &str| field.get(name).and_then(Value::as_str);
    let [null, kind] = field.get("type")?.as_array()?.as_slice() else { return None };
    Some(Field {
        name: text("name")?.to_owned(),
        column: text("column-name").map(str::to_owned),
        kind: kind_of(kind, text("column-kind")).filter(|_| null == "null")?,
    })
}

/// Appends a record as a JSON object.
fn record(reader: &mut Reader<'_>, fields: &[Field], out: &mut Vec<u8>) -> io::Result<()> {
    out.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text::string(out, &field.name);
        out.push(b':');
        match reader.long()? {
            0 => out.extend_from_slice(b"null"),
            1 => value(reader, &field.kind, out)?,
            _ => return Err(broken("a branch that a union does not have")),
        }
    }
    out.push(b'}');
    Ok(())
}

fn value(reader: &mut Reader<'_>, kind: &Kind, out: &mut Vec<u8>) -> io::Result<()> {
    match kind {
        Kind::Bool => out.extend_from_slice(if reader.take(1)? == [1] { b"true" } else { b"false" }),
        Kind::Whole => text::number(out, reader.long()?),
        Kind::Float => {
            let value = f32::from_le_bytes(reader.array()?);
            text::float(out, f64::from(value), value);
        }
        Kind::Double => {
            let value = f64::from_le_bytes(reader.array()?);
            text::float(out, value, value);
        }
        Kind::Decimal(scale, is_number) => {
            let unscaled = unscaled(reader.bytes()?)?;
            if *is_number {
                text::number(out, unscaled);
            } else {
                text::within_quotes(out, |out| text::decimal(out, unscaled, *scale));
            }
        }
        Kind::Bytes => {
            let bytes = reader.bytes()?;
            text::within_quotes(out, |out| text::base64(out, bytes));
        }
        Kind::Text => text::string(out, std::str::from_utf8(reader.bytes()?).map_err(io::Error::other)?),
        Kind::Date => {
            let days = reader.long()?;
            text::within_quotes(out, |out| text::date(out, days));
        }
        Kind::Time => {
            let micros = reader.long()?;
            text::within_quotes(out, |out| text::time(out, micros));
        }
        Kind::Timestamp(is_utc) => {
            let micros = reader.long()?;
            text::within_quotes(out, |out| text::timestamp(out, micros, *is_utc));
        }
        Kind::List(of) => blocks(reader, out, [b'[', b']'], |reader, out| value(reader, of, out))?,
        Kind::Map(of) => blocks(reader, out, [b'{', b'}'], |reader, out| {
            text::string(out, std::str::from_utf8(reader.bytes()?).map_err(io::Error::other)?);
            out.push(b':');
            value(reader, of, out)
        })?,
        Kind::Record(fields) => record(reader, fields, out)?,
    }
    Ok(())
}

fn blocks(
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    mut element: impl FnMut(&mut Reader<'_>, &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    out.push(open);
    let mut is_first = true;
    loop {
        let count = reader.long()?;
        if count == 0 {
            break;
        }
        for _ in 0..count {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            element(reader, out)?;
        }
    }
    out.push(close);
    Ok(())
}

fn unscaled(bytes: &[u8]) -> io::Result<i128> {
    let is_negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    if bytes.len() > 16 {
        return Err(broken("a decimal of too many digits"));
    }
    Ok(bytes.iter().fold(if is_negative { -1 } else { 0 }, |number, &byte| number << 8 | i128::from(byte)))
}

/// Takes bytes apart.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| broken("it ends too early"))?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N)?.try_into().map_err(io::Error::other)
    }

    fn long(&mut self) -> io::Result<i64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(broken("a number that does not end"))
    }

    fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(io::Error::other)?)
    }
}
