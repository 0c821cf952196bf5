//! Pipelines, their revisions, and what their agents last reported of them.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use super::part::{After, Found, Part};
use super::text::{given, stored};
use crate::fault::Refused;

/// A pipeline with its newest revision.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) project_id: String,
    pub(crate) name: String,
    pub(crate) agent_id: String,
    /// `running` or `stopped`.
    pub(crate) wanted: String,
    /// Rises with each START and STOP.
    pub(crate) wish: i64,
    /// Default slot and publication are named after it.
    pub(crate) first_name: String,
    pub(crate) revision: i64,
    pub(crate) epoch: i64,
    /// Session that was given the pipeline under that epoch.
    pub(crate) given_to: Option<String>,
    /// Agent that has not yet said that it runs no more.
    pub(crate) holder: Option<String>,
    /// The revision that moved the target to another root, until a report has shown a commit there.
    pub(crate) new_lake: Option<i64>,
    pub(crate) created_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
    /// As it was sent, without what was `null`.
    pub(crate) body: String,
    /// The newest report, and when it came.
    pub(crate) report: Option<StoredReport>,
}

/// A report, and who sent it when.
#[derive(Clone, Debug)]
pub(crate) struct StoredReport {
    pub(crate) agent_id: String,
    pub(crate) session_id: String,
    pub(crate) report: String,
    pub(crate) updated_at: Timestamp,
}

const SELECT: &str = "SELECT p.id, p.account_id, p.project_id, p.name, p.agent_id, p.wanted, p.wish, p.first_name, p.revision, \
     p.epoch, p.given_to, p.holder, p.new_lake, p.created_at, p.deleted_at, v.body, r.agent_id AS report_agent, \
     r.session_id AS report_session, r.report, r.updated_at \
     FROM pipelines p JOIN pipeline_revisions v ON v.pipeline_id = p.id AND v.revision = p.revision \
     LEFT JOIN pipeline_reports r ON r.pipeline_id = p.id ";

macro_rules! select {
    ($rest:literal) => {
        sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}{}", $rest)))
    };
}

fn pipeline(row: &AnyRow) -> Pipeline {
    Pipeline {
        id: row.get("id"),
        account_id: row.get("account_id"),
        project_id: row.get("project_id"),
        name: given(row.get("name")),
        agent_id: row.get("agent_id"),
        wanted: row.get("wanted"),
        wish: row.get("wish"),
        first_name: given(row.get("first_name")),
        revision: row.get("revision"),
        epoch: row.get("epoch"),
        given_to: row.get("given_to"),
        holder: row.get("holder"),
        new_lake: row.get("new_lake"),
        created_at: Timestamp(row.get("created_at")),
        deleted_at: row.get::<Option<i64>, _>("deleted_at").map(Timestamp),
        body: row.get("body"),
        report: row.get::<Option<String>, _>("report").map(|report| StoredReport {
            agent_id: row.get("report_agent"),
            session_id: row.get("report_session"),
            report,
            updated_at: Timestamp(row.get("updated_at")),
        }),
    }
}

/// A new pipeline with its first revision.
pub(crate) async fn insert(on: &mut AnyConnection, pipeline: &Pipeline, author: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO pipelines (id, account_id, project_id, name, agent_id, wanted, wish, first_name, revision, \
         epoch, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&pipeline.id)
    .bind(&pipeline.account_id)
    .bind(&pipeline.project_id)
    .bind(stored(&pipeline.name))
    .bind(&pipeline.agent_id)
    .bind(&pipeline.wanted)
    .bind(pipeline.wish)
    .bind(stored(&pipeline.first_name))
    .bind(pipeline.revision)
    .bind(pipeline.epoch)
    .bind(pipeline.created_at.0)
    .execute(&mut *on)
    .await?;
    insert_revision(on, pipeline, author, pipeline.created_at).await
}

async fn insert_revision(
    on: &mut AnyConnection,
    pipeline: &Pipeline,
    author: &str,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO pipeline_revisions (pipeline_id, revision, body, author, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&pipeline.id)
    .bind(pipeline.revision)
    .bind(&pipeline.body)
    .bind(author)
    .bind(at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// A new revision, with what stands outside the body: name and agent.
pub(crate) async fn revise(
    on: &mut AnyConnection,
    pipeline: &Pipeline,
    author: &str,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE pipelines SET name = $2, agent_id = $3, revision = $4, new_lake = $5 WHERE id = $1")
        .bind(&pipeline.id)
        .bind(stored(&pipeline.name))
        .bind(&pipeline.agent_id)
        .bind(pipeline.revision)
        .bind(pipeline.new_lake)
        .execute(&mut *on)
        .await?;
    insert_revision(on, pipeline, author, at).await
}

/// The project's pipeline of that id, unless it is deleted.
pub(crate) async fn of_project<'e>(
    on: impl Executor<'e, Database = Any>,
    project_id: &str,
    id: &str,
) -> Result<Option<Pipeline>, Refused> {
    let row = select!("WHERE p.project_id = $1 AND p.id = $2 AND p.deleted_at IS NULL")
        .bind(project_id)
        .bind(id)
        .fetch_optional(on)
        .await?;
    Ok(row.as_ref().map(pipeline))
}

/// The pipeline that names this agent, unless it is deleted.
pub(crate) async fn of_agent<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
) -> Result<Option<Pipeline>, Refused> {
    let row = select!("WHERE p.agent_id = $1 AND p.deleted_at IS NULL").bind(agent_id).fetch_optional(on).await?;
    Ok(row.as_ref().map(pipeline))
}

