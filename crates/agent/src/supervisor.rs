//! Runs the one pipeline as the hub wishes: starts it, stops it, gives it a new revision, and says how it is.
//!
//! A fault of the pipeline never ends the process: it is reported, and a new START or a new revision tries again. Only who
//! else writes the lake (exit 75, 76) ends it. A revision that cannot be taken leaves the last good one running, and one
//! that fails before it ever streams gives way to it. It works
//! beside the session: whatever takes long here holds up no sign of life, and a newer wish ends what it makes pointless.

mod commands;

use std::sync::Arc;
use std::time::Duration;

use millrace_engine::{Stop, StopHandle, observed};
use millrace_model::{Fault, Refusal, Remedy};
use millrace_protocol::gateway::{DesiredPipeline, HeldPipeline, Reason, RefusedRevision, Wanted};
use millrace_protocol::{Notation, PipelineSpec, SnapshotMode};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::warn;

use crate::asked::Taken;
use crate::cache::{Cache, Kept};
use crate::clock::SystemClock;
use crate::meter::Meter;
use crate::policy::Guard;
use crate::preflight;
use crate::run::{Ended, Run, wired};
use crate::standing::Shared;
use crate::told::{Witness, failed, fault_event, idle, of_finding, reason};
use crate::wiring::Secrets;

/// A new revision is asked this long whether it can run before the old one is stopped for it.
const APPLY_WITHIN: Duration = Duration::from_mins(1);

/// The supervisor.
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    guard: Arc<Guard>,
    cache: Cache,
    secrets: Secrets,
    /// What is wanted; `None`: no pipeline.
    wishes: watch::Receiver<Option<DesiredPipeline>>,
    commands: mpsc::Receiver<Taken>,
    /// The one run, if there is one.
    running: JoinSet<Ended>,
    stop_running: Option<StopHandle>,
    /// Rings when what runs has streamed.
    works: Arc<Notify>,
    /// A revision that has ended before it ever streamed, and was not told to.
    failed: Option<(HeldPipeline, RefusedRevision)>,
    /// The definition that runs or ran last, and whether its first snapshots were all finished once.
    kept: Option<Kept>,
}

/// What the supervisor works with beside its channels.
pub(crate) struct House {
    pub(crate) guard: Arc<Guard>,
    pub(crate) cache: Cache,
    /// Files of secrets are relative to STATE_DIR.
    pub(crate) secrets: Secrets,
}

impl Supervisor {
    pub(crate) fn new(
        house: House,
        shared: Arc<Shared>,
        wishes: watch::Receiver<Option<DesiredPipeline>>,
        commands: mpsc::Receiver<Taken>,
    ) -> Self {
        let House { guard, cache, secrets } = house;
        let kept = cache.read();
        Self {
            shared,
            guard,
            cache,
            secrets,
            wishes,
            commands,
            running: JoinSet::new(),
            stop_running: None,
            works: Arc::default(),
            failed: None,
            kept,
        }
    }

