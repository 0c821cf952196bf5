//! Events that agents have sent. Each is stored once, however often it comes.

use millrace_model::Timestamp;
use millrace_protocol::gateway::AgentEvent;
use sqlx::{Any, Executor};

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
    .bind(&event.message)
    .bind(&event.cure)
    .bind(fields)
    .execute(on)
    .await?;
    Ok(())
}
