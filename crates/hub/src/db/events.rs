//! Events that agents have sent. Each is stored once, however often it comes.

use millrace_model::Timestamp;
use millrace_protocol::gateway::AgentEvent;
use sqlx::{Any, Executor, Row};

use super::part::{After, Found, Part};
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

impl<'a> Of<'a> {
    fn column(self) -> (&'static str, &'a str) {
        match self {
            Self::Agent(id) => ("agent_id", id),
            Self::Pipeline(id) => ("pipeline_id", id),
        }
    }
}

/// Events, the newest first. What came in after one that is forgotten by now is forgotten, too: then there are none.
pub(crate) async fn list(
    pool: &sqlx::AnyPool,
    (account_id, of): (&str, Of<'_>),
    part: &Part,
) -> Result<Found<Stored>, Refused> {
    let (of, id) = of.column();
    let before = part.after.as_ref().map_or(
        "",
        |_| "AND (received_at, id) < (SELECT received_at, id FROM events WHERE id = $5 AND account_id = $2)",
    );
    let sql = format!(
        "SELECT id, agent_id, at, severity, code, message, cure, fields FROM events WHERE {of} = $1 \
         AND account_id = $2 {before} ORDER BY received_at DESC, id DESC LIMIT $3 OFFSET $4"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).bind(account_id).bind(part.limit()).bind(part.offset());
    let rows = match &part.after {
        Some(after) => query.bind(&after.id).fetch_all(pool).await?,
        None => query.fetch_all(pool).await?,
    };
    Ok(Found::new(rows.iter().map(stored_event).collect(), part, |event| After::id(&event.id)))
}

/// How many there are.
pub(crate) async fn count(pool: &sqlx::AnyPool, (account_id, of): (&str, Of<'_>)) -> Result<i64, Refused> {
    let (of, id) = of.column();
    let sql = format!("SELECT COUNT(*) AS total FROM events WHERE {of} = $1 AND account_id = $2");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).bind(account_id).fetch_one(pool).await?;
    Ok(row.get("total"))
}

fn stored_event(row: &sqlx::any::AnyRow) -> Stored {
    Stored {
        id: row.get("id"),
        agent_id: row.get("agent_id"),
        at: Timestamp(row.get("at")),
        severity: row.get("severity"),
        code: row.get("code"),
        message: given(row.get("message")),
        cure: given(row.get("cure")),
        fields: row.get("fields"),
    }
}
