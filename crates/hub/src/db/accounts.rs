//! Accounts, projects, API clients, and whether the hub was set up.

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;
use millrace_model::Timestamp;

/// A machine that may use the API.
#[derive(Clone, Debug)]
pub(crate) struct ApiClient {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) role: String,
    pub(crate) secret_hash: String,
}

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
) -> Result<(), Refused> {
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

/// A new API client.
pub(crate) async fn insert_client<'e>(
    on: impl Executor<'e, Database = Any>,
    client: &ApiClient,
    name: &str,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO api_clients (id, account_id, name, role, secret_hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&client.id)
    .bind(&client.account_id)
    .bind(name)
    .bind(&client.role)
    .bind(&client.secret_hash)
    .bind(at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// The API client of that id, unless it is revoked.
pub(crate) async fn client<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<Option<ApiClient>, Refused> {
    let row =
        sqlx::query("SELECT id, account_id, role, secret_hash FROM api_clients WHERE id = $1 AND revoked_at IS NULL")
            .bind(id)
            .fetch_optional(on)
            .await?;
    Ok(row.map(|row| ApiClient {
        id: row.get("id"),
        account_id: row.get("account_id"),
        role: row.get("role"),
        secret_hash: row.get("secret_hash"),
    }))
}
