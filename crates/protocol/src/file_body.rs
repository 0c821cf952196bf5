//! A pipeline file as the body that the REST API takes: the same members, without the file's own.

use serde_json::{Map, Value};

use crate::fault::{NOT_VALID, Problem, Problems};
use crate::tree::{Node, Notation, Value as Written};

/// A file for a hub.
#[derive(Clone, Debug, PartialEq)]
pub struct FileBody {
    /// `projectId`, where it is written.
    pub project_id: Option<String>,
    /// Everything that the API takes.
    pub body: Map<String, Value>,
}

/// Reads a file for a hub. What its members may be is the hub's to say, which knows more than one version of them.
pub fn file_body(text: &str, notation: Notation) -> Result<FileBody, Problems> {
    let node = Node::parse(text, notation)?;
    let Value::Object(mut body) = as_json(node.value) else {
        return Err(Problem::new(NOT_VALID, "", "the file must be a map", "begin it with `version: 1`").into());
    };
    match body.remove("version") {
        Some(version) if version == 1 => {}
        _ => return Err(Problem::new(NOT_VALID, "version", "must be 1", "write `version: 1`").into()),
    }
    let project_id = body.remove("projectId").and_then(|id| id.as_str().map(str::to_owned));
    Ok(FileBody { project_id, body })
}

fn as_json(value: Written) -> Value {
    match value {
        Written::Null => Value::Null,
        Written::Bool(value) => value.into(),
        Written::Whole(value) => i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from),
        Written::Real(value) => value.into(),
        Written::Text(text) => text.into(),
        Written::List(list) => list.into_iter().map(|node| as_json(node.value)).collect(),
        Written::Map(entries) => entries.into_iter().map(|(name, node)| (name, as_json(node.value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_body_without_its_version_and_project() {
        let text =
            "version: 1\nprojectId: p\nname: shop\nstreamingSource: {type: postgres, connection: {port: 5432}}\n";
        let read = file_body(text, Notation::Yaml).unwrap();
        assert_eq!(read.project_id.as_deref(), Some("p"));
        assert_eq!(read.body["streamingSource"]["connection"]["port"], 5432);
        assert!(!read.body.contains_key("version") && !read.body.contains_key("projectId"));
        assert!(file_body("name: shop\n", Notation::Yaml).is_err());
    }
}
