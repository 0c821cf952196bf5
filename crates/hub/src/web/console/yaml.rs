//! A pipeline's body as YAML: to read, and to keep in a file for `millrace pipelines apply`.

use serde_json::{Map, Value};

/// The file of that body.
pub(crate) fn file(body: &Map<String, Value>) -> String {
    let mut text = String::from("version: 1\n");
    map(body, 0, &mut text);
    text
}

/// A part of a body.
pub(crate) fn part(name: &str, value: &Value) -> String {
    let mut text = format!("{}:", scalar(name));
    after_key(value, 0, &mut text);
    text
}

fn map(entries: &Map<String, Value>, depth: usize, text: &mut String) {
    for (key, value) in entries {
        text.push_str(&"  ".repeat(depth));
        text.push_str(&scalar(key));
        text.push(':');
        after_key(value, depth, text);
    }
}

fn after_key(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            text.push('\n');
            map(entries, depth + 1, text);
        }
        Value::Array(list) if !list.is_empty() => {
            text.push('\n');
            for element in list {
                text.push_str(&"  ".repeat(depth + 1));
                text.push_str("- ");
                text.push_str(&inline(element));
                text.push('\n');
            }
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => {
            text.push(' ');
            text.push_str(&inline(other));
            text.push('\n');
        }
    }
}

/// On one line.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let pairs: Vec<String> =
                entries.iter().map(|(key, value)| format!("{}: {}", scalar(key), inline(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other.to_string(),
    }
}

/// A text without quotes where every reader of YAML takes it as that text, else as JSON writes it.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    if plain && !word { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_is_written_as_it_would_be_read_again() {
        let body = json!({"name": "shop 1", "streamingSource": {"type": "postgres", "connection": {"port": 5432},
            "tables": [{"schema": "public", "table": "no"}]}, "streamingTarget": {"prefix": ""}, "advancedProperties": {}});
        let expected = "version: 1\nname: \"shop 1\"\nstreamingSource:\n  type: postgres\n  connection:\n    port: 5432\n  \
                        tables:\n    - {schema: public, table: \"no\"}\nstreamingTarget:\n  prefix: \"\"\n\
                        advancedProperties: {}\n";
        let written = file(body.as_object().unwrap());
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(lines(&written), lines(expected), "{written}");
    }
}
