//! `/commands/{id}`, and what an agent is asked to look at.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use millrace_protocol::wire;
use serde::Serialize;
use serde_json::{Value, json};

use super::pipelines::violations;
use super::{json as parsed, with};
use crate::app::App;
use crate::db::commands::Command;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Ids, Sent};

/// A command on the wire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommandView {
    command_id: String,
    agent_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pipeline_id: Option<String>,
    /// `check`, `discover`, `restart`, `cleanup`
    kind: String,
    /// `queued`, `done`, `failed`, `expired`
    state: String,
    issued_by: String,
    issued_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    finished_at: Option<String>,
    /// what it found; of one that failed, why
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
}

/// Where a command can be looked at.
pub(super) fn location(id: &str) -> String {
    format!("/dpc/v1/commands/{id}")
}

/// A command and its result.
#[utoipa::path(get, path = "/commands/{id}", operation_id = "readCommand", tag = "commands",
    responses((status = 200, description = "The command", body = CommandView)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<CommandView>, Refused> {
    let command: Command = app.command(&caller, &id).await?;
    let expired = command.state == "queued" && command.expires_at <= app.now();
    Ok(Json(CommandView {
        state: if expired { "expired".into() } else { command.state },
        command_id: command.id,
        agent_id: command.agent_id,
        pipeline_id: command.pipeline_id,
        kind: command.kind,
        issued_by: command.issued_by,
        issued_at: command.issued_at.to_string(),
        expires_at: command.expires_at.to_string(),
        finished_at: command.finished_at.map(|at| at.to_string()),
        result: command.result.as_deref().map(parsed).transpose()?,
    }))
}

/// Asks the agent about a source, a target, or both: `GET` the command for what it finds.
#[utoipa::path(post, path = "/agents/{id}/checks", operation_id = "checkPipeline", tag = "commands",
    request_body(content = ref("#/components/schemas/Check"), content_type = "application/json"),
    responses((status = 202, description = "The command is at `Location`", headers(("Location" = String)))))]
pub(crate) async fn check(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    sent: Sent,
) -> Result<impl IntoResponse, Refused> {
    let mut members = Members::of(sent.body)?;
    let spec = spec(&mut members)?;
    members.finish()?;
    let command = app.ask_agent(&caller, (&id, "check"), json!({"spec": spec}), sent.once.as_ref()).await?;
    Ok((StatusCode::ACCEPTED, with(header::LOCATION, &location(&command))?))
}

/// Asks the agent which tables the source has: `GET` the command for them.
#[utoipa::path(post, path = "/agents/{id}/discoveries", operation_id = "discoverTables", tag = "commands",
    request_body(content = ref("#/components/schemas/Discovery"), content_type = "application/json"),
    responses((status = 202, description = "The command is at `Location`", headers(("Location" = String)))))]
#[expect(clippy::indexing_slicing, reason = "an object of our own making takes any member")]
pub(crate) async fn discover(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    sent: Sent,
) -> Result<impl IntoResponse, Refused> {
    let mut members = Members::of(sent.body)?;
    let spec = spec(&mut members)?;
    if spec.as_ref().is_some_and(|spec| spec.get("streamingSource").is_none()) {
        members.wrong("spec.streamingSource", "is missing: tables are those of a source");
    }
    let mut arguments = json!({"spec": spec});
    if let Some(schema) = members.text("schema") {
        arguments["schema"] = schema.into();
    }
    if let Some(columns) = members.flag("columns") {
        arguments["columns"] = columns.into();
    }
    members.finish()?;
    let command = app.ask_agent(&caller, (&id, "discover"), arguments, sent.once.as_ref()).await?;
    Ok((StatusCode::ACCEPTED, with(header::LOCATION, &location(&command))?))
}

/// The part of a pipeline that is asked about.
fn spec(members: &mut Members) -> Result<Option<Value>, Refused> {
    let Some(spec) = members.take("spec") else {
        members.wrong("spec", "is missing");
        return Ok(None);
    };
    let checked = wire::question_body(spec).map(Value::Object);
    members.also(checked.map_err(|problems| Refused::Invalid(violations(&problems, "spec."))))
}
