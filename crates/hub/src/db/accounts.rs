//! Accounts, their projects, and whether the hub was set up.

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;
use millrace_model::Timestamp;

/// An account or a project.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// Whether there is an account.
pub(crate) async fn any<'e>(on: impl Executor<'e, Database = Any>) -> Result<bool, Refused> {
    Ok(sqlx::query("SELECT 1 FROM accounts LIMIT 1").fetch_optional(on).await?.is_some())
}

/// The account that was made first.
pub(crate) async fn first<'e>(on: impl Executor<'e, Database = Any>) -> Result<Option<Named>, Refused> {
    let row = sqlx::query("SELECT id, name FROM accounts ORDER BY created_at, id LIMIT 1").fetch_optional(on).await?;
    Ok(row.map(|row| named(&row)))
}

/// The account of that id.
pub(crate) async fn of_id<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<Option<Named>, Refused> {
    let row = sqlx::query("SELECT id, name FROM accounts WHERE id = $1").bind(id).fetch_optional(on).await?;
    Ok(row.map(|row| named(&row)))
}

/// A new account.
pub(crate) async fn insert<'e>(
    on: impl Executor<'e, Database = Any>,
    account: &Named,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("INSERT INTO accounts (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(&account.id)
        .bind(&account.name)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// A new project.
pub(crate) async fn insert_project<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    project: &Named,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO projects (id, account_id, name, created_at) VALUES ($1, $2, $3, $4)")
        .bind(&project.id)
        .bind(account_id)
        .bind(&project.name)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// The account's project of that id.
pub(crate) async fn project<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    id: &str,
) -> Result<Option<Named>, Refused> {
    let row = sqlx::query("SELECT id, name FROM projects WHERE account_id = $1 AND id = $2")
        .bind(account_id)
        .bind(id)
        .fetch_optional(on)
        .await?;
    Ok(row.map(|row| named(&row)))
}

/// The account's projects, by creation.
pub(crate) async fn projects<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
) -> Result<Vec<Named>, Refused> {
    let rows = sqlx::query("SELECT id, name FROM projects WHERE account_id = $1 ORDER BY id")
        .bind(account_id)
        .fetch_all(on)
        .await?;
    Ok(rows.iter().map(named).collect())
}

fn named(row: &AnyRow) -> Named {
    Named { id: row.get("id"), name: row.get("name") }
}

/// Keeps other writers off the account's people until this transaction ends.
pub(crate) async fn lock<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<(), Refused> {
    // An update that changes nothing: the one lock that both databases know.
    sqlx::query("UPDATE accounts SET name = name WHERE id = $1").bind(id).execute(on).await?;
    Ok(())
}

/// Another name for the account.
pub(crate) async fn rename<'e>(on: impl Executor<'e, Database = Any>, id: &str, name: &str) -> Result<(), Refused> {
    sqlx::query("UPDATE accounts SET name = $2 WHERE id = $1").bind(id).bind(name).execute(on).await?;
    Ok(())
}

/// Where people and API clients of the account may call from, as `auth::addresses` reads it.
pub(crate) async fn allowed<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<String, Refused> {
    let row = sqlx::query("SELECT allowed FROM accounts WHERE id = $1").bind(id).fetch_one(on).await?;
    Ok(row.get("allowed"))
}

/// Changes that.
pub(crate) async fn allow<'e>(on: impl Executor<'e, Database = Any>, id: &str, allowed: &str) -> Result<(), Refused> {
    sqlx::query("UPDATE accounts SET allowed = $2 WHERE id = $1").bind(id).bind(allowed).execute(on).await?;
    Ok(())
}

/// Another name for one of the account's projects; whether it is there.
pub(crate) async fn rename_project<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    project: &Named,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("UPDATE projects SET name = $3 WHERE account_id = $1 AND id = $2")
        .bind(account_id)
        .bind(&project.id)
        .bind(&project.name)
        .execute(on)
        .await?;
    Ok(done.rows_affected() == 1)
}
