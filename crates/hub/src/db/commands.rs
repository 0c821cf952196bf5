//! Commands: what an agent is to do once, and how it ended.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::part::{After, Found, LAST, Part};
use crate::fault::Refused;

/// A command.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) agent_id: String,
    pub(crate) pipeline_id: Option<String>,
    pub(crate) kind: String,
    pub(crate) arguments: String,
    /// `queued`, `done`, `failed`; one that is queued past its time counts as expired.
    pub(crate) state: String,
    pub(crate) issued_by: String,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) result: Option<String>,
}

const SELECT: &str = "SELECT id, account_id, agent_id, pipeline_id, kind, arguments, state, issued_by, issued_at, \
     expires_at, finished_at, result FROM commands ";

fn command(row: &AnyRow) -> Command {
    Command {
        id: row.get("id"),
        account_id: row.get("account_id"),
        agent_id: row.get("agent_id"),
        pipeline_id: row.get("pipeline_id"),
        kind: row.get("kind"),
        arguments: row.get("arguments"),
        state: row.get("state"),
        issued_by: row.get("issued_by"),
        issued_at: Timestamp(row.get("issued_at")),
        expires_at: Timestamp(row.get("expires_at")),
        finished_at: row.get::<Option<i64>, _>("finished_at").map(Timestamp),
        result: row.get("result"),
    }
}

/// A new one.
pub(crate) async fn insert<'e>(on: impl Executor<'e, Database = Any>, command: &Command) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO commands (id, account_id, agent_id, pipeline_id, kind, arguments, state, issued_by, issued_at, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&command.id)
    .bind(&command.account_id)
    .bind(&command.agent_id)
    .bind(command.pipeline_id.as_deref())
    .bind(&command.kind)
    .bind(&command.arguments)
    .bind(&command.state)
    .bind(&command.issued_by)
    .bind(command.issued_at.0)
    .bind(command.expires_at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// The account's command of that id.
pub(crate) async fn of_account<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    id: &str,
) -> Result<Option<Command>, Refused> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}WHERE account_id = $1 AND id = $2")))
        .bind(account_id)
        .bind(id)
        .fetch_optional(on)
        .await?;
    Ok(row.as_ref().map(command))
}

/// What the agent is still to do.
pub(crate) async fn queued<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
    now: Timestamp,
) -> Result<Vec<Command>, Refused> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SELECT}WHERE agent_id = $1 AND state = 'queued' AND expires_at > $2 ORDER BY id"
    )))
    .bind(agent_id)
    .bind(now.0)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(command).collect())
}

/// Those of an agent or a pipeline, as `column` says, the newest first.
pub(crate) async fn list<'e>(
    on: impl Executor<'e, Database = Any>,
    (column, id): (&'static str, &str),
    part: &Part,
) -> Result<Found<Command>, Refused> {
    // Ids rise with time.
    let sql = format!("{SELECT}WHERE {column} = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).bind(part.after_id(LAST));
    let rows = query.bind(part.limit()).fetch_all(on).await?;
    Ok(Found::new(rows.iter().map(command).collect(), part, |command| After::id(&command.id)))
}

/// How it ended. A second word on the same command changes nothing.
pub(crate) async fn finish<'e>(
    on: impl Executor<'e, Database = Any>,
    (agent_id, id): (&str, &str),
    (done, result): (bool, &str),
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query(
        "UPDATE commands SET state = $3, result = $4, finished_at = $5 \
         WHERE agent_id = $1 AND id = $2 AND state = 'queued'",
    )
    .bind(agent_id)
    .bind(id)
    .bind(if done { "done" } else { "failed" })
    .bind(result)
    .bind(at.0)
    .execute(on)
    .await?;
    Ok(())
}
