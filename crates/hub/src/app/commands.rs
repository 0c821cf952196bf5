//! Commands: what an agent is asked to do once. Each is taken down, waits for its agent for a while, and keeps its result.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::repeats::Once;
use super::{App, later, require};
use crate::auth::{Caller, Role};
use crate::db::commands::{self, Command};
use crate::db::{Writing, agents};
use crate::fault::Refused;

/// A command that is to be done even if the agent is away for a while.
pub(crate) const EVENTUALLY: Duration = Duration::from_hours(24);

/// What an agent is to do.
pub(crate) struct NewCommand<'a> {
    pub(crate) agent_id: &'a str,
    pub(crate) pipeline_id: Option<&'a str>,
    /// `check`, `discover`, `restart`, `cleanup`.
    pub(crate) kind: &'a str,
    pub(crate) arguments: Value,
    pub(crate) patience: Duration,
}

impl App {
    /// Takes a command down, as part of `writing`: its id. The caller rings the agent after the commit.
    pub(super) async fn issue(
        &self,
        writing: &mut Writing,
        caller: &Caller,
        new: NewCommand<'_>,
    ) -> Result<String, Refused> {
        let now = self.now();
        let command = Command {
            id: Uuid::now_v7().to_string(),
            account_id: caller.account_id.clone(),
            agent_id: new.agent_id.to_owned(),
            pipeline_id: new.pipeline_id.map(str::to_owned),
            kind: new.kind.to_owned(),
            arguments: new.arguments.to_string(),
            state: "queued".into(),
            issued_by: caller.actor(),
            issued_at: now,
            expires_at: later(now, new.patience),
            finished_at: None,
            result: None,
        };
        commands::insert(writing.on(), &command).await?;
        Ok(command.id)
    }

    /// Asks an agent to look at a source and a target that somebody thinks of: `check` or `discover`.
    pub(crate) async fn ask_agent(
        &self,
        caller: &Caller,
        (agent_id, kind): (&str, &str),
        arguments: Value,
        once: Option<&Once>,
    ) -> Result<String, Refused> {
        require(caller, Role::Editor)?;
        let mut writing = self.db.write().await?;
        if agents::of_account(writing.on(), &caller.account_id, agent_id).await?.is_none() {
            return Err(Refused::NotFound("the agent"));
        }
        if let Some(id) = self.done_before(&mut writing, caller, once).await? {
            return Ok(id);
        }
        let new = NewCommand { agent_id, pipeline_id: None, kind, arguments, patience: self.settings.patience };
        let id = self.issue(&mut writing, caller, new).await?;
        self.note_done(&mut writing, caller, once, &id).await?;
        self.audit(&mut writing, caller, (&format!("agent.{kind}"), &format!("agent:{agent_id}"), &id)).await?;
        writing.commit().await?;
        self.notifier.ring(agent_id);
        Ok(id)
    }

    /// The account's command.
    pub(crate) async fn command(&self, caller: &Caller, id: &str) -> Result<Command, Refused> {
        commands::of_account(self.db.pool(), &caller.account_id, id).await?.ok_or(Refused::NotFound("the command"))
    }
}
