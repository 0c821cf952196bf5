//! What agents may sign in with beside their secrets, and the assertions that were taken already.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::text::{given, stored};
use crate::auth::trust::Means;
use crate::fault::Refused;

/// One way in.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
    pub(crate) means: Means,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) last_used_at: Option<Timestamp>,
    /// Where it was used from.
    pub(crate) last_address: Option<String>,
}

fn trust(row: &AnyRow) -> Result<Trust, Refused> {
    let body = given(row.get("body"));
    Ok(Trust {
        id: row.get("id"),
        name: given(row.get("name")),
        means: serde_json::from_str(&body).map_err(|error| Refused::Failed(Box::new(error)))?,
        created_at: Timestamp(row.get("created_at")),
        created_by: row.get("created_by"),
        last_used_at: row.get::<Option<i64>, _>("last_used_at").map(Timestamp),
        last_address: row.get("last_address"),
    })
}

/// A new one.
pub(crate) async fn insert<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
    trust: &Trust,
) -> Result<(), Refused> {
    let body = serde_json::to_string(&trust.means).map_err(|error| Refused::Failed(Box::new(error)))?;
    sqlx::query(
        "INSERT INTO agent_trust (id, agent_id, kind, name, body, created_at, created_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&trust.id)
    .bind(agent_id)
    .bind(trust.means.kind())
    .bind(stored(&trust.name))
    .bind(stored(&body))
    .bind(trust.created_at.0)
    .bind(&trust.created_by)
    .execute(on)
    .await?;
    Ok(())
}

/// The agent's, by creation.
pub(crate) async fn live<'e>(on: impl Executor<'e, Database = Any>, agent_id: &str) -> Result<Vec<Trust>, Refused> {
    let rows = sqlx::query(
        "SELECT id, name, body, created_at, created_by, last_used_at, last_address FROM agent_trust \
         WHERE agent_id = $1 AND removed_at IS NULL ORDER BY id",
    )
    .bind(agent_id)
    .fetch_all(on)
    .await?;
    rows.iter().map(trust).collect()
}

/// Whether the agent still has this one.
pub(crate) async fn is_live<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
    id: &str,
) -> Result<bool, Refused> {
    let row = sqlx::query("SELECT 1 FROM agent_trust WHERE agent_id = $1 AND id = $2 AND removed_at IS NULL")
        .bind(agent_id)
        .bind(id)
        .fetch_optional(on)
        .await?;
    Ok(row.is_some())
}

/// Ends one.
pub(crate) async fn remove<'e>(on: impl Executor<'e, Database = Any>, id: &str, at: Timestamp) -> Result<(), Refused> {
    sqlx::query("UPDATE agent_trust SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL")
        .bind(id)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// Takes an assertion, unless it was taken before.
pub(crate) async fn take(
    on: &mut sqlx::AnyConnection,
    id_hash: &str,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<bool, Refused> {
    sqlx::query("DELETE FROM taken_assertions WHERE expires_at < $1").bind(now.0).execute(&mut *on).await?;
    let taken = sqlx::query(
        "INSERT INTO taken_assertions (id_hash, expires_at) VALUES ($1, $2) ON CONFLICT (id_hash) DO NOTHING",
    )
    .bind(id_hash)
    .bind(expires_at.0)
    .execute(on)
    .await?;
    Ok(taken.rows_affected() > 0)
}
