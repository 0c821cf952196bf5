//! What can be wrong with a pipeline file: problems, each with its path, its code and its cure; all of them at once.

use std::fmt;

use millrace_model::{Fault, Refusal};

/// The file is neither YAML nor JSON.
pub(crate) const UNREADABLE: &str = "PL-001";
/// A field is unknown, missing or has a value that it cannot have.
pub(crate) const NOT_VALID: &str = "PL-002";
/// It is valid, but this version cannot do it yet.
pub const NOT_BUILT: &str = "PL-003";
/// It asks for an encrypted connection, which this version cannot make yet.
pub(crate) const NO_TLS: &str = "PL-004";
/// A secret stands where a reference to one belongs.
pub const PLAIN_SECRET: &str = "PL-005";
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
    /// What to write instead; never empty.
    pub cure: String,
}

/// Why a value cannot be taken, whatever field it stands in, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Follows the path: `must not be empty`.
    pub(crate) message: String,
    /// Never empty.
    pub(crate) cure: String,
}

impl Wrong {
    /// There is none without a cure.
    pub(crate) fn new(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { message: message.into(), cure: cure.into() }
    }

    /// As a problem of a place in the file.
    pub(crate) fn at(self, path: impl Into<String>, line: u64) -> Problem {
        Problem::new(NOT_VALID, path, self.message, self.cure).line(line)
    }
}

impl Problem {
    /// A problem; there is none without a cure.
    pub(crate) fn new(
        code: &'static str,
        path: impl Into<String>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { code, path: path.into(), line: 0, message: message.into(), cure: cure.into() }
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
        let cures: Vec<&str> = problems.0.iter().map(|problem| problem.cure.as_str()).collect();
        Self::refused(code, Refusal::Spec, problems.to_string(), cures.join("; "))
    }
}
