//! One run of the engine under a hub: what it finds before it begins, a new lake where one is wanted, and its end.

use std::collections::HashSet;
use std::sync::Arc;

use millrace_engine::{Engine, Restart, Stop};
use millrace_model::{Fault, TableName};
use millrace_protocol::gateway::HeldPipeline;
use millrace_protocol::{PipelineSpec, TableSpec};

use crate::meter::Meter;
use crate::preflight;
use crate::told::short;
use crate::wiring::{self, Identity, Secrets};

/// Code of the engine's fault for a chain that shows a higher epoch than this process was given.
const NEWER_EPOCH: &str = "EN-003";

/// One run.
pub(crate) struct Run {
    pub(crate) spec: PipelineSpec,
    pub(crate) held: HeldPipeline,
    pub(crate) secrets: Secrets,
    pub(crate) meter: Arc<Meter>,
    pub(crate) stop: Stop,
    /// The target was moved: a new lake is begun first.
    pub(crate) new_lake: bool,
    /// It is not known yet whether all first snapshots are finished.
    pub(crate) look: bool,
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) ended: Result<(), Fault>,
    /// The chain's epoch, where it is higher than the one that was given: the hub may not know it.
    pub(crate) shown_epoch: Option<u64>,
}

impl Run {
    /// Checks, and streams until it is stopped or a fault ends it.
    pub(crate) async fn carry_out(self) -> Ended {
        let engine = match self.ready().await {
            Ok(Some(engine)) => engine,
            Ok(None) => return Ended { ended: Ok(()), shown_epoch: None },
            Err(fault) => return Ended { ended: Err(fault), shown_epoch: None },
        };
        let ended = match self.begin_lake(&engine).await {
            Ok(()) => engine.run(self.stop.clone()).await,
            Err(fault) => Err(fault),
        };
        let shown_epoch = match &ended {
            Err(fault) if fault.code == NEWER_EPOCH => shown_epoch(&engine).await,
            Ok(()) | Err(_) => None,
        };
        Ended { ended, shown_epoch }
    }

    /// The engine, if nothing stands in its way; `None` where it was stopped before that was known.
    async fn ready(&self) -> Result<Option<Engine>, Fault> {
        let mut stopped = self.stop.clone();
        let asked = async {
            let engine = wired(&self.spec, &self.held, &self.secrets)?;
            let findings = preflight::ask(&engine, &self.meter).await?;
            preflight::report(&findings);
            if let Some(finding) = preflight::gravest(&findings) {
                let message = format!("{}: {}", finding.subject, finding.message);
                return Err(Fault::refused(finding.code, finding.refusal, message, finding.cure.clone()));
            }
            self.look(&engine).await;
            Ok(Some(engine))
        };
        tokio::select! {
            asked = asked => asked,
            () = stopped.requested() => Ok(None),
        }
    }

    /// Notes which tables the lake has already. It serves the report only, so no answer is no harm.
    async fn look(&self, engine: &Engine) {
        if !self.look {
            return;
        }
        let Ok(head) = engine.target.head().await else { return };
        let Ok(registry) = engine.target.registry(&head).await else { return };
        let names: Vec<String> = registry.entries().map(|entry| entry.table.to_string()).collect();
        let there: HashSet<&str> = names.iter().map(|name| short(name)).collect();
        let schemas: HashSet<&str> = there.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
        let is_there = |table: &TableSpec| match table.table.as_str() {
            "*" => schemas.contains(table.schema.as_str()),
            name => there.contains(TableName::new([table.schema.as_str(), name]).to_string().as_str()),
        };
        let absent = self.spec.tables.iter().filter(|table| !is_there(table)).count();
        self.meter.begins_with(&registry, absent as u64);
    }

    /// Where the target was moved: the claim at the new root, behind a new slot. May be repeated.
    async fn begin_lake(&self, engine: &Engine) -> Result<(), Fault> {
        if !self.new_lake {
            return Ok(());
        }
        let restart = Restart { tables: None, adopt: false };
        match engine.restart(&restart, self.stop.clone()).await {
            Err(_) if self.stop.is_requested() => Ok(()),
            restarted => restarted.map(drop),
        }
    }
}

/// The engine of a definition.
pub(crate) fn wired(spec: &PipelineSpec, held: &HeldPipeline, secrets: &Secrets) -> Result<Engine, Fault> {
    let source = wiring::source(spec, secrets)?;
    let identity = Identity { pipeline: held.pipeline_id.clone(), epoch: Some(held.epoch) };
    wiring::engine(spec, &identity, source, false, secrets)
}

async fn shown_epoch(engine: &Engine) -> Option<u64> {
    engine.target.head().await.ok()?.standing?.epoch
}
