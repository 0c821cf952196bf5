//! The password that sessions are opened with. It may be rotated while the source is open.
//!
//! Sessions that stand are not touched by a rotation; only new ones sign in. A refused password is read anew at once.
//! Where the store still says the same, the rotation may be half done: the server has the new password already, the store
//! not yet. So a password that was accepted before is tried again for a while before the refusal is believed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_model::{Fault, KeptSecret, SecretValue};

/// So long a password that was accepted before is tried again: rotations of the clouds' secret services take seconds, and
/// minutes where a person does them.
const PATIENCE: Duration = Duration::from_mins(10);

/// A password, with what is known of it.
#[derive(Clone, Debug)]
pub struct Password {
    secret: Arc<dyn KeptSecret>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// The server has accepted it in this process.
    accepted: bool,
    /// When it was refused first after that.
    refused: Option<Instant>,
}

impl Password {
    /// Of a secret.
    pub fn of(secret: Arc<dyn KeptSecret>) -> Self {
        Self { secret, known: Arc::default() }
    }

    pub(crate) async fn value(&self) -> Result<SecretValue, Fault> {
        self.secret.value().await
    }

    pub(crate) async fn newer(&self, refused: &SecretValue) -> Result<Option<SecretValue>, Fault> {
        self.secret.newer(refused).await
    }

    /// The server took it.
    pub(crate) fn accepted(&self) {
        *self.known() = Known { accepted: true, refused: None };
    }

    /// The server refused it, and the store has no other one. Whether that may be a rotation that is half done.
    pub(crate) fn may_be_rotated(&self, now: Instant) -> bool {
        let mut known = self.known();
        let since = *known.refused.get_or_insert(now);
        known.accepted && now.saturating_duration_since(since) < PATIENCE
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::unchecked_time_subtraction, reason = "the patience is longer")]
    fn only_a_password_that_was_accepted_is_tried_again_and_not_for_ever() {
        let password = Password::of(Arc::new(SecretValue::new("x")));
        let now = Instant::now();
        assert!(!password.may_be_rotated(now));
        password.accepted();
        assert!(password.may_be_rotated(now));
        assert!(password.may_be_rotated(now + PATIENCE - Duration::from_secs(1)));
        assert!(!password.may_be_rotated(now + PATIENCE));
        password.accepted();
        assert!(password.may_be_rotated(now + PATIENCE));
    }
}
