//! What ends a command before its time: faults of other rooms, problems of the pipeline file, and our own.

use std::io;
use std::path::PathBuf;

use millrace_model::{Fault, Refusal};
use millrace_protocol::Problems;

/// How a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The pipeline file was refused.
    File {
        /// Which.
        file: PathBuf,
        /// Everything that is wrong with it.
        problems: Problems,
    },
    /// The engine ended, and its log has said why.
    Logged(Fault),
    /// Anything else.
    Fault(Fault),
}

/// The causes that this room knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("{0}")]
    Usage(String),
    #[error("the pipeline file `{file}` cannot be read: {error}")]
    FileUnreadable { file: PathBuf, error: io::Error },
    #[error("this asks first, and there is no terminal to ask on")]
    NobodyToAsk,
    #[error("the answer was no; nothing was changed")]
    Declined,
    #[error("the result cannot be written: {0}")]
    OutputLost(io::Error),
    #[error("the system refuses what every process needs: {0}")]
    NoRuntime(io::Error),
    #[error("cannot listen at `{address}`: {error}")]
    CannotListen { address: String, error: io::Error },
    #[error("nobody says at `{address}` whether they are ready: {error}")]
    NoHealth { address: String, error: io::Error },
}

impl From<Cause> for Fault {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's kinds of error are many, and more will come")]
    fn from(cause: Cause) -> Self {
        let message = cause.to_string();
        let (code, refusal, cure) = match &cause {
            Cause::Usage(_) => ("CL-001", Refusal::Spec, "`millrace help` shows the commands and their options"),
            Cause::FileUnreadable { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => ("CL-002", Refusal::Spec, "correct the path of the pipeline file"),
                io::ErrorKind::PermissionDenied => {
                    ("CL-002", Refusal::Permission, "let the user that millrace runs as read the file")
                }
                io::ErrorKind::InvalidData => ("CL-002", Refusal::Spec, "store the file as UTF-8 text"),
                _ => ("CL-002", Refusal::Spec, "give the path of a pipeline file, YAML or JSON"),
            },
            Cause::NobodyToAsk => ("CL-003", Refusal::Spec, "add `--yes` to say that it is meant"),
            Cause::Declined => ("CL-004", Refusal::Check, "type `yes` in full to go on, or add `--yes`"),
            Cause::OutputLost(_) => ("CL-005", Refusal::Check, "look at where standard output goes: is the disk full?"),
            Cause::CannotListen { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                ("CL-009", Refusal::Permission, "choose a port above 1023: `--listen 127.0.0.1:9464`")
            }
            Cause::CannotListen { .. } => (
                "CL-009",
                Refusal::Spec,
                "give `--listen` an address of this machine and a port that is free, such as 127.0.0.1:9464",
            ),
            Cause::NoHealth { .. } => (
                "CL-010",
                Refusal::Check,
                "start it with the same address: `run --listen`, LISTEN of an agent, HUB_LISTEN of a hub",
            ),
            Cause::NoRuntime(_) => ("CL-006", Refusal::Check, "raise the limits on threads and open files"),
        };
        Self::refused(code, refusal, message, cure)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self::Fault(cause.into())
    }
}

impl From<clap::Error> for Failure {
    fn from(mistake: clap::Error) -> Self {
        let text = mistake.render().to_string();
        Cause::Usage(text.trim().trim_start_matches("error: ").to_owned()).into()
    }
}

impl Failure {
    /// The exit code of `docs/reference/cli.md`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::File { .. } => Refusal::Spec.exit_code(),
            Self::Logged(fault) | Self::Fault(fault) => fault.exit_code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use io::ErrorKind::{AddrInUse, InvalidData, IsADirectory, NotFound, PermissionDenied};

    use super::*;

    #[test]
    fn no_fault_is_without_a_cure() {
        let error = |kind: io::ErrorKind| io::Error::new(kind, "refused");
        let mut all = vec![
            Cause::Usage("x".into()),
            Cause::NobodyToAsk,
            Cause::Declined,
            Cause::OutputLost(error(io::ErrorKind::StorageFull)),
            Cause::NoRuntime(error(io::ErrorKind::WouldBlock)),
            Cause::NoHealth { address: "x".into(), error: error(io::ErrorKind::ConnectionRefused) },
        ];
        for kind in [NotFound, PermissionDenied, InvalidData, IsADirectory] {
            all.push(Cause::FileUnreadable { file: "x".into(), error: error(kind) });
        }
        for kind in [AddrInUse, PermissionDenied] {
            all.push(Cause::CannotListen { address: "x".into(), error: error(kind) });
        }
        let mut codes: Vec<&str> = Vec::new();
        for fault in all.into_iter().map(Fault::from) {
            assert!(!fault.message.is_empty() && !fault.cure.is_empty(), "{fault:?}");
            codes.push(fault.code);
        }
        codes.sort_unstable();
        codes.dedup();
        // Every code of this file, so that a cause that is added is added here too.
        let (source, _) = include_str!("fault.rs").split_once("#[cfg(test)]").expect("this very module");
        let mut written: Vec<&str> =
            source.match_indices("\"CL-").filter_map(|(at, _)| source.get(at + 1..at + 7)).collect();
        written.sort_unstable();
        written.dedup();
        assert_eq!(codes, written);
    }
}
