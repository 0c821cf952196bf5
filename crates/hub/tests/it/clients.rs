//! API clients and the account's settings, by API and by console.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::house::{House, PASSWORD, agent, fields, on_both_databases};
use crate::visitor::Visitor;

on_both_databases!(
    a_client_is_created_with_a_secret_shown_once_and_may_what_its_role_says,
    a_revoked_client_is_out_at_once_with_its_tokens,
    a_client_is_created_and_revoked_in_the_console,
    projects_are_created_and_renamed,
    the_account_is_renamed,
);

async fn a_client_is_created_with_a_secret_shown_once_and_may_what_its_role_says(house: House) {
    let made = house.expect(201, Method::POST, "/api-clients", Some(json!({"name": "report", "role": "viewer"}))).await;
    let (id, secret) = (made["clientId"].as_str().unwrap(), made["clientSecret"].as_str().unwrap());
    let path = format!("/api-clients/{id}");
    let unused = house.get(&path).await;
    assert!(unused["lastUsedAt"].is_null() && !unused.to_string().contains("mlr_"), "{unused}");
    let owner = house.token();
    house.use_token(&house.token_of(id, secret).await);
    house.get("/agents").await;
    house.expect(403, Method::POST, "/agents", Some(agent("north"))).await;
    house.expect(403, Method::GET, "/api-clients", None).await;
    house.use_token(&owner);
    let used = house.get(&path).await;
    assert_eq!((&used["role"], &used["lastAddress"]), (&json!("viewer"), &json!("127.0.0.1")), "{used}");
    assert!(used["lastUsedAt"].is_string());
    let listed = house.get("/api-clients").await;
    assert_eq!(listed["total"], 2);
    assert!(!listed.to_string().contains("mlr_"), "{listed}");
    let taken = house.expect(409, Method::POST, "/api-clients", Some(json!({"name": "report", "role": "owner"}))).await;
    assert_eq!(taken["code"], "name_taken");
    let wrong = json!({"name": " x", "role": "king", "scope": "all"});
    let refused = house.expect(400, Method::POST, "/api-clients", Some(wrong)).await;
    assert_eq!(fields(&refused), ["scope"]);
    let refused = house.expect(400, Method::POST, "/api-clients", Some(json!({"name": " x", "role": "king"}))).await;
    assert_eq!(fields(&refused), ["name", "role"]);
}

async fn a_revoked_client_is_out_at_once_with_its_tokens(house: House) {
    let made = house.expect(201, Method::POST, "/api-clients", Some(json!({"name": "report", "role": "owner"}))).await;
    let (id, secret) = (made["clientId"].as_str().unwrap(), made["clientSecret"].as_str().unwrap());
    let (owner, token) = (house.token(), house.token_of(id, secret).await);
    house.use_token(&token);
    let problem = house.expect(409, Method::DELETE, &format!("/api-clients/{id}"), None).await;
    assert_eq!(problem["code"], "own_client");
    house.use_token(&owner);
    house.expect(204, Method::DELETE, &format!("/api-clients/{id}"), None).await;
    house.expect(404, Method::DELETE, &format!("/api-clients/{id}"), None).await;
    assert_eq!(house.ask_for_token(id, secret).await.status(), 401);
    house.use_token(&token);
    house.expect(401, Method::GET, "/agents", None).await;
}

async fn a_client_is_created_and_revoked_in_the_console(house: House) {
    let owner = Visitor::owner(&house).await;
    let form = [("name", "terraform"), ("role", "editor")];
    let (status, _) = owner.send("/api-clients", &[&form[..], &[("password", "wrong")]].concat()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, page) = owner.send("/api-clients", &[&form[..], &[("password", PASSWORD)]].concat()).await;
    assert_eq!(status, StatusCode::OK);
    let secret = page.split("<code>").find(|part| part.starts_with("mlr_")).unwrap().split('<').next().unwrap();
    let listed = house.get("/api-clients").await;
    let made = listed["results"].as_array().unwrap().iter().find(|one| one["name"] == "terraform").unwrap();
    let id = made["clientId"].as_str().unwrap();
    house.token_of(id, secret).await;
    assert!(!owner.see("/api-clients").await.1.contains("mlr_"), "it is shown once");
    let path = format!("/api-clients/{id}/revoke");
    assert_eq!(owner.send(&path, &[("password", "wrong")]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(owner.send(&path, &[("password", PASSWORD)]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(house.ask_for_token(id, secret).await.status(), 401);
}

async fn projects_are_created_and_renamed(house: House) {
    let made = house.expect(201, Method::POST, "/projects", Some(json!({"name": "Finance"}))).await;
    let id = made["projectId"].as_str().unwrap();
    house.expect(409, Method::POST, "/projects", Some(json!({"name": "Finance"}))).await;
    house.expect(409, Method::PATCH, &format!("/projects/{id}"), Some(json!({"name": "Main"}))).await;
    house.expect(400, Method::POST, "/projects", Some(json!({"name": "a\u{0}b"}))).await;
    house.expect(200, Method::PATCH, &format!("/projects/{id}"), Some(json!({"name": "Money"}))).await;
    let owner = Visitor::owner(&house).await;
    let (status, _) = owner.send(&format!("/settings/projects/{id}"), &[("title", "Cash")]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (status, page) = owner.send("/settings/projects", &[("name", "Main")]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("is there already"), "{page}");
    let names = house.get("/projects").await;
    let names: Vec<_> = names["results"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["Main", "Cash"]);
}

async fn the_account_is_renamed(house: House) {
    let changed = house.expect(200, Method::PATCH, "/settings", Some(json!({"accountName": "Acme & Sons"}))).await;
    assert_eq!(changed["accountName"], "Acme & Sons");
    let owner = Visitor::owner(&house).await;
    assert!(owner.see("/settings").await.1.contains("Acme &#38; Sons"));
    assert_eq!(owner.send("/settings/name", &[("accountName", "Beta")]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(house.get("/settings").await["accountName"], "Beta");
    house.expect(400, Method::PATCH, "/settings", Some(json!({"accountName": ""}))).await;
}
