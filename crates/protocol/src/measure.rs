//! How durations and sizes are written: `500ms 10s 5m 2h`, `64MiB`.

use std::time::Duration;

use millrace_model::ByteSize;

const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Reads `500ms`, `10s`, `5m`, `2h`; nothing where it is not one, or longer than can be counted.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATIONS).map(Duration::from_millis)
}

/// Reads `64MiB`, `1GiB`, `4096B`, or a plain number of bytes; nothing where it is not one, or larger than can be counted.
pub(crate) fn parse_size(text: &str) -> Option<ByteSize> {
    let is_plain = text.chars().all(|c| c.is_ascii_digit());
    let bytes = if is_plain { text.parse().ok() } else { parse(text, &SIZES) };
    bytes.map(ByteSize::bytes)
}

/// As it would be written, in the largest unit that it is a whole number of.
pub(crate) fn shown_duration(duration: Duration) -> String {
    shown(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATIONS)
}

/// As it would be written, in the largest unit that it is a whole number of.
pub(crate) fn shown_size(size: ByteSize) -> String {
    shown(size.get(), &SIZES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = unit.trim_start_matches(' ');
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn shown(count: u64, units: &[(&str, u64)]) -> String {
    let largest = units.iter().rev().find(|(_, factor)| count.is_multiple_of(*factor));
    let (unit, factor) = largest.copied().unwrap_or(("", 1));
    format!("{}{unit}", count / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit_and_shown_as_they_were_written() {
        for (text, milliseconds) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)));
            assert_eq!(shown_duration(Duration::from_millis(milliseconds)), text);
        }
        for wrong in ["", "10", "s", "1.5s", "-1s", "10 sec", "99999999999999999999s", "18446744073709551615h", "1d"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_in_powers_of_1024_and_shown_as_they_were_written() {
        for (text, size) in
            [("64MiB", ByteSize::mib(64)), ("20GiB", ByteSize::mib(20 * 1024)), ("4097B", ByteSize::bytes(4097))]
        {
            assert_eq!(parse_size(text), Some(size));
            assert_eq!(shown_size(size), text);
        }
        assert_eq!(parse_size("4096"), Some(ByteSize::kib(4)));
        for wrong in ["", "MiB", "64MB", "64M", "1.5GiB", "-1", "99999999999TiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
