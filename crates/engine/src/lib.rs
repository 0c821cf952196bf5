//! The engine: takes the source, claims the chain, streams rounds into the target, and never loses or doubles a change.
//!
//! It knows the ports of `millrace-model` and nothing else. `start` and `reconnect` decide whether the log can be read on
//! (S1–S4 and *Reconnect* of `docs/specs/file-lake.md`), `reader` fills rounds and closes them at boundaries, `writer`
//! stages and commits them one after the other, `retry` waits where nobody said no.
//!
//! Reader and writer of one stream run side by side in one task: a dropped engine leaves nothing behind that still acts.

mod fault;
mod judge;
mod pending;
mod reader;
mod requests;
mod restart;
mod resume;
mod retry;
mod settings;
mod snapshotter;
mod spill;
mod start;
mod stop;
mod stream;
mod telemetry;
mod writer;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::{Clock, Fault, Finding, Source, Sweeper, Target};

pub use restart::{Restart, Restarted};
pub use settings::Settings;
pub use stop::{Stop, StopHandle};
pub use telemetry::{ChunkProgress, Event, Observer, observed};

use retry::Halt;

/// One pipeline's engine.
#[derive(Clone)]
pub struct Engine {
    /// Where changes come from.
    pub source: Arc<dyn Source>,
    /// Where they go.
    pub target: Arc<dyn Target>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// What the pipeline file says about pace and limits.
    pub settings: Settings,
}

impl Engine {
    /// Runs the pipeline until it is stopped (`Ok`), until it has come to the log's end where `until_now` asks for that
    /// (`Ok`), or until a fault that waiting does not cure.
    pub async fn run(&self, mut stop: Stop) -> Result<(), Fault> {
        telemetry::started(&self.settings.pipeline);
        let ended = tokio::select! {
            ended = self.pipeline(stop.clone()) => ended,
            () = stop.deadline(self.settings.stop_deadline) => {
                telemetry::left_at_deadline(self.settings.stop_deadline);
                Err(Halt::Stopped)
            }
        };
        match ended {
            Ok(()) | Err(Halt::Stopped) => {
                telemetry::stopped(&self.settings.pipeline);
                Ok(())
            }
            Err(Halt::Fault(fault)) => {
                telemetry::fault(&fault);
                Err(fault)
            }
        }
    }

    /// What keeps the log from being read on from the lake, as a start would find it (S2), for `check`: changes nothing,
    /// takes nothing, and may be asked beside a pipeline that runs.
    pub async fn check_chain(&self) -> Result<Vec<Finding>, Fault> {
        // In this order: a slot that is looked at after the head may have moved on with a commit behind it.
        let Some(taken) = self.source.look().await? else { return Ok(Vec::new()) };
        let head = self.target.head().await?;
        let settings = &self.settings;
        // The end of a log that somebody reads is not asked for, so that what was seen once will do.
        let before = head.standing.as_ref().and_then(|standing| standing.checkpoint.position.clone());
        let judged =
            judge::start(&head, &taken, self.source.as_ref(), &settings.pipeline, settings.epoch, before.as_ref());
        match judged {
            Ok(_) => Ok(Vec::new()),
            Err(fault) => Finding::of_fault(&settings.pipeline, &fault).map(|finding| vec![finding]).ok_or(fault),
        }
    }

    /// What keeps a large transaction from waiting on disk. A run would find out at the first one.
    pub async fn check_spill(&self) -> Result<Vec<Finding>, Fault> {
        match spill::try_out(&self.settings.spill_directory).await {
            Ok(()) => Ok(Vec::new()),
            Err(fault) => Finding::of_fault("spill.directory", &fault).map(|finding| vec![finding]).ok_or(fault),
        }
    }

    async fn pipeline(&self, mut stop: Stop) -> Result<(), Halt> {
        let mut writing = start::start(self, &mut stop).await?;
        let sweep = sweep_regularly(writing.chain.sweeper(), self.settings.sweep_interval);
        let streaming = async {
            loop {
                match stream::stream(self, &mut writing, &mut stop).await {
                    stream::Ended::Done => return Ok(()),
                    stream::Ended::Failed(fault) => return Err(Halt::Fault(fault)),
                    stream::Ended::Lost(fault) => resume::after_loss(self, &mut writing, fault, &mut stop).await?,
                }
            }
        };
        tokio::select! {
            ended = streaming => ended,
            never = sweep => match never {},
        }
    }
}

/// Sweeps after the claim and then once an interval; a sweep that fails is tried again at the next.
async fn sweep_regularly(sweeper: Arc<dyn Sweeper>, interval: Duration) -> Infallible {
    loop {
        match sweeper.sweep().await {
            Ok(files) => telemetry::swept(files),
            Err(fault) => telemetry::sweep_failed(&fault),
        }
        tokio::time::sleep(interval).await;
    }
}
