//! How things are shown: statuses as shape, word and colour; figures; ages; the fields of forms.

use askama::Template;
use askama::filters::HtmlSafe;
use millrace_model::Timestamp;

use super::page::Wrong;
use crate::app::status::AgentStatus;

/// The shape of a status's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// It runs.
    Dot,
    /// It is on its way.
    Ring,
    /// It stands still.
    Square,
    /// Nobody knows.
    Half,
    /// It needs someone.
    Triangle,
}

/// A status.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(path = "parts/badge.html")]
pub(crate) struct Badge {
    pub(crate) shape: Shape,
    /// `good`, `busy`, `quiet`, `doubt`, `bad`.
    pub(crate) tone: &'static str,
    pub(crate) word: String,
}

impl HtmlSafe for Badge {}

impl Badge {
    pub(crate) fn new(shape: Shape, tone: &'static str, word: impl Into<String>) -> Self {
        Self { shape, tone, word: word.into() }
    }

    /// Of an agent.
    pub(crate) fn of_agent(status: AgentStatus) -> Self {
        match status {
            AgentStatus::Pending => Self::new(Shape::Ring, "quiet", "Pending"),
            AgentStatus::Running => Self::new(Shape::Dot, "good", "Running"),
            AgentStatus::Stopped => Self::new(Shape::Square, "quiet", "Stopped"),
            AgentStatus::Unknown => Self::new(Shape::Half, "doubt", "Unknown"),
        }
    }

    /// Of a pipeline: its word, and whether its reason is that it failed.
    pub(crate) fn of_pipeline(word: &str, reason: Option<&str>) -> Self {
        match (word, reason) {
            ("STREAMING", Some("retrying")) => Self::new(Shape::Triangle, "doubt", "Retrying"),
            ("STREAMING", _) => Self::new(Shape::Dot, "good", "Streaming"),
            ("SNAPSHOTTING", _) => Self::new(Shape::Dot, "busy", "Snapshotting"),
            ("STARTING", _) => Self::new(Shape::Ring, "busy", "Starting"),
            ("STOPPING", _) => Self::new(Shape::Ring, "quiet", "Stopping"),
            ("NOT_RUNNING", Some("waiting_for_agent")) => Self::new(Shape::Ring, "doubt", "Waiting for agent"),
            ("NOT_RUNNING", Some("stopped") | None) => Self::new(Shape::Square, "quiet", "Not running"),
            ("NOT_RUNNING", Some(_)) => Self::new(Shape::Triangle, "bad", "Not running"),
            _ => Self::new(Shape::Half, "doubt", "Unknown"),
        }
    }
}

/// A moment: how long ago, and exactly when for those who ask.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(path = "parts/when.html")]
pub(crate) struct When {
    pub(crate) ago: String,
    pub(crate) exact: String,
    pub(crate) machine: String,
}

impl HtmlSafe for When {}

impl When {
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { ago: ago(at, now), exact: exact(at), machine: at.to_string() }
    }
}

impl When {
    /// How long something has been so.
    pub(crate) fn lasting(since: Timestamp, now: Timestamp) -> Self {
        let seconds = (now.0 - since.0).max(0) / 1_000_000;
        Self { ago: format!("for {}", whole_span(seconds)), ..Self::new(since, now) }
    }
}

/// What a visitor has chosen, the same for everything in one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manners {
    /// Minutes by which the visitor's clock is ahead of UTC; 0 for who reads times in UTC.
    pub(crate) offset: i64,
    /// `auto`, `dark`, `light`.
    pub(crate) theme: &'static str,
}

tokio::task_local! {
    /// Of the answer that is being made. `guard` sets it.
    pub(crate) static MANNERS: Manners;
}

/// The visitor's offset from UTC in minutes.
pub(crate) fn offset() -> i64 {
    MANNERS.try_with(|manners| manners.offset).unwrap_or_default()
}

/// The visitor's theme, for pages that know nothing else of who looks.
pub(crate) fn theme() -> &'static str {
    MANNERS.try_with(|manners| manners.theme).unwrap_or("auto")
}

