//! Sessions of people in the console. Of a cookie's value only the hash is here.

use millrace_model::Timestamp;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;

/// A session, with what its person may do at this moment.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id_hash: String,
    pub(crate) person_id: String,
    pub(crate) email: String,
    pub(crate) account_id: String,
    pub(crate) account_name: String,
    pub(crate) role: String,
    pub(crate) created_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
}

/// A new session.
pub(crate) async fn insert<'e>(
    on: impl Executor<'e, Database = Any>,
    (id_hash, person_id, account_id): (&str, &str, &str),
    (address, browser): (&str, &str),
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO sessions (id_hash, person_id, account_id, created_at, last_seen_at, signed_in_at, address, \
         browser) VALUES ($1, $2, $3, $4, $4, $4, $5, $6)",
    )
    .bind(id_hash)
    .bind(person_id)
    .bind(account_id)
    .bind(at.0)
    .bind(address)
    .bind(browser)
    .execute(on)
    .await?;
    Ok(())
}

/// The session with this hash, of a person who is still a member.
pub(crate) async fn of_hash<'e>(
    on: impl Executor<'e, Database = Any>,
    id_hash: &str,
) -> Result<Option<Session>, Refused> {
    let row = sqlx::query(
        "SELECT s.id_hash, s.person_id, p.email, s.account_id, a.name AS account_name, m.role, s.created_at, \
         s.last_seen_at FROM sessions s JOIN people p ON p.id = s.person_id \
         JOIN accounts a ON a.id = s.account_id \
         JOIN memberships m ON m.person_id = s.person_id AND m.account_id = s.account_id \
         WHERE s.id_hash = $1 AND p.disabled_at IS NULL",
    )
    .bind(id_hash)
    .fetch_optional(on)
    .await?;
    Ok(row.map(|row| Session {
        id_hash: row.get("id_hash"),
        person_id: row.get("person_id"),
        email: row.get("email"),
        account_id: row.get("account_id"),
        account_name: row.get("account_name"),
        role: row.get("role"),
        created_at: Timestamp(row.get("created_at")),
        last_seen_at: Timestamp(row.get("last_seen_at")),
    }))
}

/// Notes that it was used.
pub(crate) async fn seen<'e>(
    on: impl Executor<'e, Database = Any>,
    id_hash: &str,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("UPDATE sessions SET last_seen_at = $2 WHERE id_hash = $1")
        .bind(id_hash)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// Notes that the password was given again.
pub(crate) async fn signed_in<'e>(
    on: impl Executor<'e, Database = Any>,
    id_hash: &str,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("UPDATE sessions SET signed_in_at = $2 WHERE id_hash = $1")
        .bind(id_hash)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// Ends it.
pub(crate) async fn end<'e>(on: impl Executor<'e, Database = Any>, id_hash: &str) -> Result<(), Refused> {
    sqlx::query("DELETE FROM sessions WHERE id_hash = $1").bind(id_hash).execute(on).await?;
    Ok(())
}

/// Ends those that began or were last seen too long ago.
pub(crate) async fn end_old<'e>(
    on: impl Executor<'e, Database = Any>,
    began_before: Timestamp,
    seen_before: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("DELETE FROM sessions WHERE created_at <= $1 OR last_seen_at <= $2")
        .bind(began_before.0)
        .bind(seen_before.0)
        .execute(on)
        .await?;
    Ok(())
}
