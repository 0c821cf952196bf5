//! The agent: runs one pipeline as a hub wishes, and dials out only. Also the wiring of one pipeline, which the command line
//! uses without a hub.
//!
//! `session` talks with the hub, `supervisor` runs the engine, `told` says what happens; `wiring` is the only room that knows
//! which sources and targets there are. The hub's word ends at `policy`.

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
pub mod results;
pub mod retry;
mod session;
mod settings;
mod supervisor;
mod told;
pub mod wiring;

use std::pin::pin;
use std::sync::Arc;

use millrace_engine::{Stop, StopHandle};
use millrace_model::Fault;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::info;

use cache::Cache;
use hub::HubClient;
use listen::Listening;
use policy::Policy;
use session::Session;
use supervisor::{Shared, Supervisor};

pub use fault::Cause;
pub use settings::{ClientSecret, DEFAULT_LISTEN, Settings};

/// So many commands wait at most.
const COMMANDS: usize = 32;

/// Runs an agent until it is stopped (`Ok`), or until the hub or another writer ends it.
pub async fn run(settings: &Settings, mut stop: Stop) -> Result<(), Fault> {
    // The one provider of this binary; a second agent in a process finds it set.
    let _set_already = rustls::crypto::ring::default_provider().install_default();
    let policy = Policy::read(settings.policy_file.as_deref())?;
    let cache = Cache::open(settings.state_dir.as_ref())?;
    let hub = HubClient::new(settings)?;
    let listening = Listening::open(&settings.listen)
        .await
        .map_err(|error| Cause::Listen { address: settings.listen.clone(), error })?;
    info!(code = "listening", address = listening.address(), "answering /metrics, /livez and /readyz");
    let shared = Arc::new(Shared::new());
    let kept = cache.read();
    let (wish, wishes) = watch::channel(None);
    let (command, commands) = mpsc::channel(COMMANDS);
    let mut session = Session::new(hub, Arc::clone(&shared), wish, command);
    if let Some(kept) = kept {
        info!(code = "started", pipeline = kept.held.pipeline_id, "going on with the definition that was kept");
        session.wishes.send_replace(Some(kept));
    }
    let (halt, halted): (StopHandle, Stop) = Stop::new();
    let supervisor = Supervisor {
        shared: Arc::clone(&shared),
        policy,
        cache,
        folder: settings.state_dir.clone().unwrap_or_default(),
        wishes,
        commands,
        tasks: JoinSet::new(),
        stop_running: None,
    };
    let mut beside = JoinSet::new();
    let watched = Arc::clone(&shared);
    beside.spawn(listening.serve(Arc::new(move || watched.meter())));
    // Beside the session in one task: it waits more than it works, and the engine has a thread of its own.
    let mut supervised = pin!(supervisor.run(halted));
    let (ended, supervisor_ended) = tokio::select! {
        refused = session.talk() => (refused.map(|never| match never {}), false),
        ended = &mut supervised => (ended, true),
        () = stop.requested() => (Ok(()), false),
    };
    halt.request();
    let stopped = if supervisor_ended { Ok(()) } else { supervised.await };
    let ended = ended.and(stopped);
    session.goodbye(if ended.is_ok() { "stopped" } else { "fault" }).await;
    ended
}
