//! Keys and trust rules of an agent: in the API and the console, added, listed, removed; and signing in with a key.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as URL_SAFE;
use millrace_model::Clock as _;
use millrace_testkit::clouds::issuer::Signer;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, fields, finished, on_both_databases};
use crate::visitor::{Visitor, joined};

on_both_databases!(
    an_agent_signs_in_with_a_key_of_each_kind_and_its_token_opens_the_gateway_alone,
    an_assertion_that_is_not_right_is_refused_and_only_the_log_says_why,
    an_assertion_is_taken_once_by_whichever_process,
    keys_and_rules_are_kept_by_editors_and_a_removed_one_is_out_at_once,
    a_key_and_a_rule_are_added_and_removed_in_the_console_with_the_password,
    a_removed_agent_hears_of_it_by_an_assertion_that_is_right_and_nobody_else_does,
);

const BY_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Asks for a token with an assertion: status and body.
pub(crate) async fn ask(house: &House, client: &str, assertion: &str) -> (u16, Value) {
    ask_at(house, &house.url, client, assertion).await
}

fn form_of<'a>(client: &'a str, assertion: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("client_assertion_type", BY_ASSERTION),
        ("client_assertion", assertion),
    ]
}

async fn ask_at(house: &House, url: &str, client: &str, assertion: &str) -> (u16, Value) {
    let form = form_of(client, assertion);
    let answer = house.http.post(format!("{url}/oauth/dpc/token")).form(&form).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

/// What the audit log says of the newest failure.
pub(crate) async fn why(house: &House) -> String {
    let log = house.get("/audit-log?action=token.issue").await;
    let lines = log["results"].as_array().unwrap();
    let newest = lines.iter().find(|line| line["outcome"] != "done").unwrap();
    newest["detail"].as_str().unwrap().to_owned()
}

pub(crate) fn seconds(house: &House) -> i64 {
    house.clock.now().0 / 1_000_000
}

/// A new agent: its id and its client id.
pub(crate) async fn new_agent(house: &House, name: &str) -> (String, String) {
    let id = house.new_agent(name).await;
    let credentials = house.get(&format!("/agents/{id}/credentials")).await;
    (id, credentials["clientId"].as_str().unwrap().to_owned())
}

/// A new key of RSA.
pub(crate) fn rsa() -> Signer {
    Signer::rsa(tempfile::tempdir().unwrap().path())
}

pub(crate) async fn add_key(house: &House, agent: &str, name: &str, signer: &Signer) -> String {
    let body = json!({"name": name, "publicKey": signer.jwk().to_string()});
    let made = house.expect(201, Method::POST, &format!("/agents/{agent}/keys"), Some(body)).await;
    made["keyId"].as_str().unwrap().to_owned()
}

/// What an agent says of itself.
fn claims(house: &House, client: &str) -> Value {
    let now = seconds(house);
    json!({"iss": client, "sub": client, "aud": house.settings.public_url, "iat": now, "exp": now + 60,
        "jti": uuid::Uuid::new_v4().to_string()})
}

async fn an_agent_signs_in_with_a_key_of_each_kind_and_its_token_opens_the_gateway_alone(house: House) {
    let (agent, client) = new_agent(&house, "north").await;
    let api = house.token();
    for signer in [Signer::ed25519(), Signer::p256(), rsa()] {
        add_key(&house, &agent, signer.algorithm(), &signer).await;
        let (status, body) = ask(&house, &client, &signer.sign(&claims(&house, &client))).await;
        assert_eq!((status, &body["expires_in"]), (200, &json!(900)), "{}: {body}", signer.algorithm());
        let token = body["access_token"].as_str().unwrap();
        house.sync(token, &house.hello(token).await, json!({})).await;
        house.use_token(token);
        house.expect(401, Method::GET, "/agents", None).await;
        house.use_token(&api);
    }
    let listed = house.get(&format!("/agents/{agent}/keys")).await;
    for key in listed["results"].as_array().unwrap() {
        assert_eq!((&key["name"], &key["lastAddress"]), (&key["algorithm"], &json!("127.0.0.1")), "{key}");
        assert_eq!(key["thumbprint"].as_str().unwrap().len(), 43);
    }
    // The endpoint's own address is an audience, too (RFC 7523, section 3), alone or among others.
    let signer = Signer::ed25519();
    add_key(&house, &agent, "another", &signer).await;
    for audience in
        [json!(format!("{}/oauth/dpc/token", house.settings.public_url)), json!([house.settings.public_url])]
    {
        let mut said = claims(&house, &client);
        said["aud"] = audience;
        assert_eq!(ask(&house, &client, &signer.sign(&said)).await.0, 200);
    }
    // In one way only, and in one that is known.
    let said = signer.sign(&claims(&house, &client));
    let both = [("client_assertion_type", BY_ASSERTION), ("client_assertion", said.as_str()), ("client_secret", "x")];
    let other = [("client_assertion_type", "urn:other"), ("client_assertion", said.as_str())];
    let none = [("client_assertion_type", BY_ASSERTION)];
    for wrong in [&both[..], &other, &none] {
        let form = [&[("grant_type", "client_credentials"), ("client_id", client.as_str())][..], wrong].concat();
        let answer = house.http.post(format!("{}/oauth/token", house.url)).form(&form).send().await.unwrap();
        let (_, body) = finished(answer, 400, "/oauth/").await;
        assert_eq!(body["error"], "invalid_request");
    }
}

async fn an_assertion_that_is_not_right_is_refused_and_only_the_log_says_why(house: House) {
    let (agent, client) = new_agent(&house, "north").await;
    let (other_agent, other_client) = new_agent(&house, "south").await;
    let (signer, stranger, rsa) = (Signer::ed25519(), Signer::ed25519(), rsa());
    add_key(&house, &agent, "one", &signer).await;
    add_key(&house, &agent, "two", &rsa).await;
    add_key(&house, &other_agent, "one", &stranger).await;
    // Made when they are sent: the clock goes on between them.
    let good = || claims(&house, &client);
    let with = |name: &str, value: Value| {
        let mut said = good();
        said[name] = value;
        signer.sign(&said)
    };
    let later = |name: &str, by: i64| with(name, json!(seconds(&house) + by));
    let without = |name: &str| {
        let mut said = good();
        said.as_object_mut().unwrap().remove(name);
        signer.sign(&said)
    };
    let unsigned =
        |header: Value| format!("{}.{}", URL_SAFE.encode(header.to_string()), URL_SAFE.encode(good().to_string()));
    let confused = || {
        let said = unsigned(json!({"alg": "HS256"}));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, rsa.jwk().to_string().as_bytes());
        format!("{said}.{}", URL_SAFE.encode(ring::hmac::sign(&key, said.as_bytes())))
    };
    let own_key =
        || stranger.sign_with(json!({"jwk": stranger.jwk(), "jku": "https://evil.example.com/keys"}), &good());
    let cases: [(&dyn Fn() -> String, &str); 17] = [
        (&|| stranger.sign(&good()), "none of the agent's 2 keys"),
        (&own_key, "none of the agent's 2 keys"),
        (&|| signer.sign_with(json!({"alg": "RS256"}), &good()), "none of the agent's 2 keys"),
        (&|| unsigned(json!({"alg": "none"})) + ".", "algorithm is \"none\""),
        (&confused, "algorithm is \"HS256\""),
        (&|| later("exp", -61), "expired"),
        (&|| without("exp"), "no `exp`"),
        (&|| later("exp", 3600), "too late"),
        (&|| later("iat", 120), "not yet valid"),
        (&|| later("nbf", 120), "not yet valid"),
        (&|| with("aud", json!("https://other.example.com")), "its `aud` is \"https://other.example.com\""),
        (&|| without("aud"), "its `aud` is not there"),
        (&|| with("sub", json!(other_client)), "its `sub`"),
        (&|| without("jti"), "no `jti`"),
        (&|| with("iss", json!("https://issuer.example.com")), "no trust rule"),
        (&|| "nonsense".to_owned(), "no signed JWT"),
        (&String::new, "no signed JWT"),
    ];
    for (assertion, said) in cases {
        let (status, body) = ask(&house, &client, &assertion()).await;
        assert_eq!((status, &body["error"]), (401, &json!("invalid_client")), "{said}: {body}");
        assert_eq!(body["error_description"], "no client with this id and assertion");
        let told = why(&house).await;
        assert!(told.contains(said), "{said}: {told}");
        // Not so often that it has to wait.
        house.clock.advance(Duration::from_secs(7));
    }
    // Another agent's client id with this agent's key, and one that nobody has.
    let (status, _) = ask(&house, &other_client, &signer.sign(&good())).await;
    assert_eq!(status, 401);
    let nobody = uuid::Uuid::new_v4().to_string();
    assert_eq!(ask(&house, &nobody, &signer.sign(&claims(&house, &nobody))).await.0, 401);
    // The id may be left out: the agent's own assertion names it.
    let form = [("grant_type", "client_credentials"), ("client_assertion_type", BY_ASSERTION)];
    let said = signer.sign(&claims(&house, &client));
    let form = [&form[..], &[("client_assertion", said.as_str())]].concat();
    let answer = house.http.post(format!("{}/oauth/token", house.url)).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for _ in 0..10 {
        ask(&house, &client, "nonsense").await;
    }
    assert_eq!(ask(&house, &client, "nonsense").await.0, 429);
    assert_eq!(ask(&house, &client, &signer.sign(&claims(&house, &client))).await.0, 200, "the right one never waits");
}

