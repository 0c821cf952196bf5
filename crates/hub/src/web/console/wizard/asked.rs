//! What the wizard asks of the agent, and what has come of it: the source alone, the tables that it has, the target alone.

use askama::Template;
use askama::filters::HtmlSafe;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value};

use super::{OF, form};
use crate::app::App;
use crate::app::status::AgentStatus;
use crate::db::drafts::Draft;
use crate::web::console::json;
use crate::web::console::page::Mishap;
use crate::web::console::show::{Badge, Shape, filters};
use crate::web::console::visitor::Visitor;

/// A question, by the note of a draft that remembers its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether the source can be read.
    Source,
    /// Which tables it has.
    Tables,
    /// Whether the target can be written.
    Target,
}

/// Notes that belong to another source, once it is changed.
pub(super) const OF_SOURCE: [&str; 2] = ["check", "discover"];
/// The same of a target.
pub(super) const OF_TARGET: &str = "target";

impl Question {
    fn note(self) -> &'static str {
        match self {
            Self::Source => "check",
            Self::Tables => "discover",
            Self::Target => OF_TARGET,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Source | Self::Target => "check",
            Self::Tables => "discover",
        }
    }

    /// What the agent is sent: the part that is asked about, under the name that slot and publication would have.
    fn arguments(self, spec: &Map<String, Value>, name: Option<String>) -> Value {
        let mut asked = Map::new();
        let mut take = |part: &str| {
            if let Some(value) = spec.get(part) {
                asked.insert(part.to_owned(), value.clone());
            }
        };
        match self {
            Self::Source | Self::Tables => ["streamingSource", "advancedProperties"].into_iter().for_each(&mut take),
            Self::Target => take("streamingTarget"),
        }
        let name = name.map(Value::String).or_else(|| spec.get("name").cloned());
        if let Some(name) = name.filter(|name| name.as_str().is_some_and(|name| !name.is_empty())) {
            asked.insert("name".into(), name);
        }
        // What could not be sent through the API is not sent from here: the agent says what is wrong with the rest.
        match self {
            Self::Tables => serde_json::json!({"spec": asked, "columns": false}),
            Self::Source | Self::Target => serde_json::json!({"spec": asked}),
        }
    }
}

/// What a question has come to.
pub(super) struct Answer {
    /// `none waiting away late done failed`.
    pub(super) state: &'static str,
    pub(super) result: Value,
}

pub(super) async fn answer(app: &App, visitor: &Visitor, draft: &Draft, to: Question) -> Result<Answer, Mishap> {
    let none = Answer { state: "none", result: Value::Null };
    let Some(id) = draft.note(to.note()) else { return Ok(none) };
    let Some(command) = app.question(&visitor.caller, &id).await? else { return Ok(none) };
    let result = command.result.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    let state = match command.state.as_str() {
        "done" => "done",
        "failed" => "failed",
        _ if command.expires_at <= app.now() => "late",
        _ => match app.agent(&visitor.caller, &command.agent_id).await {
            Ok(agent) if app.agent_status(&agent) == AgentStatus::Running => "waiting",
            _ => "away",
        },
    };
    Ok(Answer { state, result })
}

/// Asks, and leads to where the answer will be.
pub(super) async fn ask(
    app: &App,
    visitor: &Visitor,
    mut draft: Draft,
    (question, step): (Question, &str),
) -> Result<Response, Mishap> {
    let spec = draft.spec();
    let agent = form::text_at(&spec, &["agentId"]);
    // An edited pipeline's slot is named after its first name.
    let name = match draft.note(OF) {
        Some(id) => Some(app.placed(&visitor.caller, &id).await?.pipeline.first_name),
        None => None,
    };
    let arguments = question.arguments(&spec, name);
    let id = app.ask_agent(&visitor.caller, (&agent, question.kind()), arguments, None).await?;
    draft.remember(question.note(), &id);
    let next = format!("/pipelines/new/{}/{step}", draft.id);
    app.keep_draft(draft).await?;
    Ok(Redirect::to(&next).into_response())
}

/// Something that the agent found.
struct Finding {
    badge: Badge,
    code: String,
    subject: String,
    message: String,
    cure: String,
}

fn finding(found: &Value) -> Finding {
    let text = |name: &str| json::text(found, name).to_owned();
    let badge = match json::text(found, "/severity") {
        "error" => Badge::new(Shape::Triangle, "bad", "Error"),
        "warning" => Badge::new(Shape::Half, "doubt", "Warning"),
        _ => Badge::new(Shape::Ring, "quiet", "Info"),
    };
    Finding { badge, code: text("/code"), subject: text("/subject"), message: text("/message"), cure: text("/cure") }
}

/// The answer to a check, as a part of a page.
#[derive(Template)]
#[template(path = "parts/verdict.html")]
pub(super) struct Verdict {
    state: &'static str,
    pub(super) ok: bool,
    findings: Vec<Finding>,
    message: String,
    cure: String,
    fault: String,
    /// The page, to look again.
    path: String,
    live: bool,
    /// What is said before anything was asked, where all is well, and where not.
    words: [&'static str; 3],
}

impl HtmlSafe for Verdict {}

const OF_THE_SOURCE: [&str; 3] = [
    "The agent connects to the source as the pipeline would, and says what it finds. Nothing is changed there.",
    "The connection works.",
    "The connection does not work yet.",
];
const OF_THE_TARGET: [&str; 3] = [
    "The agent writes a throw-away file as the pipeline would: once, and not twice. It reads, lists and deletes it again.",
    "The target works: a throw-away file was created once, read, listed and deleted.",
    "The target does not work yet.",
];

pub(super) async fn verdict(app: &App, visitor: &Visitor, draft: &Draft, to: Question) -> Result<Verdict, Mishap> {
    let Answer { state, result } = answer(app, visitor, draft, to).await?;
    let findings: Vec<Finding> = json::list(&result, "/findings").iter().map(finding).collect();
    let text = |path: &str| json::text(&result, path).to_owned();
    Ok(Verdict {
        ok: state == "done" && *json::at(&result, "/ok") == true,
        state,
        findings,
        message: text("/message"),
        cure: text("/cure"),
        fault: text("/fault"),
        path: visitor.look.path.clone(),
        live: visitor.look.live,
        words: if to == Question::Target { OF_THE_TARGET } else { OF_THE_SOURCE },
    })
}
