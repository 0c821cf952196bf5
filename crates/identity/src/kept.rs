//! Keeps what expires, and gets it anew before it does.
//!
//! One caller at a time asks the service; the others are given the old one meanwhile, for as long as it is valid. A
//! service that does not answer is no trouble before the old one's end: it is asked again every half minute.

use std::sync::{Arc, PoisonError, RwLock};

use millrace_model::{Fault, Timestamp};
use tokio::sync::Mutex;
use tracing::warn;

use crate::surroundings::Surroundings;
use crate::time::{after, seconds_between};

/// So long before its end a credential is replaced, in seconds: enough for several attempts.
const EARLY: i64 = 600;
/// And never more than this part of its life, for those that live shortly.
const EARLY_PART: i64 = 4;
/// Seconds between two attempts while the old one is still good.
const PAUSE: i64 = 30;
/// Seconds before its end in which a credential is not begun to be used: clocks differ, and a request takes time.
const MARGIN: i64 = 10;

/// Something that may end.
pub(crate) trait Expiring {
    /// When it ends, if it does.
    fn expires(&self) -> Option<Timestamp>;
}

struct Entry<T> {
    value: Arc<T>,
    /// When it is replaced, if ever.
    renew: Option<Timestamp>,
}

/// The newest one.
pub(crate) struct Kept<T> {
    entry: RwLock<Option<Entry<T>>>,
    flight: Mutex<()>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { entry: RwLock::new(None), flight: Mutex::new(()) }
    }
}

/// What is there.
enum State<T> {
    Fresh(Arc<T>),
    /// Still good, but it should be replaced.
    Due(Arc<T>),
    None,
}

impl<T: Expiring> Kept<T> {
    /// The newest one, by way of `obtain` (not begun otherwise) where there is none or where it is time.
    pub(crate) async fn get(
        &self,
        around: &Surroundings,
        name: &str,
        obtain: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<Arc<T>, Fault> {
        let _flight = match self.state(around.now()) {
            State::Fresh(value) => return Ok(value),
            State::Due(value) => match self.flight.try_lock() {
                Ok(flight) => flight,
                Err(_somebody_is_at_it) => return Ok(value),
            },
            State::None => self.flight.lock().await,
        };
        // Somebody may have replaced it while this call waited.
        let old = match self.state(around.now()) {
            State::Fresh(value) => return Ok(value),
            State::Due(value) => Some(value),
            State::None => None,
        };
        match (obtain.await, old) {
            (Ok(value), _) => Ok(self.keep(value, around.now())),
            (Err(fault), Some(old)) => {
                let left = old.expires().map_or(0, |end| seconds_between(around.now(), end));
                warn!(code = fault.code, cure = fault.cure, seconds_left = left, "{name} is used on: {fault}");
                self.put(Arc::clone(&old), Some(after(around.now(), PAUSE)));
                Ok(old)
            }
            (Err(fault), None) => Err(fault),
        }
    }

    /// Forgets `refused`, unless it was replaced already: a service does not take it any more.
    pub(crate) fn forget(&self, refused: &Arc<T>) {
        let mut entry = self.entry.write().unwrap_or_else(PoisonError::into_inner);
        if entry.as_ref().is_some_and(|entry| Arc::ptr_eq(&entry.value, refused)) {
            *entry = None;
        }
    }

    fn state(&self, now: Timestamp) -> State<T> {
        let entry = self.entry.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Entry { value, renew }) = entry.as_ref() else { return State::None };
        if value.expires().is_some_and(|end| after(now, MARGIN) >= end) {
            return State::None;
        }
        if renew.is_some_and(|renew| now >= renew) {
            return State::Due(Arc::clone(value));
        }
        State::Fresh(Arc::clone(value))
    }

    fn keep(&self, value: T, now: Timestamp) -> Arc<T> {
        let renew = value.expires().map(|end| {
            let life = seconds_between(now, end).max(0);
            after(end, -EARLY.min(life / EARLY_PART))
        });
        // A service may answer with the one that it gave before: it is not asked again at once.
        let renew = renew.map(|renew| renew.max(after(now, PAUSE)));
        let value = Arc::new(value);
        self.put(Arc::clone(&value), renew);
        value
    }

    fn put(&self, value: Arc<T>, renew: Option<Timestamp>) {
        *self.entry.write().unwrap_or_else(PoisonError::into_inner) = Some(Entry { value, renew });
    }
}
