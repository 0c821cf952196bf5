//! Values in the server's text form, as the session's settings fix it (ISO dates, UTC, hex, shortest floats).

use std::str::FromStr;

use millrace_model::TableChanges;

use crate::decode::calendar::{Moment, date_from_text, time_from_text, timestamp_from_text};
use crate::decode::numeric;
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
        Decoder::Int32 => push(builder!(rows, column, Int32), integer(bytes)?),
        Decoder::Int64 | Decoder::Oid => push(builder!(rows, column, Int64), integer(bytes)?),
        Decoder::Int16 => push(builder!(rows, column, Int16), integer(bytes)?),
        Decoder::Text | Decoder::TextOnly | Decoder::NumericText | Decoder::Uuid | Decoder::Jsonb | Decoder::Char => {
            push_bytes(builder!(rows, column, Text), bytes)
        }
        Decoder::Decimal { precision, scale } => match numeric::unscaled_text(bytes, precision, scale) {
            Some(value) => push(builder!(rows, column, Decimal), value),
            None => exact(rows, column, bytes),
        },
        Decoder::TimestampTz => timestamp(rows, column, bytes, b"+00"),
        Decoder::Timestamp => timestamp(rows, column, bytes, b""),
        Decoder::Date => match date_from_text(bytes) {
            Moment::At(days) => push(builder!(rows, column, Date), days),
            Moment::Beyond => exact(rows, column, bytes),
            Moment::Unreadable => Err(Malformed("a date")),
        },
        Decoder::Time => match time_from_text(bytes) {
            Moment::At(micros) => push(builder!(rows, column, Time), micros),
            Moment::Beyond => exact(rows, column, bytes),
            Moment::Unreadable => Err(Malformed("a time")),
        },
        Decoder::Bool => match bytes {
            b"t" => push_bool(rows, column, true),
            b"f" => push_bool(rows, column, false),
            _ => Err(Malformed("a bool")),
        },
        Decoder::Float64 => push(builder!(rows, column, Float64), float(bytes)?),
        Decoder::Float32 => push(builder!(rows, column, Float32), float(bytes)?),
        Decoder::Bytes => {
            unhex(bytes, scratch)?;
            push_bytes(builder!(rows, column, Bytes), scratch)
        }
    }
}

fn timestamp(rows: &mut TableChanges, column: usize, bytes: &[u8], zone: &[u8]) -> Result<(), Malformed> {
    match timestamp_from_text(bytes, zone) {
        Moment::At(micros) => push(builder!(rows, column, Timestamp), micros),
        Moment::Beyond => exact(rows, column, bytes),
        Moment::Unreadable => Err(Malformed("a timestamp")),
    }
}

fn exact(rows: &mut TableChanges, column: usize, bytes: &[u8]) -> Result<(), Malformed> {
    rows.append_exact(column, as_text(bytes)?);
    Ok(())
}

fn as_text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_invalid| Malformed("a text that is not UTF-8"))
}

fn float<T: FromStr>(bytes: &[u8]) -> Result<T, Malformed> {
    as_text(bytes)?.parse().map_err(|_other| Malformed("a float"))
}

/// Reads an integer. Why not `from_str`: it checks for UTF-8 first, which costs more than the number.
#[inline]
fn integer<T: TryFrom<i64>>(bytes: &[u8]) -> Result<T, Malformed> {
    const WRONG: Malformed = Malformed("an integer");
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 {
        return Err(WRONG);
    }
    // Downwards, because the lowest i64 has no positive twin.
    let mut value: i64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(WRONG);
        }
        value = value.checked_mul(10).and_then(|value| value.checked_sub(i64::from(digit))).ok_or(WRONG)?;
    }
    let value = if negative { value } else { value.checked_neg().ok_or(WRONG)? };
    T::try_from(value).map_err(|_too_large| WRONG)
}

/// Reads `\x0aff` into `out`.
fn unhex(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    const WRONG: Malformed = Malformed("a bytea");
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8).ok_or(WRONG);
    let pairs = bytes.strip_prefix(b"\\x").ok_or(WRONG)?.chunks(2);
    out.clear();
    for pair in pairs {
        let [high, low] = pair else { return Err(WRONG) };
        out.push(digit(*high)? << 4 | digit(*low)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_to_their_ends() {
        assert_eq!(integer::<i64>(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer::<i64>(b"9223372036854775807"), Ok(i64::MAX));
        assert_eq!(integer::<i16>(b"-32768"), Ok(i16::MIN));
        for wrong in [&b""[..], b"-", b"1x", b"9223372036854775808", b"+1", b" 1"] {
            assert!(integer::<i64>(wrong).is_err());
        }
        assert!(integer::<i16>(b"32768").is_err());
    }

    #[test]
    fn bytes_are_read_from_hex() {
        let mut out = Vec::new();
        assert_eq!(unhex(b"\\x00ffAb", &mut out).map(|()| out.clone()), Ok(vec![0, 255, 0xAB]));
        assert_eq!(unhex(b"\\x", &mut out).map(|()| out.len()), Ok(0));
        assert!(unhex(b"\\x0", &mut out).is_err() && unhex(b"00", &mut out).is_err());
    }
}