async fn a_removed_agent_hears_of_it_by_an_assertion_that_is_right_and_nobody_else_does(house: House) {
    let (agent, client) = new_agent(&house, "north").await;
    let (signer, withdrawn) = (Signer::ed25519(), Signer::p256());
    add_key(&house, &agent, "one", &signer).await;
    let key = add_key(&house, &agent, "two", &withdrawn).await;
    house.expect(204, Method::DELETE, &format!("/agents/{agent}/keys/{key}"), None).await;
    house.expect(202, Method::DELETE, &format!("/agents/{agent}"), None).await;
    let (status, body) = ask(&house, &client, &signer.sign(&claims(&house, &client))).await;
    assert_eq!(
        (status, &body["error"], &body["code"]),
        (401, &json!("invalid_client"), &json!("agent_removed")),
        "{body}"
    );
    assert!(why(&house).await.contains("the agent was removed"));
    // Another's key, one that was taken away before, and what is right in all but one thing.
    let mut expired = claims(&house, &client);
    expired["exp"] = json!(seconds(&house) - 120);
    for assertion in [
        Signer::ed25519().sign(&claims(&house, &client)),
        withdrawn.sign(&claims(&house, &client)),
        signer.sign(&expired),
        "nonsense".to_owned(),
    ] {
        let (status, body) = ask(&house, &client, &assertion).await;
        assert_eq!((status, &body["error"], &body["code"]), (401, &json!("invalid_client"), &Value::Null), "{body}");
        assert_eq!(body["error_description"], "no client with this id and assertion");
    }
}

