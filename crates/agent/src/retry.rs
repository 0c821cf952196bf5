//! Waiting for an answer: longer each time, up to a bound.

use std::time::Duration;

use millrace_model::Fault;
use tracing::warn;

const FIRST: Duration = Duration::from_millis(500);
/// Long enough to leave a database that starts up alone, short enough that nobody waits long for us afterwards.
const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait next.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    /// Begins with the shortest.
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// Says so and waits.
    pub async fn wait(&mut self, stage: &str, fault: &Fault) {
        let pause = self.step();
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        warn!(code = "retrying", stage, fault = fault.code, wait_ms = milliseconds, cure = fault.cure, "{fault}");
        tokio::time::sleep(pause).await;
    }

    fn step(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_twice_the_last_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..9).map(|_| backoff.step().as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }
}
