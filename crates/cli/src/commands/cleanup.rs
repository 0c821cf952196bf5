//! `millrace cleanup FILE`: drops what the pipeline made in the source, after showing it. The lake stays.

use super::DONE;
use crate::args::CleanupArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::{load, secrets_of};
use millrace_agent::results;
use millrace_agent::wiring::{self, CleanupPlan};

/// Shows, asks, drops, and prints what was dropped.
pub(crate) async fn cleanup(arguments: CleanupArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let source = wiring::source(&spec, &secrets_of(&arguments.file))?;
    let plan = source.cleanup_plan().await?;
    if plan == CleanupPlan::default() {
        console.result(&results::cleanup(&plan), |_, _| "there is nothing to drop".into())?;
        return Ok(DONE);
    }
    if !arguments.yes {
        console.ask(&format!("This drops {}. The pipeline cannot go on without.", words(&plan)))?;
    }
    let dropped = source.cleanup().await?;
    console.result(&results::cleanup(&dropped), |_, _| format!("dropped {}", words(&dropped)))?;
    Ok(DONE)
}

fn words(plan: &CleanupPlan) -> String {
    let slot = plan.slot.iter().map(|name| format!("the replication slot `{name}`"));
    slot.chain(plan.publication.iter().map(|name| format!("the publication `{name}`")))
        .collect::<Vec<_>>()
        .join(" and ")
}
