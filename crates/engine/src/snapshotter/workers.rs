//! Several readers of one database snapshot, chunk after chunk. While a reader reads on, what it has read is encoded and made
//! durable. A chunk's files wait for a commit only when it is whole.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use millrace_model::{
    Batch, ByteSize, Chunk, ChunkReader, Fault, Filled, Plan, RoundWriter, Snapshot, TableChanges, TableName,
};
use tokio::sync::mpsc;

use super::Snapshotter;
use super::pass::EMPTY;
use crate::fault::Cause;
use crate::requests::{ChunkDone, Joined, Request};
use crate::telemetry;

/// A reader that lost its connection gets another one so many times for one chunk.
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

/// Chunks that wait, as (table, chunk).
type Queue = RefCell<VecDeque<(usize, Chunk)>>;

/// What a reader hands over, in order. Without a word between them, rows are of one chunk.
enum Piece<'a> {
    /// Rows of a chunk.
    Rows(&'a Reading, Batch),
    /// They were all.
    Whole(&'a Reading, Chunk),
    /// None of them count: the chunk is read again, or its relation was rewritten.
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
    let chunks = readings.iter().enumerate().flat_map(|(at, r)| r.plan.chunks.iter().map(move |c| (at, c.clone())));
    let queue: Queue = RefCell::new(chunks.collect());
    let count = snapshotter.engine.settings.snapshot_readers().clamp(1, queue.borrow().len().max(1));
    let workers = (0..count).map(|_| worker(snapshotter, snapshot, &readings, &queue));
    all(workers).await?;
    let again = readings.iter().filter(|reading| reading.rewritten.get());
    Ok(again.map(|reading| reading.plan.schema.table.clone()).collect())
}

async fn worker(
    snapshotter: &Snapshotter<'_>,
    snapshot: &dyn Snapshot,
    readings: &[Reading],
    queue: &Queue,
) -> Result<(), Fault> {
    let (pieces, arriving) = mpsc::channel(BETWEEN);
    let reading = read(snapshotter, snapshot, readings, queue, Pieces(pieces));
    tokio::try_join!(reading, write(snapshotter, arriving)).map(drop)
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
    readings: &'a [Reading],
    queue: &Queue,
    pieces: Pieces<'a>,
) -> Result<(), Fault> {
    let limit = snapshotter.engine.settings.snapshot_batch();
    let mut reader = snapshot.reader().await?;
    loop {
        let next = queue.borrow_mut().pop_front();
        let Some((at, chunk)) = next else { return Ok(()) };
        let Some(reading) = readings.get(at).filter(|reading| !reading.rewritten.get()) else { continue };
        let mut attempt = 1;
        let is_whole = loop {
            match read_chunk(snapshot, reader.as_mut(), (reading, &chunk), limit, &pieces).await {
                Err(fault) if fault.is_retry() && attempt < ATTEMPTS => {
                    telemetry::retrying("snapshot", &fault, std::time::Duration::ZERO);
                    attempt += 1;
                    pieces.send(Piece::Void).await?;
                    reader = snapshot.reader().await?;
                }
                read => break read?,
            }
        };
        if is_whole {
            pieces.send(Piece::Whole(reading, chunk)).await?;
        } else {
            reading.rewritten.set(true);
            pieces.send(Piece::Void).await?;
        }
    }
}

/// Reads one chunk; `false` where the relation was rewritten.
async fn read_chunk<'a>(
    snapshot: &dyn Snapshot,
    reader: &mut dyn ChunkReader,
    (reading, chunk): (&'a Reading, &Chunk),
    limit: ByteSize,
    pieces: &Pieces<'a>,
) -> Result<bool, Fault> {
    if chunk.from == EMPTY {
        return Ok(true);
    }
    let mut rows = TableChanges::new(std::sync::Arc::clone(&reading.plan.schema));
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

/// Puts what arrives into files, and hands over chunks that are whole.
async fn write(snapshotter: &Snapshotter<'_>, mut arriving: mpsc::Receiver<Piece<'_>>) -> Result<(), Fault> {
    let mut rows = 0;
    let mut files: Option<Box<dyn RoundWriter>> = None;
    while let Some(piece) = arriving.recv().await {
        match piece {
            Piece::Rows(reading, batch) => {
                rows += batch.rows() as u64;
                telemetry::snapshot_read(&reading.plan.schema.table, batch.rows() as u64);
                let files = files.get_or_insert_with(|| {
                    let round = snapshotter.rounds.fetch_add(1, Ordering::Relaxed);
                    snapshotter.stager.round(round, snapshotter.engine.clock.now())
                });
                files.write(batch, reading.joined.schema_version).await?;
            }
            Piece::Void => (rows, files) = (0, None),
            Piece::Whole(reading, chunk) => {
                let files = match files.take() {
                    Some(files) => files.finish().await?,
                    None => Vec::new(),
                };
                let rows = std::mem::take(&mut rows);
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
        }
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
