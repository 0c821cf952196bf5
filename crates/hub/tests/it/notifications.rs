//! Who is told of what: signed, once for each change, together, tried again, and never with what an agent said.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_hub::{Networks, Smtp};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::house::{House, Kind, fields};

/// Somebody who takes webhooks.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    taken: Arc<Mutex<Vec<(HeaderMap, Value, String)>>>,
    /// Statuses of the next answers; then 204.
    answers: Arc<Mutex<VecDeque<u16>>>,
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap) {
    let text = String::from_utf8(body.to_vec()).unwrap();
    receiver.taken.lock().unwrap().push((headers, serde_json::from_str(&text).unwrap(), text));
    let status = receiver.answers.lock().unwrap().pop_front().unwrap_or(204);
    let mut headers = HeaderMap::new();
    headers.insert("location", "/elsewhere".parse().unwrap());
    (StatusCode::from_u16(status).unwrap(), headers)
}

impl Receiver {
    pub(crate) async fn start(answers: &[u16]) -> (Self, String) {
        let receiver = Self { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router =
            Router::new().route("/hook", post(take)).route("/elsewhere", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, url)
    }

    fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    /// Waits for so many messages: the last.
    pub(crate) async fn wait_for(&self, count: usize) -> (HeaderMap, Value, String) {
        let begun = Instant::now();
        while self.count() < count {
            assert!(begun.elapsed() < Duration::from_secs(20), "{} messages have come, not {count}", self.count());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.taken.lock().unwrap()[count - 1].clone()
    }
}

pub(crate) async fn house(kind: Kind) -> House {
    House::set(kind, |settings| settings.webhook_allow = Networks::parse("127.0.0.1").unwrap()).await
}

fn all_events() -> Value {
    json!(["pipeline_failed", "agent_unknown", "credentials_expiring", "recovered"])
}

/// A new webhook: its id and its secret.
pub(crate) async fn webhook(house: &House, url: &str, events: Value) -> (String, String) {
    let made = house.expect(201, Method::POST, "/webhooks", Some(json!({"url": url, "events": events}))).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("webhookId"), text("secret"))
}

fn events(message: &Value) -> Vec<&str> {
    message["changes"].as_array().unwrap().iter().map(|change| change["event"].as_str().unwrap()).collect()
}

/// A started pipeline at an agent that has connected: path, token, session, and what it holds.
pub(crate) async fn started(house: &House, name: &str) -> (String, String, String, Value) {
    let (agent, token) = house.agent(name).await;
    let path = house.new_pipeline(name, &agent).await;
    house.command(&path, "START").await;
    let session = house.hello(&token).await;
    let told = house.sync(&token, &session, json!({})).await;
    let mut held = told["desired"]["pipeline"].clone();
    held.as_object_mut().unwrap().retain(|name, _| name != "spec" && name != "defaultName");
    (path, token, session, held)
}

pub(crate) fn report(held: &Value, status: &str) -> Value {
    let mut report = json!({"pipelineId": held["pipelineId"], "status": status, "since": "2026-01-01T00:00:00.000Z",
        "revision": held["revision"], "wish": held["wish"], "epoch": held["epoch"]});
    if status == "NOT_RUNNING" {
        let reason =
            json!({"code": "failed", "message": "canary-of-a-row", "cure": "canary-of-a-cure", "fault": "PG-012"});
        report["reason"] = reason;
    }
    json!({"held": held, "report": report})
}

#[tokio::test]
async fn a_failed_pipeline_is_told_once_and_so_is_that_it_runs_again() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let house = house(kind).await;
        if let Kind::Postgres = kind {
            house.another().await;
        }
        let (receiver, url) = Receiver::start(&[]).await;
        let (id, secret) = webhook(&house, &url, all_events()).await;
        let (path, token, session, held) = started(&house, "shop").await;
        house.sync(&token, &session, report(&held, "STREAMING")).await;
        for _ in 0..3 {
            house.sync(&token, &session, report(&held, "NOT_RUNNING")).await;
        }
        house.clock.advance(Duration::from_secs(5));
        let (headers, message, text) = receiver.wait_for(1).await;
        assert_eq!((&message["type"], events(&message)), (&json!("notification"), vec!["pipeline_failed"]));
        let change = &message["changes"][0];
        assert_eq!((&change["code"], &change["object"]["name"]), (&json!("PG-012"), &json!("shop")));
        assert!(change["link"].as_str().unwrap().ends_with(path.rsplit('/').next().unwrap()), "{change}");
        assert!(!text.contains("canary"), "{text}");
        // Signed as Standard Webhooks has it.
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{}.{}.{text}", header("webhook-id"), header("webhook-timestamp"));
        let given = BASE64.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        ring::hmac::verify(&key, signed.as_bytes(), &given).unwrap();

