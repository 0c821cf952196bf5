//! Secrets of agents: their hash, and sealed what must be readable again.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;

/// One secret of an agent.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) id: String,
    pub(crate) secret_hash: String,
    pub(crate) sealed: String,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) last_used_at: Option<Timestamp>,
    /// Where it was used from.
    pub(crate) last_address: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
}

impl Credential {
    /// Whether it opens anything at that moment.
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

const SELECT: &str = "SELECT id, secret_hash, sealed, created_at, created_by, last_used_at, last_address, \
     expires_at, revoked_at \
     FROM agent_credentials ";

fn credential(row: &AnyRow) -> Credential {
    let time = |name| row.get::<Option<i64>, _>(name).map(Timestamp);
    Credential {
        id: row.get("id"),
        secret_hash: row.get("secret_hash"),
        sealed: row.get("sealed"),
        created_at: Timestamp(row.get("created_at")),
        created_by: row.get("created_by"),
        last_used_at: time("last_used_at"),
        last_address: row.get("last_address"),
        expires_at: time("expires_at"),
        revoked_at: time("revoked_at"),
    }
}

/// A new secret.
pub(crate) async fn insert<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
    credential: &Credential,
) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO agent_credentials (id, agent_id, secret_hash, sealed, created_at, created_by, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&credential.id)
    .bind(agent_id)
    .bind(&credential.secret_hash)
    .bind(&credential.sealed)
    .bind(credential.created_at.0)
    .bind(&credential.created_by)
    .bind(credential.expires_at.map(|at| at.0))
    .execute(on)
    .await?;
    Ok(())
}

/// The agent's secrets that are not revoked, the newest first.
pub(crate) async fn live<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
) -> Result<Vec<Credential>, Refused> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SELECT}WHERE agent_id = $1 AND revoked_at IS NULL ORDER BY id DESC"
    )))
    .bind(agent_id)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(credential).collect())
}

/// All of the agent's secrets, also revoked ones, the newest first.
pub(crate) async fn all<'e>(on: impl Executor<'e, Database = Any>, agent_id: &str) -> Result<Vec<Credential>, Refused> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}WHERE agent_id = $1 ORDER BY id DESC")))
        .bind(agent_id)
        .fetch_all(on)
        .await?;
    Ok(rows.iter().map(credential).collect())
}

/// Revokes one of the agent's secrets.
pub(crate) async fn revoke<'e>(on: impl Executor<'e, Database = Any>, id: &str, at: Timestamp) -> Result<(), Refused> {
    sqlx::query("UPDATE agent_credentials SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}
