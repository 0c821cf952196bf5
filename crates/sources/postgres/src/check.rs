//! Preflight: everything that would be in the way, all at once, each with its cure.
//!
//! A server that does not answer is no finding: the fault says `Retry`. One that says no is.

use millrace_model::{Fault, Finding, Refusal, nearest};

use crate::client::connect::{Purpose, connect};
use crate::client::session::{Row, Session};
use crate::fault::{Cause, cure};
use crate::partitions::{self, AsOf};
use crate::publication::{Candidate, Obstacle};
use crate::settings::{Binary, EVERY_TABLE, PublicationMode, Settings, TableSelection};
use crate::types::CatalogueColumn;
use crate::{members, privileges, publication, queries, slot, types};

/// What is in the way.
pub(crate) async fn check(settings: &Settings) -> Result<Vec<Finding>, Fault> {
    match look(settings).await.map_err(Fault::from) {
        Ok(findings) => Ok(findings),
        Err(fault) => Finding::of_fault(settings.address(), &fault).map(|finding| vec![finding]).ok_or(fault),
    }
}

async fn look(settings: &Settings) -> Result<Vec<Finding>, Cause> {
    let mut session = connect(settings, Purpose::Queries).await?;
    let server = session.row(queries::PREFLIGHT).await?;
    let mut findings = Vec::new();
    let slot_stands = slot(&mut session, settings, &mut findings).await?;
    check_server(settings, &server, slot_stands, &mut findings)?;
    let candidates = publication::asked_for(&mut session, settings, AsOf::Wanted).await?;
    tables(settings, &candidates, &mut findings);
    alike(&mut session, settings, &candidates, &mut findings).await?;
    publish(&mut session, settings, &candidates, (slot_stands, server.truth(7)), &mut findings).await?;
    let selected = publication::selected(settings, &candidates);
    if settings.snapshots {
        findings.extend(privileges::look(&mut session, server.text(8)?, &selected).await?);
    }
    let oids: Vec<_> = selected.iter().map(|table| table.oid).collect();
    let all = types::columns(&mut session, &oids).await?;
    for table in &selected {
        let of_table: Vec<_> = all.iter().filter(|column| column.relation == table.oid).collect();
        findings.extend(columns(&table.full_name(), &of_table));
    }
    binary(settings, &all, &mut findings);
    Ok(findings)
}

fn check_server(
    settings: &Settings,
    server: &Row,
    slot_stands: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), Cause> {
    let level = server.text(0)?;
    if level != "logical" {
        let cause = Cause::WalLevel { level: level.to_owned() };
        findings.push(Finding::error("PG-007", Refusal::Check, "wal_level", cause.to_string(), cure::wal_level()));
    }
    let (slots, used) = (server.number::<i64>(1)?, server.number::<i64>(2)?);
    let (senders, sending) = (server.number::<i64>(3)?, server.number::<i64>(4)?);
    // One slot more than the pipeline's own, and a walsender for it, for the snapshots of tables that join later.
    let missing = i64::from(!slot_stands);
    for (setting, limit, used, needed) in
        [("max_replication_slots", slots, used, missing), ("max_wal_senders", senders, sending, 1)]
    {
        let message =
            format!("{used} of {limit} are in use; the pipeline needs {needed} and one to spare for snapshots");
        if used + needed > limit {
            findings.push(Finding::error("PG-008", Refusal::Check, setting, message, cure::slots()));
        } else if used + needed + 1 > limit {
            findings.push(Finding::warning("PG-008", setting, message, cure::slots()));
        }
    }
    if server.truth(5) {
        let message = "the server is a standby: neither a publication nor, before version 16, a slot can be made there";
        let cure = "use the primary's address";
        findings.push(Finding::error("PG-030", Refusal::Check, settings.address(), message, cure));
    }
    if !server.truth(6) {
        let role = server.text(8)?;
        let message = format!("role {role} lacks REPLICATION");
        findings.push(Finding::error(
            "PG-009",
            Refusal::Permission,
            role,
            message,
            cure::replication(&queries::name(role)),
        ));
    }
    if server.text(9)? == "SQL_ASCII" {
        let message = "the database has no encoding (SQL_ASCII): text that is not UTF-8 cannot be carried";
        let cure = "move the data into a database with an encoding";
        findings.push(Finding::warning("PG-021", &settings.database, message, cure));
    }
    Ok(())
}

