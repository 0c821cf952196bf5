//! What was done under an `Idempotency-Key`, so that a request that comes twice is done once.

use millrace_model::Timestamp;
use sqlx::{Any, AnyConnection, Executor, Row};

use crate::fault::Refused;

/// A request that may come again.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    /// Who sends it.
    pub(crate) actor: String,
    /// Of the header.
    pub(crate) key: String,
    /// Hash of what is asked.
    pub(crate) fingerprint: String,
}

/// What was done under this key, as fingerprint and outcome. Older ones of this caller than `since` are forgotten.
pub(crate) async fn find(
    on: &mut AnyConnection,
    repeat: &Repeat,
    since: Timestamp,
) -> Result<Option<(String, String)>, Refused> {
    sqlx::query("DELETE FROM repeats WHERE actor = $1 AND done_at < $2")
        .bind(&repeat.actor)
        .bind(since.0)
        .execute(&mut *on)
        .await?;
    let row = sqlx::query("SELECT fingerprint, outcome FROM repeats WHERE actor = $1 AND repeat_key = $2")
        .bind(&repeat.actor)
        .bind(&repeat.key)
        .fetch_optional(on)
        .await?;
    Ok(row.map(|row| (row.get("fingerprint"), row.get("outcome"))))
}

/// Keeps what was done.
pub(crate) async fn insert<'e>(
    on: impl Executor<'e, Database = Any>,
    repeat: &Repeat,
    outcome: &str,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO repeats (actor, repeat_key, fingerprint, outcome, done_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(&repeat.actor)
        .bind(&repeat.key)
        .bind(&repeat.fingerprint)
        .bind(outcome)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}
