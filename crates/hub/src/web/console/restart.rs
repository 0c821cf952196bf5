//! RESTART: tables are read anew. Typed confirmation, because their files so far leave the lake.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value};

use super::flow::target_of;
use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Field, Summary};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::console::Placed;
use crate::app::pipelines::PipelineCommand;

/// A page shows so many tables to choose from; others are named.
const MOST: usize = 200;
/// Reasons under which only a restart of all tables goes on.
const NEEDS_ALL: [&str; 1] = ["log_lost"];

#[derive(Template)]
#[template(path = "pipeline_restart.html")]
struct RestartPage {
    shell: Shell,
    id: String,
    name: String,
    target: String,
    is_wanted: bool,
    /// Only all tables together.
    needs_all: bool,
    summary: Summary,
    tables: Vec<(String, bool)>,
    total: usize,
    some: bool,
    more: Field,
    confirmation: Field,
}

/// What a pipeline names as its tables, or has in its lake by what its agent says.
fn tables_of(placed: &Placed, body: &Map<String, Value>) -> Vec<String> {
    let reported = placed.status.report.as_ref().map(|(report, _)| &report.tables);
    let mut names: Vec<String> = reported.into_iter().flatten().map(|table| table.table.clone()).collect();
    let chosen = body.get("streamingSource").and_then(|source| source.get("tables")).and_then(Value::as_array);
    for table in chosen.into_iter().flatten() {
        let text = |name: &str| table.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = format!("{}.{}", text("schema"), text("table"));
        if text("table") != "*" && !names.contains(&name) {
            names.push(name);
        }
    }
    names.sort();
    names
}

fn restart_page(visitor: &Visitor, placed: &Placed, (fields, wrong): (&Fields, Wrong)) -> RestartPage {
    let body = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    let (kind, place) = target_of(&body);
    let names = tables_of(placed, &body);
    let marked: Vec<&str> = fields.all("table").collect();
    let reason = placed.status.reason.as_ref().map(|reason| reason.code.as_str());
    let needs_all = reason.is_some_and(|code| NEEDS_ALL.contains(&code));
    RestartPage {
        shell: visitor.shell(format!("Restart {}", placed.pipeline.name), "pipelines"),
        id: placed.pipeline.id.clone(),
        name: placed.pipeline.name.clone(),
        target: format!("{kind} {place}"),
        is_wanted: placed.pipeline.wanted == "running",
        needs_all,
        total: names.len(),
        tables: names
            .into_iter()
            .take(MOST)
            .map(|name| (marked.contains(&name.as_str()), name))
            .map(|(m, n)| (n, m))
            .collect(),
        some: fields.get("which") == "some" && !needs_all,
        more: Field::text("more", "Other tables", fields.get("more"), &wrong)
            .kind("area", "off")
            .help("schema.table, one a line.")
            .optional()
            .most(100_000),
        confirmation: Field::text("confirmation", "Type the pipeline's name", fields.get("confirmation"), &wrong)
            .help("Exactly as it stands above."),
        summary: Summary(wrong),
    }
}

pub(crate) async fn ask(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, &id).await?;
    Ok(page(&restart_page(&visitor, &placed, (&query, Wrong::default()))))
}

pub(crate) async fn restart(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, &id).await?;
    let mut wrong = Wrong::default();
    let tables = (fields.get("which") == "some").then(|| {
        let more = fields.get("more").lines().map(str::trim).filter(|line| !line.is_empty());
        let mut names: Vec<String> = fields.all("table").chain(more).map(str::to_owned).collect();
        names.dedup();
        names
    });
    if tables.as_ref().is_some_and(Vec::is_empty) {
        wrong.add("more", "must be chosen: at least one table, or all of them");
    }
    if let Some(odd) = tables.iter().flatten().find(|name| !name.contains('.')) {
        wrong.add("more", format!("must be schema.table on each line, not `{odd}`"));
    }
    if fields.get("confirmation") != placed.pipeline.name {
        wrong.add("confirmation", format!("must be {}", placed.pipeline.name));
    }
    if wrong.any() {
        return Ok(with_status(StatusCode::BAD_REQUEST, &restart_page(&visitor, &placed, (&fields, wrong))));
    }
    let at = (placed.project.id.as_str(), id.as_str());
    let command = PipelineCommand::Restart { tables, adopt: fields.get("adopt") == "yes" };
    app.command_pipeline(&visitor.caller, at, command, None).await?;
    Ok(Redirect::to(&format!("/pipelines/{id}/commands")).into_response())
}
