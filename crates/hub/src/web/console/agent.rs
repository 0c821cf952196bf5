//! One agent: how to start it, what it says of itself, its credentials, and its end.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::agents::NAME_RULE;
use super::confirm::{confirmed, own_password};
use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::pager::Earlier;
use super::pipeline::{EVENTS, EventRow};
use super::show::{Badge, Field, Summary, When, filters, spelled, visible};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::agents::last_seen;
use crate::app::status::{self, AgentStatus};
use crate::db::agents::Agent;
use crate::web::deploy::{self, SignIn};
use millrace_model::Timestamp;

/// What stands above every page of an agent.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) badge: Badge,
    pub(super) explained: String,
    pub(super) platform: String,
    pub(super) pipeline: Option<(String, String)>,
    pub(super) version: String,
    pub(super) seen: Option<When>,
    /// Which tab is open.
    pub(super) tab: &'static str,
}

impl Head {
    pub(super) fn is(&self, tab: &str) -> bool {
        self.tab == tab
    }
}

pub(super) async fn head(app: &App, visitor: &Visitor, agent: &Agent, tab: &'static str) -> Result<Head, Mishap> {
    let now = app.now();
    let placed = app.all_pipelines(&visitor.caller).await?;
    let own = placed.iter().find(|placed| placed.pipeline.agent_id == agent.id);
    let status = app.agent_status(agent);
    let seen = last_seen(agent).map(|at| When::new(at, now));
    let ago = seen.as_ref().map_or("a while ago", |seen| seen.ago.as_str());
    let explained = match status {
        AgentStatus::Pending => "It has never connected. Start it with the steps below.".to_owned(),
        AgentStatus::Running if own.is_some() => "It is connected and has a pipeline.".to_owned(),
        AgentStatus::Running => "It is connected and free: give it a pipeline.".to_owned(),
        AgentStatus::Stopped => format!("It said goodbye {ago}. Start its process again when you need it."),
        AgentStatus::Unknown => format!("Last heard {ago}, without a goodbye. Its pipeline may still be running."),
    };
    Ok(Head {
        id: agent.id.clone(),
        name: agent.name.clone(),
        description: agent.description.clone(),
        badge: Badge::of_agent(status),
        explained,
        platform: format!("{} · {}", spelled(&agent.cloud_provider), spelled(&agent.deployment)),
        pipeline: own.map(|placed| (placed.pipeline.id.clone(), visible(&placed.pipeline.name))),
        version: agent.version.clone().unwrap_or_default(),
        seen,
        tab,
    })
}

#[derive(Template)]
#[template(path = "agent.html")]
struct DetailsPage {
    shell: Shell,
    head: Head,
    image: String,
    environment: Vec<(&'static str, String)>,
    deployment: String,
    commands: String,
    /// What it signs in with.
    proof: &'static str,
    client_id: String,
    /// How many of its secrets are alive, and when one of them was used last.
    secrets: usize,
    used: Option<When>,
    ranges: Vec<String>,
    has_connected: bool,
}

async fn details_page(app: &App, visitor: &Visitor, agent: &Agent) -> Result<DetailsPage, Mishap> {
    let known = app.credentials(&visitor.caller, &agent.id).await?;
    let used = known.iter().filter_map(|secret| secret.last_used_at).max();
    let (allowed, _) = app.agent_addresses(&visitor.caller, &agent.id).await?;
    let sign_in = SignIn::of(&app.trust(&visitor.caller, &agent.id).await?, &app.settings.public_url);
    Ok(DetailsPage {
        shell: visitor.shell(&agent.name, "agents"),
        head: head(app, visitor, agent, "details").await?,
        image: app.settings.agent_image.clone(),
        environment: deploy::environment(&app.settings, agent, &sign_in),
        deployment: spelled(&agent.deployment).to_owned(),
        commands: deploy::text(&app.settings, (agent, &sign_in), &agent.deployment).unwrap_or_default(),
        proof: sign_in.word(),
        client_id: agent.client_id.clone(),
        secrets: known.iter().filter(|secret| secret.is_alive(app.now())).count(),
        used: used.map(|at| When::new(at, app.now())),
        ranges: allowed.texts(),
        has_connected: agent.first_connected_at.is_some(),
    })
}

pub(crate) async fn details(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&details_page(&app, &visitor, &agent).await?))
}

#[derive(Template)]
#[template(path = "agent_conditions.html")]
struct ConditionsPage {
    shell: Shell,
    head: Head,
    conditions: Vec<(String, String, When)>,
}

pub(crate) async fn conditions(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    let now = app.now();
    let conditions = status::conditions(&agent, now)
        .into_iter()
        .map(|condition| {
            let since = Timestamp::parse(&condition.since).unwrap_or(now);
            (condition.kind.replace('_', " "), condition.message, When::new(since, now))
        })
        .collect();
    let shell = visitor.shell(&agent.name, "agents");
    Ok(page(&ConditionsPage { shell, head: head(&app, &visitor, &agent, "conditions").await?, conditions }))
}

