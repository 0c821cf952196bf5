//! `/projects/{p}/streaming-pipelines`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_protocol::{Problem, Problems, wire};
use serde_json::{Map, Value, json};

use super::commands::location;
use super::{Listed, part, with};
use crate::app::App;
use crate::app::pipelines::{NewPipeline, PipelineCommand};
use crate::db::pipelines::Pipeline;
use crate::fault::{Refused, Violation};
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Asked, Ids, IfMatch, Sent, Slice};

/// A pipeline as it was sent, with its id.
fn view(pipeline: &Pipeline) -> Result<Value, Refused> {
    let mut body: Map<String, Value> =
        serde_json::from_str(&pipeline.body).map_err(|error| Refused::Failed(Box::new(error)))?;
    body.insert("streamingPipelineId".into(), pipeline.id.clone().into());
    Ok(Value::Object(body))
}

fn tag(pipeline: &Pipeline) -> String {
    format!("\"rev-{}\"", pipeline.revision)
}

fn answer(pipeline: &Pipeline) -> Result<impl IntoResponse + use<>, Refused> {
    Ok((with(header::ETAG, &tag(pipeline))?, Json(view(pipeline)?)))
}

/// What the contract's rules have found, below `prefix`.
pub(super) fn violations(problems: &Problems, prefix: &str) -> Vec<Violation> {
    let violation = |problem: &Problem| Violation {
        field: format!("{prefix}{}", problem.path),
        message: format!("{}; {}", problem.message, problem.cure),
    };
    problems.0.iter().map(violation).collect()
}

pub(crate) fn checked(sent: Value, id: Option<&str>) -> Result<NewPipeline, Refused> {
    let body = wire::pipeline_body(sent, id).map_err(|problems| Refused::Invalid(violations(&problems, "")))?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(NewPipeline { name: text("name"), agent_id: text("agentId"), body })
}

/// The project's pipelines, by creation.
#[utoipa::path(get, path = "/projects/{project}/streaming-pipelines", operation_id = "listPipelines",
    tag = "pipelines", responses((status = 200, description = "A page of them", body = ref("#/components/schemas/PipelineList"), content_type = "application/json")))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(project): Ids<String>,
    slice: Slice,
    asked: Asked,
) -> Result<(HeaderMap, Json<Listed<Value>>), Refused> {
    let statuses = ["STARTING", "SNAPSHOTTING", "STREAMING", "STOPPING", "NOT_RUNNING", "UNKNOWN"];
    let filter = asked.filter(&statuses, &["created", "name", "status"])?;
    let (found, total) = app.pipelines_like(&caller, &project, &filter, &slice.part).await?;
    let results = found.rows.iter().map(view).collect::<Result<_, _>>()?;
    part(&slice, (results, total), found.next.as_ref())
}

/// Creates a pipeline. It does not run before a `START`.
#[utoipa::path(post, path = "/projects/{project}/streaming-pipelines", operation_id = "createPipeline",
    tag = "pipelines",
    request_body(content = ref("#/components/schemas/NewPipeline"), content_type = "application/json"),
    responses((status = 201, description = "The pipeline", body = ref("#/components/schemas/Pipeline"),
        content_type = "application/json")))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(project): Ids<String>,
    sent: Sent,
) -> Result<impl IntoResponse, Refused> {
    let pipeline = app.create_pipeline(&caller, &project, checked(sent.body, None)?, sent.once.as_ref()).await?;
    Ok((StatusCode::CREATED, answer(&pipeline)?))
}

/// A pipeline.
#[utoipa::path(get, path = "/projects/{project}/streaming-pipelines/{id}", operation_id = "readPipeline",
    tag = "pipelines",
    responses((status = 200, description = "The pipeline", body = ref("#/components/schemas/Pipeline"),
        content_type = "application/json")))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
) -> Result<impl IntoResponse, Refused> {
    answer(&app.pipeline(&caller, &project, &id).await?)
}

/// Replaces everything but the id. A running pipeline is restarted with it.
#[utoipa::path(put, path = "/projects/{project}/streaming-pipelines/{id}", operation_id = "replacePipeline",
    tag = "pipelines",
    request_body(content = ref("#/components/schemas/NewPipeline"), content_type = "application/json"),
    responses((status = 200, description = "The pipeline", body = ref("#/components/schemas/Pipeline"),
        content_type = "application/json")))]
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
    wanted: IfMatch,
    sent: Sent,
) -> Result<impl IntoResponse, Refused> {
    let new = checked(sent.body, Some(&id))?;
    let stale = |pipeline: &Pipeline| wanted.is_stale(&tag(pipeline));
    answer(&app.replace_pipeline(&caller, (&project, &id), new, stale).await?)
}

