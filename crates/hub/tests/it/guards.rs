//! `Idempotency-Key`, `If-Match`, two secrets at most, and the audit log.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, agent, fields, finished, on_both_databases, pipeline};

on_both_databases!(
    a_post_that_comes_twice_under_a_key_is_done_once,
    a_key_with_another_request_is_409,
    a_write_for_an_older_revision_is_412,
    credentials_are_rotated_with_two_secrets_alive_at_most,
    a_revoked_secret_ends_its_tokens_at_once,
    the_audit_log_names_every_write_every_token_and_every_reveal,
    the_audit_log_is_filtered_by_action_and_by_actor,
);

async fn keyed(house: &House, path: &str, key: &str, body: &Value) -> reqwest::Response {
    house.request(Method::POST, path).header("Idempotency-Key", key).json(body).send().await.unwrap()
}

async fn a_post_that_comes_twice_under_a_key_is_done_once(house: House) {
    let (_, first) = finished(keyed(&house, "/agents", "k1", &agent("north")).await, 201, "first").await;
    let (_, again) = finished(keyed(&house, "/agents", "k1", &agent("north")).await, 201, "again").await;
    assert_eq!(first, again);
    assert_eq!(house.get("/agents").await["total"], 1);

    let body = pipeline("shop", first["agentId"].as_str().unwrap());
    let (_, made) = finished(keyed(&house, &house.pipelines(), "k2", &body).await, 201, "first").await;
    let (_, again) = finished(keyed(&house, &house.pipelines(), "k2", &body).await, 201, "again").await;
    assert_eq!(made, again);

    let commands = format!("{}/{}/commands", house.pipelines(), made["streamingPipelineId"].as_str().unwrap());
    let body = json!({"command": "RESTART"});
    let (first, _) = finished(keyed(&house, &commands, "k3", &body).await, 202, "first").await;
    let (again, _) = finished(keyed(&house, &commands, "k3", &body).await, 202, "again").await;
    assert_eq!(first["location"], again["location"]);

    // What failed was not done: the same key may be used for it again.
    finished(keyed(&house, "/agents", "k4", &agent("north")).await, 409, "taken").await;
    finished(keyed(&house, "/agents", "k4", &agent("south")).await, 201, "free").await;
    // A day later it is forgotten.
    house.clock.advance(Duration::from_hours(25));
    house.use_token(&house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await);
    finished(keyed(&house, "/agents", "k1", &agent("north")).await, 409, "forgotten").await;
}

async fn a_key_with_another_request_is_409(house: House) {
    finished(keyed(&house, "/agents", "k", &agent("north")).await, 201, "first").await;
    let (_, problem) = finished(keyed(&house, "/agents", "k", &agent("south")).await, 409, "other").await;
    assert_eq!(problem["code"], "key_reused");
    finished(keyed(&house, "/agents", "", &agent("south")).await, 400, "empty").await;
    house.use_token(&house.client("editor", true).await.token);
    finished(keyed(&house, "/agents", "k", &agent("south")).await, 201, "another caller").await;
}

async fn a_write_for_an_older_revision_is_412(house: House) {
    let id = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &id).await;
    for (path, method, body) in [
        (path, Method::PUT, pipeline("other", &id)),
        (format!("/agents/{id}"), Method::PATCH, json!({"name": "other"})),
    ] {
        let write = async |tag: &str| {
            house.request(method.clone(), &path).header("If-Match", tag).json(&body).send().await.unwrap().status()
        };
        let tag = house.call(Method::GET, &path, None).await.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(write("\"rev-0\"").await, 412);
        assert!(write(&format!("\"x\", {tag}")).await.is_success());
        assert_eq!(write(&tag).await, 412);
        assert!(write("*").await.is_success());
        let stale = house.request(Method::DELETE, &path).header("If-Match", &tag).send().await.unwrap();
        finished(stale, 412, "stale").await;
    }
}

