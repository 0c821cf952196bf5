//! Pipelines: created, replaced, started, stopped, deleted. The agent that a pipeline names carries the wish out.

use millrace_protocol::gateway::Wanted;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::status::{self, PipelineStatus};
use super::{App, require};
use crate::auth::{Caller, Role};
use crate::db::pipelines::{self, Pipeline};
use crate::db::{accounts, agents, taken};
use crate::fault::Refused;

/// A pipeline as it was sent and checked.
#[derive(Clone, Debug)]
pub(crate) struct NewPipeline {
    pub(crate) name: String,
    pub(crate) agent_id: String,
    /// The whole body, enum values in lower case, without what was `null`.
    pub(crate) body: Map<String, Value>,
}

/// What is asked of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PipelineCommand {
    Start,
    Stop,
}

/// The word that is stored.
pub(crate) fn word(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Running => "running",
        Wanted::Stopped => "stopped",
    }
}

impl App {
    /// Creates it, stopped.
    pub(crate) async fn create_pipeline(
        &self,
        caller: &Caller,
        project_id: &str,
        new: NewPipeline,
    ) -> Result<Pipeline, Refused> {
        require(caller, Role::Editor)?;
        self.project_of(caller, project_id).await?;
        let now = self.now();
        let pipeline = Pipeline {
            id: Uuid::now_v7().to_string(),
            account_id: caller.account_id.clone(),
            project_id: project_id.into(),
            first_name: new.name.clone(),
            name: new.name,
            agent_id: new.agent_id,
            wanted: word(Wanted::Stopped).into(),
            wish: 0,
            revision: 1,
            epoch: 0,
            given_to: None,
            holder: None,
            new_lake: None,
            created_at: now,
            deleted_at: None,
            body: Value::Object(new.body).to_string(),
            report: None,
        };
        let mut writing = self.db.write().await?;
        self.known_agent(&mut writing, caller, &pipeline.agent_id).await?;
        pipelines::insert(writing.on(), &pipeline, &caller.actor())
            .await
            .map_err(|error| in_the_way(error, &pipeline.name))?;
        self.audit(&mut writing, caller, ("pipeline.create", &format!("pipeline:{}", pipeline.id), &pipeline.name))
            .await?;
        writing.commit().await?;
        self.notifier.ring(&pipeline.agent_id);
        Ok(pipeline)
    }

    /// Replaces everything but the id.
    pub(crate) async fn replace_pipeline(
        &self,
        caller: &Caller,
        (project_id, id): (&str, &str),
        new: NewPipeline,
    ) -> Result<Pipeline, Refused> {
        require(caller, Role::Editor)?;
        let before = self.pipeline(caller, project_id, id).await?;
        let mut writing = self.db.write().await?;
        if new.agent_id != before.agent_id {
            self.known_agent(&mut writing, caller, &new.agent_id).await?;
        }
        let revision = before.revision + 1;
        let moved = status::root_of(&before) != status::root(&new.body);
        let after = Pipeline {
            name: new.name,
            agent_id: new.agent_id,
            revision,
            new_lake: if moved { Some(revision) } else { before.new_lake },
            body: Value::Object(new.body).to_string(),
            ..before.clone()
        };
        pipelines::revise(writing.on(), &after, &caller.actor(), self.now())
            .await
            .map_err(|error| in_the_way(error, &after.name))?;
        self.audit(&mut writing, caller, ("pipeline.update", &format!("pipeline:{id}"), &after.name)).await?;
        writing.commit().await?;
        self.notifier.ring(&before.agent_id);
        self.notifier.ring(&after.agent_id);
        Ok(after)
    }

    /// The agent must be one of the account's; any status will do.
    async fn known_agent(
        &self,
        writing: &mut crate::db::Writing,
        caller: &Caller,
        agent_id: &str,
    ) -> Result<(), Refused> {
        match agents::of_account(writing.on(), &caller.account_id, agent_id).await? {
            Some(_) => Ok(()),
            None => Err(Refused::invalid("agentId", "must be the id of one of the account's agents")),
        }
    }

    /// The account's project.
    pub(crate) async fn project_of(&self, caller: &Caller, project_id: &str) -> Result<(), Refused> {
        accounts::project(self.db.pool(), &caller.account_id, project_id)
            .await?
            .map(|_| ())
            .ok_or(Refused::NotFound("the project"))
    }

    /// The project's pipeline.
    pub(crate) async fn pipeline(&self, caller: &Caller, project_id: &str, id: &str) -> Result<Pipeline, Refused> {
        self.project_of(caller, project_id).await?;
        pipelines::of_project(self.db.pool(), project_id, id).await?.ok_or(Refused::NotFound("the pipeline"))
    }

    /// A page of the project's pipelines, and how many there are.
    pub(crate) async fn pipelines(
        &self,
        caller: &Caller,
        project_id: &str,
        (page, size): (i64, i64),
    ) -> Result<(Vec<Pipeline>, i64), Refused> {
        self.project_of(caller, project_id).await?;
        let total = pipelines::count(self.db.pool(), project_id).await?;
        Ok((pipelines::list(self.db.pool(), project_id, size, page.saturating_mul(size)).await?, total))
    }

    /// Its status now.
    pub(crate) async fn pipeline_status(&self, pipeline: &Pipeline) -> Result<PipelineStatus, Refused> {
        let agent = agents::of_account(self.db.pool(), &pipeline.account_id, &pipeline.agent_id).await?;
        Ok(status::of_pipeline(pipeline, agent.as_ref(), self.now()))
    }

    /// Takes down what the user wants of it.
    pub(crate) async fn command_pipeline(
        &self,
        caller: &Caller,
        (project_id, id): (&str, &str),
        command: PipelineCommand,
    ) -> Result<(), Refused> {
        require(caller, Role::Editor)?;
        let pipeline = self.pipeline(caller, project_id, id).await?;
        let (wanted, action) = match command {
            PipelineCommand::Start => (Wanted::Running, "pipeline.start"),
            PipelineCommand::Stop => (Wanted::Stopped, "pipeline.stop"),
        };
        let mut writing = self.db.write().await?;
        pipelines::want(writing.on(), id, word(wanted)).await?;
        self.audit(&mut writing, caller, (action, &format!("pipeline:{id}"), &pipeline.name)).await?;
        writing.commit().await?;
        self.notifier.ring(&pipeline.agent_id);
        Ok(())
    }

    /// Deletes it; one that runs is stopped by its agent.
    pub(crate) async fn delete_pipeline(&self, caller: &Caller, project_id: &str, id: &str) -> Result<(), Refused> {
        require(caller, Role::Editor)?;
        let pipeline = self.pipeline(caller, project_id, id).await?;
        let mut writing = self.db.write().await?;
        pipelines::delete(writing.on(), id, self.now()).await?;
        self.audit(&mut writing, caller, ("pipeline.delete", &format!("pipeline:{id}"), &pipeline.name)).await?;
        writing.commit().await?;
        self.notifier.ring(&pipeline.agent_id);
        Ok(())
    }
}

fn in_the_way(error: sqlx::Error, name: &str) -> Refused {
    match taken(&error) {
        Some(index) if index.contains("agent") => {
            Refused::conflict("agent_taken", "the agent has a pipeline already; an agent runs exactly one")
        }
        Some(_) => Refused::conflict("name_taken", format!("a pipeline named `{name}` is in the project already")),
        None => error.into(),
    }
}