/// Pipelines that this agent may still run: its own, moved or deleted ones.
pub(crate) async fn held_by<'e>(
    on: impl Executor<'e, Database = Any>,
    agent_id: &str,
) -> Result<Vec<Pipeline>, Refused> {
    let rows = select!("WHERE p.holder = $1 ORDER BY p.id").bind(agent_id).fetch_all(on).await?;
    Ok(rows.iter().map(pipeline).collect())
}

/// The project's pipelines, by creation.
pub(crate) async fn list<'e>(
    on: impl Executor<'e, Database = Any>,
    project_id: &str,
    part: &Part,
) -> Result<Found<Pipeline>, Refused> {
    let rows =
        select!("WHERE p.project_id = $1 AND p.deleted_at IS NULL AND p.id > $2 ORDER BY p.id LIMIT $3 OFFSET $4")
            .bind(project_id)
            .bind(part.after_id(""))
            .bind(part.limit())
            .bind(part.offset())
            .fetch_all(on)
            .await?;
    Ok(Found::new(rows.iter().map(pipeline).collect(), part, |pipeline| After::id(&pipeline.id)))
}

/// How many pipelines the project has.
pub(crate) async fn count<'e>(on: impl Executor<'e, Database = Any>, project_id: &str) -> Result<i64, Refused> {
    let row = sqlx::query("SELECT COUNT(*) AS total FROM pipelines WHERE project_id = $1 AND deleted_at IS NULL")
        .bind(project_id)
        .fetch_one(on)
        .await?;
    Ok(row.get("total"))
}

/// What the user wants of it.
pub(crate) async fn want<'e>(on: impl Executor<'e, Database = Any>, id: &str, wanted: &str) -> Result<(), Refused> {
    sqlx::query("UPDATE pipelines SET wanted = $2, wish = wish + 1 WHERE id = $1")
        .bind(id)
        .bind(wanted)
        .execute(on)
        .await?;
    Ok(())
}

/// Keeps other writers off it until this transaction ends. Whether it is there.
pub(crate) async fn lock<'e>(
    on: impl Executor<'e, Database = Any>,
    project_id: &str,
    id: &str,
) -> Result<bool, Refused> {
    // An update that changes nothing: the one lock that both databases know.
    let locked =
        sqlx::query("UPDATE pipelines SET wish = wish WHERE project_id = $1 AND id = $2 AND deleted_at IS NULL")
            .bind(project_id)
            .bind(id)
            .execute(on)
            .await?;
    Ok(locked.rows_affected() > 0)
}

/// Deletes it; its name and its agent are free.
pub(crate) async fn delete<'e>(on: impl Executor<'e, Database = Any>, id: &str, at: Timestamp) -> Result<(), Refused> {
    sqlx::query("UPDATE pipelines SET deleted_at = $2, wanted = 'stopped', wish = wish + 1 WHERE id = $1")
        .bind(id)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// Gives it to a session under an epoch.
pub(crate) async fn give<'e>(
    on: impl Executor<'e, Database = Any>,
    pipeline: &Pipeline,
    session_id: &str,
    epoch: i64,
) -> Result<(), Refused> {
    sqlx::query("UPDATE pipelines SET epoch = $2, given_to = $3, holder = $4 WHERE id = $1")
        .bind(&pipeline.id)
        .bind(epoch)
        .bind(session_id)
        .bind(&pipeline.agent_id)
        .execute(on)
        .await?;
    Ok(())
}

/// A report has shown a commit at the root of a revision that moved the target there.
pub(crate) async fn lake_begun<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    revision: i64,
) -> Result<(), Refused> {
    sqlx::query("UPDATE pipelines SET new_lake = NULL WHERE id = $1 AND new_lake <= $2")
        .bind(id)
        .bind(revision)
        .execute(on)
        .await?;
    Ok(())
}

