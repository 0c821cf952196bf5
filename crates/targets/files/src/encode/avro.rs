//! Record batches to Avro object container files: row by row into a block, each block compressed for itself.
//!
//! Why not `arrow-avro`: it makes one block of a record batch, however large its rows (ADR 12).

mod schema;
mod squeeze;

use std::io::{self, Write};

use arrow_array::RecordBatch;
use millrace_model::TableSchema;
use sha2::{Digest, Sha256};

use super::cells::{Cells, Values, at, elements};
use super::{EncodeError, Measured};
use crate::shape::Shape;

use self::squeeze::BlockSqueeze;

/// A block of more bytes is ended: large enough to compress well, small enough that open files cost little.
const BLOCK_BYTES: usize = 256 * 1024;
/// Memory for a block that a large value has blown up beyond this is given back.
const KEPT_BYTES: usize = 4 * BLOCK_BYTES;
/// The first bytes of a container file.
pub(crate) const MAGIC: &[u8; 4] = b"Obj\x01";
/// Ends each block.
type Sync = [u8; 16];

/// An Avro file on its way.
pub(super) struct AvroFile<W: Write> {
    output: Measured<W>,
    sync: Sync,
    squeeze: BlockSqueeze,
    /// Rows that are not written yet, and how many.
    block: Vec<u8>,
    rows: i64,
}

impl<W: Write> AvroFile<W> {
    /// Starts a file. What ends its blocks comes from `salt`, which nobody can guess who may put a value into the file.
    pub(super) fn new(table: &TableSchema, shape: &Shape, salt: &str, mut output: Measured<W>) -> io::Result<Self> {
        let sync = sync_of(salt);
        let squeeze = BlockSqueeze::new(shape.form.compression)?;
        let mut head = MAGIC.to_vec();
        long(&mut head, 2);
        for (name, value) in [("avro.schema", schema::text(table, shape)), ("avro.codec", squeeze.name().to_owned())] {
            bytes(&mut head, name.as_bytes());
            bytes(&mut head, value.as_bytes());
        }
        long(&mut head, 0);
        head.extend_from_slice(&sync);
        output.write_all(&head)?;
        Ok(Self { output, sync, squeeze, block: Vec::new(), rows: 0 })
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), EncodeError> {
        let columns = Cells::all(rows.columns())?;
        for row in 0..rows.num_rows() {
            columns.iter().for_each(|column| cell(&mut self.block, column, row));
            self.rows += 1;
            if self.block.len() >= BLOCK_BYTES {
                self.end_block()?;
            }
        }
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        self.output.bytes + self.block.len() as u64
    }

    pub(super) fn finish(mut self) -> io::Result<Measured<W>> {
        if self.rows > 0 {
            self.end_block()?;
        }
        Ok(self.output)
    }

    fn end_block(&mut self) -> io::Result<()> {
        let squeezed = self.squeeze.squeeze(&self.block)?;
        let mut head = Vec::with_capacity(20);
        long(&mut head, self.rows);
        long(&mut head, squeezed.len() as i64);
        self.output.write_all(&head)?;
        self.output.write_all(squeezed)?;
        self.output.write_all(&self.sync)?;
        self.rows = 0;
        self.block.clear();
        self.block.shrink_to(KEPT_BYTES);
        Ok(())
    }
}

fn sync_of(salt: &str) -> Sync {
    let mut sync = Sync::default();
    sync.iter_mut().zip(Sha256::digest(salt.as_bytes())).for_each(|(byte, of_salt)| *byte = of_salt);
    sync
}

/// Appends a field: the number of its branch in the union with null, and its value.
fn cell(out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
    if cells.is_valid(row) {
        long(out, 1);
        value(out, &cells.values, row);
    } else {
        long(out, 0);
    }
}

fn value(out: &mut Vec<u8>, values: &Values<'_>, row: usize) {
    match values {
        Values::Bool(values) => out.push(u8::from(values.value(row))),
        Values::Int8(values) => long(out, i64::from(at(values, row))),
        Values::Int16(values) => long(out, i64::from(at(values, row))),
        Values::Int32(values) | Values::Date(values) => long(out, i64::from(at(values, row))),
        Values::Int64(values) | Values::Time(values) | Values::Timestamp(values, _) => long(out, at(values, row)),
        Values::UInt64(values) => decimal(out, i128::from(at(values, row))),
        Values::Float32(values) => out.extend_from_slice(&at(values, row).to_le_bytes()),
        Values::Float64(values) => out.extend_from_slice(&at(values, row).to_le_bytes()),
        Values::Decimal(values, _) => decimal(out, at(values, row)),
        Values::Text(values) => bytes(out, values.value(row).as_bytes()),
        Values::Bytes(values) => bytes(out, values.value(row)),
        Values::List(offsets, of) => blocks(out, elements(offsets, row), |out, i| value(out, &of.values, i)),
        Values::Map(offsets, keys, of) => blocks(out, elements(offsets, row), |out, i| {
            bytes(out, keys.value(i).as_bytes());
            value(out, &of.values, i);
        }),
        Values::Struct(parts) => parts.iter().for_each(|part| cell(out, part, row)),
    }
}

/// Appends the elements of an array or a map: at most one block, and an empty one.
fn blocks(out: &mut Vec<u8>, range: std::ops::Range<usize>, mut element: impl FnMut(&mut Vec<u8>, usize)) {
    if !range.is_empty() {
        long(out, range.len() as i64);
        range.for_each(|i| element(out, i));
    }
    long(out, 0);
}

/// Appends a number, small ones, of either sign, in few bytes.
fn long(out: &mut Vec<u8>, number: i64) {
    let mut rest = (number << 1 ^ number >> 63) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Appends an unscaled value: two's complement, the highest byte first, no byte more than it takes.
fn decimal(out: &mut Vec<u8>, number: i128) {
    let sign_bits = if number < 0 { number.leading_ones() } else { number.leading_zeros() };
    // One sign bit has to stay.
    let superfluous = (sign_bits.saturating_sub(1) / 8) as usize;
    bytes(out, number.to_be_bytes().get(superfluous.min(15)..).unwrap_or(&[0]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_in_the_specification_of_avro() {
        let of = |number| {
            let mut out = Vec::new();
            long(&mut out, number);
            out
        };
        assert_eq!([of(0), of(-1), of(1), of(-64)], [[0], [1], [2], [0x7f]]);
        assert_eq!(of(64), [0x80, 1]);
        assert_eq!(of(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn a_decimal_has_no_byte_more_than_it_takes() {
        let of = |number| {
            let mut out = Vec::new();
            decimal(&mut out, number);
            out.remove(0);
            out
        };
        assert_eq!([of(0), of(-1), of(127), of(-128)], [[0], [0xff], [0x7f], [0x80]]);
        assert_eq!([of(128), of(-129), of(256)], [[0, 0x80], [0xff, 0x7f], [1, 0]]);
        assert_eq!(of(i128::from(u64::MAX)).len(), 9);
        assert_eq!(of(i128::MIN).len(), 16);
    }
}
