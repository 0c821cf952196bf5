//! What has become of a pipeline: its events and its revisions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::{Listed, json, part};
use crate::app::App;
use crate::db::events::Stored;
use crate::db::pipelines::Revision;
use crate::fault::Refused;
use crate::web::request::{ApiCaller, Ids, Page, Slice};

/// Something that happened.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventView {
    event_id: String,
    agent_id: String,
    at: String,
    /// `info`, `warning`, `error`
    severity: String,
    code: String,
    message: String,
    /// what to do; mostly empty
    cure: String,
    fields: Value,
}

/// A pipeline as it once was.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevisionView {
    revision: i64,
    author: String,
    created_at: String,
    /// as it was sent
    #[schema(value_type = Object)]
    pipeline: Value,
}

/// What the pipeline's agents have told, the newest first.
#[utoipa::path(get, path = "/projects/{project}/streaming-pipelines/{id}/events", operation_id = "listEvents",
    tag = "pipelines", responses((status = 200, description = "A page of them", body = Listed<EventView>)))]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
    slice: Slice,
) -> Result<(HeaderMap, Json<Listed<EventView>>), Refused> {
    let pipeline = app.pipeline(&caller, &project, &id).await?;
    let found = app.pipeline_events(&pipeline, &slice.part).await?;
    let total = app.count_events(&pipeline).await?;
    let view = |event: Stored| {
        Ok(EventView {
            fields: json(&event.fields)?,
            event_id: event.id,
            agent_id: event.agent_id,
            at: event.at.to_string(),
            severity: event.severity,
            code: event.code,
            message: event.message,
            cure: event.cure,
        })
    };
    let results = found.rows.into_iter().map(view).collect::<Result<_, Refused>>()?;
    part(&slice, (results, total), found.next.as_ref())
}

/// The pipeline's revisions, the newest first.
#[utoipa::path(get, path = "/projects/{project}/streaming-pipelines/{id}/revisions", operation_id = "listRevisions",
    tag = "pipelines", responses((status = 200, description = "A page of them", body = Listed<RevisionView>)))]
pub(crate) async fn revisions(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
    page: Page,
) -> Result<Json<Listed<RevisionView>>, Refused> {
    let pipeline = app.pipeline(&caller, &project, &id).await?;
    let (revisions, total) = app.pipeline_revisions(&pipeline, (page.page, page.size)).await?;
    let view = |revision: Revision| {
        Ok(RevisionView {
            pipeline: json(&revision.body)?,
            revision: revision.revision,
            author: revision.author,
            created_at: revision.created_at.to_string(),
        })
    };
    Ok(Json(Listed::new(revisions.into_iter().map(view).collect::<Result<_, Refused>>()?, page, total)))
}
