//! The processes that have run as an agent: who had the lease, who asked in vain, and how each ended.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use crate::fault::Refused;

/// So many are kept of each agent.
const KEPT: i64 = 50;

/// A process.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    /// Made anew by each process.
    pub(crate) id: String,
    pub(crate) version: String,
    /// JSON: os, arch, host.
    pub(crate) platform: String,
    pub(crate) first_seen_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
    /// When it last asked for the lease in vain.
    pub(crate) refused_at: Option<Timestamp>,
    /// When it said goodbye, and why.
    pub(crate) goodbye: Option<(Timestamp, String)>,
}

fn instance(row: &AnyRow) -> Instance {
    let time = |name| row.get::<Option<i64>, _>(name).map(Timestamp);
    Instance {
        id: row.get("instance"),
        version: row.get("version"),
        platform: row.get("platform"),
        first_seen_at: Timestamp(row.get("first_seen_at")),
        last_seen_at: Timestamp(row.get("last_seen_at")),
        refused_at: time("refused_at"),
        goodbye: time("goodbye_at").zip(row.get("goodbye_reason")),
    }
}

/// A process has said hello. `refused`: the lease is another one's.
pub(crate) async fn said_hello(
    on: &mut AnyConnection,
    agent_id: &str,
    (instance, version, platform): (&str, &str, &str),
    (at, refused): (Timestamp, bool),
) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO agent_instances (agent_id, instance, version, platform, first_seen_at, last_seen_at, refused_at) \
         VALUES ($1, $2, $3, $4, $5, $5, $6) ON CONFLICT (agent_id, instance) DO UPDATE SET \
         version = excluded.version, last_seen_at = excluded.last_seen_at, refused_at = excluded.refused_at, \
         goodbye_at = NULL, goodbye_reason = NULL",
    )
    .bind(agent_id)
    .bind(instance)
    .bind(version)
    .bind(platform)
    .bind(at.0)
    .bind(refused.then_some(at.0))
    .execute(&mut *on)
    .await?;
    sqlx::query(
        "DELETE FROM agent_instances WHERE agent_id = $1 AND instance NOT IN (SELECT instance FROM agent_instances \
         WHERE agent_id = $1 ORDER BY first_seen_at DESC LIMIT $2)",
    )
    .bind(agent_id)
    .bind(KEPT)
    .execute(on)
    .await?;
    Ok(())
}

/// It was heard last then.
pub(crate) async fn was_heard<'e>(
    on: impl Executor<'e, Database = Any>,
    (agent_id, instance): (&str, &str),
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("UPDATE agent_instances SET last_seen_at = $3 WHERE agent_id = $1 AND instance = $2")
        .bind(agent_id)
        .bind(instance)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// It said goodbye.
pub(crate) async fn said_goodbye<'e>(
    on: impl Executor<'e, Database = Any>,
    (agent_id, instance): (&str, &str),
    reason: &str,
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query(
        "UPDATE agent_instances SET last_seen_at = $4, goodbye_at = $4, goodbye_reason = $3 \
         WHERE agent_id = $1 AND instance = $2",
    )
    .bind(agent_id)
    .bind(instance)
    .bind(reason)
    .bind(at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// The agent's processes, the newest first.
pub(crate) async fn list<'e>(on: impl Executor<'e, Database = Any>, agent_id: &str) -> Result<Vec<Instance>, Refused> {
    let rows = sqlx::query(
        "SELECT instance, version, platform, first_seen_at, last_seen_at, refused_at, goodbye_at, goodbye_reason \
         FROM agent_instances WHERE agent_id = $1 ORDER BY first_seen_at DESC, instance DESC",
    )
    .bind(agent_id)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(instance).collect())
}
