//! The publication: which tables' changes the server hands out. Made by us (`create`), or only judged (`use`).
//!
//! Never `FOR ALL TABLES` nor `TABLES IN SCHEMA`: a later table without a key would make the *user's* updates fail. And
//! never behind a standing slot: that slot could not be read.

use millrace_model::Finding;

use crate::client::session::{Row, Session};
use crate::fault::Cause;
use crate::partitions::{self, AsOf, UnfitLeaves};
use crate::settings::{EVERY_TABLE, PublicationMode, Settings};
use crate::{check, members, queries};

/// From this version on the server refuses updates and deletes of a published table with full old rows and generated columns
/// that are not published.
const FULL_NEEDS_ALL_SINCE: u32 = 180_000;

/// A relation of the catalogue that `tables` may mean.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) schema: String,
    pub(crate) table: String,
    /// `r` table, `p` partitioned, `v` and `m` views, `f` foreign
    pub(crate) kind: u8,
    /// `p` permanent, `u` unlogged, `t` temporary
    pub(crate) persistence: u8,
    /// `d` primary key, `i` index, `f` full, `n` nothing
    pub(crate) identity: u8,
    pub(crate) is_partition: bool,
    /// An index identifies its rows: the primary key or, where that is the identity, another one.
    pub(crate) has_key: bool,
    pub(crate) has_deferrable_key: bool,
    /// Columns of that index which the log does not carry, because they are generated.
    pub(crate) generated_key: Option<String>,
    /// The server refuses updates of it while it is published, or would if it had full old rows: it has generated columns.
    pub(crate) full_is_refused: bool,
    /// Its partitions whose changes cannot be carried as its own.
    pub(crate) leaves: UnfitLeaves,
    /// The table above it under whose name its changes come, where it is a partition.
    pub(crate) carried_by: Option<String>,
    /// The role may publish it.
    pub(crate) is_ours: bool,
    pub(crate) oid: u32,
    pub(crate) rows_estimate: u64,
}

/// Why a relation has no changes that we can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A view, a foreign table, an unlogged or temporary table.
    NoLog,
    /// Neither key nor full old rows.
    NoKey,
    /// A deferrable primary key identifies nothing.
    DeferrableKey,
    /// The log does not carry a column of the key.
    GeneratedKey,
    /// The server does not let full old rows be published without the generated columns.
    FullIsRefused,
    /// Partitions without a log.
    LeavesWithoutLog,
    /// Partitions whose old rows do not tell what the root's promise.
    UnlikeLeaves,
    /// Its changes come under the name of a table above it.
    CarriedByRoot,
}

impl Candidate {
    pub(crate) fn full_name(&self) -> String {
        queries::table_name(&self.schema, &self.table)
    }

    /// Why its rows must not be filtered: an update into the filter is told as an insert, which lacks what was not sent.
    pub(crate) fn filter_obstacle(&self) -> Option<String> {
        let table = self.full_name();
        (self.identity != b'f').then(|| format!("it filters rows of table {table}, which has no full replica identity"))
    }

    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        if !matches!(self.kind, b'r' | b'p') || self.persistence != b'p' {
            return Some(Obstacle::NoLog);
        }
        if self.carried_by.is_some() {
            return Some(Obstacle::CarriedByRoot);
        }
        match self.identity {
            b'f' if self.full_is_refused => return Some(Obstacle::FullIsRefused),
            b'f' => {}
            b'd' if !self.has_key && self.has_deferrable_key => return Some(Obstacle::DeferrableKey),
            b'd' | b'i' if self.has_key => {}
            _ => return Some(Obstacle::NoKey),
        }
        if self.generated_key.is_some() {
            return Some(Obstacle::GeneratedKey);
        }
        match &self.leaves {
            UnfitLeaves { without_log, .. } if !without_log.is_empty() => Some(Obstacle::LeavesWithoutLog),
            UnfitLeaves { unlike, .. } if !unlike.is_empty() => Some(Obstacle::UnlikeLeaves),
            UnfitLeaves { .. } => None,
        }
    }
}

/// The relations of these schemas, or of all but the system's.
pub(crate) async fn candidates(session: &mut Session, schemas: Option<&[&str]>) -> Result<Vec<Candidate>, Cause> {
    found(session, &queries::relations(schemas, None)).await
}

/// The relations of the schemas that `tables` speaks of.
pub(crate) async fn asked_for(
    session: &mut Session,
    settings: &Settings,
    as_of: AsOf,
) -> Result<Vec<Candidate>, Cause> {
    let mut candidates = candidates(session, Some(&schemas(settings))).await?;
    partitions::see_roots(session, settings, &mut candidates, as_of).await?;
    Ok(candidates)
}

/// The relation of this name, as it is now.
pub(crate) async fn candidate(
    session: &mut Session,
    settings: &Settings,
    schema: &str,
    table: &str,
) -> Result<Option<Candidate>, Cause> {
    let mut found = found(session, &queries::relations(Some(&[schema]), Some(table))).await?;
    partitions::see_roots(session, settings, &mut found, AsOf::Now).await?;
    Ok(found.pop())
}

