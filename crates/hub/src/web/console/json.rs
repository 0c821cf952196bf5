//! Reading what agents and pipelines say in JSON: what is absent is null, and no text is an empty one.

use serde_json::Value;

/// What stands at the path (`/a/b`).
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or(&Value::Null)
}

/// The text at the path.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// The list at the path.
pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map_or(&[][..], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_null_at_any_depth() {
        let value = serde_json::json!({"a": {"b": "c", "d": [1]}});
        assert_eq!((text(&value, "/a/b"), text(&value, "/a/x/y")), ("c", ""));
        assert_eq!((list(&value, "/a/d").len(), at(&value, "/z")), (1, &Value::Null));
    }
}
