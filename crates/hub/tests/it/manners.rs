//! What surrounds every call: filters and order of lists, request ids, what is left of a caller's calls, the keys of tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as URL_SAFE;
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, Kind, agent, fields, finished, on_both_databases};

on_both_databases!(
    agents_are_filtered_and_ordered,
    pipelines_are_filtered_and_ordered,
    a_filter_or_an_order_that_is_none_is_400,
    a_request_has_one_id_from_its_headers_to_its_problem,
    tokens_are_signed_with_the_keys_that_are_shown,
);

fn names(list: &Value) -> Vec<&str> {
    list["results"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect()
}

async fn agents_are_filtered_and_ordered(house: House) {
    for (name, cloud, deployment) in [("bern", "gcp", "gke"), ("Aarau", "aws", "eks"), ("chur", "aws", "fargate")] {
        let body = json!({"name": name, "description": format!("in {cloud}"), "cloudProvider": cloud,
            "deployment": deployment, "agentType": "streaming"});
        house.expect(201, Method::POST, "/agents", Some(body)).await;
    }
    let (_, token) = house.agent("davos").await;
    house.hello(&token).await;
    for (query, expected) in [
        ("", &["bern", "Aarau", "chur", "davos"][..]),
        ("sort=created", &["bern", "Aarau", "chur", "davos"]),
        ("sort=-created", &["davos", "chur", "Aarau", "bern"]),
        ("sort=name", &["Aarau", "bern", "chur", "davos"]),
        ("sort=-name&size=2", &["davos", "chur"]),
        ("sort=-name&size=2&page=1", &["bern", "Aarau"]),
        ("sort=name&size=2&page=7", &[]),
        ("sort=-status", &["davos", "bern", "Aarau", "chur"]),
        ("sort=-lastSeen&size=1", &["davos"]),
        ("status=RUNNING", &["davos"]),
        ("status=pending", &["bern", "Aarau", "chur"]),
        ("status=UNKNOWN", &[]),
        ("cloudProvider=AWS", &["Aarau", "chur", "davos"]),
        ("cloudProvider=aws&status=PENDING&sort=-name", &["chur", "Aarau"]),
        ("q=AR", &["Aarau"]),
        ("q=in%20gcp", &["bern"]),
        ("q=", &["bern", "Aarau", "chur", "davos"]),
    ] {
        let listed = house.get(&format!("/agents?{query}")).await;
        assert_eq!(names(&listed), expected, "{query}");
    }
    assert_eq!(house.get("/agents?cloudProvider=aws&size=1").await["total"], 3);
}

async fn pipelines_are_filtered_and_ordered(house: House) {
    let (first, second) = (house.new_agent("north").await, house.new_agent("south").await);
    let started = house.new_pipeline("shop", &first).await;
    house.new_pipeline("Bank", &second).await;
    house.command(&started, "START").await;
    let by_agent = format!("agentId={second}");
    for (query, expected) in [
        ("sort=name", &["Bank", "shop"][..]),
        ("sort=-name", &["shop", "Bank"]),
        ("q=BAN", &["Bank"]),
        (by_agent.as_str(), &["Bank"]),
        ("status=not_running&sort=created", &["shop", "Bank"]),
        ("status=STREAMING", &[]),
    ] {
        let listed = house.get(&format!("{}?{query}", house.pipelines())).await;
        assert_eq!(names(&listed), expected, "{query}");
        assert!(listed["results"].as_array().unwrap().iter().all(|one| one["streamingSource"].is_object()));
    }
    let stranger = house.client("viewer", false).await;
    house.use_token(&stranger.token);
    assert_eq!(house.get("/agents?sort=name").await["total"], 0);
    house.expect(404, Method::GET, &format!("{}?sort=name", house.pipelines()), None).await;
}

async fn a_filter_or_an_order_that_is_none_is_400(house: House) {
    for (query, field) in [
        ("status=LOST", "status"),
        ("cloudProvider=oci", "cloudProvider"),
        ("sort=age", "sort"),
        ("sort=--name", "sort"),
    ] {
        let problem = house.expect(400, Method::GET, &format!("/agents?{query}"), None).await;
        assert_eq!(fields(&problem), [field], "{query}");
    }
    let pipelines = house.pipelines();
    for (query, field) in [("status=RUNNING", "status"), ("agentId=1", "agentId"), ("sort=lastSeen", "sort")] {
        let problem = house.expect(400, Method::GET, &format!("{pipelines}?{query}"), None).await;
        assert_eq!(fields(&problem), [field], "{query}");
    }
}

async fn a_request_has_one_id_from_its_headers_to_its_problem(house: House) {
    let call = async |headers: &[(&str, &str)]| {
        let request = house.request(Method::GET, "/agents/none");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (headers, problem) = finished(request.send().await.unwrap(), 404, "an agent").await;
        let id = headers["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(problem["traceId"], json!(id));
        id
    };
    assert_eq!(call(&[("x-request-id", "order-66")]).await, "order-66");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    assert_eq!(call(&[("traceparent", &traceparent)]).await, trace);
    assert_eq!(call(&[("traceparent", &traceparent), ("x-request-id", "a")]).await, "a");
    let (one, other) = (call(&[]).await, call(&[]).await);
    assert!(one != other && one.len() == 32, "{one} {other}");
    for bad in ["with space", "\"quoted\"", "", &"x".repeat(129)] {
        assert_eq!(call(&[("x-request-id", bad)]).await.len(), 32, "{bad}");
    }
    let answer = house.http.get(format!("{}/sign-in", house.url)).header("x-request-id", "page").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "page");
}

async fn tokens_are_signed_with_the_keys_that_are_shown(house: House) {
    let document = house.http.get(format!("{}/.well-known/oauth-authorization-server", house.url));
    let (_, document) = finished(document.send().await.unwrap(), 200, "metadata").await;
    assert!(document["token_endpoint"].as_str().unwrap().ends_with("/oauth/dpc/token"));
    assert_eq!(document["issuer"], json!(house.settings.public_url));
    let keys = house.http.get(format!("{}/.well-known/jwks.json", house.url)).send().await.unwrap();
    let (_, keys) = finished(keys, 200, "keys").await;
    let token = house.token();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE.decode(signed.split('.').next().unwrap()).unwrap()).unwrap();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert!(key.get("d").is_none(), "{key}");
    let public = URL_SAFE.decode(key["x"].as_str().unwrap()).unwrap();
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
    public.verify(signed.as_bytes(), &URL_SAFE.decode(signature).unwrap()).unwrap();
}

#[tokio::test]
async fn a_caller_is_told_what_is_left_of_its_calls_and_when_there_are_more() {
    let house = House::set(Kind::Sqlite, |settings| settings.calls_per_minute = 3).await;
    for left in ["2", "1", "0"] {
        let (headers, _) = finished(house.call(Method::GET, "/agents", None).await, 200, "agents").await;
        assert_eq!(headers["ratelimit-policy"], "\"default\";q=3;w=60");
        let said = headers["ratelimit"].to_str().unwrap();
        assert!(said.starts_with(&format!("\"default\";r={left};t=")), "{said}");
    }
    let (headers, problem) =
        finished(house.call(Method::POST, "/agents", Some(agent("north"))).await, 429, "more").await;
    assert_eq!(problem["code"], "too_many_requests");
    assert!(headers.contains_key("retry-after") && headers.contains_key("ratelimit"));
    // Another caller has its own, and so has this one a minute later.
    let own = house.token();
    house.use_token(&house.client("viewer", true).await.token);
    house.get("/agents").await;
    house.use_token(&own);
    house.clock.advance(std::time::Duration::from_mins(1));
    house.get("/agents").await;
}