/// Raises the epoch: a chain has shown a higher one.
pub(crate) async fn raise<'e>(on: impl Executor<'e, Database = Any>, id: &str, epoch: i64) -> Result<(), Refused> {
    sqlx::query("UPDATE pipelines SET epoch = $2 WHERE id = $1 AND epoch < $2")
        .bind(id)
        .bind(epoch)
        .execute(on)
        .await?;
    Ok(())
}

/// Any pipeline of the account, also a deleted one.
pub(crate) async fn by_id<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    id: &str,
) -> Result<Option<Pipeline>, Refused> {
    let row = select!("WHERE p.account_id = $1 AND p.id = $2").bind(account_id).bind(id).fetch_optional(on).await?;
    Ok(row.as_ref().map(pipeline))
}

/// Whether it is or was this agent's: now, by what it still holds, or in one of its revisions.
pub(crate) async fn was_of<'e>(
    on: impl Executor<'e, Database = Any>,
    (account_id, agent_id): (&str, &str),
    id: &str,
) -> Result<bool, Refused> {
    let found = sqlx::query(
        "SELECT 1 AS found FROM pipelines p WHERE p.id = $1 AND p.account_id = $2 AND (p.agent_id = $3 OR \
         p.holder = $3 OR EXISTS (SELECT 1 FROM pipeline_revisions v WHERE v.pipeline_id = p.id AND v.body LIKE $4))",
    )
    .bind(id)
    .bind(account_id)
    .bind(agent_id)
    // As it stands in a body: a text in there would have its quotes escaped.
    .bind(format!("%\"agentId\":\"{agent_id}\"%"))
    .fetch_optional(on)
    .await?;
    Ok(found.is_some())
}

/// The agent runs it no more.
pub(crate) async fn let_go<'e>(on: impl Executor<'e, Database = Any>, id: &str, agent_id: &str) -> Result<(), Refused> {
    sqlx::query("UPDATE pipelines SET holder = NULL, given_to = NULL WHERE id = $1 AND holder = $2")
        .bind(id)
        .bind(agent_id)
        .execute(on)
        .await?;
    Ok(())
}

/// Keeps the newest report.
pub(crate) async fn report<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    report: &StoredReport,
) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO pipeline_reports (pipeline_id, agent_id, session_id, report, updated_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (pipeline_id) DO UPDATE SET agent_id = excluded.agent_id, \
         session_id = excluded.session_id, report = excluded.report, updated_at = excluded.updated_at",
    )
    .bind(id)
    .bind(&report.agent_id)
    .bind(&report.session_id)
    .bind(&report.report)
    .bind(report.updated_at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// One of its revisions.
pub(crate) struct Revision {
    pub(crate) revision: i64,
    pub(crate) body: String,
    pub(crate) author: String,
    pub(crate) created_at: Timestamp,
}

fn revision_of(row: &AnyRow) -> Revision {
    Revision {
        revision: row.get("revision"),
        body: row.get("body"),
        author: row.get("author"),
        created_at: Timestamp(row.get("created_at")),
    }
}

/// One of its revisions.
pub(crate) async fn revision<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    revision: i64,
) -> Result<Option<Revision>, Refused> {
    let row = sqlx::query(
        "SELECT revision, body, author, created_at FROM pipeline_revisions WHERE pipeline_id = $1 AND revision = $2",
    )
    .bind(id)
    .bind(revision)
    .fetch_optional(on)
    .await?;
    Ok(row.as_ref().map(revision_of))
}

/// Its revisions, the newest first, and how many there are.
pub(crate) async fn revisions(
    pool: &sqlx::AnyPool,
    id: &str,
    (size, offset): (i64, i64),
) -> Result<(Vec<Revision>, i64), Refused> {
    let rows = sqlx::query(
        "SELECT revision, body, author, created_at FROM pipeline_revisions WHERE pipeline_id = $1 \
         ORDER BY revision DESC LIMIT $2 OFFSET $3",
    )
    .bind(id)
    .bind(size)
    .bind(offset)
    .fetch_all(pool)
    .await?;
    let total = sqlx::query("SELECT COUNT(*) AS total FROM pipeline_revisions WHERE pipeline_id = $1")
        .bind(id)
        .fetch_one(pool)
        .await?;
    Ok((rows.iter().map(revision_of).collect(), total.get("total")))
}

/// Keeps newer figures of the session that reported last.
pub(crate) async fn newer_figures<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    (session_id, report): (&str, &str),
    at: Timestamp,
) -> Result<(), Refused> {
    sqlx::query("UPDATE pipeline_reports SET report = $3, updated_at = $4 WHERE pipeline_id = $1 AND session_id = $2")
        .bind(id)
        .bind(session_id)
        .bind(report)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}
