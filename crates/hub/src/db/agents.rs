//! Agents, their credentials, and what they last said of themselves.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::part::{After, Found, Part};
use super::text::{given, stored};
use crate::fault::Refused;

/// An agent with everything that its status is computed from.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) cloud_provider: String,
    pub(crate) deployment: String,
    pub(crate) agent_type: String,
    pub(crate) client_id: String,
    /// Where its process may call from, as `auth::addresses` reads it.
    pub(crate) allowed: String,
    pub(crate) created_at: Timestamp,
    pub(crate) first_connected_at: Option<Timestamp>,
    pub(crate) goodbye_at: Option<Timestamp>,
    pub(crate) removed_at: Option<Timestamp>,
    /// The newest lease's last renewal and its end.
    pub(crate) lease: Option<(Timestamp, Timestamp)>,
    /// The process that has or had the lease, and its session.
    pub(crate) instance: Option<String>,
    pub(crate) session_id: Option<String>,
    /// Another process that asked for it in vain, and when.
    pub(crate) rival: Option<(String, Timestamp)>,
    /// When the secret that it uses ends; the newest one, where none was used yet.
    pub(crate) credentials_end: Option<Timestamp>,
    pub(crate) version: Option<String>,
    pub(crate) conditions: Option<String>,
    pub(crate) clock_skew_ms: Option<i64>,
}

const SELECT: &str = "SELECT a.id, a.account_id, a.name, a.description, a.cloud_provider, a.deployment, a.agent_type, \
     a.client_id, a.allowed, a.created_at, a.first_connected_at, a.goodbye_at, a.removed_at, \
     l.renewed_at, l.expires_at, l.instance, l.session_id, l.rival, l.rival_at, r.version, r.conditions, \
     r.clock_skew_ms, (SELECT c.expires_at FROM agent_credentials c WHERE c.agent_id = a.id AND c.revoked_at IS NULL \
     ORDER BY CASE WHEN c.last_used_at IS NULL THEN 0 ELSE c.last_used_at END DESC, c.id DESC LIMIT 1) \
     AS credentials_end \
     FROM agents a LEFT JOIN leases l ON l.agent_id = a.id LEFT JOIN agent_reports r ON r.agent_id = a.id ";

macro_rules! select {
    ($rest:literal) => {
        sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}{}", $rest)))
    };
}

fn agent(row: &AnyRow) -> Agent {
    let time = |name| row.get::<Option<i64>, _>(name).map(Timestamp);
    Agent {
        id: row.get("id"),
        account_id: row.get("account_id"),
        name: row.get("name"),
        description: given(row.get("description")),
        cloud_provider: row.get("cloud_provider"),
        deployment: row.get("deployment"),
        agent_type: row.get("agent_type"),
        client_id: row.get("client_id"),
        allowed: row.get("allowed"),
        created_at: Timestamp(row.get("created_at")),
        first_connected_at: time("first_connected_at"),
        goodbye_at: time("goodbye_at"),
        removed_at: time("removed_at"),
        lease: time("renewed_at").zip(time("expires_at")),
        instance: row.get("instance"),
        session_id: row.get("session_id"),
        rival: row.get::<Option<String>, _>("rival").zip(time("rival_at")),
        credentials_end: time("credentials_end"),
        version: row.get("version"),
        conditions: row.get("conditions"),
        clock_skew_ms: row.get("clock_skew_ms"),
    }
}

/// A new agent.
pub(crate) async fn insert<'e>(
    on: impl Executor<'e, Database = Any>,
    agent: &Agent,
    created_by: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO agents (id, account_id, name, description, cloud_provider, deployment, agent_type, client_id, \
         created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&agent.id)
    .bind(&agent.account_id)
    .bind(&agent.name)
    .bind(stored(&agent.description))
    .bind(&agent.cloud_provider)
    .bind(&agent.deployment)
    .bind(&agent.agent_type)
    .bind(&agent.client_id)
    .bind(agent.created_at.0)
    .bind(created_by)
    .execute(on)
    .await?;
    Ok(())
}

/// The account's agent of that id, unless it is removed.
pub(crate) async fn of_account<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    id: &str,
) -> Result<Option<Agent>, Refused> {
    let row = select!("WHERE a.account_id = $1 AND a.id = $2 AND a.removed_at IS NULL")
        .bind(account_id)
        .bind(id)
        .fetch_optional(on)
        .await?;
    Ok(row.as_ref().map(agent))
}

/// Any account's agent of that id, also a removed one.
pub(crate) async fn by_id<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<Option<Agent>, Refused> {
    let row = select!("WHERE a.id = $1").bind(id).fetch_optional(on).await?;
    Ok(row.as_ref().map(agent))
}

/// The agent that signs in with this client id, also a removed one.
pub(crate) async fn by_client<'e>(
    on: impl Executor<'e, Database = Any>,
    client_id: &str,
) -> Result<Option<Agent>, Refused> {
    let row = select!("WHERE a.client_id = $1").bind(client_id).fetch_optional(on).await?;
    Ok(row.as_ref().map(agent))
}

