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
        let (name, place) = (format!("{name} {address}"), format!("tokens {}", place_of(address)));
        let counted = self.throttle.count(&[(&name, OF_NAME), (&place, OF_ADDRESS)], self.now());
        counted.map_err(|retry_after| Refused::TooMany { retry_after })
    }
}
