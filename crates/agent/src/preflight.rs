//! What stands in the way of a run, asked before it begins. A missing answer is no error: it waits, longer each time.

use millrace_engine::Engine;
use millrace_model::{Fault, Finding, Refusal, Severity, Target};
use millrace_protocol::{PipelineSpec, Question, SourcePart, TargetPart};
use tracing::{error, info, warn};

use crate::meter::Meter;
use crate::retry::Backoff;
use crate::wiring::{self, Identity, Secrets};

/// What somebody asks about, who waits for the answer: a source, a target, or both.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The source, with or without tables.
    pub source: Option<SourcePart<'a>>,
    /// The target.
    pub target: Option<TargetPart<'a>>,
    /// What is to be said of how it was written.
    pub findings: Vec<Finding>,
    /// Whose chain it would be; without it the chain is not looked at.
    pub identity: Option<Identity>,
}

impl<'a> Asked<'a> {
    /// About a whole pipeline, without its chain.
    pub fn of(spec: &'a PipelineSpec) -> Self {
        Self {
            source: Some(spec.source_part()),
            target: Some(spec.target_part()),
            findings: spec.findings.clone(),
            identity: None,
        }
    }

    /// About what a hub asks.
    pub fn of_question(question: &'a Question) -> Self {
        Self {
            source: question.source_part(),
            target: question.target_part(),
            findings: question.findings.clone(),
            identity: None,
        }
    }
}

/// What source and target find, each for itself, and, where nothing is in the way of either, both together. Changes
/// nothing. Somebody waits, so no answer is a finding, too: nothing can be said of what did not answer.
pub async fn look(asked: Asked<'_>, secrets: &Secrets) -> Result<Vec<Finding>, Fault> {
    let source = asked.source.map(|part| wiring::source(part, secrets));
    let reached = source.as_ref().and_then(|source| source.as_ref().ok());
    let mut findings = wiring::file_findings(asked.findings, reached).await;
    let nobody = Identity { pipeline: String::new(), epoch: None };
    let identity = asked.identity.as_ref().unwrap_or(&nobody);
    let (source, refused) = match source {
        Some(Ok(source)) => (Some(source), None),
        Some(Err(fault)) => (None, Some(fault)),
        None => (None, None),
    };
    findings.extend(refused.into_iter().flat_map(|fault| answers("source", Err(fault))));
    match (source, asked.target) {
        (Some(source), Some(target)) => {
            let engine = wiring::engine(target, identity, source, false, secrets)?;
            findings.extend(answers("source", engine.source.check().await));
            findings.extend(answers("target", engine.target.check().await));
            findings.extend(answers("spill.directory", engine.check_spill().await));
            let stands = findings.iter().any(|finding| finding.severity == Severity::Error);
            if !stands && asked.identity.is_some() {
                findings.extend(answers("chain", engine.check_chain().await));
            }
        }
        (Some(source), None) => findings.extend(answers("source", millrace_model::Source::check(&source).await)),
        (None, Some(target)) => {
            findings.extend(answers("target", wiring::target(target, identity, secrets)?.check().await));
        }
        (None, None) => {}
    }
    Ok(findings)
}

fn answers(subject: &str, answer: Result<Vec<Finding>, Fault>) -> Vec<Finding> {
    let no_answer = |fault: &Fault| {
        let mut message = fault.to_string();
        message.drain(..fault.code.len() + ": ".len());
        Finding::error(fault.code, Refusal::Check, subject, message, &fault.cure)
    };
    answer.unwrap_or_else(|fault| vec![Finding::of_fault(subject, &fault).unwrap_or_else(|| no_answer(&fault))])
}

/// What source and target find; asks until both have answered.
pub async fn ask(engine: &Engine, meter: &Meter) -> Result<Vec<Finding>, Fault> {
    let mut backoff = Backoff::default();
    loop {
        let answer = async {
            let mut findings = engine.source.check().await?;
            findings.extend(engine.target.check().await?);
            findings.extend(engine.check_spill().await?);
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