        house.sync(&token, &session, report(&held, "STREAMING")).await;
        let (_, message, _) = {
            let begun = Instant::now();
            // It is seen by the next sweep, and told a little later.
            while receiver.count() < 2 && begun.elapsed() < Duration::from_secs(20) {
                house.clock.advance(Duration::from_secs(1));
                house.sync(&token, &session, report(&held, "STREAMING")).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            receiver.wait_for(2).await
        };
        assert_eq!(events(&message), ["recovered"], "{message}");
        assert_eq!(receiver.count(), 2);
        let seen = house.get(&format!("/webhooks/{id}")).await;
        assert!(seen["reachedAt"].is_string() && seen.get("secret").is_none(), "{seen}");
    }
}

/// Lets time go by, a little at a time, until so many messages have come: a hub that has not looked at its clock for long was away
/// itself, and calls nobody silent.
async fn pass_until_told(house: &House, receiver: &Receiver, count: usize, mut meanwhile: impl AsyncFnMut()) {
    let begun = Instant::now();
    while receiver.count() < count {
        assert!(begun.elapsed() < Duration::from_secs(90), "nobody was told");
        house.clock.advance(Duration::from_secs(3));
        meanwhile().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_hub_whose_clock_was_set_ahead_calls_nobody_silent_but_who_is() {
    let house = house(Kind::Sqlite).await;
    let (receiver, url) = Receiver::start(&[]).await;
    webhook(&house, &url, json!(["agent_unknown"])).await;
    let (steady, token) = house.agent("steady").await;
    house.hello(&token).await;
    house.hello(&house.agent("silent").await.1).await;
    house.clock.advance(Duration::from_hours(1));
    // A sweep goes by before anybody had a chance to say a word.
    tokio::time::sleep(Duration::from_secs(7)).await;
    house.use_token(&house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await);
    let credentials = house.get(&format!("/agents/{steady}/credentials")).await;
    let text = |name: &str| credentials[name].as_str().unwrap();
    let token = house.token_of(text("clientId"), text("clientSecret")).await;
    let session = house.hello(&token).await;
    pass_until_told(&house, &receiver, 1, async || drop(house.sync(&token, &session, json!({})).await)).await;
    let messages = receiver.taken.lock().unwrap();
    let names: Vec<&str> = messages
        .iter()
        .flat_map(|(_, message, _)| message["changes"].as_array().unwrap())
        .map(|change| change["object"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["silent"]);
}

#[tokio::test]
async fn a_mail_server_that_takes_its_time_keeps_no_other_message_back() {
    let (smtp_url, mails) = mail_server_with(Duration::from_secs(3)).await;
    let house = House::set(Kind::Sqlite, |settings| {
        settings.webhook_allow = Networks::parse("127.0.0.1").unwrap();
        settings.smtp = Some(Smtp { url: smtp_url, from: "Millrace <millrace@example.com>".into() });
    })
    .await;
    let (receiver, url) = Receiver::start(&[]).await;
    webhook(&house, &url, json!(["pipeline_failed"])).await;
    let body = json!({"email": "ops@example.com", "events": ["pipeline_failed"]});
    house.expect(201, Method::POST, "/email-recipients", Some(body)).await;
    for (count, name) in [(1, "shop"), (2, "bank")] {
        let (_, token, session, held) = started(&house, name).await;
        house.sync(&token, &session, report(&held, "NOT_RUNNING")).await;
        house.clock.advance(Duration::from_secs(5));
        receiver.wait_for(count).await;
    }
    assert!(mails.lock().unwrap().is_empty(), "the first mail is still on its way");
}

#[tokio::test]
async fn agents_that_go_silent_together_are_one_message_though_two_hubs_look() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let house = house(kind).await;
        if let Kind::Postgres = kind {
            house.another().await;
        }
        let (receiver, url) = Receiver::start(&[]).await;
        webhook(&house, &url, all_events()).await;
        let mut agents = Vec::new();
        for name in ["north", "south", "east"] {
            let (agent, token) = house.agent(name).await;
            let session = house.hello(&token).await;
            agents.push((agent, token, session));
        }
        // One says goodbye: nobody is told.
        let (_, token, session) = &agents[2];
        house.gateway(token, "goodbye", json!({"sessionId": session, "reason": "sigterm"})).await;
        pass_until_told(&house, &receiver, 1, async || ()).await;
        let (_, message, _) = receiver.wait_for(1).await;
        assert_eq!(events(&message), ["agent_unknown", "agent_unknown"], "{message}");
        // Several sweeps later there is nothing new.
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(receiver.count(), 1);
        house.hello(&agents[0].1).await;
        let (_, message, _) = receiver.wait_for(2).await;
        assert_eq!((events(&message), &message["changes"][0]["object"]["name"]), (vec!["recovered"], &json!("north")));
    }
}

#[tokio::test]
async fn a_message_is_tried_again_with_growing_pauses_and_then_given_up() {
    let house = house(Kind::Sqlite).await;
    let (receiver, url) = Receiver::start(&[500, 302, 200]).await;
    let (id, _) = webhook(&house, &url, json!(["pipeline_failed"])).await;
    let (_, token, session, held) = started(&house, "shop").await;
    house.sync(&token, &session, report(&held, "NOT_RUNNING")).await;
    house.clock.advance(Duration::from_secs(5));
    receiver.wait_for(1).await;
    let trouble = house.until(&format!("/webhooks/{id}"), |seen| seen["trouble"].is_string()).await;
    assert!(trouble["trouble"].as_str().unwrap().contains("500"), "{trouble}");
    house.clock.advance(Duration::from_secs(10));
    receiver.wait_for(2).await;
    // A redirect is a refusal, and is not followed: the third call comes after the next pause only.
    house
        .until(&format!("/webhooks/{id}"), |seen| seen["trouble"].as_str().is_some_and(|why| why.contains("302")))
        .await;
    assert_eq!(receiver.count(), 2);
    house.clock.advance(Duration::from_mins(1));
    let (third, message, _) = receiver.wait_for(3).await;
    let first = receiver.taken.lock().unwrap()[0].0["webhook-id"].clone();
    assert_eq!((third["webhook-id"].clone(), events(&message)), (first, vec!["pipeline_failed"]));
    house.until(&format!("/webhooks/{id}"), |seen| seen.get("trouble").is_none()).await;

    // One that never answers well is given up, and Activity says so.
    receiver.answers.lock().unwrap().extend([500; 20]);
    house.command(&format!("{}/{}", house.pipelines(), held["pipelineId"].as_str().unwrap()), "STOP").await;
    let (_, token, session, held) = started(&house, "bank").await;
    house.sync(&token, &session, report(&held, "NOT_RUNNING")).await;
    house.clock.advance(Duration::from_secs(5));
    for attempt in 4..=10 {
        receiver.wait_for(attempt).await;
        house.until(&format!("/webhooks/{id}"), |seen| seen["trouble"].is_string()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Agents are missed meanwhile; this recipient does not want to know.
        house.clock.advance(Duration::from_hours(13));
        house.use_token(&house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await);
    }
    let log = house
        .until("/audit-log?size=100", |log| {
            log["results"].as_array().unwrap().iter().any(|line| line["action"] == "webhook.give_up")
        })
        .await;
    assert!(log.to_string().contains("500"), "{log}");
}

#[tokio::test]
async fn a_test_goes_out_at_once_and_says_why_it_did_not_arrive() {
    let house = house(Kind::Sqlite).await;
    let (receiver, url) = Receiver::start(&[204, 404]).await;
    let (id, _) = webhook(&house, &url, all_events()).await;
    let path = format!("/webhooks/{id}/test");
    assert_eq!(house.expect(200, Method::POST, &path, None).await, json!({"delivered": true}));
    assert_eq!(receiver.wait_for(1).await.1["type"], "test");
    let tested = house.expect(200, Method::POST, &path, None).await;
    assert!(tested["delivered"] == false && tested["message"].as_str().unwrap().contains("404"), "{tested}");
    for _ in 0..8 {
        house.expect(200, Method::POST, &path, None).await;
    }
    house.expect(429, Method::POST, &path, None).await;
}

#[tokio::test]
async fn webhooks_belong_to_owners_of_their_account_and_keep_to_public_https() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let house = House::open(kind).await;
        for url in [
            "http://hooks.example.com",
            "https://10.0.0.1/x",
            "https://127.0.0.1/",
            "https://localhost/x",
            "not a url",
            "",
        ] {
            let body = json!({"url": url, "events": ["recovered"]});
            assert_eq!(fields(&house.expect(400, Method::POST, "/webhooks", Some(body)).await), ["url"], "{url}");
        }
        let url = "https://hooks.example.com/millrace?key=1";
        for events in [json!([]), json!(["everything"]), json!("recovered"), Value::Null] {
            let body = json!({"url": url, "events": events});
            assert_eq!(fields(&house.expect(400, Method::POST, "/webhooks", Some(body)).await), ["events"]);
        }
        let body = json!({"url": url, "events": ["recovered", "agent_unknown"]});
        let made = house.expect(201, Method::POST, "/webhooks", Some(body.clone())).await;
        house.expect(409, Method::POST, "/webhooks", Some(body.clone())).await;
        let path = format!("/webhooks/{}", made["webhookId"].as_str().unwrap());
        let seen = house.get(&path).await;
        assert_eq!((&seen["url"], &seen["events"]), (&json!(url), &json!(["agent_unknown", "recovered"])));
        assert_eq!(house.get("/webhooks").await["total"], 1);
        // Neither the secret nor the path, which may be one, is anywhere else.
        let log = house.get("/audit-log?size=100").await.to_string();
        assert!(!log.contains("key=1") && !log.contains(made["secret"].as_str().unwrap()), "{log}");
        let own = house.token();
        for (role, own_account, status) in [("editor", true, 403), ("viewer", true, 403), ("owner", false, 404)] {
            house.use_token(&house.client(role, own_account).await.token);
            house.expect(status, Method::GET, &path, None).await;
            house.expect(status, Method::PUT, &path, Some(body.clone())).await;
            house.expect(status, Method::DELETE, &path, None).await;
            house.expect(status, Method::POST, &format!("{path}/test"), None).await;
        }
        house.use_token(&own);
        let changed = json!({"url": "https://other.example.com", "events": ["recovered"]});
        assert_eq!(house.expect(200, Method::PUT, &path, Some(changed)).await["url"], "https://other.example.com");
        house.expect(204, Method::DELETE, &path, None).await;
        house.expect(404, Method::GET, &path, None).await;
    }
}