async fn found(session: &mut Session, sql: &str) -> Result<Vec<Candidate>, Cause> {
    let rows = session.query(sql).await?;
    let full_needs_all = session.version() >= FULL_NEEDS_ALL_SINCE;
    let byte = |text: &str| text.bytes().next().unwrap_or_default();
    let found: Result<Vec<Candidate>, Cause> = rows
        .iter()
        .map(|row| {
            Ok(Candidate {
                schema: row.text(0)?.to_owned(),
                table: row.text(1)?.to_owned(),
                kind: byte(row.text(2)?),
                persistence: byte(row.text(3)?),
                identity: byte(row.text(4)?),
                is_partition: row.truth(5),
                has_key: row.truth(6),
                has_deferrable_key: row.truth(7),
                is_ours: row.truth(8),
                oid: row.number(9)?,
                rows_estimate: row.number(10)?,
                generated_key: row.get(11).map(str::to_owned),
                full_is_refused: full_needs_all && (row.truth(12) || row.get(11).is_some()),
                leaves: UnfitLeaves::default(),
                carried_by: None,
            })
        })
        .collect();
    let mut found = found?;
    partitions::see_leaves(session, &mut found).await?;
    Ok(found)
}

/// What `tables` means now: those written out, and of a `*` those that can be carried (partitions through their root).
pub(crate) fn selected<'a>(settings: &Settings, candidates: &'a [Candidate]) -> Vec<&'a Candidate> {
    candidates
        .iter()
        .filter(|it| {
            settings.names(&it.schema, &it.table)
                || settings.lists(&it.schema, &it.table) && !it.is_partition && it.obstacle().is_none()
        })
        .collect()
}

/// The schemas that `tables` speaks of.
pub(crate) fn schemas(settings: &Settings) -> Vec<&str> {
    let mut schemas: Vec<_> = settings.tables.iter().map(|entry| entry.schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    schemas
}

/// The tables that the publication must have, as (schema, table); refuses what cannot be carried.
async fn wanted(session: &mut Session, settings: &Settings) -> Result<Vec<(String, String)>, Cause> {
    let candidates = asked_for(session, settings, AsOf::Wanted).await?;
    for entry in settings.tables.iter().filter(|entry| entry.table != EVERY_TABLE) {
        if !candidates.iter().any(|it| it.schema == entry.schema && it.table == entry.table) {
            return Err(Cause::NoTables(queries::table_name(&entry.schema, &entry.table)));
        }
    }
    let tables = selected(settings, &candidates);
    let unfit = tables.iter().filter(|it| it.obstacle().is_some()).find_map(|it| check::obstacle(it, true));
    if let Some(Finding { code, message, cure, .. }) = unfit {
        return Err(Cause::UnfitTable { code, message, cure });
    }
    if tables.is_empty() {
        return Err(Cause::NoTables("no table of the pipeline file can be carried".into()));
    }
    Ok(tables.iter().map(|it| (it.schema.clone(), it.table.clone())).collect())
}

/// A publication as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// This pipeline made it, and may change and drop it.
    pub(crate) is_ours: bool,
    all_tables: bool,
    all_operations: bool,
    via_root: bool,
    /// (schema, table, has a row filter, relation oid)
    pub(crate) tables: Vec<(String, String, bool, u32)>,
}

/// Whether the publication stands. Waits for no lock on its tables.
pub(crate) async fn stands(session: &mut Session, settings: &Settings) -> Result<bool, Cause> {
    Ok(!session.query(&queries::publication(&settings.publication)).await?.is_empty())
}

/// The comment of a publication that this pipeline made.
pub(crate) fn mark(settings: &Settings) -> String {
    format!("Made by Millrace for slot {}", settings.slot)
}

/// The default name says whose a publication is; any other one may be somebody else's, unless it bears our mark.
fn is_ours(settings: &Settings, row: &Row) -> bool {
    settings.publication_mode == PublicationMode::Create
        && (settings.publication_is_default || row.get(7) == Some(mark(settings).as_str()))
}

/// Whether the publication may be changed and dropped; so may one that is not there.
pub(crate) async fn is_ours_to_change(session: &mut Session, settings: &Settings) -> Result<bool, Cause> {
    let row = session.query(&queries::publication(&settings.publication)).await?.pop();
    Ok(row.map_or(settings.publication_mode == PublicationMode::Create, |row| is_ours(settings, &row)))
}

/// Refuses to make a publication where somebody else's has that name.
pub(crate) async fn refuse_theirs(session: &mut Session, settings: &Settings) -> Result<(), Cause> {
    let may = settings.publication_mode == PublicationMode::Use || is_ours_to_change(session, settings).await?;
    may.then_some(()).ok_or_else(|| not_ours(settings))
}

