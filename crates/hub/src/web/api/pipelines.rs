//! `/projects/{p}/streaming-pipelines`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use millrace_protocol::wire;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Listed;
use crate::app::App;
use crate::app::pipelines::{NewPipeline, PipelineCommand};
use crate::db::pipelines::Pipeline;
use crate::fault::{Refused, Violation};
use crate::web::request::{ApiCaller, Body, Page};

/// Body of a command.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandToDo {
    command: String,
}

/// A pipeline as it was sent, with its id.
fn view(pipeline: &Pipeline) -> Result<Value, Refused> {
    let mut body: Map<String, Value> =
        serde_json::from_str(&pipeline.body).map_err(|error| Refused::Failed(Box::new(error)))?;
    body.insert("streamingPipelineId".into(), pipeline.id.clone().into());
    Ok(Value::Object(body))
}

pub(crate) fn checked(sent: Value) -> Result<NewPipeline, Refused> {
    let violation = |problem: &millrace_protocol::Problem| Violation {
        field: problem.path.clone(),
        message: if problem.cure.is_empty() {
            problem.message.clone()
        } else {
            format!("{}; {}", problem.message, problem.cure)
        },
    };
    let body =
        wire::pipeline_body(sent).map_err(|problems| Refused::Invalid(problems.0.iter().map(violation).collect()))?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(NewPipeline { name: text("name"), agent_id: text("agentId"), body })
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path(project): Path<String>,
    page: Page,
) -> Result<Json<Listed<Value>>, Refused> {
    let (pipelines, total) = app.pipelines(&caller, &project, (page.page, page.size)).await?;
    let results = pipelines.iter().map(view).collect::<Result<_, _>>()?;
    Ok(Json(Listed { results, page: page.page, size: page.size, total }))
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path(project): Path<String>,
    Body(sent): Body<Value>,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let pipeline = app.create_pipeline(&caller, &project, checked(sent)?).await?;
    Ok((StatusCode::CREATED, Json(view(&pipeline)?)))
}

pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path((project, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refused> {
    Ok(Json(view(&app.pipeline(&caller, &project, &id).await?)?))
}

pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path((project, id)): Path<(String, String)>,
    Body(sent): Body<Value>,
) -> Result<Json<Value>, Refused> {
    let pipeline = app.replace_pipeline(&caller, (&project, &id), checked(sent)?).await?;
    Ok(Json(view(&pipeline)?))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path((project, id)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    app.delete_pipeline(&caller, &project, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn status(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path((project, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refused> {
    let pipeline = app.pipeline(&caller, &project, &id).await?;
    let status = app.pipeline_status(&pipeline).await?;
    let mut body = json!({"status": status.word});
    if let Some(reason) = &status.reason {
        body["reason"] = json!(reason);
    }
    if let Some((report, at)) = &status.report {
        body["report"] = json!(report);
        body["reportedAt"] = at.to_string().into();
    }
    Ok(Json(body))
}

pub(crate) async fn command(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Path((project, id)): Path<(String, String)>,
    Body(sent): Body<CommandToDo>,
) -> Result<StatusCode, Refused> {
    let command = match sent.command.to_ascii_uppercase().as_str() {
        "START" => PipelineCommand::Start,
        "STOP" => PipelineCommand::Stop,
        _ => return Err(Refused::invalid("command", "must be `START` or `STOP`")),
    };
    app.command_pipeline(&caller, (&project, &id), command).await?;
    Ok(StatusCode::ACCEPTED)
}
