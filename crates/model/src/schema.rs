//! What a table looks like: names, kinds of values, columns, keys. Meanings only, never wire types.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};

/// The full name of a table: database, schema and table, or fewer parts where the source has fewer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(Arc<[String]>);

impl TableName {
    /// From its parts, outermost first.
    pub fn new(parts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(parts.into_iter().map(Into::into).collect())
    }

    /// The parts, outermost first.
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Self {
        Self::new(text.split('.').map(unescaped))
    }

    /// Whether `text` names this table, in full or without its first part (the database).
    pub fn answers_to(&self, text: &str) -> bool {
        let without_database = self.0.get(1..).filter(|rest| rest.len() > 1);
        self.to_string() == text
            || without_database.is_some_and(|rest| Self::new(rest.iter().cloned()).to_string() == text)
    }
}

impl fmt::Display for TableName {
    /// The parts joined by `.`, a dot inside one as `%2E`, and a `%` as `%25` where what follows would make it look
    /// like one of these two: the form that stands in commits. No two names have the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            f.write_str(&part.replace("%25", "%2525").replace("%2E", "%252E").replace('.', "%2E"))?;
        }
        Ok(())
    }
}

/// The part of a name that was written so.
fn unescaped(mut text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    while let Some((before, after)) = text.split_once('%') {
        part.push_str(before);
        let (sign, rest) = match (after.strip_prefix("2E"), after.strip_prefix("25")) {
            (Some(rest), _) => ('.', rest),
            (None, Some(rest)) => ('%', rest),
            (None, None) => ('%', after),
        };
        part.push(sign);
        text = rest;
    }
    part + text
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the values of a column mean. A closed list; a source maps its types to it, a target maps it to its formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// true, false
    Bool,
    /// 8-bit signed integer
    Int8,
    /// 16-bit signed integer
    Int16,
    /// 32-bit signed integer
    Int32,
    /// 64-bit signed integer
    Int64,
    /// 64-bit unsigned integer
    UInt64,
    /// IEEE 754 single
    Float32,
    /// IEEE 754 double
    Float64,
    /// Decimal of bounded precision, 0 ≤ scale ≤ precision ≤ 38
    Decimal {
        /// digits in all
        precision: u8,
        /// digits after the point
        scale: u8,
    },
    /// Text, and every type that has no kind of its own, as the source's text
    Text,
    /// Bytes
    Bytes,
    /// Days since 1970-01-01
    Date,
    /// Microseconds since midnight
    Time,
    /// Microseconds, no zone
    Timestamp,
    /// Microseconds UTC
    TimestampTz,
    /// ISO 8601 text
    Interval,
    /// Text of a UUID
    Uuid,
    /// Text of a JSON document
    Json,
}

impl Kind {
    /// How values of this kind lie in memory. Text-like kinds share one form.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt64 => DataType::UInt64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale as i8),
            Self::Text | Self::Interval | Self::Uuid | Self::Json => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// Bits that a column takes for each row, whatever the row holds: the value, or of text and bytes the place where it
    /// ends, and whether it is null.
    pub(crate) fn builder_bits(self) -> u64 {
        let value = match self {
            Self::Bool => 1,
            Self::Text | Self::Interval | Self::Uuid | Self::Json | Self::Bytes => i32::BITS as usize,
            Self::Int8
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::UInt64
            | Self::Float32
            | Self::Float64
            | Self::Decimal { .. }
            | Self::Date
            | Self::Time
            | Self::Timestamp
            | Self::TimestampTz => self.data_type().primitive_width().unwrap_or_default() * 8,
        };
        value as u64 + 1
    }

    /// Whether equal values of both kinds are written alike, so that a key of one finds the rows of the other.
    pub fn compares_with(self, other: Self) -> bool {
        let is_integer = |kind| matches!(kind, Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64 | Self::UInt64);
        self == other || (is_integer(self) && is_integer(other))
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "uint64" => Self::UInt64,
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            "text" => Self::Text,
            "bytes" => Self::Bytes,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            "interval" => Self::Interval,
            "uuid" => Self::Uuid,
            "json" => Self::Json,
            other => {
                let (precision, scale) = other.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
                Self::Decimal { precision: precision.parse().ok()?, scale: scale.parse().ok()? }
            }
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::UInt64 => "uint64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Interval => "interval",
            Self::Uuid => "uuid",
            Self::Json => "json",
        })
    }
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// As the source spells it.
    pub name: String,
    /// Stable over renames: the source's own number of the column where it has one.
    pub id: u32,
    /// What its values mean.
    pub kind: Kind,
    /// The source's name of the type, for people.
    pub type_name: String,
    /// Whether the source allows null.
    pub nullable: bool,
}

/// A table as the log describes it from some point on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Its full name.
    pub table: TableName,
    /// The source's mark of this table's membership; another one means that the table left and joined.
    pub source_id: String,
    /// In the order of the log.
    pub columns: Vec<Column>,
    /// Indexes into `columns` of the key; empty where all columns are the key (the state is then a multiset).
    pub key: Vec<usize>,
}

impl TableSchema {
    /// Names of the key columns.
    pub fn key_names(&self) -> Vec<String> {
        self.key.iter().filter_map(|&i| self.columns.get(i)).map(|column| column.name.clone()).collect()
    }
}

/// What a change did to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// The row was inserted.
    Create = b'c',
    /// The row was updated, its key values unchanged.
    Update = b'u',
    /// The row was deleted.
    Delete = b'd',
    /// Every row of the table was removed.
    Truncate = b't',
    /// The row was seen by a snapshot.
    Read = b'r',
}

impl Op {
    /// The letter that stands in the lake.
    pub fn letter(self) -> u8 {
        self as u8
    }

    /// The op of a letter.
    pub fn of_letter(letter: u8) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Truncate, Self::Read]
            .into_iter()
            .find(|op| op.letter() == letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_survives_dots_in_its_parts() {
        let name = TableName::new(["shop", "public", "a.b"]);
        assert_eq!(name.to_string(), "shop.public.a%2Eb");
        assert_eq!(TableName::parse("shop.public.a%2Eb"), name);
        assert!(name.answers_to("public.a%2Eb") && name.answers_to("shop.public.a%2Eb") && !name.answers_to("a%2Eb"));
    }

    #[test]
    fn no_two_table_names_are_written_alike() {
        // All parts of up to five of the letters that could be mistaken.
        let letters = ['%', '2', '5', 'E', '.'];
        let mut parts = vec![String::new()];
        for length in 0..5 {
            let longest: Vec<_> = parts.iter().filter(|part| part.len() == length).cloned().collect();
            parts.extend(longest.iter().flat_map(|part| letters.map(|letter| format!("{part}{letter}"))));
        }
        for part in parts {
            let name = TableName::new(["public", &part]);
            assert_eq!(TableName::parse(&name.to_string()), name, "{part}");
        }
        assert_eq!(TableName::new(["public", "100%"]).to_string(), "public.100%");
    }

    #[test]
    fn a_kind_reads_what_it_wrote() {
        for kind in [Kind::Bool, Kind::UInt64, Kind::Decimal { precision: 10, scale: 2 }, Kind::TimestampTz, Kind::Json]
        {
            assert_eq!(Kind::parse(&kind.to_string()), Some(kind));
        }
        assert_eq!(Kind::parse("decimal(1"), None);
    }
}