async fn an_assertion_is_taken_once_by_whichever_process(house: House) {
    let (agent, client) = new_agent(&house, "north").await;
    let signer = Signer::p256();
    add_key(&house, &agent, "one", &signer).await;
    let said = claims(&house, &client);
    let assertion = signer.sign(&said);
    assert_eq!(ask(&house, &client, &assertion).await.0, 200);
    assert_eq!(ask(&house, &client, &assertion).await.0, 401);
    assert!(why(&house).await.contains("`jti` was used before"), "{}", why(&house).await);
    // ECDSA signs differently each time: it is the id that counts.
    assert_eq!(ask(&house, &client, &signer.sign(&said)).await.0, 401);
    if house.settings.database_url.is_some() {
        let other = house.another().await;
        let once = signer.sign(&claims(&house, &client));
        assert_eq!(ask_at(&house, &other, &client, &once).await.0, 200);
        assert_eq!(ask(&house, &client, &once).await.0, 401);
    }
    // Of many at once one is taken.
    let once = signer.sign(&claims(&house, &client));
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let form = form_of(&client, &once);
        let request = house.http.post(format!("{}/oauth/dpc/token", house.url)).form(&form);
        at_once.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    let taken = at_once.join_all().await.into_iter().filter(|status| *status == 200).count();
    assert_eq!(taken, 1);
    // What has expired is forgotten, and refused for that.
    house.clock.advance(Duration::from_mins(5));
    let api = house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await;
    house.use_token(&api);
    assert_eq!(ask(&house, &client, &once).await.0, 401);
    assert!(why(&house).await.contains("expired"));
    assert_eq!(ask(&house, &client, &signer.sign(&claims(&house, &client))).await.0, 200);
    let pool = house.database().await;
    let kept: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM taken_assertions").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, 1);
    pool.close().await;
}

