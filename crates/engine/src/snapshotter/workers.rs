//! Several readers of one database snapshot, chunk after chunk. While a reader reads on, what it has read is encoded and made
//! durable. A chunk's files wait for a commit only when it is whole.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use millrace_model::{
    Batch, ByteSize, Chunk, ChunkReader, Fault, Filled, Plan, RoundWriter, Snapshot, StagedFile, TableChanges,
    TableName,
};
use tokio::sync::mpsc;

use super::Snapshotter;
use super::pass::EMPTY;
use crate::fault::Cause;
use crate::requests::{ChunkDone, Joined, Request};
use crate::telemetry;

/// A chunk that a lost connection or a store kept from coming to be is tried so many times.
const ATTEMPTS: usize = 3;

/// One table being read.
pub(super) struct Reading {
    plan: Plan,
    joined: Joined,
    /// Chunks that are not handed over yet.
    remaining: Cell<usize>,
    /// The relation was rewritten: nothing more of it counts.
    rewritten: Cell<bool>,
}

impl Reading {
    pub(super) fn new(plan: Plan, joined: Joined) -> Self {
        let remaining = Cell::new(plan.chunks.len());
        Self { plan, joined, remaining, rewritten: Cell::new(false) }
    }
}

/// A chunk to be read.
struct Waiting<'a> {
    reading: &'a Reading,
    chunk: Chunk,
    /// How often it was tried.
    tried: usize,
}

/// Chunks that wait.
struct Queue<'a>(RefCell<VecDeque<Waiting<'a>>>);

impl<'a> Queue<'a> {
    fn next(&self) -> Option<Waiting<'a>> {
        self.0.borrow_mut().pop_front()
    }

    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Has a chunk tried again that did not come to be, where that may help.
    fn again(&self, waiting: Waiting<'a>, fault: Fault) -> Result<(), Fault> {
        let tried = waiting.tried + 1;
        if !fault.is_retry() || tried >= ATTEMPTS {
            return Err(fault);
        }
        telemetry::retrying("snapshot", &fault, std::time::Duration::ZERO);
        self.0.borrow_mut().push_front(Waiting { tried, ..waiting });
        Ok(())
    }
}

/// What a reader hands over, in order.
enum Piece<'a> {
    /// Rows of a chunk.
    Rows(&'a Reading, Batch),
    /// They were all.
    Whole(Waiting<'a>),
    /// None of them count.
    Void,
}

/// Batches that wait between reading and encoding.
const BETWEEN: usize = 1;

/// Reads everything; returns the tables that have to start again.
pub(super) async fn read_all(
    snapshotter: &Snapshotter<'_>,
    snapshot: &dyn Snapshot,
    readings: Vec<Reading>,
) -> Result<Vec<TableName>, Fault> {
    let chunks = readings.iter().flat_map(|reading| {
        reading.plan.chunks.iter().map(move |chunk| Waiting { reading, chunk: chunk.clone(), tried: 0 })
    });
    let queue = Queue(RefCell::new(chunks.collect()));
    let count = snapshotter.engine.settings.snapshot_readers().clamp(1, queue.len().max(1));
    all((0..count).map(|_| worker(snapshotter, snapshot, &queue))).await?;
    let again = readings.iter().filter(|reading| reading.rewritten.get());
    Ok(again.map(|reading| reading.plan.schema.table.clone()).collect())
}

async fn worker(snapshotter: &Snapshotter<'_>, snapshot: &dyn Snapshot, queue: &Queue<'_>) -> Result<(), Fault> {
    loop {
        let (pieces, arriving) = mpsc::channel(BETWEEN);
        let reading = read(snapshotter, snapshot, queue, Pieces(pieces));
        tokio::try_join!(reading, write(snapshotter, queue, arriving))?;
        // What the last chunk was written to may have failed after there was nothing more to read.
        if queue.len() == 0 {
            return Ok(());
        }
    }
}

/// The reader's end.
struct Pieces<'a>(mpsc::Sender<Piece<'a>>);

impl<'a> Pieces<'a> {
    /// Fails only where writing has failed, which then says why.
    async fn send(&self, piece: Piece<'a>) -> Result<(), Fault> {
        self.0.send(piece).await.map_err(|_gone| Cause::SnapshotterEnded.into())
    }
}

