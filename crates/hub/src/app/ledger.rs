//! What agents say with each sign of life, written down together: thousands of syncs become a few transactions.
//!
//! Two kinds. What anybody could miss, a new status, an event, a result, a condition, is durable before its sync is
//! answered; all that came meanwhile goes with it. A renewed lease and newer figures wait for the next such moment, for a
//! second at most: a hub that dies loses nothing by it that the next sync does not bring again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_model::Timestamp;
use millrace_protocol::gateway::{Report, Sync};
use tokio::sync::{Notify, oneshot};
use tracing::warn;

use super::gateway::SKEW;
use super::{App, later};
use crate::db::agents::{self, Agent};
use crate::db::pipelines::{self, StoredReport};
use crate::db::{Writing, commands, events, leases};
use crate::fault::Refused;

/// How long a renewed lease may wait.
const AT_MOST: Duration = Duration::from_secs(1);

/// The ledger.
#[derive(Default)]
pub(crate) struct Ledger {
    waiting: Mutex<Vec<Entry>>,
    bell: Notify,
    /// What each agent said last, as far as it is written down at once, and the number of that word.
    said: Mutex<HashMap<String, (u64, u64)>>,
}

/// What one sync brought.
struct Entry {
    account_id: String,
    agent_id: String,
    at: Timestamp,
    sync: Sync,
    clock_skew_ms: i64,
    /// There where the sync waits for it.
    done: Option<oneshot::Sender<bool>>,
}

impl Ledger {
    /// Whether the sync says anything beside newer figures.
    fn is_news(&self, agent: &Agent, sync: &Sync, clock_skew_ms: i64) -> bool {
        let mut hasher = DefaultHasher::new();
        sync.session_id.hash(&mut hasher);
        (clock_skew_ms / SKEW).hash(&mut hasher);
        if let Some(report) = &sync.report {
            let decides =
                (&report.pipeline_id, &report.status, &report.since, report.revision, report.wish, report.epoch);
            decides.hash(&mut hasher);
            let words = (&report.reason, &report.refused, report.checkpoint.is_some());
            serde_json::to_string(&words).unwrap_or_default().hash(&mut hasher);
        }
        serde_json::to_string(&sync.conditions).unwrap_or_default().hash(&mut hasher);
        let said = hasher.finish();
        let before = lock(&self.said).insert(agent.id.clone(), (said, sync.sequence));
        // After a word that went to another hub process, the same as here before is news again.
        let follows = before.is_some_and(|(_, sequence)| sync.sequence.checked_sub(1) == Some(sequence));
        !follows || before.map(|(said, _)| said) != Some(said) || !sync.events.is_empty() || !sync.results.is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    /// Takes in what a sync says; returns when what has to be durable is.
    pub(crate) async fn take_in(&self, agent: &Agent, sync: &Sync) -> Result<(), Refused> {
        let at = self.now();
        let skew = Timestamp::parse(&sync.sent_at).map_or(0, |sent| (sent.0 - at.0) / 1000);
        let clock_skew_ms = if skew.abs() > SKEW { skew } else { 0 };
        let news = self.ledger.is_news(agent, sync, clock_skew_ms);
        let (done, written) = oneshot::channel();
        lock(&self.ledger.waiting).push(Entry {
            account_id: agent.account_id.clone(),
            agent_id: agent.id.clone(),
            at,
            sync: sync.clone(),
            clock_skew_ms,
            done: news.then_some(done),
        });
        if !news {
            return Ok(());
        }
        self.ledger.bell.notify_one();
        match written.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => {
                // Said again, it is news again.
                lock(&self.ledger.said).remove(&agent.id);
                Err(Refused::failed("what the agent said could not be written down"))
            }
        }
    }

    /// Writes down whatever waits, for as long as it is polled.
    pub(crate) async fn keep_books(&self) {
        loop {
            // Rung or not: what waits has waited long enough.
            let _rung = tokio::time::timeout(AT_MOST, self.ledger.bell.notified()).await;
            self.write_down().await;
        }
    }

    /// Writes down what waits, in one transaction.
    pub(crate) async fn write_down(&self) {
        let entries = std::mem::take(&mut *lock(&self.ledger.waiting));
        if entries.is_empty() {
            return;
        }
        match self.written(&entries).await {
            Ok(freed) => self.tell(entries, true, &freed),
            // One that cannot be written must not keep the others out.
            Err(error) if entries.len() > 1 => {
                warn!(code = "HB-003", "syncs could not be written down together: {error}");
                for entry in entries {
                    let alone = std::slice::from_ref(&entry);
                    match self.written(alone).await {
                        Ok(freed) => self.tell(vec![entry], true, &freed),
                        Err(_) => self.tell(vec![entry], false, &[]),
                    }
                }
            }
            Err(error) => {
                warn!(code = "HB-003", "a sync could not be written down: {error}");
                self.tell(entries, false, &[]);
            }
        }
    }

