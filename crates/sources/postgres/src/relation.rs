//! What a table is, when the log describes it: the log's words joined with the catalogue's.
//!
//! The log says names, types and the replica identity, exactly as of its position. It does not say column numbers, what may
//! be null or what the primary key is; the catalogue does, as of now. Where both list the same columns they are taken to
//! speak of the same table, and a column's id is its number. Otherwise the table has changed since: ids then come from what
//! the lake knows, else from the catalogue's column of that name and type, and what neither knows gets a number that no
//! column of the server can ever have.

mod bulk;
mod rewritten;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use millrace_model::{Column, Registry, TableName, TableSchema};

use crate::client::session::{Row, Session};
use crate::decode::message::{Relation, RelationColumn};
use crate::decode::row::Table;
use crate::decode::value::Decoder;
use crate::fault::{Cause, cure};
use crate::queries;
use crate::types::BaseType;

pub(crate) use bulk::Bulk;

/// `MaxHeapAttributeNumber`: no column of the server has a higher number.
const LAST_NUMBER: u32 = 1600;

/// A column as the catalogue has it.
#[derive(Clone, Debug)]
struct Attribute {
    number: u32,
    name: String,
    type_oid: u32,
    modifier: i32,
    not_null: bool,
    generated: bool,
    /// Added to a table, it gives values to the rows that are there.
    gives_values: bool,
}

/// What the catalogue says of a table.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    /// The mark of its membership in the publication; `None` where it is no member.
    membership: Option<String>,
    /// Column numbers that the publication is limited to.
    listed: Option<Vec<u32>>,
    /// A partition whose changes come under its root's name.
    comes_via_root: bool,
    attributes: Vec<Attribute>,
    /// Columns of the immediate primary key.
    primary_key: Vec<String>,
    /// Types of the log's columns, one each.
    types: Vec<BaseType>,
}

/// Asks the catalogue.
pub(crate) async fn describe(
    session: &mut Session,
    relation: &Relation,
    publication: &str,
) -> Result<Description, Cause> {
    let lists = session.batch(&queries::described(relation, publication, session.version())).await?;
    let [membership, attributes, key, types] = lists.as_slice() else {
        return Err(Cause::Answer("a table's description"));
    };
    let row = membership.first().cloned().unwrap_or_default();
    let types = types.iter().map(base_type).collect::<Result<Vec<_>, _>>()?;
    if types.len() != relation.columns.len() {
        return Err(Cause::Answer("a column of a type that the catalogue does not have"));
    }
    Ok(Description {
        membership: membership_mark(relation.oid, &row),
        listed: row.get(1).map(|list| list.split(' ').filter_map(|number| number.parse().ok()).collect()),
        comes_via_root: row.truth(5) && row.get(0).is_none(),
        attributes: attributes.iter().map(attribute).collect::<Result<_, _>>()?,
        primary_key: key.iter().map(|row| Ok(row.text(0)?.to_owned())).collect::<Result<_, Cause>>()?,
        types,
    })
}

/// Another mark means that the table left the publication and joined it again.
pub(crate) fn membership_mark(oid: u32, row: &Row) -> Option<String> {
    if let Some(member) = row.get(0) {
        return Some(format!("{oid}|{member}"));
    }
    if let Some(schema) = row.get(4) {
        return Some(format!("{oid}|schema {schema}"));
    }
    row.truth(2).then(|| format!("{oid}|publication {}", row.get(3).unwrap_or_default()))
}

fn attribute(row: &Row) -> Result<Attribute, Cause> {
    Ok(Attribute {
        number: row.number(0)?,
        name: row.text(1)?.to_owned(),
        type_oid: row.number(2)?,
        modifier: row.number(3)?,
        not_null: row.truth(4),
        generated: row.truth(5),
        gives_values: row.truth(6),
    })
}

fn base_type(row: &Row) -> Result<BaseType, Cause> {
    Ok(BaseType {
        name: row.text(1)?.to_owned(),
        oid: row.number(2)?,
        modifier: row.number(3)?,
        send: row.text(4)?.to_owned(),
    })
}

