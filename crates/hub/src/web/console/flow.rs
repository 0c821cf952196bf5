//! A pipeline as what it is: source, agent, target, and what flows between them. A broken link shows where it broke.

use askama::Template;
use askama::filters::HtmlSafe;
use millrace_model::Timestamp;
use serde_json::{Map, Value};

use super::show::{Badge, Shape, ago, rate, span, spelled};
use crate::app::console::Placed;
use crate::app::status::{self, AgentStatus};

/// A report older than this is not how things are.
const STALE: i64 = 60_000_000;

/// One of the three.
pub(crate) struct Node {
    pub(crate) part: &'static str,
    pub(crate) name: String,
    pub(crate) place: String,
    pub(crate) badge: Badge,
    /// A page about it.
    pub(crate) link: Option<String>,
}

/// What flows from one to the next.
pub(crate) struct Arrow {
    /// `flows`, `still`, `broken`, `doubt`.
    pub(crate) state: &'static str,
    pub(crate) lines: Vec<String>,
}

/// The strip at its full size.
#[derive(Template)]
#[template(path = "parts/flow.html")]
pub(crate) struct Flow {
    pub(crate) source: Node,
    pub(crate) agent: Node,
    pub(crate) target: Node,
    pub(crate) reading: Arrow,
    pub(crate) writing: Arrow,
}

impl HtmlSafe for Flow {}

impl Flow {
    /// Each part, and what flows from it to the next.
    fn parts(&self) -> [(&Node, Option<&Arrow>); 3] {
        [(&self.source, Some(&self.reading)), (&self.agent, Some(&self.writing)), (&self.target, None)]
    }
}

/// The strip in a row of a list.
#[derive(Template)]
#[template(path = "parts/strip.html")]
pub(crate) struct Strip {
    source: Badge,
    agent: Badge,
    target: Badge,
    reading: &'static str,
    writing: &'static str,
    spoken: String,
}

impl HtmlSafe for Strip {}

impl Strip {
    /// Where each stands, and how it is.
    fn parts(&self) -> [(u16, &Badge); 3] {
        [(2, &self.source), (64, &self.agent), (126, &self.target)]
    }
}

/// The strip before there is a pipeline.
#[derive(Template)]
#[template(path = "parts/empty_flow.html")]
pub(crate) struct EmptyFlow;

impl HtmlSafe for EmptyFlow {}

