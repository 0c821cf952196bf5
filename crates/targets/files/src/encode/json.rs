//! Record batches to JSON lines: one object a row, every column in it, nothing allocated for a value.

use std::io::{self, Write};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Fields};

use super::cells::{Cells, Values};
use super::squeeze::Squeeze;
use super::{EncodeError, Measured, text};
use crate::shape::Shape;

/// Text that is handed to the compressor at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// A longer value goes on in pieces of this size, which three divides, so that base64 is not broken.
const PIECE_BYTES: usize = 48 * 1024;

/// A file of JSON lines on its way.
pub(super) struct JsonFile<W: Write> {
    parts: Vec<Part>,
    sink: Sink<W>,
}

/// A member of an object.
struct Part {
    /// What stands before its value: `{` or `,`, its name, a colon.
    before: Vec<u8>,
    /// The members of a struct.
    parts: Vec<Part>,
}

struct Sink<W: Write> {
    buffer: Vec<u8>,
    output: Squeeze<Measured<W>>,
}

impl<W: Write> JsonFile<W> {
    pub(super) fn new(shape: &Shape, output: Measured<W>) -> io::Result<Self> {
        let output = Squeeze::new(shape.form.compression, output)?;
        Ok(Self { parts: parts_of(shape.schema.fields()), sink: Sink { buffer: Vec::new(), output } })
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), EncodeError> {
        let cells = Cells::all(rows.columns())?;
        for row in 0..rows.num_rows() {
            self.sink.object(&self.parts, &cells, row)?;
            self.sink.buffer.push(b'\n');
            self.sink.relieve()?;
        }
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        self.sink.output.output().bytes + self.sink.buffer.len() as u64
    }

    pub(super) fn finish(mut self) -> io::Result<Measured<W>> {
        self.sink.output.write_all(&self.sink.buffer)?;
        self.sink.output.finish()
    }
}

impl<W: Write> Sink<W> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "these are the kinds that can be large")]
    fn object(&mut self, parts: &[Part], cells: &[Cells<'_>], row: usize) -> io::Result<()> {
        for (part, cells) in parts.iter().zip(cells) {
            self.buffer.extend_from_slice(&part.before);
            match &cells.values {
                _ if !cells.is_valid(row) => self.buffer.extend_from_slice(b"null"),
                Values::Struct(members) => self.object(&part.parts, members, row)?,
                Values::Text(values) if values.value_length(row) as usize > PIECE_BYTES => {
                    self.in_pieces(values.value(row).as_bytes(), text::escaped)?;
                }
                Values::Bytes(values) if values.value_length(row) as usize > PIECE_BYTES => {
                    self.in_pieces(values.value(row), text::base64)?;
                }
                values => text::value(&mut self.buffer, values, row),
            }
        }
        self.buffer.push(b'}');
        Ok(())
    }

    /// A value that shall not lie in memory a second time.
    fn in_pieces(&mut self, value: &[u8], write: impl Fn(&mut Vec<u8>, &[u8])) -> io::Result<()> {
        self.buffer.push(b'"');
        for piece in value.chunks(PIECE_BYTES) {
            write(&mut self.buffer, piece);
            self.relieve()?;
        }
        self.buffer.push(b'"');
        Ok(())
    }

    fn relieve(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.output.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of all types only this has members")]
fn parts_of(fields: &Fields) -> Vec<Part> {
    let part = |(index, field): (usize, &arrow_schema::FieldRef)| {
        let mut before = vec![if index == 0 { b'{' } else { b',' }];
        text::string(&mut before, field.name());
        before.push(b':');
        let parts = match field.data_type() {
            DataType::Struct(fields) => parts_of(fields),
            _ => Vec::new(),
        };
        Part { before, parts }
    };
    fields.iter().enumerate().map(part).collect()
}
