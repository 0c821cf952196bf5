//! What a hub asks of an agent once: check, discover, restart, cleanup; and what becomes of it when the policy forbids it,
//! when the agent is away, busy, or too late.

use std::time::Duration;

use millrace_testkit::process::Millrace;
use reqwest::Method;
use serde_json::{Value, json};

use crate::hub_house::HubHouse;
use crate::shop::{PATIENCE, wait};

/// Asks, and waits for how it ended.
fn asked(house: &HubHouse, what: &str, body: &Value) -> Value {
    let at = house.hub.order(Method::POST, &format!("/agents/{}/{what}", house.agent), Some(body)).unwrap();
    ended(house, &at)
}

/// How a command ended.
fn ended(house: &HubHouse, at: &str) -> Value {
    let look = || house.hub.expect(200, Method::GET, at, None).unwrap();
    wait("the command to end", || look()["state"] != "queued");
    look()
}

/// RESTART, and how it ended.
fn restarted(house: &HubHouse, body: &Value) -> Value {
    let at = house.hub.order(Method::POST, &format!("{}/commands", house.pipeline), Some(body)).unwrap();
    ended(house, &at)
}

/// A process that may log what commands say that were not done.
fn process(house: &HubHouse) -> Millrace {
    house.process(&house.agent, "state").allow("command").start().unwrap()
}

fn codes(command: &Value) -> Vec<&str> {
    let findings = command["result"]["findings"].as_array().unwrap();
    findings.iter().filter_map(|finding| finding["code"].as_str()).collect()
}

#[test]
fn a_source_alone_is_checked_and_searched_beside_a_pipeline_that_streams() {
    let house = HubHouse::open();
    let process = process(&house);
    house.wait("STREAMING");
    house.shop.database.sql("CREATE TABLE keyless (a int)").unwrap();
    let mut source = house.body(&house.agent)["streamingSource"].clone();
    source.as_object_mut().unwrap().remove("tables");
    // No name, no tables, no target: what the server says.
    let command = asked(&house, "checks", &json!({"spec": {"streamingSource": source}}));
    assert_eq!((&command["state"], &command["result"]["ok"]), (&json!("done"), &json!(true)), "{command}");

    let command = asked(&house, "discoveries", &json!({"spec": {"streamingSource": source}, "columns": false}));
    let tables = command["result"]["tables"].as_array().unwrap();
    let orders = tables.iter().find(|table| table["table"] == "orders").unwrap();
    assert_eq!((&orders["key"], &orders["columns"]), (&json!(["id"]), &Value::Null), "{orders}");
    let keyless = tables.iter().find(|table| table["table"] == "keyless").unwrap();
    assert_eq!(keyless["findings"][0]["code"], "PG-017", "{keyless}");
    assert_eq!(command["result"]["total"].as_u64(), Some(tables.len() as u64));
    let command = asked(&house, "discoveries", &json!({"spec": {"streamingSource": source}, "schema": "nowhere"}));
    assert_eq!(command["result"], json!({"tables": [], "total": 0}));

    // What stands in the way is a finding with its cure, also that nobody answers.
    let mut wrong = source.clone();
    wrong["connection"]["database"] = json!("nowhere");
    let command = asked(&house, "checks", &json!({"spec": {"streamingSource": wrong}}));
    assert_eq!((&command["state"], &command["result"]["ok"]), (&json!("done"), &json!(false)), "{command}");
    wrong["connection"]["port"] = json!(1);
    let command = asked(&house, "checks", &json!({"spec": {"streamingSource": wrong}}));
    assert_eq!((&command["result"]["ok"], codes(&command)), (&json!(false), vec!["PG-001"]), "{command}");
    assert_ne!(command["result"]["findings"][0]["cure"], "");
    // Nothing of it disturbed what runs.
    assert_eq!(house.hub.status(&house.pipeline).unwrap()["status"], "STREAMING");
    process.stop(PATIENCE).unwrap();
}

