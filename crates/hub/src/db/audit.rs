//! The audit log: who did what to what, and how it ended. Only ever added to.

use millrace_model::Timestamp;
use sqlx::{Any, Executor, Row};
use uuid::Uuid;

use super::part::{After, Found, LAST, Part};
use super::text::{given, stored};
use crate::fault::Refused;

/// One line of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) account_id: Option<&'a str>,
    /// `client:ID`, `person:ID`, `agent:ID`, `hub`.
    pub(crate) actor: &'a str,
    pub(crate) address: &'a str,
    /// `agent.create`, `credentials.reveal`, …
    pub(crate) action: &'a str,
    /// `agent:ID`, `pipeline:ID`, …
    pub(crate) object: &'a str,
    /// What else is worth knowing; never a secret.
    pub(crate) detail: &'a str,
    /// `done` or the refusal's word.
    pub(crate) outcome: &'a str,
}

/// Adds it.
pub(crate) async fn add<'e>(
    on: impl Executor<'e, Database = Any>,
    entry: Entry<'_>,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO audit_log (id, at, account_id, actor, address, action, object, detail, outcome) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(Uuid::now_v7().to_string())
    .bind(at.0)
    .bind(entry.account_id)
    .bind(entry.actor)
    .bind(entry.address)
    .bind(entry.action)
    .bind(entry.object)
    .bind(stored(entry.detail))
    .bind(entry.outcome)
    .execute(on)
    .await?;
    Ok(())
}

/// A line as it was written.
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    pub(crate) actor: String,
    pub(crate) address: String,
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) detail: String,
    pub(crate) outcome: String,
}

/// Which lines are wanted; the default is all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// `agent.create`, or everything that begins so: `agent`. Empty: any.
    pub(crate) action: String,
    /// As a line has it. Empty: anyone.
    pub(crate) actor: String,
    /// What it was done to, as a line has it. Empty: anything.
    pub(crate) object: String,
    /// Without the tokens that were given, of which every caller leaves one an hour. Those that were refused stay.
    pub(crate) quiet: bool,
    /// Only what was done to agents and pipelines.
    pub(crate) of_work: bool,
}

/// What `Wanted` means, behind `WHERE`. Every parameter is a text, which both databases take without being told its type.
macro_rules! wanted {
    ($select:literal, $then:literal) => {
        concat!(
            $select,
            " FROM audit_log WHERE account_id = $1 AND ($2 = '' OR action = $2 OR action LIKE $3) \
             AND ($4 = '' OR actor = $4) AND ($5 = '' OR NOT (action = 'token.issue' AND outcome = 'done')) \
             AND ($6 = '' OR action LIKE 'agent.%' OR action LIKE 'pipeline.%' OR action LIKE 'credentials.%') \
             AND ($7 = '' OR object = $7) ",
            $then
        )
    };
}

const LINES: &str = wanted!(
    "SELECT id, at, actor, address, action, object, detail, outcome",
    "AND id < $8 ORDER BY id DESC LIMIT $9 OFFSET $10"
);
const COUNT: &str = wanted!("SELECT COUNT(*) AS total", "");

type Bound = sqlx::query::Query<'static, Any, sqlx::any::AnyArguments>;

fn bound(sql: &'static str, account_id: &str, wanted: &Wanted) -> Bound {
    let switch = |on: bool| if on { "on" } else { "" };
    sqlx::query(sql)
        .bind(account_id.to_owned())
        .bind(wanted.action.clone())
        .bind(format!("{}.%", wanted.action))
        .bind(wanted.actor.clone())
        .bind(switch(wanted.quiet))
        .bind(switch(wanted.of_work))
        .bind(wanted.object.clone())
}

/// The account's lines that are wanted, the newest first.
pub(crate) async fn list(
    pool: &sqlx::AnyPool,
    account_id: &str,
    wanted: &Wanted,
    part: &Part,
) -> Result<Found<Line>, Refused> {
    let query = bound(LINES, account_id, wanted).bind(part.after_id(LAST).to_owned());
    let rows = query.bind(part.limit()).bind(part.offset()).fetch_all(pool).await?;
    Ok(Found::new(rows.iter().map(line).collect(), part, |line| After::id(&line.id)))
}

/// How many there are.
pub(crate) async fn count(pool: &sqlx::AnyPool, account_id: &str, wanted: &Wanted) -> Result<i64, Refused> {
    Ok(bound(COUNT, account_id, wanted).fetch_one(pool).await?.get("total"))
}

fn line(row: &sqlx::any::AnyRow) -> Line {
    Line {
        id: row.get("id"),
        at: Timestamp(row.get("at")),
        actor: row.get("actor"),
        address: row.get("address"),
        action: row.get("action"),
        object: row.get("object"),
        detail: given(row.get("detail")),
        outcome: row.get("outcome"),
    }
}

/// Who and what an account's lines can name, as they name them: `person:ID`, `agent:ID`, …, each with what people call it.
pub(crate) async fn names<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
) -> Result<Vec<(String, String)>, Refused> {
    let rows = sqlx::query(
        "SELECT 'person' AS kind, p.id AS id, p.email AS name FROM people p JOIN memberships m ON m.person_id = p.id \
         WHERE m.account_id = $1 UNION ALL SELECT 'client', id, name FROM api_clients WHERE account_id = $1 \
         UNION ALL SELECT 'agent', id, name FROM agents WHERE account_id = $1 \
         UNION ALL SELECT 'pipeline', id, name FROM pipelines WHERE account_id = $1 \
         UNION ALL SELECT 'project', id, name FROM projects WHERE account_id = $1 \
         UNION ALL SELECT 'recipient', id, address FROM recipients WHERE account_id = $1 \
         UNION ALL SELECT 'account', id, name FROM accounts WHERE id = $1",
    )
    .bind(account_id)
    .fetch_all(on)
    .await?;
    let named = |row: &sqlx::any::AnyRow| {
        (format!("{}:{}", row.get::<String, _>("kind"), row.get::<String, _>("id")), given(row.get("name")))
    };
    Ok(rows.iter().map(named).collect())
}
