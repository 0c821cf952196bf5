//! `/agents`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Listed;
use crate::app::App;
use crate::app::agents::{NewAgent, last_seen};
use crate::app::status::{AgentStatus, conditions};
use crate::db::agents::Agent;
use crate::fault::Refused;
use crate::web::request::{ApiCaller, Body, Page};

/// An agent on the wire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentView {
    agent_id: String,
    name: String,
    description: String,
    deployment: String,
    cloud_provider: String,
    agent_type: String,
    agent_status: &'static str,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_details: Option<VersionDetails>,
    /// What is not as it should be: `kind`, `message`, `since`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Value>,
}

/// What runs there.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionDetails {
    agent_version: String,
}

/// Body of a POST.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AgentToCreate {
    name: String,
    description: Option<String>,
    deployment: String,
    cloud_provider: String,
    agent_type: String,
}

/// Body of a PATCH.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AgentToChange {
    name: Option<String>,
    description: Option<String>,
}

/// Parameters of a DELETE.
#[derive(Debug, Deserialize)]
pub(crate) struct Removal {
    #[serde(default)]
    force: bool,
}

fn view(app: &App, agent: Agent) -> AgentView {
    let status = app.agent_status(&agent);
    AgentView {
        agent_status: status.as_str(),
        connected: status == AgentStatus::Running,
        conditions: conditions(&agent, app.now()).iter().map(|condition| json!(condition)).collect(),
        last_seen_at: last_seen(&agent).map(|at| at.to_string()),
        version_details: agent.version.map(|agent_version| VersionDetails { agent_version }),
        agent_id: agent.id,
        name: agent.name,
        description: agent.description,
        deployment: agent.deployment,
        cloud_provider: agent.cloud_provider,
        agent_type: agent.agent_type,
    }
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    page: Page,
) -> Result<Json<Listed<AgentView>>, Refused> {
    let (agents, total) = app.agents(&caller, page.page, page.size).await?;
    let results = agents.into_iter().map(|agent| view(&app, agent)).collect();
    Ok(Json(Listed { results, page: page.page, size: page.size, total }))
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Body(sent): Body<AgentToCreate>,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let platform = (sent.cloud_provider.as_str(), sent.deployment.as_str(), sent.agent_type.as_str());
    let new = NewAgent::check(&sent.name, sent.description.as_deref().unwrap_or_default(), platform)?;
    let id = app.create_agent(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(json!({"agentId": id}))))
}

pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path(id): Path<String>,
) -> Result<Json<AgentView>, Refused> {
    let agent = app.agent(&caller, &id).await?;
    Ok(Json(view(&app, agent)))
}

pub(crate) async fn change(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path(id): Path<String>,
    Body(sent): Body<AgentToChange>,
) -> Result<StatusCode, Refused> {
    app.change_agent(&caller, &id, (sent.name, sent.description)).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path(id): Path<String>,
    Query(removal): Query<Removal>,
) -> Result<StatusCode, Refused> {
    app.remove_agent(&caller, &id, removal.force).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(crate) async fn credentials(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Refused> {
    let revealed = app.reveal_credentials(&caller, &id).await?;
    let body = json!({"clientId": revealed.client_id, "clientSecret": revealed.client_secret});
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)))
}
