//! The thinnest way through: create, run, watch, stop.

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, on_both_databases, pipeline};

on_both_databases!(an_agent_is_created_runs_its_pipeline_is_watched_and_stopped);

fn sync(session: &str, sequence: u64, held: &Value, report: &Value) -> Value {
    let mut body = json!({"sessionId": session, "sequence": sequence, "sentAt": "2026-01-01T00:00:00.000Z",
        "waitMs": 5000, "report": report});
    if !held.is_null() {
        body["held"] = held.clone();
    }
    body
}

fn report(pipeline_id: &str, status: &str) -> Value {
    json!({"pipelineId": pipeline_id, "status": status, "since": "2026-01-01T00:00:00.000Z", "revision": 1, "wish": 1})
}

async fn an_agent_is_created_runs_its_pipeline_is_watched_and_stopped(house: House) {
    let (agent, token) = house.agent("north").await;
    let agents = format!("/agents/{agent}");
    assert_eq!(house.expect(200, Method::GET, &agents, None).await["agentStatus"], "PENDING");
    let created = house.expect(201, Method::POST, &house.pipelines(), Some(pipeline("shop", &agent))).await;
    let id = created["streamingPipelineId"].as_str().unwrap();
    let path = format!("{}/{id}", house.pipelines());
    let status = format!("{path}/status");

    // Started before the agent ever connected: it waits.
    house.expect(202, Method::POST, &format!("{path}/commands"), Some(json!({"command": "START"}))).await;
    let waiting = house.expect(200, Method::GET, &status, None).await;
    assert_eq!((&waiting["status"], &waiting["reason"]["code"]), (&json!("NOT_RUNNING"), &json!("waiting_for_agent")));

    let hello = json!({"protocol": 1, "instance": "one", "agentVersion": "0.1.0"});
    let (code, welcome) = house.gateway(&token, "session", hello).await;
    assert_eq!(code, 200, "{welcome}");
    let session = welcome["sessionId"].as_str().unwrap();
    assert_eq!(house.expect(200, Method::GET, &agents, None).await["agentStatus"], "RUNNING");

    // It is told at once what to run, and under which epoch.
    let first = json!({"sessionId": session, "sequence": 1, "sentAt": "2026-01-01T00:00:00.000Z", "waitMs": 5000});
    let (_, told) = house.gateway(&token, "sync", first).await;
    let desired = &told["desired"]["pipeline"];
    assert_eq!((&desired["wanted"], &desired["epoch"]), (&json!("running"), &json!(1)), "{told}");
    assert_eq!(desired["spec"]["name"], "shop");
    let held = json!({"pipelineId": id, "revision": 1, "epoch": 1, "wanted": "running", "wish": 1});

    assert_eq!(house.expect(200, Method::GET, &status, None).await["status"], "STARTING");
    // A stop reaches the sync that waits.
    let waiting = house.gateway(&token, "sync", sync(session, 2, &held, &report(id, "STREAMING")));
    let stop = async {
        loop {
            let seen = house.expect(200, Method::GET, &status, None).await;
            if seen["status"] == "STREAMING" {
                break;
            }
            tokio::task::yield_now().await;
        }
        house.expect(202, Method::POST, &format!("{path}/commands"), Some(json!({"command": "STOP"}))).await;
    };
    let ((_, told), ()) = tokio::join!(waiting, stop);
    assert_eq!(told["desired"]["pipeline"]["wanted"], "stopped", "{told}");
    assert_eq!(house.expect(200, Method::GET, &status, None).await["status"], "STOPPING");

    let held = json!({"pipelineId": id, "revision": 1, "epoch": 1, "wanted": "stopped", "wish": 2});
    let mut last = sync(session, 3, &held, &report(id, "NOT_RUNNING"));
    last["waitMs"] = json!(0);
    house.gateway(&token, "sync", last).await;
    assert_eq!(house.expect(200, Method::GET, &status, None).await["status"], "NOT_RUNNING");

    let (code, _) = house.gateway(&token, "goodbye", json!({"sessionId": session, "reason": "stopped"})).await;
    assert_eq!(code, 204);
    assert_eq!(house.expect(200, Method::GET, &agents, None).await["agentStatus"], "STOPPED");
    house.expect(204, Method::DELETE, &path, None).await;
    house.expect(202, Method::DELETE, &agents, None).await;
    house.expect(404, Method::GET, &agents, None).await;
}
