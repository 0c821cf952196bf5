//! Brings the tables up to date when the hub starts. Forward only; each step is a file that never changes again.

use sqlx::{AnyPool, Row};
use tracing::info;

use super::{Db, Place};
use crate::fault::Cause;

/// Every step there is, in order.
const STEPS: &[(i64, &str)] = &[
    (1, include_str!("../../migrations/0001.sql")),
    (2, include_str!("../../migrations/0002.sql")),
    (3, include_str!("../../migrations/0003.sql")),
];
/// Several hub processes may start at once; on PostgreSQL this number keeps them apart.
const LOCK: i64 = 0x6d69_6c6c_7261_6365;

/// What `hub migrate --plan` prints.
#[derive(Debug, serde::Serialize)]
pub struct Plan {
    /// Number of the newest step that was taken; 0 on an empty database.
    pub version: i64,
    /// Steps that a start would take.
    pub pending: Vec<Step>,
}

/// One step.
#[derive(Debug, serde::Serialize)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// Its statements.
    pub sql: &'static str,
}

/// What a start would do to the database at `place`.
pub async fn plan(place: &Place) -> Result<Plan, Cause> {
    let version = match place {
        // A plan makes nothing, not even an empty file.
        Place::Sqlite(file) if !file.exists() => 0,
        Place::Sqlite(_) | Place::Copy(_) | Place::Postgres(_) => version(&Db::connect(place).await?.pool).await?,
    };
    let pending = STEPS.iter().filter(|(step, _)| *step > version);
    Ok(Plan { version, pending: pending.map(|&(version, sql)| Step { version, sql }).collect() })
}

/// Number of the newest step there is.
pub(crate) fn newest() -> i64 {
    STEPS.last().map_or(0, |(version, _)| *version)
}

/// Takes every step that is missing. Each is whole or not at all.
pub(super) async fn migrate(pool: &AnyPool, place: &Place) -> Result<(), Cause> {
    let mut transaction = match place {
        Place::Sqlite(_) | Place::Copy(_) => pool.begin_with("BEGIN IMMEDIATE").await?,
        Place::Postgres(_) => pool.begin().await?,
    };
    if let Place::Postgres(_) = place {
        sqlx::query("SELECT CAST(pg_advisory_xact_lock($1) AS TEXT)").bind(LOCK).execute(&mut *transaction).await?;
    }
    sqlx::query("CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)")
        .execute(&mut *transaction)
        .await?;
    let newest = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM migrations")
        .fetch_one(&mut *transaction)
        .await?
        .get::<i64, _>("version");
    if let Some((last, _)) = STEPS.last()
        && newest > *last
    {
        return Err(Cause::Settings(format!(
            "the database was written by a newer hub (its tables are version {newest}, this hub knows {last})"
        )));
    }
    for (version, sql) in STEPS.iter().filter(|(version, _)| *version > newest) {
        sqlx::raw_sql(*sql).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO migrations (version) VALUES ($1)").bind(version).execute(&mut *transaction).await?;
        info!(code = "migrated", version, "the hub's tables are brought up to date");
    }
    transaction.commit().await?;
    Ok(())
}

/// Number of the newest step that was taken; 0 where nobody has been.
pub(crate) async fn version(pool: &AnyPool) -> Result<i64, Cause> {
    match sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM migrations").fetch_one(pool).await {
        Ok(row) => Ok(row.get("version")),
        // Nobody has been here.
        Err(sqlx::Error::Database(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
