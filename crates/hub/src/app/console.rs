//! What the console's pages ask beyond the API: everything of an account at once, drafts, questions to agents.

use std::collections::HashMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::recipients::shown;
use super::status::{self, PipelineStatus};
use super::{App, require};
use crate::auth::{Caller, Principal, Role};
use crate::db::accounts::{self, Named};
use crate::db::agents::{self, Agent};
use crate::db::audit::{self, Line, Wanted};
use crate::db::commands::{self, Command};
use crate::db::drafts::{self, Draft};
use crate::db::events::{self, Of, Stored};
use crate::db::instances::{self, Instance};
use crate::db::part::{Found, Part};
use crate::db::pipelines::{self, Pipeline, Revision};
use crate::fault::Refused;

/// A list shows so many at most.
const MOST: i64 = 10_000;

/// A pipeline with its project, its agent and its status now.
pub(crate) struct Placed {
    pub(crate) pipeline: Pipeline,
    pub(crate) project: Named,
    pub(crate) agent: Option<Agent>,
    pub(crate) status: PipelineStatus,
}

impl App {
    /// The account's projects.
    pub(crate) async fn all_projects(&self, caller: &Caller) -> Result<Vec<Named>, Refused> {
        accounts::projects(self.db.pool(), &caller.account_id).await
    }

    /// All agents of the account.
    pub(crate) async fn all_agents(&self, caller: &Caller) -> Result<Vec<Agent>, Refused> {
        Ok(agents::list(self.db.pool(), &caller.account_id, &Part::first(MOST)).await?.rows)
    }

    /// All pipelines of the account, each where it belongs.
    pub(crate) async fn all_pipelines(&self, caller: &Caller) -> Result<Vec<Placed>, Refused> {
        let agents = self.all_agents(caller).await?;
        let agents: HashMap<&str, &Agent> = agents.iter().map(|agent| (agent.id.as_str(), agent)).collect();
        let now = self.now();
        let mut placed = Vec::new();
        for project in self.all_projects(caller).await? {
            for pipeline in pipelines::list(self.db.pool(), &project.id, &Part::first(MOST)).await?.rows {
                let agent = agents.get(pipeline.agent_id.as_str()).map(|agent| (*agent).clone());
                let status = status::of_pipeline(&pipeline, agent.as_ref(), now);
                placed.push(Placed { pipeline, project: project.clone(), agent, status });
            }
        }
        Ok(placed)
    }

    /// The account's pipeline of that id, whichever its project.
    pub(crate) async fn placed(&self, caller: &Caller, id: &str) -> Result<Placed, Refused> {
        for project in self.all_projects(caller).await? {
            if let Some(pipeline) = pipelines::of_project(self.db.pool(), &project.id, id).await? {
                let agent = agents::of_account(self.db.pool(), &caller.account_id, &pipeline.agent_id).await?;
                let status = status::of_pipeline(&pipeline, agent.as_ref(), self.now());
                return Ok(Placed { pipeline, project, agent, status });
            }
        }
        Err(Refused::NotFound("the pipeline"))
    }

    /// A part of what an agent has told, the newest first.
    pub(crate) async fn agent_events(&self, agent: &Agent, part: &Part) -> Result<Found<Stored>, Refused> {
        events::list(self.db.pool(), (&agent.account_id, Of::Agent(&agent.id)), part).await
    }

    /// The processes that have run as an agent.
    pub(crate) async fn instances(&self, agent: &Agent) -> Result<Vec<Instance>, Refused> {
        instances::list(self.db.pool(), &agent.id).await
    }

    /// A part of what an agent was asked to do, the newest first.
    pub(crate) async fn agent_commands(&self, agent: &Agent, part: &Part) -> Result<Found<Command>, Refused> {
        commands::list(self.db.pool(), ("agent_id", &agent.id), part).await
    }

    /// The same of a pipeline.
    pub(crate) async fn pipeline_commands(&self, pipeline: &Pipeline, part: &Part) -> Result<Found<Command>, Refused> {
        commands::list(self.db.pool(), ("pipeline_id", &pipeline.id), part).await
    }

    /// One of a pipeline's revisions.
    pub(crate) async fn pipeline_revision(
        &self,
        pipeline: &Pipeline,
        revision: i64,
    ) -> Result<Option<Revision>, Refused> {
        pipelines::revision(self.db.pool(), &pipeline.id, revision).await
    }

