//! API clients: machines that may use an account's API. Of a secret only the hash is here.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;

/// A machine that may use the API.
#[derive(Clone, Debug)]
pub(crate) struct ApiClient {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) secret_hash: String,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) last_used_at: Option<Timestamp>,
    /// Where it was used from.
    pub(crate) last_address: Option<String>,
    /// Where the account may be reached from, as `auth::addresses` reads it.
    pub(crate) allowed: String,
}

const SELECT: &str = "SELECT c.id, c.account_id, c.name, c.role, c.secret_hash, c.created_at, c.created_by, \
     c.last_used_at, c.last_address, a.allowed FROM api_clients c JOIN accounts a ON a.id = c.account_id \
     WHERE c.revoked_at IS NULL ";

fn client(row: &AnyRow) -> ApiClient {
    ApiClient {
        id: row.get("id"),
        account_id: row.get("account_id"),
        name: row.get("name"),
        role: row.get("role"),
        secret_hash: row.get("secret_hash"),
        created_at: Timestamp(row.get("created_at")),
        created_by: row.get("created_by"),
        last_used_at: row.get::<Option<i64>, _>("last_used_at").map(Timestamp),
        last_address: row.get("last_address"),
        allowed: row.get("allowed"),
    }
}

/// A new API client.
pub(crate) async fn insert<'e>(on: impl Executor<'e, Database = Any>, client: &ApiClient) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO api_clients (id, account_id, name, role, secret_hash, created_at, created_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&client.id)
    .bind(&client.account_id)
    .bind(&client.name)
    .bind(&client.role)
    .bind(&client.secret_hash)
    .bind(client.created_at.0)
    .bind(&client.created_by)
    .execute(on)
    .await?;
    Ok(())
}

/// The API client of that id, unless it is revoked.
pub(crate) async fn by_id<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<Option<ApiClient>, Refused> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}AND c.id = $1")));
    Ok(query.bind(id).fetch_optional(on).await?.as_ref().map(client))
}

/// The account's API clients, by creation.
pub(crate) async fn list<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
) -> Result<Vec<ApiClient>, Refused> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}AND c.account_id = $1 ORDER BY c.created_at, c.id")));
    Ok(query.bind(account_id).fetch_all(on).await?.iter().map(client).collect())
}

/// Revokes one of the account's; whether it was there.
pub(crate) async fn revoke<'e>(
    on: impl Executor<'e, Database = Any>,
    (account_id, id): (&str, &str),
    at: Timestamp,
) -> Result<bool, Refused> {
    let done =
        sqlx::query("UPDATE api_clients SET revoked_at = $3 WHERE account_id = $1 AND id = $2 AND revoked_at IS NULL")
            .bind(account_id)
            .bind(id)
            .bind(at.0)
            .execute(on)
            .await?;
    Ok(done.rows_affected() == 1)
}
