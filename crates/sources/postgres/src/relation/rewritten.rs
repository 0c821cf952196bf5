//! Changes of a table that give other values to the rows that are there, none of which is in the log: they are said, since
//! the lake then differs from the source until the table is read anew.
//!
//! A column that was only altered to have a default says nothing here: it is no new one.

use millrace_model::{Column, TableSchema};

use super::{Description, KnownTable};
use crate::fault::cure;

/// Says which columns of a new description have values in the source that the lake does not have.
pub(super) fn tell(known: &KnownTable, schema: &TableSchema, description: &Description) {
    if known.newest.is_empty() || known.source_id != schema.source_id {
        // It joins: its rows are read with these columns, or are not asked for.
        return;
    }
    let before = |column: &Column| known.all().find(|it| it.id == column.id);
    let gives_values =
        |column: &Column| description.attributes.iter().any(|it| it.name == column.name && it.gives_values);
    for column in &schema.columns {
        match before(column) {
            None if gives_values(column) => tell_of(
                schema,
                column,
                "a column with a default was added: the values that it gave to the rows that were there are not in the log",
            ),
            Some(old) if old.type_name != column.type_name => tell_of(
                schema,
                column,
                "a column has another type: rows that were there keep in the lake what they had, whatever the change made of them",
            ),
            _ => {}
        }
    }
}

fn tell_of(schema: &TableSchema, column: &Column, what: &str) {
    let (table, column) = (&schema.table, &column.name);
    tracing::warn!(code = "PG-034", %table, column, cure = cure::read_anew(&table.to_string()), "{table}, column {column}: {what}");
}