pub(crate) fn rule(name: &str) -> Value {
    json!({"name": name, "issuer": "https://issuer.example.com/id/1", "subject": "system:serviceaccount:lake:agent"})
}

async fn keys_and_rules_are_kept_by_editors_and_a_removed_one_is_out_at_once(house: House) {
    let (agent, client) = new_agent(&house, "north").await;
    let (keys, rules) = (format!("/agents/{agent}/keys"), format!("/agents/{agent}/trust-rules"));
    let signer = Signer::ed25519();
    let key = add_key(&house, &agent, "one", &signer).await;
    let wrong_key = json!({"name": " ", "publicKey": "-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----"});
    let problem = house.expect(400, Method::POST, &keys, Some(wrong_key)).await;
    assert_eq!(fields(&problem), ["name", "publicKey"]);
    assert!(!problem.to_string().contains("hidden"), "{problem}");
    let twice = json!({"name": "two", "publicKey": signer.jwk().to_string()});
    house.expect(409, Method::POST, &keys, Some(twice)).await;

    let made = house.expect(201, Method::POST, &rules, Some(rule("pod"))).await;
    let rule_id = made["trustRuleId"].as_str().unwrap().to_owned();
    house.expect(409, Method::POST, &rules, Some(rule("pod"))).await;
    house.expect(409, Method::POST, &rules, Some(rule("the same"))).await;
    let listed = house.get(&rules).await;
    let one = &listed["results"][0];
    assert_eq!((&one["audience"], &one["claims"]), (&json!(house.settings.public_url), &json!({})), "{listed}");
    for (name, value, field) in [
        ("issuer", json!("http://issuer.example.com"), "issuer"),
        ("issuer", json!("https://10.0.0.1/"), "issuer"),
        ("issuer", json!("https://169.254.169.254/"), "issuer"),
        ("issuer", json!("https://issuer.example.com/?x=y"), "issuer"),
        ("issuer", json!("accounts.google.com"), "issuer"),
        ("subject", json!(""), "subject"),
        ("audience", json!(""), "audience"),
        ("claims", json!({"a": 1}), "claims"),
        ("claims", json!({"": "x"}), "claims"),
        ("subjects", json!("x"), "subjects"),
    ] {
        let mut body = rule("other");
        body[name] = value;
        assert_eq!(fields(&house.expect(400, Method::POST, &rules, Some(body)).await), [field], "{name}");
    }
    // Another account sees none of it, and a viewer changes none of it.
    let owner = house.token();
    let stranger = house.client("owner", false).await;
    house.use_token(&stranger.token);
    for (method, path) in [
        (Method::GET, keys.clone()),
        (Method::GET, rules.clone()),
        (Method::DELETE, format!("{keys}/{key}")),
        (Method::DELETE, format!("{rules}/{rule_id}")),
    ] {
        house.expect(404, method, &path, None).await;
    }
    house.expect(404, Method::POST, &rules, Some(rule("x"))).await;
    house.use_token(&house.client("viewer", true).await.token);
    house.get(&keys).await;
    house.expect(403, Method::POST, &rules, Some(rule("x"))).await;
    house.use_token(&owner);
    // A key is no rule.
    house.expect(404, Method::DELETE, &format!("{rules}/{key}"), None).await;

    // With a key and a rule the secret can go; then one of them has to stay.
    let (_, body) = ask(&house, &client, &signer.sign(&claims(&house, &client))).await;
    let token = body["access_token"].as_str().unwrap().to_owned();
    let history = house.get(&format!("/agents/{agent}/credentials/history")).await;
    let secret = history["results"][0]["credentialId"].as_str().unwrap();
    house.expect(204, Method::DELETE, &format!("/agents/{agent}/credentials/{secret}"), None).await;
    house.hello(&token).await;
    house.expect(204, Method::DELETE, &format!("{rules}/{rule_id}"), None).await;
    let last = house.expect(409, Method::DELETE, &format!("{keys}/{key}"), None).await;
    assert_eq!(last["code"], "last_credential");
    house.expect(201, Method::POST, &format!("/agents/{agent}/credentials/rotate"), None).await;
    house.expect(204, Method::DELETE, &format!("{keys}/{key}"), None).await;
    let hello = json!({"protocol": 1, "instance": "one", "agentVersion": "0.1.0"});
    assert_eq!(house.gateway(&token, "session", hello).await.0, 401, "its tokens end with it");
    assert_eq!(ask(&house, &client, &signer.sign(&claims(&house, &client))).await.0, 401);
    let log = house.get("/audit-log").await;
    let lines = log["results"].as_array().unwrap().iter();
    let told: Vec<&str> = lines.filter_map(|line| line["action"].as_str()).collect();
    for action in ["credentials.add_key", "credentials.remove_key", "credentials.add_rule", "credentials.remove_rule"] {
        assert_eq!(told.iter().filter(|one| **one == action).count(), 1, "{action}: {told:?}");
    }
    for number in 0..10 {
        add_key(&house, &agent, &number.to_string(), &Signer::ed25519()).await;
    }
    let more = json!({"name": "more", "publicKey": Signer::ed25519().jwk().to_string()});
    assert_eq!(house.expect(409, Method::POST, &keys, Some(more)).await["code"], "too_many_credentials");
}

