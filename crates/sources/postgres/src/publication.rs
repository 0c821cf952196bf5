//! The publication: which tables' changes the server hands out. Made by us (`create`), or only judged (`use`).
//!
//! Never `FOR ALL TABLES` nor `TABLES IN SCHEMA`: a later table without a key would make the *user's* updates fail. And
//! never behind a standing slot: that slot could not be read.

use crate::client::session::Session;
use crate::fault::Cause;
use crate::queries;
use crate::settings::{EVERY_TABLE, PublicationMode, Settings};

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
    pub(crate) has_key: bool,
    pub(crate) has_deferrable_key: bool,
    pub(crate) has_identity_index: bool,
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
}

impl Candidate {
    pub(crate) fn full_name(&self) -> String {
        queries::table_name(&self.schema, &self.table)
    }

    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        if !matches!(self.kind, b'r' | b'p') || self.persistence != b'p' {
            return Some(Obstacle::NoLog);
        }
        let identified = match self.identity {
            b'f' => true,
            b'i' => self.has_identity_index,
            b'd' => self.has_key,
            _ => false,
        };
        match identified {
            true => None,
            false if self.identity == b'd' && self.has_deferrable_key => Some(Obstacle::DeferrableKey),
            false => Some(Obstacle::NoKey),
        }
    }
}

/// The relations of these schemas, or of all but the system's.
pub(crate) async fn candidates(session: &mut Session, schemas: Option<&[&str]>) -> Result<Vec<Candidate>, Cause> {
    found(session, &queries::relations(schemas, None)).await
}

/// The relation of this name.
pub(crate) async fn candidate(session: &mut Session, schema: &str, table: &str) -> Result<Option<Candidate>, Cause> {
    Ok(found(session, &queries::relations(Some(&[schema]), Some(table))).await?.pop())
}

async fn found(session: &mut Session, sql: &str) -> Result<Vec<Candidate>, Cause> {
    let rows = session.query(sql).await?;
    let byte = |text: &str| text.bytes().next().unwrap_or_default();
    rows.iter()
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
                has_identity_index: row.truth(8),
                is_ours: row.truth(9),
                oid: row.number(10)?,
                rows_estimate: row.number(11)?,
            })
        })
        .collect()
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
    let candidates = candidates(session, Some(&schemas(settings))).await?;
    for entry in settings.tables.iter().filter(|entry| entry.table != EVERY_TABLE) {
        if !candidates.iter().any(|it| it.schema == entry.schema && it.table == entry.table) {
            return Err(Cause::NoTables(queries::table_name(&entry.schema, &entry.table)));
        }
    }
    let tables = selected(settings, &candidates);
    if let Some(table) = tables.iter().find(|it| it.obstacle().is_some()) {
        return Err(match table.obstacle() {
            Some(Obstacle::NoLog) => Cause::NoTables(format!("{} is not a permanent table", table.full_name())),
            _ => Cause::NoKey { table: table.full_name() },
        });
    }
    if tables.is_empty() {
        return Err(Cause::NoTables("no table of the pipeline file can be carried".into()));
    }
    Ok(tables.iter().map(|it| (it.schema.clone(), it.table.clone())).collect())
}

/// A publication as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
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
            let is_full = candidates.iter().any(|it| it.oid == published.3 && it.identity == b'f');
            if published.2 && !is_full {
                return Some(format!("it filters rows of table {shown}, which has no full replica identity"));
            }
        }
        None
    }
}

/// Makes sure that the publication stands and fits, before there is a slot.
pub(crate) async fn provide(session: &mut Session, settings: &Settings) -> Result<(), Cause> {
    let wanted = wanted(session, settings).await?;
    let candidates = candidates(session, Some(&schemas(settings))).await?;
    let standing = find(session, settings).await?;
    let shortcoming = standing.as_ref().map(|it| it.shortcoming(&wanted, &candidates));
    match (shortcoming, settings.publication_mode) {
        (Some(None), _) => Ok(()),
        (None, PublicationMode::Create) => {
            session.batch(&queries::create_publication(&settings.publication, &wanted)).await.map(drop)
        }
        (None, PublicationMode::Use) => Err(Cause::NoPublication { publication: settings.publication.clone() }),
        // Ours from a start that died before it made the slot, with another list of tables.
        (Some(Some(_)), PublicationMode::Create) if standing.is_some_and(|it| !it.all_tables) => {
            session.batch(&queries::reset_publication(&settings.publication, &wanted)).await.map(drop)
        }
        (Some(Some(why)), _) => Err(Cause::UnfitPublication { publication: settings.publication.clone(), why }),
    }
}
