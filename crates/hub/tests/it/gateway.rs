//! What the gateway takes from an agent and what it does not, and how soon a sync that waits hears of what is new.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, on_both_databases, pipeline};
use crate::running::{held, report, streaming};

on_both_databases!(
    an_event_says_nothing_of_a_pipeline_that_was_never_its_agents,
    a_revision_of_the_same_number_and_another_definition_is_news,
    a_word_that_was_overtaken_on_its_way_changes_nothing,
    a_goodbye_is_undone_by_nothing_that_was_said_before,
    an_epoch_that_no_chain_has_ends_nothing,
    a_newer_sync_ends_the_older_one_and_hears_of_the_start,
    a_sync_that_waits_hears_of_the_removal_at_once,
    a_clock_that_is_set_while_a_sync_is_held_changes_neither_the_hold_nor_the_lease,
    a_removed_agent_that_was_away_hears_of_it_at_the_token_endpoint,
    words_that_are_none_are_refused_or_left_out,
    a_pipeline_that_another_agent_may_still_run_says_so,
    a_put_that_changes_nothing_makes_no_revision,
);

fn event(pipeline_id: &Value, message: &str) -> Value {
    json!({"events": [{"id": uuid::Uuid::new_v4().to_string(), "at": "2026-01-01T00:00:00.000Z",
        "pipelineId": pipeline_id, "severity": "warning", "code": "retrying", "message": message}]})
}

async fn an_event_says_nothing_of_a_pipeline_that_was_never_its_agents(house: House) {
    let (path, _, token, session, own) = streaming(&house).await;
    let id = &own["pipelineId"];
    house.sync(&token, &session, event(id, "of its agent")).await;
    let (neighbour, neighbours) = house.agent("south").await;
    let at_neighbours = house.hello(&neighbours).await;
    house.sync(&neighbours, &at_neighbours, event(id, "of a neighbour")).await;
    let owner = house.token();
    let stranger = house.client("owner", false).await;
    house.use_token(&stranger.token);
    let (_, strangers) = house.agent("north").await;
    let at_strangers = house.hello(&strangers).await;
    let told = house.sync(&strangers, &at_strangers, event(id, "of a stranger")).await;
    assert_eq!(told["acknowledgedEvents"].as_array().unwrap().len(), 1, "{told}");
    house.use_token(&owner);

    // It was the first agent's: what that one tells late is still of it.
    house.expect(200, Method::PUT, &path, Some(pipeline("shop", &neighbour))).await;
    house.sync(&neighbours, &at_neighbours, event(id, "of its next agent")).await;
    house.sync(&token, &session, report(&own, "NOT_RUNNING")).await;
    house.sync(&token, &session, event(id, "late, of its first agent")).await;
    let seen = house.get(&format!("{path}/events")).await;
    let mut messages: Vec<&str> =
        seen["results"].as_array().unwrap().iter().filter_map(|event| event["message"].as_str()).collect();
    messages.sort_unstable();
    assert_eq!(messages, ["late, of its first agent", "of its agent", "of its next agent"]);
}

async fn a_revision_of_the_same_number_and_another_definition_is_news(house: House) {
    let (_, _, token, session, own) = streaming(&house).await;
    assert!(own["digest"].is_string(), "{own}");
    // As after a hub was set back, and revised anew.
    let mut other = own.clone();
    other["digest"] = json!("of another definition");
    let told = house.sync(&token, &session, report(&other, "STREAMING")).await;
    assert_eq!(held(&told), own, "{told}");
    let told = house.sync(&token, &session, report(&own, "STREAMING")).await;
    assert_eq!(told["desired"], Value::Null);
    // An agent of the version before gives none back, and is believed.
    other.as_object_mut().unwrap().remove("digest");
    let told = house.sync(&token, &session, report(&other, "STREAMING")).await;
    assert_eq!(told["desired"], Value::Null, "{told}");
}

async fn a_word_that_was_overtaken_on_its_way_changes_nothing(house: House) {
    let (path, agent, token, session, own) = streaming(&house).await;
    let numbered = |sequence: u64, status: &str| {
        let mut body = report(&own, status);
        body["sequence"] = json!(sequence);
        body
    };
    house.sync(&token, &session, numbered(2_000_008, "STREAMING")).await;
    let renewed = house.get(&format!("/agents/{agent}")).await["lastSeenAt"].clone();
    house.clock.advance(Duration::from_secs(2));
    let mut late = numbered(2_000_005, "NOT_RUNNING");
    late["events"] = event(&own["pipelineId"], "told once all the same")["events"].clone();
    house.sync(&token, &session, late).await;
    assert_eq!(house.status(&path).await.0, "STREAMING");
    assert_eq!(house.get(&format!("/agents/{agent}")).await["lastSeenAt"], renewed);
    assert_eq!(house.get(&format!("{path}/events")).await["results"][0]["message"], "told once all the same");
    house.sync(&token, &session, numbered(2_000_009, "NOT_RUNNING")).await;
    assert_eq!(house.status(&path).await.0, "NOT_RUNNING");
}

