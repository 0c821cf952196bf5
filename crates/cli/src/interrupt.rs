//! SIGTERM and SIGINT: the first asks the engine to stop, the second ends the process.

use millrace_engine::StopHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use crate::fault::{Cause, Failure};

/// The signals that stop a run.
pub(crate) struct Interrupt {
    terminate: Signal,
    interrupt: Signal,
}

impl Interrupt {
    /// From now on a signal no longer kills the process.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::from(Cause::NoRuntime(error)));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Asks at the first signal and returns at the second. Leaving then is safe: what is not committed is read again.
    pub(crate) async fn watch(mut self, stop: &StopHandle) {
        self.next().await;
        stop.request();
        self.next().await;
        warn!(code = "stopping", "asked to stop again: leaving at once");
    }

    /// Returns at the first signal.
    pub(crate) async fn first(mut self) {
        self.next().await;
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
