//! How the pipeline stands: what the agent was told, what it does about it, and what of that the hub is told. The
//! supervisor writes here, the session reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_model::Timestamp;
use millrace_protocol::gateway::{Condition, HeldPipeline, Reason, RefusedRevision, Report, Wanted};

use crate::clock::SystemClock;
use crate::meter::Meter;
use crate::outbox::Outbox;
use crate::told::{Witness, idle};

/// What the session reads of the supervisor.
#[derive(Default)]
pub(crate) struct Shared {
    standing: Mutex<Standing>,
    pub(crate) outbox: Arc<Outbox>,
    /// Whether the hub answered the last call.
    connected: AtomicBool,
}

/// What the pipeline is at.
#[derive(Default)]
struct Standing {
    /// What it was told last, and has taken or is taking.
    held: Option<HeldPipeline>,
    running: Option<Arc<Witness>>,
    idle: Option<Report>,
    refused: Option<(RefusedRevision, Timestamp)>,
    /// A wish is being carried out: what runs is on its way out, or what is wanted is on its way in.
    changing: bool,
}

impl Shared {
    /// What it was told last, and has taken or is taking.
    pub(crate) fn held(&self) -> Option<HeldPipeline> {
        self.lock().held.clone()
    }

    /// What runs, as it was told to.
    pub(crate) fn running(&self) -> Option<Arc<Witness>> {
        self.lock().running.clone()
    }

    /// The numbers of what runs.
    pub(crate) fn meter(&self) -> Option<Arc<Meter>> {
        self.lock().running.as_ref().map(|witness| Arc::clone(&witness.meter))
    }

    /// What the pipeline does now.
    pub(crate) fn report(&self) -> Option<Report> {
        let standing = self.lock();
        let mut report = match (&standing.running, &standing.idle) {
            (Some(witness), _) => witness.report(),
            (None, Some(idle)) => idle.clone(),
            (None, None) => return None,
        };
        if let Some(held) = standing.held.as_ref().filter(|held| held.pipeline_id == report.pipeline_id) {
            // A wish that changed nothing for what runs is answered all the same.
            report.wish = held.wish;
            let on_its_way = match held.wanted {
                Wanted::Running if standing.running.is_none() => Some("STARTING"),
                Wanted::Stopped if standing.running.is_some() => Some("STOPPING"),
                Wanted::Running | Wanted::Stopped => None,
            };
            if let Some(word) = on_its_way.filter(|_| standing.changing) {
                report.status = word.into();
                report.reason = None;
            }
        }
        report.refused = standing.refused.as_ref().map(|(refused, _)| refused.clone());
        Some(report)
    }

