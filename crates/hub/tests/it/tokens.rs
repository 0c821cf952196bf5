//! `POST /oauth/dpc/token`, and what a token opens.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::{Method, Response};
use serde_json::Value;

use crate::house::{House, finished, on_both_databases};

on_both_databases!(
    a_token_is_given_for_basic_credentials_at_both_addresses,
    a_token_is_given_for_credentials_in_the_form_whatever_audience_it_names,
    basic_credentials_are_form_decoded,
    wrong_credentials_are_invalid_client,
    another_grant_is_refused_in_the_words_of_oauth,
    too_many_failures_wait_and_the_right_secret_never_does,
    a_token_lives_for_as_long_as_it_says_and_a_newer_one_ends_none,
    a_call_without_a_valid_token_is_401,
    a_token_with_another_algorithm_or_a_key_of_its_own_is_401,
    a_token_of_an_agent_does_not_open_the_api_nor_an_api_token_the_gateway,
);

async fn ask(house: &House, path: &str, header: Option<String>, form: &str) -> Response {
    let mut request = house.http.post(format!("{}{path}", house.url)).body(form.to_owned());
    request = request.header("content-type", "application/x-www-form-urlencoded");
    if let Some(header) = header {
        request = request.header("authorization", header);
    }
    request.send().await.unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "`ask` takes a header or none")]
fn basic(id: &str, secret: &str) -> Option<String> {
    Some(format!("Basic {}", BASE64.encode(format!("{id}:{secret}"))))
}

const GRANT: &str = "grant_type=client_credentials";

async fn a_token_is_given_for_basic_credentials_at_both_addresses(house: House) {
    let header = basic(&house.set_up.client_id, &house.set_up.client_secret);
    for path in ["/oauth/dpc/token", "/oauth/token"] {
        let (headers, body) = finished(ask(&house, path, header.clone(), GRANT).await, 200, path).await;
        assert!(headers["content-type"].to_str().unwrap().starts_with("application/json"));
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!((&body["token_type"], body["expires_in"].as_u64()), (&Value::from("Bearer"), Some(900)));
        house.use_token(body["access_token"].as_str().unwrap());
        house.get("/agents").await;
    }
}

async fn a_token_is_given_for_credentials_in_the_form_whatever_audience_it_names(house: House) {
    let (id, secret) = (&house.set_up.client_id, &house.set_up.client_secret);
    let form = format!("{GRANT}&client_id={id}&client_secret={secret}&audience=https%3A%2F%2Fapi.example.com");
    let (_, body) = finished(ask(&house, "/oauth/dpc/token", None, &form).await, 200, "form").await;
    house.use_token(body["access_token"].as_str().unwrap());
    house.get("/agents").await;
}

async fn basic_credentials_are_form_decoded(house: House) {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let header = basic(&escaped(&house.set_up.client_id), &escaped(&house.set_up.client_secret));
    finished(ask(&house, "/oauth/dpc/token", header, GRANT).await, 200, "escaped").await;
}

async fn wrong_credentials_are_invalid_client(house: House) {
    let (id, secret) = (&house.set_up.client_id, &house.set_up.client_secret);
    let unknown = uuid::Uuid::new_v4().to_string();
    for header in [basic(id, "wrong"), basic(&unknown, secret), basic("\0", secret), Some("Basic %".into()), None] {
        let answer = ask(&house, "/oauth/dpc/token", header, GRANT).await;
        let (headers, body) = finished(answer, 401, "/oauth/").await;
        assert_eq!(body["error"], "invalid_client");
        assert!(headers.contains_key("www-authenticate"));
    }
}

async fn another_grant_is_refused_in_the_words_of_oauth(house: House) {
    let header = basic(&house.set_up.client_id, &house.set_up.client_secret);
    for (form, error) in
        [("grant_type=password", "unsupported_grant_type"), ("", "invalid_request"), ("\u{0}", "invalid_request")]
    {
        let (_, body) = finished(ask(&house, "/oauth/dpc/token", header.clone(), form).await, 400, "/oauth/").await;
        assert_eq!(body["error"], error);
    }
}

async fn too_many_failures_wait_and_the_right_secret_never_does(house: House) {
    let (id, secret) = (house.set_up.client_id.clone(), house.set_up.client_secret.clone());
    for _ in 0..10 {
        assert_eq!(house.ask_for_token(&id, "wrong").await.status(), 401);
    }
    let (headers, _) = finished(house.ask_for_token(&id, "wrong").await, 429, "the eleventh").await;
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    for _ in 0..20 {
        assert_eq!(house.ask_for_token(&id, &secret).await.status(), 200);
    }
    assert_eq!(house.ask_for_token("someone-else", "wrong").await.status(), 401);
    house.clock.advance(Duration::from_secs(wait));
    assert_eq!(house.ask_for_token(&id, "wrong").await.status(), 401);
}

async fn a_token_lives_for_as_long_as_it_says_and_a_newer_one_ends_none(house: House) {
    let first = house.token();
    let second = house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await;
    assert_ne!(first, second);
    house.clock.advance(Duration::from_secs(890));
    for token in [&first, &second] {
        house.use_token(token);
        house.get("/agents").await;
    }
    house.clock.advance(Duration::from_secs(20));
    house.expect(401, Method::GET, "/agents", None).await;
}

async fn a_call_without_a_valid_token_is_401(house: House) {
    let whole = house.token();
    let mut forged = whole.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.insert(forged.rfind('.').unwrap() + 1, last);
    for token in ["", "nonsense", "a.b.c", &forged] {
        house.use_token(token);
        house.expect(401, Method::GET, "/agents", None).await;
    }
    let answer = house.http.get(format!("{}/dpc/v1/agents", house.url)).send().await.unwrap();
    let (headers, _) = finished(answer, 401, "no token").await;
    assert_eq!(headers["www-authenticate"], "Bearer");
}

async fn a_token_with_another_algorithm_or_a_key_of_its_own_is_401(house: House) {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as URL;
    let whole = house.token();
    let parts: Vec<&str> = whole.split('.').collect();
    let header: Value = serde_json::from_slice(&URL.decode(parts[0]).unwrap()).unwrap();
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        URL.encode(header.to_string())
    };
    let jwk = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
    for (header, signature) in [
        (with("alg", "none".into()), ""),
        (with("alg", "none".into()), parts[2]),
        (with("alg", "HS256".into()), parts[2]),
        (with("typ", "JWT".into()), parts[2]),
        (with("kid", uuid::Uuid::new_v4().to_string().into()), parts[2]),
        (with("jwk", jwk), parts[2]),
        (with("jku", "https://evil.example.com/keys".into()), parts[2]),
    ] {
        house.use_token(&format!("{header}.{}.{signature}", parts[1]));
        house.expect(401, Method::GET, "/agents", None).await;
    }
}

async fn a_token_of_an_agent_does_not_open_the_api_nor_an_api_token_the_gateway(house: House) {
    let (_, token) = house.agent("north").await;
    let api = house.token();
    let hello = serde_json::json!({"protocol": 1, "instance": "one", "agentVersion": "0.1.0"});
    assert_eq!(house.gateway(&api, "session", hello).await.0, 401);
    house.use_token(&token);
    house.expect(401, Method::GET, "/agents", None).await;
}
