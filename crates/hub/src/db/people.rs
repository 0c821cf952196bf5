//! People, the accounts that they belong to, and the one-time links by which they come.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use crate::fault::Refused;

/// Someone who may sign in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) password_hash: String,
}

/// A person of an account.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) person_id: String,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) created_at: Timestamp,
}

/// A one-time link.
#[derive(Clone, Debug)]
pub(crate) struct Invitation {
    pub(crate) token_hash: String,
    /// The account that it leads into; absent: the first one, which is yet to be made.
    pub(crate) account_id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) role: String,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) expires_at: Timestamp,
}

/// Whether there is a person.
pub(crate) async fn any<'e>(on: impl Executor<'e, Database = Any>) -> Result<bool, Refused> {
    Ok(sqlx::query("SELECT 1 FROM people LIMIT 1").fetch_optional(on).await?.is_some())
}

/// A new person, as a member of an account.
pub(crate) async fn insert(
    on: &mut AnyConnection,
    person: &Person,
    (account_id, role): (&str, &str),
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO people (id, email, password_hash, created_at) VALUES ($1, $2, $3, $4)")
        .bind(&person.id)
        .bind(&person.email)
        .bind(&person.password_hash)
        .bind(at.0)
        .execute(&mut *on)
        .await?;
    sqlx::query("INSERT INTO memberships (person_id, account_id, role, created_at) VALUES ($1, $2, $3, $4)")
        .bind(&person.id)
        .bind(account_id)
        .bind(role)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

fn person(row: &AnyRow) -> Person {
    Person { id: row.get("id"), email: row.get("email"), password_hash: row.get("password_hash") }
}

/// The person with this address, unless disabled.
pub(crate) async fn by_email<'e>(
    on: impl Executor<'e, Database = Any>,
    email: &str,
) -> Result<Option<Person>, Refused> {
    let row = sqlx::query("SELECT id, email, password_hash FROM people WHERE email = $1 AND disabled_at IS NULL")
        .bind(email)
        .fetch_optional(on)
        .await?;
    Ok(row.as_ref().map(person))
}

/// The person of that id, unless disabled.
pub(crate) async fn by_id<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<Option<Person>, Refused> {
    let row = sqlx::query("SELECT id, email, password_hash FROM people WHERE id = $1 AND disabled_at IS NULL")
        .bind(id)
        .fetch_optional(on)
        .await?;
    Ok(row.as_ref().map(person))
}

/// The account that the person came to first.
pub(crate) async fn first_account<'e>(
    on: impl Executor<'e, Database = Any>,
    person_id: &str,
) -> Result<Option<String>, Refused> {
    let row =
        sqlx::query("SELECT account_id FROM memberships WHERE person_id = $1 ORDER BY created_at, account_id LIMIT 1")
            .bind(person_id)
            .fetch_optional(on)
            .await?;
    Ok(row.map(|row| row.get("account_id")))
}

/// The people of an account, by address.
pub(crate) async fn members<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
) -> Result<Vec<Member>, Refused> {
    let rows = sqlx::query(
        "SELECT p.id, p.email, m.role, m.created_at FROM memberships m JOIN people p ON p.id = m.person_id \
         WHERE m.account_id = $1 AND p.disabled_at IS NULL ORDER BY p.email",
    )
    .bind(account_id)
    .fetch_all(on)
    .await?;
    let member = |row: &AnyRow| Member {
        person_id: row.get("id"),
        email: row.get("email"),
        role: row.get("role"),
        created_at: Timestamp(row.get("created_at")),
    };
    Ok(rows.iter().map(member).collect())
}

/// A new one-time link.
pub(crate) async fn invite<'e>(on: impl Executor<'e, Database = Any>, link: &Invitation) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO invitations (token_hash, account_id, email, role, created_at, created_by, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&link.token_hash)
    .bind(link.account_id.as_deref())
    .bind(link.email.as_deref())
    .bind(&link.role)
    .bind(link.created_at.0)
    .bind(&link.created_by)
    .bind(link.expires_at.0)
    .execute(on)
    .await?;
    Ok(())
}

const LINK: &str = "SELECT token_hash, account_id, email, role, created_at, created_by, expires_at FROM invitations ";

fn link(row: &AnyRow) -> Invitation {
    Invitation {
        token_hash: row.get("token_hash"),
        account_id: row.get("account_id"),
        email: row.get("email"),
        role: row.get("role"),
        created_at: Timestamp(row.get("created_at")),
        created_by: row.get("created_by"),
        expires_at: Timestamp(row.get("expires_at")),
    }
}

/// The link with this hash, unless it was used or is too old.
pub(crate) async fn invitation<'e>(
    on: impl Executor<'e, Database = Any>,
    token_hash: &str,
    now: Timestamp,
) -> Result<Option<Invitation>, Refused> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{LINK}WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2"
    )))
    .bind(token_hash)
    .bind(now.0)
    .fetch_optional(on)
    .await?;
    Ok(row.as_ref().map(link))
}

/// The links of an account that nobody has used yet.
pub(crate) async fn open_invitations<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    now: Timestamp,
) -> Result<Vec<Invitation>, Refused> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{LINK}WHERE account_id = $1 AND email IS NOT NULL AND used_at IS NULL AND expires_at > $2 ORDER BY created_at"
    )))
    .bind(account_id)
    .bind(now.0)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(link).collect())
}

/// Uses a link up; whether it was there to be used.
pub(crate) async fn use_up<'e>(
    on: impl Executor<'e, Database = Any>,
    token_hash: &str,
    now: Timestamp,
) -> Result<bool, Refused> {
    let done = sqlx::query(
        "UPDATE invitations SET used_at = $2 WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2",
    )
    .bind(token_hash)
    .bind(now.0)
    .execute(on)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes back the links that were made for a first owner.
pub(crate) async fn forget_owner_links<'e>(
    on: impl Executor<'e, Database = Any>,
    now: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("UPDATE invitations SET used_at = $1 WHERE email IS NULL AND used_at IS NULL")
        .bind(now.0)
        .execute(on)
        .await?;
    Ok(())
}