    /// What is not as it should be beside the pipeline.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        let standing = self.lock();
        let of_settings = |reason: &Reason, since: String| {
            let codes = ["settings_refused", "unsupported_by_agent", "policy"];
            codes.contains(&reason.code.as_str()).then(|| Condition {
                kind: "settings_refused".into(),
                message: reason.message.clone(),
                since,
            })
        };
        let idle = standing.idle.as_ref().filter(|_| standing.running.is_none());
        let idle = idle.and_then(|idle| of_settings(idle.reason.as_ref()?, idle.since.clone()));
        let refused = standing.refused.as_ref();
        idle.into_iter().chain(refused.and_then(|(it, since)| of_settings(&it.reason, since.to_string()))).collect()
    }

    /// A wish begins to be carried out.
    pub(crate) fn begin(&self, held: &HeldPipeline) {
        self.set(|standing| {
            standing.held = Some(held.clone());
            standing.changing = true;
            // Something must be there to say that it is on its way.
            let same = standing.idle.as_ref().is_some_and(|idle| idle.pipeline_id == held.pipeline_id);
            if standing.running.is_none() && !same {
                standing.idle = Some(idle(held, SystemClock::time(), None));
            }
        });
    }

    /// It is carried out.
    pub(crate) fn done(&self) {
        self.set(|standing| standing.changing = false);
    }

    /// The agent has no pipeline any more.
    pub(crate) fn clear(&self, reason: Reason) {
        self.set(|standing| {
            let held = standing.held.take();
            standing.idle = held.map(|held| idle(&held, SystemClock::time(), Some(reason)));
            standing.refused = None;
            standing.changing = false;
        });
    }

    /// It runs.
    pub(crate) fn runs(&self, witness: Arc<Witness>) {
        self.set(|standing| {
            standing.running = Some(witness);
            standing.idle = None;
        });
    }

    /// It does not run, and why.
    pub(crate) fn rests(&self, report: Report) {
        self.set(|standing| {
            let last = standing.running.take().filter(|witness| witness.held.pipeline_id == report.pipeline_id);
            standing.idle = Some(match last {
                Some(witness) => witness.counted(report),
                None => report,
            });
        });
    }

    /// A revision was refused, or none is any more.
    pub(crate) fn refuses(&self, refused: Option<RefusedRevision>) {
        self.set(|standing| standing.refused = refused.map(|refused| (refused, SystemClock::time())));
    }

    /// Whether the hub answered the last call.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Notes whether it did.
    pub(crate) fn connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    fn set(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.lock());
        self.outbox.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::reason;

    fn held(wanted: Wanted, wish: u64) -> HeldPipeline {
        HeldPipeline { pipeline_id: "p".into(), revision: 1, epoch: 1, wanted, wish, digest: None }
    }

    fn status(shared: &Shared) -> (String, u64) {
        shared.report().map(|report| (report.status, report.wish)).unwrap()
    }

    #[test]
    fn a_start_after_a_failure_is_starting_until_it_is_decided() {
        let shared = Shared::default();
        let failed = idle(&held(Wanted::Running, 1), Timestamp(0), Some(reason("failed", "no", "")));
        shared.begin(&held(Wanted::Running, 1));
        shared.rests(failed);
        shared.done();
        assert_eq!(status(&shared), ("NOT_RUNNING".into(), 1));
        shared.begin(&held(Wanted::Running, 2));
        assert_eq!(status(&shared), ("STARTING".into(), 2));
        assert_eq!(shared.report().unwrap().reason, None);
        shared.done();
        assert_eq!(status(&shared), ("NOT_RUNNING".into(), 2));
    }

    #[test]
    fn a_run_that_is_over_leaves_what_it_counted_and_no_rate() {
        use millrace_engine::{Event, Observer};
        let shared = Shared::default();
        let held = held(Wanted::Stopped, 1);
        let meter = Arc::new(Meter::new("shop", false));
        let witness =
            Witness::new(Arc::clone(&meter), held.clone(), (Arc::clone(&shared.outbox), Arc::default()), true);
        witness.observe(&Event::Claimed { commit: 1, position: None });
        shared.runs(Arc::new(witness));
        shared.rests(idle(&held, Timestamp(0), None));
        let report = shared.report().unwrap();
        assert_eq!(report.counted_since, Some(meter.began().to_string()));
        assert_eq!(report.figures.get("commits_total"), Some(&serde_json::json!(1)));
        assert!(!report.figures.contains_key("lag_seconds") && report.figures.contains_key("changes_total"));
        // Another pipeline has nothing to do with it.
        shared.rests(idle(&HeldPipeline { pipeline_id: "q".into(), ..held }, Timestamp(0), None));
        assert_eq!(shared.report().unwrap().counted_since, None);
    }

    #[test]
    fn a_revision_whose_settings_are_refused_is_a_condition() {
        let shared = Shared::default();
        assert_eq!(shared.conditions(), []);
        let refused = RefusedRevision { revision: 2, reason: reason("policy", "not this host", "") };
        shared.refuses(Some(refused));
        assert_eq!(shared.conditions().first().unwrap().kind, "settings_refused");
        shared.refuses(None);
        assert_eq!(shared.conditions(), []);
    }
}