fn text(map: &Map<String, Value>, path: &[&str]) -> String {
    let mut at = map.get(path.first().copied().unwrap_or_default());
    for name in path.iter().skip(1) {
        at = at.and_then(|value| value.get(name));
    }
    match at {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Kind and place of a pipeline's source.
pub(crate) fn source_of(body: &Map<String, Value>) -> (String, String) {
    let of = |name: &str| text(body, &["streamingSource", "connection", name]);
    let kind = spelled(&text(body, &["streamingSource", "type"])).to_owned();
    let mut place = of("host");
    for (mark, name) in [(":", "port"), ("/", "database")] {
        let value = of(name);
        if !value.is_empty() {
            place = format!("{place}{mark}{value}");
        }
    }
    (kind, place)
}

/// Kind and place of a pipeline's target.
pub(crate) fn target_of(body: &Map<String, Value>) -> (String, String) {
    let of = |name: &str| text(body, &["streamingTarget", name]);
    let kind = spelled(&of("type")).to_owned();
    let root = ["bucket", "container", "path", "database"].map(of).into_iter().find(|text| !text.is_empty());
    let prefix = of("prefix");
    let root = root.unwrap_or_default();
    let place = if prefix.is_empty() { root } else { format!("{}/{prefix}", root.trim_end_matches('/')) };
    (kind, place)
}

/// Which part a fault's code belongs to.
fn broken_part(code: &str) -> &'static str {
    match code.get(..2) {
        Some("PG" | "SE") => "source",
        Some("FL") => "target",
        _ => "agent",
    }
}

struct Parts {
    source: Badge,
    target: Badge,
    reading: &'static str,
    writing: &'static str,
}

fn parts(placed: &Placed) -> Parts {
    let reason = placed.status.reason.as_ref();
    let still = || Badge::new(Shape::Square, "quiet", "Not in use");
    let broken = || Badge::new(Shape::Triangle, "bad", "Broken");
    let doubt = || Badge::new(Shape::Half, "doubt", "Unknown");
    let figures = placed.status.report.as_ref().map(|(report, _)| &report.figures);
    let connected = |name: &str| figures.and_then(|figures| figures.get(name)).and_then(Value::as_bool).unwrap_or(true);
    match placed.status.word.as_str() {
        "UNKNOWN" => Parts { source: doubt(), target: doubt(), reading: "doubt", writing: "doubt" },
        "STREAMING" | "SNAPSHOTTING" | "STARTING" => {
            let one = |is_there: bool| {
                if !is_there {
                    (Badge::new(Shape::Triangle, "bad", "No answer"), "broken")
                } else if placed.status.word == "STARTING" {
                    (Badge::new(Shape::Ring, "busy", "Connecting"), "still")
                } else {
                    (Badge::new(Shape::Dot, "good", "Connected"), "flows")
                }
            };
            let (source, reading) = one(connected("source_connected"));
            let (target, writing) = one(connected("target_connected"));
            Parts { source, target, reading, writing }
        }
        _ => match reason.and_then(|reason| reason.fault.as_deref()).map(broken_part) {
            Some("source") => Parts { source: broken(), target: still(), reading: "broken", writing: "still" },
            Some("target") => Parts { source: still(), target: broken(), reading: "still", writing: "broken" },
            _ => Parts { source: still(), target: still(), reading: "still", writing: "still" },
        },
    }
}

fn agent_badge(placed: &Placed, now: Timestamp) -> Badge {
    match &placed.agent {
        Some(agent) => Badge::of_agent(status::of_agent(agent, now)),
        None => Badge::new(Shape::Triangle, "bad", "Removed"),
    }
}

/// A figure of the newest report.
pub(crate) fn figure(placed: &Placed, name: &str) -> Option<f64> {
    placed.status.report.as_ref()?.0.figures.get(name)?.as_f64()
}

/// Whether what the report says is how things are.
pub(crate) fn is_fresh(placed: &Placed, now: Timestamp) -> bool {
    let runs = matches!(placed.status.word.as_str(), "STREAMING" | "SNAPSHOTTING");
    let lost = placed.agent.as_ref().is_none_or(|agent| status::of_agent(agent, now) != AgentStatus::Running);
    runs && !lost && placed.status.report.as_ref().is_some_and(|(_, at)| now.0 - at.0 < STALE)
}

/// The strip of a list.
pub(crate) fn strip(placed: &Placed, now: Timestamp) -> Strip {
    let Parts { source, target, reading, writing } = parts(placed);
    let agent = agent_badge(placed, now);
    let spoken = format!("source {}, agent {}, target {}", source.word, agent.word, target.word).to_lowercase();
    Strip { source, agent, target, reading, writing, spoken }
}

/// The strip of a page.
pub(crate) fn flow(placed: &Placed, body: &Map<String, Value>, now: Timestamp) -> Flow {
    let Parts { source, target, reading, writing } = parts(placed);
    let (source_kind, source_place) = source_of(body);
    let (target_kind, target_place) = target_of(body);
    let fresh = is_fresh(placed, now);
    let reading_lines = if fresh && reading == "flows" {
        vec![
            figure(placed, "rows_per_second").map(|rows| format!("{} rows/s", rate(rows))),
            figure(placed, "lag_seconds").map(|lag| format!("lag {}", span(lag))),
        ]
    } else {
        Vec::new()
    };
    let committed = placed.status.report.as_ref().and_then(|(report, _)| report.checkpoint.as_ref());
    let writing_lines = committed
        .and_then(|checkpoint| Timestamp::parse(&checkpoint.at))
        .map(|at| vec![format!("commit {}", ago(at, now))]);
    let (agent_name, agent_place, link) = match &placed.agent {
        Some(agent) => (
            agent.name.clone(),
            format!("{} · {}", spelled(&agent.cloud_provider), spelled(&agent.deployment)),
            Some(format!("/agents/{}", agent.id)),
        ),
        None => ("No agent".into(), "it was removed".into(), None),
    };
    Flow {
        source: Node { part: "Source", name: source_kind, place: source_place, badge: source, link: None },
        agent: Node { part: "Agent", name: agent_name, place: agent_place, badge: agent_badge(placed, now), link },
        target: Node { part: "Target", name: target_kind, place: target_place, badge: target, link: None },
        reading: Arrow { state: reading, lines: reading_lines.into_iter().flatten().collect() },
        writing: Arrow { state: writing, lines: writing_lines.unwrap_or_default() },
    }
}
