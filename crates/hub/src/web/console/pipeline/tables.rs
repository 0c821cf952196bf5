//! The tables of a pipeline: what was written of each, and how far its snapshot is.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use millrace_model::Timestamp;
use millrace_protocol::gateway::ReportedTable;
use serde_json::Value;

use super::snapshot::{Progress, progress};
use super::{Head, head};
use crate::app::App;
use crate::web::console::page::{Mishap, Shell, page};
use crate::web::console::show::{When, bytes, count, filters};
use crate::web::console::visitor::{Fields, Visitor};

/// A page shows so many tables; searching finds the others.
const TABLES: usize = 500;

/// A table of the pipeline, and what is known of it.
struct Row {
    name: String,
    /// Rows, inserts, updates, deletes, truncates, bytes; empty where nothing was told.
    figures: Vec<String>,
    snapshot: Option<Progress>,
}

#[derive(Template)]
#[template(path = "pipeline_tables.html")]
struct TablesPage {
    shell: Shell,
    head: Head,
    rows: Vec<Row>,
    total: usize,
    q: String,
    sort: String,
    query: Fields,
    /// When the run began that counted.
    since: Option<When>,
}

impl TablesPage {
    fn sorted(&self, column: &str) -> bool {
        self.sort == column
    }
}

fn row(name: String, told: Option<&ReportedTable>) -> Row {
    let figures = told.map_or_else(Vec::new, |table| {
        let changes = [table.inserts, table.updates, table.deletes, table.truncates];
        let counts = [table.rows].into_iter().chain(changes).map(count);
        counts.chain([bytes(table.bytes)]).collect()
    });
    Row { figures, snapshot: told.filter(|table| table.snapshot != "none").map(progress), name }
}

pub(crate) async fn tables(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let now = app.now();
    let placed = app.placed(&visitor.caller, &id).await?;
    let body: Value = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    let chosen = body.pointer("/streamingSource/tables").and_then(Value::as_array).cloned().unwrap_or_default();
    let report = placed.status.report.as_ref().map(|(report, _)| report);
    let reported = report.map_or(&[][..], |report| &report.tables);
    let told: HashMap<&str, &ReportedTable> = reported.iter().map(|table| (table.table.as_str(), table)).collect();
    let q = query.get("q").trim().to_lowercase();
    let part = |table: &Value, name| table.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut names: Vec<String> =
        chosen.iter().map(|table| format!("{}.{}", part(table, "schema"), part(table, "table"))).collect();
    // Patterns name tables that only the agent knows.
    let more: Vec<String> =
        reported.iter().map(|table| table.table.clone()).filter(|name| !names.contains(name)).collect();
    names.extend(more);
    names.retain(|name| name.to_lowercase().contains(&q));
    let sort = query.get("sort").to_owned();
    let rows_of = |name: &String| told.get(name.as_str()).map_or(0, |table| table.rows);
    match sort.as_str() {
        "name" => names.sort(),
        "rows" => names.sort_by_key(|name| std::cmp::Reverse(rows_of(name))),
        _ => {}
    }
    let total = names.len();
    let since = report.and_then(|report| Timestamp::parse(report.counted_since.as_deref()?));
    Ok(page(&TablesPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "tables", now),
        rows: names.into_iter().take(TABLES).map(|name| row(name.clone(), told.get(name.as_str()).copied())).collect(),
        total,
        q: query.get("q").to_owned(),
        sort,
        query,
        since: since.map(|at| When::new(at, now)),
    }))
}