#[test]
fn a_target_alone_is_tested_with_a_throw_away_object() {
    let house = HubHouse::open();
    let process = process(&house);
    house.hub.wait_for_agent(&house.agent, "RUNNING", PATIENCE).unwrap();
    let folder = house.state("elsewhere");
    let target = |path: &std::path::Path| json!({"type": "local", "path": path, "format": "parquet", "layout": "flat"});
    let body = |path: &std::path::Path| json!({"spec": {"streamingTarget": target(path)}});
    let command = asked(&house, "checks", &body(&folder));
    assert_eq!(command["result"], json!({"ok": true, "findings": []}), "{command}");
    let left = std::fs::read_dir(folder.join("_millrace/tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "the throw-away object is gone");
    // A file stands where the folder should be.
    let file = house.state("file");
    std::fs::write(&file, "").unwrap();
    let command = asked(&house, "checks", &body(&file));
    assert_eq!(command["result"]["ok"], false, "{command}");
    assert!(codes(&command)[0].starts_with("FL-"), "{command}");
    process.stop(PATIENCE).unwrap();
}

#[test]
fn what_the_policy_forbids_is_not_looked_at_and_says_which_line_would_allow_it() {
    let house = HubHouse::open();
    let policy = house.state("policy.yaml");
    std::fs::write(&policy, "allowedHosts: [db.internal]\nallowedTargets: [/lake]\n").unwrap();
    let process = house.process(&house.agent, "state").allow("command");
    let process = process.env("POLICY_FILE", &policy.display().to_string()).start().unwrap();
    house.hub.wait_for_agent(&house.agent, "RUNNING", PATIENCE).unwrap();
    let body = house.body(&house.agent);
    for (what, part, line) in [
        ("checks", "streamingSource", "- \"127.0.0.1\""),
        ("discoveries", "streamingSource", "allowedHosts"),
        ("checks", "streamingTarget", "allowedTargets"),
    ] {
        let command = asked(&house, what, &json!({"spec": {part: body[part]}}));
        assert_eq!((&command["state"], &command["result"]["code"]), (&json!("failed"), &json!("policy")), "{command}");
        assert!(command["result"]["message"].as_str().unwrap().contains(line), "{command}");
    }
    let command = restarted(&house, &json!({"command": "RESTART"}));
    assert_eq!((&command["state"], &command["result"]["code"]), (&json!("failed"), &json!("policy")), "{command}");
    process.stop(PATIENCE).unwrap();
}

#[test]
fn a_hub_cannot_lead_an_agent_round_its_policy_to_another_store() {
    let house = HubHouse::open();
    let folder = house.state("okay");
    let policy = house.state("policy.yaml");
    let listed = format!("allowedTargets: ['{}/*', lake, acme/lake]\n", folder.display());
    std::fs::write(&policy, format!("allowedHosts: [localhost]\nallowedSecrets: [SHOP]\n{listed}")).unwrap();
    // Whoever would be called there.
    let evil = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    evil.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", evil.local_addr().unwrap());
    let process = house.process(&house.agent, "state").allow("command");
    let process = process.env("POLICY_FILE", &policy.display().to_string());
    let process = process.env("GOOGLE_OAUTH_ACCESS_TOKEN", "canary-token").env("AZURE_STORAGE_KEY", "a2V5");
    let process =
        process.env("AWS_ACCESS_KEY_ID", "A").env("AWS_SECRET_ACCESS_KEY", "b").env("AWS_REGION", "eu-west-1");
    let process = process.start().unwrap();
    house.hub.wait_for_agent(&house.agent, "RUNNING", PATIENCE).unwrap();
    for (target, line) in [
        (json!({"type": "gcs", "bucket": "lake", "endpoint": endpoint}), "allowedHosts"),
        (json!({"type": "s3", "bucket": "lake", "endpoint": endpoint}), "allowedHosts"),
        (json!({"type": "abs", "container": "lake", "accountName": "acme", "endpoint": endpoint}), "allowedHosts"),
        (json!({"type": "abs", "container": "lake", "accountName": "evil"}), "evil/lake"),
        (json!({"type": "s3", "bucket": "lake", "roleArn": "arn:aws:iam::1:role/evil"}), "allowedSecrets"),
        (json!({"type": "local", "path": folder.join("../evil")}), "`..`"),
    ] {
        let command = asked(&house, "checks", &json!({"spec": {"streamingTarget": target}}));
        assert_eq!((&command["state"], &command["result"]["code"]), (&json!("failed"), &json!("policy")), "{command}");
        assert!(command["result"]["message"].as_str().unwrap().contains(line), "{command}");
    }
    let nobody = evil.accept().map(|(_, from)| from).map_err(|error| error.kind());
    assert_eq!(nobody, Err(std::io::ErrorKind::WouldBlock));
    assert!(!house.state("evil").exists());
    process.stop(PATIENCE).unwrap();
}

#[test]
fn a_restart_reads_some_tables_or_all_anew_while_the_shop_goes_on() {
    let house = HubHouse::open();
    let load = house.shop.load(0);
    let process = process(&house);
    house.wait("STREAMING");
    let command = restarted(&house, &json!({"command": "RESTART", "tables": ["public.orders"]}));
    assert_eq!(command["state"], "done", "{command}");
    assert!(command["result"]["removed"].as_u64() > Some(0), "{command}");
    let whole = |seen: &Value| {
        let tables = seen["report"]["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
        seen["status"] == "STREAMING" && !tables.is_empty() && tables.iter().all(|it| it["snapshot"] == "finished")
    };
    house.hub.wait_for_status(&house.pipeline, "orders to be read", PATIENCE, whole).unwrap();
    // One that is not there is refused, and what runs goes on.
    let command = restarted(&house, &json!({"command": "RESTART", "tables": ["public.nothing"]}));
    assert_eq!(command["state"], "failed", "{command}");
    house.hub.wait_for_status(&house.pipeline, "it to go on", PATIENCE, whole).unwrap();
    let command = restarted(&house, &json!({"command": "RESTART"}));
    assert_eq!(command["state"], "done", "{command}");
    house.hub.wait_for_status(&house.pipeline, "all to be read", PATIENCE, whole).unwrap();
    load.stop().unwrap();
    house.settle(process);
}

#[test]
fn a_lost_log_is_got_over_by_a_restart_and_another_ones_lake_by_adopting_it() {
    let house = HubHouse::open();
    let process = process(&house);
    house.wait("STREAMING");
    house.hub.command(&house.pipeline, "STOP").unwrap();
    house.wait("NOT_RUNNING");
    house.shop.database.sql("SELECT pg_drop_replication_slot('millrace_shop')").unwrap();
    house.hub.command(&house.pipeline, "START").unwrap();
    let lost = |seen: &Value| seen["reason"]["code"] == "log_lost";
    let seen = house.hub.wait_for_status(&house.pipeline, "the log to be missed", PATIENCE, lost).unwrap();
    assert!(seen["reason"]["cure"].as_str().unwrap().starts_with("RESTART"), "{seen}");
    let command = restarted(&house, &json!({"command": "RESTART"}));
    assert_eq!(command["result"]["new_slot"], true, "{command}");
    house.wait("STREAMING");

    // The same lake under a new pipeline: refused, until it is taken over.
    let body = house.body(&house.agent);
    house.hub.expect(204, Method::DELETE, &house.pipeline, None).unwrap();
    wait("the slot to be let go", || !house.shop.slot_is_active());
    let path = house.hub.add_pipeline(&body).unwrap();
    house.hub.command(&path, "START").unwrap();
    let failed = |seen: &Value| seen["status"] == "NOT_RUNNING" && seen["reason"]["fault"].is_string();
    house.hub.wait_for_status(&path, "it to be refused", PATIENCE, failed).unwrap();
    let house = HubHouse { pipeline: path, ..house };
    let command = restarted(&house, &json!({"command": "RESTART"}));
    assert_eq!(command["state"], "failed", "{command}");
    let command = restarted(&house, &json!({"command": "RESTART", "adopt": true}));
    assert_eq!(command["state"], "done", "{command}");
    house.wait("STREAMING");
    house.settle(process);
}

#[test]
fn a_delete_with_cleanup_leaves_nothing_in_the_source_and_the_lake_as_it_is() {
    let house = HubHouse::open();
    let load = house.shop.load(0);
    let process = process(&house);
    house.wait("STREAMING");
    let at = house.hub.order(Method::DELETE, &format!("{}?cleanup=true", house.pipeline), None).unwrap();
    let command = ended(&house, &at);
    let dropped = json!({"slot": "millrace_shop", "publication": "millrace_shop"});
    assert_eq!((&command["state"], &command["result"]), (&json!("done"), &dropped), "{command}");
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)";
    assert_eq!(house.shop.database.sql(left).unwrap(), "0");
    load.stop().unwrap();
    process.stop(PATIENCE).unwrap();
    house.shop.fsck();
}

#[test]
fn an_agent_that_is_away_does_it_when_it_comes_and_not_when_nobody_waits_any_more() {
    let house = HubHouse::with_variables(&[("HUB_TEST_PATIENCE_SECONDS", "3")]);
    let source = json!({"spec": {"streamingSource": house.body(&house.agent)["streamingSource"]}});
    let path = format!("/agents/{}/checks", house.agent);
    let late = house.hub.order(Method::POST, &path, Some(&source)).unwrap();
    assert_eq!(house.hub.expect(200, Method::GET, &late, None).unwrap()["state"], "queued");
    wait("nobody to wait any more", || house.hub.expect(200, Method::GET, &late, None).unwrap()["state"] == "expired");
    let restart = json!({"command": "RESTART", "tables": ["public.orders"]});
    let waits = house.hub.order(Method::POST, &format!("{}/commands", house.pipeline), Some(&restart)).unwrap();
    let process = process(&house);
    house.hub.wait_for_agent(&house.agent, "RUNNING", Duration::from_secs(10)).unwrap();
    ended(&house, &waits);
    house.wait("STREAMING");
    // The late one was never done.
    assert_eq!(house.hub.expect(200, Method::GET, &late, None).unwrap()["state"], "expired");
    process.stop(PATIENCE).unwrap();
}

#[test]
fn questions_are_answered_while_the_agent_is_busy_with_a_source_that_does_not_answer() {
    let house = HubHouse::open();
    let process = process(&house);
    house.wait("STREAMING");
    // Accepts and says nothing, as a machine behind a bad firewall does.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let body = house.body(&house.agent);
    let mut far = body["streamingSource"].clone();
    far["connection"]["port"] = json!(silent.local_addr().unwrap().port());
    let path = format!("/agents/{}/checks", house.agent);
    let order = |spec: Value| house.hub.order(Method::POST, &path, Some(&json!({"spec": spec}))).unwrap();
    let slow = order(json!({"streamingSource": far}));
    let quick = order(json!({"streamingTarget": body["streamingTarget"]}));
    assert_eq!(ended(&house, &quick)["state"], "done");
    // Something newer is wanted of a pipeline in the middle of a restart: the newer wish wins.
    assert_eq!(house.hub.status(&house.pipeline).unwrap()["status"], "STREAMING");
    let command = ended(&house, &slow);
    assert_eq!((&command["result"]["ok"], codes(&command)), (&json!(false), vec!["PG-001"]), "{command}");
    process.stop(PATIENCE).unwrap();
}