/// A mail server as far as a client can tell: what it was given, one text a mail.
async fn mail_server() -> (String, Arc<Mutex<Vec<String>>>) {
    mail_server_with(Duration::ZERO).await
}

/// One that thinks before it says anything.
async fn mail_server_with(pause: Duration) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let mails = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&mails);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mails = Arc::clone(&taken);
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                tokio::time::sleep(pause).await;
                write.write_all(b"220 here\r\n").await.unwrap();
                let mut mail = String::new();
                while let Ok(Some(line)) = lines.next_line().await {
                    tokio::time::sleep(pause).await;
                    let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
                    let answer = match verb.as_str() {
                        "DATA" => {
                            write.write_all(b"354 go on\r\n").await.unwrap();
                            while let Ok(Some(line)) = lines.next_line().await {
                                if line == "." {
                                    break;
                                }
                                mail += &format!("{line}\n");
                            }
                            mails.lock().unwrap().push(std::mem::take(&mut mail));
                            "250 taken"
                        }
                        "QUIT" => "221 bye",
                        "RCPT" | "MAIL" => {
                            mail += &format!("{line}\n");
                            "250 ok"
                        }
                        _ => "250 ok",
                    };
                    write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
                }
            });
        }
    });
    (url, mails)
}

#[tokio::test]
async fn an_address_for_mail_is_added_tested_changed_and_removed_by_the_api() {
    let (url, mails) = mail_server().await;
    let smtp = Smtp { url, from: "Millrace <millrace@example.com>".into() };
    let house = House::set(Kind::Sqlite, |settings| settings.smtp = Some(smtp)).await;
    let body = |email: &str| Some(json!({"email": email, "events": ["recovered"]}));
    for email in ["ops", "", "ops@example.com, ann@example.com", "Ops <ops@example.com>"] {
        let problem = house.expect(400, Method::POST, "/email-recipients", body(email)).await;
        assert_eq!(fields(&problem), ["email"], "{email}");
    }
    let made = house.expect(201, Method::POST, "/email-recipients", body("ops@example.com")).await;
    house.expect(409, Method::POST, "/email-recipients", body("ops@example.com")).await;
    house.expect(201, Method::POST, "/email-recipients", body("ann@example.com")).await;
    let path = format!("/email-recipients/{}", made["emailRecipientId"].as_str().unwrap());
    let seen = house.get(&path).await;
    assert_eq!((&seen["email"], &seen["events"]), (&json!("ops@example.com"), &json!(["recovered"])), "{seen}");
    assert_eq!(house.get("/email-recipients").await["results"][0], seen);
    let tested = house.expect(200, Method::POST, &format!("{path}/test"), None).await;
    assert_eq!(tested, json!({"delivered": true}));
    assert!(mails.lock().unwrap()[0].contains("RCPT TO:<ops@example.com>"));
    house.expect(409, Method::PUT, &path, body("ann@example.com")).await;
    assert_eq!(house.expect(200, Method::PUT, &path, body("eva@example.com")).await["email"], "eva@example.com");
    // A webhook is none of them, and none of them is a webhook.
    let hook = json!({"url": "https://hooks.example.com/x", "events": ["recovered"]});
    let hook = house.expect(201, Method::POST, "/webhooks", Some(hook)).await;
    let of_hook = format!("/email-recipients/{}", hook["webhookId"].as_str().unwrap());
    house.expect(404, Method::GET, &of_hook, None).await;
    house.expect(404, Method::DELETE, &of_hook, None).await;
    house.expect(404, Method::GET, &path.replace("email-recipients", "webhooks"), None).await;
    assert_eq!(house.get("/email-recipients").await["total"], 2);
    house.expect(204, Method::DELETE, &path, None).await;
    house.expect(404, Method::GET, &path, None).await;
    let without = House::open(Kind::Sqlite).await;
    let problem = without.expect(400, Method::POST, "/email-recipients", body("ops@example.com")).await;
    assert!(problem.to_string().contains("HUB_SMTP_URL"), "{problem}");
}

