//! The last step: the whole pipeline as a file, what is missing of it, what it changes; and how an edit begins.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value};

use super::{OF, Trail, form};
use crate::app::App;
use crate::app::pipelines::PipelineCommand;
use crate::db::drafts::Draft;
use crate::db::pipelines::Pipeline;
use crate::fault::Refused;
use crate::web::api::pipelines::checked;
use crate::web::console::diff::{Line, diff};
use crate::web::console::page::{Mishap, Shell, Wrong, with_status};
use crate::web::console::show::Summary;
use crate::web::console::visitor::{Fields, Sent, Visitor};
use crate::web::console::yaml;

/// The note that says which revision an edit began with.
const REVISION: &str = "revision";
/// The note that says which pipeline it was that an edit began with, and that is deleted.
const GONE: &str = "gone";

#[derive(Template)]
#[template(path = "wizard_review.html")]
pub(super) struct ReviewPage {
    shell: Shell,
    trail: Trail,
    summary: Summary,
    yaml: String,
    missing: Vec<(&'static str, &'static str)>,
    /// It replaces one that is there.
    is_edit: bool,
    changes: Vec<Line>,
    moves: bool,
    is_wanted: bool,
    /// The one that it was to replace is deleted.
    is_gone: bool,
}

pub(super) async fn review_page(
    app: &App,
    visitor: &Visitor,
    draft: &Draft,
    wrong: Wrong,
) -> Result<ReviewPage, Mishap> {
    let spec = draft.spec();
    let has =
        |path: &[&str]| form::at(&spec, path).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()));
    let needed: [(&[&str], &str, &str); 4] = [
        (&["agentId"], "name", "an agent"),
        (&["streamingSource", "connection"], "source", "a source"),
        (&["streamingSource", "tables"], "tables", "at least one table"),
        (&["streamingTarget"], "target", "a target"),
    ];
    let before = match draft.note(OF) {
        Some(id) => Some(app.placed(&visitor.caller, &id).await?.pipeline),
        None => None,
    };
    let old: Map<String, Value> =
        before.as_ref().and_then(|before| serde_json::from_str(&before.body).ok()).unwrap_or_default();
    let written = yaml::file(&spec);
    Ok(ReviewPage {
        shell: visitor.shell("Create pipeline", "pipelines"),
        trail: Trail::of(draft, "review"),
        summary: Summary(wrong),
        missing: needed.into_iter().filter(|(path, ..)| !has(path)).map(|(_, step, what)| (step, what)).collect(),
        changes: if before.is_some() { diff(&yaml::file(&old), &written) } else { Vec::new() },
        moves: before.is_some() && crate::app::status::root(&old) != crate::app::status::root(&spec),
        is_wanted: before.as_ref().is_some_and(|before| before.wanted == "running"),
        is_edit: before.is_some(),
        is_gone: draft.note(GONE).is_some(),
        yaml: written,
    })
}

/// A draft as it is now. The pipeline that it was to change may be deleted by now: then it is one of a new pipeline, so that nothing
/// that somebody has typed is out of reach.
pub(super) async fn draft(app: &App, visitor: &Visitor, id: &str) -> Result<Draft, Mishap> {
    let mut draft = app.draft(&visitor.caller, id).await?;
    if let Some(of) = draft.note(OF) {
        match app.placed(&visitor.caller, &of).await {
            Err(Refused::NotFound(_)) => {
                draft.forget(&[OF, REVISION]);
                draft.remember(GONE, &of);
            }
            found => drop(found?),
        }
    }
    Ok(draft)
}

/// A draft of what is there already; its last step replaces it.
pub(crate) async fn edit(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, _): Sent,
) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, &id).await?;
    let mut draft = app.new_draft(&visitor.caller, &placed.project.id).await?;
    draft.body = placed.pipeline.body;
    draft.remember(OF, &id);
    draft.remember(REVISION, &placed.pipeline.revision.to_string());
    let next = format!("/pipelines/new/{}/review", draft.id);
    app.keep_draft(draft).await?;
    Ok(Redirect::to(&next).into_response())
}

pub(super) async fn create(app: &App, visitor: &Visitor, draft: &Draft, fields: &Fields) -> Result<Response, Mishap> {
    let known = draft.note(REVISION);
    // Somebody else has changed it since this edit began: nothing of theirs is undone unseen.
    let stale = |pipeline: &Pipeline| known.as_ref().is_some_and(|known| *known != pipeline.revision.to_string());
    let created = match checked(Value::Object(draft.spec()), None) {
        Ok(new) => match draft.note(OF) {
            Some(id) => app.replace_pipeline(&visitor.caller, (&draft.project_id, &id), new, stale).await,
            None => app.create_pipeline(&visitor.caller, &draft.project_id, new, None).await,
        },
        Err(refused) => Err(refused),
    };
    match created {
        Ok(pipeline) => {
            app.discard_draft(&visitor.caller, &draft.id).await?;
            if fields.get("go") == "start" {
                let at = (draft.project_id.as_str(), pipeline.id.as_str());
                app.command_pipeline(&visitor.caller, at, PipelineCommand::Start, None).await?;
            }
            Ok(Redirect::to(&format!("/pipelines/{}", pipeline.id)).into_response())
        }
        Err(refused) => {
            let wrong = Wrong::from(refused)?;
            Ok(with_status(StatusCode::BAD_REQUEST, &review_page(app, visitor, draft, wrong).await?))
        }
    }
}
