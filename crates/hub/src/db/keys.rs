//! Keys that sign access tokens, sealed under the key that is not in the database.

use millrace_model::Timestamp;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;

/// A sealed key.
pub(crate) struct SigningKey {
    pub(crate) id: String,
    pub(crate) sealed: String,
}

/// Keys whose tokens are accepted, the newest first.
pub(crate) async fn live<'e>(on: impl Executor<'e, Database = Any>) -> Result<Vec<SigningKey>, Refused> {
    let rows = sqlx::query("SELECT id, sealed FROM signing_keys WHERE retired_at IS NULL ORDER BY id DESC")
        .fetch_all(on)
        .await?;
    Ok(rows.iter().map(|row| SigningKey { id: row.get("id"), sealed: row.get("sealed") }).collect())
}

/// A new one.
pub(crate) async fn insert<'e>(
    on: impl Executor<'e, Database = Any>,
    key: &SigningKey,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("INSERT INTO signing_keys (id, sealed, created_at) VALUES ($1, $2, $3)")
        .bind(&key.id)
        .bind(&key.sealed)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}