async fn credentials_are_rotated_with_two_secrets_alive_at_most(house: House) {
    let id = house.new_agent("north").await;
    let path = format!("/agents/{id}/credentials");
    let old = house.get(&path).await;
    let new = house.expect(201, Method::POST, &format!("{path}/rotate"), None).await;
    assert_eq!(house.get(&path).await, new);
    assert_eq!(old["clientId"], new["clientId"]);
    assert_ne!(old["clientSecret"], new["clientSecret"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for credentials in [&old, &new] {
        house.token_of(&text(&credentials["clientId"]), &text(&credentials["clientSecret"])).await;
    }
    let problem = house.expect(409, Method::POST, &format!("{path}/rotate"), None).await;
    assert_eq!(problem["code"], "too_many_credentials");

    let history = house.get(&format!("{path}/history")).await;
    let (newest, oldest) = (&history["results"][0], &history["results"][1]);
    assert!(newest["lastUsedAt"].is_string() && oldest["lastUsedAt"].is_string(), "{history}");
    assert!(!history.to_string().contains("mlr_"), "{history}");
    house.expect(204, Method::DELETE, &format!("{path}/{}", text(&oldest["credentialId"])), None).await;
    house.expect(404, Method::DELETE, &format!("{path}/{}", text(&oldest["credentialId"])), None).await;
    let answer = house.ask_for_token(&text(&old["clientId"]), &text(&old["clientSecret"])).await;
    assert_eq!(answer.status(), 401);
    let problem = house.expect(409, Method::DELETE, &format!("{path}/{}", text(&newest["credentialId"])), None).await;
    assert_eq!(problem["code"], "last_credential");
    house.expect(201, Method::POST, &format!("{path}/rotate"), None).await;
    assert_eq!(house.get(&format!("{path}/history")).await["results"].as_array().unwrap().len(), 3);
}

async fn a_revoked_secret_ends_its_tokens_at_once(house: House) {
    let (id, token) = house.agent("north").await;
    let path = format!("/agents/{id}/credentials");
    let history = house.get(&format!("{path}/history")).await;
    let first = history["results"][0]["credentialId"].as_str().unwrap();
    house.hello(&token).await;
    house.expect(201, Method::POST, &format!("{path}/rotate"), None).await;
    house.hello(&token).await;
    house.expect(204, Method::DELETE, &format!("{path}/{first}"), None).await;
    let hello = json!({"protocol": 1, "instance": "one", "agentVersion": "0.1.0"});
    assert_eq!(house.gateway(&token, "session", hello).await.0, 401);
}

async fn the_audit_log_names_every_write_every_token_and_every_reveal(house: House) {
    let id = house.new_agent("north").await;
    let agents = format!("/agents/{id}");
    house.expect(202, Method::PATCH, &agents, Some(json!({"description": "x"}))).await;
    house.get(&format!("{agents}/credentials")).await;
    let path = house.new_pipeline("shop", &id).await;
    house.expect(200, Method::PUT, &path, Some(pipeline("stall", &id))).await;
    for command in ["START", "STOP", "RESTART"] {
        house.command(&path, command).await;
    }
    house.ask_for_token(&house.set_up.client_id, "wrong").await;
    house.request(Method::GET, "/agents").header("account-id", "x").send().await.unwrap();
    house.expect(204, Method::DELETE, &path, None).await;
    house.expect(202, Method::DELETE, &agents, None).await;
    let log = house.get("/audit-log?size=100").await;
    let mut told: Vec<String> = log["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| format!("{} {}", line["action"].as_str().unwrap(), line["outcome"].as_str().unwrap()))
        .collect();
    told.reverse();
    let expected = [
        "hub.bootstrap done",
        "token.issue done",
        "agent.create done",
        "agent.update done",
        "credentials.reveal done",
        "pipeline.create done",
        "pipeline.update done",
        "pipeline.start done",
        "pipeline.stop done",
        "pipeline.restart done",
        "token.issue invalid_client",
        "account.mismatch forbidden",
        "pipeline.delete done",
        "agent.remove done",
    ];
    assert_eq!(told, expected);
    let client = format!("client:{}", house.set_up.client_id);
    let own = log["results"].as_array().unwrap().iter().filter(|line| line["actor"] == json!(client));
    assert_eq!(own.count(), 12);
    let mut asked = log["results"].as_array().unwrap().iter().filter(|line| line["actor"] != "hub");
    assert!(asked.all(|line| line["address"] == "127.0.0.1"), "{log}");
    assert!(!log.to_string().contains("mlr_"), "{log}");
    house.use_token(&house.client("owner", false).await.token);
    assert_eq!(house.get("/audit-log").await["total"], 1);
}

async fn the_audit_log_is_filtered_by_action_and_by_actor(house: House) {
    let id = house.new_agent("north").await;
    house.expect(202, Method::PATCH, &format!("/agents/{id}"), Some(json!({"description": "x"}))).await;
    let (client, nobody) = (format!("client:{}", house.set_up.client_id), format!("person:{id}"));
    for (query, total) in [
        ("", 4),
        ("?action=token.issue", 1),
        ("?action=token", 1),
        ("?action=agent", 2),
        ("?action=agent.create", 1),
        ("?action=agen", 0),
        ("?actor=hub", 1),
        (&*format!("?actor={client}"), 3),
        (&*format!("?actor={client}&action=agent&size=1"), 2),
        (&*format!("?actor={nobody}"), 0),
    ] {
        let log = house.get(&format!("/audit-log{query}")).await;
        assert_eq!(log["total"], total, "{query}: {log}");
    }
    for (query, field) in [("?action=%25", "action"), ("?actor=ann", "actor"), ("?actor=client:1", "actor")] {
        let problem = house.expect(400, Method::GET, &format!("/audit-log{query}"), None).await;
        assert_eq!(fields(&problem), [field]);
    }
}
