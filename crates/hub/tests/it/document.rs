//! The OpenAPI document is the one that is committed, and every route stands in it.

use std::path::Path;

use crate::house::{House, finished, on_both_databases};

on_both_databases!(the_document_is_served);

fn committed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json")
}

#[test]
fn the_committed_document_is_that_of_the_program() {
    let mut text = serde_json::to_string_pretty(&millrace_hub::openapi()).unwrap();
    text.push('\n');
    if std::env::var_os("MILLRACE_WRITE").is_some() {
        std::fs::write(committed(), &text).unwrap();
    }
    let kept = std::fs::read_to_string(committed()).unwrap_or_default();
    assert!(
        kept == text,
        "run this test with MILLRACE_WRITE=1 and look at what changes in docs/reference/openapi.json"
    );
}

async fn the_document_is_served(house: House) {
    let answer = house.http.get(format!("{}/openapi.json", house.url)).send().await.unwrap();
    let (_, document) = finished(answer, 200, "/openapi.json").await;
    assert_eq!(document, millrace_hub::openapi());
    // Without a token each of them is 401, save those that are for everybody.
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            let path = path.replace(['{', '}'], "");
            let answer = house.http.request(method, format!("{}{path}", house.url)).send().await.unwrap();
            let open = operation["security"] == serde_json::json!([{}]);
            assert_eq!(answer.status() == 401, !open, "{path} {operation}");
        }
    }
}
