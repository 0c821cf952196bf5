//! The agent: runs one pipeline as a hub wishes, and dials out only. Also the wiring of one pipeline, which the command line
//! uses without a hub.
//!
//! `session` talks with the hub, `supervisor` runs the engine, `told` says what happens; `wiring` is the only room that knows
//! which sources and targets there are. The hub's word ends at `policy`.

mod asked;
mod cache;
pub mod clock;
mod fault;
mod hub;
pub mod listen;
pub mod meter;
pub mod metrics;
mod outbox;
mod policy;
pub mod preflight;
mod process;
pub mod results;
pub mod retry;
mod run;
mod session;
mod settings;
mod sign_in;
mod standing;
mod stores;
mod supervisor;
mod told;
pub mod wiring;

use std::sync::Arc;

use millrace_engine::{Stop, StopHandle};
use millrace_model::{Fault, Refusal, Remedy};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::info;

use asked::Questions;
use cache::{Cache, Owner};
use hub::HubClient;
use listen::Listening;
use policy::{Guard, Policy};
use session::Session;
use standing::Shared;
use supervisor::{House, Supervisor};
use wiring::Secrets;

pub use fault::Cause;
pub use settings::{ClientSecret, DEFAULT_LISTEN, Proof, Settings};

/// So many commands wait at most.
const COMMANDS: usize = 32;

/// Runs an agent until it is stopped (`Ok`), or until the hub or another writer ends it.
pub async fn run(settings: &Settings, mut stop: Stop) -> Result<(), Fault> {
    // The one provider of this binary; a second agent in a process finds it set.
    let _set_already = rustls::crypto::ring::default_provider().install_default();
    let policy = Policy::read(settings.policy_file.as_deref())?;
    let owner =
        Owner { hub: settings.hub_url.clone(), account: settings.account_id.clone(), agent: settings.agent_id.clone() };
    let cache = Cache::open(settings.state_dir.as_ref(), owner)?;
    let hub = HubClient::new(settings)?;
    let listening = Listening::open(&settings.listen)
        .await
        .map_err(|error| Cause::Listen { address: settings.listen.clone(), error })?;
    info!(code = "listening", address = listening.address(), "answering /metrics, /livez and /readyz");
    let shared = Arc::new(Shared::default());
    let kept = cache.read().map(|kept| kept.pipeline);
    let (wish, wishes) = watch::channel(None);
    let (question, asked) = mpsc::channel(COMMANDS);
    let (command, commands) = mpsc::channel(COMMANDS);
    let mut session = Session::new(hub, Arc::clone(&shared), wish, (question, command), kept);
    let (halt, halted): (StopHandle, Stop) = Stop::new();
    let secrets = Secrets::new(settings.state_dir.clone().unwrap_or_default());
    let guard = Arc::new(Guard::new(policy, cache.bindings()?));
    let questions = Questions {
        guard: Arc::clone(&guard),
        shared: Arc::clone(&shared),
        secrets: secrets.clone(),
        spill: cache.spill(),
        asked,
    };
    let supervisor = Supervisor::new(House { guard, cache, secrets }, Arc::clone(&shared), wishes, commands);
    let mut beside = JoinSet::new();
    beside.spawn(questions.answer());
    let (meters, watched) = (Arc::clone(&shared), Arc::clone(&shared));
    beside.spawn(listening.serve_agent(Arc::new(move || meters.meter()), Arc::new(move || watched.is_connected())));
    let mut supervised = JoinSet::new();
    let runtime = Handle::current();
    // On a thread of its own: whatever it has to wait for or to compute, signs of life go on beside it.
    supervised.spawn_blocking(move || runtime.block_on(supervisor.run(halted)));
    let first = tokio::select! {
        refused = session.talk() => Some(refused.map(|never| match never {})),
        ended = over(&mut supervised) => Some(ended),
        () = stop.requested() => None,
    };
    halt.request();
    let ended = match first {
        // Its signs of life go on until what it runs has ended.
        None => tokio::select! {
            ended = over(&mut supervised) => ended,
            refused = session.talk() => {
                let refused = refused.map(|never| match never {});
                over(&mut supervised).await.and(refused)
            }
        },
        Some(first) => first.and(over(&mut supervised).await),
    };
    // A hub that refuses for good has nothing more to be told.
    if !matches!(&ended, Err(fault) if fault.remedy == Remedy::Operator(Refusal::Hub)) {
        session.goodbye(farewell(&ended)).await;
    }
    ended
}

/// Waits for the supervisor's end; one that has ended before has said how.
async fn over(supervised: &mut JoinSet<Result<(), Fault>>) -> Result<(), Fault> {
    match supervised.join_next().await {
        None => Ok(()),
        Some(ended) => {
            ended.unwrap_or_else(|panic| Err(Fault::defect("AG-014", format!("the supervisor broke down: {panic}"))))
        }
    }
}

/// Why the process ends, in the word for it.
fn farewell(ended: &Result<(), Fault>) -> &'static str {
    match ended {
        Ok(()) => "stopped",
        Err(fault) => match fault.remedy {
            Remedy::Operator(Refusal::Fenced) => "fenced",
            Remedy::Operator(Refusal::Busy) => "busy",
            Remedy::Retry | Remedy::Operator(_) | Remedy::Defect => "fault",
        },
    }
}
