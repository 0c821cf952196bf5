//! Sessions of agents: the lease that lets one process act, what it reports, and what it is given to do.
//!
//! Invariant: a pipeline is given to a session only when no other agent may still run it, and under an epoch above every one
//! that the hub or a report has shown. The chain in the target is the last guard; this keeps it from being needed.

use std::time::Duration;

use millrace_model::Timestamp;
use millrace_protocol::gateway::{
    Command, Desired, DesiredPipeline, Goodbye, HeldPipeline, Hello, PROTOCOL, Report, Sync, Synced, Wanted, Welcome,
    refusal,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{App, later, pipelines::word, said, status};
use crate::db::agents::{self, Agent, SelfReport};
use crate::db::commands;
use crate::db::instances;
use crate::db::leases::{self, Lease};
use crate::db::pipelines::{self, Pipeline};
use crate::fault::Refused;

/// Commands that are about a pipeline, which goes with them.
const ON_PIPELINES: [&str; 2] = ["restart", "cleanup"];
/// An agent's clock that differs by more than this is worth a condition.
pub(super) const SKEW: i64 = 30_000;

impl App {
    /// Grants the lease to a new process of the agent.
    pub(crate) async fn hello(&self, agent: &Agent, hello: Hello) -> Result<Welcome, Refused> {
        if hello.protocol != PROTOCOL {
            return Err(Refused::conflict(refusal::PROTOCOL, format!("this hub speaks version {PROTOCOL}")));
        }
        let hello = said::checked_hello(hello);
        let now = self.now();
        let mut writing = self.db.write().await?;
        let platform = serde_json::to_string(&hello.platform).unwrap_or_default();
        let before = leases::of(writing.on(), &agent.id).await?;
        let is_another = before.as_ref().is_some_and(|before| before.instance != hello.instance);
        if let Some(before) = before.as_ref().filter(|_| is_another) {
            instances::was_heard(writing.on(), (&agent.id, &before.instance), before.renewed_at).await?;
        }
        let (instance, version) = (hello.instance.as_str(), hello.agent_version.as_str());
        if let Some(lease) = before.filter(|lease| lease.expires_at > now && lease.instance != hello.instance) {
            leases::rival(writing.on(), &agent.id, &hello.instance, now).await?;
            instances::said_hello(writing.on(), &agent.id, (instance, version, &platform), (now, true)).await?;
            writing.commit().await?;
            return Err(Refused::Conflict {
                code: refusal::DUPLICATE_INSTANCE,
                message: format!(
                    "another process has this agent's lease for {} s more; it was heard {} s ago",
                    seconds(lease.expires_at, now),
                    seconds(now, lease.renewed_at)
                ),
            });
        }
        instances::said_hello(writing.on(), &agent.id, (instance, version, &platform), (now, false)).await?;
        let lease = Lease {
            session_id: Uuid::now_v7().to_string(),
            instance: hello.instance,
            sequence: 0,
            renewed_at: now,
            expires_at: later(now, self.settings.lease),
        };
        leases::grant(writing.on(), &agent.id, &lease).await?;
        agents::connected(writing.on(), &agent.id, now).await?;
        let report =
            SelfReport { version: &hello.agent_version, platform: &platform, conditions: "[]", clock_skew_ms: 0 };
        agents::report(writing.on(), &agent.id, report, now).await?;
        // A process that came back from its cache runs under an epoch that the hub may have forgotten, or ran under it.
        if let Some(held) = hello.held.as_ref().or(hello.kept.as_ref())
            && let Some(mut pipeline) = pipelines::of_agent(writing.on(), &agent.id).await?
            && pipeline.id == held.pipeline_id
        {
            pipeline.epoch = pipeline.epoch.max(i64::try_from(held.epoch).unwrap_or(0));
            pipelines::raise(writing.on(), &pipeline.id, pipeline.epoch).await?;
            let runs = hello.held.as_ref().is_some_and(|held| held.wanted == Wanted::Running);
            let free = pipeline.holder.as_deref().is_none_or(|holder| holder == agent.id);
            if runs && pipeline.wanted == word(Wanted::Running) && free {
                pipelines::give(writing.on(), &pipeline, &lease.session_id, pipeline.epoch).await?;
            }
        }
        // What the process before ran, and this one does not, nobody runs any more: whoever it was moved to meanwhile may begin. The same
        // process in a new session may still be ending it.
        let runs = hello.held.as_ref().map(|held| held.pipeline_id.as_str());
        let left = if is_another { pipelines::held_by(writing.on(), &agent.id).await? } else { Vec::new() };
        let mut freed = Vec::new();
        for left in left {
            if left.agent_id != agent.id && runs != Some(left.id.as_str()) {
                pipelines::let_go(writing.on(), &left.id, &agent.id).await?;
                freed.push(left.agent_id);
            }
        }
        writing.commit().await?;
        freed.iter().for_each(|agent_id| self.notifier.ring(agent_id));
        Ok(Welcome {
            session_id: lease.session_id,
            lease_seconds: self.settings.lease.as_secs(),
            hub_time: now.to_string(),
            hub_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// Takes a report in and answers when there is news, or at the end of the wait. How long that is, and what is left of the lease,
    /// is counted from the question on and not by the time of day: a clock that is set meanwhile changes neither.
    pub(crate) async fn sync(&self, agent: &Agent, sync: Sync) -> Result<Synced, Refused> {
        let (begun, mut held) = (Instant::now(), Duration::ZERO);
        if agent.session_id.as_deref() != Some(&sync.session_id) {
            return Err(unknown_session());
        }
        let sync = said::checked(sync)?;
        let mut bell = self.notifier.bell(&agent.id, &sync.session_id, sync.sequence);
        self.take_in(agent, &sync).await?;
        let end = begun + Duration::from_millis(sync.wait_ms).min(spread(self.settings.poll));
        let mut may_be_new = true;
        loop {
            // At the end of a quiet hold there is nothing to look for: what nobody rang for, the next sync's first look finds.
            let (desired, commands) = if may_be_new { self.news(agent, &sync).await? } else { (None, Vec::new()) };
            let answered = !sync.events.is_empty() || !sync.results.is_empty() || bell.is_overtaken();
            if desired.is_some() || !commands.is_empty() || answered || Instant::now() >= end {
                self.measures.synced(begun.elapsed().saturating_sub(held));
                return Ok(Synced {
                    hub_time: self.now().to_string(),
                    held_ms: u64::try_from(held.as_millis()).unwrap_or(u64::MAX),
                    lease_seconds: self.settings.lease.as_secs().saturating_sub(begun.elapsed().as_secs()),
                    sequence: sync.sequence,
                    acknowledged_events: sync.events.into_iter().map(|event| event.id).collect(),
                    acknowledged_commands: sync.results.into_iter().map(|result| result.id).collect(),
                    report_in_full: false,
                    desired,
                    commands,
                });
            }
            let waits = Instant::now();
            // Whichever comes first: look again.
            may_be_new = timeout_at(end, bell.rings()).await.is_ok() && !bell.is_overtaken();
            held += waits.elapsed();
            if may_be_new {
                self.still_there(agent, &sync.session_id).await?;
            }
        }
    }

    /// Refuses an agent that was removed while it waited, and a session that was ended.
    async fn still_there(&self, agent: &Agent, session_id: &str) -> Result<(), Refused> {
        match agents::by_id(self.db.pool(), &agent.id).await? {
            Some(agent) if agent.removed_at.is_none() => match agent.session_id.as_deref() {
                Some(session) if session == session_id => Ok(()),
                _ => Err(unknown_session()),
            },
            _ => Err(removed()),
        }
    }

    /// What the agent does not know yet.
    async fn news(&self, agent: &Agent, sync: &Sync) -> Result<(Option<Desired>, Vec<Command>), Refused> {
        let now = self.now();
        let mut commands = Vec::new();
        let queued = commands::queued(self.db.pool(), &agent.id, now).await?;
        for command in queued.into_iter().filter(|command| !sync.taken.contains(&command.id)) {
            // Also of one that is stopped or deleted by now.
            let about = match command.pipeline_id.as_deref().filter(|_| ON_PIPELINES.contains(&command.kind.as_str())) {
                Some(id) => pipelines::by_id(self.db.pool(), &agent.account_id, id).await?,
                None => None,
            };
            // Another agent may still run it: what acts on it waits until that one has let go.
            if let Some(pipeline) = &about
                && self.may_run_elsewhere(pipeline, agent, now).await?
            {
                continue;
            }
            commands.push(Command {
                expires_in_seconds: seconds(command.expires_at, now),
                arguments: serde_json::from_str(&command.arguments).unwrap_or(Value::Null),
                id: command.id,
                kind: command.kind,
                pipeline: about.map(|pipeline| desired(pipeline.epoch, pipeline)),
            });
        }
        let Some(pipeline) = pipelines::of_agent(self.db.pool(), &agent.id).await? else {
            let desired = sync.held.is_some().then_some(Desired { pipeline: None });
            return Ok((desired, commands));
        };
        let running = pipeline.wanted == word(Wanted::Running);
        if running && self.may_run_elsewhere(&pipeline, agent, now).await? {
            // Not yet ours: until the other one has let go, this agent has nothing to run.
            let desired = sync.held.is_some().then_some(Desired { pipeline: None });
            return Ok((desired, commands));
        }
        let epoch = if running { self.epoch_for(&pipeline, &sync.session_id).await? } else { pipeline.epoch };
        let wanted = desired(epoch, pipeline);
        if sync.held.as_ref().is_some_and(|held| is_known(held, &wanted.held)) {
            return Ok((None, commands));
        }
        Ok((Some(Desired { pipeline: Some(wanted) }), commands))
    }

    /// Whether another agent holds the pipeline, and is neither gone nor lapsed.
    async fn may_run_elsewhere(&self, pipeline: &Pipeline, agent: &Agent, now: Timestamp) -> Result<bool, Refused> {
        let Some(holder) = pipeline.holder.as_deref().filter(|holder| *holder != agent.id) else { return Ok(false) };
        let other = agents::by_id(self.db.pool(), holder).await?;
        Ok(other.is_some_and(|other| status::of_agent(&other, now) == status::AgentStatus::Running))
    }

    /// The epoch under which this session runs the pipeline: a new one, the first time that it is given to it.
    async fn epoch_for(&self, pipeline: &Pipeline, session_id: &str) -> Result<i64, Refused> {
        if pipeline.given_to.as_deref() == Some(session_id) && pipeline.holder.as_deref() == Some(&pipeline.agent_id) {
            return Ok(pipeline.epoch);
        }
        let mut writing = self.db.write().await?;
        let Some(pipeline) = pipelines::of_agent(writing.on(), &pipeline.agent_id).await? else {
            return Ok(pipeline.epoch);
        };
        if pipeline.given_to.as_deref() == Some(session_id) && pipeline.holder.as_deref() == Some(&pipeline.agent_id) {
            return Ok(pipeline.epoch);
        }
        let shown = pipeline
            .report
            .as_ref()
            .and_then(|stored| serde_json::from_str::<Report>(&stored.report).ok())
            .map_or(0, |report| i64::try_from(report.epoch).unwrap_or(0));
        let epoch = pipeline.epoch.max(shown) + 1;
        pipelines::give(writing.on(), &pipeline, session_id, epoch).await?;
        writing.commit().await?;
        Ok(epoch)
    }

    /// The process ends: its lease does, and what it held is free.
    pub(crate) async fn goodbye(&self, agent: &Agent, goodbye: Goodbye) -> Result<(), Refused> {
        let now = self.now();
        let mut writing = self.db.write().await?;
        let lease = leases::of(writing.on(), &agent.id).await?;
        // The goodbye of a process whose lease another one has by now says nothing about that one.
        let Some(lease) = lease.filter(|lease| lease.session_id == goodbye.session_id) else { return Ok(()) };
        instances::said_goodbye(writing.on(), (&agent.id, &lease.instance), &goodbye.reason, now).await?;
        leases::end(writing.on(), &goodbye.session_id, now).await?;
        agents::said_goodbye(writing.on(), &agent.id, &goodbye.reason, now).await?;
        let mut waiting = Vec::new();
        for held in pipelines::held_by(writing.on(), &agent.id).await? {
            pipelines::let_go(writing.on(), &held.id, &agent.id).await?;
            waiting.push(held.agent_id);
        }
        writing.commit().await?;
        waiting.iter().for_each(|agent_id| self.notifier.ring(agent_id));
        Ok(())
    }
}

fn unknown_session() -> Refused {
    Refused::conflict(refusal::UNKNOWN_SESSION, "this session is not known any more; say hello")
}

/// What an agent is told that was removed.
pub(crate) fn removed() -> Refused {
    Refused::Gone { code: refusal::AGENT_REMOVED, message: "this agent was removed from the hub".into() }
}

/// Whether an agent holds what is wanted. One that is older gives no digest back: its word for the revision has to do.
fn is_known(held: &HeldPipeline, wanted: &HeldPipeline) -> bool {
    let told = HeldPipeline { digest: held.digest.as_ref().and(wanted.digest.clone()), ..wanted.clone() };
    *held == told
}

/// Tells two definitions apart that have the same number, as after a hub was set back.
fn digest(pipeline: &Pipeline) -> String {
    let of = Sha256::new().chain_update(&pipeline.first_name).chain_update([0]).chain_update(&pipeline.body).finalize();
    of.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A pipeline as its agent is told of it.
fn desired(epoch: i64, pipeline: Pipeline) -> DesiredPipeline {
    let digest = Some(digest(&pipeline));
    let running = pipeline.wanted == word(Wanted::Running) && pipeline.deleted_at.is_none();
    DesiredPipeline {
        held: HeldPipeline {
            pipeline_id: pipeline.id,
            revision: u64::try_from(pipeline.revision).unwrap_or_default(),
            epoch: u64::try_from(epoch).unwrap_or_default(),
            wanted: if running { Wanted::Running } else { Wanted::Stopped },
            wish: u64::try_from(pipeline.wish).unwrap_or_default(),
            digest,
        },
        default_name: pipeline.first_name,
        new_lake: pipeline.new_lake.is_some(),
        spec: serde_json::from_str(&pipeline.body).unwrap_or_else(|_| json!({})),
    }
}

/// A fifth more or less, so that agents that came together do not stay together.
fn spread(hold: Duration) -> Duration {
    let byte = Uuid::new_v4().into_bytes().first().copied().unwrap_or_default();
    hold.mul_f64(0.8 + 0.4 * f64::from(byte) / 255.0)
}

/// Whole seconds from `earlier` to `later`, none if it is not.
fn seconds(later: Timestamp, earlier: Timestamp) -> u64 {
    u64::try_from((later.0 - earlier.0).max(0) / 1_000_000).unwrap_or_default()
}
