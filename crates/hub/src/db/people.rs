//! People, the accounts that they belong to, and the one-time links by which they come.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::accounts::Named;
use crate::fault::Refused;

/// Someone who may sign in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) email: String,
    /// Empty where the person belongs to no account any more: nothing matches it.
    pub(crate) password_hash: String,
}

/// A person of an account.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) person_id: String,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) created_at: Timestamp,
    pub(crate) disabled_at: Option<Timestamp>,
    /// When a session of theirs in this account was used last.
    pub(crate) last_seen_at: Option<Timestamp>,
}

/// A one-time link.
#[derive(Clone, Debug)]
pub(crate) struct Invitation {
    pub(crate) token_hash: String,
    /// The account that it leads into; absent: one that is yet to be made.
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

/// Keeps a person: a new one, or one who comes back and has no password any more. Nobody's password is changed by it.
pub(crate) async fn keep<'e>(
    on: impl Executor<'e, Database = Any>,
    person: &Person,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO people (id, email, password_hash, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id) DO UPDATE SET password_hash = excluded.password_hash WHERE people.password_hash = ''",
    )
    .bind(&person.id)
    .bind(&person.email)
    .bind(&person.password_hash)
    .bind(at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// Makes a person a member of an account; whether they were not one before.
pub(crate) async fn join<'e>(
    on: impl Executor<'e, Database = Any>,
    person_id: &str,
    (account_id, role): (&str, &str),
    at: Timestamp,
) -> Result<bool, Refused> {
    let done = sqlx::query(
        "INSERT INTO memberships (person_id, account_id, role, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (person_id, account_id) DO UPDATE SET role = excluded.role, created_at = excluded.created_at, \
         disabled_at = NULL, removed_at = NULL WHERE memberships.removed_at IS NOT NULL",
    )
    .bind(person_id)
    .bind(account_id)
    .bind(role)
    .bind(at.0)
    .execute(on)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn person(row: &AnyRow) -> Person {
    Person { id: row.get("id"), email: row.get("email"), password_hash: row.get("password_hash") }
}

/// The person with this address.
pub(crate) async fn by_email<'e>(
    on: impl Executor<'e, Database = Any>,
    email: &str,
) -> Result<Option<Person>, Refused> {
    let row = sqlx::query("SELECT id, email, password_hash FROM people WHERE email = $1")
        .bind(email)
        .fetch_optional(on)
        .await?;
    Ok(row.as_ref().map(person))
}

/// The person of that id.
pub(crate) async fn by_id<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<Option<Person>, Refused> {
    let row =
        sqlx::query("SELECT id, email, password_hash FROM people WHERE id = $1").bind(id).fetch_optional(on).await?;
    Ok(row.as_ref().map(person))
}

/// Another password.
pub(crate) async fn set_password<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    password_hash: &str,
) -> Result<(), Refused> {
    sqlx::query("UPDATE people SET password_hash = $2 WHERE id = $1").bind(id).bind(password_hash).execute(on).await?;
    Ok(())
}

/// The accounts that the person may be in, in the order in which they came to them.
pub(crate) async fn accounts<'e>(
    on: impl Executor<'e, Database = Any>,
    person_id: &str,
) -> Result<Vec<Named>, Refused> {
    let rows = sqlx::query(
        "SELECT a.id, a.name FROM memberships m JOIN accounts a ON a.id = m.account_id WHERE m.person_id = $1 \
         AND m.disabled_at IS NULL AND m.removed_at IS NULL ORDER BY m.created_at, a.id",
    )
    .bind(person_id)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(|row| Named { id: row.get("id"), name: row.get("name") }).collect())
}

const MEMBER: &str = "SELECT p.id, p.email, m.role, m.created_at, m.disabled_at, (SELECT MAX(s.last_seen_at) FROM \
     sessions s WHERE s.person_id = p.id AND s.account_id = m.account_id) AS last_seen_at \
     FROM memberships m JOIN people p ON p.id = m.person_id WHERE m.account_id = $1 AND m.removed_at IS NULL ";