#[tokio::test]
async fn an_address_gets_mail_and_its_page_adds_tests_and_removes_it() {
    let (url, mails) = mail_server().await;
    let smtp = Smtp { url, from: "Millrace <millrace@example.com>".into() };
    let house = House::set(Kind::Sqlite, |settings| settings.smtp = Some(smtp)).await;
    let mut visitor = crate::visitor::Visitor::new(&house);
    visitor.sign_in().await;
    let token = visitor.token().await;
    let fields =
        [("token", token.as_str()), ("kind", "email"), ("address", "ops@example.com"), ("events", "pipeline_failed")];
    let refused = [("token", token.as_str()), ("kind", "email"), ("address", "ops"), ("events", "pipeline_failed")];
    let answer = visitor.post("/settings/notifications", &refused).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("must be an e-mail address"));
    assert_eq!(visitor.post("/settings/notifications", &fields).await.status(), 303);
    let page = visitor.get("/settings/notifications").await.text().await.unwrap();
    let (_, rest) = page.split_once("/settings/notifications/").unwrap();
    let id = rest.split('/').next().unwrap();
    let tested = visitor.post(&format!("/settings/notifications/{id}/test"), &[("token", &token)]).await;
    assert!(tested.text().await.unwrap().contains("The test has arrived"));
    {
        let mails = mails.lock().unwrap();
        assert!(
            mails[0].contains("RCPT TO:<ops@example.com>") && mails[0].contains("Subject: Millrace: a test from Acme")
        );
    }
    let (path, token_of_agent, session, held) = started(&house, "shop").await;
    house.sync(&token_of_agent, &session, report(&held, "NOT_RUNNING")).await;
    house.clock.advance(Duration::from_secs(5));
    let begun = Instant::now();
    while mails.lock().unwrap().len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "no mail has come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mail = mails.lock().unwrap()[1].clone();
    assert!(mail.contains("Pipeline shop has failed with PG-012") && !mail.contains("canary"), "{mail}");
    assert!(mail.contains(path.rsplit('/').next().unwrap()), "{mail}");
    let answer = visitor.post(&format!("/settings/notifications/{id}/remove"), &[("token", &token)]).await;
    assert_eq!(answer.status(), 303);
    assert!(visitor.get("/settings/notifications").await.text().await.unwrap().contains("Nobody is told yet"));
}
