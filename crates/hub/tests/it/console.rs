//! The console by a plain HTTP client: who gets in, what comes back, and what is refused.

use millrace_hub::{Hub, Settings};
use reqwest::StatusCode;
use std::sync::Arc;

use crate::house::{House, Kind, OWNER, PASSWORD, TestClock};
use crate::visitor::Visitor;

#[tokio::test]
async fn nobody_sees_a_page_without_signing_in_and_a_wrong_password_says_nothing_of_the_address() {
    let house = House::open(Kind::Sqlite).await;
    let mut visitor = Visitor::new(&house);
    for path in ["/", "/agents", "/agents/new", "/pipelines", "/pipelines/new", "/activity", "/people"] {
        let answer = visitor.get(path).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}");
        assert!(answer.headers()["location"].to_str().unwrap().starts_with("/sign-in"), "{path}");
    }
    let mut said = Vec::new();
    for email in [OWNER, "nobody@example.com"] {
        let answer = visitor.post("/sign-in", &[("email", email), ("password", "not the right one")]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        said.push(answer.text().await.unwrap().replace(email, ""));
    }
    assert_eq!(said[0], said[1]);
    visitor.sign_in().await;
    assert_eq!(visitor.get("/agents").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn guessing_is_slowed_down_after_ten_failures() {
    let house = House::open(Kind::Sqlite).await;
    let visitor = Visitor::new(&house);
    for _ in 0..10 {
        let answer = visitor.post("/sign-in", &[("email", OWNER), ("password", "not the right one")]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    // Also for who knows the password: else the answer would tell.
    let answer = visitor.post("/sign-in", &[("email", OWNER), ("password", PASSWORD)]).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn who_guesses_at_once_gets_no_more_answers_than_who_guesses_in_turn() {
    let house = House::open(Kind::Sqlite).await;
    let visitor = Visitor::new(&house);
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let guess = visitor.http.post(format!("{}/sign-in", house.url)).header("sec-fetch-site", "same-origin");
        guesses.spawn(guess.form(&[("email", OWNER), ("password", "not the right one")]).send());
    }
    let answers: Vec<StatusCode> = guesses.join_all().await.into_iter().map(|sent| sent.unwrap().status()).collect();
    let count = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(StatusCode::UNAUTHORIZED), count(StatusCode::TOO_MANY_REQUESTS)), (10, 30));
}

#[tokio::test]
async fn an_agent_is_removed_with_its_name_and_the_password() {
    let house = House::open(Kind::Sqlite).await;
    let owner = Visitor::owner(&house).await;
    let id = house.new_agent("north").await;
    let path = format!("/agents/{id}/remove");
    for (typed, password, status) in [
        ("nort", PASSWORD, StatusCode::BAD_REQUEST),
        ("north", "not the right one", StatusCode::UNAUTHORIZED),
        ("north", PASSWORD, StatusCode::SEE_OTHER),
    ] {
        assert_eq!(house.get("/agents").await["total"], 1);
        assert_eq!(owner.send(&path, &[("confirmation", typed), ("password", password)]).await.0, status);
    }
    assert_eq!(house.get("/agents").await["total"], 0);
}

#[tokio::test]
async fn a_form_needs_the_token_of_its_session_and_must_come_from_this_site() {
    let house = House::open(Kind::Sqlite).await;
    let mut visitor = Visitor::new(&house);
    visitor.sign_in().await;
    let agent = [("name", "north"), ("cloudProvider", "aws"), ("deployment", "fargate")];
    assert_eq!(visitor.post("/agents", &agent).await.status(), StatusCode::FORBIDDEN);
    let token = visitor.token().await;
    let whole = [&agent[..], &[("token", token.as_str())]].concat();
    for site in ["cross-site", "same-site"] {
        let request = visitor.http.post(format!("{}/agents", house.url)).header("cookie", &visitor.cookie);
        let answer = request.header("sec-fetch-site", site).form(&whole).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{site}");
    }
    let request = visitor.http.post(format!("{}/agents", house.url)).header("cookie", &visitor.cookie);
    assert_eq!(request.form(&whole).send().await.unwrap().status(), StatusCode::FORBIDDEN, "from nowhere");
    assert_eq!(visitor.post("/agents", &whole).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_a_browser_in_line() {
    let house = House::open(Kind::Sqlite).await;
    let mut visitor = Visitor::new(&house);
    visitor.sign_in().await;
    for path in ["/agents", "/sign-in", "/agents/none", "/join/none", "/agents/new"] {
        let answer = visitor.get(path).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        let page = answer.text().await.unwrap();
        for inline in [" style=", " onclick=", "<style", "<script>"] {
            assert!(!page.contains(inline), "{path} has {inline}");
        }
    }
}

#[tokio::test]
async fn signing_out_ends_the_session_itself_not_only_the_cookie() {
    let house = House::open(Kind::Sqlite).await;
    let mut visitor = Visitor::new(&house);
    visitor.sign_in().await;
    let token = visitor.token().await;
    assert_eq!(visitor.post("/sign-out", &[("token", &token)]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(visitor.get("/agents").await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn someone_who_is_invited_joins_once_and_may_do_what_the_role_says() {
    let house = House::open(Kind::Sqlite).await;
    let mut owner = Visitor::new(&house);
    owner.sign_in().await;
    let token = owner.token().await;
    let page = owner.post("/people", &[("token", &token), ("email", "vera@example.com"), ("role", "viewer")]).await;
    let page = page.text().await.unwrap();
    let (_, rest) = page.split_once("/join/").expect("the link is shown");
    let link = format!("/join/{}", rest.split('<').next().unwrap());
    let mut viewer = Visitor::new(&house);
    let refused = viewer.post(&link, &[("password", "short")]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let joined = viewer.post(&link, &[("password", "four words that differ")]).await;
    assert_eq!(joined.status(), StatusCode::SEE_OTHER);
    viewer.cookie = joined.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(viewer.post(&link, &[("password", "four words that differ")]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(viewer.get("/agents").await.status(), StatusCode::OK);
    assert_eq!(viewer.get("/people").await.status(), StatusCode::FORBIDDEN);
    let token = viewer.token().await;
    let agent = [("token", token.as_str()), ("name", "x"), ("cloudProvider", "aws"), ("deployment", "eks")];
    assert_eq!(viewer.post("/agents", &agent).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_empty_hub_is_set_up_by_the_link_in_its_log_once() {
    // No house has done it, where this test is the first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new("127.0.0.1:0", folder.path());
    let link = millrace_hub::setup_link(settings.clone(), Arc::new(TestClock::default()))
        .await
        .unwrap()
        .expect("nobody is there");
    let path = &link[link.find("/join/").unwrap()..];
    let hub = Hub::open(settings.clone(), Arc::new(TestClock::default())).await.unwrap();
    let url = format!("http://{}", hub.address().unwrap());
    let served = tokio::spawn(hub.serve(std::future::pending()));
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let form = [("account", "Acme"), ("email", "Ann@Example.com"), ("password", PASSWORD)];
    let send = || http.post(format!("{url}{path}")).header("sec-fetch-site", "same-origin").form(&form).send();
    assert_eq!(send().await.unwrap().status(), StatusCode::SEE_OTHER);
    assert_eq!(send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let sign_in = [("email", "ann@example.com"), ("password", PASSWORD)];
    let answer = http.post(format!("{url}/sign-in")).header("sec-fetch-site", "same-origin").form(&sign_in).send();
    assert_eq!(answer.await.unwrap().status(), StatusCode::SEE_OTHER);
    assert_eq!(millrace_hub::setup_link(settings, Arc::new(TestClock::default())).await.unwrap(), None);
    served.abort();
}
