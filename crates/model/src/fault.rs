//! Something that went wrong, as it crosses a port: a stable code, what happened, and what can be done about it.
//!
//! Each crate has its own `fault.rs` with the causes it knows; across a port they travel as this one type. Messages name
//! tables, slots and paths, never a cell's value or a secret.

use std::error::Error;
use std::fmt;

/// What follows from a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nobody said no: give up what is not committed, wait, and try again.
    Retry,
    /// An answer that says no: a person has to do something.
    Operator(Refusal),
    /// Our own mistake.
    Defect,
}

/// Which "no" it is; each has its exit code in `docs/reference/cli.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A check found an error that has no code of its own (1).
    Check,
    /// The pipeline file or the flags (64).
    Spec,
    /// `schema.change: stop` (65).
    SchemaChange,
    /// The log cannot be continued (66).
    Gap,
    /// Another process has this pipeline (75).
    Busy,
    /// Another writer took over (76).
    Fenced,
    /// Permission or local policy (77).
    Permission,
}

/// A fault: code, remedy, message and cure.
#[derive(Debug)]
pub struct Fault {
    /// For example `PG-004`; `docs/errors/<code>.md` explains it.
    pub code: &'static str,
    /// What follows.
    pub remedy: Remedy,
    /// What happened, in one sentence.
    pub message: String,
    /// What to do about it; never empty, also where there is nothing to do but wait.
    pub cure: String,
    /// What lies beneath.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The cure of what passes by itself. It has to hold for commands too, which ask once.
const WAIT: &str = "wait and try again, as `millrace run` does by itself";

impl Refusal {
    /// The process's exit code for it (`docs/reference/cli.md`).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Check => 1,
            Self::Spec => 64,
            Self::SchemaChange => 65,
            Self::Gap => 66,
            Self::Busy => 75,
            Self::Fenced => 76,
            Self::Permission => 77,
        }
    }
}

impl Fault {
    /// A fault without an answer: try again.
    pub fn retry(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, remedy: Remedy::Retry, message: message.into(), cure: WAIT.into(), cause: None }
    }

    /// An answer that says no, with its cure.
    pub fn refused(code: &'static str, refusal: Refusal, message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { code, remedy: Remedy::Operator(refusal), message: message.into(), cure: cure.into(), cause: None }
    }

    /// A mistake of ours.
    pub fn defect(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            remedy: Remedy::Defect,
            message: message.into(),
            cure: "this is a defect of Millrace; please report it with this line".into(),
            cause: None,
        }
    }

    /// Adds a cure.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = cure.into();
        self
    }

    /// Adds what lies beneath.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Whether waiting and trying again is the remedy.
    pub fn is_retry(&self) -> bool {
        self.remedy == Remedy::Retry
    }

    /// The process's exit code for this fault (`docs/reference/cli.md`).
    pub fn exit_code(&self) -> u8 {
        match self.remedy {
            // A command that does not retry by itself ends with a plain failure.
            Remedy::Retry => 1,
            Remedy::Operator(refusal) => refusal.exit_code(),
            Remedy::Defect => 70,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        let mut cause: Option<&(dyn Error + 'static)> = self.cause.as_deref().map(|c| c as _);
        while let Some(c) = cause {
            write!(f, ": {c}")?;
            cause = c.source();
        }
        Ok(())
    }
}

impl Error for Fault {}
