//! The clock of the machine.

use std::time::{SystemTime, UNIX_EPOCH};

use millrace_model::{Clock, Timestamp};

/// Wall-clock time of the operating system.
pub struct SystemClock;

impl SystemClock {
    /// Now, for whoever has no clock at hand: the log.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn time() -> Timestamp {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_micros());
        // A machine whose clock stands before 1970 gets 1970: times are for people, nothing is decided by them.
        Timestamp(micros.ok().and_then(|micros| i64::try_from(micros).ok()).unwrap_or_default())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Self::time()
    }
}
