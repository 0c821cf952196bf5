//! Numbers, times and tables of values as people like to read them.

use std::time::Duration;

/// How long ago, for people: `3 s`, `5 min`, `2 h`, `4 d`.
pub(crate) fn age(since: Duration) -> String {
    let seconds = since.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A table's full name without the database, which is the same for all tables of a pipeline.
pub(crate) fn short(table: &str) -> &str {
    match table.split_once('.') {
        Some((_, rest)) if rest.contains('.') => rest,
        _ => table,
    }
}

/// A number with its thousands apart: `1 234 567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// So many of a thing: `1 table`, `1 200 tables`.
pub(crate) fn counted(number: u64, word: &str) -> String {
    format!("{} {word}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Bytes: `8.0 KiB`, `1.4 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut number = bytes as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, larger);
    }
    format!("{number:.1} {unit}")
}

/// The side of a column that its texts stand at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// For words.
    Left,
    /// For numbers: their last digits stand below each other.
    Right,
}

/// The texts, all as wide as the widest.
pub(crate) fn padded(texts: Vec<String>, side: Side) -> Vec<String> {
    let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or_default();
    let pad = |text: String| match side {
        Side::Left => format!("{text:<width$}"),
        Side::Right => format!("{text:>width$}"),
    };
    texts.into_iter().map(pad).collect()
}

/// Lines of cells, each column as wide as it has to be and at its side; columns without a side stand at the left.
pub(crate) fn aligned(rows: &[Vec<String>], sides: &[Side]) -> Vec<String> {
    let mut lines = vec![String::new(); rows.len()];
    for column in 0..rows.iter().map(Vec::len).max().unwrap_or_default() {
        let texts = rows.iter().map(|row| row.get(column).cloned().unwrap_or_default()).collect();
        let side = sides.get(column).copied().unwrap_or(Side::Left);
        for (line, text) in lines.iter_mut().zip(padded(texts, side)) {
            if column > 0 {
                line.push_str("  ");
            }
            line.push_str(&text);
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_pleasant_to_read() {
        assert_eq!((grouped(0), grouped(999), grouped(1_234_567)), ("0".into(), "999".into(), "1 234 567".into()));
        assert_eq!((counted(1, "table"), counted(1200, "table")), ("1 table".into(), "1 200 tables".into()));
        assert_eq!(
            (size(0), size(1023), size(8192), size(1_500_000_000)),
            ("0 B".into(), "1023 B".into(), "8.0 KiB".into(), "1.4 GiB".into())
        );
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn words_stand_at_the_left_and_numbers_at_the_right() {
        let rows = [vec!["a".into(), "head".into()], vec!["long".into(), "7".into(), "x".into()]];
        assert_eq!(aligned(&rows, &[Side::Left, Side::Right]), ["a     head", "long     7  x"]);
    }
}
