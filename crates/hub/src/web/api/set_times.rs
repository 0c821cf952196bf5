//! `…/set-times`: when a pipeline is started and stopped by the clock.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::app::App;
use crate::app::set_times::ahead;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Ids, Sent};

/// Set times on the wire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetTimesView {
    /// cron in UTC
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    start: Option<String>,
    /// cron in UTC
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    stop: Option<String>,
    /// the next three of both
    next: Vec<NextView>,
}

/// A time that comes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct NextView {
    at: String,
    /// `START` or `STOP`
    command: &'static str,
}

async fn view(app: &App, caller: &crate::auth::Caller, of: (&str, &str)) -> Result<Json<SetTimesView>, Refused> {
    let Some(times) = app.set_times(caller, of).await? else {
        return Ok(Json(SetTimesView { start: None, stop: None, next: Vec::new() }));
    };
    let next = ahead(&times, app.now()).into_iter();
    let next = next.map(|(at, starts)| NextView { at: at.to_string(), command: if starts { "START" } else { "STOP" } });
    Ok(Json(SetTimesView { next: next.collect(), start: times.start, stop: times.stop }))
}

/// The pipeline's set times; without any, both are absent.
#[utoipa::path(get, path = "/projects/{project}/streaming-pipelines/{id}/set-times", operation_id = "readSetTimes",
    tag = "pipelines", responses((status = 200, description = "They", body = SetTimesView)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
) -> Result<Json<SetTimesView>, Refused> {
    view(&app, &caller, (&project, &id)).await
}

/// Sets both; what is absent is never. A time that was missed while no hub ran is made up for; of several the last one.
#[utoipa::path(put, path = "/projects/{project}/streaming-pipelines/{id}/set-times", operation_id = "replaceSetTimes",
    tag = "pipelines",
    request_body(content = ref("#/components/schemas/NewSetTimes"), content_type = "application/json"),
    responses((status = 200, description = "They", body = SetTimesView)))]
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
    sent: Sent,
) -> Result<Json<SetTimesView>, Refused> {
    let mut members = Members::of(sent.body)?;
    let (start, stop) = (members.text("start"), members.text("stop"));
    members.finish()?;
    app.keep_set_times(&caller, (&project, &id), (start.as_deref(), stop.as_deref())).await?;
    view(&app, &caller, (&project, &id)).await
}

/// Forgets them: the pipeline is started and stopped by hand alone.
#[utoipa::path(delete, path = "/projects/{project}/streaming-pipelines/{id}/set-times", operation_id = "removeSetTimes",
    tag = "pipelines", responses((status = 204, description = "There are none")))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
) -> Result<StatusCode, Refused> {
    app.keep_set_times(&caller, (&project, &id), (None, None)).await?;
    Ok(StatusCode::NO_CONTENT)
}
