//! Runs the one pipeline as the hub wishes: starts it, stops it, gives it a new revision, and says how it is.
//!
//! A fault of the pipeline never ends the process: it is reported, and a new START or a new revision tries again. Only who
//! else writes the lake (exit 75, 76) ends it. A revision that cannot be taken leaves the last good one running.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_engine::{Engine, Restart, Stop, StopHandle, observed};
use millrace_model::{Fault, Refusal, Remedy, Timestamp};
use millrace_protocol::gateway::{
    Command, CommandResult, DesiredPipeline, HeldPipeline, Reason, RefusedRevision, Report, Wanted,
};
use millrace_protocol::{Notation, PipelineSpec, SnapshotMode};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::cache::Cache;
use crate::clock::SystemClock;
use crate::fault::Cause;
use crate::meter::Meter;
use crate::outbox::Outbox;
use crate::policy::Policy;
use crate::told::{Witness, failed, fault_event, idle};
use crate::wiring::{self, Identity};
use crate::{preflight, results};

/// A new revision is asked this long whether it can run before the old one is stopped for it.
const APPLY_WITHIN: Duration = Duration::from_secs(60);

/// What the session reads of the supervisor.
pub(crate) struct Shared {
    /// What it was told last and has taken.
    held: Mutex<Option<HeldPipeline>>,
    standing: Mutex<Standing>,
    pub(crate) outbox: Arc<Outbox>,
}

/// What the pipeline is at.
#[derive(Default)]
struct Standing {
    running: Option<Arc<Witness>>,
    idle: Option<Report>,
    refused: Option<RefusedRevision>,
}

/// A definition that was read and is allowed.
struct Accepted {
    spec: PipelineSpec,
    held: HeldPipeline,
}

/// One run of the engine.
struct Run {
    spec: PipelineSpec,
    held: HeldPipeline,
    folder: PathBuf,
    meter: Arc<Meter>,
    stop: Stop,
}

impl Run {
    /// Checks, and streams until it is stopped or a fault ends it.
    async fn to_its_end(self) -> Result<(), Fault> {
        let source = wiring::source(&self.spec, &self.folder).await?;
        let identity = Identity { pipeline: self.held.pipeline_id, epoch: Some(self.held.epoch) };
        let engine = wiring::engine(&self.spec, &identity, source, false)?;
        let mut stopped = self.stop.clone();
        let findings = tokio::select! {
            findings = preflight::ask(&engine, &self.meter) => findings?,
            () = stopped.requested() => return Ok(()),
        };
        preflight::report(&findings);
        if let Some(finding) = preflight::gravest(&findings) {
            let message = format!("{}: {}", finding.subject, finding.message);
            return Err(Fault::refused(finding.code, finding.refusal, message, finding.cure.clone()));
        }
        engine.run(self.stop).await
    }
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { held: Mutex::default(), standing: Mutex::default(), outbox: Arc::default() }
    }

    /// What it was told last and has taken.
    pub(crate) fn held(&self) -> Option<HeldPipeline> {
        lock(&self.held).clone()
    }

    /// What the pipeline does now.
    pub(crate) fn report(&self) -> Option<Report> {
        let standing = lock(&self.standing);
        let mut report = match &standing.running {
            Some(witness) => Some(witness.report()),
            None => standing.idle.clone(),
        }?;
        // A wish that changed nothing for what runs is answered all the same.
        if let Some(held) = lock(&self.held).as_ref().filter(|held| held.pipeline_id == report.pipeline_id) {
            report.wish = held.wish;
        }
        report.refused.clone_from(&standing.refused);
        Some(report)
    }

    /// The numbers of what runs.
    pub(crate) fn meter(&self) -> Option<Arc<Meter>> {
        lock(&self.standing).running.as_ref().map(|witness| Arc::clone(&witness.meter))
    }

    fn set(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut lock(&self.standing));
        self.outbox.bell.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The supervisor.
pub(crate) struct Supervisor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) policy: Policy,
    pub(crate) cache: Cache,
    /// Secret files are relative to it.
    pub(crate) folder: PathBuf,
    /// What is wanted; `None`: no pipeline.
    pub(crate) wishes: watch::Receiver<Option<DesiredPipeline>>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) tasks: JoinSet<Result<(), Fault>>,
    pub(crate) stop_running: Option<StopHandle>,
}

