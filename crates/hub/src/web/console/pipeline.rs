//! One pipeline: what flows, its tables, what happened, how it is set up; start, stop, delete.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use millrace_model::Timestamp;
use millrace_protocol::gateway::{Reason, Report, ReportedTable};
use serde_json::Value;

use super::flow::{Flow, figure, flow, is_fresh};
use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Badge, Field, Summary, When, bytes, count, filters, rate, span};
use super::visitor::{Fields, Sent, Visitor};
use super::yaml;
use crate::app::App;
use crate::app::console::Placed;
use crate::app::pipelines::PipelineCommand;
use crate::app::status;
use crate::db::events::Stored;

/// What stands above every page of a pipeline.
pub(super) struct Head {
    pub(super) id: String,
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
        name: placed.pipeline.name.clone(),
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
        tables: body["streamingSource"]["tables"].as_array().map_or(0, Vec::len),
    }
}

/// One figure of the overview.
struct Tile {
    name: &'static str,
    value: String,
    unit: &'static str,
}

/// The snapshot of one table.
struct Progress {
    table: String,
    done: String,
    about: String,
    /// Of 100, at most 99 until it is finished.
    percent: u64,
    is_finished: bool,
    words: &'static str,
}

fn progress(table: &ReportedTable) -> Progress {
    let is_finished = table.snapshot == "finished";
    let estimate = table.snapshot_rows_estimate.max(table.snapshot_rows);
    let percent = match (is_finished, estimate) {
        (true, _) => 100,
        (false, 0) => 0,
        (false, estimate) => (table.snapshot_rows.saturating_mul(100) / estimate).min(99),
    };
    Progress {
        table: table.table.clone(),
        done: count(table.snapshot_rows),
        about: if is_finished || estimate == 0 { String::new() } else { format!("of about {}", count(estimate)) },
        percent,
        is_finished,
        words: match table.snapshot.as_str() {
            "finished" => "finished",
            "running" => "being read",
            _ => "waits",
        },
    }
}

/// The whole snapshot: how far, and about how long still.
struct Overall {
    percent: u64,
    line: String,
}

fn overall(report: &Report, rows_per_second: Option<f64>) -> Option<Overall> {
    let of_snapshot: Vec<&ReportedTable> = report.tables.iter().filter(|table| table.snapshot != "none").collect();
    if of_snapshot.iter().all(|table| table.snapshot == "finished") {
        return None;
    }
    let done: u64 = of_snapshot.iter().map(|table| table.snapshot_rows).sum();
    let about: u64 = of_snapshot.iter().map(|table| table.snapshot_rows_estimate.max(table.snapshot_rows)).sum();
    let finished = of_snapshot.iter().filter(|table| table.snapshot == "finished").count();
    let left = rows_per_second.filter(|rate| *rate >= 1.0).map(|rate| (about.saturating_sub(done)) as f64 / rate);
    let left = left.map_or_else(|| "no estimate yet".into(), |left| format!("about {} left at this pace", span(left)));
    Some(Overall {
        percent: (done.saturating_mul(100)).checked_div(about).unwrap_or(0).min(99),
        line: format!(
            "{finished} of {} tables, {} of about {} rows, {left}",
            of_snapshot.len(),
            count(done),
            count(about)
        ),
    })
}

