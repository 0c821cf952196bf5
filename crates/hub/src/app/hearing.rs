//! Since when this process has heard whatever agents say. An agent is called silent only by a hub that would have heard it for the
//! time of a lease: one that has just begun, was stopped for a while, or could not write down what it heard, knows nothing of agents.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_model::Timestamp;

/// However short a lease: a busy machine looks again within so long.
const LEAST: Duration = Duration::from_secs(5);

/// The hub's own hearing.
pub(crate) struct Hearing(Mutex<State>);

struct State {
    since: Timestamp,
    /// The last look that went well.
    looked: Timestamp,
    /// Writings that had failed by then.
    failures: u64,
}

impl Hearing {
    pub(crate) fn new(began: Timestamp) -> Self {
        Self(Mutex::new(State { since: began, looked: began, failures: 0 }))
    }

    /// The database answers now, and so many writings have failed so far. Since when the hub hears.
    ///
    /// A gap between two looks is the database's absence, a process that was stopped, or a clock that was set: it begins anew.
    pub(crate) fn look(&self, now: Timestamp, failures: u64, lease: Duration) -> Timestamp {
        let gap = i64::try_from((lease / 3).max(LEAST).as_micros()).unwrap_or(i64::MAX);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let went_on = (0..=gap).contains(&(now.0 - state.looked.0)) && failures == state.failures;
        let since = if went_on { state.since } else { now };
        *state = State { since, looked: now, failures };
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_was_away_or_whose_clock_was_set_begins_anew() {
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let lease = Duration::from_secs(45);
        let hearing = Hearing::new(at(0));
        let look = |seconds, failures| hearing.look(at(seconds), failures, lease);
        for second in 1..=50 {
            assert_eq!(look(second, 0), at(0));
        }
        assert_eq!(look(65, 0), at(0), "slow is not away");
        assert_eq!(look(165, 0), at(165), "the database was away");
        assert_eq!(look(170, 0), at(165));
        assert_eq!(look(171, 1), at(171), "something could not be written down");
        assert_eq!(look(172, 1), at(171));
        assert_eq!(look(172 + 3600, 1), at(172 + 3600), "the clock was set ahead");
        assert_eq!(look(173, 1), at(173), "and back");
    }
}
