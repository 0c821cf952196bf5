//! The shape of the pipeline file as JSON Schema (2020-12), for editors and for scripts that write such files.
//!
//! It is a little narrower than the file may be: words only in lower case, and no `null` for what is absent.

use serde_json::{Map, Value, json};

use crate::advanced::{KEYS, Rule};
use crate::fields::{BODY, FILE, FORMATS, SECRET};
use crate::measure::{shown_duration, shown_size};
use crate::shape::{Case, Field, Shape, TextRule};

/// The schema of the whole file.
pub fn json_schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Millrace pipeline, version 1",
    });
    if let (Value::Object(schema), Value::Object(file)) = (&mut schema, shape(&FILE)) {
        schema.extend(file);
    }
    schema
}

/// The schema of the REST API's pipeline: as it is sent, where `null` stands for what is absent, or as it is answered.
pub(crate) fn body_schema(sent: bool) -> Value {
    let mut schema = shape(&BODY);
    if let Some(Value::Array(cases)) = schema.pointer_mut("/properties/streamingTarget/oneOf") {
        *cases = cases.iter().flat_map(by_format).collect();
    }
    if sent {
        accept_null(&mut schema);
    }
    schema
}

/// A target of files, once for each format: which compressions there are hangs on it.
fn by_format(target: &Value) -> Vec<Value> {
    if target.pointer("/properties/format").is_none() {
        return vec![target.clone()];
    }
    let of_format = |(format, compressions): &(&str, &[(&str, &str)])| {
        let mut case = target.clone();
        let names: Vec<&str> = compressions.iter().map(|(name, _)| *name).collect();
        for (name, words) in [("format", vec![*format]), ("compression", names)] {
            if let Some(property) = case.pointer_mut(&format!("/properties/{name}")) {
                put(property, "enum", words);
            }
        }
        let is_default = case.pointer("/properties/format/default").and_then(Value::as_str) == Some(format);
        if let (false, Some(required)) = (is_default, case.pointer_mut("/required").and_then(Value::as_array_mut)) {
            required.push("format".into());
        }
        case
    };
    FORMATS.iter().map(of_format).collect()
}

/// Lets everything that may be absent be `null`.
fn accept_null(schema: &mut Value) {
    for case in schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten() {
        accept_null(case);
    }
    if let Some(items) = schema.get_mut("items") {
        accept_null(items);
    }
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|known| known == name));
    for (name, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        accept_null(property);
        if !is_required(name) {
            or_null(property);
        }
    }
    match schema.get_mut("additionalProperties") {
        Some(Value::Bool(false)) => put(schema, "additionalProperties", json!({"type": "null"})),
        Some(texts) => or_null(texts),
        None => {}
    }
}

fn or_null(schema: &mut Value) {
    match schema.get("type").cloned() {
        Some(kind) => put(schema, "type", json!([kind, "null"])),
        None => {
            if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                words.push(Value::Null);
            }
        }
    }
}

fn text(rule: &TextRule) -> Value {
    let mut schema = json!({"type": "string"});
    if rule.least > 0 {
        put(&mut schema, "minLength", rule.least);
    }
    if let Some(most) = rule.most {
        put(&mut schema, "maxLength", most);
    }
    if let Some(pattern) = rule.pattern {
        put(&mut schema, "pattern", pattern);
    }
    if let Some(never) = rule.never {
        put(&mut schema, "not", json!({"pattern": never}));
    }
    schema
}

fn shape(of: &Shape) -> Value {
    match of {
        Shape::Text(rule) => text(rule),
        Shape::Whole { least, most } => {
            json!({"type": "integer", "minimum": *least as i64, "maximum": *most as i64})
        }
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Word(words) => json!({"enum": words.iter().map(|word| word.word).collect::<Vec<_>>()}),
        Shape::Map(fields) => map(fields, None),
        Shape::Tagged { cases, .. } => {
            json!({"oneOf": cases.iter().map(|Case { word, fields, .. }| map(fields, Some(word))).collect::<Vec<_>>()})
        }
        Shape::List(of) => json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": shape(of)}),
        Shape::Texts => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Shape::Advanced => advanced(),
        Shape::Secret => map(SECRET, None),
    }
}

fn map(fields: &[Field], tag: Option<&str>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some(word) = tag {
        properties.insert("type".into(), json!({"const": word}));
        required.push("type");
    }
    for field in fields {
        let mut value = shape(&field.shape);
        put(&mut value, "description", field.about);
        if let Some(default) = field.default {
            put(&mut value, "default", default);
        }
        properties.insert(field.name.into(), value);
        if field.required {
            required.push(field.name);
        }
    }
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

/// Adds to an object.
fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.into(), value.into());
    }
}

fn advanced() -> Value {
    let mut properties = Map::new();
    for key in KEYS {
        let mut value = match &key.rule {
            Rule::Words(words) => json!({"enum": words.iter().map(|word| word.word).collect::<Vec<_>>()}),
            Rule::Bool => json!({"enum": ["true", "false"]}),
            Rule::Duration { .. } => json!({"type": "string", "examples": ["500ms", "10s", "5m"]}),
            Rule::Size { .. } => json!({"type": "string", "examples": ["64MiB", "1GiB"]}),
            Rule::Count { .. } | Rule::Slot | Rule::Publication | Rule::Path => json!({"type": "string"}),
        };
        put(&mut value, "description", key.about);
        if !key.default.is_empty() {
            put(&mut value, "default", key.default);
        }
        properties.insert(key.name.into(), value);
    }
    json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": properties})
}

/// The table of `advancedProperties` as it stands in `docs/specs/pipeline.md`.
pub fn advanced_table() -> String {
    let mut table = String::from("| key | values | default | for | what it does |\n|---|---|---|---|---|\n");
    for key in KEYS {
        let values = match &key.rule {
            Rule::Words(words) => words.iter().map(|word| word.word).collect::<Vec<_>>().join(", "),
            Rule::Bool => "true, false".into(),
            Rule::Duration { least, most } => format!("{} to {}", shown_duration(*least), shown_duration(*most)),
            Rule::Size { least, most } => format!("{} to {}", shown_size(*least), shown_size(*most)),
            Rule::Count { least, most } => format!("{least} to {most}"),
            Rule::Slot | Rule::Publication => "name".into(),
            Rule::Path => "path".into(),
        };
        let mut about = key.about.to_owned();
        if let Rule::Words(words) = &key.rule {
            let missing: Vec<String> =
                words.iter().filter(|word| !word.built).map(|word| format!("`{}`", word.word)).collect();
            if !missing.is_empty() {
                about += &format!("; not built yet: {}", missing.join(", "));
            }
        }
        for alias in key.aliases {
            about += &format!("; also `{}`", alias.name);
        }
        let source = if key.source.is_empty() { "all" } else { key.source };
        table += &format!("| `{}` | {values} | {} | {source} | {about} |\n", key.name, key.shown);
    }
    table
}

/// The table of formats and compressions as it stands in `docs/specs/pipeline.md`.
pub fn format_table() -> String {
    let mut table = String::from("| format | `compression` (first = default) | ending |\n|---|---|---|\n");
    for (format, compressions) in FORMATS {
        let names: Vec<&str> = compressions.iter().map(|(name, _)| *name).collect();
        let mut endings: Vec<String> = compressions.iter().map(|(_, ending)| format!("`{ending}`")).collect();
        endings.dedup();
        table += &format!("| {format} | {} | {} |\n", names.join(", "), endings.join(", "));
    }
    table
}
