//! The tables that the pipeline file asks for, as the catalogue has them: columns, key, membership.
//!
//! It describes a table in the same words as `relation` does when the log describes it, so that snapshot and stream write
//! one schema version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use millrace_model::{Column, Member, Registry, TableName, TableSchema};

use crate::altered::{self, Written};
use crate::client::server_error::state;
use crate::client::session::{Row, Session};
use crate::decode::value::Decoder;
use crate::departures::{self, Oids};
use crate::fault::Cause;
use crate::partitions::AsOf;
use crate::publication::{self, Candidate};
use crate::queries;
use crate::relation::membership_mark;
use crate::settings::{PublicationMode, Settings};
use crate::types::{self, BaseType, CatalogueColumn};

/// A table that can be carried.
#[derive(Clone, Debug)]
pub(crate) struct MemberTable {
    pub(crate) oid: u32,
    pub(crate) schema: Arc<TableSchema>,
    /// How a snapshot reads each column.
    pub(crate) decoders: Vec<Decoder>,
    pub(crate) published: bool,
    /// The publication's own row in the catalogue, if it stands.
    pub(crate) publication: Option<Written>,
    /// Rows that the publication is limited to.
    pub(crate) filter: Option<String>,
    pub(crate) rows_estimate: u64,
}

impl MemberTable {
    /// As the engine sees it.
    pub(crate) fn member(&self) -> Member {
        Member { schema: Arc::clone(&self.schema), published: self.published }
    }
}

/// All tables that the pipeline file asks for and that can be carried.
pub(crate) async fn all(session: &mut Session, settings: &Settings) -> Result<Vec<MemberTable>, Cause> {
    let candidates = publication::asked_for(session, settings, AsOf::Now).await?;
    let selected = publication::selected(settings, &candidates).into_iter().filter(|it| it.obstacle().is_none());
    describe(session, settings, selected.collect()).await
}

/// One of them.
pub(crate) async fn one(session: &mut Session, settings: &Settings, table: &TableName) -> Result<MemberTable, Cause> {
    let gone = || Cause::TableGone { table: table.to_string() };
    let [_, schema, name] = table.parts() else { return Err(gone()) };
    let candidate = publication::candidate(session, settings, schema, name).await?.ok_or_else(gone)?;
    // One that is planned was a member a moment ago: without a key now, it is no longer that table.
    let candidate = Some(&candidate).filter(|it| it.obstacle().is_none()).ok_or_else(gone)?;
    describe(session, settings, vec![candidate]).await?.pop().ok_or_else(gone)
}

async fn describe(
    session: &mut Session,
    settings: &Settings,
    candidates: Vec<&Candidate>,
) -> Result<Vec<MemberTable>, Cause> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let oids: Vec<u32> = candidates.iter().map(|it| it.oid).collect();
    let memberships = memberships(session, settings, &candidates).await?;
    let mut columns: HashMap<u32, Vec<CatalogueColumn>> = HashMap::new();
    for column in types::columns(session, &oids).await? {
        columns.entry(column.relation).or_default().push(column);
    }
    let tables = candidates.into_iter().map(|candidate| {
        let columns = columns.remove(&candidate.oid).unwrap_or_default();
        table(settings, candidate, memberships.get(&candidate.oid), columns)
    });
    Ok(tables.collect())
}

/// The tables' rows of `queries::memberships`; refuses a publication that has lost changes of theirs, or would.
pub(crate) async fn memberships(
    session: &mut Session,
    settings: &Settings,
    candidates: &[&Candidate],
) -> Result<HashMap<u32, Row>, Cause> {
    let oids: Vec<u32> = candidates.iter().map(|it| it.oid).collect();
    let rows = session.query(&queries::memberships(&settings.publication, &oids, session.version())).await?;
    let rows = rows.into_iter().map(|row| Ok((row.number(6)?, row))).collect::<Result<HashMap<u32, Row>, Cause>>()?;
    for candidate in candidates {
        if let Some(row) = rows.get(&candidate.oid) {
            altered::judge(settings, candidate, row)?;
        }
    }
    Ok(rows)
}

fn table(
    settings: &Settings,
    candidate: &Candidate,
    membership: Option<&Row>,
    columns: Vec<CatalogueColumn>,
) -> MemberTable {
    let listed = membership.and_then(|row| row.get(1));
    let listed: Option<Vec<u32>> =
        listed.map(|list| list.split(' ').filter_map(|number| number.parse().ok()).collect());
    let is_carried = |column: &CatalogueColumn| {
        column.is_carried && listed.as_ref().is_none_or(|listed| listed.contains(&column.number))
    };
    // As for the log: full rows identify where a key's column is not carried.
    let lacks_key_column = candidate.identity == b'f' && columns.iter().any(|it| it.is_key && !is_carried(it));
    let columns: Vec<CatalogueColumn> = columns.into_iter().filter(is_carried).collect();
    let mark = membership.and_then(|row| membership_mark(candidate.oid, row));
    let is_key = |column: &CatalogueColumn| column.is_key && !lacks_key_column;
    let key = columns.iter().enumerate().filter(|(_, column)| is_key(column)).map(|(i, _)| i).collect();
    let schema = TableSchema {
        table: TableName::new([&settings.database, &candidate.schema, &candidate.table]),
        source_id: mark.clone().unwrap_or_else(|| format!("{}|0", candidate.oid)),
        columns: columns.iter().map(column).collect(),
        key,
    };
    MemberTable {
        oid: candidate.oid,
        schema: Arc::new(schema),
        decoders: columns.iter().map(|column| decoder(&column.base)).collect(),
        published: mark.is_some(),
        publication: membership.and_then(Written::of),
        filter: membership.and_then(|row| row.get(7)).map(str::to_owned),
        rows_estimate: candidate.rows_estimate,
    }
}