/// Whether the slot stands.
async fn slot(session: &mut Session, settings: &Settings, findings: &mut Vec<Finding>) -> Result<bool, Cause> {
    let standing = match slot::look(session, settings).await {
        Ok(standing) => standing,
        Err(cause @ (Cause::OtherPlugin { .. } | Cause::OtherDatabase { .. })) => {
            findings.extend(Finding::of_fault(&settings.slot, &cause.into()));
            return Ok(true);
        }
        Err(cause) => return Err(cause),
    };
    let Some(standing) = standing else { return Ok(false) };
    if standing.is_lost {
        let message = "the server no longer has the log that the slot needs";
        findings.push(Finding::error("PG-013", Refusal::Gap, &settings.slot, message, cure::gap()));
    } else if standing.is_in_the_making() {
        let fault = Fault::from(slot::making(session, settings, standing).await?);
        findings.push(Finding::warning(fault.code, &settings.slot, fault.message, fault.cure));
    } else if let Some(holder) = standing.holder {
        let message = format!("the slot is in use by {holder}; a start waits for it");
        findings.push(Finding::warning("PG-012", &settings.slot, message, "stop the other process"));
    }
    Ok(true)
}

/// The tables that are written out and not there.
fn missing<'a>(settings: &'a Settings, candidates: &[Candidate]) -> Vec<&'a TableSelection> {
    let is_there = |entry: &TableSelection| {
        entry.table == EVERY_TABLE || candidates.iter().any(|it| it.schema == entry.schema && it.table == entry.table)
    };
    settings.tables.iter().filter(|entry| !is_there(entry)).collect()
}

/// Those that are not there, each with the one that was probably meant.
async fn alike(
    session: &mut Session,
    settings: &Settings,
    candidates: &[Candidate],
    findings: &mut Vec<Finding>,
) -> Result<(), Cause> {
    let missing = missing(settings, candidates);
    // The schema may be the one that is written otherwise.
    let all = if missing.is_empty() { Vec::new() } else { publication::candidates(session, None).await? };
    for entry in missing {
        let subject = queries::table_name(&entry.schema, &entry.table);
        let message = format!("there is no table {subject}, or the role cannot see it");
        let cure = meant(entry, &all).unwrap_or_else(|| "correct tables in the pipeline file".into());
        findings.push(Finding::error("PG-016", Refusal::Spec, subject, message, cure));
    }
    Ok(())
}

/// The table that somebody who wrote `entry` most likely meant: in other letters, with its schema before a dot, with a slip in
/// its name, or in the name of its schema.
fn meant(entry: &TableSelection, all: &[Candidate]) -> Option<String> {
    let tables = || all.iter().filter(|it| matches!(it.kind, b'r' | b'p'));
    let ask = |it: &Candidate| format!("did you mean {{schema: {}, table: {}}}?", it.schema, it.table);
    let in_case =
        |it: &&Candidate| it.schema.eq_ignore_ascii_case(&entry.schema) && it.table.eq_ignore_ascii_case(&entry.table);
    if let Some(found) = tables().find(in_case) {
        return Some(format!("{} Names are case-sensitive", ask(found)));
    }
    let in_one_word = |it: &&Candidate| entry.table == format!("{}.{}", it.schema, it.table);
    let of_schema = tables().filter(|it| it.schema == entry.schema).map(|it| it.table.as_str());
    let of_name = tables().filter(|it| it.table == entry.table).map(|it| it.schema.as_str());
    let (table, schema) = (nearest(&entry.table, of_schema), nearest(&entry.schema, of_name));
    let with_a_slip = |it: &&Candidate| match (table, schema) {
        (Some(table), _) => it.schema == entry.schema && it.table == table,
        (None, Some(schema)) => it.schema == schema && it.table == entry.table,
        (None, None) => false,
    };
    tables().find(in_one_word).or_else(|| tables().find(with_a_slip)).map(ask)
}

fn tables(settings: &Settings, candidates: &[Candidate], findings: &mut Vec<Finding>) {
    for entry in settings.tables.iter().filter(|entry| entry.table == EVERY_TABLE) {
        let usable = |it: &&Candidate| it.schema == entry.schema && !it.is_partition && it.obstacle().is_none();
        if !candidates.iter().any(|it| usable(&it)) {
            let message = format!("schema {} has no table that can be carried", entry.schema);
            findings.push(Finding::error(
                "PG-016",
                Refusal::Spec,
                &entry.schema,
                message,
                "correct tables in the pipeline file",
            ));
        }
    }
    for table in candidates {
        let is_named = settings.names(&table.schema, &table.table);
        let is_table = matches!(table.kind, b'r' | b'p') && !table.is_partition;
        if is_named || is_table && settings.lists(&table.schema, &table.table) {
            findings.extend(obstacle(table, is_named));
        }
    }
}

