//! Where the pipeline stands: positions of the source's log, sequences of the engine, and the checkpoint that joins them.

use std::fmt;
use std::sync::Arc;

/// A place in the source's log, as text that only the source that wrote it can read.
///
/// It has no `Ord` on purpose: the engine never compares positions. Only commit boundaries and heartbeats carry one, so a
/// checkpoint inside a transaction cannot be written down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position(Arc<str>);

impl Position {
    /// Wraps the source's own text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The source's own text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, shared.
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The engine's number of a change: 1, 2, 3 … in commit order of the source; 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a target holds durably: everything up to `position` is in the lake, and `sequence` is the last number given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Null until the first commit that knows where the log stood.
    pub position: Option<Position>,
    /// The sequence of the last change at or before `position`.
    pub sequence: Sequence,
}

/// A place that somebody asked the log to announce (`Log::watch`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(pub u64);
