//! Set times: by the clock, once, and made up for when no hub was there.

use std::time::Duration;

use millrace_model::{Clock, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, fields, on_both_databases};

on_both_databases!(
    set_times_are_kept_shown_with_what_comes_next_and_forgotten,
    a_time_that_cannot_be_is_400_and_nothing_is_kept,
    a_pipeline_is_started_and_stopped_by_the_clock_once_by_two_hubs,
    a_viewer_sees_set_times_and_a_stranger_does_not,
);

async fn set_times_are_kept_shown_with_what_comes_next_and_forgotten(house: House) {
    let agent = house.new_agent("north").await;
    let path = format!("{}/set-times", house.new_pipeline("shop", &agent).await);
    assert_eq!(house.get(&path).await, json!({"next": []}));
    let body = json!({"start": "0 6 * * 1-5", "stop": "0 20 * * 1-5"});
    let kept = house.expect(200, Method::PUT, &path, Some(body)).await;
    assert_eq!((&kept["start"], &kept["stop"]), (&json!("0 6 * * 1-5"), &json!("0 20 * * 1-5")));
    let next = kept["next"].as_array().unwrap();
    assert_eq!(next.len(), 3);
    let now = house.clock.now();
    let times: Vec<Timestamp> = next.iter().map(|one| Timestamp::parse(one["at"].as_str().unwrap()).unwrap()).collect();
    assert!(times[0] > now && times.is_sorted(), "{kept}");
    assert!(next.iter().all(|one| one["command"] == "START" || one["command"] == "STOP"));
    assert_eq!(house.get(&path).await, kept);
    // A PUT is the whole of it.
    let kept = house.expect(200, Method::PUT, &path, Some(json!({"stop": "0 20 * * *"}))).await;
    assert!(kept.get("start").is_none() && kept["next"].as_array().unwrap().len() == 3, "{kept}");
    house.expect(204, Method::DELETE, &path, None).await;
    house.expect(204, Method::DELETE, &path, None).await;
    assert_eq!(house.get(&path).await, json!({"next": []}));
}

async fn a_time_that_cannot_be_is_400_and_nothing_is_kept(house: House) {
    let agent = house.new_agent("north").await;
    let path = format!("{}/set-times", house.new_pipeline("shop", &agent).await);
    for (body, wrong) in [
        (json!({"start": "0 25 * * *"}), vec!["start"]),
        (json!({"start": "soon", "stop": "0 0 30 2 *"}), vec!["start", "stop"]),
        (json!({"start": 6}), vec!["start"]),
        (json!({"begin": "0 6 * * *"}), vec!["begin"]),
    ] {
        let problem = house.expect(400, Method::PUT, &path, Some(body)).await;
        assert_eq!(fields(&problem), wrong);
    }
    let same = json!({"start": "0 6 * * *", "stop": "0 6 * * *"});
    assert_eq!(house.expect(409, Method::PUT, &path, Some(same)).await["code"], "same_times");
    assert_eq!(house.get(&path).await, json!({"next": []}));
}

/// Lets time go by; tokens do not last that long.
async fn pass(house: &House, time: Duration) {
    house.clock.advance(time);
    house.use_token(&house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await);
}

/// Lines of the audit log that say that the hub did this by itself.
async fn done_by_the_hub(house: &House, action: &str) -> usize {
    let log = house.get("/audit-log?size=100").await;
    let lines = log["results"].as_array().unwrap().iter();
    lines.filter(|line| line["actor"] == "hub" && line["action"] == action).count()
}

async fn a_pipeline_is_started_and_stopped_by_the_clock_once_by_two_hubs(house: House) {
    if house.settings.database_url.is_some() {
        house.another().await;
    }
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let times = format!("{path}/set-times");
    house.expect(200, Method::PUT, &times, Some(json!({"start": "0 6 * * *", "stop": "0 20 * * *"}))).await;
    let ahead = async || {
        let next = house.get(&times).await["next"][0].clone();
        let at = Timestamp::parse(next["at"].as_str().unwrap()).unwrap();
        let wait = Duration::from_micros(u64::try_from(at.0 - house.clock.now().0).unwrap());
        (next["command"].as_str().unwrap().to_owned(), wait)
    };
    let reason = |code: &'static str| move |status: &Value| status["reason"]["code"] == code;
    // Whatever comes first now, a start comes within two.
    let (command, wait) = ahead().await;
    pass(&house, wait).await;
    if command == "STOP" {
        pass(&house, ahead().await.1).await;
    }
    house.until(&format!("{path}/status"), reason("waiting_for_agent")).await;
    let (command, wait) = ahead().await;
    assert_eq!(command, "STOP");
    pass(&house, wait).await;
    house.until(&format!("{path}/status"), reason("stopped")).await;
    // Ten days without a look: the last time that was missed counts, and it is one.
    pass(&house, Duration::from_hours(10 * 24 - 1)).await;
    house.until(&format!("{path}/status"), reason("waiting_for_agent")).await;
    assert_eq!(done_by_the_hub(&house, "pipeline.start").await, 2);
    assert_eq!(done_by_the_hub(&house, "pipeline.stop").await, 1);
}

async fn a_viewer_sees_set_times_and_a_stranger_does_not(house: House) {
    let agent = house.new_agent("north").await;
    let path = format!("{}/set-times", house.new_pipeline("shop", &agent).await);
    let body = json!({"start": "0 6 * * *"});
    house.use_token(&house.client("viewer", true).await.token);
    house.get(&path).await;
    house.expect(403, Method::PUT, &path, Some(body.clone())).await;
    house.expect(403, Method::DELETE, &path, None).await;
    house.use_token(&house.client("owner", false).await.token);
    house.expect(404, Method::GET, &path, None).await;
    house.expect(404, Method::PUT, &path, Some(body)).await;
}
