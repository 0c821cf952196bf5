//! Until when a certificate is valid: the two times of its validity, read from its DER (RFC 5280, section 4.1).

use millrace_model::Timestamp;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// From when until when a certificate is valid.
pub(super) fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (certificate, _) = value(certificate, SEQUENCE)?;
    let (mut rest, _) = value(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = any(rest)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = any(rest)?.2;
    }
    let (validity, _) = value(rest, SEQUENCE)?;
    let (kind, from, rest) = any(validity)?;
    let (other_kind, until, _) = any(rest)?;
    Some((time(kind, from)?, time(other_kind, until)?))
}

/// A value of this tag, and what follows it.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    any(bytes).filter(|(found, ..)| *found == tag).map(|(_, value, rest)| (value, rest))
}

/// A tag, its value, and what follows.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// `YYMMDDHHMMSSZ`, or the same with a year of four digits.
fn time(kind: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let full = match kind {
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| full.get(from..to);
    let (date, clock) = ((part(0, 4)?, part(4, 6)?, part(6, 8)?), (part(8, 10)?, part(10, 12)?, part(12, 14)?));
    Timestamp::parse(&format!("{}-{}-{}T{}:{}:{}Z", date.0, date.1, date.2, clock.0, clock.1, clock.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outer parts of a certificate around these times.
    fn around(times: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, value: &[u8]| [&[tag, u8::try_from(value.len()).unwrap()][..], value].concat();
        let head = [wrap(VERSION, &[2, 1, 2]), wrap(2, &[7]), wrap(SEQUENCE, &[]), wrap(SEQUENCE, &[])].concat();
        wrap(SEQUENCE, &wrap(SEQUENCE, &[head, wrap(SEQUENCE, times)].concat()))
    }

    #[test]
    fn both_ways_to_write_a_time_are_read_and_what_is_cut_off_is_none() {
        let times = [&[UTC_TIME, 13][..], b"260102030405Z", &[GENERALIZED_TIME, 15], b"20510102030405Z"].concat();
        let certificate = around(&times);
        let (from, until) = validity(&certificate).unwrap();
        assert_eq!(from.to_string(), "2026-01-02T03:04:05.000Z");
        assert_eq!(until.to_string(), "2051-01-02T03:04:05.000Z");
        for end in 0..certificate.len() {
            assert_eq!(validity(&certificate[..end]), None, "{end}");
        }
    }
}
