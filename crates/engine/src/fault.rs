//! What the engine itself finds wrong: the refusals of S2 and *Reconnect*, and the fence.

use std::io;

use millrace_model::{Anew, AnewReason, ByteSize, Column, Fault, Refusal, Remedy, SchemaChange};
use thiserror::Error;

const CURE_GAP: &str =
    "changes are missing from the log: run `millrace restart FILE --snapshot`, which reads all tables anew";

/// Causes of the engine's own faults; each has a page in `docs/errors/`.
#[derive(Debug, Error)]
pub(crate) enum Cause {
    #[error("the chain at this root belongs to pipeline \"{found}\", not to \"{wanted}\"")]
    OtherPipeline { found: String, wanted: String },
    #[error("the chain at this root was written from another source ({found}) than the one that answers ({answers})")]
    OtherSource { found: String, answers: String },
    #[error("a newer epoch ({found}) of this pipeline has written to the chain; this process was given epoch {mine}")]
    NewerEpoch { found: u64, mine: u64 },
    #[error("the slot of this pipeline is missing, but the lake goes up to {checkpoint}")]
    SlotMissing { checkpoint: String },
    #[error("the log behind the slot is gone: {reason}")]
    SlotLost { reason: String },
    #[error(
        "the slot was moved beyond the lake: the source may have forgotten everything before {confirmed}, the lake goes up to {checkpoint}"
    )]
    SlotBeyond { confirmed: String, checkpoint: String },
    #[error("the source was set back: {why}, but the lake goes up to {checkpoint}")]
    SourceSetBack { why: String, checkpoint: String },
    #[error("the slot cannot be read: {reason}")]
    SlotUnreadable { reason: String },
    #[error(
        "the slot of this pipeline's default name stands, but there is no commit at this root: it serves another lake"
    )]
    SlotOfAnotherLake,
    #[error("another process has this pipeline's slot: {holder}")]
    Busy { holder: String },
    #[error("another writer has taken over the chain: commit {commit} is not ours")]
    Fenced { commit: u64 },
    #[error("the writer of this stream has ended")]
    WriterEnded,
    #[error("stopped before the restart was claimed")]
    RestartStopped,
    #[error("the reader of this stream has ended")]
    ReaderEnded,
    #[error("the snapshotter of this stream has ended")]
    SnapshotterEnded,
    #[error("the stream had passed the position of a new snapshot before the snapshot joined it")]
    PassedSnapshot,
    #[error("a large transaction cannot be kept on disk until it ends ({folder}: {error})")]
    Spill { folder: String, error: io::Error },
    #[error("transactions need more than {limit} on disk until they end")]
    SpillFull { limit: ByteSize },
    #[error("the lake has no table `{table}`, and nothing was restarted")]
    NoSuchTable { table: String },
    #[error("{why}; from here on the source keeps transactions in progress until they end")]
    Declined { why: String },
    #[error(
        "the columns of table {} have changed ({}); everything before that is in the lake, up to {position}",
        .change.table, differences(.change)
    )]
    SchemaChanged { change: Box<SchemaChange>, position: String },
    #[error("rows of table {table}, which the pipeline does not carry")]
    NotCarried { table: String },
    #[error("table {} starts anew: {}", .0.table, reason(&.0.reason))]
    StartsAnew(Anew),
    #[error("a batch could not be built: {0}")]
    Batch(String),
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        let message = cause.to_string();
        match cause {
            Cause::OtherPipeline { .. } => Fault::refused(
                "EN-001",
                Refusal::Spec,
                message,
                "give this pipeline a root of its own (`path`, `prefix`), or take the old chain over with `millrace restart FILE --snapshot --adopt`",
            ),
            Cause::OtherSource { .. } => Fault::refused(
                "EN-002",
                Refusal::Gap,
                message,
                "if `slot.name` was changed set it back, and check host, port and database; only if the database was really replaced, run `millrace restart FILE --snapshot --adopt`",
            ),
            Cause::NewerEpoch { .. } => Fault::refused(
                "EN-003",
                Refusal::Fenced,
                message,
                "another process runs this pipeline by the hub's order; stop this one",
            ),
            Cause::SlotMissing { .. } => Fault::refused("EN-004", Refusal::Gap, message, CURE_GAP),
            Cause::SlotLost { .. } => Fault::refused("EN-005", Refusal::Gap, message, CURE_GAP),
            Cause::SlotBeyond { .. } => Fault::refused("EN-006", Refusal::Gap, message, CURE_GAP),
            Cause::SourceSetBack { .. } => Fault::refused(
                "EN-024",
                Refusal::Gap,
                message,
                "look whether this is the right server; if it was restored from a backup, or a standby was promoted that had not received everything, run `millrace restart FILE --snapshot`",
            ),
            Cause::SlotUnreadable { .. } => Fault::refused("EN-007", Refusal::Gap, message, CURE_GAP),
            Cause::SlotOfAnotherLake => Fault::refused(
                "EN-008",
                Refusal::Gap,
                message,
                "point the pipeline at the lake that the slot serves, or choose another `slot.name`, or run `millrace restart FILE --snapshot`",
            ),
            Cause::Busy { .. } => Fault::refused(
                "EN-009",
                Refusal::Busy,
                message,
                "stop the other process first; a pipeline is run by one process at a time",
            ),
            Cause::Fenced { .. } => Fault::refused(
                "EN-010",
                Refusal::Fenced,
                message,
                "another process runs this pipeline; if none is left, start again",
            ),
            Cause::WriterEnded => Fault::retry("EN-012", message),
            Cause::RestartStopped => {
                Fault::retry("EN-013", message).cure("run it again: nothing was changed in the lake")
            }
            Cause::ReaderEnded => Fault::retry("EN-014", message),
            Cause::SnapshotterEnded => Fault::retry("EN-015", message),
            Cause::PassedSnapshot => Fault::retry("EN-016", message)
                .cure("nothing: the snapshot is thrown away and a new one taken, nothing of it was in the lake"),
            Cause::Spill { error, .. } => Fault {
                remedy: spill_remedy(&error),
                ..Fault::retry("EN-017", message)
                    .cure("make room in `spill.directory`, or let it point to a folder that this process can write to")
            },
            Cause::SpillFull { .. } => Fault::refused(
                "EN-018",
                Refusal::Spec,
                message,
                "raise `spill.limit`, and let `spill.directory` point to a disk with that much room",
            ),
            Cause::NoSuchTable { .. } => Fault::refused(
                "EN-020",
                Refusal::Spec,
                message,
                "`millrace status` lists the tables; write `schema.table`, a dot inside a name as %2E",
            ),
            Cause::Declined { .. } => Fault::retry("EN-019", message).cure(
                "nothing: the log is opened anew without them; a larger `spill.limit`, with room for it in `spill.directory`, avoids the reconnect, and is needed where one transaction alone is larger (`EN-018`)",
            ),
            Cause::SchemaChanged { .. } => Fault::refused(
                "EN-021",
                Refusal::SchemaChange,
                message,
                "prepare the readers of the lake, then run with `schema.change: evolve`, which goes on from here; once the new columns are in the lake `stop` may be set again",
            ),
            Cause::NotCarried { .. } => Fault::defect("EN-022", message),
            Cause::StartsAnew(_) => Fault::retry("EN-023", message).cure(
                "nothing: the log is opened anew without the table, and its rows are read again beside the stream; its files so far leave the lake with that",
            ),
            Cause::Batch(_) => Fault::defect("EN-011", message),
        }
    }
}