    /// After the commit: whoever waits goes on, and agents that a pipeline was kept from look again.
    fn tell(&self, entries: Vec<Entry>, written: bool, freed: &[String]) {
        for done in entries.into_iter().filter_map(|entry| entry.done) {
            // Its agent may have hung up.
            let _gone = done.send(written);
        }
        freed.iter().for_each(|agent_id| self.notifier.ring(agent_id));
    }

    /// The agents that may be given a pipeline now.
    async fn written(&self, entries: &[Entry]) -> Result<Vec<String>, Refused> {
        let mut freed = Vec::new();
        let mut writing = self.db.write().await?;
        for entry in entries {
            self.enter(&mut writing, entry, &mut freed).await?;
        }
        writing.commit().await?;
        Ok(freed)
    }

    async fn enter(&self, writing: &mut Writing, entry: &Entry, freed: &mut Vec<String>) -> Result<(), Refused> {
        let Entry { agent_id, at, sync, clock_skew_ms, done, .. } = entry;
        let sequence = i64::try_from(sync.sequence).unwrap_or(i64::MAX);
        let expires_at = later(*at, self.settings.lease);
        keep_events(writing, entry).await?;
        if !leases::renew(writing.on(), &sync.session_id, sequence, (*at, expires_at)).await? {
            // Overtaken on its way, by a newer sync or by another process: how things stand was said since.
            return Ok(());
        }
        self.sample(writing, agent_id, (sync.report.as_ref(), sync.process.as_ref()), *at).await?;
        if done.is_none() {
            // Its agent said the same in its last sync: only the figures are newer.
            if let Some(report) = &sync.report {
                let text = serde_json::to_string(report).map_err(|error| Refused::Failed(Box::new(error)))?;
                pipelines::newer_figures(writing.on(), &report.pipeline_id, (&sync.session_id, &text), *at).await?;
            }
            return Ok(());
        }
        if let Some(conditions) = &sync.conditions {
            let text = serde_json::to_string(conditions).unwrap_or_default();
            agents::conditions(writing.on(), agent_id, (&text, *clock_skew_ms), *at).await?;
        }
        if let Some(report) = &sync.report {
            self.keep_report(writing, (agent_id, &sync.session_id), report, *at, freed).await?;
        }
        Ok(())
    }

    /// Keeps a report, and hears from it that a pipeline runs here no more, that a new lake is begun, or that a chain has
    /// shown a higher epoch than the hub knows.
    async fn keep_report(
        &self,
        writing: &mut Writing,
        (agent_id, session_id): (&str, &str),
        report: &Report,
        at: Timestamp,
        freed: &mut Vec<String>,
    ) -> Result<(), Refused> {
        let rests = report.status == "NOT_RUNNING";
        let own = pipelines::of_agent(writing.on(), agent_id).await?;
        if let Some(own) = own.filter(|own| own.id == report.pipeline_id) {
            let text = serde_json::to_string(report).map_err(|error| Refused::Failed(Box::new(error)))?;
            let stored = StoredReport {
                agent_id: agent_id.to_owned(),
                session_id: session_id.to_owned(),
                report: text,
                updated_at: at,
            };
            pipelines::report(writing.on(), &own.id, &stored).await?;
            self.note_failure(writing, &own, report, at).await?;
            let shown = i64::try_from(report.epoch).unwrap_or(0);
            if shown > own.epoch {
                pipelines::raise(writing.on(), &own.id, if rests { shown + 1 } else { shown }).await?;
            }
            if report.checkpoint.is_some() && own.new_lake.is_some() {
                let revision = i64::try_from(report.revision).unwrap_or(0);
                pipelines::lake_begun(writing.on(), &own.id, revision).await?;
            }
        }
        for held in pipelines::held_by(writing.on(), agent_id).await? {
            let wanted_here = held.agent_id == agent_id && held.deleted_at.is_none() && held.wanted == "running";
            // An agent runs one pipeline: a report of another one says that this one runs no more.
            if !wanted_here && (rests || held.id != report.pipeline_id) {
                pipelines::let_go(writing.on(), &held.id, agent_id).await?;
                freed.push(held.agent_id);
            }
        }
        Ok(())
    }
}

/// Keeps what a sync tells once, however old it is: events, and results of commands.
async fn keep_events(writing: &mut Writing, entry: &Entry) -> Result<(), Refused> {
    let Entry { account_id, agent_id, at, sync, .. } = entry;
    let mut known: HashMap<String, bool> = HashMap::new();
    for event in &sync.events {
        let mut event = event.clone();
        // Of a pipeline that was never this agent's it says nothing: the event stays the agent's own.
        if let Some(id) = event.pipeline_id.take() {
            let is_own = match known.get(&id) {
                Some(is_own) => *is_own,
                None => pipelines::was_of(writing.on(), (account_id, agent_id), &id).await?,
            };
            event.pipeline_id = is_own.then(|| id.clone());
            known.insert(id, is_own);
        }
        events::add(writing.on(), (account_id, agent_id), &event, *at).await?;
    }
    for result in &sync.results {
        let text = result.result.to_string();
        commands::finish(writing.on(), (agent_id, &result.id), (result.done, &text), *at).await?;
    }
    Ok(())
}
