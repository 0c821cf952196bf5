//! numeric: from the server's binary form and from its text to an unscaled integer, and from the binary form to its text.
//!
//! Binary form (`numeric_send`): i16 number of base-10000 digits, i16 weight of the first, u16 sign, u16 digits after the
//! point, then the digits.

use crate::decode::reader::{Malformed, Reader};

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;
/// Decimal digits in a digit of the wire.
const GROUP: i32 = 4;

/// A number as it lies on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numeric<'a> {
    digits: &'a [u8],
    weight: i32,
    sign: u16,
    scale: u16,
}

impl<'a> Numeric<'a> {
    /// Reads the binary form.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let count = reader.u16()?;
        let (weight, sign, scale) = (i32::from(reader.i16()?), reader.u16()?, reader.u16()?);
        let digits = reader.take(usize::from(count) * 2)?;
        if !reader.is_empty() || !matches!(sign, 0 | NEGATIVE | NAN | INFINITY | MINUS_INFINITY) {
            return Err(Malformed("a numeric"));
        }
        Ok(Self { digits, weight, sign, scale })
    }

    /// The digits in groups of four, highest first.
    fn groups(&self) -> impl Iterator<Item = u16> {
        self.digits.as_chunks().0.iter().map(|&group| u16::from_be_bytes(group))
    }

    /// The number without its point, for `scale` digits after it; `None` where it does not fit `precision` digits.
    pub(crate) fn unscaled(&self, precision: u8, scale: u8) -> Option<i128> {
        if self.sign != 0 && self.sign != NEGATIVE {
            return None;
        }
        let mut value: i128 = 0;
        // Power of ten that the lowest digit of a group stands for, once the point is taken out.
        let mut power = GROUP * self.weight + i32::from(scale);
        let mut last = 0;
        for group in self.groups() {
            let group = i128::from(group);
            if power >= 0 {
                value = value.checked_mul(10_000)?.checked_add(group)?;
                last = power;
            } else {
                let cut = ten_to(power.unsigned_abs().min(GROUP as u32))?;
                if group % cut != 0 {
                    return None;
                }
                value = value.checked_mul(10_000 / cut)?.checked_add(group / cut)?;
                last = 0;
            }
            power -= GROUP;
        }
        if value != 0 && last > 0 {
            value = value.checked_mul(ten_to(last.unsigned_abs())?)?;
        }
        within(if self.sign == NEGATIVE { -value } else { value }, precision)
    }

    /// Writes what `numeric_out` writes.
    pub(crate) fn render(&self, out: &mut Vec<u8>) {
        match self.sign {
            NAN => return out.extend_from_slice(b"NaN"),
            INFINITY => return out.extend_from_slice(b"Infinity"),
            MINUS_INFINITY => return out.extend_from_slice(b"-Infinity"),
            NEGATIVE => out.push(b'-'),
            _ => {}
        }
        let group = |weight: i32| -> u16 {
            let index = self.weight - weight;
            let group = usize::try_from(index).ok().and_then(|index| self.digits.as_chunks().0.get(index));
            group.map_or(0, |&group| u16::from_be_bytes(group))
        };
        if self.weight < 0 {
            out.push(b'0');
        }
        for weight in (0..=self.weight.max(-1)).rev() {
            push_group(out, group(weight), weight == self.weight);
        }
        if self.scale > 0 {
            out.push(b'.');
            let end = out.len() + usize::from(self.scale);
            let mut weight = -1;
            while out.len() < end {
                push_group(out, group(weight), false);
                weight -= 1;
            }
            out.truncate(end);
        }
    }
}

/// Appends four digits; without leading zeros where they are the number's first.
fn push_group(out: &mut Vec<u8>, group: u16, first: bool) {
    let digits = [group / 1000 % 10, group / 100 % 10, group / 10 % 10, group % 10];
    let skip = if first { digits.iter().take(3).take_while(|&&digit| digit == 0).count() } else { 0 };
    out.extend(digits.iter().skip(skip).map(|&digit| b'0' + digit as u8));
}

/// The number in `text` without its point, for `scale` digits after it; `None` where it is no such number (NaN, too long).
pub(crate) fn unscaled_text(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut value: i128 = 0;
    let mut after_point: Option<u8> = None;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                after_point = match after_point {
                    Some(count) => Some(count.checked_add(1)?),
                    None => None,
                };
            }
            b'.' if after_point.is_none() => after_point = Some(0),
            _ => return None,
        }
    }
    let missing = scale.checked_sub(after_point.unwrap_or(0))?;
    let value = value.checked_mul(ten_to(u32::from(missing))?)?;
    within(if negative { -value } else { value }, precision)
}

fn ten_to(power: u32) -> Option<i128> {
    10i128.checked_pow(power)
}

fn within(value: i128, precision: u8) -> Option<i128> {
    (value.unsigned_abs() < ten_to(u32::from(precision))?.unsigned_abs()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(digits: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let mut bytes = (digits.len() as u16).to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        bytes
    }

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        Numeric::parse(bytes).unwrap().render(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_text_is_the_servers_with_its_zeros() {
        assert_eq!(text(&wire(&[], 0, 0, 0)), "0");
        assert_eq!(text(&wire(&[], 0, 0, 3)), "0.000");
        assert_eq!(text(&wire(&[1, 2345, 6700], 1, NEGATIVE, 4)), "-12345.6700");
        assert_eq!(text(&wire(&[1], 2, 0, 0)), "100000000");
        assert_eq!(text(&wire(&[50], -2, 0, 6)), "0.000000");
        assert_eq!(text(&wire(&[5000], -1, 0, 1)), "0.5");
        assert_eq!(text(&wire(&[50], -2, 0, 8)), "0.00000050");
        assert_eq!(text(&wire(&[], 0, NAN, 0)), "NaN");
        assert_eq!(text(&wire(&[], 0, MINUS_INFINITY, 0)), "-Infinity");
    }

    #[test]
    fn a_decimal_is_the_same_from_both_forms() {
        let full = wire(&[999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9990], 4, 0, 19);
        let shown = text(&full);
        assert_eq!(shown, "9999999999999999999.9999999999999999999");
        let unscaled = Numeric::parse(&full).unwrap().unscaled(38, 19);
        assert_eq!(unscaled, Some(10i128.pow(38) - 1));
        assert_eq!(unscaled_text(shown.as_bytes(), 38, 19), unscaled);
        for (bytes, precision, scale, want) in [
            (wire(&[1], 2, 0, 0), 20, 2, Some(10_000_000_000)),
            (wire(&[50], -2, NEGATIVE, 8), 10, 8, Some(-50)),
            (wire(&[], 0, 0, 2), 5, 2, Some(0)),
            (wire(&[1, 2345], 0, 0, 4), 9, 2, None),
            (wire(&[100], 0, 0, 0), 2, 0, None),
            (wire(&[], 0, NAN, 0), 5, 0, None),
        ] {
            assert_eq!(Numeric::parse(&bytes).unwrap().unscaled(precision, scale), want);
            assert_eq!(unscaled_text(text(&bytes).as_bytes(), precision, scale), want);
        }
    }
}