impl Cause {
    /// Whether transactions had no room on disk that have not ended.
    pub(crate) fn is_lack_of_room(&self) -> bool {
        let is_full =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        matches!(self, Self::SpillFull { .. }) || matches!(self, Self::Spill { error, .. } if is_full(error))
    }
}

/// A folder that is not there or is closed to us says no; a full disk does not.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system's kinds of error are many, and more will come")]
fn spill_remedy(error: &io::Error) -> Remedy {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Remedy::Operator(Refusal::Spec),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Remedy::Operator(Refusal::Permission),
        _ => Remedy::Retry,
    }
}

/// Why a table starts anew, in words.
fn reason(reason: &AnewReason) -> String {
    let named = |key: &[String]| match key {
        [] => "all columns".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    match reason {
        AnewReason::Key { before, after } => format!("its key was {} and is {}", named(before), named(after)),
        AnewReason::Values => "rows of it have other values, which the log does not say, and it has no key".into(),
    }
}

/// What has become of the columns, in words. A column is known by its id.
fn differences(change: &SchemaChange) -> String {
    let same = |columns: &[Column], wanted: &Column| columns.iter().find(|it| it.id == wanted.id).cloned();
    let mut words = Vec::new();
    for column in &change.before {
        match same(&change.after, column) {
            None => words.push(format!("`{}` is gone", column.name)),
            Some(now) => {
                if now.name != column.name {
                    words.push(format!("`{}` is called `{}`", column.name, now.name));
                }
                if (&now.type_name, now.kind) != (&column.type_name, column.kind) {
                    words.push(format!("`{}` was {} and is {}", now.name, column.type_name, now.type_name));
                }
            }
        }
    }
    let new = change.after.iter().filter(|column| same(&change.before, column).is_none());
    words.extend(new.map(|column| format!("`{}` ({}) is new", column.name, column.type_name)));
    if words.is_empty() {
        words.push("their order".into());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use millrace_model::{Kind, TableName};

    use super::*;

    /// One of each; the test below notices one that is missing.
    fn all() -> Vec<Cause> {
        let text = || "x".to_owned();
        let limit = ByteSize::mib(1);
        vec![
            Cause::OtherPipeline { found: text(), wanted: text() },
            Cause::OtherSource { found: text(), answers: text() },
            Cause::NewerEpoch { found: 2, mine: 1 },
            Cause::SlotMissing { checkpoint: text() },
            Cause::SlotLost { reason: text() },
            Cause::SlotBeyond { confirmed: text(), checkpoint: text() },
            Cause::SourceSetBack { why: text(), checkpoint: text() },
            Cause::SlotUnreadable { reason: text() },
            Cause::SlotOfAnotherLake,
            Cause::Busy { holder: text() },
            Cause::Fenced { commit: 1 },
            Cause::WriterEnded,
            Cause::RestartStopped,
            Cause::ReaderEnded,
            Cause::SnapshotterEnded,
            Cause::PassedSnapshot,
            Cause::Spill { folder: text(), error: io::ErrorKind::StorageFull.into() },
            Cause::SpillFull { limit },
            Cause::NoSuchTable { table: text() },
            Cause::Declined { why: text() },
            Cause::SchemaChanged {
                change: Box::new(SchemaChange {
                    table: TableName::new(["d", "s", "t"]),
                    before: vec![],
                    after: vec![],
                }),
                position: text(),
            },
            Cause::NotCarried { table: text() },
            Cause::StartsAnew(Anew { table: TableName::new(["d", "s", "t"]), reason: AnewReason::Values }),
            Cause::Batch(text()),
        ]
    }

    #[test]
    fn no_fault_is_without_a_cure_and_each_code_has_one_cause() {
        let faults: Vec<Fault> = all().into_iter().map(Fault::from).collect();
        for fault in &faults {
            assert!(!fault.message.is_empty() && !fault.cure.is_empty(), "{fault:?}");
        }
        let mut codes: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), faults.len());
        // Every code of this file, so that a cause that is added is added here too.
        let (source, _) = include_str!("fault.rs").split_once("#[cfg(test)]").expect("this very module");
        let written = source.match_indices("\"EN-").filter_map(|(at, _)| source.get(at + 1..at + 7));
        let mut written: Vec<&str> = written.collect();
        written.sort_unstable();
        assert_eq!(written, codes);
    }

    #[test]
    fn what_a_key_was_and_is_stands_in_the_fault_of_a_table_that_starts_anew() {
        let anew = |reason| Fault::from(Cause::StartsAnew(Anew { table: TableName::new(["d", "s", "t"]), reason }));
        let (before, after) = (vec!["a".into(), "b".into()], Vec::new());
        let fault = anew(AnewReason::Key { before, after });
        assert_eq!(fault.message, "table d.s.t starts anew: its key was `a`, `b` and is all columns");
        assert!(fault.is_retry() && anew(AnewReason::Values).message.contains("the log does not say"));
    }

    fn column(id: u32, name: &str, type_name: &str) -> Column {
        Column { name: name.into(), id, kind: Kind::Text, type_name: type_name.into(), nullable: true }
    }

    #[test]
    fn a_schema_change_is_told_column_by_column() {
        let change = |before: &[Column], after: &[Column]| SchemaChange {
            table: TableName::new(["d", "s", "t"]),
            before: before.to_vec(),
            after: after.to_vec(),
        };
        let (a, b) = (column(1, "a", "text"), column(2, "b", "text"));
        let changed = change(&[a.clone(), b.clone()], &[column(1, "z", "varchar(9)"), column(3, "c", "text")]);
        assert_eq!(
            differences(&changed),
            "`a` is called `z`, `z` was text and is varchar(9), `b` is gone, `c` (text) is new"
        );
        assert_eq!(differences(&change(&[a.clone(), b.clone()], &[b, a])), "their order");
    }
}
