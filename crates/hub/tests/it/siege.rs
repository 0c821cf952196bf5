//! What nobody may use up, whoever asks: rows of the database, by guessing or by talking; and what is old is forgotten.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;

use crate::house::{House, on_both_databases};

on_both_databases!(
    guessing_from_one_address_is_counted_and_no_longer_written_down,
    what_is_older_than_it_is_kept_is_forgotten,
    a_sync_brings_no_more_events_than_the_hub_takes,
    names_that_cannot_be_seen_have_a_link_all_the_same,
);

async fn count(house: &House, sql: &'static str) -> i64 {
    let pool = house.database().await;
    let count = sqlx::query(sql).fetch_one(&pool).await.unwrap().get(0);
    pool.close().await;
    count
}

async fn guessing_from_one_address_is_counted_and_no_longer_written_down(house: House) {
    let mut statuses = Vec::new();
    for at in 0..100 {
        let name = if at % 2 == 0 { uuid::Uuid::new_v4().to_string() } else { "x".repeat(2_000) + &at.to_string() };
        statuses.push(house.ask_for_token(&name, "wrong").await.status().as_u16());
    }
    // Names that can be ours are each their own; of all others there is one.
    let let_through = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(let_through, 50, "{statuses:?}");
    assert!(statuses.ends_with(&[429; 10]), "{statuses:?}");
    let written = count(&house, "SELECT COUNT(*) FROM audit_log WHERE outcome = 'invalid_client'").await;
    assert_eq!(usize::try_from(written).unwrap(), let_through);
    // The console's guesses are counted apart, and who has the right secret never waits.
    house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await;
    house.clock.advance(Duration::from_secs(61));
    assert_eq!(house.ask_for_token("someone", "wrong").await.status(), 401);
}

async fn what_is_older_than_it_is_kept_is_forgotten(house: House) {
    let agent = house.new_agent("north").await;
    let (account, pool) = (house.set_up.account_id.clone(), house.database().await);
    let now = millrace_model::Clock::now(&*house.clock).0;
    let day = 24 * 3600 * 1_000_000_i64;
    for (table, days) in [("events", [29, 31]), ("commands", [6, 8]), ("audit_log", [390, 400])] {
        for days in days {
            let sql = match table {
                "events" => {
                    "INSERT INTO events (id, account_id, agent_id, at, received_at, severity, code, message, cure, fields) \
                     VALUES ($1, $2, $3, $4, $4, 'info', 'old', '', '', '{}')"
                }
                "commands" => {
                    "INSERT INTO commands (id, account_id, agent_id, kind, arguments, state, issued_by, issued_at, expires_at) \
                     VALUES ($1, $2, $3, 'old', '{}', 'queued', 'nobody', $4, $4)"
                }
                _ => {
                    "INSERT INTO audit_log (id, account_id, actor, at, address, action, object, detail, outcome) \
                     VALUES ($1, $2, $3, $4, '', 'old', '', '', 'done')"
                }
            };
            let insert = sqlx::query(sql).bind(format!("{table} {days}")).bind(&account).bind(&agent);
            insert.bind(now - days * day).execute(&pool).await.unwrap();
        }
    }
    pool.close().await;
    house.clock.advance(Duration::from_hours(2));
    let begun = std::time::Instant::now();
    let left = "SELECT (SELECT COUNT(*) FROM events WHERE code = 'old') + (SELECT COUNT(*) FROM commands WHERE kind = 'old') \
                + (SELECT COUNT(*) FROM audit_log WHERE action = 'old')";
    while count(&house, left).await > 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "what is old is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for kept in [
        "SELECT COUNT(*) FROM events WHERE id = 'events 29'",
        "SELECT COUNT(*) FROM commands WHERE id = 'commands 6'",
        "SELECT COUNT(*) FROM audit_log WHERE id = 'audit_log 390'",
    ] {
        assert_eq!(count(&house, kept).await, 1, "{kept}");
    }
}

async fn a_sync_brings_no_more_events_than_the_hub_takes(house: House) {
    let (_, token) = house.agent("north").await;
    let session = house.hello(&token).await;
    let event = |_| {
        json!({"id": uuid::Uuid::new_v4().to_string(), "at": "2026-01-01T00:00:00.000Z", "severity": "info",
            "code": "committed", "message": "", "cure": "", "fields": {}})
    };
    let sync = |events: Vec<Value>| json!({"sessionId": session, "sequence": 1, "sentAt": "2026-01-01T00:00:00.000Z", "waitMs": 0, "events": events});
    let (code, refused) = house.gateway(&token, "sync", sync((0..1_001).map(event).collect())).await;
    assert!(code == 400 && refused["violations"][0]["field"] == "events", "{refused}");
    assert_eq!(count(&house, "SELECT COUNT(*) FROM events").await, 0);
    assert_eq!(house.gateway(&token, "sync", sync((0..200).map(event).collect())).await.0, 200);
    assert_eq!(count(&house, "SELECT COUNT(*) FROM events").await, 200);
}

async fn names_that_cannot_be_seen_have_a_link_all_the_same(house: House) {
    let owner = crate::visitor::Visitor::owner(&house).await;
    for (at, name) in ["   ", "\u{200b}\u{200b}", "\n\n"].into_iter().enumerate() {
        let agent = house.new_agent(&format!("north {at}")).await;
        let path = house.new_pipeline(name, &agent).await;
        let link = format!("/pipelines/{}\"><bdi>(a name without letters)</bdi></a>", path.rsplit('/').next().unwrap());
        for page in ["/pipelines", "/agents", &format!("/agents/{agent}")] {
            let text = owner.see(page).await.1;
            assert!(text.contains(&link), "{name:?} at {page}: {text}");
        }
        house.expect(204, Method::DELETE, &path, None).await;
    }
    let agent = house.new_agent("north").await;
    house.new_pipeline("safe\u{202e}live", &agent).await;
    assert!(owner.see("/pipelines").await.1.contains("<bdi>safe\u{202e}live</bdi>"));
}