    /// Runs until `stop` is said (`Ok`) or until another process writes the lake.
    pub(crate) async fn run(mut self, mut stop: Stop) -> Result<(), Fault> {
        loop {
            tokio::select! {
                // A wish comes before a command that came with it.
                biased;
                () = stop.requested() => return self.halt().await,
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        return self.halt().await;
                    }
                    let wish = self.wishes.borrow_and_update().clone();
                    self.apply(wish, &mut stop).await?;
                }
                Some(ended) = self.running.join_next() => {
                    self.ended(ended)?;
                    self.fall_back();
                }
                () = self.works.notified() => self.note_good(),
                Some(taken) = self.commands.recv() => self.command(taken, &mut stop).await?,
            }
        }
    }

    /// Does what is wanted now.
    async fn apply(&mut self, wish: Option<DesiredPipeline>, stop: &mut Stop) -> Result<(), Fault> {
        let Some(wish) = wish else {
            self.halt().await?;
            self.shared.clear(reason("no_pipeline", "the agent has no pipeline any more", ""));
            self.keep(None);
            return Ok(());
        };
        self.shared.begin(&wish.held);
        match wish.held.wanted {
            Wanted::Stopped => {
                self.halt().await?;
                let whole = self.is_whole(&wish.held);
                let good = self.good(&wish.held);
                self.keep(Some(Kept { pipeline: wish.clone(), whole, good }));
                self.shared.refuses(None);
                let stopped = reason("stopped", "it was stopped", "start it");
                self.shared.rests(idle(&wish.held, SystemClock::time(), Some(stopped)));
            }
            Wanted::Running => self.take(wish, stop).await?,
        }
        self.shared.done();
        Ok(())
    }

    /// Takes a definition that is to run.
    async fn take(&mut self, wish: DesiredPipeline, stop: &mut Stop) -> Result<(), Fault> {
        let runs = self.shared.running().map(|witness| witness.held.clone());
        if runs.as_ref().is_some_and(|runs| is_same(runs, &wish.held)) {
            // Started while it runs: it goes on.
            self.shared.refuses(None);
            return Ok(());
        }
        let replaces = runs.as_ref().is_some_and(|runs| runs.pipeline_id == wish.held.pipeline_id);
        let mut newer = self.wishes.clone();
        let accepted = tokio::select! {
            accepted = self.accept(&wish, replaces) => accepted,
            // It makes this one pointless; the loop takes it up.
            _ = newer.changed() => return Ok(()),
            () = stop.requested() => return Ok(()),
        };
        match accepted {
            Ok(spec) => {
                self.halt().await?;
                self.shared.refuses(None);
                self.start(wish, spec);
            }
            Err(reason) => {
                warn!(code = "AG-013", revision = wish.held.revision, "a revision is not taken: {}", reason.message);
                self.refuse(wish, runs, reason).await?;
            }
        }
        Ok(())
    }

    /// Goes on with the last good revision, if there is one.
    async fn refuse(&mut self, wish: DesiredPipeline, runs: Option<HeldPipeline>, reason: Reason) -> Result<(), Fault> {
        let held = wish.held;
        let is_older = |other: &HeldPipeline| other.pipeline_id == held.pipeline_id && !other.is_definition_of(&held);
        let refused = RefusedRevision { revision: held.revision, reason: reason.clone() };
        if runs.as_ref().is_some_and(is_older) {
            self.shared.refuses(Some(refused));
            return Ok(());
        }
        self.halt().await?;
        let kept = self.kept.clone().into_iter().flat_map(|kept| kept.good.into_iter().chain([kept.pipeline]));
        let good = kept.filter(|pipeline| is_older(&pipeline.held));
        let good = good.into_iter().find_map(|pipeline| Some((self.allowed(&pipeline).ok()?, pipeline)));
        if let Some((spec, pipeline)) = good {
            self.go_on_with(pipeline, spec, (held, refused));
        } else {
            self.shared.refuses(None);
            self.shared.rests(idle(&held, SystemClock::time(), Some(reason)));
        }
        Ok(())
    }

    /// Runs an older revision in place of the one that is held.
    fn go_on_with(
        &mut self,
        pipeline: DesiredPipeline,
        spec: PipelineSpec,
        (held, refused): (HeldPipeline, RefusedRevision),
    ) {
        let HeldPipeline { revision, digest, .. } = pipeline.held.clone();
        let held = HeldPipeline { revision, digest, ..held };
        self.start(DesiredPipeline { held, ..pipeline }, spec);
        self.shared.refuses(Some(refused));
    }

    /// A revision that has failed before it ever streamed gives way to the last one that did.
    fn fall_back(&mut self) {
        let Some((ran, refused)) = self.failed.take() else { return };
        let Some(held) = self.shared.held().filter(|held| held.wanted == Wanted::Running) else { return };
        let Some(good) = self.good(&held).filter(|good| !good.held.is_definition_of(&ran)) else { return };
        let Ok(spec) = self.allowed(&good) else { return };
        warn!(code = "AG-013", revision = refused.revision, "a revision gives way: {}", refused.reason.message);
        self.go_on_with(good, spec, (held, refused));
    }

    /// What runs has streamed: this is what a newer revision falls back to.
    fn note_good(&mut self) {
        let Some(witness) = self.shared.running().filter(|witness| witness.has_streamed()) else { return };
        let Some(kept) = self.kept.clone().filter(|kept| kept.pipeline.held == witness.held) else { return };
        let known = kept.good.as_ref().is_some_and(|good| good.held.is_definition_of(&witness.held) && !good.new_lake);
        if !known {
            // Its lake has begun.
            let good = DesiredPipeline { new_lake: false, ..kept.pipeline.clone() };
            self.keep(Some(Kept { good: Some(good), ..kept }));
        }
    }

    /// The newest revision of this pipeline that has streamed.
    fn good(&self, held: &HeldPipeline) -> Option<DesiredPipeline> {
        let good = self.kept.as_ref()?.good.clone()?;
        (good.held.pipeline_id == held.pipeline_id).then_some(good)
    }

    /// Reads a definition and holds it against the policy.
    fn allowed(&self, wish: &DesiredPipeline) -> Result<PipelineSpec, Reason> {
        let mut spec = read(wish)?;
        spec.advanced.spill_directory = spec.advanced.spill_directory.or_else(|| self.cache.spill());
        let (source, target) = (Some(spec.source_part()), Some(spec.target_part()));
        self.guard.allows(source, target).map_err(|cause| failed("policy", &cause.into()))?;
        Ok(spec)
    }

    /// A definition that may run; where an older one runs, it is asked whether it could.
    async fn accept(&self, wish: &DesiredPipeline, replaces: bool) -> Result<PipelineSpec, Reason> {
        let spec = self.allowed(wish)?;
        if replaces {
            let asked = async {
                let engine = wired(&spec, &wish.held, &self.secrets)?;
                preflight::ask(&engine, &Meter::new("", false)).await
            };
            match tokio::time::timeout(APPLY_WITHIN, asked).await {
                Err(_) => return Err(reason("no_answer", "source or target of the new revision give no answer", "")),
                Ok(Err(fault)) => return Err(failed("failed", &fault)),
                Ok(Ok(findings)) => {
                    // The slot is in use: by the revision that runs.
                    let errors: Vec<_> =
                        findings.into_iter().filter(|finding| finding.refusal != Refusal::Busy).collect();
                    if let Some(finding) = preflight::gravest(&errors) {
                        return Err(of_finding(finding));
                    }
                }
            }
        }
        Ok(spec)
    }

    fn start(&mut self, wish: DesiredPipeline, spec: PipelineSpec) {
        let held = wish.held.clone();
        if let Err(cause) = self.guard.bind(spec.source_part(), spec.target_part(), &self.cache) {
            let reason = failed("policy", &cause.into());
            self.shared.rests(idle(&held, SystemClock::time(), Some(reason)));
            return;
        }
        let new_lake = wish.new_lake;
        let whole = !new_lake && self.is_whole(&held);
        let good = self.good(&held);
        self.keep(Some(Kept { pipeline: wish, whole, good }));
        let snapshots = spec.advanced.snapshot_mode == SnapshotMode::Initial;
        let meter = Arc::new(Meter::new(&spec.name, snapshots));
        let told = (Arc::clone(&self.shared.outbox), Arc::clone(&self.works));
        let witness = Arc::new(Witness::new(Arc::clone(&meter), held.clone(), told, whole));
        let (handle, stop) = Stop::new();
        self.stop_running = Some(handle);
        let look = snapshots && !whole;
        let run = Run { spec, held, secrets: self.secrets.clone(), meter, stop, new_lake, look };
        let observer = Arc::clone(&witness);
        let runtime = Handle::current();
        // On a thread of its own: an engine is one task that may compute for long, and the session must go on beside it.
        self.running.spawn_blocking(move || runtime.block_on(observed(observer, run.carry_out())));
        self.shared.runs(witness);
    }

    fn keep(&mut self, kept: Option<Kept>) {
        self.cache.keep(kept.as_ref());
        self.kept = kept;
    }

    /// Whether the first snapshots of this pipeline's tables were all finished once, as far as is known here.
    fn is_whole(&self, held: &HeldPipeline) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.whole && kept.pipeline.held.pipeline_id == held.pipeline_id)
    }

    /// Stops what runs and waits for its end; what is whole is committed.
    async fn halt(&mut self) -> Result<(), Fault> {
        if let Some(handle) = self.stop_running.take() {
            handle.request();
        }
        while let Some(ended) = self.running.join_next().await {
            self.ended(ended)?;
        }
        // It was told to end.
        self.failed = None;
        Ok(())
    }

    /// A run is over: says why, and passes on what ends the process.
    fn ended(&mut self, ended: Result<Ended, JoinError>) -> Result<(), Fault> {
        let Ended { ended, shown_epoch } = ended.unwrap_or_else(|panic| {
            let ended = Err(Fault::defect("AG-014", format!("the pipeline broke down: {panic}")));
            Ended { ended, shown_epoch: None }
        });
        let Some(witness) = self.shared.running() else { return ended };
        let held = &witness.held;
        if witness.is_whole()
            && let Some(kept) = self.kept.clone().filter(|kept| !kept.whole)
        {
            self.keep(Some(Kept { whole: true, ..kept }));
        }
        let why = match &ended {
            Ok(()) => reason("stopped", "it was stopped", "start it"),
            Err(fault) => {
                self.shared.outbox.event(fault_event(&held.pipeline_id, fault));
                let reason = failed(word_of(fault), fault);
                if shown_epoch.is_none() && !witness.has_streamed() {
                    let refused = RefusedRevision { revision: held.revision, reason: reason.clone() };
                    self.failed = Some((held.clone(), refused));
                }
                reason
            }
        };
        let last = witness.report();
        let mut report = idle(held, SystemClock::time(), Some(why));
        report.checkpoint = last.checkpoint;
        report.tables = last.tables;
        // The hub gives a higher one than it is shown, if the pipeline is still this agent's.
        report.epoch = shown_epoch.unwrap_or(held.epoch);
        self.shared.rests(report);
        match ended {
            Err(fault) if shown_epoch.is_none() && ends_the_process(&fault) => Err(fault),
            _ => Ok(()),
        }
    }
}