async fn a_key_and_a_rule_are_added_and_removed_in_the_console_with_the_password(house: House) {
    let (agent, _) = new_agent(&house, "north").await;
    let owner = Visitor::owner(&house).await;
    let path = format!("/agents/{agent}/trust");
    let (_, page) = owner.see(&format!("/agents/{agent}")).await;
    assert!(page.contains(&path), "{page}");
    let jwk = Signer::ed25519().jwk().to_string();
    let key = [("name", "key of 2026"), ("publicKey", jwk.as_str())];
    let (status, page) = owner.send(&format!("{path}/keys"), &[&key[..], &[("password", "no")]].concat()).await;
    assert!(status == StatusCode::UNAUTHORIZED && page.contains("key of 2026"), "{page}");
    let password = ("password", PASSWORD);
    let private =
        [("name", "x"), ("publicKey", "-----BEGIN PRIVATE KEY-----\nunseen\n-----END PRIVATE KEY-----"), password];
    let (status, page) = owner.send(&format!("{path}/keys"), &private).await;
    assert!(status == StatusCode::BAD_REQUEST && page.contains("private key") && !page.contains("unseen"), "{page}");
    let (status, _) = owner.send(&format!("{path}/keys"), &[&key[..], &[password]].concat()).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let rule = [
        ("name", "pod"),
        ("issuer", "https://oidc.example.com/id/1"),
        ("subject", "system:serviceaccount:lake:agent"),
        ("claims", "/kubernetes.io/namespace = lake\n"),
        password,
    ];
    let wrong = [&rule[1..], &[("name", "")]].concat();
    let (status, page) = owner.send(&format!("{path}/rules"), &wrong).await;
    assert!(status == StatusCode::BAD_REQUEST && page.contains("system:serviceaccount:lake:agent"), "{page}");
    assert_eq!(owner.send(&format!("{path}/rules"), &rule).await.0, StatusCode::SEE_OTHER);
    let (_, page) = owner.see(&path).await;
    for said in [
        "key of 2026",
        "EdDSA",
        "oidc.example.com",
        "system:serviceaccount:lake:agent",
        "/kubernetes.io/namespace",
        "never",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let listed = house.get(&format!("/agents/{agent}/trust-rules")).await;
    assert_eq!(listed["results"][0]["claims"], json!({"/kubernetes.io/namespace": "lake"}));
    for id in [
        &listed["results"][0]["trustRuleId"],
        &house.get(&format!("/agents/{agent}/keys")).await["results"][0]["keyId"],
    ] {
        let remove = format!("{path}/{}/remove", id.as_str().unwrap());
        assert!(owner.see(&remove).await.1.contains("It was never used"));
        assert_eq!(owner.send(&remove, &[("password", "no")]).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(owner.send(&remove, &[password]).await.0, StatusCode::SEE_OTHER);
    }
    let (_, page) = owner.see(&path).await;
    assert!(page.contains("No token of a cloud") && page.contains("No public key"), "{page}");
    let (viewer, _) = joined(&house, "vera@example.com", "viewer").await;
    assert_eq!(viewer.see(&path).await.0, StatusCode::FORBIDDEN);
    assert!(owner.see("/activity").await.1.to_lowercase().contains("remove key"), "it is told under Activity");
}
