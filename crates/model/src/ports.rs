//! The ports: what a source, a target, a secret store and a clock must be able to do for the engine.
//!
//! The engine knows nothing else of them, and they know nothing of the engine. The order of calls is the protocol of
//! `docs/specs/file-lake.md`; the types make the worst mistakes unwritable: nothing can be committed without a `Chain`,
//! which only a claim gives, and nothing can be released that is not a `Position` of a boundary.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::batch::Batch;
use crate::changes::{Changes, TableChanges};
use crate::commit::{Head, Round, SourceIdentity, StagedFile, Standing};
use crate::fault::Fault;
use crate::finding::Finding;
use crate::position::{Mark, Position};
use crate::registry::Registry;
use crate::schema::{TableName, TableSchema};
use crate::size::ByteSize;
use crate::time::Timestamp;

// ---- source ----

/// A source database, seen through one pipeline's settings.
#[async_trait]
pub trait Source: Send + Sync {
    /// Preflight: what is in the way, each with its cure. A missing answer is a fault with remedy `Retry`.
    async fn check(&self) -> Result<Vec<Finding>, Fault>;

    /// S1: takes the log if it is to be had, and then notes where it stands.
    async fn take(&self) -> Result<Taken, Fault>;

    /// What `take` would find, without taking it, so that `check` can compare it with the lake while the pipeline runs: a
    /// slot that is held by whoever is only to be looked at. `None` where the source cannot tell.
    async fn look(&self) -> Result<Option<Taken>, Fault> {
        Ok(None)
    }

    /// First start, after the claim and only where `take` found the slot missing: makes what the source needs (publication,
    /// slot; in this order) and takes it. Calling it again after a crash half-way is safe.
    async fn create(&self) -> Result<Box<dyn Held>, Fault>;

    /// `restart` after a gap: drops the slot and makes a new one; returns identity and position of the new.
    async fn recreate(&self) -> Result<(SourceIdentity, Position), Fault>;

    /// The tables that the pipeline file asks for and that can be carried, as they are now.
    async fn members(&self) -> Result<Vec<Member>, Fault>;

    /// Makes the log carry the changes of these tables from some position on; those that it carries stay as they are.
    async fn join(&self, tables: &[TableName]) -> Result<(), Fault>;

    /// Ends that. Only after a commit that no longer has the tables.
    async fn leave(&self, tables: &[TableName]) -> Result<(), Fault>;

    /// A database snapshot at a position C of the log that is made for it. Waits for every transaction that runs; while it
    /// waits, `bound` is told positions at or before which C surely does not lie, rising, so that the stream can go on.
    async fn snapshot(&self, bound: &(dyn Fn(Position) + Sync)) -> Result<Arc<dyn Snapshot>, Fault>;

    /// Whether two identities are the same log (a promotion is; another cluster is not).
    fn same(&self, one: &SourceIdentity, other: &SourceIdentity) -> bool;

    /// The flushed end of the log now.
    async fn end(&self) -> Result<Position, Fault>;

    /// How much of the log waits, for people; asked beside the stream, now and then.
    async fn waiting(&self) -> Result<LogWaiting, Fault> {
        Ok(LogWaiting::default())
    }
}

/// How much of a log waits; `None` where the source cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogWaiting {
    /// Written behind the last transaction that the open log has read.
    pub unread: Option<ByteSize>,
    /// Kept by the source because the pipeline may still need it.
    pub retained: Option<ByteSize>,
}

/// What `Source::take` found.
pub struct Taken {
    /// Which log answered.
    pub identity: SourceIdentity,
    /// Its slot.
    pub slot: Slot,
}

/// The source's bookmark for this pipeline: a replication slot, a retained range of binlogs.
pub enum Slot {
    /// It stands and is ours now.
    Held(Box<dyn Held>),
    /// There is none.
    Missing,
    /// It stands, but the log behind it is gone.
    Lost {
        /// The source's words.
        reason: String,
    },
    /// Another process has it.
    Busy {
        /// Who, as far as the source says.
        holder: String,
        /// How long a dead holder can keep it; then wait no more.
        patience: Duration,
    },
}

