//! `/agents`: each row of the contract, and each sentence on agents.

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, agent, fields, on_both_databases};

on_both_databases!(
    post_answers_201_with_the_id,
    get_answers_200_with_everything_as_it_was_sent,
    patch_answers_202_and_is_read_back_at_once,
    delete_answers_202_and_the_agent_is_gone_at_once,
    credentials_are_there_from_creation_on_and_the_same_at_every_read,
    the_list_is_by_creation_in_pages,
    a_name_is_held_against_its_rule,
    a_description_is_any_500_characters,
    cloud_and_deployment_must_match_and_are_taken_in_any_case,
    everything_that_is_wrong_is_said_at_once,
    unknown_members_are_refused,
    null_is_absent,
    a_name_is_taken_once_in_an_account,
    platform_and_type_cannot_be_changed,
    what_is_not_there_is_404,
    another_account_sees_none_of_it,
    a_viewer_reads_and_changes_nothing,
);

async fn post_answers_201_with_the_id(house: House) {
    let created = house.expect(201, Method::POST, "/agents", Some(agent("north"))).await;
    let id = created["agentId"].as_str().unwrap();
    assert!(uuid::Uuid::try_parse(id).is_ok() && id.len() == 36, "{id}");
}

async fn get_answers_200_with_everything_as_it_was_sent(house: House) {
    let mut sent = agent("North 1_a-b ");
    sent["description"] = json!("  any ☃ \u{0} \\ \n characters ");
    let created = house.expect(201, Method::POST, "/agents", Some(sent.clone())).await;
    let id = created["agentId"].as_str().unwrap();
    let read = house.get(&format!("/agents/{id}")).await;
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&read[name], value, "{name}");
    }
    assert_eq!(read["agentId"], id);
    assert_eq!((&read["agentStatus"], &read["connected"]), (&json!("PENDING"), &json!(false)));
    assert!(!read.as_object().unwrap().values().any(Value::is_null), "{read}");
    let plain = house.new_agent("south").await;
    assert_eq!(house.get(&format!("/agents/{plain}")).await["description"], "");
}

async fn patch_answers_202_and_is_read_back_at_once(house: House) {
    let mut sent = agent("north");
    sent["description"] = json!("old");
    let created = house.expect(201, Method::POST, "/agents", Some(sent)).await;
    let path = format!("/agents/{}", created["agentId"].as_str().unwrap());
    for (change, name, description) in [
        (json!({"name": "south"}), "south", "old"),
        (json!({"description": "new"}), "south", "new"),
        (json!({"name": "south"}), "south", "new"),
        (json!({"description": ""}), "south", ""),
        (json!({"name": null, "description": null}), "south", ""),
        (json!({}), "south", ""),
    ] {
        house.expect(202, Method::PATCH, &path, Some(change.clone())).await;
        let read = house.get(&path).await;
        assert_eq!((&read["name"], &read["description"]), (&json!(name), &json!(description)), "{change}");
    }
    let refused = house.expect(400, Method::PATCH, &path, Some(json!({"name": "", "description": 1}))).await;
    assert_eq!(fields(&refused), ["description"]);
    let refused = house.expect(400, Method::PATCH, &path, Some(json!({"name": ""}))).await;
    assert_eq!(fields(&refused), ["name"]);
}

async fn delete_answers_202_and_the_agent_is_gone_at_once(house: House) {
    let id = house.new_agent("north").await;
    let path = format!("/agents/{id}");
    house.expect(202, Method::DELETE, &path, None).await;
    house.expect(404, Method::GET, &path, None).await;
    house.expect(404, Method::GET, &format!("{path}/credentials"), None).await;
    house.expect(404, Method::PATCH, &path, Some(json!({"name": "x"}))).await;
    house.expect(404, Method::DELETE, &path, None).await;
    assert_eq!(house.get("/agents").await["total"], 0);
    house.new_agent("north").await;
}

