//! Every route and method, as everyone there is: the table in `web/access.rs` holds for the running hub, and is published.

use std::fmt::Write as _;
use std::path::Path;

use millrace_hub::{Door, doors};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::house::{House, on_both_databases};
use crate::visitor::{Visitor, joined};

on_both_databases!(
    every_door_opens_for_those_whom_the_table_names_and_for_nobody_else,
    a_refusal_by_role_is_written_down,
);

fn needs(door: &Door) -> String {
    json!(door)["needs"].as_str().unwrap().to_owned()
}

fn is_api(door: &Door) -> bool {
    door.path.starts_with("/dpc/v1/")
}

fn is_console(door: &Door) -> bool {
    !is_api(door)
        && !door.path.starts_with("/agent/v1/")
        && !door.path.starts_with("/oauth")
        && door.path != "/livez"
        && door.path != "/readyz"
        && door.path != "/openapi.json"
}

/// The path with ids of nothing.
fn path_of(door: &Door) -> String {
    let parts = door.path.split('/').map(|part| match part.strip_prefix('{') {
        Some("step}") => "source".to_owned(),
        Some(_) => uuid::Uuid::new_v4().to_string(),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

const ROLES: [&str; 3] = ["viewer", "editor", "owner"];

/// Whether someone of that role may.
fn may(door: &Door, role: &str) -> bool {
    let rank = |word: &str| ROLES.iter().position(|role| *role == word);
    match needs(door).as_str() {
        "nothing" | "login" => true,
        needed => rank(role) >= rank(needed),
    }
}

/// What an answer means for whoever asked.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    In,
    NotKnown,
    NotAllowed,
}

async fn came(answer: Response) -> Came {
    let url = answer.url().clone();
    let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    match status {
        303 if location.is_some_and(|to| to.starts_with("/sign-in")) => Came::NotKnown,
        // A page answers so to a password that is wrong; it says whose.
        401 if text.contains("is not yours") => Came::In,
        401 => Came::NotKnown,
        403 => Came::NotAllowed,
        404 | 405 if text.contains("no_such_") => panic!("a row without a route: {url}"),
        _ => Came::In,
    }
}

async fn with_token(house: &House, door: &Door, token: &str) -> Came {
    let method: Method = door.method.parse().unwrap();
    let request = house.http.request(method, format!("{}{}", house.url, path_of(door)));
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    // A page takes no form without this; whether the API looks at it is a question of another test.
    came(request.header("sec-fetch-site", "same-origin").send().await.unwrap()).await
}

async fn with_cookie(visitor: &Visitor<'_>, door: &Door, token: &str) -> Came {
    let path = path_of(door);
    came(match door.method {
        "GET" => visitor.get(&path).await,
        "POST" => visitor.post(&path, &[("token", token)]).await,
        other => {
            let request = visitor.http.request(other.parse().unwrap(), format!("{}{path}", visitor.house.url));
            request.header("cookie", &visitor.cookie).send().await.unwrap()
        }
    })
    .await
}

async fn every_door_opens_for_those_whom_the_table_names_and_for_nobody_else(house: House) {
    let (_, agent) = house.agent("north").await;
    let mut machines = Vec::new();
    let mut people = Vec::new();
    for role in ROLES {
        machines.push((role, house.client(role, true).await.token));
        people.push((role, joined(&house, &format!("{role}@example.org"), role).await.0));
    }
    // Whoever has signed out knows no page any more: that door comes last.
    let (last, first): (Vec<&Door>, Vec<&Door>) = doors().iter().partition(|door| door.path == "/sign-out");
    for door in first.into_iter().chain(last) {
        let (what, needed) = (format!("{} {}", door.method, door.path), needs(door));
        let stranger = match needed.as_str() {
            "nothing" => Came::In,
            _ => Came::NotKnown,
        };
        let of_api = |role: &str| match needed.as_str() {
            "nothing" => Came::In,
            _ if !is_api(door) => Came::NotKnown,
            _ if may(door, role) => Came::In,
            _ => Came::NotAllowed,
        };
        if needed != "nothing" {
            assert_eq!(with_token(&house, door, "").await, stranger, "nobody: {what}");
        }
        let of_agent = if needed == "agent" { Came::In } else { of_api("agent") };
        let of_agent = if is_api(door) { Came::NotKnown } else { of_agent };
        if needed != "nothing" {
            assert_eq!(with_token(&house, door, &agent).await, of_agent, "an agent: {what}");
        }
        for (role, token) in &machines {
            if needed != "nothing" {
                assert_eq!(with_token(&house, door, token).await, of_api(role), "API client, {role}: {what}");
            }
        }
        for (role, visitor) in people.iter().filter(|_| is_console(door) && needed != "nothing") {
            let expected = match door.path {
                // That is where it leads.
                "/sign-out" => Came::NotKnown,
                _ if may(door, role) => Came::In,
                _ => Came::NotAllowed,
            };
            let token = visitor.token().await;
            assert_eq!(with_cookie(visitor, door, &token).await, expected, "person, {role}: {what}");
        }
        for (_, visitor) in people.iter().filter(|_| is_api(door)) {
            let came = with_cookie(visitor, door, "").await;
            assert_eq!(came, Came::NotKnown, "a session of the console opens no API: {what}");
        }
    }
}

async fn a_refusal_by_role_is_written_down(house: House) {
    let (vera, id) = joined(&house, "vera@example.com", "viewer").await;
    let client = house.client("viewer", true).await;
    vera.get("/people").await;
    let owner = house.token();
    house.use_token(&client.token);
    house.expect(403, Method::DELETE, &format!("/agents/{id}"), None).await;
    house.use_token(&owner);
    let log = house.get("/audit-log").await;
    let lines = log["results"].as_array().unwrap().iter();
    let refused: Vec<(&Value, &Value)> = lines
        .filter(|line| line["action"] == "access.refused" && line["outcome"] == "forbidden")
        .map(|line| (&line["actor"], &line["object"]))
        .collect();
    assert_eq!(refused.len(), 2, "{log}");
    assert_eq!(refused[1], (&json!(format!("person:{id}")), &json!("GET /people")));
    assert_eq!(refused[0].1, &json!("DELETE /dpc/v1/agents/{id}"));
}

#[test]
fn every_route_of_the_api_has_a_row_and_every_row_of_it_a_route() {
    let document = millrace_hub::openapi();
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            routes.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    let rows: Vec<String> = doors().iter().map(|door| format!("{} {}", door.method, door.path)).collect();
    let missing: Vec<&String> = routes.iter().filter(|route| !rows.contains(route)).collect();
    assert!(missing.is_empty(), "give these a row in web/access.rs: {missing:?}");
    let more = ["GET /openapi.json", "POST /oauth/token"];
    let stale: Vec<&String> = doors()
        .iter()
        .filter(|door| !is_console(door))
        .map(|door| format!("{} {}", door.method, door.path))
        .filter(|row| !routes.contains(row) && !more.contains(&row.as_str()))
        .map(|row| rows.iter().find(|other| **other == row).unwrap())
        .collect();
    assert!(stale.is_empty(), "no route of the API is called {stale:?}");
}

/// Routes in the console's table of contents; `router` cannot be asked for them.
#[test]
fn every_route_of_the_console_has_a_row() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web");
    let mut paths = Vec::new();
    for file in ["console.rs", "../web.rs"] {
        let text = std::fs::read_to_string(source.join(file)).unwrap();
        let routes = text.split(".route(").skip(1).filter_map(|part| part.trim_start().strip_prefix('"'));
        paths.extend(routes.map(|part| part.split('"').next().unwrap().to_owned()));
    }
    assert!(paths.len() > 40, "{paths:?}");
    for path in paths {
        assert!(doors().iter().any(|door| door.path == path), "give {path} a row in web/access.rs");
    }
}

fn table(text: &mut String, doors: &[&Door]) {
    text.push_str("| route | viewer | editor | owner |\n|---|---|---|---|\n");
    for door in doors {
        let cells = ROLES.map(|role| if may(door, role) { "yes" } else { "–" });
        writeln!(text, "| `{} {}` | {} |", door.method, door.path, cells.join(" | ")).unwrap();
    }
}

fn published() -> String {
    let all: Vec<&Door> = doors().iter().collect();
    let of = |wanted: &dyn Fn(&Door) -> bool| all.iter().copied().filter(|door| wanted(door)).collect::<Vec<_>>();
    let list = |text: &mut String, doors: Vec<&Door>| {
        for door in doors {
            writeln!(text, "- `{} {}`", door.method, door.path).unwrap();
        }
    };
    let mut text = String::from(
        "# Roles and routes\n\nWho may use which route of the hub. This page is made of the table that the hub itself goes by, and a test walks\nthrough all of it as everyone there is. What is not here opens for nobody.\n\n\
         People and API clients have one role in an account: a **viewer** looks, an **editor** also changes agents and\npipelines, an **owner** also changes people, API clients, projects and settings. What is another account's answers 404,\nwhatever the role. A refusal by role is 403 and stands in the audit log as `access.refused`.\n\n## The REST API\n\n\
         With an access token of an API client. The same paths are there below `/v1`. Without a token, with an agent's, or with a\nsession of the console the answer is 401.\n\n",
    );
    table(&mut text, &of(&is_api));
    text.push_str("\n## The console\n\nSigned in, with a session of one's own. Others are led to `/sign-in`.\n\n");
    table(&mut text, &of(&|door| is_console(door) && !["nothing", "login"].contains(&needs(door).as_str())));
    text.push_str("\n## Whoever is signed in\n\nAbout one's own login: whatever the role, and from wherever.\n\n");
    list(&mut text, of(&|door| needs(door) == "login"));
    text.push_str("\n## Agents\n\nWith the agent's own token, which opens nothing else.\n\n");
    list(&mut text, of(&|door| needs(door) == "agent"));
    text.push_str("\n## Everybody\n\n");
    list(&mut text, of(&|door| needs(door) == "nothing"));
    text
}

#[test]
fn the_published_table_is_that_of_the_program() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/roles.md");
    let text = published();
    if std::env::var_os("MILLRACE_WRITE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == text, "run this test with MILLRACE_WRITE=1 and look at what changes in docs/reference/roles.md");
}
