//! Values as JSON has them in the lake, written without an allocation: what the writer of JSON lines and `millrace read`
//! print alike.

use millrace_model::time::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days};
use serde::Serialize;

use super::cells::{Cells, Values, at, elements};

/// Appends a cell that may be null.
pub(crate) fn cell(out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
    if cells.is_valid(row) { value(out, &cells.values, row) } else { out.extend_from_slice(b"null") }
}

/// Appends a value. Of a struct the values alone, as a list: whoever knows the names writes its parts.
pub(crate) fn value(out: &mut Vec<u8>, values: &Values<'_>, row: usize) {
    match values {
        Values::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
        Values::Int8(values) => number(out, at(values, row)),
        Values::Int16(values) => number(out, at(values, row)),
        Values::Int32(values) => number(out, at(values, row)),
        Values::Int64(values) => number(out, at(values, row)),
        Values::UInt64(values) => number(out, at(values, row)),
        Values::Float32(values) => float(out, f64::from(at(values, row)), at(values, row)),
        Values::Float64(values) => float(out, at(values, row), at(values, row)),
        Values::Decimal(values, scale) => within_quotes(out, |out| decimal(out, at(values, row), *scale)),
        Values::Text(values) => string(out, values.value(row)),
        Values::Bytes(values) => within_quotes(out, |out| base64(out, values.value(row))),
        Values::Date(values) => within_quotes(out, |out| date(out, i64::from(at(values, row)))),
        Values::Time(values) => within_quotes(out, |out| time(out, at(values, row))),
        Values::Timestamp(values, is_utc) => within_quotes(out, |out| timestamp(out, at(values, row), *is_utc)),
        Values::List(offsets, of) => list(out, elements(offsets, row), [b'[', b']'], |out, i| cell(out, of, i)),
        Values::Map(offsets, keys, of) => list(out, elements(offsets, row), [b'{', b'}'], |out, i| {
            string(out, keys.value(i));
            out.push(b':');
            cell(out, of, i);
        }),
        Values::Struct(parts) => list(out, 0..parts.len(), [b'[', b']'], |out, i| {
            parts.get(i).iter().for_each(|part| cell(out, part, row));
        }),
    }
}

fn list(
    out: &mut Vec<u8>,
    range: std::ops::Range<usize>,
    [open, close]: [u8; 2],
    mut element: impl FnMut(&mut Vec<u8>, usize),
) {
    out.push(open);
    let first = range.start;
    for i in range {
        if i > first {
            out.push(b',');
        }
        element(out, i);
    }
    out.push(close);
}

/// Appends what `text` writes as a string; it needs no escapes.
pub(crate) fn within_quotes(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    text(out);
    out.push(b'"');
}

/// Appends a whole number, or a finite one.
pub(crate) fn number(out: &mut Vec<u8>, value: impl Serialize) {
    serde_json::to_writer(out, &value).expect("a number has a JSON, and memory takes it");
}

/// Numbers plain; what is no number as a string, by the names that PostgreSQL has for it.
pub(crate) fn float(out: &mut Vec<u8>, value: f64, plain: impl Serialize) {
    if value.is_finite() {
        number(out, plain);
    } else {
        out.extend_from_slice(match value {
            f64::INFINITY => b"\"Infinity\"",
            f64::NEG_INFINITY => b"\"-Infinity\"",
            _ => b"\"NaN\"",
        });
    }
}

/// Appends a text as JSON.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    within_quotes(out, |out| escaped(out, text.as_bytes()));
}

