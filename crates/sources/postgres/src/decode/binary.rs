//! Values in the server's binary form (what each type's send function writes).

use millrace_model::TableChanges;

use crate::decode::calendar::{
    Moment, clock_text, date_from_binary, date_text, time_of_day, timestamp_from_binary, timestamp_text,
};
use crate::decode::numeric::Numeric;
use crate::decode::reader::Malformed;
use crate::decode::value::{Decoder, builder, push, push_bool, push_bytes};

/// Appends one value.
#[inline]
pub(crate) fn append(
    rows: &mut TableChanges,
    column: usize,
    decoder: Decoder,
    bytes: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match decoder {
        Decoder::Int32 => push(builder!(rows, column, Int32), i32::from_be_bytes(fixed(bytes)?)),
        Decoder::Int64 => push(builder!(rows, column, Int64), i64::from_be_bytes(fixed(bytes)?)),
        Decoder::Int16 => push(builder!(rows, column, Int16), i16::from_be_bytes(fixed(bytes)?)),
        Decoder::Oid => push(builder!(rows, column, Int64), i64::from(u32::from_be_bytes(fixed(bytes)?))),
        Decoder::Text => push_bytes(builder!(rows, column, Text), bytes),
        Decoder::Decimal { precision, scale } => {
            let number = Numeric::parse(bytes)?;
            match number.unscaled(precision, scale) {
                Some(value) => push(builder!(rows, column, Decimal), value),
                None => exact(rows, column, rendered(number)?),
            }
        }
        Decoder::NumericText => {
            scratch.clear();
            Numeric::parse(bytes)?.render(scratch);
            push_bytes(builder!(rows, column, Text), scratch)
        }
        Decoder::Timestamp => timestamp(rows, column, bytes, ""),
        Decoder::TimestampTz => timestamp(rows, column, bytes, "+00"),
        Decoder::Date => {
            let days = i32::from_be_bytes(fixed(bytes)?);
            match date_from_binary(days) {
                Some(days) => push(builder!(rows, column, Date), days),
                None => exact(rows, column, date_text(days)),
            }
        }
        Decoder::Time => {
            let micros = i64::from_be_bytes(fixed(bytes)?);
            match time_of_day(micros) {
                Moment::At(micros) => push(builder!(rows, column, Time), micros),
                Moment::Beyond => exact(rows, column, clock_text(micros)),
                Moment::Unreadable => Err(Malformed("a time")),
            }
        }
        Decoder::Jsonb => match bytes {
            [1, text @ ..] => push_bytes(builder!(rows, column, Text), text),
            _ => Err(Malformed("a jsonb of an unknown version")),
        },
        Decoder::Uuid => push_bytes(builder!(rows, column, Text), hyphenated(fixed(bytes)?)),
        Decoder::Bytes => push_bytes(builder!(rows, column, Bytes), bytes),
        Decoder::Bool => match bytes {
            [0] => push_bool(rows, column, false),
            [1] => push_bool(rows, column, true),
            _ => Err(Malformed("a bool")),
        },
        // A NaN of any payload is the one NaN that the text form knows.
        Decoder::Float64 => {
            let value = f64::from_be_bytes(fixed(bytes)?);
            push(builder!(rows, column, Float64), if value.is_nan() { f64::NAN } else { value })
        }
        Decoder::Float32 => {
            let value = f32::from_be_bytes(fixed(bytes)?);
            push(builder!(rows, column, Float32), if value.is_nan() { f32::NAN } else { value })
        }
        Decoder::Char => match fixed(bytes)? {
            [0] => push_bytes(builder!(rows, column, Text), b""),
            // As `charout` of PostgreSQL 16 and later shows it; earlier servers send it as it is, which is no UTF-8.
            [byte @ 0x80..=0xFF] => push_bytes(
                builder!(rows, column, Text),
                [b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)],
            ),
            byte => push_bytes(builder!(rows, column, Text), byte),
        },
        Decoder::TextOnly => Err(Malformed("a binary value of a type that is read as text")),
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_length| Malformed("a value of another length than its type has"))
}

fn timestamp(rows: &mut TableChanges, column: usize, bytes: &[u8], zone: &str) -> Result<(), Malformed> {
    let micros = i64::from_be_bytes(fixed(bytes)?);
    match timestamp_from_binary(micros) {
        Some(micros) => push(builder!(rows, column, Timestamp), micros),
        None => exact(rows, column, timestamp_text(micros, zone)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where other values may be refused")]
fn exact(rows: &mut TableChanges, column: usize, text: String) -> Result<(), Malformed> {
    rows.append_exact(column, text);
    Ok(())
}

fn rendered(number: Numeric<'_>) -> Result<String, Malformed> {
    let mut out = Vec::new();
    number.render(&mut out);
    String::from_utf8(out).map_err(|_never| Malformed("a numeric"))
}

/// The 36 characters of a UUID.
#[expect(clippy::indexing_slicing, reason = "16 bytes fill 32 places, and four are passed over")]
fn hyphenated(bytes: [u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [b'-'; 36];
    let mut at = 0;
    for byte in bytes {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        out[at] = DIGITS[usize::from(byte >> 4)];
        out[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_written_with_its_hyphens() {
        let bytes = [0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11];
        assert_eq!(&hyphenated(bytes), b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    }
}
