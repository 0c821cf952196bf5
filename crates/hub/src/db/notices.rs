//! What is wrong now, and what someone should know of it: each state that begins or ends is noted once.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};
use uuid::Uuid;

use super::text::{given, stored};
use crate::fault::Refused;

/// Something that someone should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) account_id: String,
    /// A word of `app::recipients::EVENTS`.
    pub(crate) event: String,
    /// `agent:ID`, `pipeline:ID`.
    pub(crate) object: String,
    /// What people call it.
    pub(crate) name: String,
    /// Code of a fault.
    pub(crate) code: Option<String>,
    pub(crate) at: Timestamp,
}

/// A state that was told of and is not over.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) object: String,
    pub(crate) event: String,
    pub(crate) account_id: String,
    pub(crate) since: Timestamp,
}

/// Notes that a state has begun; whether nobody had noted it before.
pub(crate) async fn begins<'e>(on: impl Executor<'e, Database = Any>, notice: &Notice) -> Result<bool, Refused> {
    let noted = sqlx::query(
        "INSERT INTO troubles (object, event, account_id, since) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (object, event) DO NOTHING",
    )
    .bind(&notice.object)
    .bind(&notice.event)
    .bind(&notice.account_id)
    .bind(notice.at.0)
    .execute(on)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Notes that it is over; whether nobody had noted that before.
pub(crate) async fn ends<'e>(
    on: impl Executor<'e, Database = Any>,
    object: &str,
    event: &str,
) -> Result<bool, Refused> {
    let ended = sqlx::query("DELETE FROM troubles WHERE object = $1 AND event = $2").bind(object).bind(event);
    Ok(ended.execute(on).await?.rows_affected() == 1)
}

/// All states that are not over.
pub(crate) async fn troubles<'e>(on: impl Executor<'e, Database = Any>) -> Result<Vec<Trouble>, Refused> {
    let rows =
        sqlx::query("SELECT object, event, account_id, since FROM troubles ORDER BY since").fetch_all(on).await?;
    let trouble = |row: &AnyRow| Trouble {
        object: row.get("object"),
        event: row.get("event"),
        account_id: row.get("account_id"),
        since: Timestamp(row.get("since")),
    };
    Ok(rows.iter().map(trouble).collect())
}

/// Notes what is to be told.
pub(crate) async fn add<'e>(on: impl Executor<'e, Database = Any>, notice: &Notice) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO notices (id, account_id, event, object, name, code, at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(Uuid::now_v7().to_string())
    .bind(&notice.account_id)
    .bind(&notice.event)
    .bind(&notice.object)
    .bind(stored(&notice.name))
    .bind(notice.code.as_deref())
    .bind(notice.at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// Accounts with something to tell that is as old as `until`.
pub(crate) async fn waiting<'e>(
    on: impl Executor<'e, Database = Any>,
    until: Timestamp,
) -> Result<Vec<String>, Refused> {
    let rows = sqlx::query("SELECT DISTINCT account_id FROM notices WHERE told_at IS NULL AND at <= $1")
        .bind(until.0)
        .fetch_all(on)
        .await?;
    Ok(rows.iter().map(|row| row.get("account_id")).collect())
}

/// Everything that the account is to be told, the oldest first; from now on it is told.
pub(crate) async fn take(on: &mut AnyConnection, account_id: &str, now: Timestamp) -> Result<Vec<Notice>, Refused> {
    let rows = sqlx::query(
        "SELECT account_id, event, object, name, code, at FROM notices \
         WHERE told_at IS NULL AND account_id = $1 ORDER BY id",
    )
    .bind(account_id)
    .fetch_all(&mut *on)
    .await?;
    sqlx::query("UPDATE notices SET told_at = $2 WHERE told_at IS NULL AND account_id = $1")
        .bind(account_id)
        .bind(now.0)
        .execute(on)
        .await?;
    let notice = |row: &AnyRow| Notice {
        account_id: row.get("account_id"),
        event: row.get("event"),
        object: row.get("object"),
        name: given(row.get("name")),
        code: row.get("code"),
        at: Timestamp(row.get("at")),
    };
    Ok(rows.iter().map(notice).collect())
}

/// Forgets what was told and what has ended before `before`.
pub(crate) async fn forget(on: &mut AnyConnection, before: Timestamp) -> Result<(), Refused> {
    sqlx::query("DELETE FROM notices WHERE told_at < $1").bind(before.0).execute(&mut *on).await?;
    sqlx::query("DELETE FROM deliveries WHERE ended_at < $1").bind(before.0).execute(on).await?;
    Ok(())
}

/// Agents that went silent without a goodbye and of which nobody was told: id, account, name, and since when. Where another process of
/// the agent has asked for the lease meanwhile, it was started anew: that one is waited for if the lease has ended after `waited_for`.
pub(crate) async fn lost<'e>(
    on: impl Executor<'e, Database = Any>,
    now: Timestamp,
    waited_for: Timestamp,
) -> Result<Vec<(String, String, String, Timestamp)>, Refused> {
    // `of_agent` of `app::status` as SQL, for all agents at once.
    let rows = sqlx::query(
        "SELECT a.id, a.account_id, a.name, l.expires_at FROM leases l JOIN agents a ON a.id = l.agent_id \
         WHERE l.expires_at <= $1 AND a.goodbye_at IS NULL AND a.removed_at IS NULL AND NOT EXISTS \
         (SELECT 1 FROM troubles t WHERE t.object = 'agent:' || a.id AND t.event = 'agent_unknown') \
         AND (l.rival_at IS NULL OR l.rival_at < l.renewed_at OR l.expires_at < $2)",
    )
    .bind(now.0)
    .bind(waited_for.0)
    .fetch_all(on)
    .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get("id"), row.get("account_id"), row.get("name"), Timestamp(row.get("expires_at"))))
        .collect())
}

