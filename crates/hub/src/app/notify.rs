//! Wakes the sync of an agent that waits for news, here and at the other hub processes of the same database.
//!
//! A wake-up that nobody waits for is kept until the next wait, so none is missed between a look at the database and the
//! wait that follows it. It only ever means "look again": what is new stands in the database. So one that is lost between two
//! processes costs time, at most that of a hold, and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::warn;
use uuid::Uuid;

use super::App;
use crate::db::wake::{self, Heard, Listener};

/// Between two attempts to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// One bell per agent that has ever waited here.
pub(crate) struct Notifier {
    bells: Mutex<HashMap<String, Arc<Notify>>>,
    /// Agents that the other processes have not been told of yet.
    untold: Mutex<BTreeSet<String>>,
    tell: Notify,
    /// This process, which need not hear itself.
    me: String,
}

impl Default for Notifier {
    fn default() -> Self {
        let me = Uuid::new_v4().simple().to_string();
        Self { bells: Mutex::default(), untold: Mutex::default(), tell: Notify::new(), me }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notifier {
    /// The agent's bell.
    pub(crate) fn bell(&self, agent_id: &str) -> Arc<Notify> {
        Arc::clone(lock(&self.bells).entry(agent_id.to_owned()).or_default())
    }

    /// Rings it, wherever its agent waits.
    pub(crate) fn ring(&self, agent_id: &str) {
        self.ring_here(agent_id);
        lock(&self.untold).insert(agent_id.to_owned());
        self.tell.notify_one();
    }

    fn ring_here(&self, agent_id: &str) {
        if let Some(bell) = lock(&self.bells).get(agent_id) {
            bell.notify_one();
        }
    }

    /// Rings all of them: something may have been missed.
    fn ring_all(&self) {
        lock(&self.bells).values().for_each(|bell| bell.notify_one());
    }
}

impl App {
    /// Tells the other hub processes whom to wake, for as long as it is polled.
    pub(crate) async fn tell_others(&self) {
        loop {
            self.notifier.tell.notified().await;
            let ids: Vec<String> = std::mem::take(&mut *lock(&self.notifier.untold)).into_iter().collect();
            if self.db.is_shared()
                && let Err(refused) = wake::tell(self.db.pool(), &self.notifier.me, &ids).await
            {
                warn!(code = "HB-003", "other hub processes could not be told of news: {refused}");
            }
        }
    }

    /// Hears whom the others want to be woken, for as long as it is polled. On a database that is not shared, nobody speaks.
    pub(crate) async fn hear_others(&self) {
        let Some(url) = &self.settings.database_url else { return std::future::pending().await };
        loop {
            match Listener::open(url).await {
                Ok(mut listener) => {
                    self.notifier.ring_all();
                    self.hear(&mut listener).await;
                }
                Err(refused) => warn!(code = "HB-003", "other hub processes cannot be heard: {refused}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns when the connection is lost for good.
    async fn hear(&self, listener: &mut Listener) {
        loop {
            match listener.next().await {
                Ok(Heard::Ring { from, agents }) if from != self.notifier.me => {
                    agents.iter().for_each(|agent| self.notifier.ring_here(agent));
                }
                Ok(Heard::Ring { .. }) => {}
                Ok(Heard::Gap) => self.notifier.ring_all(),
                Err(refused) => {
                    warn!(code = "HB-003", "other hub processes cannot be heard: {refused}");
                    return;
                }
            }
        }
    }
}
