//! Guessing at the token endpoint is slowed down: for a name from an address, and for an address alone.

use super::people::OF_ADDRESS;
use super::{App, is_id};
use crate::auth::throttle::place_of;
use crate::fault::Refused;

/// Failures of one client id from one address that are let through in a minute.
const OF_NAME: u32 = 10;

impl App {
    /// Counts a failure. What is beyond the limits is counted only, and written nowhere: whoever guesses must not fill the disk.
    pub(super) fn slow_down(&self, client_id: &str, address: &str) -> Result<(), Refused> {
        // Of names that none of ours can be there are as many as one likes.
        let name = if is_id(client_id) { client_id } else { "unknown" };
        let subjects = [(format!("{name} {address}"), OF_NAME), (format!("tokens {}", place_of(address)), OF_ADDRESS)];
        let now = self.now();
        let waits = subjects.iter().filter_map(|(subject, limit)| self.throttle.wait(subject, *limit, now));
        if let Some(retry_after) = waits.max() {
            return Err(Refused::TooMany { retry_after });
        }
        subjects.iter().for_each(|(subject, _)| self.throttle.failed(subject, now));
        Ok(())
    }
}
