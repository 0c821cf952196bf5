//! What tables are under a snapshot: looked up once for all readers, since under one snapshot the answer never changes.
//!
//! One table alone costs a few small queries. Where many are asked for, all that remain are looked up together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use millrace_model::TableName;

use crate::client::session::Session;
use crate::fault::Cause;
use crate::members::{self, MemberTable};
use crate::queries;
use crate::settings::Settings;

/// So many tables are looked up one by one before all are looked up together.
const ONE_BY_ONE: usize = 16;

/// A table and where its rows are.
#[derive(Debug)]
pub(super) struct Readable {
    pub(super) member: MemberTable,
    pub(super) leaves: Vec<Leaf>,
}

/// A relation that holds rows of a table.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// Its file under the snapshot.
    pub(super) file: u32,
    pub(super) blocks: u64,
}

/// The tables that were looked up so far.
#[derive(Debug, Default)]
pub(super) struct Readables(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    tables: HashMap<TableName, Arc<Readable>>,
    has_all: bool,
}

impl Readables {
    /// A table, looked up in a session that is under the snapshot if it must be.
    pub(super) async fn find(
        &self,
        session: &mut Session,
        settings: &Settings,
        table: &TableName,
    ) -> Result<Arc<Readable>, Cause> {
        let wants_all = {
            let known = self.known();
            if let Some(found) = known.tables.get(table) {
                return Ok(Arc::clone(found));
            }
            !known.has_all && known.tables.len() >= ONE_BY_ONE
        };
        let members = if wants_all {
            members::all(session, settings).await?
        } else {
            vec![members::one(session, settings, table).await?]
        };
        let oids: Vec<u32> = members.iter().map(|member| member.oid).collect();
        let mut leaves = leaves(session, &oids).await?;
        let mut known = self.known();
        known.has_all |= wants_all;
        for member in members {
            let name = member.schema.table.clone();
            let leaves = leaves.remove(&member.oid).unwrap_or_default();
            known.tables.entry(name).or_insert_with(|| Arc::new(Readable { member, leaves }));
        }
        known.tables.get(table).cloned().ok_or_else(|| Cause::TableGone { table: table.to_string() })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The leaves of tables, by the table's oid.
async fn leaves(session: &mut Session, tables: &[u32]) -> Result<HashMap<u32, Vec<Leaf>>, Cause> {
    let mut leaves: HashMap<u32, Vec<Leaf>> = HashMap::new();
    for row in session.query(&queries::leaves(tables)).await? {
        leaves.entry(row.number(5)?).or_default().push(Leaf {
            oid: row.number(0)?,
            schema: row.text(1)?.to_owned(),
            name: row.text(2)?.to_owned(),
            file: row.number(3)?,
            // A relation dropped meanwhile has no size.
            blocks: row.get(4).and_then(|blocks| blocks.parse().ok()).unwrap_or(0),
        });
    }
    Ok(leaves)
}
