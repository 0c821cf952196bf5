//! Ours beside the contract: projects, events, revisions, and what an agent is asked to look at.

use reqwest::Method;
use serde_json::json;

use crate::house::{House, fields, finished, on_both_databases, pipeline};

on_both_databases!(
    the_projects_of_the_account_are_listed,
    revisions_keep_every_body_and_its_author,
    events_of_the_agent_are_listed_the_newest_first,
    an_agent_is_asked_to_check_and_to_discover,
    a_plain_secret_is_not_passed_on_to_an_agent,
);

async fn the_projects_of_the_account_are_listed(house: House) {
    let projects = house.get("/projects").await;
    let expected = json!([{"projectId": house.set_up.project_id, "name": "Main"}]);
    assert_eq!((&projects["results"], &projects["total"]), (&expected, &json!(1)));
    assert_eq!(house.get("/projects?page=1").await["results"], json!([]));
}

async fn revisions_keep_every_body_and_its_author(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    house.expect(200, Method::PUT, &path, Some(pipeline("bank", &agent))).await;
    let revisions = house.get(&format!("{path}/revisions")).await;
    assert_eq!(revisions["total"], 2);
    for (index, (number, name)) in [(2, "bank"), (1, "shop")].iter().enumerate() {
        let revision = &revisions["results"][index];
        assert_eq!((&revision["revision"], &revision["pipeline"]), (&json!(number), &pipeline(name, &agent)));
        assert_eq!(revision["author"], json!(format!("client:{}", house.set_up.client_id)));
    }
}

async fn events_of_the_agent_are_listed_the_newest_first(house: House) {
    let (agent, token) = house.agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let id = path.rsplit('/').next().unwrap();
    let session = house.hello(&token).await;
    let event = |code: &str| {
        json!({"id": uuid::Uuid::now_v7().to_string(), "at": "2026-01-01T00:00:00.000Z", "pipelineId": id,
            "severity": "warning", "code": code, "message": "odd: \u{0} \\", "cure": "", "fields": {"attempt": 3}})
    };
    let (one, two) = (event("one"), event("two"));
    // Sent twice, stored once.
    house.sync(&token, &session, json!({"events": [one]})).await;
    house.sync(&token, &session, json!({"events": [one, two]})).await;
    let events = house.get(&format!("{path}/events")).await;
    assert_eq!(events["total"], 2);
    assert_eq!((&events["results"][0]["code"], &events["results"][1]["code"]), (&json!("two"), &json!("one")));
    let first = &events["results"][1];
    assert_eq!((&first["message"], &first["fields"]), (&one["message"], &json!({"attempt": 3})));
}

async fn an_agent_is_asked_to_check_and_to_discover(house: House) {
    let (agent, token) = house.agent("north").await;
    let mut spec = pipeline("shop", &agent);
    spec.as_object_mut().unwrap().remove("name");
    spec.as_object_mut().unwrap().remove("agentId");
    let session = house.hello(&token).await;
    for (path, kind, body) in [
        ("checks", "check", json!({"spec": spec})),
        ("discoveries", "discover", json!({"spec": spec, "schema": "public"})),
    ] {
        let answer = house.call(Method::POST, &format!("/agents/{agent}/{path}"), Some(body)).await;
        let (headers, _) = finished(answer, 202, path).await;
        let location = headers["location"].to_str().unwrap().strip_prefix("/dpc/v1").unwrap().to_owned();
        let told = house.sync(&token, &session, json!({})).await;
        let command = &told["commands"][0];
        assert_eq!(
            (&command["kind"], &command["arguments"]["spec"]["streamingTarget"]),
            (&json!(kind), &spec["streamingTarget"])
        );
        let result = json!([{"id": command["id"], "done": false, "result": {"code": "failed", "message": "no"}}]);
        house.sync(&token, &session, json!({"results": result})).await;
        let command = house.get(&location).await;
        assert_eq!((&command["state"], &command["result"]["message"]), (&json!("failed"), &json!("no")));
    }
    // Nobody waits for it any more after five minutes.
    let answer = house.call(Method::POST, &format!("/agents/{agent}/checks"), Some(json!({"spec": spec}))).await;
    let (headers, _) = finished(answer, 202, "checks").await;
    let location = headers["location"].to_str().unwrap().strip_prefix("/dpc/v1").unwrap().to_owned();
    house.clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(house.get(&location).await["state"], "expired");
}

async fn a_plain_secret_is_not_passed_on_to_an_agent(house: House) {
    let agent = house.new_agent("north").await;
    let mut spec = pipeline("shop", &agent);
    spec["streamingSource"]["connection"]["password"] = json!("s3cret");
    let checks = format!("/agents/{agent}/checks");
    let refused = house.expect(400, Method::POST, &checks, Some(json!({"spec": spec}))).await;
    assert_eq!(fields(&refused), ["spec.streamingSource.connection.password"]);
    assert!(!refused.to_string().contains("s3cret"));
    assert_eq!(fields(&house.expect(400, Method::POST, &checks, Some(json!({}))).await), ["spec"]);
    let unknown = format!("/agents/{}/checks", uuid::Uuid::new_v4());
    house.expect(404, Method::POST, &unknown, Some(json!({"spec": pipeline("shop", &agent)}))).await;
}
