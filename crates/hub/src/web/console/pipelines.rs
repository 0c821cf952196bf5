//! The list of pipelines.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::chart::Spark;
use super::flow::{EmptyFlow, Strip, figure, is_fresh, source_of, strip, target_of};
use super::page::{Mishap, Shell, page};
use super::pager::Pager;
use super::show::{Badge, When, rate, span, visible};
use super::visitor::{Fields, Visitor};
use crate::app::App;
use crate::app::console::Placed;

struct Row {
    id: String,
    name: String,
    badge: Badge,
    strip: Strip,
    source: String,
    source_kind: String,
    agent: Option<(String, String)>,
    target: String,
    target_kind: String,
    rows: String,
    spark: Option<Spark>,
    lag: String,
    project: String,
    order: (String, f64),
}

/// A pipeline that is not finished.
struct DraftRow {
    id: String,
    name: String,
    updated: When,
}

#[derive(Template)]
#[template(path = "pipelines.html")]
struct PipelinesPage {
    shell: Shell,
    rows: Vec<Row>,
    drafts: Vec<DraftRow>,
    total: usize,
    has_projects: bool,
    q: String,
    query: Fields,
    sort: String,
    statuses: Vec<(String, String, usize, bool)>,
    empty: EmptyFlow,
    pager: Pager,
}

impl PipelinesPage {
    fn sorted(&self, column: &str) -> bool {
        self.sort == column
    }
}

fn row(app: &App, placed: &Placed) -> Row {
    let now = app.now();
    let body = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    let reason = placed.status.reason.as_ref().map(|reason| reason.code.as_str());
    let fresh = is_fresh(placed, now);
    let shown = |name: &str| figure(placed, name).filter(|_| fresh);
    let (source_kind, source_place) = source_of(&body);
    let (target_kind, target_place) = target_of(&body);
    Row {
        id: placed.pipeline.id.clone(),
        name: visible(&placed.pipeline.name),
        badge: Badge::of_pipeline(&placed.status.word, reason),
        strip: strip(placed, now),
        source: source_place,
        source_kind,
        agent: placed.agent.as_ref().map(|agent| (agent.id.clone(), agent.name.clone())),
        target: target_place,
        target_kind,
        rows: shown("rows_per_second").map_or_else(String::new, rate),
        spark: None,
        lag: shown("lag_seconds").map_or_else(String::new, span),
        project: placed.project.name.clone(),
        order: (placed.pipeline.name.to_lowercase(), shown("lag_seconds").map_or(0.0, |lag| -lag)),
    }
}

pub(crate) async fn list(State(app): State<Arc<App>>, visitor: Visitor, query: Fields) -> Result<Response, Mishap> {
    let placed = app.all_pipelines(&visitor.caller).await?;
    let has_projects = app.all_projects(&visitor.caller).await?.len() > 1;
    let total = placed.len();
    let q = query.get("q").trim().to_lowercase();
    let mut rows: Vec<Row> = placed.iter().map(|placed| row(&app, placed)).collect();
    rows.retain(|row| {
        let all = [&row.name, &row.source, &row.target, &row.source_kind, &row.target_kind];
        q.is_empty() || all.iter().any(|text| text.to_lowercase().contains(&q))
    });
    let wanted = query.get("status").to_owned();
    let mut words: Vec<String> = rows.iter().map(|row| row.badge.word.clone()).collect();
    words.sort();
    words.dedup();
    let statuses = words
        .into_iter()
        .map(|word| {
            let count = rows.iter().filter(|row| row.badge.word == word).count();
            let is_chosen = wanted == word;
            (word.clone(), query.with("status", if is_chosen { "" } else { &word }), count, is_chosen)
        })
        .collect();
    rows.retain(|row| wanted.is_empty() || row.badge.word == wanted);
    let sort = query.get("sort").to_owned();
    match sort.as_str() {
        "name" => rows.sort_by(|a, b| a.order.0.cmp(&b.order.0)),
        "status" => rows.sort_by(|a, b| (&a.badge.word, &a.order.0).cmp(&(&b.badge.word, &b.order.0))),
        "lag" => rows.sort_by(|a, b| a.order.1.total_cmp(&b.order.1)),
        _ => {}
    }
    let pager = Pager::cut(&mut rows, &query);
    let shown: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let hours = app.last_hour(&shown).await?;
    for row in &mut rows {
        row.spark = hours.get(&row.id).and_then(Spark::new);
    }
    let now = app.now();
    let drafts = app.drafts(&visitor.caller).await?.into_iter().map(|draft| DraftRow {
        name: visible(draft.spec().get("name").and_then(|name| name.as_str()).unwrap_or("without a name")),
        updated: When::new(draft.updated_at, now),
        id: draft.id,
    });
    let shell = visitor.shell("Pipelines", "pipelines");
    let drafts = drafts.collect();
    let q = query.get("q").to_owned();
    let empty = EmptyFlow;
    Ok(page(&PipelinesPage { shell, rows, drafts, total, has_projects, q, query, sort, statuses, empty, pager }))
}
