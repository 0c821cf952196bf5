//! `millrace fsck FILE`: proves that the lake is whole. Reads every file of it, and nothing else.

use serde_json::Value;

use super::{DONE, FOUND};
use crate::args::FileArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::{load, secrets_of};
use crate::paint::{Paint, Tone};
use crate::shown::{Side, aligned, grouped};
use millrace_agent::wiring::{self, Identity};

/// Checks the invariants and prints the first breach; the exit code is 1 with one.
pub(crate) async fn fsck(arguments: FileArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let files = wiring::target(&spec, &Identity::of_name(&spec), &secrets_of(&arguments.file))?;
    let result = wiring::fsck(&files).await?;
    console.result(&result, human)?;
    Ok(if result.get("ok") == Some(&Value::Bool(true)) { DONE } else { FOUND })
}

fn human(report: &Value, paint: Paint) -> String {
    let number = |name: &str| grouped(report[name].as_u64().unwrap_or_default());
    let row = |what: &str, name: &str| vec![what.to_owned(), number(name)];
    let mut rows = vec![row("commits", "head"), row("files", "files"), row("rows", "rows")];
    let verdict = if report["breach"].is_null() {
        let leftovers = if report["leftovers"] == 0 { "" } else { "no breach; a later run deletes them" };
        rows.push([row("leftovers", "leftovers"), vec![leftovers.to_owned()]].concat());
        paint.tone(Tone::Good, "the lake is whole")
    } else {
        let text = |name: &str| report["breach"].get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let breach = paint.tone(Tone::Bad, &format!("breach of {}", text("invariant")));
        let cure = "delete nothing; docs/specs/file-lake.md says what this invariant promises";
        format!("{breach}: {}\ncure: {cure}\n\nseen before it:", text("message"))
    };
    format!("{verdict}\n{}", aligned(&rows, &[Side::Left, Side::Right]).join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_lake_is_counted_and_a_breach_comes_first() {
        let mut report = json!({"ok": true, "head": 8, "files": 7, "rows": 1_623_456, "leftovers": 2, "breach": null});
        let whole = "the lake is whole\ncommits            8\nfiles              7\nrows       1 623 456\n\
                     leftovers          2  no breach; a later run deletes them";
        assert_eq!(human(&report, Paint::PLAIN), whole);
        report["breach"] = json!({"invariant": "I3", "message": "commit 4 names a file that is not there"});
        let text = human(&report, Paint::PLAIN);
        assert!(text.starts_with("breach of I3: commit 4 names a file that is not there\ncure: "), "{text}");
    }
}
