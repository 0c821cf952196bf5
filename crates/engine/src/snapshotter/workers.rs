//! Several readers of one database snapshot, chunk after chunk. A chunk's files wait for a commit only when it is whole.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use millrace_model::{Chunk, ChunkReader, Fault, Filled, Plan, Snapshot, StagedFile, TableChanges, TableName};

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

/// Reads everything; returns the tables that have to start again.
pub(super) async fn read_all(
    snapshotter: &Snapshotter<'_>,
    snapshot: &dyn Snapshot,
    readings: Vec<Reading>,
) -> Result<Vec<TableName>, Fault> {
    let chunks = readings.iter().enumerate().flat_map(|(at, r)| r.plan.chunks.iter().map(move |c| (at, c.clone())));
    let queue: Queue = RefCell::new(chunks.collect());
    let count = snapshotter.engine.settings.snapshot_parallelism.clamp(1, queue.borrow().len().max(1));
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
    let mut reader = snapshot.reader().await?;
    loop {
        let next = queue.borrow_mut().pop_front();
        let Some((at, chunk)) = next else { return Ok(()) };
        let Some(reading) = readings.get(at).filter(|reading| !reading.rewritten.get()) else { continue };
        let mut attempt = 1;
        let read = loop {
            match read_chunk(snapshotter, snapshot, reader.as_mut(), reading, &chunk).await {
                Err(fault) if fault.is_retry() && attempt < ATTEMPTS => {
                    telemetry::retrying("snapshot", &fault, std::time::Duration::ZERO);
                    attempt += 1;
                    reader = snapshot.reader().await?;
                }
                read => break read?,
            }
        };
        match read {
            None => reading.rewritten.set(true),
            Some((rows, files)) if !reading.rewritten.get() => {
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
            Some(_) => {}
        }
    }
}

/// Reads one chunk into files; `None` where the relation was rewritten.
async fn read_chunk(
    snapshotter: &Snapshotter<'_>,
    snapshot: &dyn Snapshot,
    reader: &mut dyn ChunkReader,
    reading: &Reading,
    chunk: &Chunk,
) -> Result<Option<(u64, Vec<StagedFile>)>, Fault> {
    if chunk.from == EMPTY {
        return Ok(Some((0, Vec::new())));
    }
    let engine = snapshotter.engine;
    let round = snapshotter.rounds.fetch_add(1, Ordering::Relaxed);
    let mut files = snapshotter.stager.round(round, engine.clock.now());
    let mut rows = TableChanges::new(std::sync::Arc::clone(&reading.plan.schema));
    let limit = engine.settings.batch_limit();
    let mut count = 0;
    reader.begin(&reading.plan, chunk).await?;
    loop {
        let filled = reader.fill(&mut rows, limit).await?;
        if filled == Filled::Rewritten {
            return Ok(None);
        }
        if rows.rows() > 0 {
            let Joined { id, anchor, schema_version, .. } = reading.joined;
            let batch = rows
                .take_snapshot(id, anchor, snapshot.position().clone())
                .map_err(|error| Cause::Batch(error.to_string()))?;
            count += batch.rows() as u64;
            telemetry::snapshot_read(&reading.plan.schema.table, batch.rows() as u64);
            files.write(batch, schema_version).await?;
        }
        if filled == Filled::Whole {
            return Ok(Some((count, files.finish().await?)));
        }
    }
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