/// The account's agents, by creation.
pub(crate) async fn list<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    part: &Part,
) -> Result<Found<Agent>, Refused> {
    let rows =
        select!("WHERE a.account_id = $1 AND a.removed_at IS NULL AND a.id > $2 ORDER BY a.id LIMIT $3 OFFSET $4")
            .bind(account_id)
            .bind(part.after_id(""))
            .bind(part.limit())
            .bind(part.offset())
            .fetch_all(on)
            .await?;
    Ok(Found::new(rows.iter().map(agent).collect(), part, |agent| After::id(&agent.id)))
}

/// How many agents the account has.
pub(crate) async fn count<'e>(on: impl Executor<'e, Database = Any>, account_id: &str) -> Result<i64, Refused> {
    let row = sqlx::query("SELECT COUNT(*) AS total FROM agents WHERE account_id = $1 AND removed_at IS NULL")
        .bind(account_id)
        .fetch_one(on)
        .await?;
    Ok(row.get("total"))
}

/// How many agents of all accounts have each status, every status named: `of_agent` of `app::status` as SQL.
pub(crate) async fn by_status<'e>(
    on: impl Executor<'e, Database = Any>,
    now: Timestamp,
) -> Result<[(&'static str, i64); 4], Refused> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS total, \
         COUNT(CASE WHEN a.first_connected_at IS NULL THEN 1 END) AS pending, \
         COUNT(CASE WHEN a.first_connected_at IS NOT NULL AND a.goodbye_at IS NOT NULL THEN 1 END) AS stopped, \
         COUNT(CASE WHEN a.first_connected_at IS NOT NULL AND a.goodbye_at IS NULL AND l.expires_at > $1 THEN 1 END) \
         AS running FROM agents a LEFT JOIN leases l ON l.agent_id = a.id WHERE a.removed_at IS NULL",
    )
    .bind(now.0)
    .fetch_one(on)
    .await?;
    let [total, pending, stopped, running] =
        ["total", "pending", "stopped", "running"].map(|name| row.get::<i64, _>(name));
    Ok([
        ("pending", pending),
        ("running", running),
        ("stopped", stopped),
        ("unknown", total - pending - stopped - running),
    ])
}

/// Keeps other writers off it until this transaction ends. Whether it is there.
pub(crate) async fn lock<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    id: &str,
) -> Result<bool, Refused> {
    // An update that changes nothing: the one lock that both databases know.
    let locked = sqlx::query("UPDATE agents SET name = name WHERE account_id = $1 AND id = $2 AND removed_at IS NULL")
        .bind(account_id)
        .bind(id)
        .execute(on)
        .await?;
    Ok(locked.rows_affected() > 0)
}

/// Changes name and description.
pub(crate) async fn rename<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    name: &str,
    description: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE agents SET name = $2, description = $3 WHERE id = $1 AND removed_at IS NULL")
        .bind(id)
        .bind(name)
        .bind(stored(description))
        .execute(on)
        .await?;
    Ok(())
}

/// Changes where its process may call from.
pub(crate) async fn allow<'e>(on: impl Executor<'e, Database = Any>, id: &str, allowed: &str) -> Result<(), Refused> {
    sqlx::query("UPDATE agents SET allowed = $2 WHERE id = $1").bind(id).bind(allowed).execute(on).await?;
    Ok(())
}

/// Removes it: its name is free, its credentials are dead.
pub(crate) async fn remove(on: &mut sqlx::AnyConnection, id: &str, at: Timestamp) -> Result<(), Refused> {
    sqlx::query("UPDATE agents SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL")
        .bind(id)
        .bind(at.0)
        .execute(&mut *on)
        .await?;
    sqlx::query("UPDATE agent_credentials SET revoked_at = $2 WHERE agent_id = $1 AND revoked_at IS NULL")
        .bind(id)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// Notes that it connected.
pub(crate) async fn connected<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query(
        "UPDATE agents SET first_connected_at = COALESCE(first_connected_at, $2), goodbye_at = NULL, \
         goodbye_reason = NULL WHERE id = $1",
    )
    .bind(id)
    .bind(at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// Notes its goodbye.
pub(crate) async fn said_goodbye<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    reason: &str,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("UPDATE agents SET goodbye_at = $2, goodbye_reason = $3 WHERE id = $1")
        .bind(id)
        .bind(at.0)
        .bind(reason)
        .execute(on)
        .await?;
    Ok(())
}

/// What an agent says of itself.
pub(crate) struct SelfReport<'a> {
    pub(crate) version: &'a str,
    pub(crate) platform: &'a str,
    pub(crate) conditions: &'a str,
    pub(crate) clock_skew_ms: i64,
}

/// Keeps the newest.
pub(crate) async fn report<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    report: SelfReport<'_>,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO agent_reports (agent_id, version, platform, conditions, clock_skew_ms, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (agent_id) DO UPDATE SET version = excluded.version, \
         platform = excluded.platform, conditions = excluded.conditions, clock_skew_ms = excluded.clock_skew_ms, \
         updated_at = excluded.updated_at",
    )
    .bind(id)
    .bind(report.version)
    .bind(report.platform)
    .bind(report.conditions)
    .bind(report.clock_skew_ms)
    .bind(at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// What an agent says of itself with each sign of life.
pub(crate) async fn conditions<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    (conditions, clock_skew_ms): (&str, i64),
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("UPDATE agent_reports SET conditions = $2, clock_skew_ms = $3, updated_at = $4 WHERE agent_id = $1")
        .bind(id)
        .bind(conditions)
        .bind(clock_skew_ms)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}
