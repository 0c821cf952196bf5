//! Old rows of what only ever grows.

use millrace_model::Timestamp;
use sqlx::{Any, Executor};

use crate::fault::Refused;

/// Something that is kept for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    /// What agents told.
    Events,
    /// What agents were asked, and what they answered.
    Commands,
    /// Who did what.
    AuditLog,
}

/// Forgets what is over since before then, so many rows at most; how many went.
pub(crate) async fn forget<'e>(
    on: impl Executor<'e, Database = Any>,
    kept: Kept,
    before: Timestamp,
    most: i64,
) -> Result<u64, Refused> {
    // An event's id is the agent's own, and says nothing of its age.
    let sql = match kept {
        Kept::Events => {
            "DELETE FROM events WHERE received_at < $1 AND id IN \
             (SELECT id FROM events WHERE received_at < $1 LIMIT $2)"
        }
        Kept::Commands => {
            "DELETE FROM commands WHERE id IN \
             (SELECT id FROM commands WHERE COALESCE(finished_at, expires_at) < $1 LIMIT $2)"
        }
        Kept::AuditLog => "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < $1 LIMIT $2)",
    };
    Ok(sqlx::query(sql).bind(before.0).bind(most).execute(on).await?.rows_affected())
}
