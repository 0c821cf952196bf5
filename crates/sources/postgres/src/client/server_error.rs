//! An error that the server sent.

use std::fmt;

/// The fields of an ErrorResponse that we use. Its detail may hold values of rows and is shown only where it cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// SQLSTATE.
    pub(crate) state: String,
    /// In the server's language.
    pub(crate) message: String,
    /// More of it.
    pub(crate) detail: String,
    /// The server's function that raised it, in no language.
    pub(crate) routine: String,
}

impl ServerError {
    /// Reads the body of an ErrorResponse.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in body.split(|&byte| byte == 0) {
            let Some((&kind, text)) = field.split_first() else { continue };
            let text = String::from_utf8_lossy(text).into_owned();
            match kind {
                b'C' => error.state = text,
                b'M' => error.message = text,
                b'D' => error.detail = text,
                b'R' => error.routine = text,
                _ => {}
            }
        }
        error
    }

    /// Whether its SQLSTATE is this one.
    pub(crate) fn is(&self, state: &str) -> bool {
        self.state == state
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.state)
    }
}

impl std::error::Error for ServerError {}

/// SQLSTATEs that mean something to us (PostgreSQL manual, appendix A).
pub(crate) mod state {
    /// What the server has against a way in, not against a role: a pooler's answers to a first message that it does not
    /// understand or have a server for.
    pub(crate) const NO_STARTUP: [&str; 2] = ["08P01", "08004"];
    pub(crate) const WRONG_PASSWORD: &str = "28P01";
    pub(crate) const NOT_AUTHORIZED: &str = "28000";
    pub(crate) const NO_DATABASE: &str = "3D000";
    pub(crate) const NO_PRIVILEGE: &str = "42501";
    pub(crate) const NO_OBJECT: &str = "42704";
    pub(crate) const EXISTS: &str = "42710";
    pub(crate) const IN_USE: &str = "55006";
    pub(crate) const NOT_IN_STATE: &str = "55000";
    pub(crate) const NO_FILE: &str = "58P01";
    pub(crate) const LIMIT: &str = "53400";
    /// What a statement names is no longer there: column, table, schema, function, type.
    pub(crate) const GONE: [&str; 5] = ["42703", "42P01", "3F000", "42883", "42704"];
    /// An exported snapshot that cannot be imported: its name is unknown (in the words of old and new versions), or its
    /// transaction has ended.
    pub(crate) const NO_SNAPSHOT: [&str; 3] = ["22023", "42704", "55000"];
    /// Starting up, shutting down, too many connections, out of memory or disk, conflicts with others (a deadlock, a lock),
    /// cancelled by a person, a snapshot that has grown too old.
    pub(crate) const NOT_NOW: [&str; 12] =
        ["57P01", "57P02", "57P03", "57P05", "53300", "53200", "53100", "40001", "40P01", "55P03", "57014", "72000"];
}
