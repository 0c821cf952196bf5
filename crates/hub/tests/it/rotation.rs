//! An agent's secrets in the console: two alive, each with its last use, the password before each step; and their end.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, on_both_databases};
use crate::visitor::Visitor;

on_both_databases!(
    a_secret_is_rotated_deployed_and_the_old_one_revoked,
    each_step_needs_the_password_and_is_written_down,
    a_secret_that_ends_is_told_of_in_time_and_then_opens_nothing,
    a_secret_that_has_ended_is_not_the_one_that_is_shown_and_replaces_no_other,
);

fn secret(page: &str) -> String {
    let found = page.split("<code>").find(|part| part.starts_with("mlr_")).expect("a secret is shown");
    found.split('<').next().unwrap().to_owned()
}

/// Ids of the secrets, the newest first.
async fn ids(house: &House, agent: &str) -> Vec<String> {
    let history = house.get(&format!("/agents/{agent}/credentials/history")).await;
    let results = history["results"].as_array().unwrap().clone();
    results.iter().map(|one| one["credentialId"].as_str().unwrap().to_owned()).collect()
}

async fn a_secret_is_rotated_deployed_and_the_old_one_revoked(house: House) {
    let id = house.new_agent("north").await;
    let credentials = house.get(&format!("/agents/{id}/credentials")).await;
    let (client, old) = (credentials["clientId"].as_str().unwrap(), credentials["clientSecret"].as_str().unwrap());
    house.token_of(client, old).await;
    let owner = Visitor::owner(&house).await;
    let path = format!("/agents/{id}/credentials");
    let (status, page) = owner.send(&format!("{path}/rotate"), &[("days", ""), ("password", PASSWORD)]).await;
    assert_eq!(status, StatusCode::OK);
    let new = secret(&page);
    assert!(new != old && page.contains("Deploy the new one"), "{page}");
    assert!(page.contains("never") && page.contains("127.0.0.1") && page.contains("Old"), "{page}");
    house.token_of(client, old).await;
    let old_id = ids(&house, &id).await.remove(1);
    let (_, asked) = owner.see(&format!("{path}/{old_id}/revoke")).await;
    assert!(asked.contains("loses the hub"), "the new one was not used yet: {asked}");
    house.clock.advance(Duration::from_secs(1));
    house.token_of(client, &new).await;
    assert!(owner.see(&path).await.1.contains("Revoke the old one"));
    let (_, asked) = owner.see(&format!("{path}/{old_id}/revoke")).await;
    assert!(!asked.contains("loses the hub"), "{asked}");
    let (status, _) = owner.send(&format!("{path}/{old_id}/revoke"), &[("password", PASSWORD)]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(house.ask_for_token(client, old).await.status(), 401);
    house.token_of(client, &new).await;
    assert!(!owner.see(&path).await.1.contains("mlr_"), "a secret is not shown unasked");
}

async fn each_step_needs_the_password_and_is_written_down(house: House) {
    let id = house.new_agent("north").await;
    let owner = Visitor::owner(&house).await;
    let path = format!("/agents/{id}/credentials");
    for step in [path.clone(), format!("{path}/rotate")] {
        let (status, page) = owner.send(&step, &[("password", "not the right one")]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{step}");
        assert!(!page.contains("mlr_"));
    }
    assert_eq!(ids(&house, &id).await.len(), 1);
    owner.send(&path, &[("password", PASSWORD)]).await;
    owner.send(&format!("{path}/rotate"), &[("password", PASSWORD)]).await;
    let old = ids(&house, &id).await.remove(1);
    let revoke = format!("{path}/{old}/revoke");
    assert_eq!(owner.send(&revoke, &[("password", "no")]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(owner.send(&revoke, &[("password", PASSWORD)]).await.0, StatusCode::SEE_OTHER);
    let log = house.get("/audit-log").await;
    let lines = log["results"].as_array().unwrap().iter();
    let told: Vec<&str> = lines.filter_map(|line| line["action"].as_str()).filter(|a| a.starts_with("cred")).collect();
    assert_eq!(told, ["credentials.revoke", "credentials.reveal", "credentials.rotate", "credentials.reveal"]);
}

async fn a_secret_that_ends_is_told_of_in_time_and_then_opens_nothing(house: House) {
    let id = house.new_agent("north").await;
    let path = format!("/agents/{id}/credentials");
    for wrong in [json!({"expiresInDays": 0}), json!({"expiresInDays": 4000}), json!({"expiresInDays": "x"})] {
        house.expect(400, Method::POST, &format!("{path}/rotate"), Some(wrong)).await;
    }
    let asked = Some(json!({"expiresInDays": 31}));
    let new = house.expect(201, Method::POST, &format!("{path}/rotate"), asked).await;
    let (client, secret) = (new["clientId"].as_str().unwrap(), new["clientSecret"].as_str().unwrap());
    let owner = (house.set_up.client_id.clone(), house.set_up.client_secret.clone());
    let told = async || {
        house.use_token(&house.token_of(&owner.0, &owner.1).await);
        let agent: Value = house.get(&format!("/agents/{id}")).await;
        let empty = Vec::new();
        let conditions = agent["conditions"].as_array().unwrap_or(&empty).clone();
        let found = conditions.into_iter().find(|one| one["kind"] == "credentials_expire");
        (
            agent["credentialsExpireAt"].clone(),
            found.map_or(String::new(), |one| one["message"].as_str().unwrap().into()),
        )
    };
    assert_eq!(told().await.1, "");
    let day = Duration::from_hours(24);
    for (days, said) in [(2, "30 days"), (23, "7 days"), (5, "a day")] {
        house.clock.advance(day * days);
        let token = house.token_of(client, secret).await;
        let (ends, message) = told().await;
        assert!(ends.is_string() && message.contains(said), "{said}: {message}");
        house.hello(&token).await;
    }
    let token = house.token_of(client, secret).await;
    house.clock.advance(day);
    let hello = json!({"protocol": 1, "instance": "one", "agentVersion": "0.1.0"});
    assert_eq!(house.gateway(&token, "session", hello).await.0, 401, "its tokens end with it");
    assert_eq!(house.ask_for_token(client, secret).await.status(), 401);
    assert!(told().await.1.contains("has expired"));
    // An expired one is in nobody's way.
    house.expect(201, Method::POST, &format!("{path}/rotate"), None).await;
}

async fn a_secret_that_has_ended_is_not_the_one_that_is_shown_and_replaces_no_other(house: House) {
    let id = house.new_agent("north").await;
    let path = format!("/agents/{id}/credentials");
    let first = house.get(&path).await;
    let asked = Some(json!({"expiresInDays": 1}));
    let second = house.expect(201, Method::POST, &format!("{path}/rotate"), asked).await;
    assert_eq!(house.get(&path).await["clientSecret"], second["clientSecret"]);
    house.clock.advance(Duration::from_hours(25));
    house.use_token(&house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await);
    assert_eq!(house.get(&path).await["clientSecret"], first["clientSecret"]);
    let ids = ids(&house, &id).await;
    let problem = house.expect(409, Method::DELETE, &format!("{path}/{}", ids[1]), None).await;
    assert_eq!(problem["code"], "last_credential");
    house.expect(204, Method::DELETE, &format!("{path}/{}", ids[0]), None).await;
    house.expect(409, Method::DELETE, &format!("{path}/{}", ids[1]), None).await;
    house.token_of(first["clientId"].as_str().unwrap(), first["clientSecret"].as_str().unwrap()).await;
}
