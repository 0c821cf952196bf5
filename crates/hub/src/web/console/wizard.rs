//! A new pipeline, step by step. Each step is an address, each keeps what was typed in a draft, so that one can leave and
//! come back. The last step hands the draft to the same rule that the API uses.

mod asked;
mod form;
mod howto;
mod lines;
mod picker;
mod project;
mod refusals;
mod review;
mod secret;
mod target;

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;

use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Badge, Choice, Field, Pick, Summary};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::status::AgentStatus;
use crate::db::drafts::Draft;
use crate::fault::Refused;
use asked::{Question, Verdict};

pub(crate) use review::edit;

/// The steps in their order: their address, their name.
const STEPS: [(&str, &str); 7] = [
    ("name", "Name and agent"),
    ("source", "Source"),
    ("test", "Test connection"),
    ("tables", "Tables"),
    ("target", "Target"),
    ("options", "Options"),
    ("review", "Review"),
];

/// The note that says which pipeline a draft replaces.
const OF: &str = "pipeline";

/// The steps beside a step's form.
struct Trail {
    /// The draft; empty before there is one.
    draft: String,
    step: &'static str,
    number: usize,
    name: &'static str,
    pipeline: String,
    /// It replaces one that is there.
    is_edit: bool,
}

impl Trail {
    fn new(draft: &str, step: &'static str, pipeline: &str) -> Self {
        let number = STEPS.iter().position(|(address, _)| *address == step).unwrap_or_default();
        let name = STEPS.get(number).map_or("", |(_, name)| *name);
        Self { draft: draft.into(), step, number, name, pipeline: pipeline.into(), is_edit: false }
    }

    fn of(draft: &Draft, step: &'static str) -> Self {
        let spec = draft.spec();
        let trail = Self::new(&draft.id, step, spec.get("name").and_then(Value::as_str).unwrap_or_default());
        Self { is_edit: draft.note(OF).is_some(), ..trail }
    }

    /// Number, address, name of each.
    #[expect(clippy::unused_self, reason = "templates ask the trail")]
    fn steps(&self) -> impl Iterator<Item = (usize, &'static str, &'static str)> {
        STEPS.iter().enumerate().map(|(number, (address, name))| (number, *address, *name))
    }
}

/// Any step that is a form.
#[derive(Template)]
#[template(path = "wizard_form.html")]
struct FormPage {
    shell: Shell,
    trail: Trail,
    summary: Summary,
    lead: &'static str,
    fields: Vec<form::Part>,
    /// An agent can be chosen, or none can and why.
    hint: String,
}

async fn agents(
    app: &App,
    visitor: &Visitor,
    (chosen, replaced): (&str, Option<&str>),
) -> Result<(Vec<Pick>, bool), Mishap> {
    let placed = app.all_pipelines(&visitor.caller).await?;
    let all = app.all_agents(&visitor.caller).await?;
    let mut picks: Vec<Pick> = all
        .into_iter()
        .map(|agent| {
            let own = placed.iter().find(|placed| placed.pipeline.agent_id == agent.id);
            let status = app.agent_status(&agent);
            let why = match (own, status) {
                (Some(own), _) if replaced == Some(own.pipeline.id.as_str()) => String::new(),
                (Some(own), _) => format!(" – has the pipeline {}", own.pipeline.name),
                (None, AgentStatus::Running) => String::new(),
                (None, status) => format!(" – {}", Badge::of_agent(status).word),
            };
            let pick = Pick::new(agent.id, format!("{}{why}", agent.name), chosen);
            Pick { is_possible: why.is_empty(), ..pick }
        })
        .collect();
    let any = picks.iter().any(|pick| pick.is_possible);
    picks.insert(0, Pick::new("", if any { "Choose an agent" } else { "No agent is running and free" }, chosen));
    Ok((picks, any))
}

async fn name_page(
    app: &App,
    visitor: &Visitor,
    (draft, name, agent, replaced): (&str, &str, &str, Option<&str>),
    (project, wrong): (&str, Wrong),
) -> Result<FormPage, Mishap> {
    let (picks, any) = agents(app, visitor, (agent, replaced)).await?;
    let hint = if any { String::new() } else { "An agent must be running, and have no pipeline yet.".into() };
    let name_field = Field::text("name", "Pipeline name", name, &wrong)
        .help("Up to 255 characters. Slot and publication in the source are named after the first one.");
    let agent_field = Choice::of("agentId", "Agent", picks, &wrong)
        .help("It runs this pipeline in your network. Only agents that are running and free can be chosen.");
    // An edited one stays in its project.
    let project = if replaced.is_none() { project::choice(app, visitor, project, &wrong).await? } else { None };
    let fields = [form::Part::Field(name_field)].into_iter().chain(project).chain([form::Part::Choice(agent_field)]);
    Ok(FormPage {
        shell: visitor.shell("Create pipeline", "pipelines"),
        trail: Trail::new(draft, "name", name),
        summary: Summary(wrong),
        lead: "Which agent shall carry the changes?",
        fields: fields.collect(),
        hint,
    })
}

