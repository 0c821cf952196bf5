//! `millrace run FILE`: runs a pipeline until it is stopped, or with `--until now` until the lake has caught up.
//!
//! It checks first and ends at an error. A missing answer is no error: it waits, longer each time, and asks again.

use std::path::PathBuf;

use std::sync::Arc;

use millrace_engine::{Stop, observed};
use millrace_protocol::{PipelineSpec, SnapshotMode};
use tokio::task::JoinSet;
use tracing::info;

use super::DONE;
use crate::args::{RunArguments, Until};
use crate::console::Console;
use crate::fault::{Cause, Failure};
use crate::interrupt::Interrupt;
use crate::live::Live;
use crate::load::{load, secrets_of};
use millrace_agent::listen::Listening;
use millrace_agent::meter::Meter;
use millrace_agent::preflight;
use millrace_agent::wiring::{self, Identity};

/// What a run needs to know.
struct Settings {
    file: PathBuf,
    until_now: bool,
    listen: Option<String>,
}

impl From<RunArguments> for Settings {
    fn from(arguments: RunArguments) -> Self {
        Self { file: arguments.file, until_now: arguments.until == Some(Until::Now), listen: arguments.listen }
    }
}

/// Runs it.
pub(crate) async fn run(arguments: RunArguments, console: &Console) -> Result<u8, Failure> {
    let settings = Settings::from(arguments);
    let spec = load(&settings.file)?;
    let interrupt = Interrupt::listen()?;
    let (handle, stop) = Stop::new();
    let meter = Arc::new(Meter::new(&spec.name, spec.advanced.snapshot_mode == SnapshotMode::Initial));
    // Beside the run, on threads of their own: what they answer and draw does not wait for it. They end with this scope.
    let mut listeners = JoinSet::new();
    if let Some(address) = &settings.listen {
        let listening =
            Listening::open(address).await.map_err(|error| Cause::CannotListen { address: address.clone(), error })?;
        info!(code = "listening", address = listening.address(), "answering /metrics, /livez and /readyz");
        let running = Arc::clone(&meter);
        listeners.spawn(listening.serve(Arc::new(move || Some(Arc::clone(&running)))));
    }
    let _live = console.is_watched().then(|| Live::start(console.screen(), Arc::clone(&meter)));
    tokio::select! {
        ended = Box::pin(pipeline(&settings, &spec, &meter, stop)) => ended,
        () = interrupt.watch(&handle) => Ok(DONE),
    }
}

async fn pipeline(settings: &Settings, spec: &PipelineSpec, meter: &Arc<Meter>, mut stop: Stop) -> Result<u8, Failure> {
    let secrets = secrets_of(&settings.file);
    let source = wiring::source(spec, &secrets)?;
    let of_file = tokio::select! {
        findings = wiring::file_findings(spec.findings.clone(), Some(&source)) => findings,
        () = stop.requested() => spec.findings.clone(),
    };
    preflight::report(&of_file);
    let engine = wiring::engine(spec, &Identity::of_name(spec), source, settings.until_now, &secrets)?;
    let asked = tokio::select! {
        findings = preflight::ask(&engine, meter) => findings?,
        () = stop.requested() => {
            info!(code = "stopped", "stopped before anything was begun");
            return Ok(DONE);
        }
    };
    preflight::report(&asked);
    if let Some(refused) = preflight::gravest(&asked) {
        return Ok(refused.refusal.exit_code());
    }
    observed(meter.clone(), Box::pin(engine.run(stop))).await.map_err(Failure::Logged)?;
    Ok(DONE)
}
