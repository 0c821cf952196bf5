//! What a hub may ask for once: `check` and `discover` beside whatever runs; `restart` and `cleanup` in its place.

use std::path::PathBuf;

use millrace_engine::Restart;

use super::*;
use crate::results;
use crate::told::spoken;
use crate::wiring::{self, Identity};

impl Supervisor {
    /// Does a command, or has it done beside; its result goes into the outbox.
    pub(super) async fn command(&mut self, command: Command, stop: &mut Stop) -> Result<(), Fault> {
        info!(code = "command", kind = command.kind, "the hub asks for a command");
        let Command { id, kind, arguments, pipeline, .. } = command;
        let done = match kind.as_str() {
            "check" | "discover" => match self.given(&arguments) {
                Ok(spec) => {
                    let folder = self.folder.clone();
                    self.asked.spawn(async move {
                        let done = match kind.as_str() {
                            "check" => check(&spec, folder).await,
                            _ => discover(&spec, folder, arguments.get("schema").and_then(Value::as_str)).await,
                        };
                        result(id, done)
                    });
                    return Ok(());
                }
                Err(fault) => Err(fault),
            },
            "restart" | "cleanup" => match pipeline.or_else(|| self.wishes.borrow().clone()) {
                Some(pipeline) if kind == "restart" => self.restart(&arguments, pipeline, stop).await?,
                Some(pipeline) => self.cleanup(&pipeline, stop).await,
                None => Err(Cause::NotNow("the agent has no pipeline".into()).into()),
            },
            other => Err(Cause::NotSpoken(format!("a command `{other}`")).into()),
        };
        self.shared.outbox.result(result(id, done));
        Ok(())
    }

    /// A definition that comes with a command, held against the policy as one that is to run. It binds no secret yet.
    fn given(&self, arguments: &Value) -> Result<PipelineSpec, Fault> {
        let body = arguments.get("spec").cloned().unwrap_or(Value::Null);
        let spec = parse(body)?;
        self.policy.allows(&spec)?;
        self.policy.binds(&spec, &self.bindings)?;
        Ok(spec)
    }

    fn readable(&self, pipeline: &DesiredPipeline) -> Result<PipelineSpec, Fault> {
        self.allowed(pipeline).map_err(|reason| Cause::Forbidden(reason.message).into())
    }

    /// Stops what runs, has tables read anew, and carries the wish out again. The outer fault ends the process.
    async fn restart(
        &mut self,
        arguments: &Value,
        pipeline: DesiredPipeline,
        stop: &mut Stop,
    ) -> Result<Result<Value, Fault>, Fault> {
        let spec = match self.readable(&pipeline) {
            Ok(spec) => spec,
            Err(fault) => return Ok(Err(fault)),
        };
        self.shared.begin(&pipeline.held);
        self.halt().await?;
        let tables = arguments.get("tables").and_then(Value::as_array);
        let tables = tables.map(|tables| tables.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        if tables.is_none()
            && let Some(kept) = self.kept.clone()
        {
            self.keep(Some(Kept { whole: false, ..kept }));
        }
        let asked = Restart { tables, adopt: arguments.get("adopt").and_then(Value::as_bool).unwrap_or_default() };
        let (handle, stopped) = Stop::new();
        let folder = self.folder.clone();
        let restarting = async {
            let engine = wired(&spec, &pipeline.held, &folder).await?;
            engine.restart(&asked, stopped).await
        };
        let restarted = self.unless_pointless(restarting, stop).await;
        drop(handle);
        // Whatever became of it: the wish stands.
        self.again(&pipeline);
        Ok(restarted.map(|restarted| results::restart(&restarted)))
    }

    /// Carries the newest wish out, as if it had just come.
    fn again(&mut self, pipeline: &DesiredPipeline) {
        match pipeline.held.wanted {
            Wanted::Running => self.wishes.mark_changed(),
            Wanted::Stopped => self.shared.done(),
        }
    }

    async fn cleanup(&mut self, pipeline: &DesiredPipeline, stop: &mut Stop) -> Result<Value, Fault> {
        if self.shared.running().is_some_and(|witness| witness.held.pipeline_id == pipeline.held.pipeline_id) {
            return Err(Cause::NotNow("the pipeline runs".into()).into());
        }
        let spec = self.readable(pipeline)?;
        let folder = self.folder.clone();
        let cleaning = async { wiring::source(&spec, &folder).await?.cleanup().await };
        let cleaned = self.unless_pointless(cleaning, stop).await?;
        Ok(results::cleanup(&cleaned))
    }

    /// Does it, unless a newer wish or the end of the process comes first.
    async fn unless_pointless<T>(
        &self,
        act: impl Future<Output = Result<T, Fault>>,
        stop: &mut Stop,
    ) -> Result<T, Fault> {
        let given_up = || Err(Cause::NotNow("something else was wanted of the pipeline meanwhile".into()).into());
        let mut newer = self.wishes.clone();
        tokio::select! {
            done = act => done,
            _ = newer.changed() => given_up(),
            () = stop.requested() => given_up(),
        }
    }
}

fn result(id: String, done: Result<Value, Fault>) -> CommandResult {
    match done {
        Ok(result) => CommandResult { id, done: true, result },
        Err(fault) => {
            warn!(code = "command", fault = fault.code, "a command was not done: {fault}");
            CommandResult { id, done: false, result: serde_json::json!(failed("failed", &fault)) }
        }
    }
}

async fn check(spec: &PipelineSpec, folder: PathBuf) -> Result<Value, Fault> {
    let source = wiring::source(spec, &folder).await?;
    let mut findings = wiring::file_findings(spec, Some(&source)).await;
    let engine = wiring::engine(spec, &Identity::of_name(spec), source, false)?;
    findings.extend(engine.source.check().await?);
    findings.extend(engine.target.check().await?);
    findings.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.subject.cmp(&other.subject)));
    for finding in &mut findings {
        finding.message = spoken(finding.code, &finding.message);
    }
    Ok(results::check(&findings))
}

async fn discover(spec: &PipelineSpec, folder: PathBuf, schema: Option<&str>) -> Result<Value, Fault> {
    let source = wiring::source(spec, &folder).await?;
    Ok(results::discover(&source.discover(schema).await?))
}
