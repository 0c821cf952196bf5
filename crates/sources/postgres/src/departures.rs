//! Tables that leave although the pipeline file still asks for them: renamed, dropped, or without a key by now.
//!
//! The other tables go on; who runs the pipeline is told what became of it and what to do. A publication knows its tables
//! by oid, so one that was renamed stays in it under its new name: where nobody asks for that name it is taken out, so
//! that its users are not bound by what a pipeline needs.

use std::collections::HashMap;
use std::sync::Mutex;

use millrace_model::{Registry, TableName};

use crate::check;
use crate::client::session::{Row, Session};
use crate::fault::{Cause, cure};
use crate::members::MemberTable;
use crate::publication::{self, Candidate};
use crate::queries;
use crate::settings::Settings;

/// Under which oid each table was last seen.
#[derive(Debug, Default)]
pub(crate) struct Oids(Mutex<HashMap<TableName, u32>>);

impl Oids {
    /// As the lake has them: a `source_id` begins with the table's oid.
    pub(crate) fn remember(&self, registry: &Registry) {
        let of = |source_id: &str| source_id.split('|').next()?.parse().ok();
        self.extend(registry.entries().filter_map(|entry| Some((entry.table.clone(), of(&entry.source_id)?))));
    }

    /// As the catalogue has them now.
    pub(crate) fn see(&self, members: &[MemberTable]) {
        self.extend(members.iter().map(|member| (member.schema.table.clone(), member.oid)));
    }

    fn extend(&self, oids: impl Iterator<Item = (TableName, u32)>) {
        // A poisoned lock: another thread has panicked, and the map is whole all the same.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(oids);
    }

    fn of(&self, table: &TableName) -> Option<u32> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(table).copied()
    }
}

/// Says what became of those of `tables` that the pipeline file asks for. `named` are the publication's tables (schema,
/// name, oid). Returns those that the publication has under another name that nobody asks for.
pub(crate) async fn tell(
    session: &mut Session,
    settings: &Settings,
    oids: &Oids,
    tables: &[TableName],
    named: &[Row],
) -> Result<Vec<(String, String)>, Cause> {
    let mut renamed = Vec::new();
    for table in tables {
        let [_, schema, name] = table.parts() else { continue };
        if !settings.lists(schema, name) {
            continue;
        }
        let oid = oids.of(table);
        match publication::candidate(session, settings, schema, name).await? {
            Some(candidate) if oid.is_none_or(|oid| oid == candidate.oid) => unfit(&candidate),
            // Another table has the name now; it joins by itself, if it can.
            Some(_) | None => {
                let is_it = |row: &&Row| oid.is_some() && row.number(2).ok() == oid;
                let now =
                    named.iter().find(is_it).and_then(|row| Some((row.get(0)?.to_owned(), row.get(1)?.to_owned())));
                gone(settings, &queries::table_name(schema, name), now.as_ref());
                renamed.extend(now.filter(|(schema, name)| !settings.lists(schema, name)));
            }
        }
    }
    Ok(renamed)
}

/// It is there, and cannot be carried any more.
pub(crate) fn unfit(table: &Candidate) {
    let Some(finding) = check::obstacle(table, false).filter(|_| table.obstacle().is_some()) else { return };
    let (code, cure) = (finding.code, finding.cure);
    tracing::warn!(
        code,
        cure,
        "{}; its files stay in the lake, and once that is cured it joins again and is read anew",
        finding.message
    );
}

/// It is not there any more, or not under this name.
fn gone(settings: &Settings, table: &str, now: Option<&(String, String)>) {
    const FILES: &str = "its files stay in the lake";
    match now {
        Some((schema, name)) if settings.lists(schema, name) => {
            let now = queries::table_name(schema, name);
            let cure = format!("nothing: the rows of {now} are read anew");
            tracing::warn!(
                code = "PG-033",
                cure,
                "table {table} was renamed to {now}: it leaves, and {now} joins; {FILES}"
            );
        }
        Some((schema, name)) => {
            let now = queries::table_name(schema, name);
            let cure = cure::renamed(table, &now);
            tracing::warn!(
                code = "PG-033",
                cure,
                "table {table} was renamed to {now}, which the pipeline file does not name: it leaves; {FILES}"
            );
        }
        None => {
            let cure = cure::dropped(table);
            tracing::warn!(code = "PG-033", cure, "table {table} was dropped or renamed: it leaves; {FILES}");
        }
    }
}
