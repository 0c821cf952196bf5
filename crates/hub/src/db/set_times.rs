//! When pipelines are started and stopped by the clock.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;

/// The set times of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetTimes {
    pub(crate) pipeline_id: String,
    /// Cron, as it was given.
    pub(crate) start: Option<String>,
    pub(crate) stop: Option<String>,
    pub(crate) next_start: Option<Timestamp>,
    pub(crate) next_stop: Option<Timestamp>,
    pub(crate) author: String,
    pub(crate) updated_at: Timestamp,
}

const SELECT: &str = "SELECT pipeline_id, start_at, stop_at, next_start, next_stop, author, updated_at FROM set_times ";

fn set_times(row: &AnyRow) -> SetTimes {
    let time = |name| row.get::<Option<i64>, _>(name).map(Timestamp);
    SetTimes {
        pipeline_id: row.get("pipeline_id"),
        start: row.get("start_at"),
        stop: row.get("stop_at"),
        next_start: time("next_start"),
        next_stop: time("next_stop"),
        author: row.get("author"),
        updated_at: Timestamp(row.get("updated_at")),
    }
}

/// Those of a pipeline.
pub(crate) async fn of<'e>(
    on: impl Executor<'e, Database = Any>,
    pipeline_id: &str,
) -> Result<Option<SetTimes>, Refused> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}WHERE pipeline_id = $1")))
        .bind(pipeline_id)
        .fetch_optional(on)
        .await?;
    Ok(row.as_ref().map(set_times))
}

/// Keeps them, in place of what was there.
pub(crate) async fn keep<'e>(on: impl Executor<'e, Database = Any>, times: &SetTimes) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO set_times (pipeline_id, start_at, stop_at, next_start, next_stop, author, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (pipeline_id) DO UPDATE SET start_at = excluded.start_at, \
         stop_at = excluded.stop_at, next_start = excluded.next_start, next_stop = excluded.next_stop, \
         author = excluded.author, updated_at = excluded.updated_at",
    )
    .bind(&times.pipeline_id)
    .bind(times.start.as_deref())
    .bind(times.stop.as_deref())
    .bind(times.next_start.map(|at| at.0))
    .bind(times.next_stop.map(|at| at.0))
    .bind(&times.author)
    .bind(times.updated_at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// Forgets them; whether there were any.
pub(crate) async fn forget<'e>(on: impl Executor<'e, Database = Any>, pipeline_id: &str) -> Result<bool, Refused> {
    let gone = sqlx::query("DELETE FROM set_times WHERE pipeline_id = $1").bind(pipeline_id).execute(on).await?;
    Ok(gone.rows_affected() == 1)
}

/// Account, project and id of pipelines with a time that has come.
pub(crate) async fn due<'e>(
    on: impl Executor<'e, Database = Any>,
    now: Timestamp,
) -> Result<Vec<(String, String, String)>, Refused> {
    let rows = sqlx::query(
        "SELECT p.account_id, p.project_id, p.id FROM set_times s JOIN pipelines p ON p.id = s.pipeline_id \
         WHERE p.deleted_at IS NULL AND (s.next_start <= $1 OR s.next_stop <= $1)",
    )
    .bind(now.0)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(|row| (row.get("account_id"), row.get("project_id"), row.get("id"))).collect())
}
