//! `millrace hub`: the hub, and what is done to one from the command line.

use std::path::Path;
use std::sync::Arc;

use millrace_agent::clock::SystemClock;
use millrace_hub::{Bootstrap, Given, Hub, Settings, account_link, back_up, bootstrap, doctor, plan};
use millrace_model::{Fault, Refusal};
use serde_json::json;
use tokio::sync::oneshot;

use super::check::{Verdict, print_findings};
use super::{DONE, variable};
use crate::args::{BootstrapArguments, HubArguments, HubCommand};
use crate::console::Console;
use crate::fault::Failure;
use crate::interrupt::Interrupt;

/// Serves, or does what is asked of a hub.
pub(crate) async fn hub(arguments: HubArguments, console: &Console) -> Result<u8, Failure> {
    let settings = settings(&arguments).map_err(|cause| Failure::Fault(cause.into()))?;
    match arguments.command {
        None => Box::pin(serve(settings)).await,
        Some(HubCommand::Bootstrap(asked)) => set_up(settings, asked, console).await,
        Some(HubCommand::Invite) => {
            let clock = Arc::new(SystemClock);
            let url = account_link(settings, clock).await.map_err(|cause| Failure::Fault(cause.into()))?;
            console.result(&json!({"url": url}), |_, _| format!("{url}\nit works once, for seven days"))?;
            Ok(DONE)
        }
        Some(HubCommand::Migrate { plan: true }) => {
            let plan = plan(&settings.place()).await.map_err(|cause| Failure::Fault(cause.into()))?;
            console.result(&json!(plan), |_, _| {
                let steps: Vec<String> =
                    plan.pending.iter().map(|step| format!("-- step {}\n{}", step.version, step.sql)).collect();
                if steps.is_empty() { "nothing is to be done".into() } else { steps.join("\n") }
            })?;
            Ok(DONE)
        }
        Some(HubCommand::Backup { to }) => copy(&settings, to.as_deref(), console).await,
        Some(HubCommand::Doctor) => {
            let findings = doctor(&settings, &SystemClock).await;
            print_findings(findings, &VERDICT, console)
        }
        Some(HubCommand::Migrate { plan: false }) => Err(Failure::Fault(Fault::refused(
            "CL-001",
            Refusal::Spec,
            "`hub migrate` shows what a start would do",
            "add `--plan`; the hub itself migrates when it starts",
        ))),
    }
}

fn settings(arguments: &HubArguments) -> Result<Settings, millrace_hub::Cause> {
    let given = Given {
        listen: arguments.listen.clone(),
        data: arguments.data.clone(),
        database_url: arguments.database.clone(),
    };
    Settings::read(given, variable)
}

/// How a doctor sums up.
const VERDICT: Verdict = Verdict { good: "the hub is well", bad: "something is wrong" };

async fn copy(settings: &Settings, to: Option<&Path>, console: &Console) -> Result<u8, Failure> {
    let copy = back_up(settings, to).await.map_err(|cause| Failure::Fault(cause.into()))?;
    console.result(&json!(copy), |_, _| {
        let mut text = match (&copy.file, &copy.run) {
            (Some(file), _) => format!("the copy is {file}\n"),
            (None, run) => format!("the server's own tool makes the copy:\n  {}\n", run.as_deref().unwrap_or_default()),
        };
        text += "\nnot in it:\n";
        copy.not_in_it.iter().for_each(|part| text += &format!("  {part}\n"));
        text += "\nto restore:\n";
        copy.restore.iter().for_each(|step| text += &format!("  {step}\n"));
        text.trim_end().to_owned()
    })?;
    Ok(DONE)
}

async fn serve(settings: Settings) -> Result<u8, Failure> {
    let interrupt = Interrupt::listen()?;
    let hub = Hub::open(settings, Arc::new(SystemClock)).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = hub.serve(async { drop(stopped.await) });
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return served.map(|()| DONE).map_err(Failure::Fault),
        () = interrupt.first() => {}
    }
    drop(stop);
    // Syncs that are held end by themselves within their time; nobody has to wait for them.
    let _held = tokio::time::timeout(std::time::Duration::from_secs(2), serving).await;
    Ok(DONE)
}

async fn set_up(settings: Settings, asked: BootstrapArguments, console: &Console) -> Result<u8, Failure> {
    let file = asked.owner_password_file;
    let password = std::fs::read_to_string(&file).map_err(|error| {
        let message = format!("the owner's password cannot be read from `{}`: {error}", file.display());
        Failure::Fault(Fault::refused("CL-001", Refusal::Spec, message, "name a file that holds it on one line"))
    })?;
    let owner = Some((asked.owner_email, password.trim_end_matches(['\r', '\n']).to_owned()));
    let asked = Bootstrap { account: asked.account, project: asked.project, api_client: asked.api_client, owner };
    let set_up =
        bootstrap(settings, Arc::new(SystemClock), asked).await.map_err(|cause| Failure::Fault(cause.into()))?;
    console.result(&json!(set_up), |result, _| format!("{result:#}\nthe secret is shown this once"))?;
    Ok(DONE)
}
