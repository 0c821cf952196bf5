//! `millrace status FILE`: how far the lake is. Asks only the target.

use serde_json::Value;

use super::{DONE, aligned, grouped};
use crate::args::FileArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::load;
use crate::wiring;

/// Reads the lake's head and prints what it says.
pub(crate) async fn status(arguments: FileArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let result = wiring::status(&wiring::target(&spec)?).await?;
    console.result(&result, human)?;
    Ok(DONE)
}

fn human(status: &Value) -> String {
    let head = status["head"].as_u64().unwrap_or_default();
    if head == 0 {
        return "the lake is empty".into();
    }
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let checkpoint = &status["checkpoint"];
    let summary = [
        vec!["pipeline".to_owned(), text(&status["pipeline"])],
        vec!["head".to_owned(), format!("commit {head}, written {}", text(&status["written_at"]))],
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
            text(&table["snapshot"]),
        ]);
    }
    format!("{}\n{}", aligned(&summary), aligned(&rows))
}
