//! One life of the log: reader and writer side by side until the log ends, is lost, or a fault ends both.

use std::cell::Cell;

use millrace_model::{Fault, Log, Mark};
use tokio::sync::{mpsc, watch};

use crate::Engine;
use crate::fault::Cause;
use crate::reader::{self, Reader};
use crate::start::Writing;
use crate::stop::Stop;
use crate::writer::{self, Writer};

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
    let abandoned = Cell::new(false);
    let (work, queue) = mpsc::channel(QUEUE);
    let (progress, committed) = watch::channel(0);
    let reader = Reader::new(engine, writing, &opened, work, committed, until, stop.clone());
    let writer = Writer {
        release: opened.release.as_ref(),
        writing,
        queue,
        progress,
        abandoned: &abandoned,
        stop: stop.clone(),
    };
    let log = opened.log.as_mut();
    let (read, written) = tokio::join!(
        async {
            let ended = reader::run(reader, log).await;
            abandoned.set(!matches!(ended, Ok(())));
            ended
        },
        writer::run(writer)
    );
    match (read, written) {
        (Ok(()), Ok(())) => {
            opened.log.close().await;
            Ended::Done
        }
        // The writer's word counts more: the reader may only have seen that it is gone.
        (_, Err(fault)) | (Err(fault), Ok(())) => fault.into(),
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
    let mark = log.watch(&end);
    writing.until = Some(end);
    Ok(Some(mark))
}
