//! While it runs: START, STOP, RESTART, and what may be changed under a running pipeline.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, fields, finished, on_both_databases, pipeline};

on_both_databases!(
    start_before_the_agent_ever_connected_waits_for_it,
    commands_are_taken_in_any_case_and_others_are_refused,
    an_agent_whose_pipeline_is_started_is_removed_by_force_only,
    a_type_that_no_agent_runs_is_started_and_says_why_it_does_not_run,
    a_put_to_another_agent_stops_the_pipeline_there_and_gives_it_a_higher_epoch,
    a_pipeline_that_was_moved_from_a_process_that_died_waits_for_no_next_one,
    restart_is_a_command_for_the_agent_and_can_be_watched,
    a_restart_waits_until_the_agent_before_has_let_go,
    delete_of_a_running_pipeline_stops_it,
    delete_with_cleanup_leaves_the_agent_a_command_with_the_definition,
    a_restart_without_an_agent_is_409,
    an_agent_that_goes_silent_is_unknown,
);

/// What a sync told the agent to hold, as it gives it back.
pub(crate) fn held(told: &Value) -> Value {
    let mut held = told["desired"]["pipeline"].clone();
    let members = held.as_object_mut().expect("the agent was told what to run");
    members.remove("spec");
    members.remove("defaultName");
    held
}

/// What an agent says that holds this.
pub(crate) fn report(held: &Value, status: &str) -> Value {
    json!({"held": held, "report": {"pipelineId": held["pipelineId"], "status": status,
        "since": "2026-01-01T00:00:00.000Z", "revision": held["revision"], "wish": held["wish"], "epoch": held["epoch"]}})
}

/// A started pipeline that its agent streams: path, agent, its token and session, what it holds.
pub(crate) async fn streaming(house: &House) -> (String, String, String, String, Value) {
    let (agent, token) = house.agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    house.command(&path, "START").await;
    let session = house.hello(&token).await;
    let held = held(&house.sync(&token, &session, json!({})).await);
    house.sync(&token, &session, report(&held, "STREAMING")).await;
    assert_eq!(house.status(&path).await.0, "STREAMING");
    (path, agent, token, session, held)
}

async fn start_before_the_agent_ever_connected_waits_for_it(house: House) {
    let (agent, token) = house.agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    assert_eq!(house.status(&path).await, ("NOT_RUNNING".into(), "stopped".into()));
    house.command(&path, "START").await;
    assert_eq!(house.status(&path).await, ("NOT_RUNNING".into(), "waiting_for_agent".into()));
    let session = house.hello(&token).await;
    let told = house.sync(&token, &session, json!({})).await;
    assert_eq!(told["desired"]["pipeline"]["wanted"], "running");
    assert_eq!(house.status(&path).await.0, "STARTING");
}

async fn commands_are_taken_in_any_case_and_others_are_refused(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    for command in ["START", "START", "stop", "Stop"] {
        let answer = house.call(Method::POST, &format!("{path}/commands"), Some(json!({"command": command}))).await;
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (202, ""));
    }
    for (body, wrong) in [
        (json!({"command": "PAUSE"}), "command"),
        (json!({}), "command"),
        (json!({"command": 1}), "command"),
        (json!({"command": "START", "tables": ["a.b"]}), "tables"),
        (json!({"command": "RESTART", "tables": []}), "tables"),
        (json!({"command": "RESTART", "tables": [1]}), "tables"),
        (json!({"command": "START", "when": "now"}), "when"),
    ] {
        let refused = house.expect(400, Method::POST, &format!("{path}/commands"), Some(body)).await;
        assert_eq!(fields(&refused), [wrong]);
    }
}

async fn an_agent_whose_pipeline_is_started_is_removed_by_force_only(house: House) {
    let (path, agent, token, session, held) = streaming(&house).await;
    let agents = format!("/agents/{agent}");
    let problem = house.expect(409, Method::DELETE, &agents, None).await;
    assert_eq!(problem["code"], "pipeline_running");
    house.expect(409, Method::DELETE, &format!("{agents}?force=false"), None).await;
    house.expect(400, Method::DELETE, &format!("{agents}?force=maybe"), None).await;
    house.expect(202, Method::DELETE, &format!("{agents}?force=true"), None).await;
    house.expect(404, Method::GET, &agents, None).await;
    assert_eq!(house.status(&path).await, ("NOT_RUNNING".into(), "agent_removed".into()));
    let mut body = report(&held, "STREAMING");
    body["sessionId"] = json!(session);
    let (code, gone) = house.gateway(&token, "sync", body).await;
    assert_eq!((code, &gone["code"]), (410, &json!("agent_removed")));

    // One that is connected and whose pipeline is stopped is no obstacle.
    let (agent, token) = house.agent("south").await;
    let path = house.new_pipeline("bank", &agent).await;
    house.hello(&token).await;
    house.command(&path, "START").await;
    house.command(&path, "STOP").await;
    house.expect(202, Method::DELETE, &format!("/agents/{agent}"), None).await;
}

