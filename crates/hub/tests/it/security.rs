//! Items of `docs/reference/security.md` that no other test holds.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};

use crate::house::{House, Kind, OWNER, PASSWORD, on_both_databases};
use crate::visitor::{OTHER, Visitor, joined};

on_both_databases!(a_session_ends_without_a_click_and_after_half_a_day, logins_are_written_down_the_good_and_the_bad,);

#[tokio::test]
async fn with_https_every_answer_says_so_and_the_cookie_is_bound_to_its_host() {
    let house = House::set(Kind::Sqlite, |settings| settings.public_url = "https://hub.example.com".into()).await;
    for path in ["/dpc/v1/agents", "/sign-in", "/livez", "/assets/none/none", "/nothing/here", "/oauth/token"] {
        let answer = house.http.get(format!("{}{path}", house.url)).send().await.unwrap();
        let age = answer.headers()["strict-transport-security"].to_str().unwrap().to_owned();
        assert!(age.contains("max-age=31536000"), "{path}: {age}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        assert!(!answer.status().is_redirection(), "{path}");
    }
    let visitor = Visitor::new(&house);
    let answer = visitor.post("/sign-in", &[("email", OWNER), ("password", PASSWORD)]).await;
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    for part in ["__Host-millrace=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(set.contains(part), "{part}: {set}");
    }
}

#[tokio::test]
async fn an_address_without_a_login_takes_as_long_as_a_wrong_password() {
    let house = House::open(Kind::Sqlite).await;
    let visitor = Visitor::new(&house);
    let try_in = async |email: &str| {
        let begun = Instant::now();
        let answer = visitor.post("/sign-in", &[("email", email), ("password", "not the right one")]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        begun.elapsed()
    };
    try_in("somebody@example.com").await;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for at in 0..5 {
        known.push(try_in(OWNER).await);
        unknown.push(try_in(&format!("nobody{at}@example.com")).await);
    }
    known.sort();
    unknown.sort();
    // Without a hash to compute it would be a fiftieth of it.
    assert!(unknown[2] > known[2] / 3, "{unknown:?} against {known:?}");
}

async fn a_session_ends_without_a_click_and_after_half_a_day(house: House) {
    let visitor = Visitor::owner(&house).await;
    let minutes = |count: u64| Duration::from_secs(count * 60);
    house.clock.advance(minutes(29));
    assert!(visitor.is_in().await);
    house.clock.advance(minutes(31));
    assert!(!visitor.is_in().await);
    let busy = Visitor::owner(&house).await;
    for _ in 0..28 {
        house.clock.advance(minutes(25));
        assert!(busy.is_in().await);
    }
    house.clock.advance(minutes(25));
    assert!(!busy.is_in().await, "twelve hours are over, however busy");
    let mut again = Visitor::new(&house);
    again.sign_in().await;
    assert_ne!(again.cookie, busy.cookie, "each sign-in has an id of its own");
}

async fn logins_are_written_down_the_good_and_the_bad(house: House) {
    let (vera, id) = joined(&house, "vera@example.com", "viewer").await;
    for password in ["not the right one", OTHER] {
        vera.post("/sign-in", &[("email", "vera@example.com"), ("password", password)]).await;
    }
    vera.post("/sign-in", &[("email", "nobody\r\nat all"), ("password", "not the right one")]).await;
    let log = house.get("/audit-log?size=100").await;
    let lines = log["results"].as_array().unwrap().iter().filter(|line| line["action"] == "person.sign_in");
    let told: Vec<(String, &str)> =
        lines.map(|line| (line["actor"].as_str().unwrap().to_owned(), line["outcome"].as_str().unwrap())).collect();
    assert_eq!(told, [(format!("person:{id}"), "done"), (format!("person:{id}"), "refused")]);
    assert!(log["results"].as_array().unwrap().iter().all(|line| line["at"].as_str().unwrap().ends_with('Z')));
}

#[tokio::test]
async fn nothing_lies_about_that_helps_an_attacker() {
    let house = House::open(Kind::Sqlite).await;
    for path in [
        "/.git/config",
        "/.env",
        "/metrics",
        "/debug",
        "/server-status",
        "/hub.sqlite",
        "/hub.key",
        "/assets/../hub.key",
    ] {
        let answer = house.http.get(format!("{}{path}", house.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        for name in ["server", "x-powered-by"] {
            assert!(!answer.headers().contains_key(name), "{path}: {name}");
        }
    }
    let preflight = house.http.request(Method::OPTIONS, format!("{}/dpc/v1/agents", house.url));
    let answer = preflight.header("origin", "https://evil.example.com").send().await.unwrap();
    assert!(
        answer.headers().keys().all(|name| !name.as_str().starts_with("access-control-")),
        "no other site reads us"
    );
}

/// All Rust files below a folder, as one text.
fn all_code(folder: PathBuf) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &all_code(path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text += &std::fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn every_test_that_the_page_on_security_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/reference/security.md")).unwrap();
    let code = all_code(root.join("crates"));
    let names: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() > 3).collect();
    assert!(names.len() > 40, "{names:?}");
    let gone: Vec<&&str> = names.iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(gone.is_empty(), "{gone:?}");
}
