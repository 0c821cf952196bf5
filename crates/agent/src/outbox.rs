//! What the agent has to tell the hub and was not acknowledged yet: events and results of commands.
//!
//! Bounded: while the hub is away for long, the oldest events that are only good to know go first, then the oldest of all;
//! how many went is itself an event.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_model::Timestamp;
use millrace_protocol::gateway::{AgentEvent, CommandResult};
use serde_json::Map;
use tokio::sync::Notify;
use uuid::Uuid;

/// So many events wait at most.
const EVENTS: usize = 10_000;
/// So many go in one sync: it stays far below the hub's limit.
const AT_ONCE: usize = 200;

/// The outbox.
#[derive(Default)]
pub(crate) struct Outbox {
    held: Mutex<Held>,
    /// Rings when there is something new.
    pub(crate) bell: Notify,
}

#[derive(Default)]
struct Held {
    events: VecDeque<AgentEvent>,
    results: Vec<CommandResult>,
    dropped: u64,
}

impl Outbox {
    /// Puts an event in.
    pub(crate) fn event(&self, event: AgentEvent) {
        {
            let mut held = self.held();
            if held.events.len() >= EVENTS {
                let least = held.events.iter().position(|event| event.severity == "info").unwrap_or(0);
                held.events.remove(least);
                held.dropped += 1;
            }
            held.events.push_back(event);
        }
        self.bell.notify_one();
    }

    /// Puts a result in.
    pub(crate) fn result(&self, result: CommandResult) {
        self.held().results.push(result);
        self.bell.notify_one();
    }

    /// What goes with the next sync. It stays here until it is acknowledged.
    pub(crate) fn next(&self, now: Timestamp) -> (Vec<AgentEvent>, Vec<CommandResult>) {
        let mut held = self.held();
        if held.dropped > 0 {
            let mut event = new_event(now, "warning", "events_dropped");
            event.message = format!("{} events were dropped while the hub was away", held.dropped);
            held.dropped = 0;
            held.events.push_front(event);
        }
        (held.events.iter().take(AT_ONCE).cloned().collect(), held.results.clone())
    }

    /// The hub has stored these.
    pub(crate) fn acknowledged(&self, events: &[String], commands: &[String]) {
        let mut held = self.held();
        held.events.retain(|event| !events.contains(&event.id));
        held.results.retain(|result| !commands.contains(&result.id));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event without words yet.
pub(crate) fn new_event(at: Timestamp, severity: &str, code: &str) -> AgentEvent {
    AgentEvent {
        id: Uuid::now_v7().to_string(),
        at: at.to_string(),
        pipeline_id: None,
        severity: severity.into(),
        code: code.into(),
        message: String::new(),
        cure: String::new(),
        fields: Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_drops_what_is_only_good_to_know_and_says_how_much() {
        let outbox = Outbox::default();
        outbox.event(new_event(Timestamp(0), "error", "fault"));
        for _ in 0..EVENTS + 4 {
            outbox.event(new_event(Timestamp(1), "info", "committed"));
        }
        let (events, _) = outbox.next(Timestamp(2));
        assert_eq!(events[0].code, "events_dropped");
        assert!(events[0].message.starts_with("5 "), "{}", events[0].message);
        assert_eq!(events[1].code, "fault");
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        outbox.acknowledged(&ids, &[]);
        assert!(outbox.next(Timestamp(3)).0.iter().all(|event| !ids.contains(&event.id)));
    }
}
