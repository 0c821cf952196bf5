//! What the snapshotter asks of the reader. The reader alone owns what the next commits will say, so everything that is to
//! stand in a commit passes through here, in order.

use std::sync::Arc;

use millrace_model::{Fault, Position, Registry, Sequence, SnapshotProgress, StagedFile, TableName, TableSchema};
use tokio::sync::{mpsc, oneshot};

use crate::fault::Cause;

/// Requests that may wait for the reader.
pub(crate) const REQUESTS: usize = 16;

pub(crate) enum Request {
    /// Replies once the log has come to `position`, and reads no further until it is told to.
    Hold { position: Position, reply: oneshot::Sender<()> },
    /// Ends a hold.
    Go,
    /// Closes what is open, and replies once it is committed.
    Settle { reply: oneshot::Sender<Known> },
    /// Takes tables out of the registry; replies once that is committed.
    Leave { tables: Vec<TableName>, reply: oneshot::Sender<Known> },
    /// At position C: tables begin to count, or their snapshot begins. Replies with the anchors.
    Join { position: Position, tables: Vec<Joining>, reply: oneshot::Sender<Vec<Joined>> },
    /// A chunk is durable and waits for its commit.
    Chunk(Box<ChunkDone>),
    /// Every snapshot that was due is handed over.
    Idle,
}

/// What the newest confirmed commit knows.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub commit: u64,
    pub registry: Registry,
    pub snapshots: Vec<SnapshotProgress>,
}

/// A table whose snapshot (or membership) begins at C.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub schema: Arc<TableSchema>,
    /// Its changes count from C on; before, they did not.
    pub is_new: bool,
    /// How it will be read; `None` where it is not read at all.
    pub read: Option<Reading>,
    /// Paths that leave the lake if it starts anew.
    pub stale: Vec<String>,
}

/// How a joining table is read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub relation: String,
    pub split: String,
    pub rows_estimate: u64,
    /// Its id if it starts anew.
    pub fresh_id: u64,
    /// As far as the source can tell, it may go on where it was left; a change seen since may forbid it.
    pub may_resume: bool,
}

/// What became of a joining table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub id: u64,
    pub anchor: Sequence,
    pub schema_version: u32,
    /// Ranges that are done already.
    pub done: Vec<(String, String)>,
}

/// A chunk whose files are durable.
#[derive(Debug)]
pub(crate) struct ChunkDone {
    pub table: TableName,
    pub id: u64,
    pub range: (String, String),
    pub rows: u64,
    pub files: Vec<StagedFile>,
    /// It was the last of its table.
    pub last: bool,
}

/// The snapshotter's end.
#[derive(Clone)]
pub(crate) struct Requests(pub(crate) mpsc::Sender<Request>);

impl Requests {
    pub(crate) async fn send(&self, request: Request) -> Result<(), Fault> {
        self.0.send(request).await.map_err(|_gone| reader_ended())
    }

    /// Waits until one more request may wait. What is said in it is then decided and sent without a pause between.
    pub(crate) async fn place(&self) -> Result<mpsc::Permit<'_, Request>, Fault> {
        self.0.reserve().await.map_err(|_gone| reader_ended())
    }

    /// Sends a request and waits for its reply.
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        self.send(request(reply)).await?;
        answer.await.map_err(|_gone| reader_ended())
    }
}

fn reader_ended() -> Fault {
    Cause::ReaderEnded.into()
}
