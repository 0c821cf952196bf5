//! `millrace status FILE`: how far the lake is. Asks only the target.

use std::time::Duration;

use millrace_model::Timestamp;
use serde_json::Value;

use super::{DONE, age, aligned, grouped};
use crate::args::FileArguments;
use crate::clock::SystemClock;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::load;
use crate::wiring;

/// Reads the lake's head and prints what it says.
pub(crate) async fn status(arguments: FileArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let result = wiring::status(&wiring::target(&spec)?).await?;
    console.result(&result, |status| human(status, SystemClock::time()))?;
    Ok(DONE)
}

fn human(status: &Value, now: Timestamp) -> String {
    let head = status["head"].as_u64().unwrap_or_default();
    if head == 0 {
        return "the lake is empty".into();
    }
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let checkpoint = &status["checkpoint"];
    let summary = [
        vec!["pipeline".to_owned(), text(&status["pipeline"])],
        vec!["head".to_owned(), format!("commit {}, {}", grouped(head), written(&text(&status["written_at"]), now))],
        vec![
            "checkpoint".to_owned(),
            format!(
                "position {}, {} changes",
                text(&checkpoint["position"]),
                grouped(checkpoint["sequence"].as_u64().unwrap_or_default())
            ),
        ],
    ];
    let mut rows = vec![["table", "rows", "schema version", "snapshot"].map(str::to_owned).to_vec()];
    for table in status["tables"].as_array().into_iter().flatten() {
        rows.push(vec![
            text(&table["table"]),
            grouped(table["rows"].as_u64().unwrap_or_default()),
            table["schema_version"].to_string(),
            snapshot(status, table),
        ]);
    }
    format!("{}\n{}", aligned(&summary), aligned(&rows))
}

/// When the newest commit was written, and how long ago that is: nothing but the source can say whether that is late.
fn written(at: &str, now: Timestamp) -> String {
    match Timestamp::parse(at) {
        Some(then) => {
            let micros = u64::try_from(now.0.saturating_sub(then.0)).unwrap_or_default();
            format!("{} ago ({at})", age(Duration::from_micros(micros)))
        }
        None => format!("written {at}"),
    }
}

/// `finished`, or how many rows it has.
fn snapshot(status: &Value, table: &Value) -> String {
    let state = table["snapshot"].as_str().unwrap_or("none");
    let mut under_way = status["snapshots"].as_array().into_iter().flatten();
    match under_way.find(|snapshot| snapshot["table"] == table["table"] && state == "running") {
        Some(snapshot) => format!("running, {} rows", grouped(snapshot["rows"].as_u64().unwrap_or_default())),
        None => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_tells_the_age_of_the_newest_commit_and_how_far_snapshots_are() {
        let status = json!({"pipeline": "shop", "head": 1200, "written_at": "2026-11-22T14:03:07.412Z",
            "checkpoint": {"position": "0/1", "sequence": 7},
            "tables": [{"table": "d.public.a", "rows": 1000, "schema_version": 1, "snapshot": "running"}],
            "snapshots": [{"table": "d.public.a", "rows": 1000}]});
        let text = human(&status, Timestamp(1_795_356_187_412_000 + 5_000_000));
        assert!(text.contains("commit 1 200, 5 s ago (2026-11-22T14:03:07.412Z)\n"), "{text}");
        assert!(text.ends_with("running, 1 000 rows\n"), "{text}");
    }
}
