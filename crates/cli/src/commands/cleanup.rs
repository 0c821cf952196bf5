//! `millrace cleanup FILE`: drops what the pipeline made in the source, after showing it. The lake stays.

use serde_json::{Value, json};

use super::DONE;
use crate::args::CleanupArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::load;
use crate::wiring::{self, CleanupPlan};

/// Shows, asks, drops, and prints what was dropped.
pub(crate) async fn cleanup(arguments: CleanupArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let source = wiring::source(&spec, &arguments.file).await?;
    let plan = source.cleanup_plan().await?;
    if plan == CleanupPlan::default() {
        console.result(&plan_json(&plan), |_, _| "there is nothing to drop".into())?;
        return Ok(DONE);
    }
    if !arguments.yes {
        console.ask(&format!("This drops {}. The pipeline cannot go on without.", words(&plan)))?;
    }
    let dropped = source.cleanup().await?;
    console.result(&plan_json(&dropped), |_, _| format!("dropped {}", words(&dropped)))?;
    Ok(DONE)
}

fn plan_json(plan: &CleanupPlan) -> Value {
    json!({"slot": plan.slot, "publication": plan.publication})
}

fn words(plan: &CleanupPlan) -> String {
    let slot = plan.slot.iter().map(|name| format!("the replication slot `{name}`"));
    slot.chain(plan.publication.iter().map(|name| format!("the publication `{name}`")))
        .collect::<Vec<_>>()
        .join(" and ")
}
