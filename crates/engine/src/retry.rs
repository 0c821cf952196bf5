//! Waiting where nobody said no: a missing answer is never an end.

use std::time::Duration;

use millrace_model::Fault;

use crate::stop::Stop;
use crate::telemetry;

/// Why the engine goes no further.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It was asked to stop.
    Stopped,
    /// Waiting does not cure this.
    Fault(Fault),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Rising pauses between attempts.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(30);
    /// The pause of a commit that is still unanswered when a stop was asked for.
    pub(crate) const AT_STOP: Duration = Duration::from_millis(500);

    /// The next pause: doubling from 200 ms to 30 s.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = Self::FIRST.saturating_mul(1 << self.attempts.min(10)).min(Self::LONGEST);
        self.attempts += 1;
        pause
    }

    /// Begins again after a success.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Reports the fault, and waits before the next attempt; ends early when a stop is asked for.
    pub(crate) async fn wait(&mut self, stage: &'static str, fault: &Fault, stop: &mut Stop) -> Result<(), Halt> {
        let pause = self.next();
        telemetry::retrying(stage, fault, pause);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = stop.requested() => Err(Halt::Stopped),
        }
    }
}

/// Repeats `act` until there is an answer.
pub(crate) async fn until_answered<T>(
    stage: &'static str,
    stop: &mut Stop,
    mut act: impl AsyncFnMut() -> Result<T, Fault>,
) -> Result<T, Halt> {
    let mut backoff = Backoff::default();
    loop {
        let answer = tokio::select! {
            answer = act() => answer,
            () = stop.requested() => return Err(Halt::Stopped),
        };
        match answer {
            Ok(answer) => return Ok(answer),
            Err(fault) if fault.is_retry() => backoff.wait(stage, &fault, stop).await?,
            Err(fault) => return Err(fault.into()),
        }
    }
}
