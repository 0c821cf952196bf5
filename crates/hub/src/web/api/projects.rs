//! `/projects`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::Listed;
use crate::app::App;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Ids, Page, Sent};

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

/// A new project. For owners.
#[utoipa::path(post, path = "/projects", operation_id = "createProject", tag = "projects",
    request_body(content = ref("#/components/schemas/NewProject"), content_type = "application/json"),
    responses((status = 201, description = "The project", body = Project)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    sent: Sent,
) -> Result<(StatusCode, Json<Project>), Refused> {
    let once = sent.once.clone();
    let name = name(sent)?;
    let project_id = app.create_project(&caller, &name, once.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(Project { project_id, name })))
}

/// Another name for a project. For owners.
#[utoipa::path(patch, path = "/projects/{id}", operation_id = "renameProject", tag = "projects",
    request_body(content = ref("#/components/schemas/NewProject"), content_type = "application/json"),
    responses((status = 200, description = "The project", body = Project)))]
pub(crate) async fn rename(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    sent: Sent,
) -> Result<Json<Project>, Refused> {
    let name = name(sent)?;
    app.rename_project(&caller, &id, &name).await?;
    Ok(Json(Project { project_id: id, name }))
}

fn name(sent: Sent) -> Result<String, Refused> {
    let mut members = Members::of(sent.body)?;
    let name = members.required_text("name");
    members.finish()?;
    Ok(name)
}
