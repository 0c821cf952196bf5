//! One value into its column: how each type of the server lies on the wire, and which column it fills.

use arrow_array::builder::{GenericByteBuilder, PrimitiveBuilder};
use arrow_array::types::{ArrowPrimitiveType, ByteArrayType};
use millrace_model::{ColumnBuilder, TableChanges};

use crate::decode::message::Cell;
use crate::decode::reader::Malformed;
use crate::decode::{binary, text};

/// How the values of a column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoder {
    /// bool
    Bool,
    /// int2
    Int16,
    /// int4
    Int32,
    /// int8
    Int64,
    /// oid, unsigned on the wire
    Oid,
    /// float4
    Float32,
    /// float8
    Float64,
    /// numeric(p,s) that fits a decimal
    Decimal {
        /// digits in all
        precision: u8,
        /// digits after the point
        scale: u8,
    },
    /// any other numeric, as text
    NumericText,
    /// bytea
    Bytes,
    /// date
    Date,
    /// time
    Time,
    /// timestamp
    Timestamp,
    /// timestamptz
    TimestampTz,
    /// uuid
    Uuid,
    /// jsonb, whose binary form has a version in front
    Jsonb,
    /// "char"
    Char,
    /// a type whose binary form is its text, or which has none
    Text,
    /// a type that is read in text form only
    TextOnly,
}

/// Appends the cell of a column to the current row. An unsent value is not known here: see `row`.
#[inline]
pub(crate) fn append(
    rows: &mut TableChanges,
    column: usize,
    decoder: Decoder,
    cell: Cell<'_>,
    scratch: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match cell.form {
        b't' => text::append(rows, column, decoder, cell.bytes, scratch),
        b'b' => binary::append(rows, column, decoder, cell.bytes, scratch),
        b'n' => append_null(rows, column),
        _ => Err(Malformed("a value that was not sent where one must be")),
    }
}

/// Appends null.
#[inline]
pub(crate) fn append_null(rows: &mut TableChanges, column: usize) -> Result<(), Malformed> {
    rows.columns.get_mut(column).ok_or(NO_COLUMN)?.append_null();
    Ok(())
}

const NO_COLUMN: Malformed = Malformed("a row has more columns than its table");
const OTHER_COLUMN: Malformed = Malformed("a column is not of its type's kind");

/// Appends to a column of numbers.
#[inline]
pub(crate) fn push<T: ArrowPrimitiveType>(
    builder: Option<&mut PrimitiveBuilder<T>>,
    value: T::Native,
) -> Result<(), Malformed> {
    builder.ok_or(OTHER_COLUMN)?.append_value(value);
    Ok(())
}

/// Appends to a column of bytes.
#[inline]
pub(crate) fn push_bytes<T: ByteArrayType>(
    builder: Option<&mut GenericByteBuilder<T>>,
    value: impl AsRef<T::Native>,
) -> Result<(), Malformed> {
    builder.ok_or(OTHER_COLUMN)?.append_value(value);
    Ok(())
}

/// Appends a truth value.
#[inline]
pub(crate) fn push_bool(rows: &mut TableChanges, column: usize, value: bool) -> Result<(), Malformed> {
    match rows.columns.get_mut(column) {
        Some(ColumnBuilder::Bool(builder)) => builder.append_value(value),
        _ => return Err(OTHER_COLUMN),
    }
    Ok(())
}

/// The builder of a column, if it is of the given variant.
macro_rules! builder {
    ($rows:expr, $column:expr, $variant:ident) => {
        match $rows.columns.get_mut($column) {
            Some(millrace_model::ColumnBuilder::$variant(builder)) => Some(builder),
            _ => None,
        }
    };
}
pub(crate) use builder;
