//! What becomes a notice: states that begin or end, seen by whichever hub process looks first.
//!
//! Invariant: a state that begins is noted in the transaction that sees it, under a key of its own; a second look, here or in
//! another process, finds the key and is silent. So one change of state is one notice.

use std::time::Duration;

use millrace_model::Timestamp;
use millrace_protocol::gateway::{AgentEvent, Report};
use serde_json::Map;
use uuid::Uuid;

use super::status::{self, AgentStatus};
use super::{App, later};
use crate::db::agents::{self, Agent};
use crate::db::notices::{self, Notice, Trouble};
use crate::db::pipelines::{self, Pipeline};
use crate::db::{Writing, events};
use crate::fault::Refused;

/// An agent's secret that ends sooner is worth a word.
const EXPIRING: Duration = Duration::from_hours(7 * 24);

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

impl App {
    /// A report says that a pipeline that is meant to run has failed: noted with the report itself.
    pub(super) async fn note_failure(
        &self,
        writing: &mut Writing,
        pipeline: &Pipeline,
        report: &Report,
        at: Timestamp,
    ) -> Result<(), Refused> {
        let fault = report.reason.as_ref().and_then(|reason| reason.fault.clone());
        if report.status != "NOT_RUNNING" || pipeline.wanted != "running" || fault.is_none() {
            return Ok(());
        }
        let notice = Notice {
            account_id: pipeline.account_id.clone(),
            event: "pipeline_failed".into(),
            object: format!("pipeline:{}", pipeline.id),
            name: pipeline.name.clone(),
            code: fault,
            at,
        };
        self.begins(writing, &notice).await.map(drop)
    }

    /// Notes it, if nobody has; whether this was the first.
    async fn begins(&self, writing: &mut Writing, notice: &Notice) -> Result<bool, Refused> {
        let is_new = notices::begins(writing.on(), notice).await?;
        if is_new {
            notices::add(writing.on(), notice).await?;
        }
        Ok(is_new)
    }

    /// Notes that the database answers; since when the hub has heard whatever agents say.
    pub(crate) fn listen(&self) -> Timestamp {
        self.hearing.look(self.now(), self.db.failures(), self.settings.lease)
    }

    /// Looks for agents that went silent, and for troubles that are over.
    pub(crate) async fn sweep(&self) -> Result<(), Refused> {
        let now = self.now();
        // A hub that was away itself has heard nobody: it gives agents the time of a lease to come back before it says a word.
        if now >= later(self.listen(), self.settings.lease) {
            let waited_for = Timestamp(now.0.saturating_sub(micros(self.settings.poll)));
            for (id, account_id, name, since) in notices::lost(self.db.pool(), now, waited_for).await? {
                self.note_lost((id, account_id, name), since).await?;
            }
        }
        for trouble in notices::troubles(self.db.pool()).await? {
            self.look_again(&trouble).await?;
        }
        Ok(())
    }

    /// Looks for secrets that end soon.
    pub(crate) async fn look_for_old_secrets(&self) -> Result<(), Refused> {
        let now = self.now();
        for (id, account_id, name) in notices::expiring(self.db.pool(), later(now, EXPIRING)).await? {
            let event = "credentials_expiring".into();
            let notice = Notice { account_id, event, object: format!("agent:{id}"), name, code: None, at: now };
            let mut writing = self.db.write().await?;
            self.begins(&mut writing, &notice).await?;
            writing.commit().await?;
        }
        Ok(())
    }

    async fn note_lost(
        &self,
        (id, account_id, name): (String, String, String),
        since: Timestamp,
    ) -> Result<(), Refused> {
        let now = self.now();
        let mut writing = self.db.write().await?;
        // Looked at again with no other writer at it: a sync may have come meanwhile.
        agents::lock(writing.on(), &account_id, &id).await?;
        let agent = agents::of_account(writing.on(), &account_id, &id).await?;
        if agent.is_none_or(|agent| status::of_agent(&agent, now) != AgentStatus::Unknown) {
            return Ok(());
        }
        let event = "agent_unknown".into();
        let notice = Notice { account_id, event, object: format!("agent:{id}"), name, code: None, at: now };
        if self.begins(&mut writing, &notice).await? {
            let message = format!("the agent went silent; its lease ended {since}");
            let cure = "look at the agent's own log and at its way to the hub; its pipeline may still be running";
            self.say(&mut writing, (&notice.account_id, &id), ("error", "agent_lost", message, cure)).await?;
        }
        writing.commit().await
    }

