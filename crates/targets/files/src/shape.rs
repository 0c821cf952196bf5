//! How a table looks in a data file: the columns of its layout as an Arrow schema, which every format takes over.
//!
//! Flat: the user's columns on top, then ours. Envelope: ours, and the user's twice, in `before` and in `after`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use millrace_model::{Column, Kind, TableSchema};

use crate::settings::{Decimals, Form, Format, Layout};

/// Our own columns of the flat layout, in order.
pub(crate) const OWN_COLUMNS: [&str; 9] =
    ["_op", "_sequence", "_position", "_tx_id", "_tx_index", "_commit_ts", "_unavailable", "_exact", "_snapshot"];
/// The key under which the Parquet writer looks for field ids.
pub(crate) const FIELD_ID: &str = "PARQUET:field_id";

/// A table in the layout of a lake.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) form: Form,
    pub(crate) schema: Arc<Schema>,
    /// Of the user columns, as they stand in the files.
    pub(crate) names: Vec<String>,
    /// The user columns as they stand in the files: in the envelope, the fields of `after`.
    pub(crate) columns: Fields,
}

impl Shape {
    /// The shape of a table under one version of its schema.
    pub(crate) fn of(table: &TableSchema, form: Form) -> Self {
        let names = file_names(&table.columns, form);
        let field = |(column, name): (&Column, &String)| {
            let id = HashMap::from([(FIELD_ID.to_owned(), column.id.to_string())]);
            Field::new(name, data_type(column.kind, form.decimals), true).with_metadata(id)
        };
        let columns: Fields = table.columns.iter().zip(&names).map(field).collect();
        let fields: Fields = match form.layout {
            Layout::Flat => columns.iter().cloned().chain(own_fields().map(Arc::new)).collect(),
            Layout::Envelope => envelope_fields(&columns).into(),
        };
        Self { form, schema: Arc::new(Schema::new(fields)), names, columns }
    }

    /// Whether a column of the table stands as text where its kind is a decimal.
    pub(crate) fn is_text_of(&self, kind: Kind) -> bool {
        self.form.decimals == Decimals::Legacy && matches!(kind, Kind::Decimal { .. })
    }
}

fn data_type(kind: Kind, decimals: Decimals) -> DataType {
    match (kind, decimals) {
        (Kind::Decimal { .. }, Decimals::Legacy) => DataType::Utf8,
        _ => kind.data_type(),
    }
}

/// The names of user columns in files of this form.
pub(crate) fn file_names(columns: &[Column], form: Form) -> Vec<String> {
    let names = match form.layout {
        Layout::Flat => lake_names(columns),
        Layout::Envelope => columns.iter().map(|column| column.name.clone()).collect(),
    };
    match (form.format, form.layout) {
        (Format::Avro, Layout::Flat) => avro_names(&names, &OWN_COLUMNS),
        (Format::Avro, Layout::Envelope) => avro_names(&names, &[]),
        (Format::Parquet | Format::Json, _) => names,
    }
}

/// The names of user columns in the flat layout: one that is ours in any case gets one more `_`, until it is free. Readers
/// such as DuckDB tell names apart by their letters alone.
pub(crate) fn lake_names(columns: &[Column]) -> Vec<String> {
    flat_names(columns.iter().map(|column| column.name.as_str()))
}

/// The same of names alone.
pub(crate) fn flat_names<'a>(columns: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let columns: Vec<&str> = columns.into_iter().collect();
    let mut taken: HashSet<String> =
        columns.iter().filter(|name| !is_own(name)).map(|name| name.to_ascii_lowercase()).collect();
    let free = |name: &str| {
        let mut name = name.to_owned();
        while is_own(&name) || taken.contains(&name.to_ascii_lowercase()) {
            name.push('_');
        }
        taken.insert(name.to_ascii_lowercase());
        name
    };
    map_where(&columns, is_own, free)
}

fn is_own(name: &str) -> bool {
    is_one_of(&OWN_COLUMNS, name)
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// Changes the names that have to be changed.
fn map_where(names: &[&str], has_to: impl Fn(&str) -> bool, mut change: impl FnMut(&str) -> String) -> Vec<String> {
    names.iter().map(|&name| if has_to(name) { change(name) } else { name.to_owned() }).collect()
}

/// Names that Avro allows, each once and none of them in `ours`, in any case: other characters become `_`, a leading digit
/// gets a `_` before it, and a name that is taken one more `_`. A name that Avro allows stays as it is.
pub(crate) fn avro_names(names: &[String], ours: &[&str]) -> Vec<String> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut taken: HashSet<String> =
        names.iter().filter(|name| avro_name(name) == **name).map(|&name| name.to_owned()).collect();
    let free = |name: &str| {
        let mut name = avro_name(name);
        while taken.contains(&name) || is_one_of(ours, &name) {
            name.push('_');
        }
        taken.insert(name.clone());
        name
    };
    map_where(&names, |name| avro_name(name) != name, free)
}