async fn a_goodbye_is_undone_by_nothing_that_was_said_before(house: House) {
    let (agent, token) = house.agent("north").await;
    let session = house.hello(&token).await;
    // The second says the same as the first: only its figures are newer, and they may wait to be written down.
    for sequence in [1, 2] {
        house.sync(&token, &session, json!({"sequence": sequence})).await;
    }
    let goodbye = json!({"sessionId": session, "reason": "stopped"});
    assert_eq!(house.gateway(&token, "goodbye", goodbye).await.0, 204);
    // Longer than anything waits.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(house.get(&format!("/agents/{agent}")).await["agentStatus"], "STOPPED");
    let hello = json!({"protocol": 1, "instance": "two", "agentVersion": "0.1.0"});
    let (code, told) = house.gateway(&token, "session", hello).await;
    assert_eq!(code, 200, "{told}");
}

async fn an_epoch_that_no_chain_has_ends_nothing(house: House) {
    let (path, _, token, session, own) = streaming(&house).await;
    for epoch in [i64::MAX as u64, u64::MAX] {
        let mut absurd = report(&own, "NOT_RUNNING");
        absurd["report"]["epoch"] = json!(epoch);
        absurd["sequence"] = json!(u64::MAX - 1);
        house.sync(&token, &session, absurd).await;
        assert_eq!(house.status(&path).await.0, "NOT_RUNNING");
    }
    let mut held = own.clone();
    held["epoch"] = json!(i64::MAX);
    let hello = json!({"protocol": 1, "instance": "one", "agentVersion": "0.1.0", "held": held});
    assert_eq!(house.gateway(&token, "session", hello).await.0, 200);
    let session = house.hello(&token).await;
    let told = house.sync(&token, &session, json!({})).await;
    assert!(told["desired"]["pipeline"]["epoch"].as_u64() > own["epoch"].as_u64(), "{told}");
}

async fn a_newer_sync_ends_the_older_one_and_hears_of_the_start(house: House) {
    let (agent, token) = house.agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let session = house.hello(&token).await;
    let own = held(&house.sync(&token, &session, json!({})).await);
    let waits = |number: u64| {
        let body = json!({"sessionId": session, "sequence": 3_000_000 + number, "held": own,
            "sentAt": "2026-01-01T00:00:00.000Z", "waitMs": 15_000});
        house.gateway(&token, "sync", body)
    };
    let begun = Instant::now();
    let older = async { (waits(1).await.1, begun.elapsed()) };
    let newer = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        (waits(2).await.1, begun.elapsed())
    };
    let start = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        house.command(&path, "START").await;
        begun.elapsed()
    };
    let ((older, old_took), (newer, took), started) = tokio::join!(older, newer, start);
    assert_eq!(older["desired"], Value::Null, "{older}");
    assert!(old_took < Duration::from_millis(1500), "{old_took:?}");
    assert_eq!(newer["desired"]["pipeline"]["wanted"], "running", "{newer}");
    assert!(took.saturating_sub(started) < Duration::from_secs(1), "{took:?} {started:?}");
}