async fn credentials_are_there_from_creation_on_and_the_same_at_every_read(house: House) {
    let id = house.new_agent("north").await;
    let path = format!("/agents/{id}/credentials");
    let first = house.get(&path).await;
    assert_eq!(house.get(&path).await, first);
    assert_eq!(first.as_object().unwrap().len(), 2, "{first}");
    let text = |name: &str| first[name].as_str().unwrap();
    house.token_of(text("clientId"), text("clientSecret")).await;
    let answer = house.call(Method::GET, &path, None).await;
    assert_eq!(answer.headers()["cache-control"], "no-store");
}

async fn the_list_is_by_creation_in_pages(house: House) {
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(house.new_agent(&format!("agent {}", 99 - number)).await);
    }
    let seen = |list: &Value| -> Vec<String> {
        list["results"].as_array().unwrap().iter().map(|one| one["agentId"].as_str().unwrap().to_owned()).collect()
    };
    let first = house.get("/agents").await;
    assert_eq!(
        (&first["page"], &first["size"], &first["total"], seen(&first).len()),
        (&json!(0), &json!(25), &json!(30), 25)
    );
    assert_eq!(first["results"][0], house.get(&format!("/agents/{}", ids[0])).await);
    let second = house.get("/agents?page=1").await;
    assert_eq!([seen(&first), seen(&second)].concat(), ids);
    let small = house.get("/agents?page=2&size=7").await;
    assert_eq!((seen(&small), &small["size"]), (ids[14..21].to_vec(), &json!(7)));
    for (query, size) in [("page=9", 25), ("page=99999999999999999999999&size=5", 5), ("page=1&size=5000", 100)] {
        let past = house.get(&format!("/agents?{query}")).await;
        assert_eq!((seen(&past).len(), &past["size"], &past["total"]), (0, &json!(size), &json!(30)), "{query}");
    }
    assert_eq!(seen(&house.get("/agents?size=5000").await), ids);
    for (query, field) in [("page=-1", "page"), ("size=0", "size"), ("size=x", "size"), ("page=1.5", "page")] {
        let refused = house.expect(400, Method::GET, &format!("/agents?{query}"), None).await;
        assert_eq!(fields(&refused), [field]);
    }
}

async fn a_name_is_held_against_its_rule(house: House) {
    let long = "x".repeat(31);
    for name in ["", " north", "\tnorth", "a.b", "größe", "a/b", "a\u{0}", long.as_str()] {
        let refused = house.expect(400, Method::POST, "/agents", Some(agent(name))).await;
        assert_eq!(fields(&refused), ["name"], "{name:?}");
    }
    for name in ["a", "A b\tc-d_e ", &long[..30]] {
        house.new_agent(name).await;
    }
}

async fn a_description_is_any_500_characters(house: House) {
    let mut sent = agent("north");
    sent["description"] = json!("☃".repeat(501));
    assert_eq!(fields(&house.expect(400, Method::POST, "/agents", Some(sent.clone())).await), ["description"]);
    sent["description"] = json!("☃".repeat(500));
    let created = house.expect(201, Method::POST, "/agents", Some(sent.clone())).await;
    let read = house.get(&format!("/agents/{}", created["agentId"].as_str().unwrap())).await;
    assert_eq!(read["description"], sent["description"]);
}

async fn cloud_and_deployment_must_match_and_are_taken_in_any_case(house: House) {
    let pairs =
        [("aws", "fargate"), ("aws", "eks"), ("azure", "aci"), ("azure", "aks"), ("gcp", "gke"), ("gcp", "gce")];
    for (number, (cloud, place)) in pairs.iter().enumerate() {
        let body = json!({"name": format!("agent {number}"), "cloudProvider": cloud.to_uppercase(),
            "deployment": place.to_uppercase(), "agentType": "Streaming"});
        let created = house.expect(201, Method::POST, "/agents", Some(body)).await;
        let read = house.get(&format!("/agents/{}", created["agentId"].as_str().unwrap())).await;
        assert_eq!((&read["cloudProvider"], &read["deployment"]), (&json!(cloud), &json!(place)));
        assert_eq!(read["agentType"], "streaming");
    }
    for (cloud, place) in [("aws", "aks"), ("azure", "gke"), ("gcp", "fargate")] {
        let body = json!({"name": "x", "cloudProvider": cloud, "deployment": place, "agentType": "streaming"});
        assert_eq!(fields(&house.expect(400, Method::POST, "/agents", Some(body)).await), ["deployment"]);
    }
}