fn ends_the_process(fault: &Fault) -> bool {
    matches!(fault.remedy, Remedy::Operator(Refusal::Busy | Refusal::Fenced))
}

/// Whether what runs is what is wanted; another wish alone is no reason to begin anew.
fn is_same(runs: &HeldPipeline, wanted: &HeldPipeline) -> bool {
    runs.is_definition_of(wanted) && runs.epoch == wanted.epoch
}

/// The spec of a definition. Slot and publication are named after its first name.
fn read(wish: &DesiredPipeline) -> Result<PipelineSpec, Reason> {
    let spec = parse(wish.spec.clone()).map_err(|fault| match fault.code {
        millrace_protocol::NOT_BUILT => failed("unsupported_by_agent", &fault),
        _ => failed("settings_refused", &fault),
    })?;
    Ok(PipelineSpec { name: wish.default_name.clone(), ..spec })
}

fn parse(mut body: Value) -> Result<PipelineSpec, Fault> {
    if let Value::Object(body) = &mut body {
        body.insert("version".into(), 1.into());
    }
    let spec = PipelineSpec::parse(&body.to_string(), Notation::Json, "/".as_ref())?;
    Ok(spec.runnable()?)
}

/// The word for what ended a run.
fn word_of(fault: &Fault) -> &'static str {
    match fault.remedy {
        Remedy::Operator(Refusal::Gap) => "log_lost",
        Remedy::Operator(Refusal::SchemaChange) => "schema_change",
        Remedy::Operator(Refusal::Fenced) => "fenced",
        Remedy::Operator(Refusal::Busy) => "busy",
        Remedy::Retry | Remedy::Operator(_) | Remedy::Defect => "failed",
    }
}
