//! Pipelines that someone is still filling in.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;

/// A draft.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) project_id: String,
    pub(crate) person_id: String,
    /// The pipeline so far, as the API would take it.
    pub(crate) body: String,
    /// Ids of commands that were asked of the agent.
    pub(crate) notes: String,
    pub(crate) updated_at: Timestamp,
}

fn draft(row: &AnyRow) -> Draft {
    Draft {
        id: row.get("id"),
        account_id: row.get("account_id"),
        project_id: row.get("project_id"),
        person_id: row.get("person_id"),
        body: row.get("body"),
        notes: row.get("notes"),
        updated_at: Timestamp(row.get("updated_at")),
    }
}

/// Keeps it as it is now.
pub(crate) async fn keep<'e>(on: impl Executor<'e, Database = Any>, draft: &Draft) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO drafts (id, account_id, project_id, person_id, body, notes, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET \
         project_id = excluded.project_id, body = excluded.body, notes = excluded.notes, updated_at = excluded.updated_at",
    )
    .bind(&draft.id)
    .bind(&draft.account_id)
    .bind(&draft.project_id)
    .bind(&draft.person_id)
    .bind(&draft.body)
    .bind(&draft.notes)
    .bind(draft.updated_at.0)
    .execute(on)
    .await?;
    Ok(())
}

const SELECT: &str = "SELECT id, account_id, project_id, person_id, body, notes, updated_at FROM drafts ";

/// The person's draft of that id.
pub(crate) async fn of_person<'e>(
    on: impl Executor<'e, Database = Any>,
    (account_id, person_id): (&str, &str),
    id: &str,
) -> Result<Option<Draft>, Refused> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}WHERE account_id = $1 AND person_id = $2 AND id = $3")))
        .bind(account_id)
        .bind(person_id)
        .bind(id)
        .fetch_optional(on)
        .await?;
    Ok(row.as_ref().map(draft))
}

/// The person's drafts, the newest first.
pub(crate) async fn list<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
    person_id: &str,
) -> Result<Vec<Draft>, Refused> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SELECT}WHERE account_id = $1 AND person_id = $2 ORDER BY updated_at DESC LIMIT 20"
    )))
    .bind(account_id)
    .bind(person_id)
    .fetch_all(on)
    .await?;
    Ok(rows.iter().map(draft).collect())
}

/// Throws it away.
pub(crate) async fn discard<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<(), Refused> {
    sqlx::query("DELETE FROM drafts WHERE id = $1").bind(id).execute(on).await?;
    Ok(())
}