/// Reads chunks as long as there are any.
async fn read<'a>(
    snapshotter: &Snapshotter<'_>,
    snapshot: &dyn Snapshot,
    queue: &Queue<'a>,
    pieces: Pieces<'a>,
) -> Result<(), Fault> {
    let limit = snapshotter.engine.settings.snapshot_batch();
    let mut reader = snapshot.reader().await?;
    while let Some(waiting) = queue.next() {
        if waiting.reading.rewritten.get() {
            continue;
        }
        match read_chunk(snapshot, reader.as_mut(), &waiting, limit, &pieces).await {
            Ok(true) => pieces.send(Piece::Whole(waiting)).await?,
            Ok(false) => {
                waiting.reading.rewritten.set(true);
                pieces.send(Piece::Void).await?;
            }
            Err(fault) => {
                queue.again(waiting, fault)?;
                pieces.send(Piece::Void).await?;
                reader = snapshot.reader().await?;
            }
        }
    }
    Ok(())
}

/// Reads one chunk; `false` where the relation was rewritten.
async fn read_chunk<'a>(
    snapshot: &dyn Snapshot,
    reader: &mut dyn ChunkReader,
    Waiting { reading, chunk, .. }: &Waiting<'a>,
    limit: ByteSize,
    pieces: &Pieces<'a>,
) -> Result<bool, Fault> {
    if chunk.from == EMPTY {
        return Ok(true);
    }
    let mut rows = TableChanges::new(Arc::clone(&reading.plan.schema));
    reader.begin(&reading.plan, chunk).await?;
    loop {
        let filled = reader.fill(&mut rows, limit).await?;
        if filled == Filled::Rewritten {
            return Ok(false);
        }
        if rows.rows() > 0 {
            let Joined { id, anchor, .. } = reading.joined;
            let batch = rows
                .take_snapshot(id, anchor, snapshot.position().clone())
                .map_err(|error| Cause::Batch(error.to_string()))?;
            pieces.send(Piece::Rows(reading, batch)).await?;
        }
        if filled == Filled::Whole {
            return Ok(true);
        }
    }
}

/// The files of a chunk that is being read.
#[derive(Default)]
struct Files {
    rows: u64,
    round: Option<Box<dyn RoundWriter>>,
    /// Why nothing of it counts.
    failed: Option<Fault>,
}

impl Files {
    async fn write(&mut self, snapshotter: &Snapshotter<'_>, reading: &Reading, batch: Batch) {
        if self.failed.is_some() {
            return;
        }
        self.rows += batch.rows() as u64;
        telemetry::snapshot_read(&reading.plan.schema.table, batch.rows() as u64);
        let round = self.round.get_or_insert_with(|| {
            let number = snapshotter.rounds.fetch_add(1, Ordering::Relaxed);
            snapshotter.stager.round(number, snapshotter.engine.clock.now())
        });
        self.failed = round.write(batch, reading.joined.schema_version).await.err();
    }

    /// Makes them durable.
    async fn finish(self) -> Result<(u64, Vec<StagedFile>), Fault> {
        match (self.failed, self.round) {
            (Some(fault), _) => Err(fault),
            (None, Some(round)) => Ok((self.rows, round.finish().await?)),
            (None, None) => Ok((self.rows, Vec::new())),
        }
    }
}

/// Puts what arrives into files, and hands over chunks that are whole.
async fn write<'a>(
    snapshotter: &Snapshotter<'_>,
    queue: &Queue<'a>,
    mut arriving: mpsc::Receiver<Piece<'a>>,
) -> Result<(), Fault> {
    let mut files = Files::default();
    while let Some(piece) = arriving.recv().await {
        let waiting = match piece {
            Piece::Rows(reading, batch) => {
                files.write(snapshotter, reading, batch).await;
                continue;
            }
            Piece::Void => {
                files = Files::default();
                continue;
            }
            Piece::Whole(waiting) => waiting,
        };
        let (rows, files) = match std::mem::take(&mut files).finish().await {
            Ok(written) => written,
            Err(fault) => {
                queue.again(waiting, fault)?;
                continue;
            }
        };
        let Waiting { reading, chunk, .. } = waiting;
        if reading.rewritten.get() {
            continue;
        }
        reading.remaining.set(reading.remaining.get().saturating_sub(1));
        let done = ChunkDone {
            table: reading.plan.schema.table.clone(),
            id: reading.joined.id,
            range: (chunk.from, chunk.to),
            rows,
            files,
            last: reading.remaining.get() == 0,
        };
        snapshotter.requests.send(Request::Chunk(Box::new(done))).await?;
    }
    Ok(())
}

/// Drives all futures to their end; the first fault ends them all.
async fn all<F: Future<Output = Result<(), Fault>>>(futures: impl Iterator<Item = F>) -> Result<(), Fault> {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        let mut at = 0;
        while let Some(future) = running.get_mut(at) {
            match future.as_mut().poll(context) {
                Poll::Ready(Ok(())) => drop(running.swap_remove(at)),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => at += 1,
            }
        }
        if running.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
