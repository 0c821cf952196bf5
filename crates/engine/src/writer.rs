//! Stages the batches of a round and commits it: R2 to R5, one commit in flight.
//!
//! A fault while staging gives the round up; a commit without an answer is repeated with the same bytes until the chain
//! tells what stands there. The source is released only after a commit is confirmed.

use std::cell::Cell;

use millrace_model::{
    Batch, Checkpoint, CommitKind, Committed, Fault, Registry, Release, Round, RoundWriter, SnapshotProgress,
    SourceIdentity, StagedFile, Stager, Timestamp,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::fault::Cause;
use crate::retry::{Backoff, Halt};
use crate::start::{Confirmed, Writing};
use crate::stop::Stop;
use crate::telemetry::{self, ChunkProgress};

/// What the reader hands over, in order.
pub(crate) enum Work {
    /// Rows of the open round.
    Batch { round: u64, opened_at: Timestamp, batch: Box<Batch>, schema_version: u32 },
    /// The open round ends.
    Close(Box<Closing>),
}

/// How a round ends.
pub(crate) struct Closing {
    pub number: u64,
    pub checkpoint: Checkpoint,
    pub source: SourceIdentity,
    pub registry: Registry,
    pub snapshots: Vec<SnapshotProgress>,
    pub removed: Vec<String>,
    /// When its transactions committed in the source.
    pub commits: Vec<Timestamp>,
    /// Files of snapshot chunks, durable already.
    pub files: Vec<StagedFile>,
    /// What they stand for, to be told once committed.
    pub chunks: Vec<ChunkProgress>,
}

/// The newest confirmed round and its commit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub round: u64,
    pub commit: u64,
}

pub(crate) struct Writer<'a> {
    pub release: &'a dyn Release,
    pub stager: &'a dyn Stager,
    pub writing: &'a mut Writing,
    pub queue: mpsc::Receiver<Work>,
    /// Tells the reader which round is confirmed.
    pub progress: watch::Sender<Done>,
    /// The log is lost: what is queued is given up.
    pub abandoned: &'a Cell<bool>,
    pub stop: Stop,
}

/// Works until the reader has ended and everything it handed over is committed (`Ok`), or given up with it.
pub(crate) async fn run(mut writer: Writer<'_>) -> Result<(), Fault> {
    let mut files: Option<Box<dyn RoundWriter>> = None;
    while let Some(work) = writer.queue.recv().await {
        if writer.abandoned.get() {
            continue;
        }
        match work {
            Work::Batch { round, opened_at, batch, schema_version } => {
                let open = files.get_or_insert_with(|| writer.stager.round(round, opened_at));
                open.write(*batch, schema_version).await?;
            }
            Work::Close(closing) => writer.close(*closing, files.take()).await?,
        }
    }
    Ok(())
}

impl Writer<'_> {
    async fn close(&mut self, closing: Closing, files: Option<Box<dyn RoundWriter>>) -> Result<(), Fault> {
        let began = Instant::now();
        let mut staged = match files {
            Some(files) => files.finish().await?,
            None => Vec::new(),
        };
        if self.abandoned.get() {
            return Ok(());
        }
        staged.extend(closing.files);
        let round = Round {
            number: closing.number,
            kind: if staged.is_empty() { CommitKind::Heartbeat } else { CommitKind::Changes },
            checkpoint: closing.checkpoint,
            source: closing.source,
            registry: closing.registry,
            snapshots: closing.snapshots,
            transactions: closing.commits.len() as u64,
            files: staged,
            removed: closing.removed.into(),
        };
        self.commit(&round).await?;
        if let Some(position) = &round.checkpoint.position {
            self.release.release(position);
        }
        let commit = self.writing.chain.commit_number();
        telemetry::committed(commit, &round, &closing.commits, began.elapsed());
        for chunk in &closing.chunks {
            telemetry::chunk_committed(chunk);
        }
        self.writing.losses.reset();
        let Round { number, checkpoint, source, registry, snapshots, .. } = round;
        self.writing.confirmed = Confirmed { source, checkpoint, registry, snapshots };
        self.progress.send_replace(Done { round: number, commit });
        Ok(())
    }

    /// R3 and R4. A stop does not end it: the bytes may have landed, and `Engine::run` has its deadline.
    async fn commit(&mut self, round: &Round) -> Result<(), Fault> {
        let prepared = self.writing.chain.prepare(round)?;
        let mut backoff = Backoff::default();
        loop {
            match self.writing.chain.commit(&prepared).await {
                Ok(Committed::Done) => return Ok(()),
                Ok(Committed::Fenced) => return Err(Cause::Fenced { commit: prepared.commit }.into()),
                Err(fault) if fault.is_retry() => match backoff.wait("commit", &fault, &mut self.stop).await {
                    Ok(()) => {}
                    // Asked to stop: go on trying, at the same pace, until the deadline.
                    Err(Halt::Stopped) => tokio::time::sleep(Backoff::AT_STOP).await,
                    Err(Halt::Fault(fault)) => return Err(fault),
                },
                Err(fault) => return Err(fault),
            }
        }
    }
}