/// What a slot says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// Noted after it was taken (S1): everything before may be forgotten by the source.
    pub confirmed: Position,
    /// Its name is the default one, not one that the user wrote.
    pub default_name: bool,
    /// Why it cannot be read from at all (its publication is missing or younger); `None` where it can.
    pub unreadable: Option<String>,
}

/// What a log has of what comes after a position that was once read up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Everything.
    Whole,
    /// Not all: the confirmed position, as noted, is beyond it.
    Forgotten,
    /// It is not the log that was read up to there: the source was set back. In words, why.
    SetBack(String),
}

/// A slot that this process holds.
#[async_trait]
pub trait Held: Send {
    /// As noted when it was taken.
    fn state(&self) -> &SlotState;

    /// Which log it belongs to.
    fn identity(&self) -> &SourceIdentity;

    /// Whether the log goes on where what was read from `source` up to `position` ends.
    fn coverage(&self, position: &Position, source: &SourceIdentity) -> Coverage;

    /// The database snapshot that the slot's own creation exported; once, and only where this process made the slot.
    fn exported(&mut self) -> Option<Arc<dyn Snapshot>>;

    /// Reads on from `from`, or from the confirmed position: the first transaction is the first that ends after it.
    /// `registry` holds the tables whose changes count, as they were last described; a table that is not there, or is
    /// there under another `source_id`, counts from the mark on with which it joins.
    async fn open(self: Box<Self>, from: Option<&Position>, registry: &Registry) -> Result<Opened, Fault>;
}

/// An open log.
pub struct Opened {
    /// Where it reads on from.
    pub position: Position,
    /// For reading.
    pub log: Box<dyn Log>,
    /// For letting the source forget; usable from another task.
    pub release: Arc<dyn Release>,
}

/// The source's record of changes, read forward.
#[async_trait]
pub trait Log: Send {
    /// Appends what is ready in one gulp, or waits for it. Returns at a boundary (the end of a transaction) as soon as
    /// `into.wants_return()`, and otherwise whenever it likes. Cancel-safe: a dropped call loses nothing.
    async fn read(&mut self, into: &mut Changes) -> Result<Gulp, Fault>;

    /// Asks for a mark before the first transaction that ends past `position`, or, idle, once the log is known to have
    /// come there. With the mark the log has come to `position` (`Changes::reached`). The changes of `joining` count from
    /// the mark on; they look as a snapshot at `position` shows them, and their columns keep the ids that they have there.
    fn watch(&mut self, position: &Position, joining: &[Arc<TableSchema>]) -> Mark;

    /// From here on the changes of `tables` do not count. At a boundary.
    fn exclude(&mut self, tables: &[TableName]);

    /// From the next opening on transactions are handed over only once they have ended. Returns whether this log handed
    /// them over in progress, so that opening it anew changes something.
    fn decline_in_progress(&mut self) -> bool {
        false
    }

    /// Leaves the log in good order, so that another process can take it at once.
    async fn close(self: Box<Self>);
}

/// What a gulp ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gulp {
    /// Something was appended, or the position moved.
    Read,
    /// A watched position was reached; everything appended so far ends at or before it. At a boundary.
    Mark(Mark),
    /// The log stood beyond a watched position already when it was asked for.
    Passed(Mark),
}

/// A table that the pipeline file asks for.
#[derive(Clone, Debug)]
pub struct Member {
    /// As the catalogue describes it now, with its membership's `source_id` where it is carried.
    pub schema: Arc<TableSchema>,
    /// Whether the log carries its changes.
    pub published: bool,
}

