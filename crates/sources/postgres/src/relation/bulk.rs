//! Descriptions of many tables in one look, for a log that describes thousands in a row (at its start, or after a change of
//! the publication, which makes the server describe every table anew).
//!
//! **It is never staler than a look of its own would be.** What a single look compares is the log's description, as of the
//! change, with the catalogue, as of now. A description from here serves only a transaction that committed before the look
//! began: then the look is the later of the two, as a single one is, and lies nearer to the change. A transaction that
//! committed since gets a look of its own. And it serves only where both agree on names, types and modifiers of all columns;
//! each serves once.

use std::collections::HashMap;

use crate::client::session::Session;
use crate::decode::message::Relation;
use crate::fault::Cause;
use crate::position::Lsn;
use crate::relation::{Attribute, Description, agreeing, membership_mark};
use crate::settings::Settings;
use crate::types::{self, BaseType, CatalogueColumn};
use crate::{publication, queries};

/// So many single looks before the first look at all; and later at least this part of what the last one found.
const SINGLE_LOOKS: usize = 16;
const PART: usize = 8;

/// What one look found, and when the next is due.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    /// Where the log ended before the look began.
    until: Lsn,
    /// With the types of all columns, not only of the log's.
    tables: HashMap<u32, Description>,
    /// How many it found.
    size: usize,
    /// Single looks since.
    single_looks: usize,
}

impl Bulk {
    /// Looks at every table of the publication.
    pub(crate) async fn fetch(session: &mut Session, settings: &Settings) -> Result<Self, Cause> {
        // The log's end must be the older of the two: the snapshot begins with the transaction's first query.
        let until = Lsn::parse(session.row(queries::END).await?.text(0)?).ok_or(Cause::Answer("the end of the log"))?;
        session.batch(queries::BEGIN_READING).await?;
        let relations = publication::relations(session, settings).await?;
        let mut tables = HashMap::with_capacity(relations.len());
        for page in relations.chunks(types::PAGE) {
            let version = session.version();
            let memberships = session.query(&queries::memberships(&settings.publication, page, version)).await?;
            for row in memberships {
                let oid = row.number(6)?;
                let description = Description {
                    membership: membership_mark(oid, &row),
                    listed: row.get(1).map(|list| list.split(' ').filter_map(|number| number.parse().ok()).collect()),
                    comes_via_root: row.truth(5) && row.get(0).is_none(),
                    attributes: Vec::new(),
                    primary_key: Vec::new(),
                    types: Vec::new(),
                };
                tables.insert(oid, description);
            }
            for column in types::columns(session, page).await? {
                if let Some(description) = tables.get_mut(&column.relation) {
                    description.add(column);
                }
            }
        }
        session.batch(queries::END_READING).await?;
        Ok(Self { until, size: tables.len(), tables, single_looks: 0 })
    }

    /// The description of a table in a transaction whose commit record starts at `commit_start`, if it can serve.
    pub(crate) fn take(&mut self, relation: &Relation, commit_start: Lsn) -> Option<Description> {
        if commit_start >= self.until {
            // Commits come in order: nothing of it will serve again.
            self.tables = HashMap::new();
        }
        let mut description = self.tables.remove(&relation.oid)?;
        let types = of_the_log(relation, &description)?;
        description.types = types;
        Some(description)
    }

    /// Counts a single look. Returns whether to look at all tables instead: once single looks have cost about as much.
    pub(crate) fn is_due(&mut self) -> bool {
        self.single_looks += 1;
        self.single_looks > SINGLE_LOOKS.max(self.size / PART)
    }
}

/// The types of the log's columns, where the catalogue agrees with it.
fn of_the_log(relation: &Relation, description: &Description) -> Option<Vec<BaseType>> {
    let found = agreeing(relation, description)?;
    let place = |attribute: &&Attribute| description.attributes.iter().position(|it| it.number == attribute.number);
    found.iter().map(|attribute| description.types.get(place(attribute)?).cloned()).collect()
}

impl Description {
    fn add(&mut self, column: CatalogueColumn) {
        if column.is_primary {
            self.primary_key.push(column.name.clone());
        }
        self.types.push(column.base);
        self.attributes.push(Attribute {
            number: column.number,
            name: column.name,
            type_oid: column.declared.0,
            modifier: column.declared.1,
            not_null: !column.nullable,
            generated: !column.is_carried,
            gives_values: column.gives_values,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::message::RelationColumn;

    fn bulk(names: &[&str]) -> Bulk {
        let mut description = Description {
            membership: Some("7|9".into()),
            listed: None,
            comes_via_root: false,
            attributes: Vec::new(),
            primary_key: Vec::new(),
            types: Vec::new(),
        };
        for (number, name) in (1..).zip(names) {
            description.add(CatalogueColumn {
                relation: 7,
                number,
                name: (*name).into(),
                base: BaseType { name: format!("type of {name}"), oid: 23, modifier: -1, send: "int4send".into() },
                nullable: true,
                is_carried: *name != "generated",
                is_key: number == 1,
                declared: (23, -1),
                is_primary: number == 1,
                gives_values: false,
            });
        }
        Bulk { until: Lsn(100), tables: HashMap::from([(7, description)]), size: 1, single_looks: 0 }
    }

    fn relation(names: &[&str]) -> Relation {
        let column = |name: &&str| RelationColumn { identity: true, name: (*name).into(), type_oid: 23, modifier: -1 };
        let columns = names.iter().map(column).collect();
        Relation { oid: 7, schema: "s".into(), table: "t".into(), identity: b'd', columns }
    }

    #[test]
    fn a_description_serves_once_and_with_the_types_of_the_logs_columns() {
        let mut bulk = bulk(&["id", "generated", "v"]);
        let found = bulk.take(&relation(&["id", "v"]), Lsn(99)).unwrap();
        let types: Vec<_> = found.types.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((types, found.primary_key), (vec!["type of id", "type of v"], vec!["id".to_owned()]));
        assert!(bulk.take(&relation(&["id", "v"]), Lsn(99)).is_none());
    }

    #[test]
    fn a_description_does_not_serve_what_committed_after_the_look_or_looks_otherwise() {
        assert!(bulk(&["id"]).take(&relation(&["id"]), Lsn(100)).is_none());
        assert!(bulk(&["id", "w"]).take(&relation(&["id", "v"]), Lsn(1)).is_none());
        assert!(bulk(&["id", "v"]).take(&relation(&["id"]), Lsn(1)).is_none());
    }

    #[test]
    fn a_look_at_all_tables_is_due_when_single_looks_have_cost_as_much() {
        let mut bulk = Bulk::default();
        assert_eq!((0..SINGLE_LOOKS).filter(|_| bulk.is_due()).count(), 0);
        assert!(bulk.is_due());
        let mut bulk = Bulk { size: 800, ..Bulk::default() };
        assert_eq!((0..100).filter(|_| bulk.is_due()).count(), 0);
        assert!(bulk.is_due());
    }
}