/// What is known of the tables from the lake and from earlier descriptions.
#[derive(Debug)]
pub(crate) struct Known {
    database: String,
    tables: HashMap<TableName, KnownTable>,
}

#[derive(Debug, Default)]
struct KnownTable {
    newest: Vec<Column>,
    /// Columns that the newest description lacks, those seen last first.
    older: Vec<Column>,
    source_id: String,
    highest_id: u32,
    /// Names of the key columns, as they were described last.
    key: Vec<String>,
}

/// A table that changes are read into.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// As it is from here on.
    pub(crate) table: Table,
    /// Its rows have values that the log did not say, and no key.
    pub(crate) is_untold: bool,
}

impl Known {
    /// As the lake has them.
    pub(crate) fn new(database: &str, registry: &Registry) -> Self {
        let mut known = Self { database: database.to_owned(), tables: HashMap::new() };
        for entry in registry.entries() {
            let table = known.tables.entry(entry.table.clone()).or_default();
            table.source_id.clone_from(&entry.source_id);
            for version in &entry.versions {
                table.learn(&version.columns);
            }
            table.key.clone_from(&entry.key);
        }
        known
    }

    /// The full name of a table.
    pub(crate) fn name_of(&self, relation: &Relation) -> TableName {
        TableName::new([&self.database, &relation.schema, &relation.table])
    }

    /// The table that changes are read into; `None` for one that is not the publication's own.
    pub(crate) fn resolve(
        &mut self,
        slot: usize,
        relation: &Relation,
        description: &Description,
        binary: bool,
    ) -> Result<Option<Resolved>, Cause> {
        let Some(table) = self.see(slot, relation, description, binary)? else { return Ok(None) };
        if agreeing(relation, description).is_none() {
            tell_of_guess(&table.schema, description);
        }
        let known = self.tables.get(&table.schema.table);
        let is_untold = known.is_some_and(|known| rewritten::untold(known, &table.schema, description));
        self.learn(&table.schema);
        Ok(Some(Resolved { table, is_untold }))
    }

    /// A description that holds from here on.
    pub(crate) fn learn(&mut self, schema: &TableSchema) {
        let known = self.tables.entry(schema.table.clone()).or_default();
        known.source_id.clone_from(&schema.source_id);
        known.learn(&schema.columns);
        known.key = schema.key_names();
    }

    /// The same without learning from it.
    pub(crate) fn see(
        &self,
        slot: usize,
        relation: &Relation,
        description: &Description,
        binary: bool,
    ) -> Result<Option<Table>, Cause> {
        if description.comes_via_root {
            return Ok(None);
        }
        let name = self.name_of(relation);
        let decoders = decoders(relation, description, &name, binary)?;
        let unknown = KnownTable::default();
        let known = self.tables.get(&name).unwrap_or(&unknown);
        let columns = match agreeing(relation, description) {
            Some(attributes) => columns(relation, description, attributes.iter().map(|it| (it.number, !it.not_null))),
            None => {
                let nullable = relation.columns.iter().map(|it| !it.identity || relation.identity == b'f');
                columns(relation, description, known.ids(relation, description).into_iter().zip(nullable))
            }
        };
        let key = key(relation, description, &columns, known);
        let source_id = match &description.membership {
            Some(mark) => mark.clone(),
            // It has left since; until the engine hears of that it is what it was.
            None if known.source_id.is_empty() => format!("{}|0", relation.oid),
            None => known.source_id.clone(),
        };
        let is_key = (0..columns.len()).map(|column| key.contains(&column)).collect();
        let schema = Arc::new(TableSchema { table: name, source_id, columns, key });
        Ok(Some(Table { slot, schema, decoders, is_key }))
    }

