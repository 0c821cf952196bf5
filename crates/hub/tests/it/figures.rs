//! Figures over time: what agents report is kept, added up by the quarter of an hour, and read back.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, fields, on_both_databases};
use crate::visitor::Visitor;

on_both_databases!(
    what_an_agent_reports_is_read_back_as_rates_and_sums,
    a_restart_of_the_agent_makes_no_negative_rate_and_loses_no_row,
    quarters_of_an_hour_outlive_their_samples,
    figures_that_cannot_be_added_up_keep_nobody_elses_back,
    an_agent_writes_figures_of_its_own_pipeline_only,
    a_range_that_is_no_range_is_refused_and_a_wide_one_is_answered_in_wide_steps,
    the_console_draws_what_was_reported_in_any_range_and_as_a_table,
    times_are_in_utc_or_by_the_clock_of_whoever_looks,
);

/// A started pipeline, its agent, and a way to report for it.
struct Flow {
    agent: String,
    token: String,
    session: String,
    path: String,
    held: Value,
}

impl Flow {
    async fn open(house: &House, name: &str) -> Self {
        let (agent, token) = house.agent(name).await;
        let path = house.new_pipeline(name, &agent).await;
        house.command(&path, "START").await;
        let session = house.hello(&token).await;
        let told = house.sync(&token, &session, json!({})).await;
        let mut held = told["desired"]["pipeline"].clone();
        for member in ["spec", "defaultName", "newLake"] {
            held.as_object_mut().unwrap().remove(member);
        }
        Self { agent, token, session, path, held }
    }

    /// So many rows were written by a run that began at `since`.
    async fn report(&self, house: &House, since: &str, rows: u64) {
        let held = &self.held;
        let report = json!({"pipelineId": held["pipelineId"], "status": "STREAMING", "since": since,
            "revision": held["revision"], "wish": held["wish"], "epoch": held["epoch"], "countedSince": since,
            "figures": {"lag_seconds": 1.5, "rows_written_total": rows, "bytes_written_total": rows * 100,
                "commit_duration_seconds_count": rows / 10, "commit_duration_seconds_sum": 0.02 * (rows / 10) as f64,
                "changes_total": {"create": rows / 2, "update": rows / 2, "delete": 0, "truncate": 0, "read": 0}}});
        let process = json!({"since": since, "memoryBytes": 90_000_000, "cpuMilliseconds": rows});
        // A condition that is another one each time is news: what is news is written down before the answer.
        let news = json!([{"kind": "test", "message": rows.to_string(), "since": since}]);
        let body = json!({"held": held, "report": report, "process": process, "conditions": news});
        house.sync(&self.token, &self.session, body).await;
    }

    async fn metrics(&self, house: &House, query: &str) -> Value {
        house.get(&format!("{}/metrics{query}", self.path)).await
    }
}

fn now(house: &House) -> String {
    use millrace_model::Clock;
    house.clock.now().to_string()
}

fn known(metrics: &Value, name: &str) -> Vec<f64> {
    let points = metrics["points"].as_array().unwrap();
    points.iter().filter_map(|point| point[name].as_f64()).collect()
}

async fn what_an_agent_reports_is_read_back_as_rates_and_sums(house: House) {
    let flow = Flow::open(&house, "shop").await;
    let since = now(&house);
    for step in 0..=10 {
        flow.report(&house, &since, step * 1_000).await;
        // Twice within ten seconds is one sample.
        flow.report(&house, &since, step * 1_000 + 1).await;
        house.clock.advance(Duration::from_secs(20));
    }
    let metrics = flow.metrics(&house, "?step=20").await;
    assert_eq!((&metrics["stepSeconds"], &metrics["resolutionSeconds"]), (&json!(20), &json!(10)));
    let rates = known(&metrics, "rowsPerSecond");
    // 1,000 rows in 20 s by the hub's clock, and in whatever the machine takes beside.
    assert!(rates.len() >= 10 && rates.iter().all(|rate| (10.0..51.0).contains(rate)), "{rates:?}");
    assert!(known(&metrics, "lagSeconds").iter().all(|lag| *lag == 1.5), "{metrics}");
    assert!(known(&metrics, "commitSeconds").iter().all(|took| *took == 0.02), "{metrics}");
    let total = &metrics["total"];
    assert_eq!(
        (&total["rows"], &total["inserts"], &total["bytes"]),
        (&json!(10_000), &json!(5_000), &json!(1_000_000))
    );
    assert_eq!(metrics["runs"].as_array().unwrap().len(), 1);
    let agent = house.get(&format!("/agents/{}/metrics?step=20", flow.agent)).await;
    assert!(known(&agent, "memoryBytes").iter().all(|bytes| *bytes == 90_000_000.0), "{agent}");
    assert!(known(&agent, "cpu").iter().all(|cpu| (0.01..0.051).contains(cpu)), "{agent}");
    // Whoever belongs to another account sees nothing.
    house.use_token(&house.client("owner", false).await.token);
    house.expect(404, Method::GET, &format!("{}/metrics", flow.path), None).await;
    house.expect(404, Method::GET, &format!("/agents/{}/metrics", flow.agent), None).await;
}