/// A binary copy needs a send function; the log does without one.
fn decoder(base: &BaseType) -> Decoder {
    if base.send.is_empty() { Decoder::TextOnly } else { base.mapping().decoder }
}

fn column(column: &CatalogueColumn) -> Column {
    Column {
        name: column.name.clone(),
        id: column.number,
        kind: column.base.mapping().kind,
        type_name: column.base.name.clone(),
        nullable: column.nullable,
    }
}

/// Has the publication carry tables that it lacks.
pub(crate) async fn join(session: &mut Session, settings: &Settings, tables: &[TableName]) -> Result<(), Cause> {
    let members = all(session, settings).await?;
    let tables: HashSet<&TableName> = tables.iter().collect();
    let lacking = members.iter().filter(|member| !member.published && tables.contains(&member.schema.table));
    let lacking: Vec<(String, String)> = lacking.filter_map(|member| two_parts(&member.schema.table)).collect();
    let Some((schema, table)) = lacking.first() else { return Ok(()) };
    if settings.publication_mode == PublicationMode::Use {
        let why = format!("it lacks table {}", queries::table_name(schema, table));
        return Err(Cause::UnfitPublication { publication: settings.publication.clone(), why });
    }
    if !publication::is_ours_to_change(session, settings).await? {
        return Err(publication::not_ours(settings));
    }
    match session.batch(&queries::add_tables(&settings.publication, &lacking)).await {
        // The slot of a publication that is gone cannot be read.
        Err(cause) if cause.server_error().is_some_and(|error| error.is(state::NO_OBJECT)) => {
            Err(Cause::Unreadable { slot: settings.slot.clone(), publication: settings.publication.clone() })
        }
        // Another process was quicker with one of them, and now none has joined: another look sees which.
        Err(Cause::Statement(error)) if error.is(state::EXISTS) => Err(Cause::NotReady(error)),
        answer => answer.map(drop),
    }
}

/// Takes tables out of the publication, if it is ours and has them, and says of those that the pipeline file asks for why.
pub(crate) async fn leave(
    session: &mut Session,
    settings: &Settings,
    oids: &Oids,
    tables: &[TableName],
) -> Result<(), Cause> {
    let named = session.query(&queries::named_tables(&settings.publication)).await?;
    let renamed = departures::tell(session, settings, oids, tables, &named).await?;
    if !publication::is_ours_to_change(session, settings).await? {
        return Ok(());
    }
    let named: HashSet<(&str, &str)> =
        named.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect::<Result<_, Cause>>()?;
    let mut leaving: Vec<_> =
        tables.iter().filter_map(two_parts).filter(|(schema, table)| named.contains(&(schema, table))).collect();
    leaving.extend(renamed);
    if leaving.is_empty() {
        return Ok(());
    }
    session.batch(&queries::drop_tables(&settings.publication, &leaving)).await.map(drop)
}

/// Takes out of a publication of ours the tables that a process died over: no commit has them any more, and they cannot be
/// carried, so that all they do there is to make their users' updates fail.
pub(crate) async fn disown(session: &mut Session, settings: &Settings, registry: &Registry) -> Result<(), Cause> {
    if settings.publication_mode == PublicationMode::Use {
        return Ok(());
    }
    let named = session.query(&queries::named_tables(&settings.publication)).await?;
    let is_left = |row: &&Row| match (row.get(0), row.get(1)) {
        (Some(schema), Some(table)) => {
            settings.lists(schema, table)
                && registry.get(&TableName::new([settings.database.as_str(), schema, table])).is_none()
        }
        _ => false,
    };
    let left: HashSet<u32> = named.iter().filter(is_left).map(|row| row.number(2)).collect::<Result<_, _>>()?;
    if left.is_empty() {
        return Ok(());
    }
    let candidates = publication::asked_for(session, settings, AsOf::Now).await?;
    let unfit: Vec<_> = candidates.iter().filter(|it| left.contains(&it.oid) && it.obstacle().is_some()).collect();
    if unfit.is_empty() || !publication::is_ours_to_change(session, settings).await? {
        return Ok(());
    }
    unfit.iter().for_each(|table| departures::unfit(table));
    let unfit: Vec<_> = unfit.iter().map(|it| (it.schema.clone(), it.table.clone())).collect();
    session.batch(&queries::drop_tables(&settings.publication, &unfit)).await.map(drop)
}

fn two_parts(table: &TableName) -> Option<(String, String)> {
    match table.parts() {
        [_, schema, table] => Some((schema.clone(), table.clone())),
        _ => None,
    }
}
