//! What can be wrong with a pipeline file: problems, each with its path, its code and its cure; all of them at once.

use std::fmt;

use millrace_model::{Fault, Refusal};

/// The file is neither YAML nor JSON.
pub(crate) const UNREADABLE: &str = "PL-001";
/// A field is unknown, missing or has a value that it cannot have.
pub(crate) const NOT_VALID: &str = "PL-002";
/// It is valid, but this version cannot do it yet.
pub(crate) const NOT_BUILT: &str = "PL-003";
/// It asks for an encrypted connection, which this version cannot make yet.
pub(crate) const NO_TLS: &str = "PL-004";
/// A secret stands where a reference to one belongs.
pub(crate) const PLAIN_SECRET: &str = "PL-005";
/// Finding: a property that means nothing here.
pub(crate) const MEANINGLESS: &str = "PL-006";
/// Finding: a property of another product that is honoured under its name here.
pub(crate) const HONOURED: &str = "PL-007";
/// Finding: the connection is not encrypted, though the file would like it to be.
pub const PLAIN_CONNECTION: &str = "PL-009";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `PL-…`
    pub code: &'static str,
    /// Where: `streamingSource.connection.port`; empty for the whole file.
    pub path: String,
    /// The line, if it is known, else 0.
    pub line: u64,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty where the message says it.
    pub cure: String,
}

impl Problem {
    /// A problem without a cure of its own.
    pub(crate) fn new(code: &'static str, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, path: path.into(), line: 0, message: message.into(), cure: String::new() }
    }

    /// Adds what to write instead.
    #[must_use]
    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = cure.into();
        self
    }

    /// Adds where it stands.
    #[must_use]
    pub(crate) fn line(mut self, line: u64) -> Self {
        self.line = line;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path.as_str(), self.line) {
            ("", _) => f.write_str(&self.message),
            (path, 0) => write!(f, "{path}: {}", self.message),
            (path, line) => write!(f, "{path} (line {line}): {}", self.message),
        }
    }
}

/// Everything that is wrong with a file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "))]
pub struct Problems(pub Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl From<Problems> for Fault {
    fn from(problems: Problems) -> Self {
        let code = problems.0.first().map_or(NOT_VALID, |problem| problem.code);
        let cures: Vec<&str> = problems.0.iter().map(|p| p.cure.as_str()).filter(|cure| !cure.is_empty()).collect();
        Self::refused(code, Refusal::Spec, problems.to_string(), cures.join("; "))
    }
}