#[derive(Template)]
#[template(path = "agent_events.html")]
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
    let agent = app.agent(&visitor.caller, &id).await?;
    let now = app.now();
    let found = app.agent_events(&agent, &Earlier::part(&query, EVENTS)).await?;
    let earlier = Earlier::new(&query, found.next.as_ref());
    let events = found.rows.into_iter().map(|event| EventRow::new(event, now)).collect();
    let shell = visitor.shell(&agent.name, "agents");
    Ok(page(&EventsPage { shell, head: head(&app, &visitor, &agent, "events").await?, events, earlier }))
}

#[derive(Template)]
#[template(path = "agent_edit.html")]
struct EditPage {
    shell: Shell,
    id: String,
    agent_name: String,
    platform: String,
    summary: Summary,
    name: Field,
    description: Field,
}

fn edit_page(visitor: &Visitor, agent: &Agent, (name, description): (&str, &str), wrong: Wrong) -> EditPage {
    EditPage {
        shell: visitor.shell(format!("Edit {}", agent.name), "agents"),
        id: agent.id.clone(),
        agent_name: agent.name.clone(),
        platform: format!("{} · {}", spelled(&agent.cloud_provider), spelled(&agent.deployment)),
        name: Field::text("name", "Agent name", name, &wrong)
            .help("1 to 30 characters: letters A to Z, digits, spaces, - and _.")
            .most(30)
            .rule(NAME_RULE.0, NAME_RULE.1),
        description: Field::text("description", "Description", description, &wrong)
            .kind("area", "off")
            .most(500)
            .help("Up to 500 characters.")
            .optional(),
        summary: Summary(wrong),
    }
}

pub(crate) async fn edit(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&edit_page(&visitor, &agent, (&agent.name, &agent.description), Wrong::default())))
}

pub(crate) async fn change(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    let (name, description) = (fields.get("name"), fields.get("description").replace("\r\n", "\n"));
    let wanted = (Some(name.to_owned()), Some(description.clone()));
    match app.change_agent(&visitor.caller, &id, wanted, |_| false).await {
        Ok(()) => Ok(Redirect::to(&format!("/agents/{id}")).into_response()),
        Err(refused) => {
            let wrong = Wrong::from(refused)?;
            let again = edit_page(&visitor, &agent, (name, &description), wrong);
            Ok(with_status(StatusCode::BAD_REQUEST, &again))
        }
    }
}

#[derive(Template)]
#[template(path = "agent_remove.html")]
struct RemovalPage {
    shell: Shell,
    id: String,
    name: String,
    pipeline: Option<(String, String)>,
    is_running: bool,
    remains: Vec<&'static str>,
    summary: Summary,
    confirmation: Field,
    password: Field,
}

/// What stays in the cloud when an agent is removed here.
fn remains(deployment: &str) -> Vec<&'static str> {
    match deployment {
        "fargate" => vec![
            "the ECS service, its task definition and its running task",
            "the secret with its credentials in Secrets Manager",
            "its log group and its IAM roles",
        ],
        "aci" => vec!["the container group", "its managed identity and role assignments"],
        "gce" => {
            vec![
                "the instance and its disk",
                "the secret with its credentials in Secret Manager",
                "its service account",
            ]
        }
        _ => {
            vec!["the StatefulSet and its volume", "the Kubernetes secret with its credentials", "its service account"]
        }
    }
}

async fn removal_page(
    app: &App,
    visitor: &Visitor,
    agent: &Agent,
    (typed, wrong): (&str, Wrong),
) -> Result<RemovalPage, Mishap> {
    let placed = app.all_pipelines(&visitor.caller).await?;
    let own = placed.into_iter().find(|placed| placed.pipeline.agent_id == agent.id);
    Ok(RemovalPage {
        shell: visitor.shell(format!("Remove {}", agent.name), "agents"),
        id: agent.id.clone(),
        name: agent.name.clone(),
        is_running: own.as_ref().is_some_and(|placed| placed.pipeline.wanted == "running"),
        pipeline: own.map(|placed| (placed.pipeline.id, placed.pipeline.name)),
        remains: remains(&agent.deployment),
        confirmation: Field::text("confirmation", "Type the agent's name", typed, &wrong)
            .help("Exactly as it stands above."),
        password: own_password(&wrong),
        summary: Summary(wrong),
    })
}

pub(crate) async fn removal(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&removal_page(&app, &visitor, &agent, ("", Wrong::default())).await?))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    let typed = fields.get("confirmation");
    let (status, asked) = if typed == agent.name {
        (StatusCode::UNAUTHORIZED, confirmed(&app, &visitor, &fields).await?)
    } else {
        (StatusCode::BAD_REQUEST, Err(Wrong::at("confirmation", format!("must be {}", agent.name))))
    };
    if let Err(wrong) = asked {
        let again = removal_page(&app, &visitor, &agent, (typed, wrong)).await?;
        return Ok(with_status(status, &again));
    }
    app.remove_agent(&visitor.caller, &id, fields.get("force") == "yes", |_| false).await?;
    Ok(Redirect::to("/agents").into_response())
}
