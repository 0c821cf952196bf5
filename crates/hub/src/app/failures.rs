//! Failed sign-ins, counted by address and name, so that nobody tries secrets all day. What succeeds is never counted and
//! never refused.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use millrace_model::Timestamp;

/// Failures that are let through in a window.
const ALLOWED: usize = 10;
/// Microseconds of the window.
const WINDOW: i64 = 60_000_000;
/// Pairs that are remembered; beyond it the old ones are dropped first, and then all: memory is worth more.
const REMEMBERED: usize = 10_000;

/// When which pair of address and name has failed.
#[derive(Default)]
pub(crate) struct Failures {
    seen: Mutex<HashMap<(String, String), VecDeque<Timestamp>>>,
}

impl Failures {
    /// Counts a failure. Seconds to wait, where there were too many before it.
    pub(crate) fn count(&self, address: &str, name: &str, now: Timestamp) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.retain(|_, times| times.back().is_some_and(|last| last.0 > now.0 - WINDOW));
            if seen.len() >= REMEMBERED {
                seen.clear();
            }
        }
        let times = seen.entry((address.to_owned(), name.to_owned())).or_default();
        while times.front().is_some_and(|first| first.0 <= now.0 - WINDOW) {
            times.pop_front();
        }
        if times.len() < ALLOWED {
            times.push_back(now);
            return None;
        }
        let free_at = times.front().map_or(now.0, |first| first.0 + WINDOW);
        Some(u64::try_from((free_at - now.0 + 999_999) / 1_000_000).unwrap_or(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_failure_of_a_minute_waits_until_the_first_is_a_minute_old() {
        let failures = Failures::default();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for second in 0..10 {
            assert_eq!(failures.count("::1", "a", at(second)), None);
        }
        assert_eq!(failures.count("::1", "a", at(20)), Some(40));
        assert_eq!(failures.count("::1", "b", at(20)), None);
        assert_eq!(failures.count("::2", "a", at(20)), None);
        assert_eq!(failures.count("::1", "a", at(60)), None);
        assert_eq!(failures.count("::1", "a", at(60)), Some(1));
    }
}