pub(crate) async fn begin(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, Mishap> {
    Ok(page(&name_page(&app, &visitor, ("", "", "", None), ("", Wrong::default())).await?))
}

/// What is wrong with name and agent.
async fn name_wrong(app: &App, visitor: &Visitor, fields: &Fields, replaced: Option<&str>) -> Result<Wrong, Mishap> {
    let mut wrong = Wrong::default();
    let length = fields.get("name").chars().count();
    if length == 0 || length > 255 {
        wrong.add("name", "must have 1 to 255 characters");
    }
    let (picks, _) = agents(app, visitor, (fields.get("agentId"), replaced)).await?;
    if !picks.iter().any(|pick| pick.is_chosen && pick.is_possible && !pick.value.is_empty()) {
        wrong.add("agentId", "must be one that is running and has no pipeline");
    }
    Ok(wrong)
}

pub(crate) async fn create_draft(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    let wrong = name_wrong(&app, &visitor, &fields, None).await?;
    if wrong.any() {
        let typed = ("", fields.get("name"), fields.get("agentId"), None);
        let project = fields.get("projectId");
        return Ok(with_status(StatusCode::BAD_REQUEST, &name_page(&app, &visitor, typed, (project, wrong)).await?));
    }
    let project = project::chosen(&app, &visitor, &fields).await?;
    let mut draft = app.new_draft(&visitor.caller, &project).await?;
    form::put_name(&mut draft, &fields);
    let next = format!("/pipelines/new/{}/source", draft.id);
    app.keep_draft(draft).await?;
    Ok(Redirect::to(&next).into_response())
}

fn step_of(step: &str) -> Result<&'static str, Mishap> {
    let known = STEPS.iter().find(|(address, _)| *address == step);
    known.map(|(address, _)| *address).ok_or_else(|| Refused::NotFound("this step").into())
}