/// Agents whose newest secret ends before `until` and of which nobody was told: id, account, name.
pub(crate) async fn expiring<'e>(
    on: impl Executor<'e, Database = Any>,
    until: Timestamp,
) -> Result<Vec<(String, String, String)>, Refused> {
    let rows = sqlx::query(
        "SELECT a.id, a.account_id, a.name FROM agents a WHERE a.removed_at IS NULL AND \
         (SELECT c.expires_at FROM agent_credentials c WHERE c.agent_id = a.id AND c.revoked_at IS NULL \
         ORDER BY c.id DESC LIMIT 1) <= $1 AND NOT EXISTS \
         (SELECT 1 FROM troubles t WHERE t.object = 'agent:' || a.id AND t.event = 'credentials_expiring')",
    )
    .bind(until.0)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(|row| (row.get("id"), row.get("account_id"), row.get("name"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Db, Place};

    #[tokio::test]
    async fn an_agent_that_was_started_anew_is_waited_for_a_little_longer() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Place::in_folder(folder.path())).await.unwrap();
        let run = async |sql: String| {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(db.pool()).await.unwrap();
        };
        run("INSERT INTO accounts (id, name, created_at) VALUES ('a', 'A', 0)".into()).await;
        // Each was heard at 10 and had its lease until 55.
        for (name, rival_at) in [("alone", "NULL"), ("restarted", "30"), ("long-ago", "5")] {
            run(format!(
                "INSERT INTO agents (id, account_id, name, description, cloud_provider, deployment, agent_type, client_id, \
                 created_at, created_by) VALUES ('{name}', 'a', '{name}', '', 'aws', 'eks', 'streaming', '{name}', 0, 'a'); \
                 INSERT INTO leases (agent_id, session_id, instance, sequence, granted_at, renewed_at, expires_at, rival_at) \
                 VALUES ('{name}', '{name}', 'one', 1, 0, 10, 55, {rival_at})"
            ))
            .await;
        }
        let lost = async |now: i64| {
            let lost = lost(db.pool(), Timestamp(now), Timestamp(now - 15)).await.unwrap();
            let mut names: Vec<String> = lost.into_iter().map(|(id, ..)| id).collect();
            names.sort();
            names
        };
        assert_eq!(lost(54).await, [""; 0]);
        assert_eq!(lost(60).await, ["alone", "long-ago"]);
        assert_eq!(lost(71).await, ["alone", "long-ago", "restarted"]);
    }
}
