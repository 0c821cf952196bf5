//! People of an account: roles, sessions, disabled, removed, and the owner who stays.

use millrace_hub::Smtp;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::house::{House, Kind, OWNER, PASSWORD, on_both_databases};
use crate::visitor::{OTHER, Visitor, joined, user};

on_both_databases!(
    a_role_is_changed_and_holds_at_once,
    all_sessions_of_someone_who_is_disabled_end_at_once,
    someone_who_is_removed_is_out_and_comes_back_by_a_new_invitation,
    the_last_owner_is_neither_removed_nor_disabled_nor_demoted,
    two_owners_cannot_take_each_others_role_at_once,
    a_role_change_and_a_removal_need_the_password_again,
    a_new_password_ends_all_other_sessions,
    one_looks_at_ones_own_sessions_and_ends_them,
    an_owner_ends_the_sessions_of_others,
    the_newest_invitation_counts_and_can_be_withdrawn,
    a_viewer_sees_what_was_done_to_agents_and_not_to_people,
    activity_is_filtered_and_leaves_out_tokens_that_were_given,
    a_pipeline_lists_what_was_done_to_it_and_to_nothing_else,
);

async fn a_role_is_changed_and_holds_at_once(house: House) {
    let (vera, id) = joined(&house, "vera@example.com", "viewer").await;
    assert_eq!(vera.get("/agents/new").await.status(), StatusCode::FORBIDDEN);
    let path = format!("/users/{id}");
    let changed = house.expect(200, Method::PATCH, &path, Some(json!({"role": "Editor"}))).await;
    assert_eq!((&changed["role"], &changed["disabled"]), (&json!("editor"), &json!(false)));
    assert_eq!(vera.get("/agents/new").await.status(), StatusCode::OK);
    let refused = house.expect(400, Method::PATCH, &path, Some(json!({"role": "king", "name": "x"}))).await;
    assert_eq!(crate::house::fields(&refused), ["role", "name"]);
    let (status, _) = Visitor::owner(&house)
        .await
        .send(&format!("/people/{id}/role"), &[("role", "viewer"), ("password", PASSWORD)])
        .await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(vera.get("/agents/new").await.status(), StatusCode::FORBIDDEN);
    let log = house.get("/audit-log").await;
    let line = log["results"].as_array().unwrap().iter().find(|line| line["action"] == "person.change_role").unwrap();
    assert_eq!(line["detail"], "editor to viewer");
}