    /// A part of what is wanted of the account's audit log. Who is no owner sees what was done to agents and pipelines, and not from
    /// where.
    pub(crate) async fn activity(&self, caller: &Caller, wanted: Wanted, part: &Part) -> Result<Found<Line>, Refused> {
        let is_owner = caller.role >= Role::Owner;
        let wanted = Wanted { of_work: !is_owner, ..wanted };
        let mut lines = audit::list(self.db.pool(), &caller.account_id, &wanted, part).await?;
        if !is_owner {
            lines.rows.iter_mut().for_each(|line| line.address.clear());
        }
        Ok(lines)
    }

    /// What people call those that the audit log names.
    pub(crate) async fn names(&self, caller: &Caller) -> Result<HashMap<String, String>, Refused> {
        let named = |(what, name): (String, String)| {
            let name = if what.starts_with("recipient:") { shown(&name).to_owned() } else { name };
            (what, name)
        };
        Ok(audit::names(self.db.pool(), &caller.account_id).await?.into_iter().map(named).collect())
    }

    /// A question and, where it has come, its answer.
    pub(crate) async fn question(&self, caller: &Caller, id: &str) -> Result<Option<Command>, Refused> {
        commands::of_account(self.db.pool(), &caller.account_id, id).await
    }

    /// A new draft of a pipeline in the project.
    pub(crate) async fn new_draft(&self, caller: &Caller, project_id: &str) -> Result<Draft, Refused> {
        require(caller, Role::Editor)?;
        self.project_of(caller, project_id).await?;
        let draft = Draft {
            id: Uuid::now_v7().to_string(),
            account_id: caller.account_id.clone(),
            project_id: project_id.to_owned(),
            person_id: person(caller)?.to_owned(),
            body: "{}".into(),
            notes: "{}".into(),
            updated_at: self.now(),
        };
        self.keep_draft(draft.clone()).await?;
        Ok(draft)
    }

    /// Keeps a draft as it is now.
    pub(crate) async fn keep_draft(&self, draft: Draft) -> Result<(), Refused> {
        let mut writing = self.db.write().await?;
        drafts::keep(writing.on(), &Draft { updated_at: self.now(), ..draft }).await?;
        writing.commit().await
    }

    /// The caller's draft.
    pub(crate) async fn draft(&self, caller: &Caller, id: &str) -> Result<Draft, Refused> {
        require(caller, Role::Editor)?;
        let owner = (caller.account_id.as_str(), person(caller)?);
        drafts::of_person(self.db.pool(), owner, id).await?.ok_or(Refused::NotFound("the draft"))
    }

    /// The caller's drafts.
    pub(crate) async fn drafts(&self, caller: &Caller) -> Result<Vec<Draft>, Refused> {
        drafts::list(self.db.pool(), &caller.account_id, person(caller)?).await
    }

    /// Throws a draft away.
    pub(crate) async fn discard_draft(&self, caller: &Caller, id: &str) -> Result<(), Refused> {
        let draft = self.draft(caller, id).await?;
        let mut writing = self.db.write().await?;
        drafts::discard(writing.on(), &draft.id).await?;
        writing.commit().await
    }
}

impl Draft {
    /// The pipeline so far.
    pub(crate) fn spec(&self) -> Map<String, Value> {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// What else the wizard remembers.
    pub(crate) fn note(&self, name: &str) -> Option<String> {
        let notes: Map<String, Value> = serde_json::from_str(&self.notes).unwrap_or_default();
        notes.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    /// Forgets some of it.
    pub(crate) fn forget(&mut self, names: &[&str]) {
        let mut notes: Map<String, Value> = serde_json::from_str(&self.notes).unwrap_or_default();
        notes.retain(|name, _| !names.contains(&name.as_str()));
        self.notes = Value::Object(notes).to_string();
    }

    /// Remembers something.
    pub(crate) fn remember(&mut self, name: &str, value: &str) {
        let mut notes: Map<String, Value> = serde_json::from_str(&self.notes).unwrap_or_default();
        notes.insert(name.to_owned(), Value::String(value.to_owned()));
        self.notes = Value::Object(notes).to_string();
    }
}

fn person(caller: &Caller) -> Result<&str, Refused> {
    match &caller.principal {
        Principal::Person(id) => Ok(id),
        Principal::Client(_) => Err(Refused::Forbidden("drafts belong to people".into())),
    }
}
