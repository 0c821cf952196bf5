//! What goes wrong in the hub: refusals that a caller hears as a problem, and our own misfortunes, which it does not.

use millrace_model::{Fault, Refusal};

/// Why something was not done. `web` makes a response of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The body or a parameter is not valid.
    #[error("the request is not valid")]
    Invalid(Vec<Violation>),
    /// No token, an expired one, or one of another kind.
    #[error("{0}")]
    Unauthenticated(String),
    /// The account or the role does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// Unknown, or another account's.
    #[error("{0} is not there")]
    NotFound(&'static str),
    /// It is in the way of something that stands.
    #[error("{message}")]
    Conflict {
        /// Stable word for machines.
        code: &'static str,
        /// For people.
        message: String,
    },
    /// It was changed since the caller looked.
    #[error("it was changed in the meantime; read it again")]
    Stale,
    /// It was there once and will not come back.
    #[error("{message}")]
    Gone {
        /// Stable word for machines.
        code: &'static str,
        /// For people.
        message: String,
    },
    /// Too much at once.
    #[error("too many requests")]
    TooMany {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// The database does not answer for now, or has no room; the cause goes to the log only.
    #[error("the hub's database does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database or the system failed; the cause goes to the log only.
    #[error("the hub could not do this")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Violation {
    /// Path of the member: `streamingSource.connection.port`.
    pub(crate) field: String,
    /// What is wrong with it, and what to write instead.
    pub(crate) message: String,
}

impl Refused {
    /// A single violation.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation { field: field.into(), message: message.into() }])
    }

    /// A conflict.
    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict { code, message: message.into() }
    }

    /// Something of ours that went wrong without an error beneath.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into().into())
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) { Self::Unavailable(Box::new(error)) } else { Self::Failed(Box::new(error)) }
    }
}

/// Whether the database is away or full, which passes.
fn is_away(error: &sqlx::Error) -> bool {
    // SQLite: busy, an error of the disk, full, not to be opened. PostgreSQL: connections, resources, its operator.
    const SQLITE: [i32; 4] = [5, 10, 13, 14];
    const POSTGRES: [&str; 3] = ["08", "53", "57P"];
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
    let is_io = matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed);
    is_io
        || POSTGRES.iter().any(|class| code.len() == 5 && code.starts_with(class))
        || code.len() < 5 && code.parse().is_ok_and(|code: i32| SQLITE.contains(&(code & 0xff)))
}

/// Whether SQLite says that the file is damaged, or no database at all.
fn is_damaged(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.len() < 5 && code.parse().is_ok_and(|code: i32| [11, 26].contains(&(code & 0xff))))
}

/// The variable with the hub's address.
pub(crate) const LISTEN: &str = "HUB_LISTEN";
/// The variable with the address of its metrics.
pub(crate) const METRICS_LISTEN: &str = "HUB_METRICS_LISTEN";

/// What ends the hub before its time.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A setting that cannot be.
    #[error("{0}")]
    Settings(String),
    /// A flag or a variable with a value that cannot be.
    #[error("{name}: `{value}` {why}")]
    Setting {
        /// Of the variable.
        name: String,
        /// As it was given, where it cannot hold a secret.
        value: String,
        /// What is wrong with it.
        why: String,
        /// What to write instead.
        cure: String,
    },
    /// `hub backup` was not told where to.
    #[error("--to is not given")]
    NoPlace,
    /// Passwords would cross a network in the clear.
    #[error("the hub is to listen at {listen}, which others can reach, without TLS")]
    Insecure {
        /// Where.
        listen: String,
    },
    /// The certificate or its key.
    #[error("{subject} `{path}`: {why}")]
    Certificate {
        /// `the certificate` or `the certificate's key`.
        subject: &'static str,
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key file is that of another hub.
    #[error("{0}")]
    OtherKey(String),
    /// A file or folder of the hub.
    #[error("`{path}`: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Another hub has the folder.
    #[error("{process} serves a hub from the folder `{folder}`")]
    SecondHub {
        /// Which.
        folder: std::path::PathBuf,
        /// `process 4711`, or `a process`.
        process: String,
    },
    /// The database.
    #[error("the hub's database: {0}")]
    Database(#[from] sqlx::Error),
    /// The hub was set up before.
    #[error("this hub is set up already; nothing was changed")]
    SetUpAlready,
    /// The address.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// The variable that names it.
        variable: &'static str,
        /// Which.
        address: String,
        /// Why.
        error: std::io::Error,
    },
    /// Something in the hub's own files or tables is not what it wrote.
    #[error("{0}")]
    Damaged(String),
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        let message = cause.to_string();
        if let Cause::Setting { cure, .. } = &cause {
            return Self::refused("HB-001", Refusal::Settings, message, cure);
        }
        if let Cause::Listen { variable, .. } = &cause {
            let flag = if *variable == LISTEN { "--listen, or the variable " } else { "" };
            let cure = format!("set {flag}{variable} to an address of this machine and a free port");
            return Self::refused("HB-005", Refusal::Settings, message, cure);
        }
        let (code, refusal, cure) = match &cause {
            Cause::Settings(_) | Cause::Setting { .. } => {
                ("HB-001", Refusal::Settings, "correct the setting and start again")
            }
            Cause::NoPlace => {
                ("HB-001", Refusal::Settings, "name the file that the copy becomes: --to hub-backup.sqlite")
            }
            Cause::File { .. } => {
                ("HB-002", Refusal::Settings, "give --data a folder that the hub's user may write to")
            }
            Cause::SecondHub { .. } => (
                "HB-018",
                Refusal::Busy,
                "stop that hub first, or give this one a folder of its own by --data; hubs side by side need one PostgreSQL \
                 (HUB_DATABASE_URL)",
            ),
            Cause::Database(error) if is_damaged(error) => {
                ("HB-006", Refusal::Check, "restore the hub from a backup, with its key file")
            }
            Cause::Database(_) => {
                ("HB-003", Refusal::Check, "look at the disk, or at the server that HUB_DATABASE_URL names")
            }
            Cause::SetUpAlready => ("HB-004", Refusal::Check, "use the credentials that were printed then"),
            Cause::Listen { .. } => ("HB-005", Refusal::Settings, "choose an address of this machine and a free port"),
            Cause::Insecure { .. } => (
                "HB-007",
                Refusal::Settings,
                "set HUB_TLS_CERT and HUB_TLS_KEY, or HUB_PUBLIC_URL to the https address of the proxy in front of the hub, \
                 or listen at 127.0.0.1",
            ),
            Cause::Certificate { .. } => (
                "HB-008",
                Refusal::Settings,
                "name PEM files that the hub's user may read, the certificate first, and the key that belongs to it",
            ),
            Cause::OtherKey(_) => (
                "HB-009",
                Refusal::Settings,
                "give the hub the key file that the database was made with, by HUB_KEY_FILE or as hub.key in --data",
            ),
            Cause::Damaged(_) => ("HB-006", Refusal::Check, "restore the hub from a backup, with its key file"),
        };
        Self::refused(code, refusal, message, cure)
    }
}
