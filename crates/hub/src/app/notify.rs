//! Wakes the sync of an agent that waits for news, here and at the other hub processes of the same database.
//!
//! Whoever waits takes its bell before it looks at the database, so no wake-up is missed between the look and the wait that
//! follows it; and a bell is heard by everybody who waits, so a sync whose agent is gone keeps it from nobody. A newer sync of
//! an agent ends the older ones. A wake-up only ever means "look again": what is new stands in the database. So one that is lost between two
//! processes costs time, at most that of a hold, and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tracing::warn;
use uuid::Uuid;

use super::App;
use crate::db::wake::{self, Heard, Listener};

/// Between two attempts to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// What has become of an agent since a sync of it began to wait.
#[derive(Default)]
struct Rung {
    /// How often its bell has rung.
    times: u64,
    /// Its newest sync: the session, and the number in it.
    newest: Option<(String, u64)>,
}

/// The bell of an agent, as one of its syncs hears it.
pub(crate) struct Bell {
    rung: watch::Receiver<Rung>,
    session_id: String,
    sequence: u64,
}

impl Bell {
    /// Whether a newer sync has come: nobody waits for this one any more.
    pub(crate) fn is_overtaken(&self) -> bool {
        let rung = self.rung.borrow();
        let newest = rung.newest.as_ref();
        newest.is_some_and(|(session, sequence)| *session != self.session_id || *sequence > self.sequence)
    }

    /// Waits until it rings, or until a newer sync comes.
    pub(crate) async fn rings(&mut self) {
        if self.rung.changed().await.is_err() {
            // The hub ends.
            std::future::pending::<()>().await;
        }
    }
}

/// One bell per agent that has ever waited here.
pub(crate) struct Notifier {
    bells: Mutex<HashMap<String, watch::Sender<Rung>>>,
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
    /// The agent's bell, for a sync that begins now.
    pub(crate) fn bell(&self, agent_id: &str, session_id: &str, sequence: u64) -> Bell {
        let mut bells = lock(&self.bells);
        let bell = bells.entry(agent_id.to_owned()).or_default();
        bell.send_if_modified(|rung| {
            let before = rung.newest.as_ref();
            let is_newer = before.is_none_or(|(session, newest)| session != session_id || *newest < sequence);
            if is_newer {
                rung.newest = Some((session_id.to_owned(), sequence));
            }
            is_newer
        });
        Bell { rung: bell.subscribe(), session_id: session_id.to_owned(), sequence }
    }

    /// Rings it, wherever its agent waits.
    pub(crate) fn ring(&self, agent_id: &str) {
        self.ring_here(agent_id);
        lock(&self.untold).insert(agent_id.to_owned());
        self.tell.notify_one();
    }

    fn ring_here(&self, agent_id: &str) {
        if let Some(bell) = lock(&self.bells).get(agent_id) {
            bell.send_modify(|rung| rung.times += 1);
        }
    }

    /// Rings all of them: something may have been missed.
    fn ring_all(&self) {
        lock(&self.bells).values().for_each(|bell| bell.send_modify(|rung| rung.times += 1));
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
