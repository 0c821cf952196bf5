//! `millrace check FILE`: everything that is in the way of a pipeline, each with its cure. Changes nothing.

use millrace_model::{Finding, Severity};

use super::{DONE, FOUND};
use crate::args::FileArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::{load, secrets_of};
use crate::paint::{Paint, Tone};
use crate::shown::counted;
use millrace_agent::preflight::{self, Asked};
use millrace_agent::results;
use millrace_agent::wiring::Identity;

/// Asks source and target, and prints what they say. The exit code is 1 with any error.
pub(crate) async fn check(arguments: FileArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let asked = Asked { identity: Some(Identity::of_name(&spec)), ..Asked::of(&spec) };
    let findings = preflight::look(asked, &secrets_of(&arguments.file)).await?;
    print_findings(findings, &Verdict { good: "ready to run", bad: "not ready" }, console)
}

/// How a list of findings is summed up.
pub(super) struct Verdict {
    pub(super) good: &'static str,
    pub(super) bad: &'static str,
}

/// Prints them, the gravest first; the exit code is 1 with any error.
pub(super) fn print_findings(mut findings: Vec<Finding>, verdict: &Verdict, console: &Console) -> Result<u8, Failure> {
    findings.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.subject.cmp(&other.subject)));
    let ok = !findings.iter().any(|finding| finding.severity == Severity::Error);
    console.result(&results::check(&findings), |_, paint| human(&findings, verdict, paint))?;
    Ok(if ok { DONE } else { FOUND })
}

/// The gravest first, each with its cure, and the verdict at the end, where it is seen.
fn human(findings: &[Finding], verdict: &Verdict, paint: Paint) -> String {
    let mut text = String::new();
    for Finding { code, severity, subject, message, cure, .. } in findings {
        let word = format!("{:<8}", severity.as_str());
        text += &format!("{} {subject}  {}\n", paint.tone(tone(*severity), &word), paint.tone(Tone::Quiet, code));
        // Some messages begin with their subject, for the log.
        let message = message.strip_prefix(subject.as_str()).map_or(message.as_str(), str::trim_start);
        text += &format!("         {message}\n");
        // What is only good to know has none.
        if !cure.is_empty() {
            text += &format!("         {} {cure}\n", paint.tone(Tone::Strong, "cure:"));
        }
        text.push('\n');
    }
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    text += &match (errors, warnings) {
        (0, 0) => paint.tone(Tone::Good, &format!("{}: nothing is in the way", verdict.good)),
        (0, _) => format!("{}, with {}", paint.tone(Tone::Good, verdict.good), counted(warnings, "warning")),
        (_, 0) => format!("{}: {}", paint.tone(Tone::Bad, verdict.bad), counted(errors, "error")),
        _ => {
            let counts = format!("{} and {}", counted(errors, "error"), counted(warnings, "warning"));
            format!("{}: {counts}", paint.tone(Tone::Bad, verdict.bad))
        }
    };
    if !findings.is_empty() {
        text += "\nmore about a code: docs/errors/CODE.md";
    }
    text
}

fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Alarm,
        Severity::Info => Tone::Quiet,
    }
}

#[cfg(test)]
mod tests {
    use millrace_model::Refusal;

    use super::*;

    #[test]
    fn a_list_of_findings_ends_with_the_verdict() {
        let verdict = Verdict { good: "ready to run", bad: "not ready" };
        assert_eq!(human(&[], &verdict, Paint::PLAIN), "ready to run: nothing is in the way");
        let findings = [
            Finding::error("PG-007", Refusal::Check, "wal_level", "wal_level is replica", "set it"),
            Finding::warning("PG-017", "audit", "has no key", ""),
        ];
        let text = human(&findings, &verdict, Paint::PLAIN);
        let error = "error    wal_level  PG-007\n         is replica\n         cure: set it\n\n";
        assert!(text.starts_with(error), "{text}");
        assert!(text.ends_with("\nnot ready: 1 error and 1 warning\nmore about a code: docs/errors/CODE.md"), "{text}");
    }
}
