//! Sessions of people in the console. Of a cookie's value only the hash is here.

use millrace_model::Timestamp;
use sqlx::{Any, Executor, Row};
use uuid::Uuid;

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
    /// Where the account may be reached from, as `auth::addresses` reads it.
    pub(crate) allowed: String,
}

/// A session as its person or an owner sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) id_hash: String,
    pub(crate) account_name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
    pub(crate) address: String,
    pub(crate) browser: String,
}

/// Whose sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) person_id: &'a str,
    /// Only those that are in this account.
    pub(crate) account_id: Option<&'a str>,
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
         browser, id) VALUES ($1, $2, $3, $4, $4, $4, $5, $6, $7)",
    )
    .bind(id_hash)
    .bind(person_id)
    .bind(account_id)
    .bind(at.0)
    .bind(address)
    .bind(browser)
    .bind(Uuid::now_v7().to_string())
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
        "SELECT s.id_hash, s.person_id, p.email, s.account_id, a.name AS account_name, a.allowed, m.role, \
         s.created_at, s.last_seen_at FROM sessions s JOIN people p ON p.id = s.person_id \
         JOIN accounts a ON a.id = s.account_id \
         JOIN memberships m ON m.person_id = s.person_id AND m.account_id = s.account_id \
         WHERE s.id_hash = $1 AND m.disabled_at IS NULL AND m.removed_at IS NULL",
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
        allowed: row.get("allowed"),
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

/// Sessions of a person, the newest first.
pub(crate) async fn list<'e>(on: impl Executor<'e, Database = Any>, of: Of<'_>) -> Result<Vec<Seen>, Refused> {
    let rows = sqlx::query(
        "SELECT s.id, s.id_hash, a.name AS account_name, s.created_at, s.last_seen_at, s.address, s.browser \
         FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.person_id = $1 \
         AND ($2 = '' OR s.account_id = $2) ORDER BY s.created_at DESC, s.id DESC",
    )
    .bind(of.person_id)
    .bind(of.account_id.unwrap_or_default())
    .fetch_all(on)
    .await?;
    let seen = |row: &sqlx::any::AnyRow| Seen {
        id: row.get("id"),
        id_hash: row.get("id_hash"),
        account_name: row.get("account_name"),
        created_at: Timestamp(row.get("created_at")),
        last_seen_at: Timestamp(row.get("last_seen_at")),
        address: row.get("address"),
        browser: row.get("browser"),
    };
    Ok(rows.iter().map(seen).collect())
}

/// Ends one of the person's sessions; whether it was there.
pub(crate) async fn end_one<'e>(on: impl Executor<'e, Database = Any>, of: Of<'_>, id: &str) -> Result<bool, Refused> {
    let done = sqlx::query("DELETE FROM sessions WHERE id = $3 AND person_id = $1 AND ($2 = '' OR account_id = $2)")
        .bind(of.person_id)
        .bind(of.account_id.unwrap_or_default())
        .bind(id)
        .execute(on)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all of them but the one with the hash `save`; how many there were.
pub(crate) async fn end_all<'e>(on: impl Executor<'e, Database = Any>, of: Of<'_>, save: &str) -> Result<u64, Refused> {
    let done =
        sqlx::query("DELETE FROM sessions WHERE person_id = $1 AND ($2 = '' OR account_id = $2) AND id_hash <> $3")
            .bind(of.person_id)
            .bind(of.account_id.unwrap_or_default())
            .bind(save)
            .execute(on)
            .await?;
    Ok(done.rows_affected())
}

/// Goes on in another account.
pub(crate) async fn switch<'e>(
    on: impl Executor<'e, Database = Any>,
    id_hash: &str,
    account_id: &str,
) -> Result<(), Refused> {
    sqlx::query("UPDATE sessions SET account_id = $2 WHERE id_hash = $1")
        .bind(id_hash)
        .bind(account_id)
        .execute(on)
        .await?;
    Ok(())
}
