//! `millrace restart FILE --snapshot`: earlier files of tables leave the lake, and the next run reads the tables anew.

use std::path::PathBuf;

use millrace_engine::{Restart, Stop};
use serde_json::Value;

use super::DONE;
use crate::args::RestartArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::interrupt::Interrupt;
use crate::load::{load, secrets_of};
use crate::shown::{counted, grouped};
use millrace_agent::results;
use millrace_agent::wiring::{self, Identity};

/// What a restart needs to know.
struct Settings {
    file: PathBuf,
    restart: Restart,
    ask: bool,
}

impl From<RestartArguments> for Settings {
    fn from(arguments: RestartArguments) -> Self {
        let restart = Restart { tables: arguments.tables, adopt: arguments.adopt };
        Self { file: arguments.file, restart, ask: !arguments.yes }
    }
}

/// Asks, restarts, and prints what was done.
pub(crate) async fn restart(arguments: RestartArguments, console: &Console) -> Result<u8, Failure> {
    let settings = Settings::from(arguments);
    let spec = load(&settings.file)?;
    if settings.ask {
        let tables = match &settings.restart.tables {
            Some(tables) => tables.join(", "),
            None => "all tables".into(),
        };
        console.ask(&format!("All files of {tables} of the pipeline `{}` will leave the lake.", spec.name))?;
    }
    let secrets = secrets_of(&settings.file);
    let source = wiring::source(&spec, &secrets)?;
    let engine = wiring::engine(&spec, &Identity::of_name(&spec), source, false, &secrets)?;
    let interrupt = Interrupt::listen()?;
    let (handle, stop) = Stop::new();
    let restarted = tokio::select! {
        restarted = engine.restart(&settings.restart, stop) => restarted?,
        () = interrupt.watch(&handle) => return Ok(DONE),
    };
    console.result(&results::restart(&restarted), |result, _| human(result))?;
    Ok(DONE)
}

fn human(result: &Value) -> String {
    let slot = if result["new_slot"] == true { ", and a new slot was made" } else { "" };
    let number = |name: &str| result[name].as_u64().unwrap_or_default();
    let files = counted(number("removed"), "file");
    format!(
        "restarted with commit {}: {files} left the lake{slot}\nthe next `millrace run` reads the tables anew",
        grouped(number("commit"))
    )
}
