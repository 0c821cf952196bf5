//! A map of texts as lines, `name=value` each; what cannot be written so is kept as it is.

use serde_json::{Map, Value};

use crate::web::console::page::Wrong;
use crate::web::console::visitor::Fields;

/// Whether an entry can be written on a line and read back as it is.
fn is_plain(name: &str, value: &Value) -> bool {
    let one_line = |text: &str| text.trim() == text && !text.contains(['\n', '\r']);
    !name.is_empty() && one_line(name) && !name.contains('=') && value.as_str().is_some_and(one_line)
}

/// The entries, a line each, without those that have a field of their own.
pub(super) fn written(map: &Map<String, Value>, own: &[&str]) -> String {
    let plain = map.iter().filter(|(name, value)| !own.contains(&name.as_str()) && is_plain(name, value));
    let lines: Vec<String> =
        plain.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    lines.join("\n")
}

/// What was typed into the field of this name, with what stood there before and cannot be written on a line.
pub(super) fn read(
    fields: &Fields,
    name: &str,
    before: Option<&Map<String, Value>>,
    wrong: &mut Wrong,
) -> Map<String, Value> {
    let kept = before.into_iter().flatten().filter(|(name, value)| !is_plain(name, value));
    let mut map: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    for line in fields.get(name).lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once('=') {
            Some((key, value)) => drop(map.insert(key.trim().into(), value.trim().into())),
            None => wrong.add(name, format!("must be name=value on each line, not `{line}`")),
        }
    }
    map
}
