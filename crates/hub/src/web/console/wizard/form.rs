//! The wizard's plain forms: what each asks, and where in the pipeline's body the answers go.
//!
//! Whatever a pipeline of the API has set beside what a form asks stays as it is, and what no form knows, a source or a
//! target of a kind that no agent can run yet, is shown and kept whole.

#![expect(clippy::let_underscore_must_use, reason = "askama's macro writes it so for an enum")]

use askama::Template;
use askama::filters::HtmlSafe;
use millrace_protocol::wire;
use serde_json::{Map, Value, json};

use super::howto::Way;
use super::lines;
use super::secret::{self, Secret};
use super::target::{self, Kind};
use crate::db::drafts::Draft;
use crate::web::console::page::Wrong;
use crate::web::console::show::{Choice, Field, Pick, spelled};
use crate::web::console::visitor::Fields;
use crate::web::console::yaml;

/// A part of a form.
#[derive(Template)]
#[template(path = "parts/part.html")]
pub(crate) enum Part {
    Field(Field),
    Choice(Choice),
    /// A heading over what follows.
    Heading(&'static str),
    /// Something that no form knows: its kind, and how it is written.
    Kept(String, String),
    /// How a secret comes to be where the field looks for it.
    Howto(Vec<Way>),
    /// The fields of what can be chosen, of which one is.
    Kinds(Vec<Kind>),
}

impl HtmlSafe for Part {}

const SSL_MODES: [(&str, &str); 5] = [
    ("prefer", "Encrypted where the server offers it"),
    ("disable", "Not encrypted"),
    ("require", "Encrypted, nothing checked"),
    ("verify-ca", "Encrypted, certificate checked"),
    ("verify-full", "Encrypted, certificate and name checked"),
];
/// These are refused until the agent can encrypt.
const NOT_BUILT_MODES: [&str; 3] = ["require", "verify-ca", "verify-full"];

/// The source's password.
const PASSWORD: Secret = Secret {
    heading: "Password",
    about: "The agent reads the password there. It never comes to the hub.",
    without: "Its name in the store, as said above. Empty: the server asks for no password.",
    usual: "env",
    what: "password",
    words: "password",
};

const CONNECTION: [&str; 2] = ["streamingSource", "connection"];

pub(super) fn at<'a>(spec: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(spec.get(*first)?, |value, name| value.get(*name))
}