#[derive(Template)]
#[template(path = "pipeline.html")]
struct OverviewPage {
    shell: Shell,
    head: Head,
    flow: Flow,
    tiles: Vec<Tile>,
    stale: Option<When>,
    is_unknown: bool,
    changes: Vec<(&'static str, String)>,
    overall: Option<Overall>,
    snapshot: Vec<Progress>,
    events: Vec<EventRow>,
    position: Option<(String, String, When)>,
}

fn tiles(placed: &Placed) -> Vec<Tile> {
    let whole = |name: &str| {
        placed.status.report.as_ref().and_then(|(report, _)| report.figures.get(name)).and_then(Value::as_u64)
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let so_far = "since its start";
    let all = vec![
        Tile { name: "Lag", value: or_dash(figure(placed, "lag_seconds").map(span)), unit: "behind the source" },
        Tile {
            name: "Rows/s",
            value: or_dash(figure(placed, "rows_per_second").map(rate)),
            unit: "in the last seconds",
        },
        Tile { name: "Rows written", value: or_dash(whole("rows_written_total").map(count)), unit: so_far },
        Tile { name: "Bytes written", value: or_dash(whole("bytes_written_total").map(bytes)), unit: so_far },
        Tile { name: "Commits", value: or_dash(whole("commits_total").map(count)), unit: so_far },
    ];
    // Figures that nobody has told are not worth a row.
    if all.iter().all(|tile| tile.value == "–") { Vec::new() } else { all }
}

const OPS: [(&str, &str); 5] = [
    ("create", "Inserts"),
    ("update", "Updates"),
    ("delete", "Deletes"),
    ("truncate", "Truncates"),
    ("read", "Read by the snapshot"),
];

pub(crate) async fn overview(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let now = app.now();
    let placed = app.placed(&visitor.caller, &id).await?;
    let body = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    let fresh = is_fresh(&placed, now);
    let report = placed.status.report.as_ref();
    let changes = report.and_then(|(report, _)| report.figures.get("changes_total"));
    let events = app.newest_events(&placed.pipeline).await?;
    let mut snapshot: Vec<Progress> = report.map_or_else(Vec::new, |(report, _)| {
        report.tables.iter().filter(|table| table.snapshot != "none").map(progress).collect()
    });
    snapshot.sort_by_key(|progress| progress.is_finished);
    snapshot.truncate(12);
    Ok(page(&OverviewPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "overview", now),
        flow: flow(&placed, &body, now),
        tiles: tiles(&placed),
        is_unknown: placed.status.word == "UNKNOWN",
        stale: report.filter(|_| !fresh).map(|(_, at)| When::new(*at, now)),
        changes: OPS.into_iter().filter_map(|(op, name)| Some((name, count(changes?.get(op)?.as_u64()?)))).collect(),
        overall: report.and_then(|(report, _)| overall(report, figure(&placed, "rows_per_second").filter(|_| fresh))),
        snapshot,
        events: events.into_iter().take(5).map(|event| EventRow::new(event, now)).collect(),
        position: report.and_then(|(report, _)| report.checkpoint.as_ref()).and_then(|checkpoint| {
            let at = Timestamp::parse(&checkpoint.at)?;
            Some((checkpoint.position.clone(), count(checkpoint.commit), When::new(at, now)))
        }),
    }))
}

/// A table of the pipeline, and what is known of it.
struct TableRow {
    name: String,
    rows: String,
    snapshot: Option<Progress>,
}

#[derive(Template)]
#[template(path = "pipeline_tables.html")]
struct TablesPage {
    shell: Shell,
    head: Head,
    rows: Vec<TableRow>,
    total: usize,
    q: String,
}

/// A page shows so many tables; searching finds the others.
const TABLES: usize = 500;

pub(crate) async fn tables(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, &id).await?;
    let body: Value = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    let chosen = body["streamingSource"]["tables"].as_array().cloned().unwrap_or_default();
    let reported = placed.status.report.as_ref().map_or(&[][..], |(report, _)| &report.tables);
    let q = query.get("q").trim().to_lowercase();
    let names = chosen.iter().map(|table| {
        format!("{}.{}", table["schema"].as_str().unwrap_or_default(), table["table"].as_str().unwrap_or_default())
    });
    let found: Vec<String> = names.filter(|name| name.to_lowercase().contains(&q)).collect();
    let total = found.len();
    let rows = found.into_iter().take(TABLES).map(|name| {
        let told = reported.iter().find(|table| table.table == name);
        TableRow {
            rows: told.map_or_else(String::new, |table| count(table.rows)),
            snapshot: told.filter(|table| table.snapshot != "none").map(progress),
            name,
        }
    });
    Ok(page(&TablesPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "tables", app.now()),
        rows: rows.collect(),
        total,
        q: query.get("q").to_owned(),
    }))
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
}

pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let now = app.now();
    let placed = app.placed(&visitor.caller, &id).await?;
    let events = app.newest_events(&placed.pipeline).await?;
    Ok(page(&EventsPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "events", now),
        events: events.into_iter().map(|event| EventRow::new(event, now)).collect(),
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
    summary: Summary,
    confirmation: Field,
}

fn deletion_page(visitor: &Visitor, placed: &Placed, (typed, wrong): (&str, Wrong)) -> DeletionPage {
    let body = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    let (kind, place) = super::flow::target_of(&body);
    DeletionPage {
        shell: visitor.shell(format!("Delete {}", placed.pipeline.name), "pipelines"),
        id: placed.pipeline.id.clone(),
        name: placed.pipeline.name.clone(),
        is_wanted: placed.pipeline.wanted == "running",
        target: format!("{kind} {place}"),
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
    Ok(page(&deletion_page(&visitor, &placed, ("", Wrong::default()))))
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
        return Ok(with_status(StatusCode::BAD_REQUEST, &deletion_page(&visitor, &placed, (typed, wrong))));
    }
    app.delete_pipeline(&visitor.caller, (&placed.project.id, &id), false, |_| false).await?;
    Ok(Redirect::to("/pipelines").into_response())
}