    /// Whether the log describes a table as neither the catalogue nor the lake has it: inside a transaction in progress it
    /// may be that transaction's own doing, which the catalogue shows only once it has committed. With full old rows so may
    /// be the key, of which the log says nothing.
    pub(crate) fn doubts(&self, relation: &Relation, description: &Description) -> bool {
        if description.comes_via_root {
            return false;
        }
        if relation.identity == b'f' {
            return true;
        }
        if agreeing(relation, description).is_some() {
            return false;
        }
        let newest = self.tables.get(&self.name_of(relation)).map_or(&[][..], |known| &known.newest);
        let logged = relation.columns.iter().zip(&description.types).map(|(column, base)| (&column.name, &base.name));
        !newest.iter().map(|column| (&column.name, &column.type_name)).eq(logged)
    }
}

impl KnownTable {
    fn learn(&mut self, columns: &[Column]) {
        let before = std::mem::replace(&mut self.newest, columns.to_vec());
        let known = before.into_iter().chain(std::mem::take(&mut self.older));
        self.older = known.filter(|old| !columns.iter().any(|column| column.id == old.id)).collect();
        self.highest_id = columns.iter().map(|column| column.id).fold(self.highest_id, u32::max);
    }

    /// Ids by name and type: of what is known, the newest first; else the catalogue's number, also where it is known by
    /// another name (it was renamed), unless another column of this description has it. New ones lie beyond all that is
    /// known and all that the server can give.
    fn ids(&self, relation: &Relation, description: &Description) -> Vec<u32> {
        let described = relation.columns.iter().zip(&description.types);
        let known: Vec<Option<u32>> = described
            .map(|(column, base)| self.all().find(|it| it.name == column.name && it.type_name == base.name))
            .map(|known| known.map(|it| it.id))
            .collect();
        let mut next = self.highest_id.max(LAST_NUMBER);
        let mut given: HashSet<u32> = known.iter().flatten().copied().collect();
        let both = relation.columns.iter().zip(known);
        both.map(|(column, known)| {
            let number = || description.number_of(column).filter(|&number| given.insert(number));
            known.or_else(number).unwrap_or_else(|| {
                next += 1;
                next
            })
        })
        .collect()
    }

    fn all(&self) -> impl Iterator<Item = &Column> {
        self.newest.iter().chain(&self.older)
    }
}

impl Description {
    /// The catalogue's number of a column that it has under the same name and type.
    fn number_of(&self, column: &RelationColumn) -> Option<u32> {
        let is_same = |it: &&Attribute| {
            it.name == column.name && it.type_oid == column.type_oid && it.modifier == column.modifier
        };
        self.attributes.iter().find(is_same).map(|attribute| attribute.number)
    }
}

/// The log describes a table as the catalogue no longer shows it: who reads the lake is told of the columns whose ids may
/// be others later on.
fn tell_of_guess(schema: &TableSchema, description: &Description) {
    // A dropped column keeps its id for good; one that the catalogue has under another number will have that one.
    let number = |column: &Column| description.attributes.iter().find(|it| it.name == column.name).map(|it| it.number);
    let is_certain = |column: &&Column| column.id <= LAST_NUMBER && number(column).is_none_or(|it| it == column.id);
    let guessed: Vec<&str> =
        schema.columns.iter().filter(|column| !is_certain(column)).map(|column| column.name.as_str()).collect();
    if guessed.is_empty() {
        tracing::info!(
            code = "PG-025",
            table = %schema.table,
            "the table has been altered since; its columns keep their ids"
        );
        return;
    }
    let columns = guessed.join(", ");
    tracing::warn!(
        code = "PG-025",
        table = %schema.table,
        columns,
        cure = cure::read_anew(&schema.table.to_string()),
        "the table has been altered since, more than once: until the log shows it as it is now, columns {columns} have ids of \
         their own in the lake"
    );
}

