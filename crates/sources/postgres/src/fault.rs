//! What can go wrong at this source, with its code, remedy and cure.
//!
//! | code | what | | code | what |
//! |---|---|---|---|---|
//! | PG-001 | no answer from the server | | PG-016 | a table is not there |
//! | PG-002 | the server is not ready | | PG-017 | a table without a key |
//! | PG-003 | user or password refused | | PG-018 | the primary key is deferrable |
//! | PG-004 | no such database | | PG-019 | not a table that has a log |
//! | PG-005 | a privilege is missing | | PG-020 | generated columns are left out |
//! | PG-006 | server and client do not fit together | | PG-021 | columns that are carried as text |
//! | PG-007 | `wal_level` is not `logical` | | PG-022 | values come as text, not binary |
//! | PG-008 | no free slot or walsender | | PG-023 | the publication cannot be made |
//! | PG-009 | the role lacks REPLICATION | | PG-024 | the log cannot be read |
//! | PG-010 | the slot has another plugin | | PG-025 | the catalogue does not agree with the log |
//! | PG-011 | the slot is of another database | | PG-026 | running transactions block the slot |
//! | PG-012 | the slot is in use | | PG-027 | the server is too old |
//! | PG-013 | the slot has lost its log | | PG-028 | a partitioned table |
//! | PG-014 | the publication is missing or younger than the slot | | PG-029 | the server refused a statement |
//! | PG-015 | the publication does not fit | | PG-030 | the server is a standby |
//! | PG-031 | a column that binary mode cannot carry | | PG-032 | a transaction in progress cannot be read |
//! | PG-033 | a table was renamed or dropped | | PG-034 | rows were given values that the log does not say |
//! | PG-035 | a password that was accepted before is refused | | | |

use std::io;

use millrace_model::{Fault, Refusal};

use crate::client::server_error::{ServerError, state};
use crate::decode::reader::Malformed;

