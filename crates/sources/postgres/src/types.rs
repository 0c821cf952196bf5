//! What the server's types mean, and how their values are read.

use millrace_model::Kind;

use crate::client::session::Session;
use crate::decode::value::Decoder;
use crate::fault::Cause;
use crate::queries;

/// The largest precision of a decimal of the lake.
const MAX_PRECISION: i32 = 38;

/// Tables whose columns are asked for at once: the answer is held in memory as text.
pub(crate) const PAGE: usize = 500;

/// What the catalogue says of a column's type, domains resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseType {
    /// As the server writes it, the domain's where it is one.
    pub(crate) name: String,
    /// Oid of the type under all domains.
    pub(crate) oid: u32,
    /// Its modifier, −1 for none.
    pub(crate) modifier: i32,
    /// Name of its send function; empty where it has none, and the server then sends text; `?` where the type is gone.
    pub(crate) send: String,
}

/// Kind and decoder of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// What its values mean.
    pub(crate) kind: Kind,
    /// How they are read.
    pub(crate) decoder: Decoder,
}

/// Send functions that write what the output function writes.
const TEXT_SENDERS: [&str; 8] =
    ["textsend", "varcharsend", "bpcharsend", "namesend", "unknownsend", "json_send", "enum_send", "citextsend"];

impl BaseType {
    /// Kind and decoder. The oids are those of `pg_type.dat`, fixed for good.
    pub(crate) fn mapping(&self) -> Mapping {
        let (kind, decoder) = match self.oid {
            16 => (Kind::Bool, Decoder::Bool),
            17 => (Kind::Bytes, Decoder::Bytes),
            18 => (Kind::Text, Decoder::Char),
            20 => (Kind::Int64, Decoder::Int64),
            21 => (Kind::Int16, Decoder::Int16),
            23 => (Kind::Int32, Decoder::Int32),
            26 => (Kind::Int64, Decoder::Oid),
            114 => (Kind::Json, Decoder::Text),
            700 => (Kind::Float32, Decoder::Float32),
            701 => (Kind::Float64, Decoder::Float64),
            1082 => (Kind::Date, Decoder::Date),
            1083 => (Kind::Time, Decoder::Time),
            1114 => (Kind::Timestamp, Decoder::Timestamp),
            1184 => (Kind::TimestampTz, Decoder::TimestampTz),
            1186 => (Kind::Interval, Decoder::TextOnly),
            1700 => numeric(self.modifier),
            2950 => (Kind::Uuid, Decoder::Uuid),
            3802 => (Kind::Json, Decoder::Jsonb),
            _ if self.send.is_empty() || TEXT_SENDERS.contains(&self.send.as_str()) => (Kind::Text, Decoder::Text),
            _ => (Kind::Text, Decoder::TextOnly),
        };
        Mapping { kind, decoder }
    }

    /// Whether its values are the server's text for want of a kind of their own.
    pub(crate) fn is_carried_as_text(&self) -> bool {
        let mapping = self.mapping();
        mapping.decoder == Decoder::TextOnly && mapping.kind == Kind::Text
    }

    /// Whether it forces the whole connection to text.
    pub(crate) fn is_text_only(&self) -> bool {
        self.mapping().decoder == Decoder::TextOnly
    }
}

/// A column of the catalogue.
#[derive(Clone, Debug)]
pub(crate) struct CatalogueColumn {
    pub(crate) relation: u32,
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) base: BaseType,
    pub(crate) nullable: bool,
    /// The log has it: it is not generated.
    pub(crate) is_carried: bool,
    /// Part of the primary key or of the identity index.
    pub(crate) is_key: bool,
    /// Oid and modifier of its type as declared, a domain's where it is one.
    pub(crate) declared: (u32, i32),
    /// Part of the primary key.
    pub(crate) is_primary: bool,
    /// Added to a table, it gives values to the rows that are there.
    pub(crate) gives_values: bool,
}

/// The columns of these relations.
pub(crate) async fn columns(session: &mut Session, relations: &[u32]) -> Result<Vec<CatalogueColumn>, Cause> {
    let mut columns = Vec::new();
    for page in relations.chunks(PAGE) {
        let rows = session.query(&queries::columns(page)).await?;
        columns.reserve(rows.len());
        for row in &rows {
            columns.push(CatalogueColumn {
                relation: row.number(0)?,
                number: row.number(9)?,
                name: row.text(1)?.to_owned(),
                base: BaseType {
                    name: row.text(2)?.to_owned(),
                    oid: row.number(3)?,
                    modifier: row.number(4)?,
                    send: row.text(5)?.to_owned(),
                },
                nullable: !row.truth(6),
                is_carried: !row.truth(7),
                is_key: row.truth(8),
                declared: (row.number(10)?, row.number(11)?),
                is_primary: row.truth(12),
                gives_values: row.truth(13),
            });
        }
    }
    Ok(columns)
}

