//! `millrace status FILE`: how far the lake is. Asks only the target.

use std::time::Duration;

use millrace_model::Timestamp;
use serde_json::Value;

use super::DONE;
use crate::args::FileArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::{load, secrets_of};
use crate::paint::{Paint, Tone};
use crate::shown::{Side, age, aligned, counted, grouped};
use millrace_agent::clock::SystemClock;
use millrace_agent::wiring::{self, Identity};

/// Reads the lake's head and prints what it says.
pub(crate) async fn status(arguments: FileArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let files = wiring::target(&spec, &Identity::of_name(&spec), &secrets_of(&arguments.file))?;
    let result = wiring::status(&files).await?;
    console.result(&result, |status, paint| human(status, SystemClock::time(), paint))?;
    Ok(DONE)
}

fn human(status: &Value, now: Timestamp, paint: Paint) -> String {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let head = number(&status["head"]);
    if head == 0 {
        return "the lake is empty; `millrace run` fills it".into();
    }
    let checkpoint = &status["checkpoint"];
    let summary = [
        vec!["pipeline".to_owned(), text(&status["pipeline"])],
        vec!["newest commit".to_owned(), format!("{}, {}", grouped(head), written(&text(&status["written_at"]), now))],
        vec!["position".to_owned(), text(&checkpoint["position"])],
        vec!["changes".to_owned(), grouped(number(&checkpoint["sequence"]))],
    ];
    let mut rows = vec![["table", "rows in files", "schema version", "snapshot"].map(str::to_owned).to_vec()];
    let tables = status["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
    for table in tables {
        rows.push(vec![
            text(&table["table"]),
            grouped(number(&table["rows"])),
            number(&table["schema_version"]).to_string(),
            snapshot(status, table),
        ]);
    }
    let mut lines = aligned(&rows, &[Side::Left, Side::Right, Side::Right]);
    if let Some(head) = lines.first_mut() {
        *head = paint.tone(Tone::Quiet, head);
    }
    let sum = tables.iter().map(|table| number(&table["rows"])).sum();
    let counts = format!("{}, {}", counted(tables.len() as u64, "table"), counted(sum, "row"));
    format!("{}\n\n{}\n\n{counts}", aligned(&summary, &[]).join("\n"), lines.join("\n"))
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
        let text = human(&status, Timestamp(1_795_356_187_412_000 + 5_000_000), Paint::PLAIN);
        assert!(text.contains("newest commit  1 200, 5 s ago (2026-11-22T14:03:07.412Z)\n"), "{text}");
        assert!(text.contains("d.public.a          1 000               1  running, 1 000 rows\n"), "{text}");
        assert!(text.ends_with("\n1 table, 1 000 rows"), "{text}");
    }
}