/// Deletes a pipeline; one that runs is stopped first. The lake stays as it is.
#[utoipa::path(delete, path = "/projects/{project}/streaming-pipelines/{id}", operation_id = "deletePipeline",
    tag = "pipelines",
    params(("cleanup" = inline(Option<bool>), Query, description = "also drop slot and publication in the source")),
    responses((status = 204, description = "It is deleted; the command that cleans up is at `Location`",
        headers(("Location" = String)))))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
    wanted: IfMatch,
    asked: Asked,
) -> Result<Response, Refused> {
    let cleanup = asked.flag("cleanup")?;
    let stale = |pipeline: &Pipeline| wanted.is_stale(&tag(pipeline));
    Ok(match app.delete_pipeline(&caller, (&project, &id), cleanup, stale).await? {
        Some(command) => (StatusCode::NO_CONTENT, with(header::LOCATION, &location(&command))?).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Makes a new revision with the body of an older one. A running pipeline is restarted with it.
#[utoipa::path(post, path = "/projects/{project}/streaming-pipelines/{id}/rollback", operation_id = "rollBackPipeline",
    tag = "pipelines",
    request_body(content = ref("#/components/schemas/Rollback"), content_type = "application/json"),
    responses((status = 200, description = "The pipeline", body = ref("#/components/schemas/Pipeline"),
        content_type = "application/json")))]
pub(crate) async fn roll_back(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
    wanted: IfMatch,
    sent: Sent,
) -> Result<impl IntoResponse, Refused> {
    let mut members = Members::of(sent.body)?;
    let revision = members.required_number("revision");
    members.finish()?;
    let stale = |pipeline: &Pipeline| wanted.is_stale(&tag(pipeline));
    answer(&app.roll_back_pipeline(&caller, (&project, &id), revision, stale).await?)
}

/// Whether it runs, and why not.
#[utoipa::path(get, path = "/projects/{project}/streaming-pipelines/{id}/status", operation_id = "readStatus",
    tag = "pipelines",
    responses((status = 200, description = "Status, reason, and the agent's last report", content_type = "application/json",
        body = ref("#/components/schemas/PipelineStatus"))))]
#[expect(clippy::indexing_slicing, reason = "an object of our own making takes any member")]
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
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

/// Starts, stops, or restarts with a new snapshot of some tables or all.
#[utoipa::path(post, path = "/projects/{project}/streaming-pipelines/{id}/commands", operation_id = "commandPipeline",
    tag = "pipelines",
    request_body(content = ref("#/components/schemas/PipelineCommand"), content_type = "application/json"),
    responses((status = 202, description = "It is taken down; a `RESTART` can be watched at `Location`")))]
pub(crate) async fn command(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
    sent: Sent,
) -> Result<Response, Refused> {
    let mut members = Members::of(sent.body)?;
    let word = members.required_text("command").to_ascii_uppercase();
    let tables = members.texts("tables");
    let adopt = members.flag("adopt").unwrap_or_default();
    for (name, is_there) in [("tables", tables.is_some()), ("adopt", adopt)] {
        if is_there && word != "RESTART" {
            members.wrong(name, "goes with `RESTART` only");
        }
    }
    let command = match word.as_str() {
        "START" => Ok(PipelineCommand::Start),
        "STOP" => Ok(PipelineCommand::Stop),
        "RESTART" => Ok(PipelineCommand::Restart { tables, adopt }),
        _ => Err(Refused::invalid("command", "must be `START`, `STOP` or `RESTART`")),
    };
    let command = members.also(command)?;
    members.finish()?;
    let command = command.ok_or_else(|| Refused::failed("a command was neither refused nor accepted"))?;
    let issued = app.command_pipeline(&caller, (&project, &id), command, sent.once.as_ref()).await?;
    Ok(match issued {
        Some(id) => (StatusCode::ACCEPTED, with(header::LOCATION, &location(&id))?).into_response(),
        None => StatusCode::ACCEPTED.into_response(),
    })
}
