//! What can go wrong with a fixture. A test shows it and fails; xtask prints it and ends.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a fixture did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A program that must be there is not.
    #[error("{what} is missing; install it with: {cure}")]
    Missing {
        /// What is missing.
        what: String,
        /// The exact line that installs it.
        cure: String,
    },
    /// A program ran and said no.
    #[error("{program} failed ({status}): {stderr}")]
    Program {
        /// Its name.
        program: String,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// Something that was waited for did not come.
    #[error("waited {waited:?} for {what}: {seen}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// What was seen instead.
        seen: String,
    },
    /// A file or a process could not be used.
    #[error("{path}: {cause}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The process under test wrote what it should not write, or ended as it should not end.
    #[error("{0}")]
    Unexpected(String),
    /// Lake and source are not equal: the first difference.
    #[error("lake and source differ: {0}")]
    Difference(String),
}

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// For `map_err` on file operations.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { path: path.into(), cause }
    }
}
