//! The wish to stop: said once, heard everywhere.

use std::time::Duration;

use tokio::sync::watch;

/// Asks the engine to stop.
#[derive(Debug)]
pub struct StopHandle(watch::Sender<bool>);

/// Hears the wish. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A handle and what hears it. A dropped handle never asks.
    pub fn new() -> (StopHandle, Self) {
        let (sender, receiver) = watch::channel(false);
        (StopHandle(sender), Self(receiver))
    }

    /// Whether it was said.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is said.
    pub async fn requested(&mut self) {
        if self.0.wait_for(|&requested| requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it was said so long ago.
    pub(crate) async fn deadline(&mut self, after: Duration) {
        self.requested().await;
        tokio::time::sleep(after).await;
    }
}

impl StopHandle {
    /// Says it.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}
