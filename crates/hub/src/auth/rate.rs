//! How many calls a caller of the API may make: generous, for automation comes in bursts, and counted by each hub process for itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderName;
use millrace_model::Timestamp;

use super::lasts;

/// Calls are counted within one of these.
const WINDOW: Duration = Duration::from_mins(1);
/// Callers that are counted at most; those of an earlier window go first when it is full.
const MOST: usize = 10_000;

/// Counts calls.
#[derive(Default)]
pub(crate) struct Rates {
    calls: Mutex<HashMap<String, (Timestamp, u32)>>,
}

/// What is left to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Calls in a window.
    pub(crate) quota: u32,
    /// Calls that may still come in this one.
    pub(crate) calls: u32,
    /// Seconds to its end.
    pub(crate) seconds: u64,
}

impl Left {
    /// As headers say it (draft-ietf-httpapi-ratelimit-headers).
    pub(crate) fn headers(self) -> [(HeaderName, String); 2] {
        let Self { quota, calls, seconds } = self;
        [
            (HeaderName::from_static("ratelimit-policy"), format!("\"default\";q={quota};w={}", WINDOW.as_secs())),
            (HeaderName::from_static("ratelimit"), format!("\"default\";r={calls};t={seconds}")),
        ]
    }
}

impl Rates {
    /// Counts a call; whether it may be made, and what is left.
    pub(crate) fn take(&self, caller: &str, quota: u32, now: Timestamp) -> (bool, Left) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= MOST && !calls.contains_key(caller) {
            calls.retain(|_, (since, _)| lasts(*since, WINDOW, now));
            if calls.len() >= MOST {
                calls.clear();
            }
        }
        let entry = calls.entry(caller.to_owned()).or_insert((now, 0));
        if !lasts(entry.0, WINDOW, now) {
            *entry = (now, 0);
        }
        let may = entry.1 < quota;
        entry.1 = entry.1.saturating_add(1).min(quota);
        let gone = Duration::from_micros(u64::try_from(now.0 - entry.0.0).unwrap_or_default());
        let left = WINDOW.saturating_sub(gone).as_micros().div_ceil(1_000_000);
        let seconds = u64::try_from(left).unwrap_or(u64::MAX);
        (may, Left { quota, calls: quota - entry.1, seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_so_many_calls_a_minute_and_another_one_has_its_own() {
        let rates = Rates::default();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        assert_eq!(rates.take("ann", 2, at(0)), (true, Left { quota: 2, calls: 1, seconds: 60 }));
        assert_eq!(rates.take("ann", 2, at(10)), (true, Left { quota: 2, calls: 0, seconds: 50 }));
        assert_eq!(rates.take("ann", 2, at(20)), (false, Left { quota: 2, calls: 0, seconds: 40 }));
        assert!(rates.take("bob", 2, at(20)).0);
        assert!(rates.take("ann", 2, at(60)).0);
        assert!(rates.take("ann", 2, at(61)).0 && !rates.take("ann", 2, at(62)).0);
        assert!(rates.take("ann", 2, at(-3600)).0, "a clock that was set back keeps nobody out for an hour");
    }
}
