//! The names of everything in a lake: data files, commits, state files. Pure.
//!
//! Invariant: no two contents ever share a data name: claim numbers are unique, a round number is used once under a claim,
//! and a part number once in a round.

use millrace_model::{TableName, Timestamp};
use sha2::{Digest, Sha256};

/// Where everything lies that is not data.
pub const OWN_FOLDER: &str = "_millrace";
/// The hint for the head search.
pub const HEAD_HINT: &str = "_millrace/head.json";
/// For what is not finished; the only folder under `_millrace/` in which anything is ever deleted.
pub const TMP_FOLDER: &str = "_millrace/tmp";
/// How data files may end. Those of a lake all end alike, save where its compression has changed.
const ENDINGS: [&str; 5] = [".parquet", ".avro", ".jsonl.zst", ".jsonl.gz", ".jsonl"];

/// Commits that share a folder.
pub(crate) const COMMITS_A_FOLDER: u64 = 10_000;
/// Commits of an archive: 1 to 10,000, and so on.
pub(crate) const ARCHIVED: u64 = 10_000;
/// A longer part of a path is cut here, so that it stays below the 255 bytes of a filesystem.
const PART_LIMIT: usize = 200;

/// The lower-case hex of the sha256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// 128 bits of a sha256: enough to tell any two paths apart, in a fraction of the memory.
pub(crate) fn short_hash(text: &str) -> u128 {
    Sha256::digest(text.as_bytes()).iter().take(16).fold(0, |hash, &byte| hash << 8 | u128::from(byte))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The path of commit `number`.
pub fn commit_path(number: u64) -> String {
    format!("{OWN_FOLDER}/commits/{:08}/{number:012}.json", number / COMMITS_A_FOLDER)
}

/// The path of the state file with this hash.
pub fn state_path(sha256: &str) -> String {
    format!("{OWN_FOLDER}/state/{sha256}.json")
}

/// Where the archives lie.
pub(crate) const ARCHIVE_FOLDER: &str = "_millrace/archive";

/// The path of the archive that begins with commit `first`.
pub fn archive_path(first: u64) -> String {
    format!("{ARCHIVE_FOLDER}/{}", archive_name(first))
}

fn archive_name(first: u64) -> String {
    format!("{first:012}-{:012}.jsonl.gz", first + ARCHIVED - 1)
}

/// The first commit of the archive with this name; `None` where it is not the name of an archive of ours.
pub(crate) fn archive_first(name: &str) -> Option<u64> {
    let first = name.split_once('-')?.0.parse().ok()?;
    (first % ARCHIVED == 1 && name == archive_name(first)).then_some(first)
}

/// The folder of a table.
pub fn table_folder(table: &TableName) -> String {
    table.parts().iter().map(|part| escape(part)).collect::<Vec<_>>().join("/")
}

/// One part of a path: `%XX` for every byte outside `A-Za-z0-9_.-` and for a leading `_` or `.`, cut where too long.
fn escape(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for (i, &byte) in part.as_bytes().iter().enumerate() {
        let leading = i == 0 && matches!(byte, b'_' | b'.');
        if !leading && (byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&hex(&[byte]).to_ascii_uppercase());
        }
    }
    if text.len() > PART_LIMIT {
        text.truncate(PART_LIMIT);
        text.push('~');
        text.push_str(&sha256_hex(part.as_bytes())[..8]);
    }
    text
}

/// What a data file's name says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataName {
    /// The claim of its writer.
    pub claim: u64,
    /// The round.
    pub round: u64,
    /// Rising over the round.
    pub part: u32,
    /// The UTC date on which the round opened.
    pub date: String,
    /// The UTC hour in which the round opened.
    pub hour: String,
}

impl DataName {
    /// The name of a part of a round that opened at `opened`.
    pub fn new(claim: u64, round: u64, part: u32, opened: Timestamp) -> Self {
        let (date, hour) = opened.date_and_hour();
        Self { claim, round, part, date, hour }
    }

    /// The whole path for rows of `table` under a version of its schema, in a file with this ending.
    pub fn path(&self, table: &TableName, schema_version: u32, ending: &str) -> String {
        let Self { claim, round, part, date, hour } = self;
        let folder = table_folder(table);
        format!("{folder}/v{schema_version:04}/{date}/{hour}/{claim:012}-{round:06}-{part:04}{ending}")
    }