async fn a_type_that_no_agent_runs_is_started_and_says_why_it_does_not_run(house: House) {
    let (agent, token) = house.agent("north").await;
    let mut sent = pipeline("shop", &agent);
    sent["streamingSource"]["type"] = json!("sqlserver");
    let created = house.expect(201, Method::POST, &house.pipelines(), Some(sent)).await;
    let path = format!("{}/{}", house.pipelines(), created["streamingPipelineId"].as_str().unwrap());
    house.command(&path, "START").await;
    let unsupported = ("NOT_RUNNING".to_owned(), "unsupported_by_agent".to_owned());
    assert_eq!(house.status(&path).await, unsupported);
    let session = house.hello(&token).await;
    assert_eq!(house.status(&path).await, unsupported);
    let held = held(&house.sync(&token, &session, json!({})).await);
    house.sync(&token, &session, report(&held, "NOT_RUNNING")).await;
    assert_eq!(house.status(&path).await, unsupported);
    // What an agent can run takes over from it.
    house.expect(200, Method::PUT, &path, Some(pipeline("shop", &agent))).await;
    assert_ne!(house.status(&path).await, unsupported);
}

async fn a_put_to_another_agent_stops_the_pipeline_there_and_gives_it_a_higher_epoch(house: House) {
    let (path, _, token, session, first) = streaming(&house).await;
    let (other, other_token) = house.agent("south").await;
    let other_session = house.hello(&other_token).await;
    house.expect(200, Method::PUT, &path, Some(pipeline("shop", &other))).await;
    // As long as the first may still run it, the second gets nothing.
    let told = house.sync(&other_token, &other_session, json!({})).await;
    assert_eq!(told["desired"]["pipeline"], Value::Null, "{told}");
    let told = house.sync(&token, &session, report(&first, "STREAMING")).await;
    assert_eq!(told["desired"], json!({}), "{told}");
    house.sync(&token, &session, report(&first, "NOT_RUNNING")).await;
    let second = held(&house.sync(&other_token, &other_session, json!({})).await);
    assert_eq!(second["wanted"], "running");
    assert!(second["epoch"].as_u64() > first["epoch"].as_u64(), "{first} {second}");
}

async fn a_pipeline_that_was_moved_from_a_process_that_died_waits_for_no_next_one(house: House) {
    let (path, _, token, _, first) = streaming(&house).await;
    let (other, other_token) = house.agent("south").await;
    house.expect(200, Method::PUT, &path, Some(pipeline("shop", &other))).await;
    // It dies, and a next one comes before the other agent looks: one that runs it from its cache, one in a new session that may still be
    // ending it, and one that holds nothing and has nothing to report.
    let hello = async |instance: &str, held: &Value| {
        let hello = json!({"protocol": 1, "instance": instance, "agentVersion": "0.1.0", "held": held});
        assert_eq!(house.gateway(&token, "session", hello).await.0, 200);
        house.hello(&other_token).await
    };
    for (instance, held) in [("two", &first), ("two", &Value::Null)] {
        house.clock.advance(Duration::from_secs(46));
        let other_session = hello(instance, held).await;
        let told = house.sync(&other_token, &other_session, json!({})).await;
        assert_eq!(told["desired"]["pipeline"], Value::Null, "{told}");
    }
    house.clock.advance(Duration::from_secs(46));
    let other_session = hello("three", &Value::Null).await;
    let second = held(&house.sync(&other_token, &other_session, json!({})).await);
    assert_eq!(second["wanted"], "running");
    assert!(second["epoch"].as_u64() > first["epoch"].as_u64(), "{first} {second}");
}