async fn step_page(
    app: &App,
    visitor: &Visitor,
    (draft, step): (&Draft, &'static str),
    (query, wrong): (&Fields, Wrong),
) -> Result<Response, Mishap> {
    let status = if wrong.any() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let spec = draft.spec();
    let text = |name: &str| spec.get(name).and_then(Value::as_str).unwrap_or_default();
    match step {
        "name" => {
            let replaced = draft.note(OF);
            let typed = (draft.id.as_str(), text("name"), text("agentId"), replaced.as_deref());
            let page = name_page(app, visitor, typed, (&draft.project_id, wrong)).await?;
            Ok(with_status(status, &FormPage { trail: Trail::of(draft, "name"), ..page }))
        }
        "test" => Ok(with_status(status, &test_page(app, visitor, draft).await?)),
        "tables" => Ok(with_status(status, &picker::tables_page(app, visitor, draft, (query, wrong)).await?)),
        "target" => Ok(with_status(status, &target_page(app, visitor, draft, wrong).await?)),
        "review" => Ok(with_status(status, &review::review_page(app, visitor, draft, wrong).await?)),
        step => {
            let deployment = deployment(app, visitor, &spec).await;
            let (lead, fields) = form::parts(step, &spec, &wrong, &deployment);
            let page = FormPage {
                shell: visitor.shell("Create pipeline", "pipelines"),
                trail: Trail::of(draft, step),
                summary: Summary(wrong),
                lead,
                fields,
                hint: String::new(),
            };
            Ok(with_status(status, &page))
        }
    }
}

pub(crate) async fn step(
    State(app): State<Arc<App>>,
    Path((draft, step)): Path<(String, String)>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let draft = review::draft(&app, &visitor, &draft).await?;
    step_page(&app, &visitor, (&draft, step_of(&step)?), (&query, Wrong::default())).await
}

pub(crate) async fn keep(
    State(app): State<Arc<App>>,
    Path((id, step)): Path<(String, String)>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let step = step_of(&step)?;
    let mut draft = review::draft(&app, &visitor, &id).await?;
    let (before, mut refused) = (draft.spec(), Vec::new());
    if fields.get("go") == "discard" {
        app.discard_draft(&visitor.caller, &id).await?;
        return Ok(Redirect::to("/pipelines").into_response());
    }
    if step == "target" && fields.get("go") == "kind" && form::put_kind(&mut draft, &fields) {
        app.keep_draft(draft).await?;
        return Ok(Redirect::to(&format!("/pipelines/new/{id}/target")).into_response());
    }
    let wrong = match step {
        "name" => {
            form::put_name(&mut draft, &fields);
            project::put(&app, &visitor, &mut draft, &fields).await?;
            name_wrong(&app, &visitor, &fields, draft.note(OF).as_deref()).await?
        }
        "test" => return test(&app, &visitor, draft, &fields).await,
        "tables" => return picker::keep(&app, &visitor, draft, &fields).await,
        "review" => return review::create(&app, &visitor, &draft, &fields).await,
        step => {
            let wrong = form::put(step, &mut draft, &fields);
            // What the hub itself would refuse is said here, not at the end.
            let (of_hub, refusals) = refusals::of_step(&draft.spec(), step);
            refused = refusals;
            if wrong.any() { wrong } else { of_hub }
        }
    };
    // What was typed is kept even where it is wrong, unless it may carry a secret.
    let mut kept = draft.clone();
    if wrong.any() {
        refusals::withdraw(&mut kept, &before, &refused);
    }
    app.keep_draft(kept).await?;
    if wrong.any() {
        return step_page(&app, &visitor, (&draft, step), (&fields, wrong)).await;
    }
    if step == "target" && fields.get("go") == "test" {
        return asked::ask(&app, &visitor, draft, (Question::Target, "target")).await;
    }
    if fields.get("go") == "kind" {
        return Ok(Redirect::to(&format!("/pipelines/new/{id}/{step}")).into_response());
    }
    let at = STEPS.iter().position(|(address, _)| *address == step).unwrap_or_default();
    let next = STEPS.get(at + 1).map_or("review", |(address, _)| *address);
    Ok(Redirect::to(&format!("/pipelines/new/{id}/{next}")).into_response())
}

/// Where the pipeline's agent runs; empty where none is chosen.
async fn deployment(app: &App, visitor: &Visitor, spec: &serde_json::Map<String, Value>) -> String {
    let id = form::text_at(spec, &["agentId"]);
    app.agent(&visitor.caller, &id).await.map(|agent| agent.deployment).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "wizard_test.html")]
struct TestPage {
    shell: Shell,
    trail: Trail,
    verdict: Verdict,
    /// The kind of source that cannot be tested.
    foreign: String,
}

async fn test_page(app: &App, visitor: &Visitor, draft: &Draft) -> Result<TestPage, Mishap> {
    Ok(TestPage {
        shell: visitor.shell("Create pipeline", "pipelines"),
        trail: Trail::of(draft, "test"),
        verdict: asked::verdict(app, visitor, draft, Question::Source).await?,
        foreign: form::foreign(&draft.spec(), "streamingSource"),
    })
}

/// Tests the source, or goes on to its tables, which are asked for on the way.
async fn test(app: &App, visitor: &Visitor, draft: Draft, fields: &Fields) -> Result<Response, Mishap> {
    let is_ours = form::foreign(&draft.spec(), "streamingSource").is_empty();
    if fields.get("go") == "test" && is_ours {
        return asked::ask(app, visitor, draft, (Question::Source, "test")).await;
    }
    if is_ours && asked::answer(app, visitor, &draft, Question::Tables).await?.state != "done" {
        return asked::ask(app, visitor, draft, (Question::Tables, "tables")).await;
    }
    Ok(Redirect::to(&format!("/pipelines/new/{}/tables", draft.id)).into_response())
}

#[derive(Template)]
#[template(path = "wizard_target.html")]
struct TargetPage {
    shell: Shell,
    trail: Trail,
    summary: Summary,
    fields: Vec<form::Part>,
    verdict: Verdict,
    is_foreign: bool,
}

async fn target_page(app: &App, visitor: &Visitor, draft: &Draft, wrong: Wrong) -> Result<TargetPage, Mishap> {
    let spec = draft.spec();
    let deployment = deployment(app, visitor, &spec).await;
    let (_, fields) = form::parts("target", &spec, &wrong, &deployment);
    Ok(TargetPage {
        shell: visitor.shell("Create pipeline", "pipelines"),
        trail: Trail::of(draft, "target"),
        summary: Summary(wrong),
        fields,
        verdict: asked::verdict(app, visitor, draft, Question::Target).await?,
        is_foreign: !form::foreign(&spec, "streamingTarget").is_empty(),
    })
}
