//! Preflight: whether the role may read the rows that are there. A run would otherwise find out only once it has made a slot,
//! which then holds the server's log.
//!
//! Rows are read from the relations that hold them, by name: of a partitioned table from its partitions, whose privileges
//! and policies are their own.

use std::collections::BTreeMap;

use millrace_model::{Finding, Refusal};

use crate::client::session::Session;
use crate::fault::{Cause, cure};
use crate::publication::Candidate;
use crate::queries;

/// What a table lacks, as lists of relations.
#[derive(Debug, Default)]
struct Lacks {
    select: Vec<String>,
    rows: Vec<String>,
}

/// What `role` lacks to read the rows of these tables.
pub(crate) async fn look(session: &mut Session, role: &str, tables: &[&Candidate]) -> Result<Vec<Finding>, Cause> {
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let mut schemas = Vec::new();
    let mut lacking: BTreeMap<u32, Lacks> = BTreeMap::new();
    for row in session.query(&queries::unreadable(&oids)).await? {
        let (schema, relation) = (row.text(1)?, queries::table_name(row.text(1)?, row.text(2)?));
        let lacks = lacking.entry(row.number(0)?).or_default();
        if row.truth(3) && !schemas.iter().any(|it| it == schema) {
            schemas.push(schema.to_owned());
        }
        if row.truth(4) {
            lacks.select.push(relation.clone());
        }
        if row.truth(5) {
            lacks.rows.push(relation);
        }
    }
    let role = queries::name(role);
    let mut findings: Vec<Finding> = schemas.iter().map(|schema| no_usage(schema, &role)).collect();
    for table in tables {
        let Some(lacks) = lacking.get(&table.oid) else { continue };
        findings.extend(no_select(&table.full_name(), &lacks.select, &role));
        findings.extend(lacks.rows.iter().map(|relation| hidden_rows(relation, &role)));
    }
    Ok(findings)
}

fn no_usage(schema: &str, role: &str) -> Finding {
    let message = format!("role {role} lacks USAGE on the schema");
    let cure = format!("GRANT USAGE ON SCHEMA {} TO {role}", queries::name(schema));
    Finding::error("PG-005", Refusal::Permission, schema, message, cure)
}

/// One finding a table, however many partitions it has.
fn no_select(table: &str, relations: &[String], role: &str) -> Option<Finding> {
    let list = relations.join(", ");
    let message = match relations {
        [] => return None,
        [only] if only == table => format!("role {role} may not SELECT from it"),
        _ => format!("role {role} may not SELECT from {list}, where its rows are"),
    };
    let cure = format!("GRANT SELECT ON {list} TO {role}");
    Some(Finding::error("PG-005", Refusal::Permission, table, message, cure))
}

fn hidden_rows(relation: &str, role: &str) -> Finding {
    let message = format!("row security hides rows from role {role}, but not from the log");
    Finding::error("PG-005", Refusal::Permission, relation, message, cure::row_security(relation, role))
}
