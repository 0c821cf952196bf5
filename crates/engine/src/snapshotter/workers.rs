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
use crate::requests::{ChunkDone, Joined, Request, Requests};
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
    /// They were all, or it makes no sense to read on.
    End(Waiting<'a>),
    /// None of them count.
    Void,
}

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
        // One batch is encoded while the next is read: its place is taken before it is begun.
        let (pieces, arriving) = mpsc::channel(1);
        let has_failed = Cell::new(false);
        let reader = Reader {
            snapshot,
            queue,
            limit: snapshotter.engine.settings.snapshot_batch(),
            pieces,
            has_failed: &has_failed,
        };
        tokio::try_join!(reader.run(), write(snapshotter, queue, arriving, &has_failed))?;
        // What the last chunk was written to may have failed after there was nothing more to read.
        if queue.len() == 0 {
            return Ok(());
        }
    }
}

/// The half that reads.
struct Reader<'s, 'a> {
    snapshot: &'s dyn Snapshot,
    queue: &'s Queue<'a>,
    /// Of a batch.
    limit: ByteSize,
    pieces: mpsc::Sender<Piece<'a>>,
    /// The other half could not write rows of a chunk whose end it has not seen. A chunk's first place is there only when
    /// it has seen the end of the one before.
    has_failed: &'s Cell<bool>,
}

/// How the reading of a chunk has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Whole,
    /// What was read could not be written.
    GivenUp,
    Rewritten,
}