/// What stands there, as text; empty where nothing does.
pub(super) fn text_at(spec: &Map<String, Value>, path: &[&str]) -> String {
    match at(spec, path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

pub(super) fn or(text: String, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text }
}

/// The kind of a source or a target that no form here knows; empty where there is none, or one does.
pub(super) fn foreign(spec: &Map<String, Value>, part: &str) -> String {
    let kind = text_at(spec, &[part, "type"]);
    let known = if part == "streamingTarget" { target::is_known(&kind) } else { kind == "postgres" };
    if kind.is_empty() || known { String::new() } else { spelled(&kind).to_owned() }
}

pub(super) fn kept(spec: &Map<String, Value>, part: &str, kind: String) -> Vec<Part> {
    let value = spec.get(part).cloned().unwrap_or_default();
    vec![Part::Kept(kind, yaml::part(part, &value))]
}

/// The options of a word of the contract: what can be done today, and what stands there even if it cannot.
pub(super) fn words(path: &str, chosen: &str, name: impl Fn(&str) -> String) -> Vec<Pick> {
    let pick = |(word, built): (&'static str, bool)| {
        let text = if built { name(word) } else { format!("{} – not built yet", name(word)) };
        Pick { is_possible: built || word == chosen, ..Pick::new(word, text, chosen) }
    };
    wire::words(path).into_iter().map(pick).collect()
}

/// What a step asks, with what was answered before. `deployment` is the agent's.
pub(super) fn parts(
    step: &str,
    spec: &Map<String, Value>,
    wrong: &Wrong,
    deployment: &str,
) -> (&'static str, Vec<Part>) {
    match step {
        "source" => ("Which database do the changes come from?", source(spec, wrong, deployment)),
        "target" => ("Where do the changes go?", target::parts(spec, wrong, deployment)),
        _ => ("How shall it work? What stands here is good for most.", options(spec, wrong)),
    }
}

fn source(spec: &Map<String, Value>, wrong: &Wrong, deployment: &str) -> Vec<Part> {
    let kind = foreign(spec, "streamingSource");
    if !kind.is_empty() {
        return kept(spec, "streamingSource", kind);
    }
    let of = |name: &str| text_at(spec, &[&CONNECTION[..], &[name]].concat());
    let kinds = words("streamingSource.type", "postgres", |word| spelled(word).to_owned());
    let mut all = vec![
        Part::Choice(Choice::of("type", "Database type", kinds, wrong)),
        Part::Field(Field::text("host", "Host", of("host"), wrong).help("As the agent reaches it.")),
        Part::Field(Field::text("port", "Port", or(of("port"), "5432"), wrong).kind("number", "off").most(5)),
        Part::Field(Field::text("database", "Database", of("database"), wrong)),
        Part::Field(
            Field::text("username", "Username", of("username"), wrong).help("A role that may replicate and read."),
        ),
        Part::Choice(Choice::of("sslmode", "Encryption", ssl_modes(spec), wrong)),
    ];
    all.extend(secret::parts(&PASSWORD, at(spec, &[&CONNECTION[..], &["password"]].concat()), wrong, deployment));
    all
}

/// The mode, where it is set by its own name; `ssl` alone is left as it is.
fn ssl_modes(spec: &Map<String, Value>) -> Vec<Pick> {
    let of = |name: &str| text_at(spec, &["streamingSource", "connection", "jdbcProperties", name]);
    let (mode, ssl) = (of("sslmode"), of("ssl"));
    let by_ssl = mode.is_empty() && !ssl.is_empty();
    let chosen = if by_ssl { String::new() } else { or(mode.to_lowercase(), "prefer") };
    let mut picks: Vec<Pick> = SSL_MODES
        .iter()
        .map(|(word, name)| {
            let built = !NOT_BUILT_MODES.contains(word);
            let text = if built { (*name).to_owned() } else { format!("{name} – not built yet") };
            Pick { is_possible: built || *word == chosen, ..Pick::new(*word, text, &chosen) }
        })
        .collect();
    if by_ssl {
        picks.insert(0, Pick::new("", format!("As it is set: ssl={ssl}"), &chosen));
    }
    picks
}

/// A word of the target: what stands there, or that nothing does, which means the contract's default.
fn target_words(spec: &Map<String, Value>, name: &str, default: &str, spelled: fn(&str) -> &str) -> Vec<Pick> {
    let chosen = text_at(spec, &["streamingTarget", name]);
    let mut picks = words(&format!("streamingTarget.{name}"), &chosen, |word| spelled(word).to_owned());
    if chosen.is_empty() {
        picks.insert(0, Pick::new("", format!("Not set: {}", spelled(default)), &chosen));
    }
    picks
}

fn format_name(word: &str) -> &str {
    match word {
        "parquet" => "Parquet",
        "avro" => "Avro",
        "json" => "JSON lines",
        "flat" => "Flat: one column each",
        "envelope" => "Envelope: before and after side by side",
        "none" => "None",
        "snappy" => "Snappy: Avro and Parquet",
        "deflate" => "Deflate: Avro",
        "gzip" => "gzip: JSON lines",
        "logical" => "As decimals",
        "legacy" => "As texts",
        other => other,
    }
}

/// What every kind of target has: the step after it asks for these.
pub(super) const OF_EVERY_TARGET: [&str; 4] = ["format", "layout", "compression", "decimalMapping"];

fn options(spec: &Map<String, Value>, wrong: &Wrong) -> Vec<Part> {
    let advanced = |name: &str| text_at(spec, &["advancedProperties", name]);
    let mut all = Vec::new();
    if foreign(spec, "streamingTarget").is_empty() && spec.contains_key("streamingTarget") {
        let asked =
            [("Format", "avro"), ("Layout", "envelope"), ("Compression", "the format's own"), ("Decimals", "logical")];
        for (name, (label, default)) in OF_EVERY_TARGET.into_iter().zip(asked) {
            let picks = target_words(spec, name, default, format_name);
            // Not set is an answer: the contract's default.
            all.push(Part::Choice(Choice::of(name, label, picks, wrong).optional()));
        }
    }
    let properties = spec.get("advancedProperties").and_then(Value::as_object);
    let others =
        properties.map(|properties| lines::written(properties, &OWN.map(|(name, _)| name))).unwrap_or_default();
    let mode = advanced("snapshot.mode");
    let modes = [
        ("initial", "Initial: first the rows that are there, then every change"),
        ("never", "Never: changes only, from now on"),
    ];
    let mut picks: Vec<Pick> =
        modes.iter().map(|(word, name)| Pick::new(*word, *name, &or(mode.clone(), "initial"))).collect();
    if !picks.iter().any(|pick| pick.is_chosen) {
        picks.insert(0, Pick::new(mode.clone(), format!("As it is set: {mode}"), &mode));
    }
    all.extend([
        Part::Choice(Choice::of("snapshot", "Snapshot", picks, wrong)),
        Part::Field(
            Field::text("interval", "Commit interval", advanced("commit.interval"), wrong)
                .help("How long changes are gathered before they are committed: 10s, 1m. Empty: 10s.")
                .optional()
                .most(20),
        ),
        Part::Field(
            Field::text("properties", "Advanced properties", others, wrong)
                .kind("area", "off")
                .help("One a line, as name=value. The reference lists them.")
                .optional()
                .most(10_000),
        ),
    ]);
    all
}

const PROPERTIES: &str = "advancedProperties";
/// Properties that have a field of their own, and that field.
const OWN: [(&str, &str); 2] = [("commit.interval", "interval"), ("snapshot.mode", "snapshot")];

fn of_every_target(path: &str) -> Option<&'static str> {
    OF_EVERY_TARGET.into_iter().find(|known| *known == path)
}

