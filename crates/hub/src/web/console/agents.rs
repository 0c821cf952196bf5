//! The list of agents, and the page that adds one.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::pager::Pager;
use super::show::{Badge, Choice, Field, Group, Pick, Summary, When, span, spelled, visible};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::agents::{NewAgent, PLATFORMS, last_seen};
use crate::app::console::Placed;
use crate::db::agents::Agent;

struct Row {
    id: String,
    name: String,
    description: String,
    badge: Badge,
    platform: String,
    pipeline: Option<(String, String)>,
    version: String,
    seen: Option<When>,
    lag: String,
    /// What the columns are sorted by.
    order: (String, i64, f64),
}

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    shell: Shell,
    rows: Vec<Row>,
    total: usize,
    q: String,
    statuses: Vec<(&'static str, String, usize, bool)>,
    query: Fields,
    sort: String,
    pager: Pager,
}

impl AgentsPage {
    fn sorted(&self, column: &str) -> bool {
        self.sort == column
    }
}

/// The rule of `app::agents` for names, as a field has it.
pub(super) const NAME_RULE: (&str, &str) =
    (r"^(?!\s)[A-Za-z0-9\s_\-]*$", "May hold letters A to Z, digits, spaces, - and _ only, and begin with no space.");

const STATUSES: [&str; 4] = ["Pending", "Running", "Stopped", "Unknown"];

fn row(app: &App, agent: Agent, own: Option<&Placed>) -> Row {
    let now = app.now();
    let status = app.agent_status(&agent);
    let lag = own.and_then(|placed| {
        let (report, _) = placed.status.report.as_ref()?;
        let runs = matches!(placed.status.word.as_str(), "STREAMING" | "SNAPSHOTTING");
        report.figures.get("lag_seconds").and_then(serde_json::Value::as_f64).filter(|_| runs)
    });
    let seen = last_seen(&agent);
    Row {
        badge: Badge::of_agent(status),
        platform: format!("{} · {}", spelled(&agent.cloud_provider), spelled(&agent.deployment)),
        pipeline: own.map(|placed| (placed.pipeline.id.clone(), visible(&placed.pipeline.name))),
        version: agent.version.unwrap_or_default(),
        seen: seen.map(|at| When::new(at, now)),
        lag: lag.map_or_else(String::new, span),
        order: (agent.name.to_lowercase(), seen.map_or(0, |at| -at.0), lag.map_or(0.0, |lag| -lag)),
        id: agent.id,
        name: agent.name,
        description: agent.description,
    }
}

pub(crate) async fn list(State(app): State<Arc<App>>, visitor: Visitor, query: Fields) -> Result<Response, Mishap> {
    let placed = app.all_pipelines(&visitor.caller).await?;
    let agents = app.all_agents(&visitor.caller).await?;
    let total = agents.len();
    let q = query.get("q").trim().to_lowercase();
    let own: HashMap<&str, &Placed> = placed.iter().map(|placed| (placed.pipeline.agent_id.as_str(), placed)).collect();
    let row = |agent: Agent| {
        let own = own.get(agent.id.as_str()).copied();
        row(&app, agent, own)
    };
    let mut rows: Vec<Row> = agents.into_iter().map(row).collect();
    rows.retain(|row| q.is_empty() || row.order.0.contains(&q) || row.description.to_lowercase().contains(&q));
    let wanted = query.get("status");
    let statuses = STATUSES
        .into_iter()
        .map(|word| {
            let count = rows.iter().filter(|row| row.badge.word == word).count();
            let link = query.with("status", if wanted == word { "" } else { word });
            (word, link, count, wanted == word)
        })
        .collect();
    rows.retain(|row| wanted.is_empty() || row.badge.word == wanted);
    let sort = query.get("sort").to_owned();
    match sort.as_str() {
        "status" => rows.sort_by(|a, b| (&a.badge.word, &a.order.0).cmp(&(&b.badge.word, &b.order.0))),
        "seen" => rows.sort_by_key(|row| row.order.1),
        "lag" => rows.sort_by(|a, b| a.order.2.total_cmp(&b.order.2)),
        "name" => rows.sort_by(|a, b| a.order.0.cmp(&b.order.0)),
        _ => {}
    }
    let pager = Pager::cut(&mut rows, &query);
    let shell = visitor.shell("Agents", "agents");
    Ok(page(&AgentsPage { shell, rows, total, q: query.get("q").to_owned(), statuses, query, sort, pager }))
}

#[derive(Template)]
#[template(path = "agent_new.html")]
struct AddPage {
    shell: Shell,
    summary: Summary,
    name: Field,
    description: Field,
    cloud: Choice,
    deployment: Choice,
}

impl AddPage {
    fn new(visitor: &Visitor, fields: &Fields, wrong: Wrong) -> Self {
        let clouds = PLATFORMS.iter().map(|(cloud, _)| Pick::new(*cloud, spelled(cloud), fields.get("cloudProvider")));
        let groups = PLATFORMS.iter().map(|(cloud, places)| Group {
            name: spelled(cloud).to_owned(),
            key: (*cloud).to_owned(),
            options: places.iter().map(|place| Pick::new(*place, spelled(place), fields.get("deployment"))).collect(),
        });
        Self {
            shell: visitor.shell("Add agent", "agents"),
            name: Field::text("name", "Agent name", fields.get("name"), &wrong)
                .help("1 to 30 characters: letters A to Z, digits, spaces, - and _. You can change it later.")
                .most(30)
                .rule(NAME_RULE.0, NAME_RULE.1),
            description: Field::text("description", "Description", fields.get("description"), &wrong)
                .kind("area", "off")
                .most(500)
                .help("What someone else should know about it, up to 500 characters.")
                .optional(),
            cloud: Choice::of("cloudProvider", "Cloud provider", clouds.collect(), &wrong)
                .help("Where the agent will run. It cannot be changed later."),
            deployment: Choice {
                name: "deployment",
                label: "Deployment",
                help: "The service that keeps it running. It cannot be changed later.",
                error: wrong.of("deployment"),
                groups: groups.collect(),
                is_needed: true,
            },
            summary: Summary(wrong),
        }
    }
}

pub(crate) async fn add(visitor: Visitor, fields: Fields) -> Response {
    page(&AddPage::new(&visitor, &fields, Wrong::default()))
}

pub(crate) async fn create(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    let place = (fields.get("cloudProvider"), fields.get("deployment"), "streaming");
    // A browser sends line breaks as CR LF; the API would keep them.
    let description = fields.get("description").replace("\r\n", "\n");
    let created = match NewAgent::check(fields.get("name"), &description, place) {
        Ok(new) => app.create_agent(&visitor.caller, new, None).await,
        Err(refused) => Err(refused),
    };
    match created {
        Ok(id) => Ok(Redirect::to(&format!("/agents/{id}")).into_response()),
        Err(refused) => {
            let wrong = Wrong::from(refused)?;
            Ok(with_status(StatusCode::BAD_REQUEST, &AddPage::new(&visitor, &fields, wrong)))
        }
    }
}