async fn restart_is_a_command_for_the_agent_and_can_be_watched(house: House) {
    let (path, _, token, session, held) = streaming(&house).await;
    let body = json!({"command": "RESTART", "tables": ["public.orders"]});
    let answer = house.call(Method::POST, &format!("{path}/commands"), Some(body)).await;
    let (headers, _) = finished(answer, 202, "RESTART").await;
    let location = headers["location"].to_str().unwrap().strip_prefix("/dpc/v1").unwrap().to_owned();
    let queued = house.get(&location).await;
    assert_eq!((&queued["kind"], &queued["state"]), (&json!("restart"), &json!("queued")));

    let told = house.sync(&token, &session, report(&held, "STREAMING")).await;
    let command = &told["commands"][0];
    assert_eq!(command["kind"], "restart");
    assert_eq!(command["arguments"]["tables"], json!(["public.orders"]));
    let mut done = report(&held, "SNAPSHOTTING");
    done["results"] = json!([{"id": command["id"], "done": true, "result": {"commit": 9}}]);
    let told = house.sync(&token, &session, done).await;
    assert_eq!(told["acknowledgedCommands"], json!([command["id"]]));
    assert_eq!(told["commands"], json!([]));
    let finished = house.get(&location).await;
    assert_eq!((&finished["state"], &finished["result"]), (&json!("done"), &json!({"commit": 9})));
    assert!(finished["finishedAt"].is_string());

    house.expect(202, Method::POST, &format!("{path}/commands"), Some(json!({"command": "restart"}))).await;
    house.use_token(&house.client("owner", false).await.token);
    house.expect(404, Method::GET, &location, None).await;
}

async fn a_restart_waits_until_the_agent_before_has_let_go(house: House) {
    let (path, _, token, session, first) = streaming(&house).await;
    let (other, other_token) = house.agent("south").await;
    let other_session = house.hello(&other_token).await;
    house.expect(200, Method::PUT, &path, Some(pipeline("shop", &other))).await;
    let restart = json!({"command": "RESTART", "adopt": true});
    house.expect(202, Method::POST, &format!("{path}/commands"), Some(restart)).await;
    let told = house.sync(&other_token, &other_session, json!({})).await;
    assert_eq!(told["commands"], json!([]), "{told}");
    house.sync(&token, &session, report(&first, "NOT_RUNNING")).await;
    let told = house.sync(&other_token, &other_session, json!({})).await;
    assert_eq!(told["commands"][0]["arguments"]["adopt"], true, "{told}");
    let wrong = json!({"command": "START", "adopt": true});
    let problem = house.expect(400, Method::POST, &format!("{path}/commands"), Some(wrong)).await;
    assert_eq!(fields(&problem), ["adopt"]);
}

async fn delete_of_a_running_pipeline_stops_it(house: House) {
    let (path, agent, token, session, held) = streaming(&house).await;
    house.expect(204, Method::DELETE, &path, None).await;
    house.expect(404, Method::GET, &path, None).await;
    let told = house.sync(&token, &session, report(&held, "STREAMING")).await;
    assert_eq!((&told["desired"], &told["commands"]), (&json!({}), &json!([])));
    house.new_pipeline("shop", &agent).await;
}

async fn delete_with_cleanup_leaves_the_agent_a_command_with_the_definition(house: House) {
    let (path, _, token, session, held) = streaming(&house).await;
    let agent = house.get(&path).await["agentId"].as_str().unwrap().to_owned();
    house.expect(200, Method::PUT, &path, Some(pipeline("renamed", &agent))).await;
    house.expect(400, Method::DELETE, &format!("{path}?cleanup=1"), None).await;
    house.expect(204, Method::DELETE, &format!("{path}?cleanup=true"), None).await;
    let told = house.sync(&token, &session, report(&held, "STREAMING")).await;
    assert_eq!(told["desired"], json!({}));
    let command = &told["commands"][0];
    assert_eq!((&command["kind"], &command["pipeline"]["defaultName"]), (&json!("cleanup"), &json!("shop")));
    assert_eq!(command["pipeline"]["pipelineId"], held["pipelineId"]);
    assert_eq!(command["pipeline"]["spec"], pipeline("renamed", &agent));
    // One that the agent has taken is no news: the next sync may be held.
    let taken = json!({"held": null, "taken": [command["id"]], "waitMs": 0});
    assert_eq!(house.sync(&token, &session, taken).await["commands"], json!([]));
}

async fn a_restart_without_an_agent_is_409(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    house.expect(202, Method::DELETE, &format!("/agents/{agent}"), None).await;
    let problem =
        house.expect(409, Method::POST, &format!("{path}/commands"), Some(json!({"command": "RESTART"}))).await;
    assert_eq!(problem["code"], "agent_removed");
    house.expect(409, Method::DELETE, &format!("{path}?cleanup=true"), None).await;
    house.expect(204, Method::DELETE, &path, None).await;
}

async fn an_agent_that_goes_silent_is_unknown(house: House) {
    let (path, agent, ..) = streaming(&house).await;
    house.clock.advance(Duration::from_secs(46));
    assert_eq!(house.get(&format!("/agents/{agent}")).await["agentStatus"], "UNKNOWN");
    assert_eq!(house.status(&path).await, ("UNKNOWN".into(), "agent_lost".into()));
}
