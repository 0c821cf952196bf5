//! `/projects`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Listed;
use crate::app::App;
use crate::fault::Refused;
use crate::web::request::{ApiCaller, Page};

/// A project on the wire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Project {
    project_id: String,
    name: String,
}

/// The account's projects.
#[utoipa::path(get, path = "/projects", operation_id = "listProjects", tag = "projects",
    responses((status = 200, description = "A page of them", body = Listed<Project>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    page: Page,
) -> Result<Json<Listed<Project>>, Refused> {
    let (projects, total) = app.projects(&caller, (page.page, page.size)).await?;
    let view = |project: crate::db::accounts::Named| Project { project_id: project.id, name: project.name };
    Ok(Json(Listed::new(projects.into_iter().map(view).collect(), page, total)))
}
