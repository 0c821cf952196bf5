//! Slows down guessing: so many failures a minute for one name from one address, more for an address alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use millrace_model::Timestamp;

/// Failures that are counted together.
const WINDOW: i64 = 60_000_000;
/// Kept at most; what is a minute old goes first when it is full.
const MOST: usize = 10_000;

/// Counts failures.
#[derive(Default)]
pub(crate) struct Throttle {
    failures: Mutex<HashMap<String, (Timestamp, u32)>>,
}

impl Throttle {
    /// Seconds to wait, where `subject` has failed `limit` times within a minute.
    pub(crate) fn wait(&self, subject: &str, limit: u32, now: Timestamp) -> Option<u64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = failures.get(subject)?;
        let left = since.0.saturating_add(WINDOW) - now.0;
        (*count >= limit && left > 0).then(|| u64::try_from(left / 1_000_000).unwrap_or_default() + 1)
    }

    /// Notes a failure.
    pub(crate) fn failed(&self, subject: &str, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST {
            failures.retain(|_, (since, _)| now.0 - since.0 < WINDOW);
            // Somebody invents names faster than a minute goes by: memory is worth more than their count.
            if failures.len() >= MOST {
                failures.clear();
            }
        }
        let entry = failures.entry(subject.to_owned()).or_insert((now, 0));
        if now.0 - entry.0.0 >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }

    /// Forgets the failures of someone who got it right.
    pub(crate) fn right(&self, subject: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_failures_have_to_wait_until_the_minute_is_over() {
        let throttle = Throttle::default();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for _ in 0..3 {
            assert_eq!(throttle.wait("ann", 3, at(0)), None);
            throttle.failed("ann", at(0));
        }
        assert_eq!(throttle.wait("ann", 3, at(10)), Some(51));
        assert_eq!(throttle.wait("bob", 3, at(10)), None);
        assert_eq!(throttle.wait("ann", 3, at(60)), None);
        throttle.right("ann");
        assert_eq!(throttle.wait("ann", 1, at(10)), None);
    }
}
