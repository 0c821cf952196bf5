//! Stages the batches of a round and commits it: R2 to R5, one commit in flight.
//!
//! A fault while staging gives the round up; a commit without an answer is repeated with the same bytes until the chain
//! tells what stands there. The source is released only after a commit is confirmed.

use std::cell::Cell;

use millrace_model::{
    Batch, Checkpoint, CommitKind, Committed, Fault, Registry, Release, Round, RoundWriter, SourceIdentity, Timestamp,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::fault::Cause;
use crate::retry::{Backoff, Halt};
use crate::start::{Confirmed, Writing};
use crate::stop::Stop;
use crate::telemetry;

/// What the reader hands over, in order.
pub(crate) enum Work {
    /// Rows of the open round.
    Batch { round: u64, opened_at: Timestamp, batch: Batch, schema_version: u32 },
    /// The open round ends.
    Close(Box<Closing>),
}

/// How a round ends.
pub(crate) struct Closing {
    pub number: u64,
    pub kind: CommitKind,
    pub checkpoint: Checkpoint,
    pub source: SourceIdentity,
    pub registry: Registry,
    pub transactions: u64,
}

pub(crate) struct Writer<'a> {
    pub release: &'a dyn Release,
    pub writing: &'a mut Writing,
    pub queue: mpsc::Receiver<Work>,
    /// Tells the reader which round is confirmed.
    pub progress: watch::Sender<u64>,
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
                writer.writing.next_round = round + 1;
                let open = files.get_or_insert_with(|| writer.writing.chain.round(round, opened_at));
                open.write(batch, schema_version).await?;
            }
            Work::Close(closing) => {
                writer.writing.next_round = closing.number + 1;
                writer.close(*closing, files.take()).await?;
            }
        }
    }
    Ok(())
}

impl Writer<'_> {
    async fn close(&mut self, closing: Closing, files: Option<Box<dyn RoundWriter>>) -> Result<(), Fault> {
        let began = Instant::now();
        let files = match files {
            Some(files) => files.finish().await?,
            None => Vec::new(),
        };
        if self.abandoned.get() {
            return Ok(());
        }
        let round = Round {
            number: closing.number,
            kind: closing.kind,
            checkpoint: closing.checkpoint,
            source: closing.source,
            registry: closing.registry,
            snapshots: self.writing.confirmed.snapshots.clone(),
            transactions: closing.transactions,
            files,
            removed: Vec::new(),
        };
        self.commit(&round).await?;
        if let Some(position) = &round.checkpoint.position {
            self.release.release(position);
        }
        telemetry::committed(self.writing.chain.commit_number(), &round, began.elapsed());
        self.writing.losses.reset();
        let Round { number, checkpoint, source, registry, snapshots, .. } = round;
        self.writing.confirmed = Confirmed { source, checkpoint, registry, snapshots };
        self.progress.send_replace(number);
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