/// A database snapshot: every reader of it sees the rows as of one position of the log.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// The position C that it shows: exactly the transactions that end at or before it.
    fn position(&self) -> &Position;

    /// How `table` is read under it, without the ranges in `done`.
    async fn plan(&self, table: &TableName, done: &[(String, String)]) -> Result<Plan, Fault>;

    /// A connection of its own that reads chunks. While this snapshot lives another one can be had at any time.
    async fn reader(&self) -> Result<Box<dyn ChunkReader>, Fault>;
}

/// How a table is read under a snapshot.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As the catalogue describes it under the snapshot: the columns that the log carries.
    pub schema: Arc<TableSchema>,
    /// The physical relation; another one means that the table was rewritten.
    pub relation: String,
    /// How it is cut (`ctid`, `key`).
    pub split: String,
    /// What remains to be read; never empty for a table that is not done.
    pub chunks: Vec<Chunk>,
    /// Estimate of its rows, for people.
    pub rows_estimate: u64,
}

/// A range of a table; an empty end is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// From here on,
    pub from: String,
    /// up to, but without, this.
    pub to: String,
}

/// How far a chunk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// There is more.
    More,
    /// The chunk is whole, and the relation is still the one that was planned.
    Whole,
    /// The relation was rewritten meanwhile: the chunk does not count, the table starts again under a new snapshot.
    Rewritten,
}

/// Reads chunks, one after the other.
#[async_trait]
pub trait ChunkReader: Send {
    /// Begins a chunk.
    async fn begin(&mut self, plan: &Plan, chunk: &Chunk) -> Result<(), Fault>;

    /// Appends rows of the chunk until `rows` hold `limit` bytes of memory, or it ends.
    async fn fill(&mut self, rows: &mut TableChanges, limit: ByteSize) -> Result<Filled, Fault>;
}

/// Lets the source forget.
pub trait Release: Send + Sync {
    /// Everything up to `position` is in a confirmed commit. Never blocks; the newest wins.
    fn release(&self, position: &Position);
}

// ---- target ----

/// A place that changes go to, seen through one pipeline's settings.
#[async_trait]
pub trait Target: Send + Sync {
    /// Preflight: proves that the place keeps the promises that the protocol needs.
    async fn check(&self) -> Result<Vec<Finding>, Fault>;

    /// S2: the newest commit, without its tables. Reads only, and few times however many tables there are.
    async fn head(&self) -> Result<Head, Fault>;

    /// The tables of a head. Where there are thousands these are thousands of reads, so a start asks after its claim.
    async fn registry(&self, head: &Head) -> Result<Registry, Fault>;

    /// The files that commits 1 to `last` name and that hold rows of `tables` (names as in commits, with or without the
    /// database; `None`: all tables). Of those that are removed by now at least one of each snapshot, for its id.
    async fn files_of(&self, last: u64, tables: Option<&[String]>) -> Result<Vec<PastFile>, Fault>;

    /// The bytes of a claim after `head`: made once, so that it can be repeated verbatim.
    fn prepare_claim(&self, head: &Head, claim: &Claim) -> Result<Prepared, Fault>;

    /// S3: creates the claim. A fault with remedy `Retry` means that the answer is unknown: call again with the same.
    async fn claim(&self, prepared: &Prepared) -> Result<Claimed, Fault>;
}

/// A file that a commit named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastFile {
    /// Relative to the root.
    pub path: String,
    /// Whose rows.
    pub table: TableName,
    /// The snapshot its rows come from.
    pub snapshot: Option<u64>,
    /// No longer in the lake.
    pub removed: bool,
}

/// What a claim says: the commit before it, repeated, save what a `restart` resets.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The state that it repeats or resets.
    pub standing: Standing,
    /// Files that a `restart` takes out of the lake.
    pub removed: Arc<[String]>,
}

