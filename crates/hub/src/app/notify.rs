//! Wakes the sync of an agent that waits for news.
//!
//! A wake-up that nobody waits for is kept until the next wait, so none is missed between a look at the database and the
//! wait that follows it. It only ever means "look again": what is new stands in the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// One bell per agent that has ever waited here.
#[derive(Default)]
pub(crate) struct Notifier {
    bells: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Notifier {
    /// The agent's bell.
    pub(crate) fn bell(&self, agent_id: &str) -> Arc<Notify> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bells.entry(agent_id.to_owned()).or_default())
    }

    /// Rings it, if anyone has ever waited for it.
    pub(crate) fn ring(&self, agent_id: &str) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(agent_id) {
            bell.notify_one();
        }
    }
}
