//! The body of the REST API's pipeline: every source and target that the contract names, also those that no agent runs yet.

use serde_json::{Map, Value};

use crate::fault::{NOT_VALID, Problem, Problems};

/// Checks a pipeline as it was sent and gives it back as it is kept: enum values in lower case, nothing that was `null`,
/// everything else as it came.
pub fn pipeline_body(sent: Value) -> Result<Map<String, Value>, Problems> {
    let Value::Object(mut body) = without_null(sent) else {
        return Err(Problem::new(NOT_VALID, "", "must be an object", "send a pipeline as JSON").into());
    };
    body.remove("streamingPipelineId");
    let missing: Vec<Problem> = ["name", "agentId", "streamingSource", "streamingTarget"]
        .into_iter()
        .filter(|name| !body.contains_key(*name))
        .map(|name| Problem::new(NOT_VALID, name, "is missing", "add it"))
        .collect();
    if missing.is_empty() { Ok(body) } else { Err(Problems(missing)) }
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_null(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(without_null).collect()),
        other => other,
    }
}