/// A page's header, and a row's header with its pointer in the page (manual, "Database Page Layout").
const PAGE_HEADER: u64 = 24;
const ROW_HEADER: u64 = 24 + 4;
/// What the planner takes a value of no fixed length to be, as long as nothing is known of it.
const UNKNOWN_WIDTH: u64 = 32;
/// Bytes of a block, where nobody has built a server with others.
pub(crate) const BLOCK: u64 = 8192;

/// About how many rows lie in so many bytes of a table that was never analysed: reckoned as the planner does.
pub(crate) fn rows_in(bytes: u64, kinds: impl Iterator<Item = Kind>) -> u64 {
    let row = ROW_HEADER + kinds.map(width).sum::<u64>();
    bytes / BLOCK * ((BLOCK - PAGE_HEADER) / row).max(1)
}

fn width(kind: Kind) -> u64 {
    match kind {
        Kind::Bool | Kind::Int8 => 1,
        Kind::Int16 => 2,
        Kind::Int32 | Kind::Float32 | Kind::Date => 4,
        Kind::Int64 | Kind::UInt64 | Kind::Float64 | Kind::Time | Kind::Timestamp | Kind::TimestampTz => 8,
        Kind::Uuid | Kind::Interval => 16,
        Kind::Decimal { .. } | Kind::Text | Kind::Bytes | Kind::Json => UNKNOWN_WIDTH,
    }
}

/// `numeric(p,s)` has the modifier `((p << 16) | (s & 0x7ff)) + 4`, with s in eleven bits, signed since PostgreSQL 15.
fn numeric(modifier: i32) -> (Kind, Decoder) {
    let plain = (Kind::Text, Decoder::NumericText);
    if modifier < 4 {
        return plain;
    }
    let (precision, scale) = ((modifier - 4) >> 16 & 0xFFFF, (((modifier - 4) & 0x7FF) ^ 1024) - 1024);
    if !(1..=MAX_PRECISION).contains(&precision) || !(0..=precision).contains(&scale) {
        return plain;
    }
    let (precision, scale) = (precision as u8, scale as u8);
    (Kind::Decimal { precision, scale }, Decoder::Decimal { precision, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric_kind(precision: i32, scale: i32) -> Kind {
        let modifier = (precision << 16 | scale & 0x7FF) + 4;
        BaseType { name: "numeric".into(), oid: 1700, modifier, send: "numeric_send".into() }.mapping().kind
    }

    #[test]
    fn a_numeric_is_a_decimal_where_it_fits_one() {
        assert_eq!(numeric_kind(10, 2), Kind::Decimal { precision: 10, scale: 2 });
        assert_eq!(numeric_kind(38, 38), Kind::Decimal { precision: 38, scale: 38 });
        assert_eq!(numeric_kind(39, 2), Kind::Text);
        assert_eq!(numeric_kind(5, -2), Kind::Text);
        assert_eq!(numeric_kind(2, 5), Kind::Text);
        assert_eq!(numeric(-1).0, Kind::Text);
    }

    #[test]
    fn rows_of_a_table_that_was_never_analysed_are_about_what_fits_into_its_pages() {
        assert_eq!(rows_in(0, [Kind::Int32].into_iter()), 0);
        assert_eq!(rows_in(10 * BLOCK, [Kind::Int32].into_iter()), 2550);
        assert_eq!(rows_in(BLOCK, [Kind::Text; 500].into_iter()), 1);
    }

    #[test]
    fn a_type_without_a_binary_decoder_is_read_as_text_only() {
        let of = |oid, send: &str| BaseType { name: String::new(), oid, modifier: -1, send: send.into() }.mapping();
        assert_eq!(of(1007, "array_send").decoder, Decoder::TextOnly);
        assert_eq!(of(99_999, "enum_send").decoder, Decoder::Text);
        assert_eq!(of(1033, "").decoder, Decoder::Text);
        assert_eq!(of(99_999, "?").decoder, Decoder::TextOnly);
        assert_eq!(of(1186, "interval_send"), Mapping { kind: Kind::Interval, decoder: Decoder::TextOnly });
    }
}
