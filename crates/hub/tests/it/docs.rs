//! The documentation that the hub serves: a page for each code that it can answer with.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::StatusCode;

use crate::house::{House, Kind};

/// The sources of the hub and of what it says to agents.
fn sources() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut text = std::fs::read_to_string(root.join("../protocol/src/gateway.rs")).unwrap();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

/// Codes of problems, wherever one is made.
fn codes() -> BTreeSet<String> {
    let text = sources();
    let mut found = BTreeSet::new();
    for mark in ["conflict(", "Problem::new(", "Self::new(StatusCode", "code: \"", "pub const "] {
        for rest in text.split(mark).skip(1) {
            // The first text in quotes of the statement.
            let statement = rest.split([';', '}']).next().unwrap_or_default();
            let start = if mark.ends_with('"') { 0 } else { statement.find('"').map_or(usize::MAX, |at| at + 1) };
            let word = statement.get(start..).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            // Codes of conditions and of lines of the log are no problems.
            let is_constant = mark != "pub const " || rest.contains(": &str = ");
            if is_word && is_constant && (!mark.starts_with("code") || rest.contains("message")) {
                found.insert(word.to_owned());
            }
        }
    }
    found
}

#[tokio::test]
async fn every_problem_has_a_page_at_its_type() {
    let house = House::open(Kind::Sqlite).await;
    let codes = codes();
    for known in ["invalid", "stale", "name_taken", "duplicate_instance", "no_such_path"] {
        assert!(codes.contains(known), "{codes:?}");
    }
    let mut missing = Vec::new();
    for code in codes {
        let answer = house.http.get(format!("{}/docs/problems/{code}", house.url)).send().await.unwrap();
        if answer.status() != StatusCode::OK {
            missing.push(format!("docs/problems/{code}.md"));
        }
    }
    assert_eq!(missing, [""; 0]);
}

#[tokio::test]
async fn the_documentation_is_open_to_everybody_and_quotes_what_it_is_asked_for_nowhere() {
    let house = House::open(Kind::Sqlite).await;
    let get = |path: &str| house.http.get(format!("{}{path}", house.url)).header("accept", "text/html").send();
    for (path, words) in [
        ("/docs", "Quick start"),
        ("/docs/errors/PG-012", "The slot is in use"),
        ("/docs/how-to/console", "Use the console"),
        ("/docs/reference/codes", "waiting_for_agent"),
    ] {
        let answer = get(path).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        let page = answer.text().await.unwrap();
        assert!(page.contains(words), "{path}: {page}");
    }
    for path in ["/docs/errors/XX-999", "/docs/..%2f..%2fCargo", "/docs/errors/%3Cscript%3E"] {
        let answer = get(path).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(!answer.text().await.unwrap().contains("<script>alert"), "{path}");
    }
}

#[tokio::test]
async fn a_browser_that_is_lost_gets_a_page_and_a_program_a_problem() {
    let house = House::open(Kind::Sqlite).await;
    let get = |path: &str, accept: &str| house.http.get(format!("{}{path}", house.url)).header("accept", accept).send();
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let page = get("/no/such/page", browser).await.unwrap();
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(page.headers().contains_key("content-security-policy"));
    assert!(page.text().await.unwrap().contains("There is nothing here"));
    for (path, accept) in [("/no/such/page", "*/*"), ("/v1/no-such", browser), ("/dpc/v1/no", browser)] {
        let problem = get(path, accept).await.unwrap();
        assert_eq!(problem.headers()["content-type"], "application/problem+json", "{path}");
    }
}
