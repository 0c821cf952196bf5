//! Events that agents have sent. Each is stored once, however often it comes.

use millrace_model::Timestamp;
use millrace_protocol::gateway::AgentEvent;
use sqlx::{Any, Executor, Row};

use super::text::{given, stored};
use crate::fault::Refused;

/// Stores it, unless it is there.
pub(crate) async fn add<'e>(
    on: impl Executor<'e, Database = Any>,
    (account_id, agent_id): (&str, &str),
    event: &AgentEvent,
    at: Timestamp,
) -> Result<(), Refused> {
    let fields = serde_json::Value::Object(event.fields.clone()).to_string();
    sqlx::query(
        "INSERT INTO events (id, account_id, agent_id, pipeline_id, at, received_at, severity, code, message, cure, \
         fields) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&event.id)
    .bind(account_id)
    .bind(agent_id)
    .bind(event.pipeline_id.as_deref())
    .bind(Timestamp::parse(&event.at).unwrap_or(at).0)
    .bind(at.0)
    .bind(&event.severity)
    .bind(&event.code)
    .bind(stored(&event.message))
    .bind(stored(&event.cure))
    .bind(fields)
    .execute(on)
    .await?;
    Ok(())
}

/// An event as it was stored.
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) agent_id: String,
    pub(crate) at: Timestamp,
    pub(crate) severity: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) cure: String,
    pub(crate) fields: String,
}

/// Whose events are asked for.
#[derive(Clone, Copy)]
pub(crate) enum Of<'a> {
    /// An agent's, also those of its pipelines.
    Agent(&'a str),
    /// A pipeline's.
    Pipeline(&'a str),
}

/// Events, the newest first, and how many there are.
pub(crate) async fn list(
    pool: &sqlx::AnyPool,
    (account_id, of): (&str, Of<'_>),
    (size, offset): (i64, i64),
) -> Result<(Vec<Stored>, i64), Refused> {
    let (of, id) = match of {
        Of::Agent(id) => ("agent_id", id),
        Of::Pipeline(id) => ("pipeline_id", id),
    };
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT id, agent_id, at, severity, code, message, cure, fields FROM events WHERE {of} = $1 \
         AND account_id = $2 ORDER BY received_at DESC, id DESC LIMIT $3 OFFSET $4"
    )))
    .bind(id)
    .bind(account_id)
    .bind(size)
    .bind(offset)
    .fetch_all(pool)
    .await?;
    let total = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT COUNT(*) AS total FROM events WHERE {of} = $1 AND account_id = $2"
    )))
    .bind(id)
    .bind(account_id)
    .fetch_one(pool)
    .await?;
    let event = |row: &sqlx::any::AnyRow| Stored {
        id: row.get("id"),
        agent_id: row.get("agent_id"),
        at: Timestamp(row.get("at")),
        severity: row.get("severity"),
        code: row.get("code"),
        message: given(row.get("message")),
        cure: given(row.get("cure")),
        fields: row.get("fields"),
    };
    Ok((rows.iter().map(event).collect(), total.get("total")))
}
