//! The hub does what its OpenAPI document says, and refuses what it does not: schemathesis makes the requests.

use std::process::Command;

use millrace_testkit::lake;

use millrace_hub::Smtp;

use crate::house::{House, Kind};

/// Each rule of the document kept and broken once; in the long tier (`cargo xtask test --all`) at random, too, and one
/// request after the other.
fn thoroughness() -> [&'static str; 4] {
    if std::env::var_os("MILLRACE_LONG").is_some() {
        ["--phases", "coverage,fuzzing,stateful", "--max-examples", "100"]
    } else {
        ["--phases", "coverage", "--max-examples", "5"]
    }
}

#[tokio::test]
async fn the_hub_on_sqlite_does_what_its_document_says() {
    the_hub_keeps_to_its_document(Kind::Sqlite).await;
}

#[tokio::test]
async fn the_hub_on_postgresql_does_what_its_document_says() {
    the_hub_keeps_to_its_document(Kind::Postgres).await;
}

async fn the_hub_keeps_to_its_document(kind: Kind) {
    // Without a mail server no e-mail address is taken; nothing is sent to one in these requests.
    let smtp = Smtp { url: "smtp://127.0.0.1:1".into(), from: "Millrace <millrace@example.com>".into() };
    let house = House::set(kind, |settings| settings.smtp = Some(smtp)).await;
    let python = lake::python().expect("the Python environment is there: cargo xtask setup");
    let mut run = Command::new(python.with_file_name("st"));
    run.args(["run", &format!("{}/openapi.json", house.url), "--url", &house.url, "--checks", "all"])
        .args(["--header", &format!("Authorization: Bearer {}", house.token())])
        .args(["--continue-on-failure", "--no-color", "--warnings", "off"])
        // The same requests in each run: a failure can be looked at, and a green one is no luck.
        .args(["--seed", "7", "--generation-database", "none"]);
    run.args(thoroughness());
    run.current_dir(std::env::temp_dir());
    let output = tokio::task::spawn_blocking(move || run.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("passed"), "{said}");
}
