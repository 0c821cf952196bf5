//! The commands, one file each. A command takes its part of the command line, does its work through `wiring`, prints its
//! result through `console`, and returns its exit code.

pub(crate) mod check;
pub(crate) mod cleanup;
pub(crate) mod discover;
pub(crate) mod fsck;
pub(crate) mod health;
pub(crate) mod read;
pub(crate) mod restart;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod status;

use std::time::Duration;

/// Exit code of a command that did what it was asked for.
const DONE: u8 = 0;
/// Exit code of a check that found an error.
const FOUND: u8 = 1;

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

/// A number with its thousands apart, for people.
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

/// Rows under their heads, each column as wide as it has to be.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let cell = |row: &'_ Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or_default())
        .collect();
    let line = |row: &Vec<String>| {
        let cells = widths.iter().enumerate().map(|(column, width)| format!("{:<width$}", cell(row, column)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_tables_are_pleasant_to_read() {
        assert_eq!((grouped(0), grouped(999), grouped(1_234_567)), ("0".into(), "999".into(), "1 234 567".into()));
        let rows = [vec!["a".into(), "head".into()], vec!["long".into(), "x".into()]];
        assert_eq!(aligned(&rows), "a     head\nlong  x\n");
    }
}