/// A commit whose bytes are fixed but which may not have landed yet.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its number.
    pub commit: u64,
    /// The bytes that make it, and that tell it from anybody else's.
    pub bytes: Arc<[u8]>,
    /// What has to be there before it: (path, bytes), named by content.
    pub state: Vec<(String, Arc<[u8]>)>,
    /// What it says, for the claim's `Chain` to go on from.
    pub standing: Standing,
}

/// How a claim ended.
pub enum Claimed {
    /// The chain is ours to append to.
    Mine(Box<dyn Chain>),
    /// Another commit has that number: look for the head again.
    Taken,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is there.
    Done,
    /// Another writer's commit is there: stop for good.
    Fenced,
}

/// A chain that this process has claimed.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The number of the claim.
    fn claim(&self) -> u64;

    /// The newest confirmed commit of this writer.
    fn commit_number(&self) -> u64;

    /// For writing files of this claim, beside the commits.
    fn stager(&self) -> Arc<dyn Stager>;

    /// The bytes of the next commit: made once, so that it can be repeated verbatim.
    fn prepare(&self, round: &Round) -> Result<Prepared, Fault>;

    /// R3 and R4 once: creates the commit and, refused or unanswered, reads what stands there. Nothing there and no answer
    /// are faults with remedy `Retry`: call again with the same.
    async fn commit(&mut self, prepared: &Prepared) -> Result<Committed, Fault>;

    /// Whether another writer's commit stands after ours.
    async fn superseded(&self) -> Result<bool, Fault>;

    /// Deletes the leftovers of earlier writers (S5), beside the stream.
    fn sweeper(&self) -> Arc<dyn Sweeper>;
}

/// Makes files under one claim.
pub trait Stager: Send + Sync {
    /// Starts the files of a round that opened at `opened`. A round number is used once.
    fn round(&self, number: u64, opened: Timestamp) -> Box<dyn RoundWriter>;
}

/// S5 for one claim.
#[async_trait]
pub trait Sweeper: Send + Sync {
    /// Sweeps once. Returns how many files it deleted.
    async fn sweep(&self) -> Result<u64, Fault>;
}

/// The files of one round as they grow.
#[async_trait]
pub trait RoundWriter: Send {
    /// Encodes a batch under this version of its schema.
    async fn write(&mut self, batch: Batch, schema_version: u32) -> Result<(), Fault>;

    /// Makes every file durable. A fault means that the round must be given up.
    async fn finish(self: Box<Self>) -> Result<Vec<StagedFile>, Fault>;
}

// ---- secrets ----

/// Where a secret's value is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretReference {
    /// `env`, `file`, `aws_secrets_manager` …
    pub store: String,
    /// Its name there.
    pub name: String,
    /// A key inside it, where it is a JSON object.
    pub key: Option<String>,
}

/// A secret's value. It cannot be printed, and its memory is overwritten when the last copy goes.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<Zeroizing<String>>);

impl SecretValue {
    /// Wraps a value. A `String` is taken as it is, without another copy of it.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(value.into())))
    }

    /// The value itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Reads secrets.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// The value behind a reference.
    async fn read(&self, reference: &SecretReference) -> Result<SecretValue, Fault>;
}

/// One secret, for whoever signs in with it again and again: it may be rotated meanwhile.
#[async_trait]
pub trait KeptSecret: fmt::Debug + Send + Sync {
    /// The value to sign in with now.
    async fn value(&self) -> Result<SecretValue, Fault>;

    /// `refused` was not accepted: the store is asked again. `None` where it still says the same.
    async fn newer(&self, refused: &SecretValue) -> Result<Option<SecretValue>, Fault>;
}

/// A value that never changes.
#[async_trait]
impl KeptSecret for SecretValue {
    async fn value(&self) -> Result<SecretValue, Fault> {
        Ok(self.clone())
    }

    async fn newer(&self, _refused: &SecretValue) -> Result<Option<SecretValue>, Fault> {
        Ok(None)
    }
}

// ---- time ----

/// Wall-clock time. Waiting is the runtime's affair.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}
