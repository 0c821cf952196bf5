//! One growing column in memory.
//!
//! A builder starts without a byte of its own, so that thousands of quiet tables cost next to nothing, and doubles as it
//! grows. Text is kept as bytes and checked for UTF-8 once a batch, not once a value.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder, Int8Builder,
    Int16Builder, Int32Builder, Int64Builder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, StringArray};
use arrow_schema::ArrowError;

use crate::schema::Kind;

/// A column that grows by one value a row. The variants follow [`Kind::data_type`].
#[derive(Debug)]
pub enum ColumnBuilder {
    /// `Kind::Bool`
    Bool(BooleanBuilder),
    /// `Kind::Int8`
    Int8(Int8Builder),
    /// `Kind::Int16`
    Int16(Int16Builder),
    /// `Kind::Int32`
    Int32(Int32Builder),
    /// `Kind::Int64`
    Int64(Int64Builder),
    /// `Kind::UInt64`
    UInt64(UInt64Builder),
    /// `Kind::Float32`
    Float32(Float32Builder),
    /// `Kind::Float64`
    Float64(Float64Builder),
    /// `Kind::Decimal`: the unscaled value
    Decimal(Decimal128Builder),
    /// Text-like kinds, as UTF-8 bytes
    Text(BinaryBuilder),
    /// `Kind::Bytes`
    Bytes(BinaryBuilder),
    /// `Kind::Date`
    Date(Date32Builder),
    /// `Kind::Time`
    Time(Time64MicrosecondBuilder),
    /// `Kind::Timestamp` and `Kind::TimestampTz`
    Timestamp(TimestampMicrosecondBuilder),
}

/// Runs the same expression for the builder of every variant.
macro_rules! each {
    ($column:expr, $builder:ident => $body:expr) => {
        match $column {
            ColumnBuilder::Bool($builder) => $body,
            ColumnBuilder::Int8($builder) => $body,
            ColumnBuilder::Int16($builder) => $body,
            ColumnBuilder::Int32($builder) => $body,
            ColumnBuilder::Int64($builder) => $body,
            ColumnBuilder::UInt64($builder) => $body,
            ColumnBuilder::Float32($builder) => $body,
            ColumnBuilder::Float64($builder) => $body,
            ColumnBuilder::Decimal($builder) => $body,
            ColumnBuilder::Text($builder) => $body,
            ColumnBuilder::Bytes($builder) => $body,
            ColumnBuilder::Date($builder) => $body,
            ColumnBuilder::Time($builder) => $body,
            ColumnBuilder::Timestamp($builder) => $body,
        }
    };
}

impl ColumnBuilder {
    /// An empty column for values of `kind`.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::with_capacity(0)),
            Kind::Int8 => Self::Int8(Int8Builder::with_capacity(0)),
            Kind::Int16 => Self::Int16(Int16Builder::with_capacity(0)),
            Kind::Int32 => Self::Int32(Int32Builder::with_capacity(0)),
            Kind::Int64 => Self::Int64(Int64Builder::with_capacity(0)),
            Kind::UInt64 => Self::UInt64(UInt64Builder::with_capacity(0)),
            Kind::Float32 => Self::Float32(Float32Builder::with_capacity(0)),
            Kind::Float64 => Self::Float64(Float64Builder::with_capacity(0)),
            Kind::Decimal { .. } => Self::Decimal(Decimal128Builder::with_capacity(0).with_data_type(kind.data_type())),
            Kind::Text | Kind::Interval | Kind::Uuid | Kind::Json => Self::Text(BinaryBuilder::with_capacity(0, 0)),
            Kind::Bytes => Self::Bytes(BinaryBuilder::with_capacity(0, 0)),
            Kind::Date => Self::Date(Date32Builder::with_capacity(0)),
            Kind::Time => Self::Time(Time64MicrosecondBuilder::with_capacity(0)),
            Kind::Timestamp | Kind::TimestampTz => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(0).with_data_type(kind.data_type()))
            }
        }
    }

    /// Appends a null.
    pub fn append_null(&mut self) {
        each!(self, builder => builder.append_null());
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        use arrow_array::builder::ArrayBuilder;
        each!(self, builder => ArrayBuilder::len(builder))
    }

    /// Whether there is no value yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what was appended as an array; the column starts again, empty.
    ///
    /// Fails where text is not UTF-8, which a source that was asked for UTF-8 must not send.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        if let Self::Text(builder) = self {
            let (offsets, values, nulls) = builder.finish().into_parts();
            return Ok(Arc::new(StringArray::try_new(offsets, values, nulls)?));
        }
        Ok(each!(self, builder => Arc::new(builder.finish())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;

    #[test]
    fn an_array_has_the_type_of_its_kind() {
        let kinds = [
            Kind::Bool,
            Kind::Int8,
            Kind::Int16,
            Kind::Int32,
            Kind::Int64,
            Kind::UInt64,
            Kind::Float32,
            Kind::Float64,
            Kind::Decimal { precision: 10, scale: 2 },
            Kind::Text,
            Kind::Bytes,
            Kind::Date,
            Kind::Time,
            Kind::Timestamp,
            Kind::TimestampTz,
            Kind::Interval,
            Kind::Uuid,
            Kind::Json,
        ];
        for kind in kinds {
            let mut column = ColumnBuilder::new(kind);
            column.append_null();
            let array = column.finish().unwrap();
            assert_eq!((array.data_type(), array.null_count()), (&kind.data_type(), 1), "{kind}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let mut column = ColumnBuilder::new(Kind::Text);
        if let ColumnBuilder::Text(builder) = &mut column {
            builder.append_value([0xff, 0xfe]);
        }
        assert!(column.finish().is_err());
    }
}
