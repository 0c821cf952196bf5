//! Columns by their type, found once for many rows: what the formats that are written row by row loop over.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};
use arrow_array::{Array, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, DataType, TimeUnit};

/// A column.
pub(crate) struct Cells<'a> {
    nulls: Option<&'a NullBuffer>,
    pub(crate) values: Values<'a>,
}

/// Its values.
pub(crate) enum Values<'a> {
    Bool(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    /// Unscaled values, and the scale.
    Decimal(&'a [i128], i8),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    /// Days since 1970-01-01.
    Date(&'a [i32]),
    /// Microseconds since midnight.
    Time(&'a [i64]),
    /// Microseconds since 1970-01-01, and whether they are UTC.
    Timestamp(&'a [i64], bool),
    /// Where the elements of each row end, after a 0, and the elements.
    List(&'a [i32], Box<Cells<'a>>),
    /// The same with keys.
    Map(&'a [i32], &'a StringArray, Box<Cells<'a>>),
    Struct(Vec<Cells<'a>>),
}

impl<'a> Cells<'a> {
    /// The cells of an array of a type that the layout has.
    #[expect(clippy::wildcard_enum_match_arm, reason = "Arrow has more types than the layout")]
    pub(crate) fn of(array: &'a dyn Array) -> Result<Self, ArrowError> {
        let values = match array.data_type() {
            DataType::Boolean => Values::Bool(array.as_boolean()),
            DataType::Int8 => Values::Int8(numbers::<Int8Type>(array)),
            DataType::Int16 => Values::Int16(numbers::<Int16Type>(array)),
            DataType::Int32 => Values::Int32(numbers::<Int32Type>(array)),
            DataType::Int64 => Values::Int64(numbers::<Int64Type>(array)),
            DataType::UInt64 => Values::UInt64(numbers::<UInt64Type>(array)),
            DataType::Float32 => Values::Float32(numbers::<Float32Type>(array)),
            DataType::Float64 => Values::Float64(numbers::<Float64Type>(array)),
            DataType::Decimal128(_, scale) => Values::Decimal(numbers::<Decimal128Type>(array), *scale),
            DataType::Utf8 => Values::Text(array.as_string()),
            DataType::Binary => Values::Bytes(array.as_binary()),
            DataType::Date32 => Values::Date(numbers::<Date32Type>(array)),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(numbers::<Time64MicrosecondType>(array)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Timestamp(numbers::<TimestampMicrosecondType>(array), zone.is_some())
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Values::List(list.value_offsets(), Box::new(Self::of(&**list.values())?))
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let values = Box::new(Self::of(&**map.values())?);
                Values::Map(map.value_offsets(), map.keys().as_string(), values)
            }
            DataType::Struct(_) => Values::Struct(Self::all(array.as_struct().columns())?),
            other => return Err(ArrowError::NotYetImplemented(format!("a column of type {other}"))),
        };
        Ok(Self { nulls: array.nulls(), values })
    }

    /// The cells of many arrays.
    pub(crate) fn all(arrays: &'a [arrow_array::ArrayRef]) -> Result<Vec<Self>, ArrowError> {
        arrays.iter().map(|array| Self::of(&**array)).collect()
    }

    /// Whether the row has a value here.
    pub(crate) fn is_valid(&self, row: usize) -> bool {
        self.nulls.is_none_or(|nulls| nulls.is_valid(row))
    }
}

fn numbers<T: ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
    let array: &PrimitiveArray<T> = array.as_primitive();
    array.values()
}

/// The value of a row; every column is as long as its batch.
pub(crate) fn at<T: Copy + Default>(values: &[T], row: usize) -> T {
    values.get(row).copied().unwrap_or_default()
}

/// Which elements a row has in a list.
pub(crate) fn elements(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    at(offsets, row) as usize..at(offsets, row + 1) as usize
}
