//! Several hub processes on one PostgreSQL.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, Kind};

/// A call of the gateway at the hub with this address.
async fn gateway(house: &House, url: &str, token: &str, path: &str, body: Value) -> Value {
    let request = house.http.post(format!("{url}/agent/v1/{path}")).bearer_auth(token).json(&body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_start_at_one_hub_wakes_the_agent_that_waits_at_the_other() {
    let house = House::open(Kind::Postgres).await;
    let other = house.another().await;
    let (agent, token) = house.agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    // The token of the one is good at the other.
    let hello = json!({"protocol": 1, "instance": "one", "agentVersion": "0.1.0"});
    let session = gateway(&house, &other, &token, "session", hello).await["sessionId"].clone();
    let sync = |sequence: u64, held: &Value| {
        let mut body =
            json!({"sessionId": session, "sequence": sequence, "sentAt": "2026-01-01T00:00:00.000Z", "waitMs": 15_000});
        if !held.is_null() {
            body["held"] = held.clone();
        }
        body
    };
    let first = gateway(&house, &other, &token, "sync", sync(1, &Value::Null)).await;
    let mut held = first["desired"]["pipeline"].clone();
    held.as_object_mut().unwrap().retain(|name, _| name != "spec" && name != "defaultName");
    for (number, command) in ["START", "STOP", "START"].into_iter().enumerate() {
        let waits = gateway(&house, &other, &token, "sync", sync(2 + number as u64, &held));
        let command = async {
            // The sync waits by then: nothing was new.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let begun = Instant::now();
            house.command(&path, command).await;
            begun
        };
        let (told, begun) = tokio::join!(waits, command);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let pipeline = &told["desired"]["pipeline"];
        assert_eq!(pipeline["wanted"], if command_is_start(number) { "running" } else { "stopped" }, "{told}");
        held = pipeline.clone();
        held.as_object_mut().unwrap().retain(|name, _| name != "spec" && name != "defaultName");
    }
}

fn command_is_start(number: usize) -> bool {
    number != 1
}

#[tokio::test]
async fn hubs_that_begin_at_once_on_an_empty_database_sign_with_one_key() {
    let house = House::open(Kind::Postgres).await;
    let (one, other) = tokio::join!(house.another(), house.another());
    for url in [&house.url, &one, &other] {
        let keys = house.http.get(format!("{url}/.well-known/jwks.json")).send().await.unwrap();
        let keys: Value = keys.json().await.unwrap();
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "{keys}");
        let listed = house.http.get(format!("{url}/v1/agents")).bearer_auth(house.token()).send().await.unwrap();
        assert_eq!(listed.status(), 200);
    }
}

#[tokio::test]
async fn conditions_that_went_to_the_other_hub_meanwhile_are_news_again() {
    let house = House::open(Kind::Postgres).await;
    let other = house.another().await;
    let (agent, token) = house.agent("north").await;
    let session = house.hello(&token).await;
    let with = |sequence: u64, kind: &str| {
        let condition = json!({"kind": kind, "message": "x", "since": "2026-01-01T00:00:00.000Z"});
        json!({"sessionId": session, "sequence": sequence, "sentAt": "2026-01-01T00:00:00.000Z", "waitMs": 0, "conditions": [condition]})
    };
    let seen = async || {
        let agent = house.expect(200, Method::GET, &format!("/agents/{agent}"), None).await;
        agent["conditions"][0]["kind"].as_str().unwrap_or_default().to_owned()
    };
    for (sequence, url, kind) in [(1, &house.url, "first"), (2, &other, "second"), (3, &house.url, "first")] {
        gateway(&house, url, &token, "sync", with(sequence, kind)).await;
        assert_eq!(seen().await, kind);
    }
}
