//! Where calls may come from: an account's console and API, and an agent's process.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::house::{House, PASSWORD, on_both_databases};
use crate::visitor::Visitor;

on_both_databases!(
    an_account_is_reached_from_its_addresses_only,
    nobody_shuts_themselves_out,
    an_agent_calls_from_its_addresses_only,
    a_list_is_changed_in_the_console_with_the_password,
);

/// Puts a list in place without asking, as it would stand after the caller has moved elsewhere.
async fn closed(house: &House, table: &str) {
    let pool = house.database().await;
    let sql = format!("UPDATE {table} SET allowed = '[\"203.0.113.0/24\"]'");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    pool.close().await;
}

async fn an_account_is_reached_from_its_addresses_only(house: House) {
    let list = json!(["127.0.0.0/8", "203.0.113.7", "2001:db8::/32"]);
    let kept = house.expect(200, Method::PATCH, "/settings", Some(json!({"allowedAddresses": list}))).await;
    assert_eq!(kept["allowedAddresses"], list);
    house.get("/agents").await;
    let owner = Visitor::owner(&house).await;
    closed(&house, "accounts").await;
    let problem = house.expect(403, Method::GET, "/agents", None).await;
    assert!(problem["detail"].as_str().unwrap().contains("127.0.0.1"), "{problem}");
    assert_eq!(owner.get("/agents").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(owner.post("/agents", &[]).await.status(), StatusCode::FORBIDDEN);
    // One's own login is not the account's: whoever is out may still sign out.
    assert_eq!(owner.get("/me").await.status(), StatusCode::OK);
    let pool = house.database().await;
    let sql = "SELECT COUNT(*) FROM audit_log WHERE action = 'address.refused' AND outcome = 'forbidden'";
    let count: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(count, 3);
}

async fn nobody_shuts_themselves_out(house: House) {
    let body = json!({"allowedAddresses": ["203.0.113.0/24"]});
    let problem = house.expect(409, Method::PATCH, "/settings", Some(body)).await;
    assert_eq!(problem["code"], "would_lock_out");
    assert!(problem["detail"].as_str().unwrap().contains("127.0.0.1"), "{problem}");
    let owner = Visitor::owner(&house).await;
    let form = [("allowedAddresses", "203.0.113.0/24\r\n10.0.0.0/8"), ("password", PASSWORD)];
    let (status, page) = owner.send("/settings/addresses", &form).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("lock you out") && page.contains("10.0.0.0/8"), "what was typed is kept: {page}");
    assert_eq!(house.get("/settings").await["allowedAddresses"], json!([]));
    for wrong in [json!(["example.com"]), json!("203.0.113.7"), json!([1]), json!(["1.2.3.4/33"])] {
        house.expect(400, Method::PATCH, "/settings", Some(json!({"allowedAddresses": wrong}))).await;
    }
}

async fn an_agent_calls_from_its_addresses_only(house: House) {
    let (id, token) = house.agent("north").await;
    let path = format!("/agents/{id}/allowed-addresses");
    let body = |list: &[&str], force: bool| Some(json!({"allowedAddresses": list, "force": force}));
    let problem = house.expect(409, Method::PUT, &path, body(&["203.0.113.0/24"], false)).await;
    assert_eq!(problem["code"], "would_lock_out");
    let kept = house.expect(200, Method::PUT, &path, body(&["127.0.0.1", "::1"], false)).await;
    assert_eq!((&kept["allowedAddresses"], &kept["lastAddress"]), (&json!(["127.0.0.1", "::1"]), &json!("127.0.0.1")));
    let session = house.hello(&token).await;
    house.expect(200, Method::PUT, &path, body(&["203.0.113.0/24"], true)).await;
    let sync = json!({"sessionId": session, "sequence": 1, "sentAt": "2026-01-01T00:00:00.000Z", "waitMs": 0});
    for _ in 0..2 {
        let (status, problem) = house.gateway(&token, "sync", sync.clone()).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
    }
    let log = house.get("/audit-log").await;
    let refused = log["results"].as_array().unwrap().iter().filter(|line| line["action"] == "address.refused");
    assert_eq!(refused.count(), 1, "an agent tries again and again: once a minute is enough");
    house.expect(200, Method::PUT, &path, body(&[], false)).await;
    house.sync(&token, &session, json!({})).await;
}

async fn a_list_is_changed_in_the_console_with_the_password(house: House) {
    let (id, _) = house.agent("north").await;
    let owner = Visitor::owner(&house).await;
    let path = format!("/agents/{id}/addresses");
    let form = [("allowedAddresses", "203.0.113.0/24")];
    let (status, page) = owner.send(&path, &[&form[..], &[("password", "wrong")]].concat()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(page.contains("203.0.113.0/24"));
    let (status, page) = owner.send(&path, &[&form[..], &[("password", PASSWORD)]].concat()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("shut the agent out") && page.contains("name=\"force\""), "{page}");
    let forced = [&form[..], &[("password", PASSWORD), ("force", "yes")]].concat();
    assert_eq!(owner.send(&path, &forced).await.0, StatusCode::SEE_OTHER);
    assert!(owner.see(&format!("/agents/{id}")).await.1.contains("203.0.113.0/24"));
    let here = [("allowedAddresses", "127.0.0.1, ::1"), ("password", PASSWORD)];
    assert_eq!(owner.send("/settings/addresses", &here).await.0, StatusCode::SEE_OTHER);
    assert_eq!(house.get("/settings").await["allowedAddresses"], json!(["127.0.0.1", "::1"]));
    closed(&house, "agents").await;
}