async fn everything_that_is_wrong_is_said_at_once(house: House) {
    let body = json!({"name": 7, "description": [], "deployment": "moon", "agentType": "batch", "more": true});
    let refused = house.expect(400, Method::POST, "/agents", Some(body)).await;
    let mut fields = fields(&refused);
    fields.sort_unstable();
    assert_eq!(fields, ["agentType", "cloudProvider", "deployment", "description", "more", "name"]);
    for body in [json!([]), json!("x"), json!(null)] {
        house.expect(400, Method::POST, "/agents", Some(body)).await;
    }
}

async fn unknown_members_are_refused(house: House) {
    let mut sent = agent("north");
    sent["agentStatus"] = json!("RUNNING");
    assert_eq!(fields(&house.expect(400, Method::POST, "/agents", Some(sent)).await), ["agentStatus"]);
    assert_eq!(house.get("/agents").await["total"], 0);
}

async fn null_is_absent(house: House) {
    let mut sent = agent("north");
    sent["description"] = Value::Null;
    sent["anything"] = Value::Null;
    house.expect(201, Method::POST, "/agents", Some(sent.clone())).await;
    sent["name"] = Value::Null;
    assert_eq!(fields(&house.expect(400, Method::POST, "/agents", Some(sent)).await), ["name"]);
}

async fn a_name_is_taken_once_in_an_account(house: House) {
    house.new_agent("north").await;
    let other = house.new_agent("south").await;
    let problem = house.expect(409, Method::POST, "/agents", Some(agent("north"))).await;
    assert_eq!(problem["code"], "name_taken");
    house.expect(409, Method::PATCH, &format!("/agents/{other}"), Some(json!({"name": "north"}))).await;
    house.new_agent("North").await;
    let stranger = house.client("owner", false).await;
    house.use_token(&stranger.token);
    house.new_agent("north").await;
}

async fn platform_and_type_cannot_be_changed(house: House) {
    let id = house.new_agent("north").await;
    for name in ["deployment", "cloudProvider", "agentType", "agentId"] {
        let refused = house.expect(400, Method::PATCH, &format!("/agents/{id}"), Some(json!({name: "eks"}))).await;
        assert_eq!(fields(&refused), [name]);
    }
}

async fn what_is_not_there_is_404(house: House) {
    let unknown = uuid::Uuid::new_v4().to_string();
    for id in [unknown.as_str(), "x", "%00", "%ff", "..%2f..", "0"] {
        let path = format!("/agents/{id}");
        house.expect(404, Method::GET, &path, None).await;
        house.expect(404, Method::PATCH, &path, Some(json!({"name": "a"}))).await;
        house.expect(404, Method::DELETE, &path, None).await;
        house.expect(404, Method::GET, &format!("{path}/credentials"), None).await;
    }
}

async fn another_account_sees_none_of_it(house: House) {
    let id = house.new_agent("north").await;
    let stranger = house.client("owner", false).await;
    house.use_token(&stranger.token);
    let path = format!("/agents/{id}");
    house.expect(404, Method::GET, &path, None).await;
    house.expect(404, Method::PATCH, &path, Some(json!({"name": "a"}))).await;
    house.expect(404, Method::DELETE, &path, None).await;
    house.expect(404, Method::GET, &format!("{path}/credentials"), None).await;
    assert_eq!(house.get("/agents").await["total"], 0);
}

async fn a_viewer_reads_and_changes_nothing(house: House) {
    let id = house.new_agent("north").await;
    let path = format!("/agents/{id}");
    house.use_token(&house.client("viewer", true).await.token);
    house.get(&path).await;
    house.expect(403, Method::POST, "/agents", Some(agent("south"))).await;
    house.expect(403, Method::PATCH, &path, Some(json!({"name": "a"}))).await;
    house.expect(403, Method::DELETE, &path, None).await;
    house.expect(403, Method::GET, &format!("{path}/credentials"), None).await;
    house.expect(403, Method::GET, "/audit-log", None).await;
}
