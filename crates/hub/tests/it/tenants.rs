//! Several accounts on one hub: how they come to be, who is in them, and that none sees another.

use millrace_hub::{Registration, doors};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, Kind, OWNER, PASSWORD, on_both_databases, pipeline};
use crate::visitor::{OTHER, Visitor, joined, user};

on_both_databases!(nothing_of_an_account_is_there_for_another_one, by_invitation_nobody_makes_an_account);

const KINDS: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

/// A new account, by the page that everybody sees.
async fn register<'a>(house: &'a House, form: &[(&str, &str)]) -> (StatusCode, String, Visitor<'a>) {
    let mut visitor = Visitor::new(house);
    let answer = visitor.post("/register", form).await;
    let status = answer.status();
    if status == StatusCode::SEE_OTHER {
        visitor.enter(&answer);
    }
    (status, answer.text().await.unwrap(), visitor)
}

#[tokio::test]
async fn an_open_hub_gives_everybody_an_account_of_their_own() {
    for kind in KINDS {
        let house = House::set(kind, |settings| settings.registration = Registration::Open).await;
        house.new_agent("north").await;
        let form = [("account", "Beta"), ("email", "Bea@example.com"), ("password", OTHER)];
        let (status, page, bea) = register(&house, &form).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
        let (_, page) = bea.see("/agents").await;
        assert!(page.contains("Beta") && page.contains("There is no agent yet") && !page.contains("north"), "{page}");
        assert!(bea.see("/people").await.1.contains("bea@example.com"));
        assert!(!bea.see("/people").await.1.contains(OWNER));
        let (status, page, _) = register(&house, &[("account", ""), ("email", "x"), ("password", "short")]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        for said in ["The name of the account", "The e-mail address", "The password"] {
            assert!(page.contains(said), "{said}: {page}");
        }
        // An address that has a login keeps its password.
        let (status, _, _) = register(&house, &[("account", "Mine"), ("email", OWNER), ("password", OTHER)]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let mut owner = Visitor::new(&house);
        owner.sign_in().await;
        let (status, _, _) = register(&house, &[("account", "Mine"), ("email", OWNER), ("password", PASSWORD)]).await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        for _ in 0..6 {
            register(&house, &[("account", ""), ("email", "x"), ("password", "short")]).await;
        }
        let (status, ..) = register(&house, &form).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    }
}

async fn by_invitation_nobody_makes_an_account(house: House) {
    let visitor = Visitor::new(&house);
    assert_eq!(visitor.get("/register").await.status(), StatusCode::NOT_FOUND);
    assert!(!visitor.see("/sign-in").await.1.contains("/register"));
    let form = [("account", "Beta"), ("email", "bea@example.com"), ("password", OTHER)];
    assert_eq!(register(&house, &form).await.0, StatusCode::NOT_FOUND);
    joined(&house, "vera@example.com", "viewer").await;
}

#[tokio::test]
async fn the_operators_link_makes_a_further_account_once() {
    for kind in KINDS {
        let house = House::set(kind, |settings| settings.registration = Registration::Closed).await;
        let url = millrace_hub::account_link(house.settings.clone(), house.clock.clone()).await.unwrap();
        let link = &url[url.find("/join/").unwrap()..];
        let mut bea = Visitor::new(&house);
        assert!(bea.see(link).await.1.contains("Create an account"));
        let form = [("account", "Beta"), ("email", "bea@example.com"), ("password", OTHER)];
        let answer = bea.post(link, &form).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        bea.enter(&answer);
        let (_, page) = bea.see("/people").await;
        assert!(page.contains("Beta") && !page.contains(OWNER), "{page}");
        assert_eq!(bea.get(link).await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_closed_hub_lets_nobody_new_in() {
    for kind in KINDS {
        let house = House::set(kind, |settings| settings.registration = Registration::Closed).await;
        assert_eq!(Visitor::new(&house).get("/register").await.status(), StatusCode::NOT_FOUND);
        let asked = json!({"email": "vera@example.com", "role": "viewer"});
        house.expect(403, Method::POST, "/users", Some(asked)).await;
        let owner = Visitor::owner(&house).await;
        assert!(owner.see("/people").await.1.contains("closed"));
    }
}

#[tokio::test]
async fn a_person_in_several_accounts_goes_from_one_to_the_other() {
    for kind in KINDS {
        let house = House::set(kind, |settings| settings.registration = Registration::Open).await;
        house.new_agent("north").await;
        let form = [("account", "Beta"), ("email", "bea@example.com"), ("password", OTHER)];
        let (_, _, bea) = register(&house, &form).await;
        assert!(!bea.see("/me").await.1.contains("action=\"/switch\""), "there is only one");
        // Invited into the other account she takes the password that she has.
        let asked = json!({"email": "bea@example.com", "role": "viewer"});
        let invited = house.expect(201, Method::POST, "/users", Some(asked)).await;
        let url = invited["joinUrl"].as_str().unwrap();
        let link = &url[url.find("/join/").unwrap()..];
        let wrong = bea.post(link, &[("password", "some other words, quite new")]).await;
        assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
        let right = bea.post(link, &[("password", OTHER)]).await;
        assert_eq!(right.status(), StatusCode::SEE_OTHER);
        let (_, page) = bea.see("/me").await;
        let acme = house.set_up.account_id.as_str();
        assert!(page.contains("action=\"/switch\"") && page.contains(acme), "{page}");
        let mut beta = page.split("<option value=\"").skip(1).map(|part| part.split('"').next().unwrap());
        let beta = beta.find(|id| *id != acme).unwrap().to_owned();
        assert_eq!(bea.send("/switch", &[("account", acme)]).await.0, StatusCode::SEE_OTHER);
        assert!(bea.see("/agents").await.1.contains("north"));
        assert_eq!(bea.get("/people").await.status(), StatusCode::FORBIDDEN, "she is a viewer here");
        assert_eq!(bea.send("/switch", &[("account", &beta)]).await.0, StatusCode::SEE_OTHER);
        assert!(!bea.see("/agents").await.1.contains("north"));
        assert_eq!(bea.get("/people").await.status(), StatusCode::OK);
        for other in [uuid::Uuid::new_v4().to_string().as_str(), "x", ""] {
            assert_eq!(bea.send("/switch", &[("account", other)]).await.0, StatusCode::NOT_FOUND, "{other}");
        }
        // Out of one account, she stays in the other, with her password.
        bea.send("/switch", &[("account", acme)]).await;
        let id = user(&house, "bea@example.com").await["userId"].as_str().unwrap().to_owned();
        house.expect(204, Method::DELETE, &format!("/users/{id}"), None).await;
        assert!(!bea.is_in().await);
        let mut again = Visitor::new(&house);
        again.sign_in_as("bea@example.com", OTHER).await;
        assert!(again.see("/people").await.1.contains("Beta"));
        assert_eq!(again.send("/switch", &[("account", acme)]).await.0, StatusCode::NOT_FOUND);
    }
}

/// RFC 8037, appendix A.2.
const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// One of everything that an account can have: ids by the place in a path that names them.
struct Ours {
    agent: String,
    credential: String,
    key: String,
    rule: String,
    project: String,
    pipeline: String,
    command: String,
    client: String,
    person: String,
    webhook: String,
    email: String,
    draft: String,
}

async fn ours(house: &House) -> Ours {
    let agent = house.new_agent("north").await;
    let history = house.get(&format!("/agents/{agent}/credentials/history")).await;
    let path = house.new_pipeline("shop", &agent).await;
    let check = json!({"spec": pipeline("x", &agent)});
    let asked = house.call(Method::POST, &format!("/agents/{agent}/checks"), Some(check)).await;
    let location = asked.headers()["location"].to_str().unwrap().to_owned();
    let person = user(house, OWNER).await["userId"].as_str().unwrap().to_owned();
    let hook = json!({"url": "https://hooks.example.com/x", "events": ["pipeline_failed"]});
    let hook = house.expect(201, Method::POST, "/webhooks", Some(hook)).await;
    let draft = uuid::Uuid::new_v4().to_string();
    let pool = house.database().await;
    let sql = "INSERT INTO drafts (id, account_id, project_id, person_id, body, notes, updated_at) \
               VALUES ($1, $2, $3, $4, '{}', '{}', 0)";
    let insert = sqlx::query(sql).bind(&draft).bind(&house.set_up.account_id).bind(&house.set_up.project_id);
    insert.bind(&person).execute(&pool).await.unwrap();
    let email = uuid::Uuid::now_v7().to_string();
    // This hub has no mail server, so nobody could add one.
    let sql = "INSERT INTO recipients (id, account_id, kind, address, events, created_at, created_by) \
               VALUES ($1, $2, 'email', 'ann@example.com', 'recovered', 0, 'hub')";
    sqlx::query(sql).bind(&email).bind(&house.set_up.account_id).execute(&pool).await.unwrap();
    pool.close().await;
    let made = async |what: &str, body: Value| {
        let made = house.expect(201, Method::POST, &format!("/agents/{agent}/{what}"), Some(body)).await;
        let id = made.as_object().unwrap().values().next().unwrap();
        id.as_str().unwrap().to_owned()
    };
    Ours {
        key: made("keys", json!({"name": "k", "publicKey": KEY})).await,
        rule: made("trust-rules", json!({"name": "r", "issuer": "https://issuer.example.com", "subject": "s"})).await,
        credential: history["results"][0]["credentialId"].as_str().unwrap().to_owned(),
        project: house.set_up.project_id.clone(),
        pipeline: path.rsplit('/').next().unwrap().to_owned(),
        command: location.rsplit('/').next().unwrap().to_owned(),
        client: house.set_up.client_id.clone(),
        person,
        webhook: hook["webhookId"].as_str().unwrap().to_owned(),
        email,
        draft,
        agent,
    }
}

impl Ours {
    /// The route with our ids in it.
    fn in_path(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('/').collect();
        let filled = parts.iter().enumerate().map(|(at, part)| match *part {
            "{project}" => self.project.as_str(),
            "{credential}" => &self.credential,
            "{key}" => &self.key,
            "{rule}" => &self.rule,
            "{draft}" => &self.draft,
            "{step}" => "source",
            "{id}" => match parts[at - 1] {
                "agents" => &self.agent,
                "streaming-pipelines" | "pipelines" => &self.pipeline,
                "commands" => &self.command,
                "projects" => &self.project,
                "users" | "people" => &self.person,
                "api-clients" => &self.client,
                "webhooks" | "notifications" => &self.webhook,
                "email-recipients" => &self.email,
                other => panic!("which id is that of {other}? say so in this test"),
            },
            other => other,
        });
        filled.collect::<Vec<_>>().join("/")
    }
}

/// A body that the route would take, were its path the caller's.
fn body(method: &str, path: &str, agent: &str) -> Option<Value> {
    let last = path.rsplit('/').next().unwrap();
    match (method, last) {
        ("GET" | "DELETE", _) => None,
        ("POST", "rotate") => Some(json!({})),
        ("POST", "keys") => Some(json!({"name": "x", "publicKey": KEY})),
        ("POST", "trust-rules") => Some(json!({"name": "x", "issuer": "https://issuer.example.com", "subject": "x"})),
        ("POST", "test") => None,
        ("POST", "rollback") => Some(json!({"revision": 1})),
        ("PUT", "set-times") => Some(json!({"start": "0 6 * * *"})),
        _ if path.contains("/webhooks/") => {
            Some(json!({"url": "https://hooks.example.com/y", "events": ["pipeline_failed"]}))
        }
        _ if path.contains("/email-recipients/") => Some(json!({"email": "ann@example.com", "events": ["recovered"]})),
        ("POST", "checks" | "discoveries") => Some(json!({"spec": pipeline("x", agent)})),
        ("POST", "commands") => Some(json!({"command": "START"})),
        ("PUT", "allowed-addresses") => Some(json!({"allowedAddresses": []})),
        _ if path.contains("streaming-pipelines") => Some(pipeline("x", agent)),
        _ if path.contains("/users/") => Some(json!({"role": "viewer"})),
        ("PATCH", _) => Some(json!({"name": "x"})),
        other => panic!("what does {other:?} take? say so in this test"),
    }
}

async fn nothing_of_an_account_is_there_for_another_one(house: House) {
    let ours = ours(&house).await;
    let stranger = house.client("owner", false).await;
    let own_token = house.token();
    house.use_token(&stranger.token);
    let own_agent = house.new_agent("mine").await;
    let mut count = 0;
    for door in doors().iter().filter(|door| door.path.starts_with("/dpc/v1/") && door.path.contains('{')) {
        let path = ours.in_path(door.path.trim_start_matches("/dpc/v1"));
        // Also below what is the stranger's own.
        let mixed = path.replace(&ours.project, &stranger.project).replace(&ours.agent, &own_agent);
        let tries =
            if [&ours.pipeline, &ours.credential, &ours.key, &ours.rule].iter().any(|id| mixed.contains(id.as_str())) {
                vec![path, mixed]
            } else {
                vec![path]
            };
        for path in tries {
            let method: Method = door.method.parse().unwrap();
            house.expect(404, method, &path, body(door.method, door.path, &own_agent)).await;
            count += 1;
        }
    }
    assert!(count > 25, "{count}");
    house.use_token(&own_token);

    // The same in the console, as the owner of another account who knows the ids.
    let pool = house.database().await;
    let sql = "INSERT INTO memberships (person_id, account_id, role, created_at) VALUES ($1, $2, 'owner', 0)";
    let (vera, id) = joined(&house, "vera@example.com", "viewer").await;
    sqlx::query(sql).bind(&id).bind(&stranger.account).execute(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(vera.send("/switch", &[("account", &stranger.account)]).await.0, StatusCode::SEE_OTHER);
    let mut count = 0;
    let pages = doors().iter().filter(|door| !door.path.starts_with("/dpc/") && door.path.contains('{'));
    for door in pages.filter(|door| json!(door)["needs"] != "nothing") {
        let path = ours.in_path(door.path);
        let status = match door.method {
            "GET" => vera.get(&path).await.status(),
            _ => vera.send(&path, &[("password", OTHER), ("role", "viewer"), ("title", "x"), ("name", "x")]).await.0,
        };
        assert_eq!(status, StatusCode::NOT_FOUND, "{} {path}", door.method);
        count += 1;
    }
    assert!(count > 25, "{count}");
    // And nothing has happened to any of it.
    assert_eq!(house.get(&format!("/agents/{}", ours.agent)).await["name"], "north");
    assert_eq!(user(&house, OWNER).await["role"], "owner");
}