async fn a_restart_of_the_agent_makes_no_negative_rate_and_loses_no_row(house: House) {
    let flow = Flow::open(&house, "shop").await;
    let mut all = 0;
    for run in 1..=3 {
        let since = now(&house);
        for step in 1..=3 {
            house.clock.advance(Duration::from_secs(15));
            flow.report(&house, &since, step * 500 * run).await;
        }
        all += 1_500 * run;
    }
    let metrics = flow.metrics(&house, "").await;
    assert_eq!((&metrics["total"]["rows"], metrics["runs"].as_array().unwrap().len()), (&json!(all), 3), "{metrics}");
    let rates = known(&metrics, "rowsPerSecond");
    assert!(rates.iter().all(|rate| (0.0..=101.0).contains(rate)), "{rates:?}");
}

async fn count(pool: &sqlx::AnyPool, table: &str) -> i64 {
    use sqlx::Row;
    let sql = format!("SELECT COUNT(*) AS total FROM {table}");
    sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.unwrap().get("total")
}

async fn quarters_of_an_hour_outlive_their_samples(house: House) {
    let mut flow = Flow::open(&house, "shop").await;
    let (since, credentials) = (now(&house), house.get(&format!("/agents/{}/credentials", flow.agent)).await);
    let text = |name: &str| credentials[name].as_str().unwrap().to_owned();
    for step in 0..=4 {
        flow.token = house.token_of(&text("clientId"), &text("clientSecret")).await;
        flow.report(&house, &since, step * 9_000).await;
        house.clock.advance(Duration::from_mins(15));
    }
    house.clock.advance(Duration::from_hours(72));
    house.use_token(&house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await);
    // Within a second by the hub's clock they are added up, and what is older than two days is forgotten.
    let pool = house.database().await;
    while count(&pool, "samples").await > 0 {
        tokio::task::yield_now().await;
    }
    // Of the pipeline and of the agent's process.
    assert_eq!(count(&pool, "sample_quarters").await, 10);
    let metrics = flow.metrics(&house, &format!("?from={since}&step=60")).await;
    assert_eq!((&metrics["stepSeconds"], &metrics["resolutionSeconds"]), (&json!(900), &json!(900)));
    assert_eq!(metrics["total"]["rows"], 36_000, "{metrics}");
    let rates = known(&metrics, "rowsPerSecond");
    assert!(!rates.is_empty() && rates.iter().all(|rate| (9.0..11.0).contains(rate)), "{rates:?}");
    pool.close().await;
}

async fn figures_that_cannot_be_added_up_keep_nobody_elses_back(house: House) {
    let (absurd, sound) = (Flow::open(&house, "absurd").await, Flow::open(&house, "sound").await);
    let since = now(&house);
    for flow in [&absurd, &sound] {
        flow.report(&house, &since, 9_000).await;
    }
    let pool = house.database().await;
    let more = "INSERT INTO samples SELECT series, at + 1, run, lag_us, retained, memory, row_count, byte_count, inserts, \
         updates, deletes, truncates, reads, commits, commit_us, cpu_ms FROM samples WHERE series = $1";
    let id = uuid::Uuid::parse_str(absurd.held["pipelineId"].as_str().unwrap()).unwrap();
    let series = (id.as_u64_pair().1 & (u64::MAX >> 2)) as i64;
    sqlx::query(more).bind(series).execute(&pool).await.unwrap();
    let most = "UPDATE samples SET lag_us = 9223372036854775807 WHERE series = $1";
    assert_eq!(sqlx::query(most).bind(series).execute(&pool).await.unwrap().rows_affected(), 2);
    house.clock.advance(Duration::from_mins(31));
    // Of the other pipeline and of both processes.
    let begun = std::time::Instant::now();
    while count(&pool, "sample_quarters").await < 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} are added up", count(&pool, "sample_quarters").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pool.close().await;
}