impl<'a> Reader<'_, 'a> {
    /// Reads chunks as long as there are any.
    async fn run(self) -> Result<(), Fault> {
        let mut reader = self.snapshot.reader().await?;
        while let Some(waiting) = self.queue.next() {
            if waiting.reading.rewritten.get() {
                continue;
            }
            let read = self.read(reader.as_mut(), &waiting).await;
            let place = self.place().await?;
            match read {
                Ok(Read::Whole) => place.send(Piece::End(waiting)),
                Ok(Read::GivenUp) => {
                    place.send(Piece::End(waiting));
                    reader = self.snapshot.reader().await?;
                }
                Ok(Read::Rewritten) => {
                    waiting.reading.rewritten.set(true);
                    place.send(Piece::Void);
                }
                Err(fault) => {
                    self.queue.again(waiting, fault)?;
                    place.send(Piece::Void);
                    reader = self.snapshot.reader().await?;
                }
            }
        }
        Ok(())
    }

    /// Fails only where the other half has failed, which then says why.
    async fn place(&self) -> Result<mpsc::Permit<'_, Piece<'a>>, Fault> {
        self.pieces.reserve().await.map_err(|_gone| Cause::SnapshotterEnded.into())
    }

    async fn read(&self, reader: &mut dyn ChunkReader, waiting: &Waiting<'a>) -> Result<Read, Fault> {
        let Waiting { reading, chunk, .. } = waiting;
        if chunk.from == EMPTY {
            return Ok(Read::Whole);
        }
        let mut rows = TableChanges::new(Arc::clone(&reading.plan.schema));
        reader.begin(&reading.plan, chunk).await?;
        loop {
            let place = self.place().await?;
            if self.has_failed.get() {
                return Ok(Read::GivenUp);
            }
            let filled = reader.fill(&mut rows, self.limit).await?;
            if filled == Filled::Rewritten {
                return Ok(Read::Rewritten);
            }
            if rows.rows() > 0 {
                let Joined { id, anchor, .. } = reading.joined;
                let batch = rows
                    .take_snapshot(id, anchor, self.snapshot.position().clone())
                    .map_err(|error| Cause::Batch(error.to_string()))?;
                place.send(Piece::Rows(reading, batch));
            }
            if filled == Filled::Whole {
                return Ok(Read::Whole);
            }
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
    async fn write(&mut self, snapshotter: &Snapshotter<'_>, reading: &Reading, batch: Batch) -> Result<(), Fault> {
        self.rows += batch.rows() as u64;
        telemetry::snapshot_read(&reading.plan.schema.table, batch.rows() as u64);
        let round = self.round.get_or_insert_with(|| {
            let number = snapshotter.rounds.fetch_add(1, Ordering::Relaxed);
            snapshotter.stager.round(number, snapshotter.engine.clock.now())
        });
        round.write(batch, reading.joined.schema_version).await
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

/// The half that puts what arrives into files, and hands over chunks that are whole.
async fn write<'a>(
    snapshotter: &Snapshotter<'_>,
    queue: &Queue<'a>,
    mut arriving: mpsc::Receiver<Piece<'a>>,
    has_failed: &Cell<bool>,
) -> Result<(), Fault> {
    let mut files = Files::default();
    while let Some(piece) = arriving.recv().await {
        if let Piece::Rows(reading, batch) = piece {
            if files.failed.is_none()
                && let Err(fault) = files.write(snapshotter, reading, batch).await
            {
                if !fault.is_retry() {
                    return Err(fault);
                }
                files.failed = Some(fault);
                has_failed.set(true);
            }
            continue;
        }
        has_failed.set(false);
        let files = std::mem::take(&mut files);
        let Piece::End(waiting) = piece else { continue };
        match files.finish().await {
            Ok((rows, files)) => hand_over(&snapshotter.requests, waiting, rows, files).await?,
            Err(fault) => queue.again(waiting, fault)?,
        }
    }
    Ok(())
}

/// Hands over a chunk whose files are durable.
async fn hand_over(
    requests: &Requests,
    Waiting { reading, chunk, .. }: Waiting<'_>,
    rows: u64,
    files: Vec<StagedFile>,
) -> Result<(), Fault> {
    // The chunk that is said to be the last must be the last that is sent, so nothing comes between counting and sending.
    let place = requests.place().await?;
    if reading.rewritten.get() {
        return Ok(());
    }
    reading.remaining.set(reading.remaining.get().saturating_sub(1));
    place.send(Request::Chunk(Box::new(ChunkDone {
        table: reading.plan.schema.table.clone(),
        id: reading.joined.id,
        range: (chunk.from, chunk.to),
        rows,
        files,
        last: reading.remaining.get() == 0,
    })));
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use millrace_model::{Sequence, TableSchema};

    use super::*;

    fn reading(chunks: usize) -> Reading {
        let chunk = |at: usize| Chunk { from: at.to_string(), to: (at + 1).to_string() };
        let plan = Plan {
            schema: Arc::new(TableSchema {
                table: TableName::parse("shop.public.orders"),
                source_id: "1".into(),
                columns: Vec::new(),
                key: Vec::new(),
            }),
            relation: "1".into(),
            split: "ctid".into(),
            chunks: (0..chunks).map(chunk).collect(),
            rows_estimate: 0,
        };
        Reading::new(plan, Joined { id: 1, anchor: Sequence(0), schema_version: 1, done: Vec::new() })
    }

    #[test]
    fn the_last_chunk_of_a_table_is_the_last_that_is_handed_over_whoever_is_quicker() {
        let (sender, mut requests) = mpsc::channel(2);
        let sender = Requests(sender);
        let reading = reading(2);
        let context = &mut Context::from_waker(Waker::noop());
        for _ in 0..2 {
            sender.0.try_send(Request::Idle).unwrap();
        }
        let hand = |at: usize| {
            let chunk = reading.plan.chunks.get(at).cloned().unwrap();
            Box::pin(hand_over(&sender, Waiting { reading: &reading, chunk, tried: 0 }, 0, Vec::new()))
        };
        // The first has waited longer, and the second is quicker to use its place.
        let (mut first, mut second) = (hand(0), hand(1));
        assert!(first.as_mut().poll(context).is_pending() && second.as_mut().poll(context).is_pending());
        for _ in 0..2 {
            assert!(matches!(requests.try_recv(), Ok(Request::Idle)));
        }
        assert!(second.as_mut().poll(context).is_ready() && first.as_mut().poll(context).is_ready());
        let mut lasts = Vec::new();
        while let Ok(Request::Chunk(done)) = requests.try_recv() {
            lasts.push(done.last);
        }
        assert_eq!(lasts, [false, true]);
    }
}