/// `UTC`, `UTC+05:30`.
pub(crate) fn zone() -> String {
    match offset() {
        0 => "UTC".into(),
        minutes => {
            let sign = if minutes < 0 { '-' } else { '+' };
            format!("UTC{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
        }
    }
}

/// `2026-01-31T09:30:00` by the visitor's clock.
pub(crate) fn local(at: Timestamp) -> String {
    Timestamp(at.0 + offset() * 60_000_000).to_string().chars().take(19).collect()
}

/// `2026-01-31 09:30:00 UTC`.
pub(crate) fn exact(at: Timestamp) -> String {
    format!("{} {}", local(at).replace('T', " "), zone())
}

/// `12 s ago`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = (now.0 - at.0).max(0) / 1_000_000;
    if seconds < 1 { "just now".into() } else { format!("{} ago", whole_span(seconds)) }
}

/// `in 4 h`.
pub(crate) fn until(at: Timestamp, now: Timestamp) -> String {
    format!("in {}", whole_span((at.0 - now.0).max(0) / 1_000_000))
}

fn whole_span(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `1.4 s`, `12 s`, `4 min`.
pub(crate) fn span(seconds: f64) -> String {
    if seconds < 9.95 { format!("{seconds:.1} s") } else { whole_span(seconds.round() as i64) }
}

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `830`, `12,345`, `1.2 M`.
pub(crate) fn rate(number: f64) -> String {
    if number >= 999_950.0 {
        format!("{:.1} M", number / 1e6)
    } else if number > 0.0 && number < 9.95 {
        format!("{number:.1}")
    } else {
        count(number.max(0.0).round() as u64)
    }
}

/// `38 MB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let unit = UNITS.get(unit).unwrap_or(&"TB");
    if value < 9.95 && *unit != "B" { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A name that can be seen, and clicked on, whatever it is made of.
pub(crate) fn visible(name: &str) -> String {
    if name.chars().all(is_invisible) { "(a name without letters)".into() } else { name.to_owned() }
}

/// Blanks, what steers the direction of text, what joins letters, and what fills the place of one.
fn is_invisible(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
}

/// `AWS`, `Fargate`, …: as people write them.
pub(crate) fn spelled(word: &str) -> &str {
    match word {
        "aws" => "AWS",
        "azure" => "Azure",
        "gcp" => "GCP",
        "fargate" => "Fargate",
        "eks" => "EKS",
        "aci" => "Container Instances",
        "aks" => "AKS",
        "gke" => "GKE",
        "gce" => "Compute Engine",
        "postgres" => "PostgreSQL",
        "local" => "Folder",
        "s3" => "Amazon S3",
        "abs" => "Azure Blob Storage",
        "gcs" => "Google Cloud Storage",
        "snowflake" => "Snowflake",
        "mysql" => "MySQL",
        "oracle" => "Oracle",
        "sqlserver" => "SQL Server",
        "db2ibmi" => "Db2 for i",
        other => other,
    }
}

/// One field of a form: label above, help and error below.
#[derive(Template)]
#[template(path = "parts/field.html")]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) value: String,
    pub(crate) help: &'static str,
    pub(crate) error: String,
    pub(crate) complete: &'static str,
    pub(crate) most: u32,
    pub(crate) is_needed: bool,
    /// What a script tells while one types, as a regular expression of scripts, and in words; the hub itself holds it in any case.
    pub(crate) rule: Option<(&'static str, &'static str)>,
}

impl HtmlSafe for Field {}

impl Field {
    /// A line of text that must be filled in.
    pub(crate) fn text(name: &'static str, label: &'static str, value: impl Into<String>, wrong: &Wrong) -> Self {
        Self {
            name,
            label,
            kind: "text",
            value: value.into(),
            help: "",
            error: wrong.of(name),
            complete: "off",
            most: 255,
            is_needed: true,
            rule: None,
        }
    }

    /// With a rule that is told while one types, in words that begin with a capital letter.
    pub(crate) fn rule(self, expression: &'static str, words: &'static str) -> Self {
        Self { rule: Some((expression, words)), ..self }
    }

    /// With a sentence below.
    pub(crate) fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    /// Of another kind: `email`, `password`, `area`, `number`.
    pub(crate) fn kind(self, kind: &'static str, complete: &'static str) -> Self {
        Self { kind, complete, ..self }
    }

    /// Need not be filled in.
    pub(crate) fn optional(self) -> Self {
        Self { is_needed: false, ..self }
    }

    /// At most so many characters.
    pub(crate) fn most(self, most: u32) -> Self {
        Self { most, ..self }
    }
}

/// A choice: a list that opens.
#[derive(Template)]
#[template(path = "parts/choice.html")]
pub(crate) struct Choice {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) help: &'static str,
    pub(crate) error: String,
    pub(crate) groups: Vec<Group>,
    /// Whether something has to be chosen.
    pub(crate) is_needed: bool,
}

