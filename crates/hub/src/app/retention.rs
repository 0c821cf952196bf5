//! What is old enough is forgotten, so that a hub that runs for years does not fill its disk: events, commands with their answers,
//! and lines of the audit log.

use std::time::Duration;

use millrace_model::Timestamp;
use tracing::{info, warn};

use super::App;
use crate::auth::lasts;
use crate::db::retention::{self, Kept};
use crate::fault::Refused;

/// What is kept, and for how long. `docs/how-to/run-a-hub.md` promises it.
const KEPT: [(Kept, Duration); 3] = [
    (Kept::Events, Duration::from_hours(30 * 24)),
    (Kept::Commands, Duration::from_hours(7 * 24)),
    // Thirteen months, as figures over time are.
    (Kept::AuditLog, Duration::from_hours(396 * 24)),
];
/// Rows that go in one transaction: others want to write, too.
const AT_ONCE: i64 = 2_000;
/// Between two looks at the clock, and between two tidyings by the clock.
const TICK: Duration = Duration::from_secs(1);
const TIDY: Duration = Duration::from_hours(1);

impl App {
    /// Forgets what is old, for as long as it is polled.
    pub(crate) async fn keep_tidy(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            tick.tick().await;
            let now = self.now();
            if last.is_some_and(|last| lasts(last, TIDY, now)) {
                continue;
            }
            last = Some(now);
            match self.tidy(now).await {
                Ok(0) => {}
                Ok(rows) => info!(code = "tidied", rows, "what is older than it is kept was forgotten"),
                Err(refused) => warn!(code = "HB-003", "what is old could not be forgotten: {refused}"),
            }
        }
    }

    /// How many rows went.
    async fn tidy(&self, now: Timestamp) -> Result<u64, Refused> {
        let mut gone = 0;
        for (kept, time) in KEPT {
            let before = Timestamp(now.0.saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)));
            loop {
                let mut writing = self.db.write().await?;
                let rows = retention::forget(writing.on(), kept, before, AT_ONCE).await?;
                writing.commit().await?;
                gone += rows;
                if i64::try_from(rows).unwrap_or(i64::MAX) < AT_ONCE {
                    break;
                }
            }
        }
        Ok(gone)
    }
}
