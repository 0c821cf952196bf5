//! Agents: created, renamed, removed, and the credentials that they sign in with.

use millrace_model::Timestamp;
use uuid::Uuid;

use super::repeats::Once;
use super::status::{self, AgentStatus};
use super::{App, require};
use crate::auth::{Caller, Role};
use crate::db::agents::{self, Agent};
use crate::db::part::{Found, Part};
use crate::db::{Writing, credentials, pipelines, taken};
use crate::fault::{Refused, Violation};

/// What a new agent is made of; checked.
#[derive(Clone, Debug)]
pub(crate) struct NewAgent {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) cloud_provider: &'static str,
    pub(crate) deployment: &'static str,
}

/// Where agents run: cloud and its deployments.
pub(crate) const PLATFORMS: &[(&str, &[&str])] =
    &[("aws", &["fargate", "eks"]), ("azure", &["aci", "aks"]), ("gcp", &["gke", "gce"])];
const LONGEST_NAME: usize = 30;
const LONGEST_DESCRIPTION: usize = 500;

impl NewAgent {
    /// Checks what was sent: everything that is wrong at once.
    pub(crate) fn check(
        name: &str,
        description: &str,
        (cloud_provider, deployment, agent_type): (&str, &str, &str),
    ) -> Result<Self, Refused> {
        let mut violations = Vec::new();
        let mut wrong = |field: &str, message: String| violations.push(Violation { field: field.into(), message });
        if let Some(message) = name_refused(name) {
            wrong("name", message);
        }
        if let Some(message) = description_refused(description) {
            wrong("description", message);
        }
        let cloud = PLATFORMS.iter().find(|(cloud, _)| cloud.eq_ignore_ascii_case(cloud_provider));
        if cloud.is_none() {
            wrong("cloudProvider", "must be `aws`, `azure` or `gcp`".into());
        }
        let place = match cloud {
            Some((cloud, places)) => {
                let place = places.iter().find(|place| place.eq_ignore_ascii_case(deployment));
                if place.is_none() {
                    wrong("deployment", format!("must be {} on {cloud}", places.join(" or ")));
                }
                place
            }
            None => {
                if !PLATFORMS.iter().any(|(_, places)| places.iter().any(|p| p.eq_ignore_ascii_case(deployment))) {
                    wrong("deployment", "must be one of fargate, eks, aci, aks, gke, gce".into());
                }
                None
            }
        };
        if !agent_type.eq_ignore_ascii_case("streaming") {
            wrong("agentType", "must be `streaming`".into());
        }
        match (cloud, place) {
            (Some((cloud_provider, _)), Some(deployment)) if violations.is_empty() => {
                Ok(Self { name: name.into(), description: description.into(), cloud_provider, deployment })
            }
            _ => Err(Refused::Invalid(violations)),
        }
    }
}

/// What is wrong with a name of an agent.
pub(crate) fn name_refused(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || c == '-' || c == '_';
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME {
        return Some(format!("must have 1 to {LONGEST_NAME} characters"));
    }
    if name.starts_with(char::is_whitespace) {
        return Some("must not begin with a space".into());
    }
    (!name.chars().all(allowed)).then(|| "may hold letters A to Z, digits, spaces, `-` and `_` only".into())
}

fn description_refused(description: &str) -> Option<String> {
    (description.chars().count() > LONGEST_DESCRIPTION)
        .then(|| format!("must have at most {LONGEST_DESCRIPTION} characters"))
}

impl App {
    /// Creates an agent with its first credentials.
    pub(crate) async fn create_agent(
        &self,
        caller: &Caller,
        new: NewAgent,
        once: Option<&Once>,
    ) -> Result<String, Refused> {
        require(caller, Role::Editor)?;
        let now = self.now();
        let id = Uuid::now_v7().to_string();
        let agent = Agent {
            id: id.clone(),
            account_id: caller.account_id.clone(),
            name: new.name,
            description: new.description,
            cloud_provider: new.cloud_provider.into(),
            deployment: new.deployment.into(),
            agent_type: "streaming".into(),
            client_id: Uuid::new_v4().to_string(),
            allowed: "[]".into(),
            created_at: now,
            first_connected_at: None,
            goodbye_at: None,
            removed_at: None,
            lease: None,
            instance: None,
            session_id: None,
            rival: None,
            credentials_end: None,
            version: None,
            conditions: None,
            clock_skew_ms: None,
        };
        let credential = self.new_credential(&id, &caller.actor(), None)?;
        let mut writing = self.db.write().await?;
        if let Some(id) = self.done_before(&mut writing, caller, once).await? {
            return Ok(id);
        }
        agents::insert(writing.on(), &agent, &caller.actor()).await.map_err(|error| name_taken(error, &agent.name))?;
        credentials::insert(writing.on(), &id, &credential).await?;
        self.note_done(&mut writing, caller, once, &id).await?;
        self.audit(&mut writing, caller, ("agent.create", &format!("agent:{id}"), &agent.name)).await?;
        writing.commit().await?;
        Ok(id)
    }