impl HtmlSafe for Choice {}

/// Options that belong together; without a name they stand alone.
pub(crate) struct Group {
    pub(crate) name: String,
    /// What selects the group, for the script.
    pub(crate) key: String,
    pub(crate) options: Vec<Pick>,
}

/// One of a choice's options.
pub(crate) struct Pick {
    pub(crate) value: String,
    pub(crate) text: String,
    pub(crate) is_chosen: bool,
    pub(crate) is_possible: bool,
}

impl Pick {
    /// One that can be chosen.
    pub(crate) fn new(value: impl Into<String>, text: impl Into<String>, chosen: &str) -> Self {
        let value = value.into();
        let is_chosen = value == chosen;
        Self { value, text: text.into(), is_chosen, is_possible: true }
    }
}

impl Choice {
    /// One list without groups.
    pub(crate) fn of(name: &'static str, label: &'static str, options: Vec<Pick>, wrong: &Wrong) -> Self {
        let groups = vec![Group { name: String::new(), key: String::new(), options }];
        Self { name, label, help: "", error: wrong.of(name), groups, is_needed: true }
    }

    /// Nothing is an answer, too.
    pub(crate) fn optional(self) -> Self {
        Self { is_needed: false, ..self }
    }

    /// With a sentence below.
    pub(crate) fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }
}

/// What is wrong with a form, above it.
#[derive(Template)]
#[template(path = "parts/summary.html")]
pub(crate) struct Summary(pub(crate) Wrong);

impl HtmlSafe for Summary {}

/// What templates can do with a text.
#[expect(
    clippy::inline_always,
    clippy::unnecessary_wraps,
    clippy::unused_self,
    unreachable_pub,
    reason = "askama asks for a Result, and its macro writes the rest so"
)]
pub(crate) mod filters {
    use std::fmt::Display;

    use askama::Values;

    /// A code that leads to the page about it, as HTML.
    #[askama::filter_fn]
    pub(crate) fn explained(code: impl Display, _: &dyn Values) -> askama::Result<String> {
        let code = code.to_string();
        let shown = code.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        Ok(match crate::web::console::docs::about(&code) {
            Some(address) => format!("<a class=\"codelink\" href=\"{address}\"><code>{shown}</code></a>"),
            None => format!("<code>{shown}</code>"),
        })
    }

    /// As a sentence begins: the first letter large, the rest as it is; a name out of code stays as it is. Marks of code become
    /// nothing.
    #[askama::filter_fn]
    pub(crate) fn opened(text: impl Display, _: &dyn Values) -> askama::Result<String> {
        let text = text.to_string();
        let word = text.split([' ', ':']).next().unwrap_or_default();
        let is_name = word.contains('`') || word.trim_end_matches('.').contains(['.', '_']);
        let text = text.replace('`', "");
        if is_name {
            return Ok(text);
        }
        let mut letters = text.chars();
        let first: String = letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
        Ok(first + letters.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_people_read_them() {
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!(
            (rate(0.0), rate(0.4), rate(12_345.0), rate(1_234_567.0)),
            ("0".into(), "0.4".into(), "12,345".into(), "1.2 M".into())
        );
        assert_eq!((span(1.44), span(12.0), span(240.0)), ("1.4 s".into(), "12 s".into(), "4 min".into()));
        assert_eq!((bytes(12), bytes(1_500), bytes(38_000_000)), ("12 B".into(), "1.5 kB".into(), "38 MB".into()));
        let at = Timestamp(0);
        assert_eq!(ago(at, Timestamp(3 * 86_400 * 1_000_000)), "3 d ago");
    }
}
