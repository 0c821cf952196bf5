//! What an agent's process takes of its machine, over time.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use millrace_model::Timestamp;

use super::agent::{Head, head};
use super::chart::{Charts, Drawn, Line, Range, wants_table};
use super::page::{Mishap, Shell, page};
use super::show::bytes;
use super::visitor::{Fields, Visitor};
use crate::app::App;
use crate::db::figures::Counter;

#[derive(Template)]
#[template(path = "agent_figures.html")]
struct FiguresPage {
    shell: Shell,
    head: Head,
    charts: Charts,
}

const LINES: [Line; 2] = [
    Line {
        name: "Memory",
        unit: "",
        value: |bucket| bucket.memory.map(|bytes| bytes as f64),
        shown: |value| bytes(value.max(0.0).round() as u64),
        least: 50e6,
    },
    Line {
        name: "Processor",
        unit: "",
        // Milliseconds a second are thousandths of one processor.
        value: |bucket| bucket.per_second(Counter::Cpu).map(|milliseconds| milliseconds / 10.0),
        shown: |value| format!("{value:.1} %"),
        least: 10.0,
    },
];

pub(crate) async fn figures(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    let now = app.now();
    let range = Range::of(&query);
    let past = (Timestamp(now.0 - range.long), now);
    let course = app.course(&id, past, None).await?;
    let table = if wants_table(&query) { Some(app.course(&id, past, Some(range.row())).await?) } else { None };
    let charts = Charts::new(Drawn {
        course: &course,
        table: table.as_ref(),
        range,
        query: &query,
        lines: &LINES,
        faults: Vec::new(),
        run_word: "a process began",
    });
    let shell = visitor.shell(&agent.name, "agents");
    Ok(page(&FiguresPage { shell, head: head(&app, &visitor, &agent, "figures").await?, charts }))
}
