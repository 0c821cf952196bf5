//! One life of the log: reader, writer and snapshotter side by side until the log ends, is lost, or a fault ends both.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

use millrace_model::{Fault, Log, Mark};
use tokio::sync::{mpsc, oneshot, watch};

use crate::fault::Cause;
use crate::reader::{self, Ends, Last, Reader};
use crate::requests::{REQUESTS, Requests};
use crate::snapshotter::{self, Snapshotter};
use crate::start::Writing;
use crate::stop::Stop;
use crate::writer::{self, Done, Writer};
use crate::{Engine, telemetry};

/// Batches and round ends that may wait for the writer: enough to keep it busy, few enough to bound memory.
const QUEUE: usize = 2;

/// How a stream ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Stopped as asked, or the end that was asked for is in the lake.
    Done,
    /// Nobody said no: give up what is not committed, and reconnect.
    Lost(Fault),
    /// Waiting does not cure this.
    Failed(Fault),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        if fault.is_retry() { Self::Lost(fault) } else { Self::Failed(fault) }
    }
}

/// Streams until it ends. Rounds that were not committed by then are given up; a commit in flight is brought to its end.
pub(crate) async fn stream(engine: &Engine, writing: &mut Writing, stop: &mut Stop) -> Ended {
    let Some(mut opened) = writing.opened.take() else {
        return Ended::Failed(Cause::Batch("a stream began without an open log".into()).into());
    };
    let until = match until_now(engine, writing, opened.log.as_mut()).await {
        Ok(until) => until,
        Err(fault) => return fault.into(),
    };
    let exported = writing.exported.take().filter(|_| engine.settings.snapshot);
    let stager = writing.chain.stager();
    let rounds = Arc::clone(&writing.rounds);
    let abandoned = Cell::new(false);
    let (work, queue) = mpsc::channel(QUEUE);
    let (request, requests) = mpsc::channel(REQUESTS);
    let (progress, committed) = watch::channel(Done { round: 0, commit: writing.chain.commit_number() });
    let ends = Ends { work, requests, committed, held: exported.is_some() };
    let reader = Reader::new(engine, writing, &rounds, &opened, ends, until, stop.clone());
    let (ended, reading) = oneshot::channel::<()>();
    let snapshotter =
        Snapshotter { engine, requests: Requests(request), stager: stager.as_ref(), rounds: &rounds, exported };
    let writer = Writer {
        release: opened.release.as_ref(),
        stager: stager.as_ref(),
        writing,
        queue,
        progress,
        abandoned: &abandoned,
        stop: stop.clone(),
    };
    let log = opened.log.as_mut();
    let (read, written, joined) = tokio::join!(
        async {
            let read = reader::run(reader, log).await;
            abandoned.set(read.is_err());
            drop(ended);
            read
        },
        writer::run(writer),
        async {
            tokio::select! {
                failed = snapshotter::run(snapshotter) => failed.map(|never| match never {}),
                never = tell_what_waits(engine) => match never {},
                // The reader has ended, and its word counts.
                _ = reading => Ok(()),
            }
        },
    );
    match (read, written, joined) {
        (Ok(last), Ok(()), _) => {
            opened.log.close().await;
            match last {
                Last::Asked => Ended::Done,
                Last::SchemaChanged(change) => {
                    let position = writing.confirmed.checkpoint.position.as_ref().map(ToString::to_string);
                    let position = position.unwrap_or_default();
                    Ended::Failed(Cause::SchemaChanged { change: Box::new(change), position }.into())
                }
                Last::Anew(anew) => Ended::Lost(Cause::StartsAnew(anew).into()),
            }
        }
        // The writer's and the snapshotter's words count more: the reader may only have seen that they are gone.
        (_, Err(fault), _) | (_, Ok(()), Err(fault)) | (Err(fault), Ok(()), Ok(())) => fault.into(),
    }
}

/// Tells the observer how much of the log waits, beside the stream. A source that does not answer now is asked again.
async fn tell_what_waits(engine: &Engine) -> Infallible {
    loop {
        if let Ok(waiting) = engine.source.waiting().await {
            telemetry::waiting(waiting);
        }
        tokio::time::sleep(engine.settings.heartbeat_interval).await;
    }
}

/// `run --until now`: asks for a mark where the log's end was at the start.
async fn until_now(engine: &Engine, writing: &mut Writing, log: &mut dyn Log) -> Result<Option<Mark>, Fault> {
    if !engine.settings.until_now {
        return Ok(None);
    }
    let end = match writing.until.take() {
        Some(end) => end,
        None => engine.source.end().await?,
    };
    let mark = log.watch(&end, &[]);
    writing.until = Some(end);
    Ok(Some(mark))
}