/// A name as Avro allows it.
pub(crate) fn avro_name(name: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let fitting = name.chars().map(|letter| if fits(letter) { letter } else { '_' });
    let leading = name.starts_with(|first: char| first.is_ascii_digit()).then_some('_');
    leading.into_iter().chain(fitting).collect()
}

fn own_fields() -> [Field; 9] {
    let [op, sequence, position, tx_id, tx_index, commit_ts, unavailable, exact, snapshot] = OWN_COLUMNS;
    [
        Field::new(op, DataType::Utf8, false),
        Field::new(sequence, DataType::Int64, false),
        Field::new(position, DataType::Utf8, true),
        Field::new(tx_id, DataType::Utf8, true),
        Field::new(tx_index, DataType::Int64, true),
        Field::new(commit_ts, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new(unavailable, DataType::List(element()), true),
        Field::new(exact, DataType::Map(entries(), false), true),
        Field::new(snapshot, DataType::Utf8, true),
    ]
}

/// Ours of the envelope. Field ids stand in `after` alone, so that each is there once.
fn envelope_fields(columns: &Fields) -> Vec<Field> {
    let without_ids = columns.iter().map(|field| field.as_ref().clone().with_metadata(HashMap::new())).collect();
    let mut fields = vec![Field::new("op", DataType::Utf8, false)];
    // Neither Parquet nor Avro's readers like a record without a field.
    if !columns.is_empty() {
        fields.push(Field::new("before", DataType::Struct(without_ids), true));
        fields.push(Field::new("after", DataType::Struct(columns.clone()), true));
    }
    fields.extend([
        Field::new("before_image", DataType::Utf8, false),
        Field::new("unavailable", DataType::List(element()), true),
        Field::new("exact", DataType::Map(entries(), false), true),
        Field::new("sequence", DataType::Int64, false),
        Field::new("ts_us", DataType::Int64, false),
        Field::new("source", DataType::Struct(source_fields()), false),
    ]);
    fields
}

/// Of `source` in the envelope.
pub(crate) fn source_fields() -> Fields {
    Fields::from(vec![
        Field::new("pipeline", DataType::Utf8, false),
        Field::new("connector", DataType::Utf8, false),
        Field::new("db", DataType::Utf8, true),
        Field::new("schema", DataType::Utf8, true),
        Field::new("table", DataType::Utf8, false),
        Field::new("position", DataType::Utf8, true),
        Field::new("tx_id", DataType::Utf8, true),
        Field::new("tx_index", DataType::Int64, true),
        Field::new("ts_us", DataType::Int64, true),
        Field::new("snapshot", DataType::Utf8, true),
    ])
}

/// The element of `unavailable`, by the name that the Parquet specification gives it.
pub(crate) fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Utf8, true))
}

/// The entries of `exact`, by the names that the Parquet specification gives them.
pub(crate) fn entries() -> Arc<Field> {
    let fields =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    Arc::new(Field::new("key_value", DataType::Struct(fields), false))
}

/// How the values of a column lie best in Parquet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Differences in few bits: whole numbers and times, which rise or stay near one another.
    Delta,
    /// Each value once and then its number, for as long as there are few; after that plain.
    Dictionary,
    /// As they are.
    Plain,
}

/// How values of `kind` lie best.
pub(crate) fn lie_of(kind: Kind) -> Lie {
    match kind {
        Kind::Int8
        | Kind::Int16
        | Kind::Int32
        | Kind::Int64
        | Kind::UInt64
        | Kind::Date
        | Kind::Time
        | Kind::Timestamp
        | Kind::TimestampTz => Lie::Delta,
        Kind::Decimal { precision, .. } if precision <= 18 => Lie::Delta,
        Kind::Text | Kind::Interval | Kind::Json | Kind::Bytes => Lie::Dictionary,
        Kind::Bool | Kind::Float32 | Kind::Float64 | Kind::Decimal { .. } | Kind::Uuid => Lie::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column { name: name.into(), id: 1, kind: Kind::Text, type_name: "text".into(), nullable: true }
    }

    #[test]
    fn a_column_that_is_named_like_ours_gives_way_until_its_name_is_free() {
        let names = lake_names(&[column("_op"), column("_op_"), column("id"), column("_Op"), column("_SEQUENCE")]);
        assert_eq!(names, ["_op__", "_op_", "id", "_Op___", "_SEQUENCE_"]);
    }

    #[test]
    fn a_name_that_avro_does_not_allow_gives_way_until_it_is_free() {
        let names = ["a b", "a_b", "a-b", "1st", "größe", "_op"].map(str::to_owned);
        assert_eq!(avro_names(&names, &OWN_COLUMNS[1..]), ["a_b_", "a_b", "a_b__", "_1st", "gr__e", "_op"]);
        let names = [" op", " OP"].map(str::to_owned);
        assert_eq!(avro_names(&names, &OWN_COLUMNS), ["_op_", "_OP_"]);
    }
}
