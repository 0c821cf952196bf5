//! `millrace hub`: the hub, and what is done to one from the command line.

use std::path::PathBuf;
use std::sync::Arc;

use millrace_agent::clock::SystemClock;
use millrace_hub::{Bootstrap, Hub, Settings, bootstrap, plan};
use millrace_model::{Fault, Refusal};
use serde_json::json;
use tokio::sync::oneshot;

use super::{DONE, variable};
use crate::args::{BootstrapArguments, HubArguments, HubCommand};
use crate::console::Console;
use crate::fault::Failure;
use crate::interrupt::Interrupt;

/// Serves, or does what is asked of a hub.
pub(crate) async fn hub(arguments: HubArguments, console: &Console) -> Result<u8, Failure> {
    let settings = settings(&arguments);
    match arguments.command {
        None => serve(settings).await,
        Some(HubCommand::Bootstrap(asked)) => set_up(settings, asked, console).await,
        Some(HubCommand::Migrate { plan: true }) => {
            let plan = plan(&settings.place()).await.map_err(|cause| Failure::Fault(cause.into()))?;
            console.result(&json!(plan), |_, _| {
                let steps: Vec<String> =
                    plan.pending.iter().map(|step| format!("-- step {}\n{}", step.version, step.sql)).collect();
                if steps.is_empty() { "nothing is to be done".into() } else { steps.join("\n") }
            })?;
            Ok(DONE)
        }
        Some(HubCommand::Migrate { plan: false }) => Err(Failure::Fault(Fault::refused(
            "CL-001",
            Refusal::Spec,
            "`hub migrate` shows what a start would do",
            "add `--plan`; the hub itself migrates when it starts",
        ))),
    }
}

fn settings(arguments: &HubArguments) -> Settings {
    let listen = arguments.listen.clone().or_else(|| variable("HUB_LISTEN")).unwrap_or_else(|| "127.0.0.1:8080".into());
    let data = arguments.data.clone().or_else(|| variable("HUB_DATA").map(PathBuf::from));
    let defaults = Settings::new(listen, data.unwrap_or_else(|| "millrace-hub".into()));
    // Shorter than the contract's, for tests that wait for a lease to lapse.
    let seconds = |name: &str, default| {
        variable(name).and_then(|text| text.parse().ok()).map_or(default, std::time::Duration::from_secs)
    };
    Settings {
        lease: seconds("HUB_TEST_LEASE_SECONDS", defaults.lease),
        poll: seconds("HUB_TEST_POLL_SECONDS", defaults.poll),
        patience: seconds("HUB_TEST_PATIENCE_SECONDS", defaults.patience),
        database_url: arguments.database.clone().or_else(|| variable("HUB_DATABASE_URL")),
        public_url: variable("HUB_PUBLIC_URL").map_or(defaults.public_url, |url| url.trim_end_matches('/').to_owned()),
        key_file: variable("HUB_KEY_FILE").map(PathBuf::from),
        agent_image: variable("HUB_AGENT_IMAGE").unwrap_or(defaults.agent_image),
        ..defaults
    }
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
    console.result(&json!(set_up), |result, _| format!("{:#}\nthe secret is shown this once", result))?;
    Ok(DONE)
}
