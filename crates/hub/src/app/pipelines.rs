//! Pipelines: created, replaced, started, stopped, deleted. The agent that a pipeline names carries the wish out.

use millrace_protocol::gateway::{Report, Wanted};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::commands::{EVENTUALLY, NewCommand};
use super::repeats::Once;
use super::status::{self, PipelineStatus};
use super::{App, is_id, require};
use crate::auth::{Caller, Role};
use crate::db::events::{self, Stored};
use crate::db::part::{Found, Part};
use crate::db::pipelines::{self, Pipeline, Revision};
use crate::db::{Writing, accounts, agents, taken};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PipelineCommand {
    Start,
    Stop,
    /// With a new snapshot.
    Restart {
        /// Of these tables, or of all.
        tables: Option<Vec<String>>,
        /// Also when the chain there belongs to another pipeline or another source.
        adopt: bool,
    },
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
        once: Option<&Once>,
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
        if let Some(id) = self.done_before(&mut writing, caller, once).await? {
            let made = pipelines::of_project(writing.on(), project_id, &id).await?;
            return made.ok_or(Refused::NotFound("the pipeline that this request has made"));
        }
        self.known_agent(&mut writing, caller, &pipeline.agent_id).await?;
        pipelines::insert(writing.on(), &pipeline, &caller.actor())
            .await
            .map_err(|error| in_the_way(error, &pipeline.name))?;
        self.note_done(&mut writing, caller, once, &pipeline.id).await?;
        self.audit(&mut writing, caller, ("pipeline.create", &format!("pipeline:{}", pipeline.id), &pipeline.name))
            .await?;
        writing.commit().await?;
        self.notifier.ring(&pipeline.agent_id);
        Ok(pipeline)
    }

    /// Replaces everything but the id. `stale` says whether the caller has an older pipeline in mind.
    pub(crate) async fn replace_pipeline(
        &self,
        caller: &Caller,
        (project_id, id): (&str, &str),
        new: NewPipeline,
        stale: impl Fn(&Pipeline) -> bool,
    ) -> Result<Pipeline, Refused> {
        require(caller, Role::Editor)?;
        let (mut writing, before) = self.locked_pipeline(caller, project_id, id).await?;
        if stale(&before) {
            return Err(Refused::Stale);
        }
        let body = Value::Object(new.body.clone()).to_string();
        if (&new.name, &new.agent_id, &body) == (&before.name, &before.agent_id, &before.body) {
            // Nothing changes: no new revision, and nothing that runs begins anew.
            return Ok(before);
        }
        if new.agent_id != before.agent_id {
            self.known_agent(&mut writing, caller, &new.agent_id).await?;
        }
        let revision = before.revision + 1;
        let moved = standing_root(&mut writing, &before).await? != status::root(&new.body);
        let after = Pipeline {
            name: new.name,
            agent_id: new.agent_id,
            revision,
            new_lake: moved.then_some(revision),
            body,
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

    /// Makes a new revision with the body of an older one.
    pub(crate) async fn roll_back_pipeline(
        &self,
        caller: &Caller,
        (project_id, id): (&str, &str),
        revision: i64,
        stale: impl Fn(&Pipeline) -> bool,
    ) -> Result<Pipeline, Refused> {
        require(caller, Role::Editor)?;
        let pipeline = self.pipeline(caller, project_id, id).await?;
        let Some(old) = pipelines::revision(self.db.pool(), id, revision).await? else {
            return Err(Refused::invalid("revision", "must be one of the pipeline's revisions"));
        };
        if revision == pipeline.revision {
            return Err(Refused::invalid("revision", "is the newest one already"));
        }
        let body: Map<String, Value> =
            serde_json::from_str(&old.body).map_err(|error| Refused::Failed(Box::new(error)))?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let new = NewPipeline { name: text("name"), agent_id: text("agentId"), body };
        self.replace_pipeline(caller, (project_id, id), new, stale).await
    }

    /// The project's pipeline, with no other writer at it.
    pub(super) async fn locked_pipeline(
        &self,
        caller: &Caller,
        project_id: &str,
        id: &str,
    ) -> Result<(Writing, Pipeline), Refused> {
        self.project_of(caller, project_id).await?;
        let mut writing = self.db.write().await?;
        pipelines::lock(writing.on(), project_id, id).await?;
        let pipeline = pipelines::of_project(writing.on(), project_id, id).await?;
        Ok((writing, pipeline.ok_or(Refused::NotFound("the pipeline"))?))
    }

    /// The agent must be one of the account's; any status will do.
    async fn known_agent(&self, writing: &mut Writing, caller: &Caller, agent_id: &str) -> Result<(), Refused> {
        let agent_id = if is_id(agent_id) { agent_id } else { "" };
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

    /// A part of the project's pipelines, and how many there are.
    pub(crate) async fn pipelines(
        &self,
        caller: &Caller,
        project_id: &str,
        part: &Part,
    ) -> Result<(Found<Pipeline>, i64), Refused> {
        self.project_of(caller, project_id).await?;
        let total = pipelines::count(self.db.pool(), project_id).await?;
        Ok((pipelines::list(self.db.pool(), project_id, part).await?, total))
    }

    /// Its status now.
    pub(crate) async fn pipeline_status(&self, pipeline: &Pipeline) -> Result<PipelineStatus, Refused> {
        let agent = agents::of_account(self.db.pool(), &pipeline.account_id, &pipeline.agent_id).await?;
        Ok(status::of_pipeline(pipeline, agent.as_ref(), self.now()))
    }

    /// Takes down what the user wants of it. Id of the command, where it takes one.
    pub(crate) async fn command_pipeline(
        &self,
        caller: &Caller,
        (project_id, id): (&str, &str),
        command: PipelineCommand,
        once: Option<&Once>,
    ) -> Result<Option<String>, Refused> {
        require(caller, Role::Editor)?;
        let (mut writing, pipeline) = self.locked_pipeline(caller, project_id, id).await?;
        if let Some(before) = self.done_before(&mut writing, caller, once).await? {
            return Ok(Some(before).filter(|id| !id.is_empty()));
        }
        let (issued, action) = match command {
            PipelineCommand::Start => {
                pipelines::want(writing.on(), id, word(Wanted::Running)).await?;
                (None, "pipeline.start")
            }
            PipelineCommand::Stop => {
                pipelines::want(writing.on(), id, word(Wanted::Stopped)).await?;
                (None, "pipeline.stop")
            }
            PipelineCommand::Restart { tables, adopt } => {
                let mut arguments = Map::from_iter([("pipelineId".to_owned(), id.into())]);
                if let Some(tables) = tables {
                    arguments.insert("tables".into(), json!(tables));
                }
                if adopt {
                    arguments.insert("adopt".into(), true.into());
                }
                let asked = ("restart", Value::Object(arguments));
                (Some(self.order(&mut writing, caller, &pipeline, asked).await?), "pipeline.restart")
            }
        };
        self.note_done(&mut writing, caller, once, issued.as_deref().unwrap_or_default()).await?;
        self.audit(&mut writing, caller, (action, &format!("pipeline:{id}"), &pipeline.name)).await?;
        writing.commit().await?;
        self.notifier.ring(&pipeline.agent_id);
        Ok(issued)
    }

    /// Deletes it; one that runs is stopped by its agent. With `cleanup` the agent then drops slot and publication; the
    /// gateway gives the definition with the command, for the pipeline is gone by then. Id of that command.
    pub(crate) async fn delete_pipeline(
        &self,
        caller: &Caller,
        (project_id, id): (&str, &str),
        cleanup: bool,
        stale: impl Fn(&Pipeline) -> bool,
    ) -> Result<Option<String>, Refused> {
        require(caller, Role::Editor)?;
        let (mut writing, pipeline) = self.locked_pipeline(caller, project_id, id).await?;
        if stale(&pipeline) {
            return Err(Refused::Stale);
        }
        let issued = if cleanup {
            Some(self.order(&mut writing, caller, &pipeline, ("cleanup", json!({}))).await?)
        } else {
            None
        };
        pipelines::delete(writing.on(), id, self.now()).await?;
        let action = if cleanup { "pipeline.delete_and_clean_up" } else { "pipeline.delete" };
        self.audit(&mut writing, caller, (action, &format!("pipeline:{id}"), &pipeline.name)).await?;
        writing.commit().await?;
        self.notifier.ring(&pipeline.agent_id);
        Ok(issued)
    }

    /// A command for the pipeline's agent, which has to be there.
    async fn order(
        &self,
        writing: &mut Writing,
        caller: &Caller,
        pipeline: &Pipeline,
        (kind, arguments): (&str, Value),
    ) -> Result<String, Refused> {
        if agents::of_account(writing.on(), &caller.account_id, &pipeline.agent_id).await?.is_none() {
            return Err(Refused::conflict("agent_removed", "its agent was removed, and only an agent can do this"));
        }
        let (agent_id, pipeline_id) = (pipeline.agent_id.as_str(), Some(pipeline.id.as_str()));
        self.issue(writing, caller, NewCommand { agent_id, pipeline_id, kind, arguments, patience: EVENTUALLY }).await
    }

    /// A part of its events, the newest first.
    pub(crate) async fn pipeline_events(&self, pipeline: &Pipeline, part: &Part) -> Result<Found<Stored>, Refused> {
        events::list(self.db.pool(), (&pipeline.account_id, events::Of::Pipeline(&pipeline.id)), part).await
    }

    /// How many there are.
    pub(crate) async fn count_events(&self, pipeline: &Pipeline) -> Result<i64, Refused> {
        events::count(self.db.pool(), (&pipeline.account_id, events::Of::Pipeline(&pipeline.id))).await
    }

    /// A page of its revisions, the newest first, and how many there are.
    pub(crate) async fn pipeline_revisions(
        &self,
        pipeline: &Pipeline,
        (page, size): (i64, i64),
    ) -> Result<(Vec<Revision>, i64), Refused> {
        pipelines::revisions(self.db.pool(), &pipeline.id, (size, page.saturating_mul(size))).await
    }
}

/// The root of the lake that stands: while a newer revision waits for a lake of its own, that of the revision which the
/// agent runs.
async fn standing_root(writing: &mut Writing, pipeline: &Pipeline) -> Result<Vec<String>, Refused> {
    let stored = pipeline.report.as_ref().filter(|_| pipeline.new_lake.is_some());
    let report = stored.and_then(|stored| serde_json::from_str::<Report>(&stored.report).ok());
    let Some(report) = report.filter(|report| report.checkpoint.is_some()) else {
        return Ok(status::root_of(&pipeline.body));
    };
    let runs = pipelines::revision(writing.on(), &pipeline.id, i64::try_from(report.revision).unwrap_or(0)).await?;
    Ok(status::root_of(runs.as_ref().map_or(&pipeline.body, |runs| &runs.body)))
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