/// What keeps a table out: an error for one that is written out, a warning for one of a `*`, which is left out.
pub(crate) fn obstacle(table: &Candidate, is_named: bool) -> Option<Finding> {
    let name = table.full_name();
    let (code, message, cure) = match table.obstacle() {
        Some(Obstacle::NoLog) => no_log(table, &name),
        Some(_) if is_of_the_server(&table.schema) => {
            let message = format!("{name} is one of the server's own tables, whose changes are not in its logical log");
            ("PG-019", message, "take it out of tables".into())
        }
        Some(Obstacle::NoKey) => {
            let cure = cure::no_key(&partitions::full_rows(table));
            ("PG-017", format!("{name} has neither a key nor full old rows"), cure)
        }
        Some(Obstacle::DeferrableKey) => {
            let message = format!("the primary key of {name} is deferrable and identifies no row");
            let cure = format!("{}, or make the key not deferrable", partitions::full_rows(table));
            ("PG-018", message, cure)
        }
        Some(Obstacle::GeneratedKey) => {
            let columns = table.generated_key.as_deref().unwrap_or_default();
            let message = format!("the key of {name} has generated columns, which the log does not carry: {columns}");
            ("PG-017", message, partitions::full_rows(table))
        }
        Some(Obstacle::FullIsRefused) => {
            let message = format!(
                "{name} has full old rows and generated columns: the server would refuse updates of it while it is published"
            );
            ("PG-017", message, partitions::full_rows(table))
        }
        Some(Obstacle::LeavesWithoutLog) => with_code("PG-019", partitions::without_log(table)),
        Some(Obstacle::UnlikeLeaves) => with_code("PG-017", partitions::unlike(table)),
        Some(Obstacle::CarriedByRoot) => with_code("PG-028", partitions::carried_by_root(table)),
        None if table.kind == b'p' => {
            let message = format!(
                "{name} is partitioned and carried as one table; a partition that is detached or truncated alone, and the \
                 rows of one that is attached, leave no trace in the log"
            );
            return Some(Finding::info("PG-028", name, message));
        }
        None => return None,
    };
    Some(if is_named {
        Finding::error(code, Refusal::Spec, name, message, cure)
    } else {
        Finding::warning(code, name, format!("{message}; it is left out"), cure)
    })
}

/// What has no log, and what can be done about it.
fn no_log(table: &Candidate, name: &str) -> (&'static str, String, String) {
    let (what, cure) = match (table.kind, table.persistence) {
        (b'v' | b'm', _) => ("a view", "take it out of tables, and name the tables that it shows".to_owned()),
        (b'f', _) => {
            ("a foreign table", "take it out of tables; the server that has its rows can be a source".to_owned())
        }
        (_, b't') => ("a temporary table", "take it out of tables".to_owned()),
        _ => ("an unlogged table", format!("ALTER TABLE {name} SET LOGGED, or take it out of tables")),
    };
    ("PG-019", format!("{name} is {what} and has no log: only permanent tables have one"), cure)
}