/// What is said of such a one.
pub(crate) fn not_ours(settings: &Settings) -> Cause {
    let hand_over = queries::comment_on_publication(&settings.publication, &mark(settings));
    Cause::ForeignPublication { publication: settings.publication.clone(), hand_over }
}

/// Oids of its tables.
pub(crate) async fn relations(session: &mut Session, settings: &Settings) -> Result<Vec<u32>, Cause> {
    let sql = queries::published_relations(&settings.publication, session.version());
    session.query(&sql).await?.iter().map(|row| row.number(0)).collect()
}

/// Looks at the publication.
pub(crate) async fn find(session: &mut Session, settings: &Settings) -> Result<Option<Publication>, Cause> {
    let Some(row) = session.query(&queries::publication(&settings.publication)).await?.pop() else { return Ok(None) };
    let version = session.version();
    let tables = session.query(&queries::published_tables(&settings.publication, version)).await?;
    let tables = tables
        .iter()
        .map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned(), row.truth(2), row.number(3)?)))
        .collect::<Result<_, Cause>>()?;
    Ok(Some(Publication {
        is_ours: is_ours(settings, &row),
        all_tables: row.truth(1),
        all_operations: (2..=5).all(|column| row.truth(column)),
        via_root: row.truth(6),
        tables,
    }))
}

impl Publication {
    /// What keeps it from serving these tables.
    pub(crate) fn shortcoming(&self, wanted: &[(String, String)], candidates: &[Candidate]) -> Option<String> {
        if !self.all_operations {
            return Some("it does not publish insert, update, delete and truncate".into());
        }
        let is_partitioned = |schema: &str, table: &str| {
            candidates.iter().any(|it| it.schema == schema && it.table == table && it.kind == b'p')
        };
        for (schema, table) in wanted {
            let shown = queries::table_name(schema, table);
            if !self.via_root && is_partitioned(schema, table) {
                return Some(format!("it does not publish the partitioned table {shown} via its root"));
            }
            let Some(published) = self.tables.iter().find(|it| it.0 == *schema && it.1 == *table) else {
                return Some(format!("it lacks table {shown}"));
            };
            let candidate = candidates.iter().find(|it| it.oid == published.3);
            if let Some(why) = candidate.filter(|_| published.2).and_then(Candidate::filter_obstacle) {
                return Some(why);
            }
        }
        None
    }
}

/// Makes sure that the publication stands and fits, before there is a slot.
pub(crate) async fn provide(session: &mut Session, settings: &Settings) -> Result<(), Cause> {
    refuse_theirs(session, settings).await?;
    let wanted = wanted(session, settings).await?;
    let candidates = candidates(session, Some(&schemas(settings))).await?;
    let Some(standing) = find(session, settings).await? else {
        return match settings.publication_mode {
            PublicationMode::Create => {
                let sql = queries::create_publication(&settings.publication, &wanted, &mark(settings));
                session.batch(&sql).await.map(drop)
            }
            PublicationMode::Use => Err(Cause::NoPublication { publication: settings.publication.clone() }),
        };
    };
    let selected = selected(settings, &candidates);
    let why = match standing.shortcoming(&wanted, &candidates) {
        Some(why) => why,
        None => match members::memberships(session, settings, &selected).await {
            Err(Cause::UnfitPublication { why, .. }) => why,
            fits => return fits.map(drop),
        },
    };
    match settings.publication_mode {
        // Ours from a start that died before it made the slot, with another list of tables.
        PublicationMode::Create if !standing.all_tables => {
            let sql = queries::reset_publication(&settings.publication, &wanted, &mark(settings));
            session.batch(&sql).await.map(drop)
        }
        PublicationMode::Create | PublicationMode::Use => {
            Err(Cause::UnfitPublication { publication: settings.publication.clone(), why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_would_refuse_its_users_updates_is_not_made_to() {
        let keyed = Candidate {
            schema: "s".into(),
            table: "t".into(),
            kind: b'r',
            persistence: b'p',
            identity: b'd',
            is_partition: false,
            has_key: true,
            has_deferrable_key: false,
            generated_key: Some("h".into()),
            full_is_refused: true,
            leaves: UnfitLeaves::default(),
            carried_by: None,
            is_ours: true,
            oid: 7,
            rows_estimate: 0,
        };
        let full = Candidate { identity: b'f', has_key: false, generated_key: None, ..keyed.clone() };
        for (table, obstacle) in [(&keyed, Obstacle::GeneratedKey), (&full, Obstacle::FullIsRefused)] {
            assert_eq!(table.obstacle(), Some(obstacle));
            let cure = check::obstacle(table, true).map(|finding| finding.cure).unwrap_or_default();
            assert!(cure.contains("primary key without generated columns") && !cure.contains("FULL"), "{cure}");
        }
        assert_eq!(Candidate { full_is_refused: false, ..full }.obstacle(), None);
    }
}