/// The catalogue's columns, one for each of the log's, if both lists agree.
fn agreeing<'a>(relation: &Relation, description: &'a Description) -> Option<Vec<&'a Attribute>> {
    let mut wanted = relation.columns.iter().peekable();
    let mut found = Vec::with_capacity(relation.columns.len());
    for attribute in &description.attributes {
        let is_same = wanted.peek().is_some_and(|column| {
            column.name == attribute.name
                && column.type_oid == attribute.type_oid
                && column.modifier == attribute.modifier
        });
        let is_listed = description.listed.as_ref().is_none_or(|listed| listed.contains(&attribute.number));
        if is_same {
            wanted.next();
            found.push(attribute);
        } else if is_listed && !attribute.generated {
            return None;
        }
    }
    wanted.next().is_none().then_some(found)
}

/// `more`: id and whether it may be null, one a column.
fn columns(relation: &Relation, description: &Description, more: impl Iterator<Item = (u32, bool)>) -> Vec<Column> {
    let all = relation.columns.iter().zip(&description.types).zip(more);
    all.map(|((column, base), (id, nullable))| Column {
        name: column.name.clone(),
        id,
        kind: base.mapping().kind,
        type_name: base.name.clone(),
        nullable,
    })
    .collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other decoder serves both forms")]
fn decoders(
    relation: &Relation,
    description: &Description,
    name: &TableName,
    binary: bool,
) -> Result<Vec<Decoder>, Cause> {
    let both = relation.columns.iter().zip(&description.types);
    both.map(|(column, base)| match base.mapping().decoder {
        Decoder::TextOnly if binary => {
            Err(Cause::NoDecoder { table: name.to_string(), column: column.name.clone(), type_name: base.name.clone() })
        }
        decoder => Ok(decoder),
    })
    .collect()
}

/// The columns that identify a row. With an identity by key the log flags them, as of its position; with full old rows it
/// flags all columns, and the primary key is the catalogue's, as of now.
///
/// A table that has lost its identity has none. The log then carries inserts and truncates of it and nothing else (the
/// server refuses updates and deletes while it is published).
fn key(relation: &Relation, description: &Description, columns: &[Column], known: &KnownTable) -> Vec<usize> {
    if relation.identity != b'f' {
        return relation.columns.iter().enumerate().filter(|(_, column)| column.identity).map(|(i, _)| i).collect();
    }
    let named = |name: &String| columns.iter().position(|column| column.name == *name);
    // By its number: it may have been renamed since.
    let numbered = |name: &String| {
        let attribute = description.attributes.iter().find(|it| it.name == *name)?;
        columns.iter().position(|column| column.id == attribute.number)
    };
    let key: Option<Vec<_>> = if description.attributes.is_empty() {
        // The table is gone: its last changes are told by what was its key.
        known.key.iter().map(named).collect()
    } else {
        description.primary_key.iter().map(|name| numbered(name).or_else(|| named(name))).collect()
    };
    // A key column that the log does not have: the table has changed since, and full rows identify as well.
    let mut key = key.unwrap_or_default();
    key.sort_unstable();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(identity: u8, columns: &[(&str, bool)]) -> Relation {
        let columns = columns
            .iter()
            .map(|&(name, identity)| RelationColumn { identity, name: name.into(), type_oid: 23, modifier: -1 })
            .collect();
        Relation { oid: 7, schema: "s".into(), table: "t".into(), identity, columns }
    }

    fn description(names: &[(&str, u32)], log_columns: usize) -> Description {
        let attributes = names
            .iter()
            .map(|&(name, number)| Attribute {
                number,
                name: name.into(),
                type_oid: 23,
                modifier: -1,
                not_null: number == 1,
                generated: name == "g",
                gives_values: false,
            })
            .collect();
        let base = BaseType { name: "integer".into(), oid: 23, modifier: -1, send: "int4send".into() };
        Description {
            membership: Some("7|9".into()),
            listed: None,
            comes_via_root: false,
            attributes,
            primary_key: vec!["id".into()],
            types: vec![base; log_columns],
        }
    }

    fn resolve(known: &mut Known, relation: &Relation, description: &Description) -> Arc<TableSchema> {
        known.resolve(0, relation, description, true).unwrap().unwrap().table.schema
    }

    fn ids(schema: &TableSchema) -> Vec<u32> {
        schema.columns.iter().map(|column| column.id).collect()
    }

    #[test]
    fn ids_are_the_catalogues_numbers_where_both_agree() {
        let mut known = Known::new("d", &Registry::default());
        let relation = relation(b'd', &[("id", true), ("v", false)]);
        let schema = resolve(&mut known, &relation, &description(&[("id", 1), ("g", 2), ("v", 4)], 2));
        let ids: Vec<_> = schema.columns.iter().map(|column| (column.id, column.nullable)).collect();
        assert_eq!((ids, &schema.key), (vec![(1, false), (4, true)], &vec![0]));
    }

    #[test]
    fn ids_come_from_the_lake_where_the_catalogue_has_moved_on() {
        let mut known = Known::new("d", &Registry::default());
        let two = relation(b'd', &[("id", true), ("v", false)]);
        resolve(&mut known, &two, &description(&[("id", 1), ("v", 4)], 2));
        let three = relation(b'd', &[("id", true), ("v", false), ("w", false)]);
        let schema = resolve(&mut known, &three, &description(&[("id", 1), ("renamed", 4)], 3));
        assert_eq!(ids(&schema), [1, 4, LAST_NUMBER + 1]);
        // A version before the newest counts too: descriptions of transactions in progress do not come in order.
        resolve(&mut known, &relation(b'd', &[("id", true)]), &description(&[("id", 1)], 1));
        let schema = resolve(&mut known, &two, &description(&[("id", 1)], 2));
        assert_eq!(ids(&schema), [1, 4]);
    }

    #[test]
    fn what_the_lake_does_not_know_has_the_catalogues_number_unless_another_column_of_the_log_has_it() {
        let mut known = Known::new("d", &Registry::default());
        let three = relation(b'd', &[("id", true), ("v", false), ("w", false)]);
        let schema = resolve(&mut known, &three, &description(&[("id", 1), ("v", 2), ("w", 3), ("x", 4)], 3));
        assert_eq!(ids(&schema), [1, 2, 3]);
        // `w` was dropped and `v` renamed to it since; then `v` was added anew, and `u` dropped again.
        let four = relation(b'd', &[("id", true), ("w", false), ("v", false), ("u", false)]);
        let schema = resolve(&mut known, &four, &description(&[("id", 1), ("w", 2), ("v", 5)], 4));
        assert_eq!(ids(&schema), [1, 3, 2, LAST_NUMBER + 1]);
        // A column that was renamed keeps its id.
        let renamed = relation(b'd', &[("id", true), ("y", false)]);
        let schema = resolve(&mut known, &renamed, &description(&[("id", 1), ("y", 2), ("z", 6)], 2));
        assert_eq!(ids(&schema), [1, 2]);
    }

    #[test]
    fn the_key_is_the_identity_and_with_full_rows_the_primary_key() {
        let mut known = Known::new("d", &Registry::default());
        let full = relation(b'f', &[("v", true), ("id", true)]);
        assert_eq!(resolve(&mut known, &full, &description(&[("v", 1), ("id", 2)], 2)).key, [1]);
        let mut keyless = description(&[("v", 1), ("id", 2)], 2);
        keyless.primary_key.clear();
        assert!(resolve(&mut known, &full, &keyless).key.is_empty());
        // A key column that the catalogue has under another name by now, and a table that it has no more.
        resolve(&mut known, &full, &description(&[("v", 1), ("id", 2)], 2));
        let mut renamed = description(&[("v", 1), ("ident", 2)], 2);
        renamed.primary_key = vec!["ident".into()];
        assert_eq!(resolve(&mut known, &full, &renamed).key, [1]);
        let mut gone = description(&[], 2);
        gone.primary_key.clear();
        assert_eq!(resolve(&mut known, &full, &gone).key, [1]);
        let nothing = relation(b'd', &[("v", false), ("id", false)]);
        assert!(resolve(&mut known, &nothing, &keyless).key.is_empty());
    }
}
