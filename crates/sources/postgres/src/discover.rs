//! What tables there are, with their columns and keys, and what would keep a pipeline from carrying them.

use std::collections::HashMap;

use millrace_model::{Finding, Kind};

use crate::check;
use crate::client::connect::{Purpose, connect};
use crate::client::session::Row;
use crate::fault::Cause;
use crate::settings::Settings;
use crate::types::CatalogueColumn;
use crate::{publication, queries, types};

/// A table as `discover` shows it (`docs/reference/cli.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Names of its key columns; empty where it has none.
    pub key: Vec<String>,
    /// Its columns.
    pub columns: Vec<DiscoveredColumn>,
    /// The planner's estimate; of what was never analysed, about what its bytes have room for. With partitions.
    pub rows_estimate: u64,
    /// With indexes and out-of-line values, and with partitions.
    pub bytes: u64,
    /// What a pipeline would say of it.
    pub findings: Vec<Finding>,
}

/// A column as `discover` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredColumn {
    /// Its name.
    pub name: String,
    /// Its type, as the server writes it.
    pub type_name: String,
    /// What its values mean.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
}

/// The tables of a schema, or of all but the system's. Partitions are part of their root; views have no log.
pub(crate) async fn discover(settings: &Settings, schema: Option<&str>) -> Result<Vec<DiscoveredTable>, Cause> {
    let mut session = connect(settings, Purpose::Queries).await?;
    let schemas = schema.map(|schema| [schema]);
    let candidates = publication::candidates(&mut session, schemas.as_ref().map(<[&str; 1]>::as_slice)).await?;
    let tables: Vec<_> =
        candidates.into_iter().filter(|it| matches!(it.kind, b'r' | b'p') && !it.is_partition).collect();
    let oids: Vec<_> = tables.iter().map(|table| table.oid).collect();
    let mut columns: HashMap<u32, Vec<CatalogueColumn>> = HashMap::new();
    for column in types::columns(&mut session, &oids).await? {
        columns.entry(column.relation).or_default().push(column);
    }
    let sizes = if oids.is_empty() { Vec::new() } else { session.query(&queries::sizes(&oids)).await? };
    let sizes: HashMap<u32, Size> =
        sizes.iter().map(|row| Ok((row.number(0)?, size(row)?))).collect::<Result<_, Cause>>()?;
    Ok(tables
        .into_iter()
        .map(|table| {
            let columns = columns.remove(&table.oid).unwrap_or_default();
            let columns: Vec<_> = columns.iter().collect();
            let mut findings: Vec<_> = check::obstacle(&table, true).into_iter().collect();
            findings.extend(check::columns(&table.full_name(), &columns));
            let size = sizes.get(&table.oid).copied().unwrap_or_default();
            let unanalysed = types::rows_in(size.unanalysed, columns.iter().map(|it| it.base.mapping().kind));
            // A key that the log carries in part is none.
            let is_whole = columns.iter().all(|it| it.is_carried || !it.is_key);
            let key = columns.iter().filter(|it| is_whole && it.is_key);
            DiscoveredTable {
                key: key.map(|it| it.name.clone()).collect(),
                columns: columns
                    .iter()
                    .map(|it| DiscoveredColumn {
                        name: it.name.clone(),
                        type_name: it.base.name.clone(),
                        kind: it.base.mapping().kind,
                        nullable: it.nullable,
                    })
                    .collect(),
                findings,
                schema: table.schema,
                table: table.table,
                rows_estimate: size.rows + unanalysed,
                bytes: size.bytes,
            }
        })
        .collect())
}

/// What the catalogue says of a table's size.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    bytes: u64,
    /// As far as it was analysed.
    rows: u64,
    /// Bytes of rows that were not.
    unanalysed: u64,
}

fn size(row: &Row) -> Result<Size, Cause> {
    Ok(Size { bytes: row.number(1)?, rows: row.number(2)?, unanalysed: row.number(3)? })
}
