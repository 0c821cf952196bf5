//! What a hub may ask for once in place of whatever runs: `restart` and `cleanup`.

use std::time::{Duration, Instant};

use millrace_engine::{Restart, Stop};
use millrace_model::{Fault, Refusal, Remedy};
use millrace_postgres::Postgres;
use millrace_protocol::gateway::{Command, DesiredPipeline, Reason, Wanted};
use serde_json::Value;
use tracing::info;

use super::Supervisor;
use crate::asked::{Taken, result, why};
use crate::cache::Kept;
use crate::fault::Cause;
use crate::results;
use crate::retry::Backoff;
use crate::run::wired;
use crate::wiring::{self, CleanupPlan};

/// How long a `cleanup` waits for a source that does not answer, or for its slot: other commands wait behind it.
const PATIENCE: Duration = Duration::from_mins(1);

impl Supervisor {
    /// Does a command; its result goes into the outbox.
    pub(super) async fn command(&mut self, taken: Taken, stop: &mut Stop) -> Result<(), Fault> {
        let Taken { command, until } = taken;
        let Command { id, kind, arguments, pipeline, .. } = command;
        info!(code = "command", kind, "the hub asks for a command");
        let done = match (kind.as_str(), pipeline.or_else(|| self.wishes.borrow().clone())) {
            _ if until <= Instant::now() => Err(why(&Cause::TooLate.into())),
            ("restart", Some(pipeline)) => self.restart(&arguments, pipeline, stop).await?,
            ("cleanup", Some(pipeline)) => self.cleanup(&pipeline, stop).await,
            ("restart" | "cleanup", None) => Err(why(&Cause::NotNow("the agent has no pipeline".into()).into())),
            (other, _) => Err(why(&Cause::NotSpoken(format!("a command `{other}`")).into())),
        };
        self.shared.outbox.result(result(id, done));
        Ok(())
    }

    /// Stops what runs, has tables read anew, and carries the wish out again. The outer fault ends the process.
    async fn restart(
        &mut self,
        arguments: &Value,
        pipeline: DesiredPipeline,
        stop: &mut Stop,
    ) -> Result<Result<Value, Reason>, Fault> {
        let spec = match self.allowed(&pipeline) {
            Ok(spec) => spec,
            Err(reason) => return Ok(Err(reason)),
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
        let secrets = self.secrets.clone();
        let restarting = async {
            let engine = wired(&spec, &pipeline.held, &secrets)?;
            engine.restart(&asked, stopped).await
        };
        let restarted = self.unless_pointless(restarting, stop).await;
        drop(handle);
        // Whatever became of it: the wish stands.
        self.again(&pipeline);
        Ok(restarted.map(|restarted| results::restart(&restarted)).map_err(|fault| why(&fault)))
    }

    /// Carries the newest wish out, as if it had just come.
    fn again(&mut self, pipeline: &DesiredPipeline) {
        match pipeline.held.wanted {
            Wanted::Running => self.wishes.mark_changed(),
            Wanted::Stopped => self.shared.done(),
        }
    }

    async fn cleanup(&mut self, pipeline: &DesiredPipeline, stop: &mut Stop) -> Result<Value, Reason> {
        if self.shared.running().is_some_and(|witness| witness.held.pipeline_id == pipeline.held.pipeline_id) {
            return Err(why(&Cause::NotNow("the pipeline runs".into()).into()));
        }
        let spec = self.allowed(pipeline)?;
        let secrets = self.secrets.clone();
        let cleaning = async { cleaned_up(&wiring::source(&spec, &secrets)?).await };
        let cleaned = self.unless_pointless(cleaning, stop).await.map_err(|fault| why(&fault))?;
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

/// Drops slot and publication. The server may take a moment to let go of a slot whose reader has just left.
async fn cleaned_up(source: &Postgres) -> Result<CleanupPlan, Fault> {
    let began = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        match source.cleanup().await {
            Err(fault) if may_pass(&fault) && began.elapsed() < PATIENCE => backoff.wait("cleanup", &fault).await,
            done => return done,
        }
    }
}

fn may_pass(fault: &Fault) -> bool {
    fault.is_retry() || fault.remedy == Remedy::Operator(Refusal::Busy)
}
