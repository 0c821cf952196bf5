//! `Idempotency-Key`: a request that comes twice is done once. What was done is noted in the transaction that does it.

use std::time::Duration;

use millrace_model::Timestamp;

use super::App;
use crate::auth::Caller;
use crate::db::repeats::{self, Repeat};
use crate::db::{Writing, taken};
use crate::fault::Refused;

/// A request with a key of its own.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    /// Of the header.
    pub(crate) key: String,
    /// Hash of path and body.
    pub(crate) fingerprint: String,
}

/// How long a key is remembered.
const MEMORY: Duration = Duration::from_hours(24);

impl App {
    /// What came of this request the first time, if it has been here.
    pub(crate) async fn done_before(
        &self,
        writing: &mut Writing,
        caller: &Caller,
        once: Option<&Once>,
    ) -> Result<Option<String>, Refused> {
        let Some(once) = once else { return Ok(None) };
        let since = Timestamp(self.now().0.saturating_sub(i64::try_from(MEMORY.as_micros()).unwrap_or(i64::MAX)));
        match repeats::find(writing.on(), &of(caller, once), since).await? {
            Some((fingerprint, outcome)) if fingerprint == once.fingerprint => Ok(Some(outcome)),
            Some(_) => Err(Refused::conflict("key_reused", "this `Idempotency-Key` was sent with another request")),
            None => Ok(None),
        }
    }

    /// Notes what came of it.
    pub(crate) async fn note_done(
        &self,
        writing: &mut Writing,
        caller: &Caller,
        once: Option<&Once>,
        outcome: &str,
    ) -> Result<(), Refused> {
        let Some(once) = once else { return Ok(()) };
        repeats::insert(writing.on(), &of(caller, once), outcome, self.now()).await.map_err(|error| {
            match taken(&error) {
                Some(_) => Refused::conflict("key_in_use", "the same request is being done at this moment"),
                None => error.into(),
            }
        })
    }
}

fn of(caller: &Caller, once: &Once) -> Repeat {
    Repeat { actor: caller.actor(), key: once.key.clone(), fingerprint: once.fingerprint.clone() }
}
