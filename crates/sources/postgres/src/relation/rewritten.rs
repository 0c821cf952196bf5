//! Changes of a table that give other values to the rows that are there, none of which is in the log: the lake then differs
//! from the source until the table is read anew. With a key they are said, and the table goes on; without one a row that was
//! given another value can never be told from the others again, so the table starts anew.
//!
//! A column that was only altered to have a default says nothing here: it is no new one.

use millrace_model::{Column, TableSchema};

use super::{Description, KnownTable};
use crate::fault::cure;

/// Whether rows under a new description have values in the source that the lake cannot come by; of a table with a key it is
/// said which columns differ.
pub(super) fn untold(known: &KnownTable, schema: &TableSchema, description: &Description) -> bool {
    let differing = differing(known, schema, description);
    if schema.key.is_empty() {
        return !differing.is_empty();
    }
    for (column, what) in differing {
        tell_of(schema, column, what);
    }
    false
}

/// Columns of a new description that have other values in the source than in the lake, and why.
fn differing<'a>(
    known: &KnownTable,
    schema: &'a TableSchema,
    description: &Description,
) -> Vec<(&'a Column, &'static str)> {
    if known.newest.is_empty() || known.source_id != schema.source_id {
        // It joins: its rows are read with these columns, or are not asked for.
        return Vec::new();
    }
    let before = |column: &Column| known.all().find(|it| it.id == column.id);
    let gives_values =
        |column: &Column| description.attributes.iter().any(|it| it.name == column.name && it.gives_values);
    let differs = |column: &'a Column| match before(column) {
        None if gives_values(column) => Some((
            column,
            "a column with a default was added: the values that it gave to the rows that were there are not in the log",
        )),
        Some(old) if old.type_name != column.type_name => Some((
            column,
            "a column has another type: rows that were there keep in the lake what they had, whatever the change made of them",
        )),
        _ => None,
    };
    schema.columns.iter().filter_map(differs).collect()
}

fn tell_of(schema: &TableSchema, column: &Column, what: &str) {
    let (table, column) = (&schema.table, &column.name);
    tracing::warn!(code = "PG-034", %table, column, cure = cure::read_anew(&table.to_string()), "{table}, column {column}: {what}");
}