/// Appends a text as JSON has it within quotes.
pub(crate) fn escaped(out: &mut Vec<u8>, mut text: &[u8]) {
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    loop {
        let plain = text.iter().position(|&byte| !is_plain(byte)).unwrap_or(text.len());
        let (before, rest) = text.split_at(plain);
        out.extend_from_slice(before);
        let Some((&byte, rest)) = rest.split_first() else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                let digit = |four: u8| if four < 10 { b'0' + four } else { b'a' + four - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        text = rest;
    }
}

/// Appends an unscaled decimal with so many digits after the point.
pub(crate) fn decimal(out: &mut Vec<u8>, value: i128, scale: i8) {
    /// 39 digits of an i128 or 38 after a point, and a zero before it.
    const LONGEST: usize = 40;
    let scale = usize::from(scale.unsigned_abs());
    let mut digits = [b'0'; LONGEST];
    let (mut rest, mut from) = (value.unsigned_abs(), LONGEST);
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        if rest == 0 {
            break;
        }
        // Division of 128 bits is slow, and most decimals have fewer.
        if let Ok(small) = u64::try_from(rest) {
            *digit = b'0' + (small % 10) as u8;
            rest = u128::from(small / 10);
        } else {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        from = at;
    }
    if value < 0 {
        out.push(b'-');
    }
    let point = LONGEST - scale;
    let (whole, fraction) = digits.split_at(point);
    out.extend_from_slice(whole.get(from.min(point - 1)..).unwrap_or(b"0"));
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

/// Appends a date; a year beyond 9999 has more digits, one before 0 a sign.
pub(crate) fn date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if let 0..=9999 = year {
        two(out, year / 100);
        two(out, year % 100);
    } else {
        if year < 0 {
            out.push(b'-');
            (0..4usize.saturating_sub(digits_of(-year))).for_each(|_| out.push(b'0'));
        }
        number(out, year.abs());
    }
    out.push(b'-');
    two(out, i64::from(month));
    out.push(b'-');
    two(out, i64::from(day));
}

fn digits_of(number: i64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Appends a time of day with milliseconds or, where there are any, microseconds.
pub(crate) fn time(out: &mut Vec<u8>, micros: i64) {
    let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
    two(out, seconds / 3600);
    out.push(b':');
    two(out, seconds / 60 % 60);
    out.push(b':');
    two(out, seconds % 60);
    out.push(b'.');
    out.push(b'0' + (fraction / 100_000) as u8);
    two(out, fraction / 1000 % 100);
    if fraction % 1000 != 0 {
        out.push(b'0' + (fraction / 100 % 10) as u8);
        two(out, fraction % 100);
    }
}

/// Appends a moment, with a `Z` if it is in UTC.
pub(crate) fn timestamp(out: &mut Vec<u8>, micros: i64, is_utc: bool) {
    date(out, micros.div_euclid(MICROS_PER_DAY));
    out.push(b'T');
    time(out, micros.rem_euclid(MICROS_PER_DAY));
    if is_utc {
        out.push(b'Z');
    }
}

/// Two digits.
fn two(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
}

/// Appends bytes by RFC 4648, with padding.
pub(crate) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |bits: u32, shift: u32| LETTERS.get((bits >> shift & 63) as usize).copied().unwrap_or(b'=');
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| bits << 8 | u32::from(at(three, i)));
        let all = [letter(bits, 18), letter(bits, 12), letter(bits, 6), letter(bits, 0)];
        out.extend_from_slice(all.get(..=three.len()).unwrap_or(&all));
        (three.len()..3).for_each(|_| out.push(b'='));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_become_base64() {
        for (bytes, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(text(|out| base64(out, bytes.as_bytes())), expected);
        }
        assert_eq!(text(|out| base64(out, &[0xff, 0xef, 0xbe])), "/+++");
    }

    #[test]
    fn times_have_milliseconds_or_microseconds() {
        assert_eq!(text(|out| time(out, 50_587_412_000)), "14:03:07.412");
        assert_eq!(text(|out| time(out, 86_399_999_999)), "23:59:59.999999");
        assert_eq!(text(|out| timestamp(out, 1_795_356_187_412_001, true)), "2026-11-22T14:03:07.412001Z");
        assert_eq!(text(|out| timestamp(out, -1000, false)), "1969-12-31T23:59:59.999");
        let ends = [(2_932_897, "10000-01-01"), (-719_529, "-0001-12-31"), (-719_528, "0000-01-01")];
        for (days, expected) in ends {
            assert_eq!(text(|out| date(out, days)), expected);
        }
    }

    #[test]
    fn decimals_have_all_their_digits() {
        for (value, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (123_456, 3, "123.456"),
            (-100, 0, "-100"),
            (10i128.pow(38) - 1, 38, "0.99999999999999999999999999999999999999"),
            (1 - 10i128.pow(38), 0, "-99999999999999999999999999999999999999"),
            (i128::from(u64::MAX) + 1, 1, "1844674407370955161.6"),
        ] {
            assert_eq!(text(|out| decimal(out, value, scale)), expected);
        }
    }

    #[test]
    fn texts_are_escaped_as_serde_json_does() {
        let all: String = (0..0x300u32).filter_map(char::from_u32).collect();
        assert_eq!(text(|out| string(out, &all)), serde_json::to_string(&all).unwrap());
    }

    #[test]
    fn floats_that_are_no_numbers_are_strings() {
        let of = |value: f64| text(|out| float(out, value, value));
        assert_eq!([of(f64::NAN), of(f64::NEG_INFINITY), of(1e300)], ["\"NaN\"", "\"-Infinity\"", "1e+300"]);
        assert_eq!(text(|out| float(out, f64::from(0.1f32), 0.1f32)), "0.1");
    }
}