async fn a_sync_that_waits_hears_of_the_removal_at_once(house: House) {
    let (_, agent, token, session, own) = streaming(&house).await;
    let mut body = report(&own, "STREAMING");
    body["sessionId"] = json!(session);
    body["sequence"] = json!(3_000_000);
    body["sentAt"] = json!("2026-01-01T00:00:00.000Z");
    body["waitMs"] = json!(15_000);
    let begun = Instant::now();
    let remove = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        house.expect(202, Method::DELETE, &format!("/agents/{agent}?force=true"), None).await
    };
    let ((code, gone), _) = tokio::join!(house.gateway(&token, "sync", body), remove);
    assert_eq!((code, &gone["code"]), (410, &json!("agent_removed")), "{gone}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

async fn a_clock_that_is_set_while_a_sync_is_held_changes_neither_the_hold_nor_the_lease(house: House) {
    // Less than a token lives.
    const JUMP: Duration = Duration::from_mins(10);
    let (agent, token) = house.agent("north").await;
    let session = house.hello(&token).await;
    let path = format!("/agents/{agent}");
    for (sequence, back) in [(1, true), (2, false)] {
        house.clock.advance(Duration::from_secs(2));
        let before = house.get(&path).await["lastSeenAt"].clone();
        let body = json!({"sessionId": session, "sequence": sequence, "sentAt": "2026-01-01T00:00:00.000Z",
            "waitMs": 2500});
        let set = async {
            // Once it is written down that it was here, it is held.
            while house.get(&path).await["lastSeenAt"] == before {
                tokio::task::yield_now().await;
            }
            if back { house.clock.set_back(JUMP) } else { house.clock.advance(JUMP) }
        };
        let both = async { tokio::join!(house.gateway(&token, "sync", body), set) };
        let told = tokio::time::timeout(Duration::from_secs(20), both).await;
        let ((code, told), ()) = told.expect("it is answered at the end of its wait");
        assert_eq!(code, 200, "{told}");
        assert!(told["heldMs"].as_u64().unwrap() >= 1000, "{told}");
        let lease = told["leaseSeconds"].as_u64().unwrap();
        assert!((house.settings.lease.as_secs() - 15..=house.settings.lease.as_secs()).contains(&lease), "{told}");
        if back {
            house.clock.advance(JUMP);
        }
    }
}

async fn a_removed_agent_that_was_away_hears_of_it_at_the_token_endpoint(house: House) {
    let agent = house.new_agent("north").await;
    let credentials = house.get(&format!("/agents/{agent}/credentials")).await;
    let text = |name: &str| credentials[name].as_str().unwrap().to_owned();
    let (id, secret) = (text("clientId"), text("clientSecret"));
    house.token_of(&id, &secret).await;
    house.expect(202, Method::DELETE, &format!("/agents/{agent}"), None).await;
    let refused = house.ask_for_token(&id, &secret).await;
    assert_eq!(refused.status(), 401);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!((&refused["error"], &refused["code"]), (&json!("invalid_client"), &json!("agent_removed")), "{refused}");
    // Who has not the secret learns nothing.
    let refused: Value = house.ask_for_token(&id, "another secret").await.json().await.unwrap();
    assert_eq!((&refused["error"], &refused["code"]), (&json!("invalid_client"), &Value::Null), "{refused}");
}

async fn words_that_are_none_are_refused_or_left_out(house: House) {
    let (path, agent, token, session, own) = streaming(&house).await;
    let mut body = report(&own, "<script>BAD");
    body["sessionId"] = json!(session);
    body["sequence"] = json!(3_000_000);
    body["sentAt"] = json!("2026-01-01T00:00:00.000Z");
    let (code, refused) = house.gateway(&token, "sync", body).await;
    assert_eq!((code, &refused["violations"][0]["field"]), (400, &json!("report.status")), "{refused}");
    assert_eq!(house.status(&path).await.0, "STREAMING");

    let mut body = report(&own, "NOT_RUNNING");
    body["sequence"] = json!(3_000_001);
    body["report"]["reason"] =
        json!({"code": "<b>failed", "message": "m", "cure": "c", "fault": "PG-001<script>\r\nX: y"});
    body["events"] = event(&own["pipelineId"], "m")["events"].clone();
    body["events"][0]["code"] = json!("<b>");
    body["events"][0]["severity"] = json!("<i>");
    body["conditions"] = json!([{"kind": "<u>", "message": "m", "since": "2026-01-01T00:00:00.000Z"}]);
    house.sync(&token, &session, body).await;
    let seen = house.get(&format!("{path}/status")).await;
    assert_eq!((&seen["reason"]["code"], &seen["reason"]["fault"]), (&json!("other"), &Value::Null), "{seen}");
    let told = house.get(&format!("{path}/events")).await["results"][0].clone();
    assert_eq!((&told["code"], &told["severity"]), (&json!("other"), &json!("warning")), "{told}");
    let conditions = house.get(&format!("/agents/{agent}")).await["conditions"].to_string();
    assert!(!conditions.contains("<u>"), "{conditions}");
}

async fn a_pipeline_that_another_agent_may_still_run_says_so(house: House) {
    let (path, ..) = streaming(&house).await;
    let (other, other_token) = house.agent("south").await;
    house.hello(&other_token).await;
    house.expect(200, Method::PUT, &path, Some(pipeline("shop", &other))).await;
    assert_eq!(house.status(&path).await, ("STARTING".into(), "held_elsewhere".into()));
}

async fn a_put_that_changes_nothing_makes_no_revision(house: House) {
    let (path, agent, token, session, own) = streaming(&house).await;
    for _ in 0..2 {
        house.expect(200, Method::PUT, &path, Some(pipeline("shop", &agent))).await;
    }
    assert_eq!(house.get(&format!("{path}/revisions")).await["total"], 1);
    let told = house.sync(&token, &session, report(&own, "STREAMING")).await;
    assert_eq!(told["desired"], Value::Null, "{told}");
    house.expect(200, Method::PUT, &path, Some(pipeline("renamed", &agent))).await;
    assert_eq!(house.get(&format!("{path}/revisions")).await["total"], 2);
}
