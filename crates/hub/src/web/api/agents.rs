//! `/agents`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Listed, part, with};
use crate::app::App;
use crate::app::agents::{NewAgent, last_seen};
use crate::app::status::{AgentStatus, conditions};
use crate::db::agents::Agent;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Asked, Ids, IfMatch, Sent, Slice};

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
    #[schema(nullable = false)]
    last_seen_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    version_details: Option<VersionDetails>,
    /// When the secret that it uses ends by itself; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credentials_expire_at: Option<String>,
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

/// Answer to a POST.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedAgent {
    agent_id: String,
}

fn view(app: &App, agent: Agent) -> AgentView {
    let status = app.agent_status(&agent);
    AgentView {
        agent_status: status.as_str(),
        connected: status == AgentStatus::Running,
        conditions: conditions(&agent, app.now()).iter().map(|condition| json!(condition)).collect(),
        credentials_expire_at: agent.credentials_end.map(|at| at.to_string()),
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

/// Changes with everything that a person can change.
fn tag(agent: &Agent) -> String {
    let mut hash = Sha256::new();
    hash.update(agent.name.as_bytes());
    hash.update([0]);
    hash.update(agent.description.as_bytes());
    let digits: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"rev-{digits}\"")
}

/// The account's agents, by creation.
#[utoipa::path(get, path = "/agents", operation_id = "listAgents", tag = "agents",
    responses((status = 200, description = "A page of them", body = Listed<AgentView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    slice: Slice,
    asked: Asked,
) -> Result<(HeaderMap, Json<Listed<AgentView>>), Refused> {
    let filter =
        asked.filter(&["PENDING", "RUNNING", "STOPPED", "UNKNOWN"], &["created", "name", "status", "lastSeen"])?;
    let (found, total) = app.agents_like(&caller, &filter, &slice.part).await?;
    let results = found.rows.into_iter().map(|agent| view(&app, agent)).collect();
    part(&slice, (results, total), found.next.as_ref())
}

/// Creates an agent. It is `PENDING` until its process first connects.
#[utoipa::path(post, path = "/agents", operation_id = "createAgent", tag = "agents",
    request_body(content = ref("#/components/schemas/NewAgent"), content_type = "application/json"),
    responses((status = 201, description = "Its id", body = CreatedAgent)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    sent: Sent,
) -> Result<(StatusCode, Json<CreatedAgent>), Refused> {
    let mut members = Members::of(sent.body)?;
    let name = members.required_text("name");
    let description = members.text("description").unwrap_or_default();
    let deployment = members.required_text("deployment");
    let cloud_provider = members.required_text("cloudProvider");
    let agent_type = members.required_text("agentType");
    let new = members.also(NewAgent::check(&name, &description, (&cloud_provider, &deployment, &agent_type)))?;
    members.finish()?;
    let new = new.ok_or_else(|| Refused::failed("an agent was neither refused nor accepted"))?;
    let agent_id = app.create_agent(&caller, new, sent.once.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(CreatedAgent { agent_id })))
}

/// An agent and its status.
#[utoipa::path(get, path = "/agents/{id}", operation_id = "readAgent", tag = "agents",
    responses((status = 200, description = "The agent", body = AgentView)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<impl IntoResponse, Refused> {
    let agent = app.agent(&caller, &id).await?;
    Ok((with(header::ETAG, &tag(&agent))?, Json(view(&app, agent))))
}

/// Changes name and description: absent is unchanged, `""` clears a description.
#[utoipa::path(patch, path = "/agents/{id}", operation_id = "changeAgent", tag = "agents",
    request_body(content = ref("#/components/schemas/AgentChange"), content_type = "application/json"),
    responses((status = 202, description = "It is changed")))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    wanted: IfMatch,
    sent: Sent,
) -> Result<StatusCode, Refused> {
    let mut members = Members::of(sent.body)?;
    let change = (members.text("name"), members.text("description"));
    members.finish()?;
    app.change_agent(&caller, &id, change, |agent| wanted.is_stale(&tag(agent))).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Removes an agent. Refused while its pipeline is meant to run, unless forced.
#[utoipa::path(delete, path = "/agents/{id}", operation_id = "removeAgent", tag = "agents",
    params(("force" = inline(Option<bool>), Query, description = "also while its pipeline is meant to run")),
    responses((status = 202, description = "It is removed")))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    wanted: IfMatch,
    asked: Asked,
) -> Result<StatusCode, Refused> {
    let force = asked.flag("force")?;
    app.remove_agent(&caller, &id, force, |agent| wanted.is_stale(&tag(agent))).await?;
    Ok(StatusCode::ACCEPTED)
}
