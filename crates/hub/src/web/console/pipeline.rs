//! One pipeline: what happened, how it is set up; start, stop, delete. What flows and its tables have a file each.

mod overview;
mod snapshot;
mod tables;

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use millrace_model::Timestamp;
use millrace_protocol::gateway::Reason;
use serde_json::Value;

use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::pager::Earlier;
use super::show::{Badge, Field, Summary, When, filters, visible};
use super::visitor::{Fields, Sent, Visitor};
use super::yaml;
use crate::app::App;
use crate::app::console::Placed;
use crate::app::pipelines::PipelineCommand;
use crate::app::status;
use crate::db::events::Stored;

pub(crate) use overview::overview;
pub(crate) use tables::tables;

/// Events on a page.
pub(super) const EVENTS: i64 = 100;

/// What stands above every page of a pipeline.
pub(super) struct Head {
    pub(super) id: String,
    /// The newest.
    pub(super) revision: i64,
    pub(super) name: String,
    pub(super) badge: Badge,
    pub(super) agent: Option<(String, String, Badge)>,
    pub(super) is_wanted: bool,
    /// It was started, and an agent says that it does not run.
    pub(super) has_failed: bool,
    pub(super) reason: Option<Reason>,
    pub(super) since: Option<When>,
    pub(super) refused: Option<String>,
    pub(super) tab: &'static str,
    pub(super) tables: usize,
}

impl Head {
    pub(super) fn is(&self, tab: &str) -> bool {
        self.tab == tab
    }
}

pub(super) fn head(placed: &Placed, tab: &'static str, now: Timestamp) -> Head {
    let reason = placed.status.reason.clone();
    let report = placed.status.report.as_ref().map(|(report, _)| report);
    let body: Value = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    Head {
        id: placed.pipeline.id.clone(),
        revision: placed.pipeline.revision,
        name: visible(&placed.pipeline.name),
        badge: Badge::of_pipeline(&placed.status.word, reason.as_ref().map(|reason| reason.code.as_str())),
        agent: placed
            .agent
            .as_ref()
            .map(|agent| (agent.id.clone(), agent.name.clone(), Badge::of_agent(status::of_agent(agent, now)))),
        is_wanted: placed.pipeline.wanted == "running",
        has_failed: placed.status.word == "NOT_RUNNING"
            && reason.as_ref().is_some_and(|reason| !matches!(reason.code.as_str(), "stopped" | "waiting_for_agent")),
        // That it is not started needs no words.
        reason: reason.filter(|reason| reason.code != "stopped"),
        since: report
            .filter(|report| report.status == placed.status.word)
            .and_then(|report| Timestamp::parse(&report.since))
            .map(|at| When::lasting(at, now)),
        refused: report.and_then(|report| report.refused.as_ref()).map(|refused| {
            format!("Revision {} was refused: {}. {}", refused.revision, refused.reason.message, refused.reason.cure)
        }),
        tab,
        tables: body.pointer("/streamingSource/tables").and_then(Value::as_array).map_or(0, Vec::len),
    }
}

/// An event as a row.
pub(crate) struct EventRow {
    pub(crate) badge: Badge,
    pub(crate) when: When,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) cure: String,
}

impl EventRow {
    pub(crate) fn new(event: Stored, now: Timestamp) -> Self {
        use super::show::Shape;
        let badge = match event.severity.as_str() {
            "error" => Badge::new(Shape::Triangle, "bad", "Error"),
            "warning" => Badge::new(Shape::Half, "doubt", "Warning"),
            _ => Badge::new(Shape::Ring, "quiet", "Info"),
        };
        Self { badge, when: When::new(event.at, now), code: event.code, message: event.message, cure: event.cure }
    }
}

#[derive(Template)]
#[template(path = "pipeline_events.html")]
struct EventsPage {
    shell: Shell,
    head: Head,
    events: Vec<EventRow>,
    earlier: Earlier,
}

pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let now = app.now();
    let placed = app.placed(&visitor.caller, &id).await?;
    let events = app.pipeline_events(&placed.pipeline, &Earlier::part(&query, EVENTS)).await?;
    Ok(page(&EventsPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "events", now),
        earlier: Earlier::new(&query, events.next.as_ref()),
        events: events.rows.into_iter().map(|event| EventRow::new(event, now)).collect(),
    }))
}

#[derive(Template)]
#[template(path = "pipeline_configuration.html")]
struct ConfigurationPage {
    shell: Shell,
    head: Head,
    revision: i64,
    yaml: String,
}

pub(crate) async fn configuration(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, &id).await?;
    let body = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    Ok(page(&ConfigurationPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "configuration", app.now()),
        revision: placed.pipeline.revision,
        yaml: yaml::file(&body),
    }))
}

async fn command(app: &App, visitor: &Visitor, id: &str, command: PipelineCommand) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, id).await?;
    app.command_pipeline(&visitor.caller, (&placed.project.id, id), command, None).await?;
    Ok(Redirect::to(&format!("/pipelines/{id}")).into_response())
}

pub(crate) async fn start(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, _): Sent,
) -> Result<Response, Mishap> {
    command(&app, &visitor, &id, PipelineCommand::Start).await
}

pub(crate) async fn stop(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, _): Sent,
) -> Result<Response, Mishap> {
    command(&app, &visitor, &id, PipelineCommand::Stop).await
}

#[derive(Template)]
#[template(path = "pipeline_delete.html")]
struct DeletionPage {
    shell: Shell,
    id: String,
    name: String,
    is_wanted: bool,
    target: String,
    /// Its agent is there, and can clean up.
    has_agent: bool,
    is_connected: bool,
    summary: Summary,
    confirmation: Field,
}

fn deletion_page(visitor: &Visitor, placed: &Placed, (typed, wrong): (&str, Wrong), now: Timestamp) -> DeletionPage {
    let body = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    let (kind, place) = super::flow::target_of(&body);
    DeletionPage {
        shell: visitor.shell(format!("Delete {}", placed.pipeline.name), "pipelines"),
        id: placed.pipeline.id.clone(),
        name: placed.pipeline.name.clone(),
        is_wanted: placed.pipeline.wanted == "running",
        target: format!("{kind} {place}"),
        has_agent: placed.agent.is_some(),
        is_connected: placed
            .agent
            .as_ref()
            .is_some_and(|agent| status::of_agent(agent, now) == status::AgentStatus::Running),
        confirmation: Field::text("confirmation", "Type the pipeline's name", typed, &wrong)
            .help("Exactly as it stands above."),
        summary: Summary(wrong),
    }
}

pub(crate) async fn deletion(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, &id).await?;
    Ok(page(&deletion_page(&visitor, &placed, ("", Wrong::default()), app.now())))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, &id).await?;
    let typed = fields.get("confirmation");
    if typed != placed.pipeline.name {
        let wrong = Wrong::at("confirmation", format!("must be {}", placed.pipeline.name));
        return Ok(with_status(StatusCode::BAD_REQUEST, &deletion_page(&visitor, &placed, (typed, wrong), app.now())));
    }
    let cleanup = fields.get("cleanup") == "yes";
    let at = (placed.project.id.as_str(), id.as_str());
    let issued = app.delete_pipeline(&visitor.caller, at, cleanup, |_| false).await?;
    // What becomes of the clean-up is told where the agent is: the pipeline is gone.
    let next = issued.map_or("/pipelines".to_owned(), |_| format!("/agents/{}/commands", placed.pipeline.agent_id));
    Ok(Redirect::to(&next).into_response())
}
