//! A recipient that never answers.

use std::time::Duration;

use millrace_model::Clock;
use serde_json::json;
use tokio::net::TcpListener;

use crate::house::Kind;
use crate::notifications::{Receiver, house, report, started, webhook};

#[tokio::test]
async fn messages_to_one_that_never_answers_keep_nobody_elses_waiting() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let house = house(kind).await;
        let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (id, _) =
            webhook(&house, &format!("http://{}/hook", deaf.local_addr().unwrap()), json!(["recovered"])).await;
        let (receiver, url) = Receiver::start(&[]).await;
        webhook(&house, &url, json!(["pipeline_failed"])).await;
        let pool = house.database().await;
        let now = house.clock.now().0;
        for at in 0..2_000 {
            let sql = "INSERT INTO deliveries (id, recipient_id, body, created_at, attempts, due_at) VALUES ($1, $2, '{}', $3, 0, $3)";
            let query = sqlx::query(sql).bind(format!("waits {at}")).bind(&id).bind(now - 1_000_000);
            query.execute(&pool).await.unwrap();
        }
        pool.close().await;
        let (_, token, session, held) = started(&house, "shop").await;
        house.sync(&token, &session, report(&held, "NOT_RUNNING")).await;
        house.clock.advance(Duration::from_secs(5));
        receiver.wait_for(1).await;
    }
}
