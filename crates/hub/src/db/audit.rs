//! The audit log: who did what to what, and how it ended. Only ever added to.

use millrace_model::Timestamp;
use sqlx::{Any, Executor};
use uuid::Uuid;

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
    .bind(entry.detail)
    .bind(entry.outcome)
    .execute(on)
    .await?;
    Ok(())
}
