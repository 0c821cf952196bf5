//! The words of Millrace as types, and the ports between its rooms.
//!
//! Ground floor: every other crate stands on this one. It holds no I/O, starts no task and knows no wire format. What a
//! pipeline *is* (positions, sequences, rounds, commits), what a table looks like (`schema`), how changes lie in memory
//! (`changes`, columnar from the first byte) and what a source, a target and a secret store must be able to do (`ports`).

pub mod batch;
pub mod changes;
pub mod column;
pub mod commit;
pub mod fault;
pub mod finding;
pub mod nearest;
pub mod ports;
pub mod position;
pub mod registry;
pub mod schema;
pub mod size;
pub mod snapshot;
pub mod time;

pub use batch::{Batch, Image, Origin, Run};
pub use changes::{Anew, AnewReason, Barrier, Changes, Ended, SchemaChange, Survivors, TableChanges, TransactionEnd};
pub use column::ColumnBuilder;
pub use commit::{CommitKind, Head, OpCounts, Round, SourceIdentity, StagedFile, Standing};
pub use fault::{Fault, Refusal, Remedy};
pub use finding::{Finding, Severity};
pub use nearest::nearest;
pub use ports::{
    Chain, Chunk, ChunkReader, Claim, Claimed, Clock, Committed, Coverage, Filled, Gulp, Held, KeptSecret, Log,
    LogWaiting, Member, Opened, PastFile, Plan, Prepared, Release, RoundWriter, SecretReference, SecretStore,
    SecretValue, Slot, SlotState, Snapshot, Source, Stager, Sweeper, Taken, Target,
};
pub use position::{Checkpoint, Mark, Position, Sequence};
pub use registry::{Registry, SchemaVersion, SnapshotDone, TableEntry};
pub use schema::{Column, Kind, Op, TableName, TableSchema};
pub use size::ByteSize;
pub use snapshot::SnapshotProgress;
pub use time::Timestamp;
