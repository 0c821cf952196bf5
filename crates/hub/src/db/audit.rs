//! The audit log: who did what to what, and how it ended. Only ever added to.

use millrace_model::Timestamp;
use sqlx::{Any, Executor, Row};
use uuid::Uuid;

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

/// The account's lines, the newest first, and how many there are.
pub(crate) async fn list(
    pool: &sqlx::AnyPool,
    account_id: &str,
    (size, offset): (i64, i64),
) -> Result<(Vec<Line>, i64), Refused> {
    let rows = sqlx::query(
        "SELECT id, at, actor, address, action, object, detail, outcome FROM audit_log WHERE account_id = $1 \
         ORDER BY id DESC LIMIT $2 OFFSET $3",
    )
    .bind(account_id)
    .bind(size)
    .bind(offset)
    .fetch_all(pool)
    .await?;
    let total = sqlx::query("SELECT COUNT(*) AS total FROM audit_log WHERE account_id = $1")
        .bind(account_id)
        .fetch_one(pool)
        .await?;
    Ok((rows.iter().map(line).collect(), total.get("total")))
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

/// The same of what was done to agents and pipelines only.
pub(crate) async fn of_work(
    pool: &sqlx::AnyPool,
    account_id: &str,
    (size, offset): (i64, i64),
) -> Result<Vec<Line>, Refused> {
    let rows = sqlx::query(
        "SELECT id, at, actor, address, action, object, detail, outcome FROM audit_log WHERE account_id = $1 \
         AND (action LIKE 'agent.%' OR action LIKE 'pipeline.%' OR action LIKE 'credentials.%') \
         ORDER BY id DESC LIMIT $2 OFFSET $3",
    )
    .bind(account_id)
    .bind(size)
    .bind(offset)
    .fetch_all(pool)
    .await?;
    Ok(rows.iter().map(line).collect())
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
         UNION ALL SELECT 'pipeline', id, name FROM pipelines WHERE account_id = $1",
    )
    .bind(account_id)
    .fetch_all(on)
    .await?;
    let named = |row: &sqlx::any::AnyRow| {
        (format!("{}:{}", row.get::<String, _>("kind"), row.get::<String, _>("id")), given(row.get("name")))
    };
    Ok(rows.iter().map(named).collect())
}
