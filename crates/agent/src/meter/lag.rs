//! How late the lake is: from when the oldest change is that was read and is not committed.

use std::collections::VecDeque;
use std::time::Duration;

use millrace_model::Timestamp;

/// The rounds that are not committed yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// Handed over; without a time where they hold no change of the log.
    closed: VecDeque<Option<Timestamp>>,
    open: Option<Timestamp>,
}

impl Lag {
    pub(super) fn filling(&mut self, since: Timestamp) {
        self.open.get_or_insert(since);
    }

    pub(super) fn closed(&mut self) {
        self.closed.push_back(self.open.take());
    }

    pub(super) fn committed(&mut self) {
        self.closed.pop_front();
    }

    /// The age of the oldest; nothing where all is committed. Two clocks may differ: it is never less than nothing.
    pub(super) fn at(&self, now: Timestamp) -> Duration {
        let oldest = self.closed.iter().flatten().next().or(self.open.as_ref());
        let micros = oldest.map_or(0, |since| now.0.saturating_sub(since.0));
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_the_oldest_change_that_is_not_committed() {
        let mut lag = Lag::default();
        let now = Timestamp(90_000_000);
        assert_eq!(lag.at(now), Duration::ZERO, "nothing is open");
        lag.filling(Timestamp(80_000_000));
        lag.filling(Timestamp(85_000_000));
        assert_eq!(lag.at(now), Duration::from_secs(10));
        lag.closed();
        lag.filling(Timestamp(88_000_000));
        assert_eq!(lag.at(now), Duration::from_secs(10), "handed over is not committed");
        lag.committed();
        assert_eq!(lag.at(now), Duration::from_secs(2));
        lag.closed();
        lag.closed();
        lag.committed();
        assert_eq!(lag.at(now), Duration::ZERO, "a heartbeat is no change");
        lag.filling(Timestamp(95_000_000));
        assert_eq!(lag.at(now), Duration::ZERO, "the source's clock is ahead");
    }
}
