//! One line of the log: `ts level code msg` and fields, as JSON.

use serde_json::{Map, Value};

/// A log line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// `INFO`, `WARN` …, in capitals; `NOISE` where the line is no log line.
    pub level: String,
    /// The event code, for example `committed`; empty where there is none.
    pub code: String,
    /// The message, or the whole line where it is no log line.
    pub message: String,
    /// The other fields.
    pub fields: Map<String, Value>,
}

impl Line {
    /// Reads a line; whatever it is, something comes of it.
    pub fn parse(text: &str) -> Self {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else { return Self::noise(text) };
        let mut take = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (_time, level, code, message) = (take("ts"), take("level"), take("code"), take("msg"));
        let Some(level) = level else { return Self::noise(text) };
        let (code, message) = (code.unwrap_or_default(), message.unwrap_or_default());
        Self { level: level.to_uppercase(), code, message, fields }
    }

    /// A field as a number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.fields.get(field).and_then(Value::as_u64)
    }

    /// Whether a test must not overlook it.
    pub fn is_alarm(&self) -> bool {
        matches!(self.level.as_str(), "WARN" | "ERROR" | "NOISE")
    }

    fn noise(text: &str) -> Self {
        Self { level: "NOISE".into(), code: String::new(), message: text.to_owned(), fields: Map::new() }
    }
}
