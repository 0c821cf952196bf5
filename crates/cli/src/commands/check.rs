//! `millrace check FILE`: everything that is in the way of a pipeline, each with its cure. Changes nothing.

use millrace_model::{Fault, Finding, Refusal, Severity, Source, Target};
use millrace_protocol::PipelineSpec;
use serde_json::{Value, json};

use super::{DONE, FOUND};
use crate::args::FileArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::load;
use crate::wiring;

/// Asks source and target, and prints what they say. The exit code is 1 with any error.
pub(crate) async fn check(arguments: FileArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let mut findings = spec.findings.clone();
    findings.extend(answers("source", source_findings(&spec, &arguments).await));
    findings.extend(answers("target", wiring::target(&spec)?.check().await));
    let ok = !findings.iter().any(|finding| finding.severity == Severity::Error);
    let result = json!({"ok": ok, "findings": findings.iter().map(finding_json).collect::<Vec<_>>()});
    console.result(&result, |_| human(&findings))?;
    Ok(if ok { DONE } else { FOUND })
}

async fn source_findings(spec: &PipelineSpec, arguments: &FileArguments) -> Result<Vec<Finding>, Fault> {
    wiring::source(spec, &arguments.file).await?.check().await
}

/// Here, where somebody waits for the answer, no answer is a finding too: nothing can be said of what did not answer.
fn answers(subject: &str, answer: Result<Vec<Finding>, Fault>) -> Vec<Finding> {
    let no_answer = |fault: &Fault| {
        let cure =
            if fault.cure.is_empty() { "is it running, and is it to be reached from here?" } else { &fault.cure };
        let mut message = fault.to_string();
        message.drain(..fault.code.len() + ": ".len());
        Finding::error(fault.code, Refusal::Check, subject, message, cure)
    };
    answer.unwrap_or_else(|fault| vec![Finding::of_fault(subject, &fault).unwrap_or_else(|| no_answer(&fault))])
}

/// A finding as it stands in results.
pub(crate) fn finding_json(finding: &Finding) -> Value {
    json!({"code": finding.code, "severity": finding.severity.as_str(), "subject": finding.subject,
        "message": finding.message, "cure": finding.cure})
}

fn human(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text += &format!("{} {}: {}\n", finding.severity.as_str(), finding.subject, finding.message);
        if !finding.cure.is_empty() {
            text += &format!("  cure: {}\n", finding.cure);
        }
        text += &format!("  code {}, see docs/errors/{}.md\n", finding.code, finding.code);
    }
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => text + "ok: nothing is in the way",
        (0, warnings) => text + &format!("ok: nothing is in the way, {warnings} to think about"),
        (errors, _) => text + &format!("not ok: {errors} in the way"),
    }
}
