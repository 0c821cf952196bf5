//! Panics, caught: what breaks down takes nothing else with it.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tracing::error;

/// Before what broke down is begun anew.
const PAUSE: Duration = Duration::from_secs(1);

/// What it comes to, or what it said when it panicked. Of what is caught nothing may outlive it but the database, whose transaction is
/// rolled back, and what is behind a lock that knows of panics.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
        Err(panic) => Poll::Ready(Err(said(&*panic).to_owned())),
    })
    .await
}

/// Runs what is not to end, and begins it anew where it breaks down.
pub(crate) async fn kept_up<F: Future<Output = ()>>(part: &'static str, begin: impl Fn() -> F) {
    while let Err(panic) = caught(begin()).await {
        error!(code = "HB-019", part, "a part of the hub broke down and is begun anew: {panic}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_part_that_breaks_down_is_begun_anew() {
        let begun = Cell::new(0);
        let part = || async {
            begun.set(begun.get() + 1);
            tokio::task::yield_now().await;
            let number: u8 = if begun.get() < 3 { "none" } else { "3" }.parse().expect("this test needs a panic");
            assert_eq!(number, 3);
        };
        kept_up("a test", part).await;
        assert_eq!(begun.get(), 3);
    }
}
