//! A pipeline as it was: its revisions, what each changed, and the way back to one; and what its agent was asked to do.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value};

use super::diff::{Line, diff};
use super::json;
use super::page::{Mishap, Shell, page};
use super::pager::Earlier;
use super::pipeline::{Head, head};
use super::show::{Badge, Shape, When, filters};
use super::visitor::{Fields, Sent, Visitor};
use super::yaml;
use crate::app::App;
use crate::app::console::Placed;
use crate::db::commands::Command;
use crate::fault::Refused;
use millrace_model::Timestamp;

/// Revisions on a page.
const SIZE: i64 = 25;
/// Commands on a page.
pub(super) const COMMANDS: i64 = 50;

/// A revision as a row.
struct Row {
    revision: i64,
    author: String,
    created: When,
    /// `current`, `running`, `refused`.
    marks: Vec<Badge>,
}

#[derive(Template)]
#[template(path = "pipeline_revisions.html")]
struct RevisionsPage {
    shell: Shell,
    head: Head,
    rows: Vec<Row>,
    page: i64,
    pages: i64,
    /// The one that is looked at, and the one that it is compared with.
    looked_at: i64,
    compared: i64,
    changes: Vec<Line>,
    yaml: String,
    is_newest: bool,
}

fn marks(placed: &Placed, revision: i64) -> Vec<Badge> {
    let mut marks = Vec::new();
    let report = placed.status.report.as_ref().map(|(report, _)| report);
    let is = |number: u64| i64::try_from(number) == Ok(revision);
    if revision == placed.pipeline.revision {
        marks.push(Badge::new(Shape::Ring, "quiet", "Newest"));
    }
    if report.is_some_and(|report| is(report.revision) && report.status != "NOT_RUNNING") {
        marks.push(Badge::new(Shape::Dot, "good", "Running"));
    }
    if report.and_then(|report| report.refused.as_ref()).is_some_and(|refused| is(refused.revision)) {
        marks.push(Badge::new(Shape::Triangle, "bad", "Refused"));
    }
    marks
}

fn written(body: &str) -> String {
    let body: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
    yaml::file(&body)
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let now = app.now();
    let placed = app.placed(&visitor.caller, &id).await?;
    let number = |name: &str| query.get(name).parse::<i64>().ok();
    let at = number("page").unwrap_or(0).max(0);
    let (revisions, total) = app.pipeline_revisions(&placed.pipeline, (at, SIZE)).await?;
    let names = app.names(&visitor.caller).await?;
    let looked_at = number("revision").unwrap_or(placed.pipeline.revision);
    let compared = number("with").unwrap_or(looked_at - 1);
    let one = app.pipeline_revision(&placed.pipeline, looked_at).await?;
    let one = one.ok_or(Refused::NotFound("this revision"))?;
    let other = app.pipeline_revision(&placed.pipeline, compared).await?;
    let yaml = written(&one.body);
    Ok(page(&RevisionsPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        rows: revisions
            .into_iter()
            .map(|revision| Row {
                marks: marks(&placed, revision.revision),
                author: names.get(&revision.author).cloned().unwrap_or(revision.author),
                created: When::new(revision.created_at, now),
                revision: revision.revision,
            })
            .collect(),
        page: at,
        pages: (total + SIZE - 1) / SIZE,
        changes: other.map_or_else(Vec::new, |other| diff(&written(&other.body), &yaml)),
        is_newest: looked_at == placed.pipeline.revision,
        head: head(&placed, "revisions", now),
        looked_at,
        compared,
        yaml,
    }))
}

pub(crate) async fn roll_back(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, &id).await?;
    let revision = fields.get("revision").parse().unwrap_or(0);
    app.roll_back_pipeline(&visitor.caller, (&placed.project.id, &id), revision, |_| false).await?;
    Ok(Redirect::to(&format!("/pipelines/{id}/revisions")).into_response())
}

/// A command as a row.
pub(crate) struct Asked {
    pub(crate) badge: Badge,
    pub(crate) what: String,
    pub(crate) by: String,
    pub(crate) at: When,
    pub(crate) became: String,
    pub(crate) cure: String,
}

/// What a command has come to, in words.
pub(crate) fn asked(command: &Command, by: String, now: Timestamp) -> Asked {
    let result: Value = command.result.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let arguments: Value = serde_json::from_str(&command.arguments).unwrap_or_default();
    let text = |path: &str| json::text(&result, path).to_owned();
    let (badge, became) = match command.state.as_str() {
        "done" => (Badge::new(Shape::Dot, "good", "Done"), done(&command.kind, &result)),
        "failed" => (Badge::new(Shape::Triangle, "bad", "Not done"), text("/message")),
        _ if command.expires_at <= now => {
            (Badge::new(Shape::Half, "doubt", "Expired"), "the agent was away for too long; nothing was done".into())
        }
        _ => (Badge::new(Shape::Ring, "busy", "Waiting"), "the agent does it as soon as it can".into()),
    };
    let tables: Vec<&str> = json::list(&arguments, "/tables").iter().filter_map(Value::as_str).collect();
    let what = match (command.kind.as_str(), tables.len()) {
        ("restart", 0) => "Restart of all tables".into(),
        ("restart", 1..=3) => format!("Restart of {}", tables.join(", ")),
        ("restart", many) => format!("Restart of {many} tables"),
        ("cleanup", _) => "Clean up slot and publication".into(),
        ("check", _) => "Check".into(),
        ("discover", _) => "Look for tables".into(),
        (other, _) => other.to_owned(),
    };
    let cure = if command.state == "failed" { text("/cure") } else { String::new() };
    Asked { badge, what, by, at: When::new(command.issued_at, now), became, cure }
}

fn done(kind: &str, result: &Value) -> String {
    match kind {
        "restart" => format!(
            "commit {}: {} files left the lake{}",
            json::at(result, "/commit"),
            json::at(result, "/removed"),
            if json::at(result, "/new_slot") == true { ", and a new slot was made" } else { "" }
        ),
        "cleanup" => {
            let dropped = [("/slot", "slot"), ("/publication", "publication")];
            let names =
                dropped.iter().filter_map(|(at, word)| Some(format!("{word} {}", json::at(result, at).as_str()?)));
            let names: Vec<String> = names.collect();
            if names.is_empty() {
                "there was nothing to drop".into()
            } else {
                format!("dropped {}", names.join(" and "))
            }
        }
        "check" if json::at(result, "/ok") == true => "all is well".into(),
        "check" => "something is in the way".into(),
        _ => format!("{} tables", json::at(result, "/total").as_u64().unwrap_or_default()),
    }
}

#[derive(Template)]
#[template(path = "pipeline_commands.html")]
struct CommandsPage {
    shell: Shell,
    head: Head,
    rows: Vec<Asked>,
    earlier: Earlier,
}

pub(crate) async fn commands(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let now = app.now();
    let placed = app.placed(&visitor.caller, &id).await?;
    let names = app.names(&visitor.caller).await?;
    let all = app.pipeline_commands(&placed.pipeline, &Earlier::part(&query, COMMANDS)).await?;
    let by = |command: &Command| names.get(&command.issued_by).unwrap_or(&command.issued_by).clone();
    Ok(page(&CommandsPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "commands", now),
        earlier: Earlier::new(&query, all.next.as_ref()),
        rows: all.rows.into_iter().map(|command| (by(&command), command)).map(|(by, it)| asked(&it, by, now)).collect(),
    }))
}
