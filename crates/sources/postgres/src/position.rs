//! Positions in PostgreSQL's log: log sequence numbers, and their text `0/1720C000`.

use std::fmt;

use millrace_model::{Position, Timestamp};

/// Microseconds from 1970-01-01 to 2000-01-01, the epoch of the wire.
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A log sequence number: bytes of the log before a place in it. Zero is no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lsn(pub(crate) u64);

impl Lsn {
    /// Reads what the server and `Display` write.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let part = |digits: &str| {
            let plain = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        Some(Self(part(high)? << 32 | part(low)?))
    }

    /// Reads a position that this source wrote.
    pub(crate) fn of(position: &Position) -> Option<Self> {
        Self::parse(position.as_str())
    }

    /// As the engine carries it.
    pub(crate) fn position(self) -> Position {
        Position::new(self.to_string())
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A moment of the wire, microseconds since 2000.
pub(crate) fn moment(micros: i64) -> Timestamp {
    Timestamp(micros.saturating_add(EPOCH_MICROS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_reads_what_it_wrote() {
        for lsn in [Lsn(0), Lsn(0x1720_C000), Lsn(0x16_B374_D848), Lsn(u64::MAX)] {
            assert_eq!(Lsn::parse(&lsn.to_string()), Some(lsn));
        }
        assert_eq!(Lsn(0x1720_C000).to_string(), "0/1720C000");
    }

    #[test]
    fn what_is_no_lsn_is_not_read() {
        for text in ["", "0", "/", "0/", "0/+1", "0/123456789", "x/1", "0/1/2"] {
            assert_eq!(Lsn::parse(text), None, "{text:?}");
        }
    }
}
