//! Documentation and schema say what the program does.

use millrace_protocol::{advanced_table, format_table, json_schema};
use serde_json::Value;

use crate::{BILLING, SHOP};

/// The part of the document between a mark and the next end.
fn written(mark: &str) -> String {
    let document = include_str!("../../../../docs/specs/pipeline.md");
    let (_, rest) = document.split_once(&format!("<!-- {mark}: written by the program -->\n")).expect("the mark");
    rest.split_once("<!-- end -->").expect("the end").0.to_owned()
}

#[test]
fn the_tables_of_the_document_are_those_of_the_program() {
    assert_eq!(written("advanced"), advanced_table(), "copy the right side into docs/specs/pipeline.md");
    assert_eq!(written("formats"), format_table(), "copy the right side into docs/specs/pipeline.md");
}

#[test]
fn the_example_of_the_document_can_be_run() {
    let document = include_str!("../../../../docs/specs/pipeline.md");
    let (_, rest) = document.split_once("```yaml\n").expect("an example");
    let example = rest.split_once("```").expect("its end").0;
    assert_eq!(crate::parse(example).unwrap().runnable().unwrap().findings, []);
    assert_eq!(breaches(&json_schema(), &yaml(example), ""), Vec::<String>::new());
}

#[test]
fn the_schema_accepts_both_examples_and_refuses_what_the_program_refuses() {
    let schema = json_schema();
    for text in [SHOP, BILLING] {
        assert_eq!(breaches(&schema, &yaml(text), ""), Vec::<String>::new());
    }
    for (from, to) in [
        ("version: 1 ", "version: 2 "),
        ("port: 5432", "port: abc"),
        ("table: customers", "tabel: customers"),
        ("type: postgres", "type: postgrs"),
        ("commit.interval: 1s", "commit.interval: 1"),
        ("path: ./lake, ", ""),
    ] {
        let text = SHOP.replace(from, to);
        assert!(crate::parse(&text).is_err(), "{to}");
        assert!(!breaches(&schema, &yaml(&text), "").is_empty(), "{to}");
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// What `value` breaks of `schema`: the part of JSON Schema that we write. An unknown word is a failure.
fn breaches(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, rule) in schema.as_object().expect("a schema") {
        let holds = match word.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" | "required" | "additionalProperties" => true,
            "type" => match rule.as_str().expect("a type") {
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                "boolean" => value.is_boolean(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("unknown type {other}"),
            },
            "minLength" => value.as_str().map(|text| text.chars().count() as u64) >= rule.as_u64(),
            "maxLength" => value.as_str().map(|text| text.chars().count() as u64) <= rule.as_u64(),
            // Nothing here reads regular expressions; the API's tests let a whole library of them loose.
            "pattern" | "not" | "uniqueItems" => true,
            "const" => rule == value,
            "enum" => rule.as_array().expect("words").contains(value),
            "minimum" => value.as_i64() >= rule.as_i64(),
            "maximum" => value.as_i64() <= rule.as_i64(),
            "minItems" => value.as_array().map(|list| list.len() as u64) >= rule.as_u64(),
            "items" => {
                for (index, element) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(breaches(rule, element, &format!("{path}[{index}]")));
                }
                true
            }
            "oneOf" => {
                let fits = rule.as_array().expect("cases").iter().filter(|case| breaches(case, value, path).is_empty());
                fits.count() == 1
            }
            "properties" => {
                found.extend(breaches_of_map(schema, value, path));
                true
            }
            other => panic!("unknown word {other}"),
        };
        if !holds {
            found.push(format!("{path}: {word} {rule}"));
        }
    }
    found
}

fn breaches_of_map(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{path}.{name}: is missing"));
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let at = format!("{path}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => found.extend(breaches(schema, value, &at)),
            (None, Value::Bool(false)) => found.push(format!("{at}: unknown")),
            (None, schema) if schema.is_object() => found.extend(breaches(schema, value, &at)),
            (None, _) => {}
        }
    }
    found
}