fn is_of_the_server(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

fn with_code(code: &'static str, (message, cure): (String, String)) -> (&'static str, String, String) {
    (code, message, cure)
}

/// What the lake will not have as the table has it.
pub(crate) fn columns(table: &str, columns: &[&CatalogueColumn]) -> Vec<Finding> {
    let names = |of: &dyn Fn(&CatalogueColumn) -> bool| {
        let names: Vec<_> = columns.iter().filter(|it| of(it)).map(|it| it.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let generated = names(&|it| !it.is_carried).map(|names| {
        Finding::info("PG-020", table, format!("generated columns are not in the log and left out: {names}"))
    });
    let textual = names(&|it| it.is_carried && it.base.is_carried_as_text())
        .map(|names| Finding::info("PG-021", table, format!("columns carried as the server's text: {names}")));
    generated.into_iter().chain(textual).collect()
}

fn binary(settings: &Settings, all: &[CatalogueColumn], findings: &mut Vec<Finding>) {
    let Some(column) = all.iter().find(|it| it.is_carried && it.base.is_text_only()) else { return };
    let message = format!("column {} ({}) has no binary decoder", column.name, column.base.name);
    match settings.binary {
        Binary::Auto => {
            let message = format!("{message}; all values come as text, which is slower");
            findings.push(Finding::info("PG-022", "pgoutput.binary", message));
        }
        Binary::On => {
            let cure = "pgoutput.binary: auto";
            findings.push(Finding::error("PG-022", Refusal::Spec, "pgoutput.binary", message, cure));
        }
        Binary::Off => {}
    }
}

async fn publish(
    session: &mut Session,
    settings: &Settings,
    candidates: &[Candidate],
    (slot_stands, may_create): (bool, bool),
    findings: &mut Vec<Finding>,
) -> Result<(), Cause> {
    let subject = settings.publication.as_str();
    let selected = publication::selected(settings, candidates);
    match publication::find(session, settings).await? {
        Some(standing) if settings.publication_mode == PublicationMode::Create && !standing.is_ours => {
            findings.extend(Finding::of_fault(subject, &publication::not_ours(settings).into()));
        }
        Some(standing) => {
            if let Some(finding) = narrowed(session, settings, &selected, slot_stands).await? {
                findings.push(finding);
                return Ok(());
            }
            // A table that a publication of ours lacks joins it when the pipeline runs.
            let joins = |it: &&&Candidate| {
                let named =
                    |published: &(String, String, bool, u32)| published.0 == it.schema && published.1 == it.table;
                settings.publication_mode == PublicationMode::Create && !standing.tables.iter().any(named)
            };
            let joining: Vec<_> = selected.iter().filter(joins).copied().collect();
            not_ours(&joining, findings);
            let rest = selected.iter().filter(|it| !joins(it));
            let wanted: Vec<_> = rest.map(|it| (it.schema.clone(), it.table.clone())).collect();
            if let Some(why) = standing.shortcoming(&wanted, candidates)
                && (settings.publication_mode == PublicationMode::Use || slot_stands)
            {
                let (message, cure) =
                    (format!("the publication does not fit: {why}"), cure::unfit_publication(subject));
                findings.push(Finding::error("PG-015", Refusal::Spec, subject, message, cure));
            }
        }
        None if slot_stands => {
            let message = "the slot stands, but its publication is missing: the slot cannot be read";
            findings.push(Finding::error("PG-014", Refusal::Gap, subject, message, cure::gap()));
        }
        None if settings.publication_mode == PublicationMode::Use => {
            let message = "there is no such publication";
            findings.push(Finding::error("PG-014", Refusal::Spec, subject, message, cure::no_publication(subject)));
        }
        None => {
            if !may_create {
                let message = format!("the role may not CREATE in database {}", settings.database);
                let (database, user) = (queries::name(&settings.database), queries::name(&settings.username));
                let cure = format!("GRANT CREATE ON DATABASE {database} TO {user}, or publication.mode: use");
                findings.push(Finding::error("PG-023", Refusal::Permission, subject, message, cure));
            }
            not_ours(&selected, findings);
        }
    }
    Ok(())
}

/// What the publication does not say of its tables. Before there is a slot nothing is lost yet, and one of ours is set right.
async fn narrowed(
    session: &mut Session,
    settings: &Settings,
    selected: &[&Candidate],
    slot_stands: bool,
) -> Result<Option<Finding>, Cause> {
    match members::memberships(session, settings, selected).await {
        Err(Cause::NarrowedPublication { .. }) if !slot_stands => Ok(None),
        Err(Cause::UnfitPublication { .. }) if !slot_stands && settings.publication_mode == PublicationMode::Create => {
            Ok(None)
        }
        Err(cause @ (Cause::NarrowedPublication { .. } | Cause::UnfitPublication { .. })) => {
            Ok(Finding::of_fault(&settings.publication, &cause.into()))
        }
        other => other.map(|_| None),
    }
}

/// Publishing a table needs its ownership.
fn not_ours(tables: &[&Candidate], findings: &mut Vec<Finding>) {
    for table in tables.iter().filter(|table| !table.is_ours) {
        let message = format!("the role does not own {} and cannot publish it", table.full_name());
        let cure = "grant the owner's role to it, or let the owner make the publication (publication.mode: use)";
        findings.push(Finding::error("PG-023", Refusal::Permission, table.full_name(), message, cure));
    }
}
