//! How a table looks in the flat layout: the user's columns on top, then ours, as an Arrow schema that Parquet takes over.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use millrace_model::{Column, Kind, TableSchema};

/// Our own columns, in order.
pub(crate) const OWN_COLUMNS: [&str; 9] =
    ["_op", "_sequence", "_position", "_tx_id", "_tx_index", "_commit_ts", "_unavailable", "_exact", "_snapshot"];
/// The key under which the Parquet writer looks for field ids.
const FIELD_ID: &str = "PARQUET:field_id";

/// A table in the flat layout.
#[derive(Debug)]
pub(crate) struct Shape {
    /// User columns, then ours.
    pub(crate) schema: Arc<Schema>,
    /// Of the user columns, as they stand in the files.
    pub(crate) names: Vec<String>,
}

impl Shape {
    /// The shape of a table under one version of its schema.
    pub(crate) fn of(table: &TableSchema) -> Self {
        let names = lake_names(&table.columns);
        let mut fields: Vec<Field> = Vec::with_capacity(names.len() + OWN_COLUMNS.len());
        for (column, name) in table.columns.iter().zip(&names) {
            let id = HashMap::from([(FIELD_ID.to_owned(), column.id.to_string())]);
            fields.push(Field::new(name, column.kind.data_type(), true).with_metadata(id));
        }
        fields.extend(own_fields());
        Self { schema: Arc::new(Schema::new(fields)), names }
    }
}

/// The names of user columns in the files: one that is ours gets one more `_`, until it is free.
pub(crate) fn lake_names(columns: &[Column]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let later = columns.get(at + 1..).unwrap_or(&[]);
        let mut name = column.name.clone();
        while OWN_COLUMNS.contains(&name.as_str())
            || names.contains(&name)
            || later.iter().any(|later| later.name == name)
        {
            name.push('_');
        }
        names.push(name);
    }
    names
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

/// The element of `_unavailable`, by the name that the Parquet specification gives it.
pub(crate) fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Utf8, true))
}

/// The entries of `_exact`, by the names that the Parquet specification gives them.
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
        let names = lake_names(&[column("_op"), column("_op_"), column("id"), column("_Op")]);
        assert_eq!(names, ["_op__", "_op_", "id", "_Op"]);
    }
}