async fn all_sessions_of_someone_who_is_disabled_end_at_once(house: House) {
    let (vera, id) = joined(&house, "vera@example.com", "owner").await;
    let mut again = Visitor::new(&house);
    again.sign_in_as("vera@example.com", OTHER).await;
    let (_, page) = vera.send("/people", &[("email", "back@example.com"), ("role", "owner")]).await;
    let back = format!("/join/{}", page.split_once("/join/").unwrap().1.split('<').next().unwrap());
    assert_eq!(again.get(&back).await.status(), StatusCode::OK);
    let owner = Visitor::owner(&house).await;
    let (status, page) = owner.send(&format!("/people/{id}/disable"), &[("password", PASSWORD)]).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
    assert!(!vera.is_in().await && !again.is_in().await);
    assert_eq!(again.get(&back).await.status(), StatusCode::NOT_FOUND, "no way back through an own invitation");
    let refused = again.post("/sign-in", &[("email", "vera@example.com"), ("password", OTHER)]).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(user(&house, "vera@example.com").await["disabled"], true);
    assert!(owner.is_in().await);
    let (status, _) = owner.send(&format!("/people/{id}/enable"), &[]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    again.sign_in_as("vera@example.com", OTHER).await;
    assert!(!vera.is_in().await, "a session that has ended stays so");
}

async fn someone_who_is_removed_is_out_and_comes_back_by_a_new_invitation(house: House) {
    let (vera, id) = joined(&house, "vera@example.com", "editor").await;
    house.expect(204, Method::DELETE, &format!("/users/{id}"), None).await;
    house.expect(404, Method::DELETE, &format!("/users/{id}"), None).await;
    house.expect(404, Method::GET, &format!("/users/{id}"), None).await;
    assert!(!vera.is_in().await);
    let refused = vera.post("/sign-in", &[("email", "vera@example.com"), ("password", OTHER)]).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let asked = json!({"email": "vera@example.com", "role": "viewer"});
    let invited = house.expect(201, Method::POST, "/users", Some(asked)).await;
    let url = invited["joinUrl"].as_str().unwrap();
    let link = &url[url.find("/join/").unwrap()..];
    let back = vera.post(link, &[("password", "quite another set of words")]).await;
    assert_eq!(back.status(), StatusCode::SEE_OTHER);
    let (_, page) = Visitor::owner(&house).await.see("/activity").await;
    assert!(page.contains("vera@example.com"), "those who left keep their name");
    assert_eq!(user(&house, "vera@example.com").await["userId"], json!(id));
}

async fn the_last_owner_is_neither_removed_nor_disabled_nor_demoted(house: House) {
    let id = user(&house, OWNER).await["userId"].as_str().unwrap().to_owned();
    let path = format!("/users/{id}");
    for change in [json!({"role": "editor"}), json!({"disabled": true})] {
        let problem = house.expect(409, Method::PATCH, &path, Some(change)).await;
        assert_eq!(problem["code"], "last_owner");
    }
    house.expect(409, Method::DELETE, &path, None).await;
    // An owner who is disabled is none.
    let (_, other) = joined(&house, "vera@example.com", "owner").await;
    house.expect(200, Method::PATCH, &format!("/users/{other}"), Some(json!({"disabled": true}))).await;
    house.expect(409, Method::DELETE, &path, None).await;
    let owner = Visitor::owner(&house).await;
    let (status, page) = owner.send(&format!("/people/{id}/remove"), &[("password", PASSWORD)]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(page.contains("left without an owner"), "{page}");
    house.expect(200, Method::PATCH, &format!("/users/{other}"), Some(json!({"disabled": false}))).await;
    house.expect(200, Method::PATCH, &path, Some(json!({"role": "editor"}))).await;
    house.expect(409, Method::DELETE, &format!("/users/{other}"), None).await;
    house.expect(204, Method::DELETE, &path, None).await;
}

async fn two_owners_cannot_take_each_others_role_at_once(house: House) {
    let (vera, other) = joined(&house, "vera@example.com", "owner").await;
    let own = user(&house, OWNER).await["userId"].as_str().unwrap().to_owned();
    let owner = Visitor::owner(&house).await;
    let (of_other, of_own) = (format!("/people/{other}/role"), format!("/people/{own}/role"));
    let mine = [("role", "viewer"), ("password", PASSWORD)];
    let hers = [("role", "viewer"), ("password", OTHER)];
    tokio::join!(owner.send(&of_other, &mine), vera.send(&of_own, &hers));
    let users = house.get("/users").await;
    let owners = users["results"].as_array().unwrap().iter().filter(|user| user["role"] == "owner").count();
    assert_eq!(owners, 1, "{users}");
}

async fn a_role_change_and_a_removal_need_the_password_again(house: House) {
    let (vera, id) = joined(&house, "vera@example.com", "viewer").await;
    let owner = Visitor::owner(&house).await;
    for (path, more) in [("role", &[("role", "owner")][..]), ("disable", &[]), ("remove", &[])] {
        for password in ["", OTHER] {
            let fields = [more, &[("password", password)]].concat();
            let (status, page) = owner.send(&format!("/people/{id}/{path}"), &fields).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(page.contains("The password is not yours"), "{page}");
        }
    }
    let unchanged = user(&house, "vera@example.com").await;
    assert_eq!((&unchanged["role"], &unchanged["disabled"]), (&json!("viewer"), &json!(false)));
    assert!(vera.is_in().await);
}

async fn a_new_password_ends_all_other_sessions(house: House) {
    let (vera, _) = joined(&house, "vera@example.com", "viewer").await;
    let mut other = Visitor::new(&house);
    other.sign_in_as("vera@example.com", OTHER).await;
    let new = "words nobody has thought of";
    for (given, wanted, said) in [
        ("not the right one", new, "not yours"),
        (OTHER, "short", "at least 12"),
        (OTHER, "vera@example.com", "easy to guess"),
        (OTHER, OTHER, "another one"),
    ] {
        let (status, page) = vera.send("/me/password", &[("password", given), ("new", wanted)]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wanted}");
        assert!(page.contains(said), "{said}: {page}");
    }
    let (status, _) = vera.send("/me/password", &[("password", OTHER), ("new", new)]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(vera.is_in().await && !other.is_in().await);
    let refused = other.post("/sign-in", &[("email", "vera@example.com"), ("password", OTHER)]).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    other.sign_in_as("vera@example.com", new).await;
}

/// Values of the buttons that end a session.
fn ends(page: &str) -> Vec<String> {
    let parts = page.split("name=\"session\" value=\"").skip(1);
    parts.map(|part| part.split('"').next().unwrap().to_owned()).filter(|id| id != "others").collect()
}

async fn one_looks_at_ones_own_sessions_and_ends_them(house: House) {
    let (vera, _) = joined(&house, "vera@example.com", "viewer").await;
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut other = Visitor::new(&house);
        other.sign_in_as("vera@example.com", OTHER).await;
        others.push(other);
    }
    let owner = Visitor::owner(&house).await;
    let (_, page) = vera.see("/me").await;
    let listed = ends(&page);
    assert_eq!(listed.len(), 2, "{page}");
    assert!(page.contains("127.0.0.1") && page.contains("this one"));
    // Nobody ends the session of someone else here.
    let (status, _) = owner.send("/me/sessions", &[("session", &listed[0])]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = vera.send("/me/sessions", &[("session", &listed[0])]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(usize::from(others[0].is_in().await) + usize::from(others[1].is_in().await), 1);
    vera.send("/me/sessions", &[("session", "others")]).await;
    assert!(vera.is_in().await && !others[0].is_in().await && !others[1].is_in().await && owner.is_in().await);
}

async fn an_owner_ends_the_sessions_of_others(house: House) {
    let (vera, id) = joined(&house, "vera@example.com", "viewer").await;
    let owner = Visitor::owner(&house).await;
    assert!(owner.see(&format!("/people/{id}")).await.1.contains("End all sessions"));
    let (status, _) = owner.send(&format!("/people/{id}/sessions"), &[]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(!vera.is_in().await && owner.is_in().await);
    assert!(owner.see(&format!("/people/{id}")).await.1.contains("not signed in"));
}

async fn the_newest_invitation_counts_and_can_be_withdrawn(house: House) {
    let invite = async || {
        let asked = json!({"email": "Vera@example.com", "role": "viewer"});
        let invited = house.expect(201, Method::POST, "/users", Some(asked)).await;
        let url = invited["joinUrl"].as_str().unwrap().to_owned();
        url[url.find("/join/").unwrap()..].to_owned()
    };
    let (first, second) = (invite().await, invite().await);
    let visitor = Visitor::new(&house);
    assert_eq!(visitor.get(&first).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(visitor.get(&second).await.status(), StatusCode::OK);
    let owner = Visitor::owner(&house).await;
    let (status, _) = owner.send("/people/withdraw", &[("email", "vera@example.com")]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(visitor.get(&second).await.status(), StatusCode::NOT_FOUND);
    let problem = house.expect(409, Method::POST, "/users", Some(json!({"email": OWNER, "role": "viewer"}))).await;
    assert_eq!(problem["code"], "is_member");
}

async fn a_viewer_sees_what_was_done_to_agents_and_not_to_people(house: House) {
    house.new_agent("north").await;
    let (vera, _) = joined(&house, "vera@example.com", "viewer").await;
    let (_, page) = vera.see("/activity").await;
    assert!(page.contains("Create agent") && !page.contains("127.0.0.1") && !page.contains("Issue token"), "{page}");
    assert!(!page.contains(OWNER), "nobody is named whose deeds are not shown: {page}");
    let (_, page) = vera.see("/activity?action=all").await;
    assert!(!page.contains("Issue token"), "{page}");
    let owner = Visitor::owner(&house).await;
    let (_, page) = owner.see("/activity").await;
    assert!(page.contains("Join") && page.contains("127.0.0.1"), "{page}");
}

async fn a_pipeline_lists_what_was_done_to_it_and_to_nothing_else(house: House) {
    let (north, south) = (house.new_agent("north").await, house.new_agent("south").await);
    let path = house.new_pipeline("shop", &north).await;
    house.new_pipeline("other", &south).await;
    house.command(&path, "START").await;
    for _ in 0..25 {
        house.command(&path, "STOP").await;
        house.command(&path, "START").await;
    }
    let of = format!("/pipelines/{}/activity", path.rsplit('/').next().unwrap());
    let owner = Visitor::owner(&house).await;
    let body = |page: &str| page.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0.to_owned();
    let (_, newest) = owner.see(&of).await;
    let (before, _) = newest.split_once("\">Earlier</a>").expect("52 lines are two pages");
    let link = before.rsplit_once("href=\"").unwrap().1;
    let (_, earlier) = owner.see(&format!("{of}{link}")).await;
    let all = format!("{}{}", body(&newest), body(&earlier));
    let counted = ["Create pipeline", "Start pipeline", "Stop pipeline", "<tr>"].map(|word| all.matches(word).count());
    assert_eq!(counted, [1, 26, 25, 52], "{all}");
    assert!(all.contains("(API client)") && all.contains("127.0.0.1"), "{all}");
    // Whoever only looks is told who, and not from where.
    let (vera, _) = joined(&house, "vera@example.com", "viewer").await;
    let (_, page) = vera.see(&of).await;
    assert!(body(&page).contains("Start pipeline") && !body(&page).contains("127.0.0.1"), "{page}");
}

#[tokio::test]
async fn activity_calls_what_was_done_by_its_name() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let smtp = Smtp { url: "smtp://127.0.0.1:1".into(), from: "Millrace <millrace@example.com>".into() };
        named_in_activity(House::set(kind, |settings| settings.smtp = Some(smtp)).await).await;
    }
}

async fn named_in_activity(house: House) {
    house.expect(201, Method::POST, "/projects", Some(json!({"name": "Finance"}))).await;
    let hook = json!({"url": "https://hooks.example.com/path-that-is-a-secret", "events": ["recovered"]});
    house.expect(201, Method::POST, "/webhooks", Some(hook)).await;
    let mail = json!({"email": "ops@example.com", "events": ["recovered"]});
    house.expect(201, Method::POST, "/email-recipients", Some(mail)).await;
    house.expect(200, Method::PATCH, "/settings", Some(json!({"accountName": "Acme and sons"}))).await;
    let owner = Visitor::owner(&house).await;
    for (kind, shown, name) in [
        ("project", "Projects", "Finance"),
        ("webhook", "Webhooks", "hooks.example.com"),
        ("email", "E-mail recipients", "ops@example.com"),
        ("account", "Account", "Acme and sons"),
    ] {
        let (_, page) = owner.see(&format!("/activity?action={kind}")).await;
        let body = page.split_once("<tbody>").expect("something was done").1;
        assert!(body.contains(&format!(">{name}</td>")), "{kind}: {body}");
        assert!(!page.contains("path-that-is-a-secret"), "{page}");
        assert!(page.contains(&format!("selected>{shown}<")), "{page}");
    }
}

async fn activity_is_filtered_and_leaves_out_tokens_that_were_given(house: House) {
    house.new_agent("north").await;
    house.ask_for_token(&house.set_up.client_id, "wrong").await;
    let owner = Visitor::owner(&house).await;
    let rows = async |query: &str| {
        let (_, page) = owner.see(&format!("/activity{query}")).await;
        let body = page.split_once("<tbody>").map_or(String::new(), |(_, body)| body.to_owned());
        ["Create agent", "Sign in", "Issue token", "invalid_client"].map(|word| body.contains(word))
    };
    // A refused one is worth a line, one that was given is not.
    assert_eq!(rows("").await, [true, true, true, true]);
    assert_eq!(rows("?action=all").await, [true, true, true, true]);
    assert_eq!(rows("?action=agent").await, [true, false, false, false]);
    assert_eq!(rows("?action=agent.create").await, [true, false, false, false]);
    let client = format!("client%3A{}", house.set_up.client_id);
    assert_eq!(rows(&format!("?actor={client}")).await, [true, false, false, false]);
    assert_eq!(rows(&format!("?actor={client}&action=token")).await, [false, false, true, false]);
    // Who shows a wrong secret is not that client.
    assert_eq!(rows("?actor=unknown").await, [false, false, true, true]);
    assert_eq!(rows("?actor=hub&action=person").await, [false; 4]);
    let given = async |query: &str| owner.see(&format!("/activity{query}")).await.1.matches("Issue token").count();
    assert_eq!((given("").await, given("?action=all").await), (1, 2));
    // Every page of a filtered list is filtered.
    for number in 0..55 {
        house.new_agent(&format!("agent {number}")).await;
    }
    let (_, page) = owner.see("/activity?action=agent").await;
    let link = |page: &str, word: &str| {
        let before = page.split_once(&format!("\">{word}</a>")).map(|(before, _)| before.to_owned())?;
        before.rsplit_once("href=\"").map(|(_, link)| link.replace("&#38;", "&"))
    };
    let earlier = link(&page, "Earlier").expect("there is more");
    assert!(earlier.starts_with("?action=agent&after="), "{earlier}");
    // What is done meanwhile moves nothing: the next page begins after the last line of the one before.
    let body = |page: &str| page.split_once("<tbody>").unwrap().1.to_owned();
    house.new_agent("agent 99").await;
    let (_, next) = owner.see(&format!("/activity{earlier}")).await;
    let seen = (0..55).filter(|number| {
        let cell = format!(">agent {number}</a>");
        assert!(!(body(&page).contains(&cell) && body(&next).contains(&cell)), "agent {number} is on both");
        body(&page).contains(&cell) || body(&next).contains(&cell)
    });
    assert_eq!(seen.count(), 55);
    assert_eq!((link(&next, "Earlier"), link(&next, "Newest").as_deref()), (None, Some("?action=agent")));
}
