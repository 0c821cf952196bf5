//! `millrace run FILE`: runs a pipeline until it is stopped, or with `--until now` until the lake has caught up.
//!
//! It checks first and ends at an error. A missing answer is no error: it waits, longer each time, and asks again.

use std::path::PathBuf;

use std::sync::Arc;

use millrace_engine::{Stop, observed};
use millrace_model::{Fault, Finding, Refusal, Severity, Source, Target};
use millrace_protocol::{PipelineSpec, SnapshotMode};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::DONE;
use crate::args::{RunArguments, Until};
use crate::console::Console;
use crate::fault::Failure;
use crate::interrupt::Interrupt;
use crate::listen::Listening;
use crate::live::Live;
use crate::load::load;
use crate::meter::Meter;
use crate::retry::Backoff;
use crate::wiring;

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
        let listening = Listening::open(address).await?;
        info!(code = "listening", address = listening.address(), "answering /metrics, /livez and /readyz");
        listeners.spawn(listening.serve(Arc::clone(&meter)));
    }
    let _live = console.is_watched().then(|| Live::start(console.screen(), Arc::clone(&meter)));
    tokio::select! {
        ended = Box::pin(pipeline(&settings, &spec, &meter, stop)) => ended,
        () = interrupt.watch(&handle) => Ok(DONE),
    }
}

async fn pipeline(settings: &Settings, spec: &PipelineSpec, meter: &Arc<Meter>, mut stop: Stop) -> Result<u8, Failure> {
    let source = wiring::source(spec, &settings.file).await?;
    let of_file = tokio::select! {
        findings = wiring::file_findings(spec, Some(&source)) => findings,
        () = stop.requested() => spec.findings.clone(),
    };
    report(&of_file);
    let engine = wiring::engine(spec, source, settings.until_now)?;
    let asked = tokio::select! {
        findings = check(&*engine.source, &*engine.target, meter) => findings?,
        () = stop.requested() => {
            info!(code = "stopped", "stopped before anything was begun");
            return Ok(DONE);
        }
    };
    report(&asked);
    if let Some(code) = exit_code(&asked) {
        return Ok(code);
    }
    observed(meter.clone(), Box::pin(engine.run(stop))).await.map_err(Failure::Logged)?;
    Ok(DONE)
}

/// What source and target find; asks until both have answered.
async fn check(source: &dyn Source, target: &dyn Target, meter: &Meter) -> Result<Vec<Finding>, Fault> {
    let mut backoff = Backoff::new();
    loop {
        let answer = async {
            let mut findings = source.check().await?;
            findings.extend(target.check().await?);
            Ok(findings)
        };
        match answer.await {
            Err(fault) if Fault::is_retry(&fault) => {
                meter.retrying("check");
                backoff.wait("check", &fault).await;
            }
            answer => return answer,
        }
    }
}

/// The findings, as lines of the log.
fn report(findings: &[Finding]) {
    for Finding { code, severity, subject, message, cure, .. } in findings {
        // Some messages begin with their subject, for lists.
        let message = message.strip_prefix(subject.as_str()).map_or(message.as_str(), str::trim_start);
        match severity {
            Severity::Error => error!(code, subject, cure, "{subject}: {message}"),
            Severity::Warning => warn!(code, subject, cure, "{subject}: {message}"),
            Severity::Info => info!(code, subject, "{subject}: {message}"),
        }
    }
}

/// The code to end with; nothing where no error is among them. Of several, a file that has to change comes first.
fn exit_code(findings: &[Finding]) -> Option<u8> {
    let errors: Vec<Refusal> =
        findings.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| finding.refusal).collect();
    let first = errors.first()?;
    let order = [Refusal::Spec, Refusal::Gap, Refusal::Permission];
    let gravest = order.into_iter().find(|refusal| errors.contains(refusal)).unwrap_or(*first);
    Some(gravest.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(refusal: Refusal) -> Finding {
        Finding::error("PG-001", refusal, "slot", "is lost", "restart")
    }

    #[test]
    fn a_run_ends_with_the_code_of_its_gravest_error_and_never_for_a_warning() {
        assert_eq!(exit_code(&[Finding::warning("PG-002", "x", "y", "z"), Finding::info("PG-003", "x", "y")]), None);
        assert_eq!(exit_code(&[error(Refusal::Check)]), Some(1));
        assert_eq!(exit_code(&[error(Refusal::Check), error(Refusal::Permission)]), Some(77));
        assert_eq!(exit_code(&[error(Refusal::Permission), error(Refusal::Gap)]), Some(66));
        assert_eq!(exit_code(&[error(Refusal::Gap), error(Refusal::Spec)]), Some(64));
    }
}
