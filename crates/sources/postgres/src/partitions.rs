//! Partitions: which of them keep a partitioned table from being carried, and which are carried by a table above them.
//!
//! A partitioned table is carried as one, through its root, and the log tags each old row by the root's replica identity. The
//! server takes the row itself by the identity of the partition that it lies in, which neither inherits the root's nor
//! follows it. Where the two differ, an old row lacks what its tag promises, or is not sent at all; and where a partition has
//! none, the server refuses its users' updates as long as the root is published.

use std::collections::HashMap;

use crate::client::session::Session;
use crate::fault::Cause;
use crate::publication::{self, Candidate};
use crate::queries;
use crate::settings::{PublicationMode, Settings};

/// Partitions, by name as SQL writes it; of many the first few.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnfitLeaves {
    /// Unlogged ones and foreign tables.
    pub(crate) without_log: Vec<String>,
    /// Their replica identity does not tell what the root's promises.
    pub(crate) unlike: Vec<String>,
    /// How many there are of both.
    count: usize,
}

impl UnfitLeaves {
    /// `change` for each of `leaves`.
    fn each(&self, leaves: &[String], change: &str) -> String {
        let changes: Vec<_> = leaves.iter().map(|leaf| format!("ALTER TABLE {leaf} {change}")).collect();
        let changes = changes.join("; ");
        let shown = self.without_log.len() + self.unlike.len();
        if self.count > shown { format!("{changes}; and {} more", self.count - shown) } else { changes }
    }
}

/// What there is to say of partitions without a log: message and cure.
pub(crate) fn without_log(table: &Candidate) -> (String, String) {
    let leaves = &table.leaves.without_log;
    let message = format!(
        "changes of partitions of {} are in no log, because they are unlogged or foreign tables: {}",
        table.full_name(),
        leaves.join(", ")
    );
    (message, format!("{}; or detach them", table.leaves.each(leaves, "SET LOGGED")))
}

/// What there is to say of partitions whose replica identity is unlike their root's: message and cure.
pub(crate) fn unlike(table: &Candidate) -> (String, String) {
    let leaves = &table.leaves.unlike;
    let (identity, change) = match table.identity {
        b'f' => ("full old rows", "REPLICA IDENTITY FULL"),
        b'i' => ("its index", "REPLICA IDENTITY USING INDEX … (over the same columns)"),
        _ => ("the primary key", "REPLICA IDENTITY DEFAULT"),
    };
    let message = format!(
        "{} is identified by {identity} and partitions of it are not, since a replica identity is not passed down to them: {}",
        table.full_name(),
        leaves.join(", ")
    );
    (message, table.leaves.each(leaves, change))
}

/// What there is to say of a partition that is carried by a table above it: message and cure.
pub(crate) fn carried_by_root(table: &Candidate) -> (String, String) {
    let (name, root) = (table.full_name(), table.carried_by.as_deref().unwrap_or_default());
    let message =
        format!("{name} is a partition of {root}: its changes come as those of {root}, and none under its name");
    (message, format!("take {name} out of tables, or {root} out of tables and publication"))
}

/// A way out for a table without a key; of a partitioned one its partitions need it as well.
pub(crate) fn full_rows(table: &Candidate) -> String {
    if table.full_is_refused {
        let name = table.full_name();
        return format!(
            "give it a primary key without generated columns and ALTER TABLE {name} REPLICA IDENTITY DEFAULT, or take it out of tables"
        );
    }
    let root = format!("ALTER TABLE {} REPLICA IDENTITY FULL", table.full_name());
    if table.leaves.unlike.is_empty() {
        return root;
    }
    format!("{root}; {}", table.leaves.each(&table.leaves.unlike, "REPLICA IDENTITY FULL"))
}

/// Notes which partitions do not fit the tables above them.
pub(crate) async fn see_leaves(session: &mut Session, candidates: &mut [Candidate]) -> Result<(), Cause> {
    let tables: Vec<u32> = candidates.iter().filter(|it| it.kind == b'p').map(|table| table.oid).collect();
    if tables.is_empty() {
        return Ok(());
    }
    let mut found: HashMap<u32, UnfitLeaves> = HashMap::new();
    for row in session.query(&queries::unfit_leaves(&tables)).await? {
        let leaves = found.entry(row.number(0)?).or_default();
        leaves.count = row.number(3)?;
        let which = if row.truth(2) { &mut leaves.unlike } else { &mut leaves.without_log };
        which.push(row.text(1)?.to_owned());
    }
    for candidate in candidates {
        candidate.leaves = found.remove(&candidate.oid).unwrap_or_default();
    }
    Ok(())
}

/// As of when partitions are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsOf {
    /// Once the publication, where it is ours, is as the pipeline file wants it.
    Wanted,
    /// As the publication stands.
    Now,
}

/// Notes which of the partitions that the pipeline file names are carried by a table above them: one that it asks for as
/// well, or one that the publication hands them out by.
pub(crate) async fn see_roots(
    session: &mut Session,
    settings: &Settings,
    candidates: &mut [Candidate],
    as_of: AsOf,
) -> Result<(), Cause> {
    let named: Vec<u32> = candidates
        .iter()
        .filter(|it| it.is_partition && settings.names(&it.schema, &it.table))
        .map(|partition| partition.oid)
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    let selected: Vec<u32> = publication::selected(settings, candidates).iter().map(|table| table.oid).collect();
    let heeds_publication = as_of == AsOf::Now || settings.publication_mode == PublicationMode::Use;
    let rows = session.query(&queries::ancestors(&settings.publication, &named, session.version())).await?;
    let mut carried = HashMap::new();
    for row in rows {
        if heeds_publication && row.truth(4) || selected.contains(&row.number(1)?) {
            // The last is the highest, and changes come as those of the highest.
            carried.insert(row.number::<u32>(0)?, queries::table_name(row.text(2)?, row.text(3)?));
        }
    }
    for candidate in candidates {
        candidate.carried_by = carried.remove(&candidate.oid);
    }
    Ok(())
}
