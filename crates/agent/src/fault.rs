//! What goes wrong in an agent beside its pipeline.

use std::io::ErrorKind;
use std::path::PathBuf;

use millrace_model::{Fault, Refusal};

/// What cures a variable that is missing.
pub(crate) const FROM_THE_CONSOLE: &str = "copy the environment variables from the agent's page in the console";

/// The causes that this crate knows.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The environment: everything that is wrong with it.
    #[error("{message}")]
    Settings {
        /// Each variable by its name, and what is wrong with it.
        message: String,
        /// What to write instead.
        cure: String,
    },
    /// A file of the agent.
    #[error("{variable}: `{path}` {}", trouble(error))]
    File {
        /// Which variable of the environment names it.
        variable: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The policy file.
    #[error("the policy in `{path}`: {reason}")]
    Policy {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The hub says no to who we are.
    #[error("the hub at {hub} does not know this client id and secret")]
    SignInRefused {
        /// Which hub.
        hub: String,
    },
    /// The hub does not take the agent's signature or its platform's token.
    #[error("the hub at {hub} does not take this agent's {what}")]
    ProofRefused {
        /// Which hub.
        hub: String,
        /// What was shown, as far as it can be said.
        what: String,
        /// What has to be there.
        cure: String,
    },
    /// The agent was removed.
    #[error("this agent was removed from the hub")]
    Removed,
    /// The hub speaks another protocol.
    #[error("the hub does not speak with this agent: {0}")]
    NotSpoken(String),
    /// Another process has the lease.
    #[error("another process of this agent is running: {0}")]
    Duplicate(String),
    /// No answer that makes sense.
    #[error("the hub gives no answer: {0}")]
    NoAnswer(String),
    /// The policy forbids what the hub wants.
    #[error("{0}")]
    Forbidden(String),
    /// A command that cannot be done as things stand.
    #[error("not done: {0}")]
    NotNow(String),
    /// Nobody waits for it any more.
    #[error("not done within the time that it was given")]
    TooLate,
    /// The address.
    #[error("cannot listen at `{address}`: {error}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        error: std::io::Error,
    },
}

/// What is wrong with a file, as it follows its name.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system's kinds of error are many, and more will come")]
fn trouble(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "does not exist".into(),
        ErrorKind::PermissionDenied => "may not be used by the user that the agent runs as".into(),
        _ => format!("cannot be used: {error}"),
    }
}

/// What to do about it. A folder that is missing is made: there is one above it that cannot be.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system's kinds of error are many, and more will come")]
fn file_cure(variable: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("set {variable} to a path that exists in the agent's container or machine"),
        ErrorKind::PermissionDenied => format!("let the agent's user read and write what {variable} names"),
        _ => format!("look at what {variable} names, and at the disk below it"),
    }
}

impl Cause {
    /// One setting that cannot be.
    pub fn setting(name: &str, why: &str, cure: impl Into<String>) -> Self {
        Self::Settings { message: format!("{name} {why}"), cure: cure.into() }
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        let message = cause.to_string();
        if let Cause::Settings { cure, .. } = cause {
            return Self::refused("AG-002", Refusal::Settings, message, cure);
        }
        if let Cause::ProofRefused { cure, .. } = cause {
            return Self::refused("AG-018", Refusal::Settings, message, cure);
        }
        if let Cause::File { variable, error, .. } = &cause {
            return Self::refused("AG-003", Refusal::Settings, message, file_cure(variable, error));
        }
        let (code, refusal, cure) = match &cause {
            Cause::NoAnswer(_) => return Self::retry("AG-001", message),
            Cause::Settings { .. } => ("AG-002", Refusal::Settings, FROM_THE_CONSOLE),
            Cause::ProofRefused { .. } => ("AG-018", Refusal::Settings, FROM_THE_CONSOLE),
            Cause::File { .. } => ("AG-003", Refusal::Settings, "let the agent's user read and write it"),
            Cause::Policy { .. } => (
                "AG-004",
                Refusal::Settings,
                "correct the file: `allowedHosts`, `allowedSecrets` and `allowedTargets` are lists, each value on a line after `- `",
            ),
            Cause::SignInRefused { .. } => (
                "AG-005",
                Refusal::Settings,
                "copy OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET from the agent's page in the console",
            ),
            Cause::Removed => ("AG-006", Refusal::Hub, "add an agent in the console and use its credentials"),
            Cause::NotSpoken(_) => ("AG-007", Refusal::Hub, "run the image that the agent's page in the console names"),
            Cause::Duplicate(_) => {
                ("AG-008", Refusal::Busy, "stop the other process, or give this one an agent of its own")
            }
            Cause::Forbidden(_) => ("AG-009", Refusal::Permission, "widen the policy file where that is meant"),
            Cause::NotNow(_) => ("AG-015", Refusal::Check, "stop the pipeline where it runs, and ask again"),
            Cause::TooLate => ("AG-016", Refusal::Check, "see that source and target answer, and ask again"),
            Cause::Listen { .. } => {
                ("AG-010", Refusal::Settings, "set LISTEN to an address of this machine and a free port")
            }
        };
        Self::refused(code, refusal, message, cure)
    }
}