    /// Whether a trouble is over, and whether that is news.
    async fn look_again(&self, trouble: &Trouble) -> Result<(), Refused> {
        let Some((kind, id)) = trouble.object.split_once(':') else { return Ok(()) };
        let over = match (kind, trouble.event.as_str()) {
            ("agent", "agent_unknown") => self.agent_is_back(trouble, id).await?,
            ("agent", _) => self.secret_is_new(trouble, id).await?,
            _ => self.pipeline_is_back(trouble, id).await?,
        };
        let Some((name, is_news)) = over else { return Ok(()) };
        let now = self.now();
        let mut writing = self.db.write().await?;
        if !notices::ends(writing.on(), &trouble.object, &trouble.event).await? {
            return Ok(());
        }
        if is_news {
            let notice = Notice {
                account_id: trouble.account_id.clone(),
                event: "recovered".into(),
                object: trouble.object.clone(),
                name,
                code: None,
                at: now,
            };
            notices::add(writing.on(), &notice).await?;
            if trouble.event == "agent_unknown" {
                let away = (now.0 - trouble.since.0).max(0) / 1_000_000;
                let message = format!("the agent is heard again, {away} s after the hub missed it");
                self.say(&mut writing, (&trouble.account_id, id), ("info", "agent_recovered", message, "")).await?;
            }
        }
        writing.commit().await
    }

    /// Name, and whether anybody wants to know; `None`: it goes on.
    async fn agent_is_back(&self, trouble: &Trouble, id: &str) -> Result<Option<(String, bool)>, Refused> {
        let Some(agent) = self.of_trouble(trouble, id).await? else { return Ok(Some((String::new(), false))) };
        Ok(match status::of_agent(&agent, self.now()) {
            AgentStatus::Running => Some((agent.name, true)),
            AgentStatus::Stopped => Some((agent.name, false)),
            AgentStatus::Pending | AgentStatus::Unknown => None,
        })
    }

    async fn secret_is_new(&self, trouble: &Trouble, id: &str) -> Result<Option<(String, bool)>, Refused> {
        let Some(agent) = self.of_trouble(trouble, id).await? else { return Ok(Some((String::new(), false))) };
        let soon = later(self.now(), EXPIRING);
        Ok(agent.credentials_end.is_none_or(|end| end > soon).then_some((agent.name, false)))
    }

    async fn pipeline_is_back(&self, trouble: &Trouble, id: &str) -> Result<Option<(String, bool)>, Refused> {
        let found = pipelines::by_id(self.db.pool(), &trouble.account_id, id).await?;
        let Some(pipeline) = found.filter(|pipeline| pipeline.deleted_at.is_none()) else {
            return Ok(Some((String::new(), false)));
        };
        if pipeline.wanted != "running" {
            return Ok(Some((pipeline.name, false)));
        }
        let agent = agents::of_account(self.db.pool(), &trouble.account_id, &pipeline.agent_id).await?;
        let status = status::of_pipeline(&pipeline, agent.as_ref(), self.now());
        Ok(matches!(status.word.as_str(), "STREAMING" | "SNAPSHOTTING").then_some((pipeline.name, true)))
    }

    async fn of_trouble(&self, trouble: &Trouble, id: &str) -> Result<Option<Agent>, Refused> {
        agents::of_account(self.db.pool(), &trouble.account_id, id).await
    }

    /// An event of the hub's own about an agent.
    async fn say(
        &self,
        writing: &mut Writing,
        of: (&str, &str),
        (severity, code, message, cure): (&str, &str, String, &str),
    ) -> Result<(), Refused> {
        let event = AgentEvent {
            id: Uuid::now_v7().to_string(),
            at: self.now().to_string(),
            pipeline_id: None,
            severity: severity.into(),
            code: code.into(),
            message,
            cure: cure.into(),
            fields: Map::new(),
        };
        events::add(writing.on(), of, &event, self.now()).await
    }
}