async fn an_agent_writes_figures_of_its_own_pipeline_only(house: House) {
    let (mine, theirs) = (Flow::open(&house, "mine").await, Flow::open(&house, "theirs").await);
    let since = now(&house);
    let thief = Flow { held: theirs.held.clone(), path: theirs.path.clone(), ..mine };
    house.clock.advance(Duration::from_secs(15));
    thief.report(&house, &since, 5_000).await;
    assert_eq!(theirs.metrics(&house, "").await["total"]["rows"], 0);
    theirs.report(&house, &since, 70).await;
    assert_eq!(theirs.metrics(&house, "").await["total"]["rows"], 70);
}

async fn a_range_that_is_no_range_is_refused_and_a_wide_one_is_answered_in_wide_steps(house: House) {
    let flow = Flow::open(&house, "shop").await;
    for (query, field) in [("from=yesterday", "from"), ("to=2026-02-30T00:00:00Z", "to"), ("step=0", "step")] {
        let refused = house.expect(400, Method::GET, &format!("{}/metrics?{query}", flow.path), None).await;
        assert_eq!(fields(&refused), [field]);
    }
    let wide = flow.metrics(&house, "?from=1999-01-01T00:00:00%2B02:00&step=10").await;
    let points = wide["points"].as_array().unwrap().len();
    assert!((300..=1_501).contains(&points), "{points}");
    // The end before the beginning: there is nothing in it.
    let empty = flow.metrics(&house, "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z").await;
    assert_eq!(empty["total"]["rows"], 0);
}

/// What stands between `from` and the next `to`.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).expect("it stands on the page");
    rest.split(to).next().unwrap_or_default()
}

async fn the_console_draws_what_was_reported_in_any_range_and_as_a_table(house: House) {
    let flow = Flow::open(&house, "shop").await;
    let since = now(&house);
    for step in 1..=8 {
        house.clock.advance(Duration::from_secs(15));
        flow.report(&house, &since, step * 1_500).await;
    }
    let mut visitor = Visitor::new(&house);
    visitor.sign_in().await;
    let page = format!("/pipelines/{}", flow.path.rsplit('/').next().unwrap());
    let look = async |query: &str| visitor.get(&format!("{page}{query}")).await.text().await.unwrap();
    for range in ["1h", "24h", "7d", "30d"] {
        let shown = look(&format!("?range={range}")).await;
        assert_eq!(shown.matches("<svg class=\"chart\"").count(), 4, "{range}");
        assert!(shown.contains("aria-label=\"Lag: newest 1.5 s, mean 1.5 s, most 1.5 s at"), "{range}: {shown}");
    }
    let shown = look("").await;
    let path = between(&shown, "aria-label=\"Rows/s", "</svg>");
    assert!(path.contains(" d=\"M"), "{path}");
    // 12,000 rows came, half of them inserts.
    let hour = between(&shown, "<td>Inserts</td>", "</tr>");
    assert_eq!(hour.matches("6,000").count(), 3, "{hour}");
    let table = look("?view=table").await;
    assert!(!table.contains("<svg class=\"chart\"") && table.contains("<td class=\"number\">1.5 s</td>"), "{table}");
    // The figures of the process, and the line in the list.
    let agent = visitor.get(&format!("/agents/{}/figures", flow.agent)).await.text().await.unwrap();
    assert!(agent.contains("aria-label=\"Memory: newest 90 MB"), "{agent}");
    let list = visitor.get("/pipelines").await.text().await.unwrap();
    assert!(list.contains(" rows a second in the last hour\""), "{list}");
}

async fn times_are_in_utc_or_by_the_clock_of_whoever_looks(house: House) {
    let flow = Flow::open(&house, "shop").await;
    let since = now(&house);
    house.clock.advance(Duration::from_secs(15));
    flow.report(&house, &since, 100).await;
    let mut visitor = Visitor::new(&house);
    visitor.sign_in().await;
    let page = format!("/pipelines/{}", flow.path.rsplit('/').next().unwrap());
    assert!(visitor.get(&page).await.text().await.unwrap().contains("Times in UTC."));
    let signed_in = visitor.cookie.clone();
    for (cookies, zone) in [
        ("clock=local; offset=330", "Times in UTC+05:30."),
        ("clock=local; offset=-210", "Times in UTC-03:30."),
        ("clock=local; offset=99999", "Times in UTC."),
        ("clock=local", "Times in UTC."),
        ("clock=utc; offset=60", "Times in UTC."),
    ] {
        visitor.cookie = format!("{signed_in}; {cookies}");
        let shown = visitor.get(&page).await.text().await.unwrap();
        assert!(shown.contains(zone), "{cookies}");
    }
}