    /// The account's agent.
    pub(crate) async fn agent(&self, caller: &Caller, id: &str) -> Result<Agent, Refused> {
        agents::of_account(self.db.pool(), &caller.account_id, id).await?.ok_or(Refused::NotFound("the agent"))
    }

    /// A part of the account's agents, and how many there are.
    pub(crate) async fn agents(&self, caller: &Caller, part: &Part) -> Result<(Found<Agent>, i64), Refused> {
        let total = agents::count(self.db.pool(), &caller.account_id).await?;
        Ok((agents::list(self.db.pool(), &caller.account_id, part).await?, total))
    }

    /// Changes name and description; what is absent stays. `stale` says whether the caller has an older agent in mind.
    pub(crate) async fn change_agent(
        &self,
        caller: &Caller,
        id: &str,
        (name, description): (Option<String>, Option<String>),
        stale: impl Fn(&Agent) -> bool,
    ) -> Result<(), Refused> {
        require(caller, Role::Editor)?;
        let refused = [
            name.as_deref().and_then(name_refused).map(|message| ("name", message)),
            description.as_deref().and_then(description_refused).map(|message| ("description", message)),
        ];
        let violations: Vec<Violation> =
            refused.into_iter().flatten().map(|(field, message)| Violation { field: field.into(), message }).collect();
        let mut writing = self.db.write().await?;
        let agent = self.locked_agent(&mut writing, caller, id).await?;
        if stale(&agent) {
            return Err(Refused::Stale);
        }
        if !violations.is_empty() {
            return Err(Refused::Invalid(violations));
        }
        let name = name.unwrap_or(agent.name);
        let description = description.unwrap_or(agent.description);
        agents::rename(writing.on(), id, &name, &description).await.map_err(|error| name_taken(error, &name))?;
        self.audit(&mut writing, caller, ("agent.update", &format!("agent:{id}"), &name)).await?;
        writing.commit().await
    }

    /// Removes it. Refused while its pipeline is meant to run, unless forced.
    pub(crate) async fn remove_agent(
        &self,
        caller: &Caller,
        id: &str,
        force: bool,
        stale: impl Fn(&Agent) -> bool,
    ) -> Result<(), Refused> {
        require(caller, Role::Editor)?;
        let mut writing = self.db.write().await?;
        let agent = self.locked_agent(&mut writing, caller, id).await?;
        if stale(&agent) {
            return Err(Refused::Stale);
        }
        if let Some(pipeline) = pipelines::of_agent(writing.on(), id).await?
            && pipeline.wanted == "running"
        {
            if !force {
                return Err(Refused::conflict(
                    "pipeline_running",
                    format!(
                        "its pipeline `{}` is started; stop it first, or remove the agent by force (`--force`, in the API `force=true`)",
                        pipeline.name
                    ),
                ));
            }
            pipelines::want(writing.on(), &pipeline.id, "stopped").await?;
        }
        agents::remove(writing.on(), id, self.now()).await?;
        self.audit(&mut writing, caller, ("agent.remove", &format!("agent:{id}"), &agent.name)).await?;
        writing.commit().await?;
        self.notifier.ring(id);
        Ok(())
    }

    /// The account's agent, with no other writer at it.
    async fn locked_agent(&self, writing: &mut Writing, caller: &Caller, id: &str) -> Result<Agent, Refused> {
        agents::lock(writing.on(), &caller.account_id, id).await?;
        agents::of_account(writing.on(), &caller.account_id, id).await?.ok_or(Refused::NotFound("the agent"))
    }

    /// Its status now.
    pub(crate) fn agent_status(&self, agent: &Agent) -> AgentStatus {
        status::of_agent(agent, self.now())
    }
}

/// When it was last heard.
pub(crate) fn last_seen(agent: &Agent) -> Option<Timestamp> {
    agent.lease.map(|(renewed_at, _)| renewed_at).max(agent.goodbye_at)
}

fn name_taken(error: sqlx::Error, name: &str) -> Refused {
    match taken(&error) {
        Some(_) => Refused::conflict("name_taken", format!("an agent named `{name}` is there already")),
        None => error.into(),
    }
}
