//! `millrace fsck FILE`: proves that the lake is whole. Reads every file of it, and nothing else.

use serde_json::Value;

use super::{DONE, FOUND, grouped};
use crate::args::FileArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::load;
use crate::wiring;

/// Checks the invariants and prints the first breach; the exit code is 1 with one.
pub(crate) async fn fsck(arguments: FileArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let result = wiring::fsck(&wiring::target(&spec)?).await?;
    console.result(&result, human)?;
    Ok(if result["ok"].as_bool() == Some(true) { DONE } else { FOUND })
}

fn human(report: &Value) -> String {
    let number = |name: &str| grouped(report[name].as_u64().unwrap_or_default());
    let seen = format!("{} commits, {} files, {} rows", number("head"), number("files"), number("rows"));
    let leftovers = format!("{} leftovers, which are no breach", number("leftovers"));
    match &report["breach"] {
        Value::Null => format!("ok: {seen}; {leftovers}"),
        breach => {
            let text = |name: &str| breach[name].as_str().unwrap_or_default().to_owned();
            format!("breach of {}: {}\nseen so far: {seen}", text("invariant"), text("message"))
        }
    }
}