/// What happened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("no answer from {address}")]
    Unreachable { address: String, source: io::Error },
    #[error("the connection to the server was lost")]
    Lost { source: io::Error },
    #[error("the server ended the connection")]
    Ended,
    #[error("the server has not answered for {seconds} s")]
    Silent { seconds: u64 },
    #[error("the server answers, but cannot do this now: {0}")]
    NotReady(ServerError),
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("the server refused user {user}: {answer}")]
    Refused { user: String, answer: ServerError },
    #[error("the server refuses the password of user {user}, which it accepted before: {answer}")]
    RefusedForNow { user: String, answer: ServerError },
    /// The password could not be read.
    #[error(transparent)]
    Secret(Fault),
    #[error("the server asks user {user} for {what}")]
    Method { user: String, what: &'static str },
    #[error("the server does not let user {user} in without encryption: {answer}")]
    PlainRefused { user: String, answer: ServerError },
    #[error("what answers does not take a connection as PostgreSQL does: {0}")]
    NotItself(ServerError),
    #[error("there is no database {database}")]
    NoDatabase { database: String },
    #[error("a privilege is missing: {0}")]
    Denied(ServerError),
    #[error("the server's wal_level is {level}, not logical")]
    WalLevel { level: String },
    #[error("all replication slots are in use")]
    NoFreeSlot,
    #[error("slot {slot} has the plugin {plugin}, not pgoutput")]
    OtherPlugin { slot: String, plugin: String },
    #[error("slot {slot} belongs to database {database}")]
    OtherDatabase { slot: String, database: String },
    #[error("slot {slot} is in use by {holder}")]
    SlotInUse { slot: String, holder: String },
    #[error("slot {slot} is still being made, by {maker}, which waits for running transactions: {blockers}")]
    InTheMaking { slot: String, maker: String, blockers: String },
    #[error("slot {slot} has lost its log: {reason}")]
    SlotLost { slot: String, reason: String },
    #[error("slot {slot} is confirmed up to {confirmed}, beyond {from}")]
    Skipped { slot: String, confirmed: String, from: String },
    #[error("there is no publication {publication}")]
    NoPublication { publication: String },
    #[error("slot {slot} cannot be read: publication {publication} is missing, or younger than the slot")]
    Unreadable { slot: String, publication: String },
    #[error("publication {publication} does not fit: {why}")]
    UnfitPublication { publication: String, why: String },
    #[error(
        "publication {publication} does not publish all changes any more: {why}; what was written meanwhile is in no log"
    )]
    NarrowedPublication { publication: String, why: String },
    #[error("publication {publication} was not made by this pipeline")]
    ForeignPublication { publication: String, hand_over: String },
    #[error("there is no table to read: {0}")]
    NoTables(String),
    /// A table that cannot be carried, in the words of its finding.
    #[error("{message}")]
    UnfitTable { code: &'static str, message: String, cure: String },
    #[error("the log cannot be read: {what} ({place})")]
    Undecodable { what: Malformed, place: String },
    #[error("the server is version {version}; the oldest that can be read is 13")]
    TooOld { version: u32 },
    #[error("the server refused a statement: {0}")]
    Statement(ServerError),
    #[error("the log ended with an error: {0}")]
    Stream(ServerError),
    #[error("column {column} of table {table} has no binary decoder ({type_name})")]
    NoDecoder { table: String, column: String, type_name: String },
    #[error("column {column} of table {table} has no binary decoder ({type_name}), and the pipeline file wants binary")]
    NotBinary { table: String, column: String, type_name: String },
    #[error("table {table} has changed in a way that cannot be read while the transaction is in progress")]
    InProgress { table: String },
    #[error("the snapshot has ended with the connection that kept it")]
    SnapshotGone,
    #[error("table {table} is gone")]
    TableGone { table: String },
    #[error("row security hides rows of table {table} from role {user}, but not from the log")]
    RowSecurity { table: String, user: String },
    #[error("the server's answer has an unexpected form: {0}")]
    Answer(&'static str),
}

impl Cause {
    /// The cause behind an error of the server that means the same whatever was asked.
    pub(crate) fn of(error: ServerError) -> Self {
        if error.state.starts_with("08") || state::NOT_NOW.contains(&error.state.as_str()) {
            Self::NotReady(error)
        } else if error.is(state::NO_PRIVILEGE) {
            Self::Denied(error)
        } else if error.is(state::LIMIT) {
            Self::NoFreeSlot
        } else {
            Self::Statement(error)
        }
    }

    /// A message of the log that the protocol does not allow.
    pub(crate) fn malformed(what: Malformed, place: impl Into<String>) -> Self {
        Self::Undecodable { what, place: place.into() }
    }

    /// The server's own error, if this is one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a cause is the server's own error only where it holds one")]
    pub(crate) fn server_error(&self) -> Option<&ServerError> {
        match self {
            Self::NotReady(error) | Self::Denied(error) | Self::Statement(error) | Self::Stream(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        let message = cause.to_string();
        let refused = |code, refusal, cure: String| Self::refused(code, refusal, message.clone(), cure);
        match cause {
            Cause::Unreachable { source, .. } => {
                Self::retry("PG-001", message).cure(cure::unreachable()).because(source)
            }
            Cause::Lost { source } => Self::retry("PG-001", message).because(source),
            Cause::Ended | Cause::Silent { .. } | Cause::SnapshotGone => Self::retry("PG-001", message),
            // The next look at the tables does without it.
            Cause::TableGone { .. } => Self::retry("PG-016", message),
            Cause::RowSecurity { table, user } => {
                refused("PG-005", Refusal::Permission, cure::row_security(&table, &user))
            }
            Cause::NotReady(error) => Self::retry("PG-002", message).cure(cure::not_now(&error)),
            Cause::ShuttingDown => Self::retry("PG-002", message).cure(cure::COMES_BACK),
            Cause::RefusedForNow { .. } => Self::retry("PG-035", message).cure(cure::ROTATED),
            Cause::Secret(fault) => fault,
            Cause::Refused { user, .. } => refused("PG-003", Refusal::Permission, cure::password(&user)),
            Cause::NoDatabase { .. } => {
                refused("PG-004", Refusal::Spec, "correct connection.database in the pipeline file".into())
            }
            Cause::Denied(_) => refused("PG-005", Refusal::Permission, cure::privilege()),
            Cause::Method { user, .. } => refused("PG-006", Refusal::Spec, cure::method(&user)),
            Cause::PlainRefused { user, .. } => refused("PG-006", Refusal::Permission, cure::no_tls(&user)),
            Cause::NotItself(_) => refused("PG-006", Refusal::Spec, cure::POOLER.into()),
            Cause::WalLevel { .. } => refused("PG-007", Refusal::Check, cure::wal_level()),
            Cause::NoFreeSlot => refused("PG-008", Refusal::Check, cure::slots()),
            Cause::OtherPlugin { slot, .. } => refused("PG-010", Refusal::Spec, cure::other_slot(&slot)),
            Cause::OtherDatabase { slot, .. } => refused("PG-011", Refusal::Spec, cure::other_slot(&slot)),
            Cause::SlotInUse { .. } => refused("PG-012", Refusal::Busy, "stop the other process first".into()),
            Cause::InTheMaking { .. } => Self::retry("PG-026", message).cure(cure::MAKING),
            Cause::SlotLost { .. } | Cause::Skipped { .. } => refused("PG-013", Refusal::Gap, cure::gap()),
            Cause::NoPublication { publication } => {
                refused("PG-014", Refusal::Spec, cure::no_publication(&publication))
            }
            Cause::Unreadable { .. } => refused("PG-014", Refusal::Gap, cure::gap()),
            Cause::UnfitPublication { publication, .. } => {
                refused("PG-015", Refusal::Spec, cure::unfit_publication(&publication))
            }
            Cause::NarrowedPublication { publication, .. } => {
                refused("PG-015", Refusal::Gap, cure::narrowed_publication(&publication))
            }
            Cause::ForeignPublication { hand_over, .. } => {
                refused("PG-015", Refusal::Spec, cure::foreign_publication(&hand_over))
            }
            Cause::NoTables(_) => refused("PG-016", Refusal::Spec, "correct tables in the pipeline file".into()),
            Cause::UnfitTable { code, cure, .. } => refused(code, Refusal::Spec, cure),
            Cause::Undecodable { .. } | Cause::Answer(_) => Self::defect("PG-024", message),
            Cause::TooOld { .. } => refused("PG-027", Refusal::Check, "use a server of version 13 or later".into()),
            Cause::Statement(_) | Cause::Stream(_) => {
                refused("PG-029", Refusal::Check, "see the server's log for the whole story".into())
            }
            Cause::NotBinary { .. } => {
                refused("PG-022", Refusal::Spec, "write pgoutput.binary: auto in the pipeline file".into())
            }
            Cause::InProgress { .. } => Self::retry("PG-032", message)
                .cure("nothing: from here on the server keeps transactions until they end"),
            Cause::NoDecoder { .. } => Self::retry("PG-031", message)
                .cure("nothing: the log is read as text from here on; pgoutput.binary: false avoids the reconnect"),
        }
    }
}

/// What to do, in words that `check` uses too.
pub(crate) mod cure {
    use crate::client::server_error::ServerError;

    pub(crate) const COMES_BACK: &str = "nothing, if the server comes back: the pipeline tries again until it does";

    /// While a slot is being made.
    pub(crate) const MAKING: &str = "wait, or end the transactions named: SELECT pg_terminate_backend(…), ROLLBACK PREPARED \
        '…'; where no Millrace makes this slot any more, end the process that does, which takes the slot away";

    pub(crate) fn not_now(error: &ServerError) -> &'static str {
        match error.state.as_str() {
            "53300" => {
                "close sessions that nobody needs, or raise max_connections and restart the server; a pipeline needs two and a \
                 walsender, and one more for each snapshot.parallelism"
            }
            "53100" | "53200" => "make room on the server's disk, or in its memory; its log says where",
            state if state.starts_with("57P") || state.starts_with("08") => COMES_BACK,
            _ => "nothing, if it passes: the pipeline tries again until it does",
        }
    }

    pub(crate) fn unreachable() -> String {
        "see that the server runs and that connection.host and connection.port lead to it from here".into()
    }

    /// While a password is being rotated.
    pub(crate) const ROTATED: &str =
        "where the password was rotated, write the new one to the secret; it is read anew at each attempt";

    pub(crate) fn password(user: &str) -> String {
        format!("check connection.username and connection.password, and that pg_hba.conf lets {user} in from here")
    }

    pub(crate) fn privilege() -> String {
        "grant the role what the message names; docs/errors/PG-005.md lists what a pipeline needs".into()
    }

    pub(crate) fn row_security(table: &str, user: &str) -> String {
        format!("ALTER ROLE {user} BYPASSRLS, or ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    }

    pub(crate) fn method(user: &str) -> String {
        format!(
            "give connection.password in the pipeline file, or a pg_hba.conf line for {user} with scram-sha-256, md5, \
             password or trust"
        )
    }

    pub(crate) fn no_tls(user: &str) -> String {
        format!(
            "this version speaks no TLS, and `hostssl` lines of pg_hba.conf do not count for it: add a `host` line for {user}, \
             or connect through a tunnel that ends beside the server"
        )
    }

    pub(crate) const POOLER: &str = "let connection.host and connection.port lead to the server itself, not to a pooler in \
        front of it (PgBouncer, for example)";

    pub(crate) fn wal_level() -> String {
        "ALTER SYSTEM SET wal_level = logical; then restart the server (managed services: see docs/errors/PG-007.md)"
            .into()
    }

    pub(crate) fn slots() -> String {
        "raise max_replication_slots (or max_wal_senders) and restart the server, or drop slots that nobody uses".into()
    }

    pub(crate) fn replication(user: &str) -> String {
        format!("ALTER ROLE {user} REPLICATION (on Amazon RDS: GRANT rds_replication TO {user})")
    }

    pub(crate) fn other_slot(slot: &str) -> String {
        format!("choose another slot.name, or drop slot {slot} if nobody needs it")
    }

    pub(crate) fn gap() -> String {
        "millrace restart FILE --snapshot reads the tables anew with a new slot".into()
    }

    pub(crate) fn no_publication(publication: &str) -> String {
        format!("CREATE PUBLICATION {publication} FOR TABLE …, or publication.mode: create")
    }

    pub(crate) fn unfit_publication(publication: &str) -> String {
        format!("ALTER PUBLICATION {publication}, or publication.mode: create with another publication.name")
    }

    pub(crate) fn narrowed_publication(publication: &str) -> String {
        let widen = crate::queries::widen_publication(publication);
        format!("{widen}; then millrace restart FILE --snapshot, which reads the tables anew")
    }

    pub(crate) fn altered_publication() -> &'static str {
        "nothing, if it published insert, update, delete and truncate all the time; otherwise millrace restart FILE --snapshot reads \
         the tables anew"
    }

    pub(crate) fn foreign_publication(hand_over: &str) -> String {
        format!(
            "publication.mode: use, or another publication.name; or, to give it to this pipeline for good, {hand_over}"
        )
    }

    pub(crate) fn renamed(table: &str, now: &str) -> String {
        format!("write {now} in the place of {table} in tables (it is then read as a new table), or rename it back")
    }

    pub(crate) fn dropped(table: &str) -> String {
        format!(
            "take {table} out of tables, or write its new name there; one that is made again under this name joins by itself"
        )
    }

    /// `table` as the lake names it.
    pub(crate) fn read_anew(table: &str) -> String {
        format!("millrace restart FILE --snapshot --tables {table} reads the table anew, once its changes are through")
    }

    /// `full_rows`: how the table gets a full replica identity.
    pub(crate) fn no_key(full_rows: &str) -> String {
        format!("add a primary key, or {full_rows}")
    }
}
