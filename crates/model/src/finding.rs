//! What a preflight check finds, each with its cure.

use crate::fault::{Fault, Refusal, Remedy};

/// How grave a finding is; any error makes `check` fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// It will run, but not as well as it could.
    Warning,
    /// It will not run.
    Error,
}

impl Severity {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One result of `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable code, explained in `docs/errors/`.
    pub code: &'static str,
    /// How grave.
    pub severity: Severity,
    /// What it is about: a table, a setting, a path.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do.
    pub cure: String,
    /// The "no" with which `run` ends when this is an error.
    pub refusal: Refusal,
}

impl Finding {
    /// An error that ends `run` with `refusal`.
    pub fn error(
        code: &'static str,
        refusal: Refusal,
        subject: impl Into<String>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: Severity::Error,
            subject: subject.into(),
            message: message.into(),
            cure: cure.into(),
            refusal,
        }
    }

    /// A warning.
    pub fn warning(
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, Refusal::Check, subject, message, cure) }
    }

    /// Something good to know.
    pub fn info(code: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Info, ..Self::error(code, Refusal::Check, subject, message, "") }
    }

    /// The error finding that stands for a fault; `None` for a missing answer, which is no error.
    pub fn of_fault(subject: impl Into<String>, fault: &Fault) -> Option<Self> {
        let refusal = match fault.remedy {
            Remedy::Operator(refusal) => refusal,
            Remedy::Defect => Refusal::Check,
            Remedy::Retry => return None,
        };
        Some(Self::error(fault.code, refusal, subject, fault.message.clone(), fault.cure.clone()))
    }
}