/// Whether this step's form asks for what stands at a path of the body.
pub(super) fn is_asked(step: &str, path: &str) -> bool {
    let of_target = path.strip_prefix("streamingTarget.").and_then(of_every_target);
    step != "options" || of_target.is_some() || path.starts_with(PROPERTIES)
}

/// The name of what stands at a path, where one field shows many of them.
pub(super) fn entry(path: &str) -> Option<&str> {
    let shown_together = matches!(field_of(path), "properties" | "tags");
    let name = [PROPERTIES, "streamingTarget.tags"].iter().find_map(|map| path.strip_prefix(map)?.strip_prefix('.'));
    name.filter(|_| shown_together)
}

/// The form's field that shows what stands at a path of the body.
pub(super) fn field_of(path: &str) -> &'static str {
    const FIELDS: [(&str, &str); 7] = [
        ("host", "host"),
        ("port", "port"),
        ("database", "database"),
        ("username", "username"),
        ("jdbcProperties.sslmode", "sslmode"),
        ("password.secretName", "secretName"),
        ("password.key", "secretKey"),
    ];
    if let Some(path) = path.strip_prefix("streamingTarget.") {
        return target::field_of(path).or_else(|| of_every_target(path)).unwrap_or_default();
    }
    if let Some(name) = path.strip_prefix(PROPERTIES) {
        return OWN
            .iter()
            .find(|(known, _)| name.strip_prefix('.') == Some(*known))
            .map_or("properties", |(_, field)| field);
    }
    let Some(path) = path.strip_prefix("streamingSource.connection.") else { return "" };
    FIELDS.iter().find(|(known, _)| *known == path).map_or("", |(_, field)| field)
}

/// Takes over name and agent.
pub(super) fn put_name(draft: &mut Draft, fields: &Fields) {
    let mut spec = draft.spec();
    let before = spec.insert("agentId".into(), fields.get("agentId").into());
    spec.insert("name".into(), fields.get("name").into());
    if before.as_ref().and_then(Value::as_str) != Some(fields.get("agentId")) {
        draft.forget(&super::asked::OF_SOURCE);
        draft.forget(&[super::asked::OF_TARGET]);
    }
    draft.body = Value::Object(spec).to_string();
}

/// Takes over which kind of target it is, where it is another one than before: its fields come next.
pub(super) fn put_kind(draft: &mut Draft, fields: &Fields) -> bool {
    let mut spec = draft.spec();
    let is_other = foreign(&spec, "streamingTarget").is_empty() && target::put_kind(&mut spec, fields);
    if is_other {
        draft.forget(&[super::asked::OF_TARGET]);
        draft.body = Value::Object(spec).to_string();
    }
    is_other
}

