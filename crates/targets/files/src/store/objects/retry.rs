//! Asking a service again that has not answered, as long as that is still one call to whoever waits.
//!
//! Busy services answer some requests of many with "slow down"; a round of a thousand files must not begin anew for one of
//! them. What lasts longer is the engine's affair.

use std::time::Duration;

use super::Answer;

/// Times that something is asked, the first included.
const ATTEMPTS: u32 = 5;
/// Before the second time; doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Asks until there is an answer, a few times. Only for what may happen twice.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, Answer>>>(ask: impl Fn() -> F) -> Result<T, Answer> {
    for attempt in 0..ATTEMPTS - 1 {
        match ask().await {
            Err(answer) if answer.is_later() => pause(attempt).await,
            other => return other,
        }
    }
    ask().await
}

/// Some of the time up to the double of the last pause, so that many who were refused at once do not come back at once.
pub(crate) async fn pause(attempt: u32) {
    let longest = FIRST_PAUSE * 2u32.saturating_pow(attempt);
    tokio::time::sleep(longest.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
}
