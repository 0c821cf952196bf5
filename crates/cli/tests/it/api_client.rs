//! `millrace agents …` and `millrace pipelines …` against a real hub.

use millrace_testkit::hub::Hub;
use serde_json::{Value, json};

use crate::shop::{MILLRACE, PATIENCE};

const FILE: &str = "\
version: 1
name: shop
streamingSource:
  type: postgres
  connection: {host: db.internal, port: 5432, database: shop, username: millrace, password: {secretType: env, secretName: P}}
  tables: [{schema: public, table: orders}]
streamingTarget: {type: local, path: /lake, format: parquet, layout: flat}
";

fn ask(hub: &Hub, arguments: &[&str]) -> Value {
    hub.client(arguments).json(PATIENCE).unwrap()
}

#[test]
fn agents_and_pipelines_are_made_and_unmade_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::start(MILLRACE.as_ref(), folder.path()).unwrap();
    let file = folder.path().join("shop.yaml");
    std::fs::write(&file, FILE).unwrap();
    let file = file.to_str().unwrap();
    let created = ask(&hub, &["agents", "create", "north", "--cloud-provider", "aws", "--deployment", "fargate"]);
    assert_eq!(ask(&hub, &["agents", "describe", "north"])["agentId"], created["agentId"]);
    assert_eq!(ask(&hub, &["agents", "list"])["results"].as_array().unwrap().len(), 1);
    assert!(ask(&hub, &["agents", "credentials", "north"])["clientSecret"].as_str().unwrap().starts_with("mlr_"));

    let first = ask(&hub, &["pipelines", "apply", "-f", file, "--agent", "north", "--start"]);
    std::fs::write(file, FILE.replace("orders", "customers")).unwrap();
    let second = ask(&hub, &["pipelines", "apply", "-f", file, "--agent", "north"]);
    assert_eq!(first["streamingPipelineId"], second["streamingPipelineId"]);
    assert_eq!(second["streamingSource"]["tables"], json!([{"schema": "public", "table": "customers"}]));
    let listed = ask(&hub, &["pipelines", "list"]);
    assert_eq!(listed["results"][0]["status"]["reason"]["code"], "waiting_for_agent", "{listed}");
    ask(&hub, &["pipelines", "stop", "shop"]);
    assert_eq!(ask(&hub, &["pipelines", "describe", "shop"])["status"]["reason"]["code"], "stopped");
    ask(&hub, &["pipelines", "delete", "shop", "--yes"]);
    ask(&hub, &["agents", "delete", "north", "--yes"]);
    assert_eq!(ask(&hub, &["agents", "list"])["results"], json!([]));

    // What the hub refuses is said in its own words, with the cause and a cure.
    let refused = hub
        .client(&["agents", "create", "south", "--cloud-provider", "aws", "--deployment", "gke"])
        .allow("CL-011")
        .complete(PATIENCE)
        .unwrap();
    assert_eq!(refused.code, Some(64), "{refused:#?}");
    hub.stop().unwrap();
}

#[test]
fn whoever_guesses_a_secret_is_told_to_wait_and_not_to_send_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::start(MILLRACE.as_ref(), folder.path()).unwrap();
    let ask = || {
        let asked = hub.client(&["agents", "list"]).env("API_CLIENT_SECRET", "wrong").allow("CL-011");
        let ended = asked.complete(PATIENCE).unwrap();
        (ended.code, format!("{:?}", ended.lines))
    };
    for _ in 0..10 {
        assert_eq!(ask().0, Some(77));
    }
    let (code, said) = ask();
    assert!(code == Some(1) && said.contains("too many requests") && said.contains("wait a minute"), "{said}");
    hub.stop().unwrap();
}

#[test]
fn a_file_goes_to_its_own_project_and_keeps_its_agent() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::start(MILLRACE.as_ref(), folder.path()).unwrap();
    ask(&hub, &["agents", "create", "north", "--cloud-provider", "aws", "--deployment", "fargate"]);
    let file = folder.path().join("shop.yaml");
    let apply = |more: &[&str]| hub.client(&[&["pipelines", "apply", "-f", file.to_str().unwrap()], more].concat());
    let refused = |process: millrace_testkit::process::Invocation| {
        let ended = process.allow("CL-011").complete(PATIENCE).unwrap();
        assert_ne!(ended.code, Some(0), "{ended:#?}");
        format!("{:?}", ended.lines)
    };
    // A new one has to be given an agent; the refusal names the flag.
    std::fs::write(&file, FILE).unwrap();
    assert!(refused(apply(&[])).contains("--agent"));
    let made = apply(&["--agent", "north"]).json(PATIENCE).unwrap();
    std::fs::write(&file, FILE.replace("orders", "customers")).unwrap();
    let again = apply(&[]).json(PATIENCE).unwrap();
    assert_eq!((&again["agentId"], &again["streamingPipelineId"]), (&made["agentId"], &made["streamingPipelineId"]));
    assert_eq!(again["streamingSource"]["tables"][0]["table"], "customers");

    // The environment names a project that is not the file's: the file is meant.
    let other = "0198a0e0-0000-7000-8000-000000000000";
    std::fs::write(&file, format!("{FILE}projectId: {other}\n")).unwrap();
    refused(apply(&[]));
    let own = hub.project();
    apply(&["--project", own]).json(PATIENCE).unwrap();
    std::fs::write(&file, format!("{FILE}projectId: {own}\n")).unwrap();
    apply(&[]).env("PROJECT_ID", other).json(PATIENCE).unwrap();
    hub.stop().unwrap();
}