impl Supervisor {
    /// Runs until `stop` is said (`Ok`) or until another process writes the lake.
    pub(crate) async fn run(mut self, mut stop: Stop) -> Result<(), Fault> {
        loop {
            tokio::select! {
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let wish = self.wishes.borrow_and_update().clone();
                    self.apply(wish).await?;
                }
                Some(ended) = self.tasks.join_next() => self.ended(ended)?,
                Some(command) = self.commands.recv() => self.command(command).await?,
                () = stop.requested() => return self.halt(None).await,
            }
        }
    }

    /// Does what is wanted now.
    async fn apply(&mut self, wish: Option<DesiredPipeline>) -> Result<(), Fault> {
        let Some(wish) = wish else {
            self.halt(Some(reason("no_pipeline", "the agent has no pipeline any more", ""))).await?;
            *lock(&self.shared.held) = None;
            self.cache.keep(None);
            self.shared.outbox.bell.notify_one();
            return Ok(());
        };
        let held = wish.held.clone();
        self.cache.keep(Some(&wish));
        if held.wanted == Wanted::Stopped {
            *lock(&self.shared.held) = Some(held.clone());
            self.halt(None).await?;
            let stopped = reason("stopped", "it was stopped", "start it");
            self.shared.set(|standing| standing.idle = Some(idle(&held, SystemClock::time(), Some(stopped))));
            return Ok(());
        }
        let runs = lock(&self.shared.standing).running.as_ref().map(|witness| witness.held.clone());
        *lock(&self.shared.held) = Some(held.clone());
        if runs.as_ref().is_some_and(|runs| is_same(runs, &held)) {
            // Started while it runs: it goes on.
            self.shared.set(|standing| standing.refused = None);
            return Ok(());
        }
        let replaces = runs.as_ref().is_some_and(|runs| runs.pipeline_id == held.pipeline_id);
        match self.accept(&wish, replaces).await {
            Ok(accepted) => {
                self.halt(None).await?;
                self.start(accepted).await;
            }
            Err(reason) if replaces && runs.as_ref().is_some_and(|runs| runs.revision != held.revision) => {
                warn!(code = "AG-013", revision = held.revision, "a revision is not taken: {}", reason.message);
                let refused = RefusedRevision { revision: held.revision, reason };
                self.shared.set(|standing| standing.refused = Some(refused));
            }
            Err(reason) => {
                warn!(code = "AG-013", "the pipeline does not start: {}", reason.message);
                self.halt(None).await?;
                self.shared.set(|standing| standing.idle = Some(idle(&held, SystemClock::time(), Some(reason))));
            }
        }
        Ok(())
    }

    /// Reads a definition, holds it against the policy, and, where an older one runs, asks whether it could run.
    async fn accept(&self, wish: &DesiredPipeline, replaces: bool) -> Result<Accepted, Reason> {
        let spec = read(wish)?;
        self.policy.allows(&spec).map_err(|cause| failed("policy", &cause.into()))?;
        if replaces {
            let asked = async {
                let engine = self.engine(&spec, &wish.held).await?;
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
        Ok(Accepted { spec, held: wish.held.clone() })
    }

    async fn engine(&self, spec: &PipelineSpec, held: &HeldPipeline) -> Result<Engine, Fault> {
        let source = wiring::source(spec, &self.folder).await?;
        let identity = Identity { pipeline: held.pipeline_id.clone(), epoch: Some(held.epoch) };
        wiring::engine(spec, &identity, source, false)
    }

    async fn start(&mut self, Accepted { spec, held }: Accepted) {
        let snapshots = spec.advanced.snapshot_mode == SnapshotMode::Initial;
        let meter = Arc::new(Meter::new(&spec.name, snapshots));
        let witness = Arc::new(Witness::new(Arc::clone(&meter), held.clone(), Arc::clone(&self.shared.outbox)));
        let (handle, stop) = Stop::new();
        self.stop_running = Some(handle);
        let run = Run { spec, held, folder: self.folder.clone(), meter, stop };
        let observer = Arc::clone(&witness);
        let runtime = Handle::current();
        // On a thread of its own: an engine is one task that may compute for long, and the session must go on beside it.
        self.tasks.spawn_blocking(move || runtime.block_on(observed(observer, run.to_its_end())));
        self.shared.set(|standing| *standing = Standing { running: Some(witness), ..Standing::default() });
    }

    /// Stops what runs and waits for its end; what is whole is committed.
    async fn halt(&mut self, reason: Option<Reason>) -> Result<(), Fault> {
        if let Some(handle) = self.stop_running.take() {
            handle.request();
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended)?;
        }
        if let Some(reason) = reason {
            let held = lock(&self.shared.held).clone();
            self.shared.set(|standing| {
                standing.idle = held.map(|held| idle(&held, SystemClock::time(), Some(reason)));
            });
        }
        Ok(())
    }

    /// A run is over: says why, and passes on what ends the process.
    fn ended(&mut self, ended: Result<Result<(), Fault>, tokio::task::JoinError>) -> Result<(), Fault> {
        let ended =
            ended.unwrap_or_else(|panic| Err(Fault::defect("AG-014", format!("the pipeline broke down: {panic}"))));
        let Some(held) = lock(&self.shared.standing).running.as_ref().map(|witness| witness.held.clone()) else {
            return ended;
        };
        let reason = match &ended {
            Ok(()) => reason("stopped", "it was stopped", "start it"),
            Err(fault) => {
                self.shared.outbox.event(fault_event(&held.pipeline_id, fault));
                failed(word_of(fault), fault)
            }
        };
        let now: Timestamp = SystemClock::time();
        self.shared.set(|standing| {
            standing.running = None;
            standing.idle = Some(idle(&held, now, Some(reason)));
        });
        match ended {
            Err(fault) if matches!(fault.remedy, Remedy::Operator(Refusal::Busy | Refusal::Fenced)) => Err(fault),
            _ => Ok(()),
        }
    }

    /// Does a command, and puts its result into the outbox.
    async fn command(&mut self, command: Command) -> Result<(), Fault> {
        info!(code = "command", kind = command.kind, "the hub asks for a command");
        let done = match command.kind.as_str() {
            "check" => self.check(&command.arguments).await,
            "discover" => self.discover(&command.arguments).await,
            "restart" => self.restart(&command.arguments).await,
            "cleanup" => self.cleanup().await,
            other => Err(Cause::NotSpoken(format!("a command `{other}`")).into()),
        };
        let result = match done {
            Ok(result) => CommandResult { id: command.id, done: true, result },
            Err(fault) => CommandResult { id: command.id, done: false, result: json!(failed("failed", &fault)) },
        };
        self.shared.outbox.result(result);
        Ok(())
    }

    /// A definition that comes with a command, as strict as one that is to run.
    fn given(&self, arguments: &Value) -> Result<PipelineSpec, Fault> {
        let body = arguments.get("spec").cloned().unwrap_or(Value::Null);
        let name = body.get("name").and_then(Value::as_str).unwrap_or("check").to_owned();
        let spec = parse(body)?;
        self.policy.allows(&spec)?;
        Ok(PipelineSpec { name, ..spec })
    }

    async fn check(&self, arguments: &Value) -> Result<Value, Fault> {
        let spec = self.given(arguments)?;
        let source = wiring::source(&spec, &self.folder).await?;
        let mut findings = wiring::file_findings(&spec, Some(&source)).await;
        let engine = wiring::engine(&spec, &Identity::of_name(&spec), source, false)?;
        findings.extend(engine.source.check().await?);
        findings.extend(engine.target.check().await?);
        findings.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.subject.cmp(&other.subject)));
        Ok(results::check(&findings))
    }

    async fn discover(&self, arguments: &Value) -> Result<Value, Fault> {
        let spec = self.given(arguments)?;
        let source = wiring::source(&spec, &self.folder).await?;
        let schema = arguments.get("schema").and_then(Value::as_str);
        Ok(results::discover(&source.discover(schema).await?))
    }

    async fn restart(&mut self, arguments: &Value) -> Result<Value, Fault> {
        let wish = self.wishes.borrow().clone().ok_or_else(no_pipeline)?;
        let spec = read(&wish).map_err(|reason| Fault::from(Cause::Forbidden(reason.message)))?;
        self.policy.allows(&spec)?;
        self.halt(None).await?;
        let engine = self.engine(&spec, &wish.held).await?;
        let tables = arguments.get("tables").and_then(Value::as_array);
        let names = tables.map(|tables| tables.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        let (_handle, stop) = Stop::new();
        let restarted = engine.restart(&Restart { tables: names, adopt: false }, stop).await;
        // Whatever became of it: the wish stands.
        if wish.held.wanted == Wanted::Running {
            self.start(Accepted { spec, held: wish.held }).await;
        }
        Ok(results::restart(&restarted?))
    }

    async fn cleanup(&mut self) -> Result<Value, Fault> {
        let wish = self.wishes.borrow().clone().ok_or_else(no_pipeline)?;
        let spec = read(&wish).map_err(|reason| Fault::from(Cause::Forbidden(reason.message)))?;
        self.policy.allows(&spec)?;
        self.halt(None).await?;
        let source = wiring::source(&spec, &self.folder).await?;
        Ok(results::cleanup(&source.cleanup().await?))
    }
}

/// Whether what runs is what is wanted; another wish alone is no reason to begin anew.
fn is_same(runs: &HeldPipeline, wanted: &HeldPipeline) -> bool {
    (&runs.pipeline_id, runs.revision, runs.epoch) == (&wanted.pipeline_id, wanted.revision, wanted.epoch)
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

fn no_pipeline() -> Fault {
    Cause::Forbidden("the agent has no pipeline".into()).into()
}

fn reason(code: &str, message: &str, cure: &str) -> Reason {
    Reason { code: code.into(), message: message.into(), cure: cure.into(), fault: None }
}

fn of_finding(finding: &millrace_model::Finding) -> Reason {
    Reason {
        code: "failed".into(),
        message: format!("{}: {}", finding.subject, finding.message),
        cure: finding.cure.clone(),
        fault: Some(finding.code.to_owned()),
    }
}

/// The word for what ended a run.
fn word_of(fault: &Fault) -> &'static str {
    match fault.remedy {
        Remedy::Operator(Refusal::Gap) => "log_lost",
        Remedy::Operator(Refusal::SchemaChange) => "schema_change",
        Remedy::Operator(Refusal::Fenced) => "fenced",
        Remedy::Operator(Refusal::Busy) => "busy",
        _ => "failed",
    }
}
