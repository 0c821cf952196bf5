//! SIGTERM and SIGINT: the first asks, the second ends.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

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

    /// Calls `ask` at the first signal, and returns at the second, or when `deadline` has passed since the first. Leaving
    /// then is safe: what is not committed is read again.
    pub(crate) async fn watch(mut self, deadline: Duration, ask: impl FnOnce()) {
        self.next().await;
        info!(code = "stopping", "asked to stop; what is whole is committed first");
        ask();
        tokio::select! {
            () = self.next() => warn!(code = "stopping", "asked again: leaving at once"),
            () = tokio::time::sleep(deadline) => warn!(code = "stopping", "stop.deadline has passed: leaving"),
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
