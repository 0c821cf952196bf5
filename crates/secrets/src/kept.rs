//! One secret that is signed in with again and again: read when it is first needed, each hour, and whenever it is refused.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use millrace_model::{Fault, KeptSecret, SecretReference, SecretStore, SecretValue};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::Secrets;

/// So old a value may be when it is used: whoever rotates a secret leaves the old one valid for longer.
const OLDEST: Duration = Duration::from_hours(1);
/// While it cannot be read, the old value is used and reading it is tried again after so long.
const PAUSE: Duration = Duration::from_mins(1);

/// The secret, and what was read last.
pub(crate) struct Kept {
    secrets: Secrets,
    reference: SecretReference,
    last: Mutex<Option<Last>>,
}

struct Last {
    value: SecretValue,
    /// When it is read anew.
    due: Instant,
}

impl Kept {
    pub(crate) fn new(secrets: Secrets, reference: SecretReference) -> Self {
        Self { secrets, reference, last: Mutex::default() }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({}:{})", self.reference.store, self.reference.name)
    }
}

#[async_trait]
impl KeptSecret for Kept {
    async fn value(&self) -> Result<SecretValue, Fault> {
        self.value_at(Instant::now()).await
    }

    async fn newer(&self, refused: &SecretValue) -> Result<Option<SecretValue>, Fault> {
        self.newer_at(refused, Instant::now()).await
    }
}

impl Kept {
    async fn value_at(&self, now: Instant) -> Result<SecretValue, Fault> {
        let mut last = self.last.lock().await;
        let old = match last.as_ref() {
            Some(last) if now < last.due => return Ok(last.value.clone()),
            old => old.map(|last| last.value.clone()),
        };
        match (self.secrets.read(&self.reference).await, old) {
            (Ok(value), old) => {
                if old.is_some_and(|old| old != value) {
                    let name = &self.reference.name;
                    info!(code = "secret_rotated", "the secret `{name}` has another value than an hour ago");
                }
                *last = Some(Last { value: value.clone(), due: now + OLDEST });
                Ok(value)
            }
            (Err(fault), Some(value)) => {
                warn!(code = fault.code, cure = fault.cure, "the value of an hour ago is used on: {fault}");
                *last = Some(Last { value: value.clone(), due: now + PAUSE });
                Ok(value)
            }
            (Err(fault), None) => Err(fault),
        }
    }

    async fn newer_at(&self, refused: &SecretValue, now: Instant) -> Result<Option<SecretValue>, Fault> {
        let mut last = self.last.lock().await;
        // Another session may have been refused first, and have read it.
        if let Some(last) = last.as_ref().filter(|last| last.value != *refused) {
            return Ok(Some(last.value.clone()));
        }
        let value = self.secrets.read(&self.reference).await?;
        let is_newer = value != *refused;
        *last = Some(Last { value: value.clone(), due: now + OLDEST });
        Ok(is_newer.then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[expect(clippy::unchecked_time_subtraction, reason = "the pause is shorter")]
    async fn a_kept_secret_is_read_each_hour_and_whenever_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let reference = SecretReference { store: "file".into(), name: "password".into(), key: None };
        let kept = Kept::new(Secrets::new(folder.path()), reference);
        let began = Instant::now();
        let value = async |later: Duration| kept.value_at(began + later).await.unwrap().reveal().to_owned();
        write("one");
        assert_eq!(value(Duration::ZERO).await, "one");
        write("two");
        assert_eq!(value(OLDEST - PAUSE).await, "one");
        assert_eq!(value(OLDEST).await, "two");
        let (refused, now) = (SecretValue::new("two"), began + OLDEST);
        assert_eq!(kept.newer_at(&refused, now).await.unwrap(), None);
        write("three");
        assert_eq!(kept.newer_at(&refused, now).await.unwrap().unwrap().reveal(), "three");
        // The next one to be refused is given it without another look.
        std::fs::remove_file(&file).unwrap();
        assert_eq!(kept.newer_at(&refused, now).await.unwrap().unwrap().reveal(), "three");
        // While it cannot be read, the last value is used on.
        assert_eq!(value(2 * OLDEST).await, "three");
        write("four");
        assert_eq!(value(2 * OLDEST).await, "three");
        assert_eq!(value(2 * OLDEST + PAUSE).await, "four");
        assert!(!format!("{kept:?}").contains("four"));
    }
}
