//! The wizard's plain forms: what each asks, and where in the pipeline's body the answers go.

use askama::Template;
use askama::filters::HtmlSafe;
use serde_json::{Map, Value, json};

use crate::db::drafts::Draft;
use crate::web::console::page::Wrong;
use crate::web::console::show::{Choice, Field, Pick};
use crate::web::console::visitor::Fields;

/// A part of a form.
#[derive(Template)]
#[template(path = "parts/part.html")]
pub(crate) enum Part {
    Field(Field),
    Choice(Choice),
    /// A heading over what follows.
    Heading(&'static str),
    /// How a secret comes to be where the field looks for it.
    SecretHelp,
}

impl HtmlSafe for Part {}

const SECRETS: [(&str, &str); 6] = [
    ("aws_secrets_manager", "AWS Secrets Manager"),
    ("azure_key_vault", "Azure Key Vault"),
    ("google_secret_manager", "Google Secret Manager"),
    ("hashicorp_vault", "HashiCorp Vault"),
    ("env", "Environment variable of the agent"),
    ("file", "File of the agent"),
];

fn at<'a>(spec: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(spec.get(*first)?, |value, name| value.get(*name))
}

fn shown(spec: &Map<String, Value>, path: &[&str]) -> String {
    match at(spec, path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn or(text: String, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text }
}

/// What a step asks, with what was answered before.
pub(crate) fn parts(step: &str, spec: &Map<String, Value>, wrong: &Wrong) -> (&'static str, Vec<Part>) {
    match step {
        "source" => ("Which database do the changes come from?", source(spec, wrong)),
        "target" => ("Where do the changes go?", target(spec, wrong)),
        _ => ("How shall it work? What stands here is good for most.", options(spec, wrong)),
    }
}

fn source(spec: &Map<String, Value>, wrong: &Wrong) -> Vec<Part> {
    let of = |name: &str| shown(spec, &["streamingSource", "connection", name]);
    let secret = |name: &str| shown(spec, &["streamingSource", "connection", "password", name]);
    let kinds = vec![Pick::new("postgres", "PostgreSQL", "postgres")];
    let chosen = or(secret("secretType"), "env");
    let stores = SECRETS.iter().map(|(word, name)| Pick::new(*word, *name, &chosen)).collect();
    let ssl = or(shown(spec, &["streamingSource", "connection", "jdbcProperties", "sslmode"]), "prefer");
    let modes = [
        ("verify-full", "Encrypted, certificate and name checked"),
        ("verify-ca", "Encrypted, certificate checked"),
        ("require", "Encrypted, nothing checked"),
        ("prefer", "Encrypted where the server offers it"),
        ("disable", "Not encrypted"),
    ];
    let modes = modes.iter().map(|(word, name)| Pick::new(*word, *name, &ssl)).collect();
    vec![
        Part::Choice(Choice::of("type", "Database type", kinds, wrong)),
        Part::Field(Field::text("host", "Host", of("host"), wrong).help("As the agent reaches it.")),
        Part::Field(Field::text("port", "Port", or(of("port"), "5432"), wrong).kind("number", "off").most(5)),
        Part::Field(Field::text("database", "Database", of("database"), wrong)),
        Part::Field(
            Field::text("username", "Username", of("username"), wrong).help("A role that may replicate and read."),
        ),
        Part::Choice(Choice::of("sslmode", "Encryption", modes, wrong)),
        Part::Heading("Password"),
        Part::Choice(
            Choice::of("secretType", "Secret store", stores, wrong)
                .help("The agent reads the password there. It never comes to the hub."),
        ),
        Part::Field(
            Field::text("secretName", "Secret name", secret("secretName"), wrong)
                .help("Its name in the store; leave it empty where the server asks for no password.")
                .optional(),
        ),
        Part::Field(
            Field::text("secretKey", "Key in the secret", secret("key"), wrong)
                .help("Where the secret is a JSON object.")
                .optional(),
        ),
        Part::SecretHelp,
    ]
}

fn target(spec: &Map<String, Value>, wrong: &Wrong) -> Vec<Part> {
    let of = |name: &str| shown(spec, &["streamingTarget", name]);
    let kinds = vec![Pick::new("local", "Folder", "local")];
    vec![
        Part::Choice(Choice::of("type", "Target type", kinds, wrong)),
        Part::Field(
            Field::text("path", "Folder", of("path"), wrong)
                .help("As the agent sees it, from its root: /lake. It must last longer than the agent's container."),
        ),
        Part::Field(
            Field::text("prefix", "Prefix", of("prefix"), wrong)
                .help("Below the folder, for this pipeline alone.")
                .optional(),
        ),
    ]
}

fn options(spec: &Map<String, Value>, wrong: &Wrong) -> Vec<Part> {
    let of = |name: &str| shown(spec, &["streamingTarget", name]);
    let advanced = |name: &str| shown(spec, &["advancedProperties", name]);
    let compression = or(of("compression"), "zstd");
    let compressions = ["zstd", "snappy", "none"].map(|word| Pick::new(word, word, &compression)).into();
    vec![
        Part::Choice(Choice::of("format", "Format", vec![Pick::new("parquet", "Parquet", "parquet")], wrong)),
        Part::Choice(Choice::of("layout", "Layout", vec![Pick::new("flat", "Flat: one column each", "flat")], wrong)),
        Part::Choice(Choice::of("compression", "Compression", compressions, wrong)),
        Part::Field(
            Field::text("interval", "Commit interval", advanced("commit.interval"), wrong)
                .help("How long changes are gathered before they are committed: 10s, 1m. Empty: the default.")
                .optional()
                .most(20),
        ),
        Part::Field(
            Field::text("properties", "Advanced properties", others(spec), wrong)
                .kind("area", "off")
                .help("One a line, as name=value. The reference lists them.")
                .optional()
                .most(10_000),
        ),
    ]
}

/// The advanced properties that have no field of their own, a line each.
fn others(spec: &Map<String, Value>) -> String {
    let Some(Value::Object(properties)) = spec.get("advancedProperties") else { return String::new() };
    let lines = properties.iter().filter(|(name, _)| *name != "commit.interval");
    let lines: Vec<String> =
        lines.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    lines.join("\n")
}

/// Takes over name and agent.
pub(crate) fn put_name(draft: &mut Draft, fields: &Fields) {
    let mut spec = draft.spec();
    let before = spec.insert("agentId".into(), fields.get("agentId").into());
    spec.insert("name".into(), fields.get("name").into());
    if before.as_ref().and_then(Value::as_str) != Some(fields.get("agentId")) {
        draft.forget(&["check", "discover"]);
    }
    draft.body = Value::Object(spec).to_string();
}

/// Takes over the answers of a step; what is wrong with them.
pub(crate) fn put(step: &str, draft: &mut Draft, fields: &Fields) -> Wrong {
    let mut spec = draft.spec();
    let wrong = match step {
        "source" => {
            // What the agent said belongs to another connection.
            draft.forget(&["check", "discover"]);
            put_source(&mut spec, fields)
        }
        "target" => put_target(&mut spec, fields),
        _ => put_options(&mut spec, fields),
    };
    draft.body = Value::Object(spec).to_string();
    wrong
}

fn needed(fields: &Fields, names: &[&str], wrong: &mut Wrong) {
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
    // What else a pipeline of the API has set stays as it is.
    let mut connection = at(spec, &["streamingSource", "connection"]).cloned().unwrap_or_else(|| json!({}));
    connection["host"] = fields.get("host").trim().into();
    connection["port"] = port.unwrap_or_default().into();
    for name in ["database", "username"] {
        connection[name] = fields.get(name).into();
    }
    connection["jdbcProperties"]["sslmode"] = fields.get("sslmode").into();
    if let Value::Object(connection) = &mut connection {
        connection.remove("password");
    }
    if !fields.get("secretName").is_empty() {
        connection["password"] =
            json!({"secretType": fields.get("secretType"), "secretName": fields.get("secretName")});
        if !fields.get("secretKey").is_empty() {
            connection["password"]["key"] = fields.get("secretKey").into();
        }
    }
    let tables = at(spec, &["streamingSource", "tables"]).cloned();
    let mut source = json!({"type": "postgres", "connection": connection});
    if let Some(tables) = tables {
        source["tables"] = tables;
    }
    spec.insert("streamingSource".into(), source);
    wrong
}

fn put_target(spec: &mut Map<String, Value>, fields: &Fields) -> Wrong {
    let mut wrong = Wrong::default();
    needed(fields, &["path"], &mut wrong);
    let mut target = match spec.remove("streamingTarget") {
        Some(Value::Object(target)) => target,
        _ => Map::new(),
    };
    target.insert("type".into(), "local".into());
    target.insert("path".into(), fields.get("path").trim().into());
    target.insert("prefix".into(), fields.get("prefix").trim().into());
    for (name, default) in [("format", "parquet"), ("layout", "flat")] {
        target.entry(name).or_insert_with(|| default.into());
    }
    spec.insert("streamingTarget".into(), Value::Object(target));
    wrong
}

fn put_options(spec: &mut Map<String, Value>, fields: &Fields) -> Wrong {
    let mut wrong = Wrong::default();
    if let Some(Value::Object(target)) = spec.get_mut("streamingTarget") {
        for name in ["format", "layout", "compression"] {
            target.insert(name.into(), fields.get(name).into());
        }
    }
    let mut properties = Map::new();
    for line in fields.get("properties").lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once('=') {
            Some((name, value)) => drop(properties.insert(name.trim().into(), value.trim().into())),
            None => wrong.add("properties", format!("must be name=value on each line, not `{line}`")),
        }
    }
    if !fields.get("interval").trim().is_empty() {
        properties.insert("commit.interval".into(), fields.get("interval").trim().into());
    }
    if properties.is_empty() {
        spec.remove("advancedProperties");
    } else {
        spec.insert("advancedProperties".into(), Value::Object(properties));
    }
    wrong
}

/// The draft as an agent takes it for a question: what is not answered yet is stood in for.
pub(crate) fn for_question(draft: &Draft) -> Map<String, Value> {
    let mut spec = draft.spec();
    if let Some(Value::Object(source)) = spec.get_mut("streamingSource")
        && source.get("tables").and_then(Value::as_array).is_none_or(Vec::is_empty)
    {
        source.insert("tables".into(), json!([{"schema": "public", "table": "*"}]));
    }
    spec.entry("streamingTarget")
        .or_insert_with(|| json!({"type": "local", "path": "/tmp/none", "format": "parquet", "layout": "flat"}));
    spec
}