    /// Reads a path; `None` where it is not the path of a data file of ours.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.rsplit('/');
        let (name, hour, date, version) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        parts.next()?;
        let mut numbers = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))?.splitn(3, '-');
        let (claim, round, part) = (numbers.next()?, numbers.next()?, numbers.next()?);
        if !is_version_folder(version) || !is_date(date) || !is_number(hour, 2) {
            return None;
        }
        if !is_number(claim, 12) || !is_number(round, 6) || !is_number(part, 4) {
            return None;
        }
        Some(Self {
            claim: claim.parse().ok()?,
            round: round.parse().ok()?,
            part: part.parse().ok()?,
            date: date.into(),
            hour: hour.into(),
        })
    }
}

/// Whether a folder's name is that of a schema version.
pub(crate) fn is_version_folder(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| is_number(number, 4))
}

/// Whether a folder's name is a date.
pub(crate) fn is_date(name: &str) -> bool {
    let mut parts = name.splitn(3, '-');
    parts.next().is_some_and(|year| is_number(year, 4))
        && parts.next().is_some_and(|month| is_number(month, 2))
        && parts.next().is_some_and(|day| is_number(day, 2))
}

fn is_number(text: &str, digits: usize) -> bool {
    text.len() >= digits && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder_or_pose_as_ours() {
        let name = TableName::new(["_millrace", "..", "a/b c=ü"]);
        assert_eq!(table_folder(&name), "%5Fmillrace/%2E./a%2Fb%20c%3D%C3%BC");
    }

    #[test]
    fn two_long_names_with_one_beginning_stay_apart() {
        let (one, other) = ("x".repeat(300), "x".repeat(301));
        let (one, other) = (table_folder(&TableName::new([one])), table_folder(&TableName::new([other])));
        assert_ne!(one, other);
        assert_eq!((one.len(), one.get(200..201)), (209, Some("~")));
        assert_eq!(table_folder(&TableName::new(["y".repeat(200)])), "y".repeat(200));
    }

    #[test]
    fn a_data_path_reads_what_it_wrote() {
        let opened = Timestamp::parse("2026-11-22T14:59:59.999Z").unwrap();
        let name = DataName::new(4702, 9, 0, opened);
        let path = name.path(&TableName::new(["shop", "public", "orders"]), 1, ".parquet");
        assert_eq!(path, "shop/public/orders/v0001/2026-11-22/14/000000004702-000009-0000.parquet");
        assert_eq!(DataName::parse(&path), Some(name));
        let large = DataName::new(1_234_567_890_123, 1_234_567, 12_345, opened);
        for ending in ENDINGS {
            assert_eq!(DataName::parse(&large.path(&TableName::new(["t"]), 12_345, ending)).as_ref(), Some(&large));
        }
    }

    #[test]
    fn a_path_that_is_not_ours_is_not_read() {
        for path in [
            "notes.parquet",
            "shop/v0001/2026-11-22/14/part-0000.parquet",
            "shop/v0001/2026-11-22/14/000000004702-000009-0000.csv",
            "shop/v1/2026-11-22/14/000000004702-000009-0000.parquet",
            "v0001/2026-11-22/14/000000004702-000009-0000.parquet",
            "shop/v0001/2026-11/14/000000004702-000009-0000.parquet",
        ] {
            assert_eq!(DataName::parse(path), None, "{path}");
        }
    }

    #[test]
    fn commits_lie_in_folders_of_ten_thousand() {
        assert_eq!(commit_path(1), "_millrace/commits/00000000/000000000001.json");
        assert_eq!(commit_path(4_711_000), "_millrace/commits/00000471/000004711000.json");
    }

    #[test]
    fn archives_hold_the_commits_from_1_to_10000_and_so_on() {
        assert_eq!(archive_path(10_001), "_millrace/archive/000000010001-000000020000.jsonl.gz");
        assert_eq!(archive_first("000000010001-000000020000.jsonl.gz"), Some(10_001));
        for name in ["000000010001-000000020001.jsonl.gz", "000000010000-000000019999.jsonl.gz", "10001-20000.jsonl.gz"]
        {
            assert_eq!(archive_first(name), None, "{name}");
        }
    }
}
