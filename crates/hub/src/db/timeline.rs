//! What happened, for people to read: events of agents and pipelines, and the audit log.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;

/// An event as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) at: Timestamp,
    pub(crate) severity: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) cure: String,
}

/// A line of the audit log as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub(crate) at: Timestamp,
    pub(crate) actor: String,
    pub(crate) address: String,
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) outcome: String,
}

fn happened(row: &AnyRow) -> Happened {
    Happened {
        at: Timestamp(row.get("at")),
        severity: row.get("severity"),
        code: row.get("code"),
        message: row.get("message"),
        cure: row.get("cure"),
    }
}

/// Events of an agent, the newest first.
pub(crate) async fn of_agent<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
    most: i64,
) -> Result<Vec<Happened>, Refused> {
    let rows = sqlx::query(
        "SELECT at, severity, code, message, cure FROM events WHERE agent_id = $1 \
         ORDER BY at DESC, id DESC LIMIT $2",
    )
    .bind(agent_id)
    .bind(most)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(happened).collect())
}

/// Events of a pipeline, the newest first.
pub(crate) async fn of_pipeline<'e>(
    on: impl Executor<'e, Database = Any>,
    pipeline_id: &str,
    most: i64,
) -> Result<Vec<Happened>, Refused> {
    let rows = sqlx::query(
        "SELECT at, severity, code, message, cure FROM events WHERE pipeline_id = $1 \
         ORDER BY at DESC, id DESC LIMIT $2",
    )
    .bind(pipeline_id)
    .bind(most)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(happened).collect())
}

/// Lines of an account's audit log, the newest first.
pub(crate) async fn audit<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    most: i64,
    offset: i64,
) -> Result<Vec<Deed>, Refused> {
    let rows = sqlx::query(
        "SELECT at, actor, address, action, object, outcome FROM audit_log WHERE account_id = $1 \
         ORDER BY id DESC LIMIT $2 OFFSET $3",
    )
    .bind(account_id)
    .bind(most)
    .bind(offset)
    .fetch_all(on)
    .await?;
    let deed = |row: &AnyRow| Deed {
        at: Timestamp(row.get("at")),
        actor: row.get("actor"),
        address: row.get("address"),
        action: row.get("action"),
        object: row.get("object"),
        outcome: row.get("outcome"),
    };
    Ok(rows.iter().map(deed).collect())
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
    let named = |row: &AnyRow| {
        (format!("{}:{}", row.get::<String, _>("kind"), row.get::<String, _>("id")), row.get::<String, _>("name"))
    };
    Ok(rows.iter().map(named).collect())
}
