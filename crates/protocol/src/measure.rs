//! How durations and sizes are written: `500ms 10s 5m 2h`, `64MiB`.

use std::time::Duration;

use millrace_model::ByteSize;

const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, u32); 5] = [("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

/// Reads `500ms`, `10s`, `5m`, `2h`; zero is refused.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let factor = DURATIONS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (number.parse::<u64>().ok(), factor) {
        (Some(0), Some(_)) => Err("must be longer than nothing".into()),
        (Some(count), Some(factor)) => {
            count.checked_mul(factor).map(Duration::from_millis).ok_or_else(|| format!("`{text}` is too long"))
        }
        _ => Err(format!("must be a duration such as `500ms`, `10s` or `5m`, not `{text}`")),
    }
}

/// Reads `64MiB`, `1GiB`, `4096B`, or a plain number of bytes; zero is refused.
pub fn parse_size(text: &str) -> Result<ByteSize, String> {
    let (number, unit) = split(text);
    let unit = if unit.is_empty() { "B" } else { unit };
    let shift = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, shift)| *shift);
    match (number.parse::<u64>().ok(), shift) {
        (Some(0), Some(_)) => Err("must be larger than nothing".into()),
        (Some(count), Some(shift)) => {
            count.checked_mul(1 << shift).map(ByteSize::bytes).ok_or_else(|| format!("`{text}` is too large"))
        }
        _ => Err(format!("must be a size such as `64MiB` or `1GiB`, not `{text}`")),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_mins(5)));
        for wrong in ["", "10", "s", "1.5s", "-1s", "10 sec", "0s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        assert_eq!(parse_size("64MiB"), Ok(ByteSize::mib(64)));
        assert_eq!(parse_size("20GiB"), Ok(ByteSize::mib(20 * 1024)));
        assert_eq!(parse_size("4096"), Ok(ByteSize::bytes(4096)));
        for wrong in ["", "MiB", "64MB", "64M", "1.5GiB", "-1", "0MiB", "99999999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
