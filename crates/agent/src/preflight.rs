//! What stands in the way of a run, asked before it begins. A missing answer is no error: it waits, longer each time.

use millrace_engine::Engine;
use millrace_model::{Fault, Finding, Refusal, Severity};
use tracing::{error, info, warn};

use crate::meter::Meter;
use crate::retry::Backoff;

/// What source and target find; asks until both have answered.
pub async fn ask(engine: &Engine, meter: &Meter) -> Result<Vec<Finding>, Fault> {
    let mut backoff = Backoff::new();
    loop {
        let answer = async {
            let mut findings = engine.source.check().await?;
            findings.extend(engine.target.check().await?);
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
pub fn report(findings: &[Finding]) {
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

/// The error to end with; nothing where none is among them. Of several, a file that has to change comes first.
pub fn gravest(findings: &[Finding]) -> Option<&Finding> {
    let errors = || findings.iter().filter(|finding| finding.severity == Severity::Error);
    let order = [Refusal::Spec, Refusal::Gap, Refusal::Permission];
    order
        .into_iter()
        .find_map(|refusal| errors().find(|finding| finding.refusal == refusal))
        .or_else(|| errors().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(refusal: Refusal) -> Finding {
        Finding::error("PG-001", refusal, "slot", "is lost", "restart")
    }

    fn code(findings: &[Finding]) -> Option<u8> {
        gravest(findings).map(|finding| finding.refusal.exit_code())
    }

    #[test]
    fn a_run_ends_with_the_code_of_its_gravest_error_and_never_for_a_warning() {
        assert_eq!(code(&[Finding::warning("PG-002", "x", "y", "z"), Finding::info("PG-003", "x", "y")]), None);
        assert_eq!(code(&[error(Refusal::Check)]), Some(1));
        assert_eq!(code(&[error(Refusal::Check), error(Refusal::Permission)]), Some(77));
        assert_eq!(code(&[error(Refusal::Permission), error(Refusal::Gap)]), Some(66));
        assert_eq!(code(&[error(Refusal::Gap), error(Refusal::Spec)]), Some(64));
    }
}
