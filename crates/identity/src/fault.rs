//! What can be wrong with an identity. Messages name the identity that was tried, variables, files and addresses; never a
//! key, a token or what a token service was sent.

use std::path::PathBuf;

use millrace_model::{Fault, Refusal};

/// The causes that this room knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// Every step of a chain gave nothing.
    #[error("no identity for {cloud} was found: {}", steps.join("; "))]
    None { cloud: &'static str, steps: Vec<String>, cure: String },
    /// A service says no to an identity.
    #[error("{identity} was refused: {said}")]
    Refused { identity: String, said: String, cure: String },
    /// No answer, or one that will be another one later.
    #[error("{identity} cannot be had now: {said}")]
    Unanswered { identity: String, said: String },
    /// An answer that is none.
    #[error("{identity} cannot be had now: the answer of {service} is not understood: {what}")]
    Answer { identity: String, service: String, what: &'static str },
    /// A variable or a file with something else in it than belongs there.
    #[error("{place} cannot be used: {reason}")]
    Wrong { place: String, reason: String, cure: String },
    /// The clock of this machine is so far off that signatures are refused.
    #[error("{service} refuses the signature: this machine's clock is {seconds} s {direction} {service}'s")]
    Skewed { service: String, seconds: i64, direction: &'static str },
    /// `CUSTOM_CERT_LOCATION`, `VAULT_CACERT`.
    #[error("the certificates in `{}` cannot be used: {reason}", path.display())]
    Certificates { path: PathBuf, reason: String },
    #[error("there is no HTTP client: {0}")]
    NoClient(String),
    /// A fault that an identity beneath had.
    #[error(transparent)]
    Of(Fault),
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        let message = bounded(&cause.to_string());
        let refused = |code, cure: String| Self::refused(code, Refusal::Permission, message.clone(), cure);
        match cause {
            Cause::None { cure, .. } => refused("ID-001", cure),
            Cause::Refused { cure, .. } => refused("ID-002", cure),
            Cause::Unanswered { .. } => Self::retry("ID-003", message),
            Cause::Answer { .. } => Self::retry("ID-004", message),
            Cause::Wrong { cure, .. } => refused("ID-005", cure),
            Cause::Skewed { .. } => {
                refused("ID-006", "let the machine keep its time by NTP (`timedatectl set-ntp true`)".into())
            }
            Cause::Certificates { .. } => {
                refused("ID-007", "give a file of PEM certificates that this process can read".into())
            }
            Cause::NoClient(_) => Self::defect("ID-008", message),
            Cause::Of(fault) => fault,
        }
    }
}

/// A message on one line and of a length that a person reads: services' own words stand in it, and whatever answers in the
/// place of a service may say anything.
pub fn bounded(message: &str) -> String {
    const LONGEST: usize = 1200;
    let line: String = message.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

/// Why a step of a chain did not give an identity.
#[derive(Debug)]
pub(crate) enum Nothing {
    /// It is not set up here: the next step is asked. In words, beginning with what was looked at.
    Absent(String),
    /// It is set up and fails: no other identity is taken in its place.
    Failed(Cause),
}

impl From<Cause> for Nothing {
    fn from(cause: Cause) -> Self {
        Self::Failed(cause)
    }
}

impl From<Nothing> for Cause {
    /// Where one identity is asked for by name, its absence is a wrong setting.
    fn from(nothing: Nothing) -> Self {
        match nothing {
            Nothing::Absent(reason) => Self::Wrong {
                place: "the identity that was asked for".into(),
                reason,
                cure: "set what is missing".into(),
            },
            Nothing::Failed(cause) => cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_that_can_be_read() {
        assert_eq!(bounded("a\r\nb\u{1b}[1mc"), "a b [1mc");
        assert_eq!(bounded(&"ä".repeat(5000)).chars().count(), 1201);
    }
}
