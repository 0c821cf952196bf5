//! What holds for every call: base paths, methods, `account-id`, content types, bursts.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::task::JoinSet;

use crate::house::{House, agent, finished, on_both_databases};

on_both_databases!(
    both_base_paths_answer_without_a_redirect,
    the_account_header_has_to_match_the_token,
    another_method_is_405_with_those_that_are_allowed,
    a_path_that_is_not_there_is_404,
    a_body_is_read_whatever_its_content_type_says,
    a_body_that_is_no_json_is_400,
    ten_calls_at_once_and_hundreds_in_a_second_pass,
    a_new_token_for_each_of_hundreds_of_calls_passes,
    every_write_is_visible_to_the_next_read,
    the_hub_says_that_it_is_alive_and_ready,
);

async fn both_base_paths_answer_without_a_redirect(house: House) {
    let id = house.new_agent("north").await;
    for base in ["/v1", "/dpc/v1"] {
        let request = house.http.get(format!("{}{base}/agents/{id}", house.url)).bearer_auth(house.token());
        let (_, read) = finished(request.send().await.unwrap(), 200, base).await;
        assert_eq!(read["name"], "north");
    }
}

async fn the_account_header_has_to_match_the_token(house: House) {
    let account = house.set_up.account_id.clone();
    let call = |account: String| house.request(Method::GET, "/agents").header("account-id", account).send();
    finished(call(account.to_uppercase()).await.unwrap(), 200, "own, in capitals").await;
    finished(call(account).await.unwrap(), 200, "own").await;
    let stranger = house.client("owner", false).await;
    for other in [stranger.account.as_str(), "x", ""] {
        let (_, problem) = finished(call(other.to_owned()).await.unwrap(), 403, other).await;
        assert_eq!(problem["code"], "forbidden");
    }
}

async fn another_method_is_405_with_those_that_are_allowed(house: House) {
    let id = house.new_agent("north").await;
    for (method, path, allowed) in [
        (Method::PUT, "/agents".to_owned(), ["GET", "POST"]),
        (Method::PUT, format!("/agents/{id}"), ["PATCH", "DELETE"]),
        (Method::PATCH, house.pipelines(), ["GET", "POST"]),
        (Method::TRACE, "/agents".to_owned(), ["GET", "POST"]),
    ] {
        let (headers, problem) = finished(house.call(method, &path, None).await, 405, &path).await;
        assert_eq!(problem["code"], "no_such_method");
        let named = headers["allow"].to_str().unwrap();
        assert!(allowed.iter().all(|method| named.contains(method)), "{named}");
    }
}

async fn a_path_that_is_not_there_is_404(house: House) {
    for path in ["/", "/agent", "/agents/", "/projects"] {
        let answer = house.http.get(format!("{}/dpc/v2{path}", house.url)).send().await.unwrap();
        finished(answer, 404, path).await;
    }
}

async fn a_body_is_read_whatever_its_content_type_says(house: House) {
    for (number, kind) in ["text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded", ""]
        .into_iter()
        .enumerate()
    {
        let mut request = house.request(Method::POST, "/agents").body(agent(&format!("agent {number}")).to_string());
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        finished(request.send().await.unwrap(), 201, kind).await;
    }
}

async fn a_body_that_is_no_json_is_400(house: House) {
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let twice = r#"{"name": "north", "name": "south", "deployment": "fargate", "cloudProvider": "aws"}"#;
    for body in ["", "{", twice, "name=north", "\u{0}", "{\"name\":\"\\ud800\"}", large.as_str()] {
        let request = house.request(Method::POST, "/agents").body(body.to_owned());
        finished(request.send().await.unwrap(), 400, &body[..body.len().min(20)]).await;
    }
    let request = house.request(Method::POST, "/agents").body(vec![0xff, 0xfe]);
    finished(request.send().await.unwrap(), 400, "bytes").await;
}

/// Sends all of them at once: their statuses, the smallest first.
async fn at_once(requests: impl Iterator<Item = RequestBuilder>) -> Vec<u16> {
    let mut calls = JoinSet::new();
    for request in requests {
        calls.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    let mut statuses = calls.join_all().await;
    statuses.sort_unstable();
    statuses
}

async fn ten_calls_at_once_and_hundreds_in_a_second_pass(house: House) {
    let id = house.new_agent("north").await;
    let path = format!("/agents/{id}");
    assert_eq!(at_once((0..300).map(|_| house.request(Method::GET, &path))).await, [200; 300]);
    let new = |name: String| house.request(Method::POST, "/agents").json(&agent(&name));
    assert_eq!(at_once((0..10).map(|number| new(format!("agent {number}")))).await, [201; 10]);
    let statuses = at_once((0..10).map(|_| new("same".into()))).await;
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409, 409, 409]);
}

async fn a_new_token_for_each_of_hundreds_of_calls_passes(house: House) {
    let ask = || {
        let request = house.http.post(format!("{}/oauth/dpc/token", house.url));
        let request = request.basic_auth(&house.set_up.client_id, Some(&house.set_up.client_secret));
        request.form(&[("grant_type", "client_credentials")])
    };
    assert_eq!(at_once((0..300).map(|_| ask())).await, [200; 300]);
}

async fn every_write_is_visible_to_the_next_read(house: House) {
    let id = house.new_agent("north").await;
    let path = format!("/agents/{id}");
    for number in 0..20 {
        let name = format!("agent {number}");
        house.expect(202, Method::PATCH, &path, Some(json!({"name": name}))).await;
        assert_eq!(house.get(&path).await["name"], json!(name));
        assert_eq!(house.get("/agents").await["results"][0]["name"], json!(name));
    }
}

async fn the_hub_says_that_it_is_alive_and_ready(house: House) {
    for path in ["/livez", "/readyz"] {
        let answer = house.http.get(format!("{}{path}", house.url)).send().await.unwrap();
        finished(answer, 200, path).await;
    }
}