fn member(row: &AnyRow) -> Member {
    let time = |name| row.get::<Option<i64>, _>(name).map(Timestamp);
    Member {
        person_id: row.get("id"),
        email: row.get("email"),
        role: row.get("role"),
        created_at: Timestamp(row.get("created_at")),
        disabled_at: time("disabled_at"),
        last_seen_at: time("last_seen_at"),
    }
}

/// The people of an account, by address.
pub(crate) async fn members<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
) -> Result<Vec<Member>, Refused> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("{MEMBER}ORDER BY p.email")));
    let rows = query.bind(account_id).fetch_all(on).await?;
    Ok(rows.iter().map(member).collect())
}

/// One of them.
pub(crate) async fn member_of<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    person_id: &str,
) -> Result<Option<Member>, Refused> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("{MEMBER}AND p.id = $2")));
    let row = query.bind(account_id).bind(person_id).fetch_optional(on).await?;
    Ok(row.as_ref().map(member))
}

/// Gives a member a role, and takes the account away or gives it back.
pub(crate) async fn change<'e>(
    on: impl Executor<'e, Database = Any>,
    (account_id, person_id): (&str, &str),
    role: &str,
    disabled_at: Option<Timestamp>,
) -> Result<(), Refused> {
    sqlx::query("UPDATE memberships SET role = $3, disabled_at = $4 WHERE account_id = $1 AND person_id = $2")
        .bind(account_id)
        .bind(person_id)
        .bind(role)
        .bind(disabled_at.map(|at| at.0))
        .execute(on)
        .await?;
    Ok(())
}

/// Takes someone out of an account: with their drafts, and with their password where it was the last account.
pub(crate) async fn remove(
    on: &mut sqlx::AnyConnection,
    (account_id, person_id): (&str, &str),
    at: Timestamp,
) -> Result<(), Refused> {
    for sql in [
        "UPDATE memberships SET removed_at = $3 WHERE account_id = $1 AND person_id = $2",
        "DELETE FROM drafts WHERE account_id = $1 AND person_id = $2 AND updated_at <= $3",
    ] {
        sqlx::query(sql).bind(account_id).bind(person_id).bind(at.0).execute(&mut *on).await?;
    }
    sqlx::query(
        "UPDATE people SET password_hash = '' WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM memberships m WHERE \
         m.person_id = $1 AND m.removed_at IS NULL)",
    )
    .bind(person_id)
    .execute(on)
    .await?;
    Ok(())
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

/// Takes back an account's links for this address; how many there were.
pub(crate) async fn withdraw<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    email: &str,
    now: Timestamp,
) -> Result<u64, Refused> {
    let done = sqlx::query(
        "UPDATE invitations SET used_at = $3 WHERE account_id = $1 AND email = $2 AND used_at IS NULL \
         AND expires_at > $3",
    )
    .bind(account_id)
    .bind(email)
    .bind(now.0)
    .execute(on)
    .await?;
    Ok(done.rows_affected())
}

/// Takes back the links that someone has made for an account.
pub(crate) async fn withdraw_of<'e>(
    on: impl Executor<'e, Database = Any>,
    (account_id, author): (&str, &str),
    now: Timestamp,
) -> Result<(), Refused> {
    sqlx::query(
        "UPDATE invitations SET used_at = $3 WHERE account_id = $1 AND created_by = $2 AND used_at IS NULL \
         AND expires_at > $3",
    )
    .bind(account_id)
    .bind(author)
    .bind(now.0)
    .execute(on)
    .await?;
    Ok(())
}

/// Takes back the links that were made for the hub's first owner.
pub(crate) async fn forget_owner_links<'e>(
    on: impl Executor<'e, Database = Any>,
    now: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("UPDATE invitations SET used_at = $1 WHERE email IS NULL AND created_by = 'hub' AND used_at IS NULL")
        .bind(now.0)
        .execute(on)
        .await?;
    Ok(())
}
