//! Leases: which process of an agent may act for it, and until when.

use millrace_model::Timestamp;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;

/// The newest lease of an agent.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) session_id: String,
    pub(crate) instance: String,
    pub(crate) sequence: i64,
    pub(crate) renewed_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// The agent's lease, lapsed or not.
pub(crate) async fn of<'e>(on: impl Executor<'e, Database = Any>, agent_id: &str) -> Result<Option<Lease>, Refused> {
    let row =
        sqlx::query("SELECT session_id, instance, sequence, renewed_at, expires_at FROM leases WHERE agent_id = $1")
            .bind(agent_id)
            .fetch_optional(on)
            .await?;
    Ok(row.map(|row| Lease {
        session_id: row.get("session_id"),
        instance: row.get("instance"),
        sequence: row.get("sequence"),
        renewed_at: Timestamp(row.get("renewed_at")),
        expires_at: Timestamp(row.get("expires_at")),
    }))
}

/// Notes that another process asked for it in vain.
pub(crate) async fn rival<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
    instance: &str,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("UPDATE leases SET rival = $2, rival_at = $3 WHERE agent_id = $1")
        .bind(agent_id)
        .bind(instance)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// Grants it.
pub(crate) async fn grant<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
    lease: &Lease,
) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO leases (agent_id, session_id, instance, sequence, granted_at, renewed_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $5, $6) ON CONFLICT (agent_id) DO UPDATE SET session_id = excluded.session_id, \
         instance = excluded.instance, sequence = excluded.sequence, granted_at = excluded.granted_at, \
         renewed_at = excluded.renewed_at, expires_at = excluded.expires_at, \
         rival = CASE WHEN leases.rival = excluded.instance THEN NULL ELSE leases.rival END",
    )
    .bind(agent_id)
    .bind(&lease.session_id)
    .bind(&lease.instance)
    .bind(lease.sequence)
    .bind(lease.renewed_at.0)
    .bind(lease.expires_at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// Renews it, if the session still has it and has said nothing newer. Whether it was so.
pub(crate) async fn renew<'e>(
    on: impl Executor<'e, Database = Any>,
    session_id: &str,
    sequence: i64,
    (renewed_at, expires_at): (Timestamp, Timestamp),
) -> Result<bool, Refused> {
    let renewed = sqlx::query(
        "UPDATE leases SET sequence = $2, renewed_at = $3, expires_at = $4 WHERE session_id = $1 AND sequence < $2",
    )
    .bind(session_id)
    .bind(sequence)
    .bind(renewed_at.0)
    .bind(expires_at.0)
    .execute(on)
    .await?;
    Ok(renewed.rows_affected() > 0)
}

/// Ends it now, and for good: what its session said before and is still to be written down renews it no more.
pub(crate) async fn end<'e>(
    on: impl Executor<'e, Database = Any>,
    session_id: &str,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query(
        "UPDATE leases SET expires_at = CASE WHEN expires_at > $2 THEN $2 ELSE expires_at END, sequence = $3 \
         WHERE session_id = $1",
    )
    .bind(session_id)
    .bind(at.0)
    .bind(i64::MAX)
    .execute(on)
    .await?;
    Ok(())
}
