//! The body of the REST API's pipeline: every source and target that the contract names, also those that no agent runs yet.
//!
//! What is sent is kept byte for byte. What properties mean is not asked here: the agent that runs them says so.

use serde_json::{Map, Value, json};

use crate::fault::{NOT_BUILT, NOT_VALID, Problem, Problems};
use crate::fields::{BODY, BODY_FIELDS};
use crate::question::{MAY_LACK, nothing_asked};
use crate::shape::{Field, Shape};
use crate::spec::{check_compression, tables};
use crate::tree::{Node, Value as Tree};
use crate::validate::{Report, validate};
use crate::{fields, schema};

/// Member that holds the pipeline's id.
const ID: &str = "streamingPipelineId";

/// Checks a pipeline as it was sent and gives it back as it is kept: enum values in lower case, nothing that was `null`,
/// everything else as it came. `id` is the pipeline that it replaces; a new one has none.
pub fn pipeline_body(sent: Value, id: Option<&str>) -> Result<Map<String, Value>, Problems> {
    let Value::Object(mut body) = without_null(sent) else {
        return Err(Problem::new(NOT_VALID, "", "must be an object", "send a pipeline as JSON").into());
    };
    let mut report = Report::default();
    match (body.remove(ID), id) {
        (None, _) => {}
        (Some(Value::String(named)), Some(id)) if named == id => {}
        (Some(_), Some(_)) => report.problem(Problem::new(
            NOT_VALID,
            ID,
            "is not the id in the path",
            "leave it out: a pipeline keeps its id",
        )),
        (Some(_), None) => {
            report.problem(Problem::new(
                NOT_VALID,
                ID,
                "is not a field of a new pipeline",
                "leave it out: the hub gives it",
            ));
        }
    }
    let node = node(&Value::Object(body.clone()));
    check(&node, &mut report);
    if !report.problems.is_empty() {
        return Err(Problems(report.problems));
    }
    fold_map(&mut body, BODY_FIELDS);
    Ok(body)
}

/// Where the types stand.
const TYPES: [&str; 2] = ["streamingSource.type", "streamingTarget.type"];

/// What a kept body asks for that no agent of this version can run; nothing where one can.
pub fn unsupported(body: &Value) -> Option<Problem> {
    let mut report = Report::default();
    validate(&node(body), &BODY, "", &mut report);
    // The type tells most.
    let by_type = report.unbuilt.iter().position(|problem| TYPES.contains(&problem.path.as_str())).unwrap_or(0);
    report.unbuilt.into_iter().nth(by_type)
}

/// JSON Schema of a pipeline as it is sent (`null` stands for what is absent) or as it is answered, then with its id.
pub fn pipeline_schema(sent: bool) -> Value {
    let mut schema = schema::body_schema(sent);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut).filter(|_| !sent) {
        properties.insert(ID.into(), json!({"type": "string", "format": "uuid", "description": "id of the pipeline"}));
    }
    schema
}

/// Checks the part of a pipeline that an agent is asked about, and gives it back as it is kept.
pub fn question_body(sent: Value) -> Result<Map<String, Value>, Problems> {
    let Value::Object(mut body) = without_null(sent) else {
        return Err(Problem::new(NOT_VALID, "", "must be an object", "send a part of a pipeline as JSON").into());
    };
    let node = node(&Value::Object(body.clone()));
    let mut report = Report::of_part(MAY_LACK);
    check(&node, &mut report);
    if node.get("streamingSource").is_none() && node.get("streamingTarget").is_none() {
        report.problem(nothing_asked());
    }
    if !report.problems.is_empty() {
        return Err(Problems(report.problems));
    }
    fold_map(&mut body, BODY_FIELDS);
    Ok(body)
}

/// The words that the field at `path` may hold, and whether this version can do each; nothing where it holds no words.
/// What hangs on a type is that of the first type that is built.
pub fn words(path: &str) -> Vec<(&'static str, bool)> {
    let mut shape = &BODY;
    for name in path.split('.') {
        let fields = if let Shape::Map(fields) = shape {
            fields
        } else if let Shape::Secret = shape {
            fields::SECRET
        } else if let Shape::Tagged { cases, later } = shape {
            if name == "type" {
                let known = cases.iter().map(|case| (case.word, case.built));
                return known.chain(later.iter().map(|word| (*word, false))).collect();
            }
            cases.iter().find(|case| case.built).map_or(&[][..], |case| case.fields)
        } else {
            &[]
        };
        let Some(field) = fields.iter().find(|field| field.name == name) else { return Vec::new() };
        shape = &field.shape;
    }
    let Shape::Word(words) = shape else { return Vec::new() };
    words.iter().map(|word| (word.word, word.built)).collect()
}

fn check(node: &Node, report: &mut Report) {
    validate(node, &BODY, "", report);
    tables(node, report);
    if let Some(target) = node.get("streamingTarget") {
        check_compression(target, report);
    }
    // A type of which no field is known cannot be kept: nothing says what would be a secret.
    report.problems.iter_mut().filter(|problem| problem.code == NOT_BUILT).for_each(|problem| {
        problem.message += ", and its fields are not settled";
    });
}

/// Words of the contract in lower case and whole numbers without a point, all through.
fn fold(value: &mut Value, shape: &Shape) {
    match (shape, value) {
        (Shape::Word(words), Value::String(text)) => {
            if let Some(word) = words.iter().find(|word| word.word.eq_ignore_ascii_case(text)) {
                word.word.clone_into(text);
            }
        }
        (Shape::Whole { .. }, Value::Number(number)) => {
            if let (None, Some(whole)) = (number.as_i64(), whole(number)) {
                *number = whole.into();
            }
        }
        (Shape::Map(fields), Value::Object(map)) => fold_map(map, fields),
        (Shape::Secret, Value::Object(map)) => fold_map(map, fields::SECRET),
        (Shape::List(of), Value::Array(list)) => list.iter_mut().for_each(|value| fold(value, of)),
        (Shape::Tagged { cases, .. }, Value::Object(map)) => {
            let written = map.get("type").and_then(Value::as_str).unwrap_or_default();
            if let Some(case) = cases.iter().find(|case| case.word.eq_ignore_ascii_case(written)) {
                map.insert("type".into(), case.word.into());
                fold_map(map, case.fields);
            }
        }
        _ => {}
    }
}

fn fold_map(map: &mut Map<String, Value>, fields: &[Field]) {
    for field in fields {
        if let Some(value) = map.get_mut(field.name) {
            fold(value, &field.shape);
        }
    }
}

/// `5432.0` is a whole number, too.
fn whole(number: &serde_json::Number) -> Option<i64> {
    /// Every whole number up to here has a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_f64().filter(|real| real.fract() == 0.0 && real.abs() <= EXACT).map(|real| real as i64)
}

fn node(value: &Value) -> Node {
    let value = match value {
        Value::Null => Tree::Null,
        Value::Bool(value) => Tree::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Tree::Whole(whole.into()),
            (None, Some(whole)) => Tree::Whole(whole.into()),
            (None, None) => match whole(number) {
                Some(whole) => Tree::Whole(whole.into()),
                None => Tree::Real(number.as_f64().unwrap_or(f64::NAN)),
            },
        },
        Value::String(text) => Tree::Text(text.clone()),
        Value::Array(list) => Tree::List(list.iter().map(node).collect()),
        Value::Object(map) => Tree::Map(map.iter().map(|(key, value)| (key.clone(), node(value))).collect()),
    };
    Node { value, line: 0 }
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
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}
