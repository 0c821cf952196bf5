//! A consistent copy of SQLite's file while the hub writes to it, and what a copy or an open database holds.

use std::path::Path;

use sqlx::{AnyPool, Row};

use super::{Db, Place};
use crate::fault::Cause;

/// Copies the database to `to`, as of one moment. The hub may go on meanwhile.
pub(crate) async fn copy(place: &Place, to: &Path) -> Result<(), Cause> {
    let db = Db::connect(place).await?;
    sqlx::query("VACUUM INTO $1").bind(to.display().to_string()).execute(db.pool()).await?;
    db.pool().close().await;
    Ok(())
}

/// What SQLite finds wrong with a database; nothing where it is whole.
pub(crate) async fn damage(pool: &AnyPool) -> Result<Option<String>, Cause> {
    let said = sqlx::query("PRAGMA integrity_check").fetch_all(pool).await?;
    let lines: Vec<String> = said.iter().map(|row| row.get::<String, _>(0)).collect();
    Ok((lines != ["ok"]).then(|| lines.join("; ")))
}

/// The database server's own time in microseconds; SQLite has none but the machine's.
pub(crate) async fn server_time(pool: &AnyPool) -> Result<i64, Cause> {
    let row = sqlx::query("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now");
    Ok(row.fetch_one(pool).await?.get("now"))
}

/// When the newest line of the audit log was written.
pub(crate) async fn newest(pool: &AnyPool) -> Result<Option<i64>, Cause> {
    let row = sqlx::query("SELECT MAX(at) AS newest FROM audit_log").fetch_one(pool).await?;
    Ok(row.get("newest"))
}