/// Takes over the answers of a step; what is wrong with them.
pub(super) fn put(step: &str, draft: &mut Draft, fields: &Fields) -> Wrong {
    let before = draft.spec();
    let mut spec = before.clone();
    let wrong = match step {
        "source" if foreign(&spec, "streamingSource").is_empty() => put_source(&mut spec, fields),
        "target" if foreign(&spec, "streamingTarget").is_empty() => target::put(&mut spec, fields),
        "options" => put_options(&mut spec, fields),
        _ => Wrong::default(),
    };
    // What the agent said belongs to another connection.
    if spec.get("streamingSource") != before.get("streamingSource") {
        draft.forget(&super::asked::OF_SOURCE);
    }
    if spec.get("streamingTarget") != before.get("streamingTarget") {
        draft.forget(&[super::asked::OF_TARGET]);
    }
    draft.body = Value::Object(spec).to_string();
    wrong
}

/// What was typed, without the spaces around it; what stood there is left as it stands.
pub(super) fn typed<'a>(fields: &'a Fields, name: &str, before: Option<&Value>) -> &'a str {
    let text = fields.get(name);
    if before.and_then(Value::as_str) == Some(text) { text } else { text.trim() }
}

pub(super) fn needed(fields: &Fields, names: &[&str], wrong: &mut Wrong) {
    for name in names.iter().filter(|name| fields.get(name).trim().is_empty()) {
        wrong.add(name, "must be filled in");
    }
}

fn put_source(spec: &mut Map<String, Value>, fields: &Fields) -> Wrong {
    let mut wrong = Wrong::default();
    needed(fields, &["host", "database", "username"], &mut wrong);
    let port = fields.get("port").trim().parse::<u16>().ok().filter(|port| *port > 0);
    if port.is_none() {
        wrong.add("port", "must be a number from 1 to 65535");
    }
    let mut source = match spec.remove("streamingSource") {
        Some(Value::Object(source)) => source,
        _ => Map::from_iter([("type".to_owned(), "postgres".into())]),
    };
    let mut connection = match source.remove("connection") {
        Some(Value::Object(connection)) => connection,
        _ => Map::new(),
    };
    connection.insert("host".into(), fields.get("host").trim().into());
    // What is no port stays as it was typed, to be seen and corrected.
    connection.insert("port".into(), port.map_or_else(|| fields.get("port").trim().into(), Value::from));
    for name in ["database", "username"] {
        connection.insert(name.into(), fields.get(name).into());
    }
    put_ssl_mode(&mut connection, fields.get("sslmode"));
    match secret::read(fields) {
        Some(reference) => drop(connection.insert("password".into(), reference)),
        None => drop(connection.remove("password")),
    }
    source.insert("connection".into(), Value::Object(connection));
    spec.insert("streamingSource".into(), Value::Object(source));
    wrong
}

/// The default is written down only where something stood there before.
fn put_ssl_mode(connection: &mut Map<String, Value>, mode: &str) {
    let is_set = connection.get("jdbcProperties").and_then(|all| all.get("sslmode")).is_some();
    if mode.is_empty() || !is_set && mode == "prefer" {
        return;
    }
    let properties = connection.entry("jdbcProperties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.insert("sslmode".into(), mode.into());
    }
}

fn put_options(spec: &mut Map<String, Value>, fields: &Fields) -> Wrong {
    let mut wrong = Wrong::default();
    let is_ours = foreign(spec, "streamingTarget").is_empty();
    if let Some(Value::Object(target)) = spec.get_mut("streamingTarget").filter(|_| is_ours) {
        for name in OF_EVERY_TARGET.into_iter().filter(|name| !fields.get(name).is_empty()) {
            target.insert(name.into(), fields.get(name).into());
        }
    }
    let before = spec.get("advancedProperties").and_then(Value::as_object).cloned();
    let known = before.clone().unwrap_or_default();
    let mut properties = lines::read(fields, "properties", before.as_ref(), &mut wrong);
    let interval = typed(fields, "interval", known.get("commit.interval"));
    if !interval.is_empty() {
        properties.insert("commit.interval".into(), interval.into());
    }
    let mode = fields.get("snapshot");
    if !mode.is_empty() && (mode != "initial" || known.contains_key("snapshot.mode")) {
        properties.insert("snapshot.mode".into(), mode.into());
    }
    if properties.is_empty() && before.is_none_or(|before| !before.is_empty()) {
        spec.remove("advancedProperties");
    } else {
        spec.insert("advancedProperties".into(), Value::Object(properties));
    }
    wrong
}
