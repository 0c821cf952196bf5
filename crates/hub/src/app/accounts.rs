//! What belongs to an account beside agents and pipelines: its name, its projects, where it may be reached from, its audit log.

use uuid::Uuid;

use super::joining::title_refused;
use super::repeats::Once;
use super::{App, known, require};
use crate::auth::addresses::Allowed;
use crate::auth::{Caller, Role};
use crate::db::accounts::{self, Named};
use crate::db::agents;
use crate::db::audit::{self, Line, Wanted};
use crate::db::part::{Found, Part};
use crate::db::{credentials, taken};
use crate::fault::Refused;

/// An account's settings.
pub(crate) struct AccountSettings {
    pub(crate) name: String,
    pub(crate) allowed: Allowed,
}

impl App {
    /// A page of the account's projects, and how many there are. An account has few.
    pub(crate) async fn projects(
        &self,
        caller: &Caller,
        (page, size): (i64, i64),
    ) -> Result<(Vec<Named>, i64), Refused> {
        let all = accounts::projects(self.db.pool(), &caller.account_id).await?;
        let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let whole = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok((all.into_iter().skip(whole(page.saturating_mul(size))).take(whole(size)).collect(), total))
    }

    /// A new project: its id.
    pub(crate) async fn create_project(
        &self,
        caller: &Caller,
        name: &str,
        once: Option<&Once>,
    ) -> Result<String, Refused> {
        require(caller, Role::Owner)?;
        let project = Named { id: Uuid::now_v7().to_string(), name: titled("name", name)?.to_owned() };
        let mut writing = self.db.write().await?;
        if let Some(id) = self.done_before(&mut writing, caller, once).await? {
            return Ok(id);
        }
        accounts::insert_project(writing.on(), &caller.account_id, &project, self.now())
            .await
            .map_err(|error| name_taken(error, name))?;
        self.note_done(&mut writing, caller, once, &project.id).await?;
        self.audit(&mut writing, caller, ("project.create", &format!("project:{}", project.id), name)).await?;
        writing.commit().await?;
        Ok(project.id)
    }

    /// Another name for a project.
    pub(crate) async fn rename_project(&self, caller: &Caller, id: &str, name: &str) -> Result<(), Refused> {
        require(caller, Role::Owner)?;
        known(id, "the project")?;
        let project = Named { id: id.to_owned(), name: titled("name", name)?.to_owned() };
        let mut writing = self.db.write().await?;
        let renamed = accounts::rename_project(writing.on(), &caller.account_id, &project).await;
        if !renamed.map_err(|error| name_taken(error, name))? {
            return Err(Refused::NotFound("the project"));
        }
        self.audit(&mut writing, caller, ("project.update", &format!("project:{id}"), name)).await?;
        writing.commit().await
    }

    /// The account's settings.
    pub(crate) async fn account_settings(&self, caller: &Caller) -> Result<AccountSettings, Refused> {
        require(caller, Role::Owner)?;
        let account = accounts::of_id(self.db.pool(), &caller.account_id).await?;
        let name = account.ok_or(Refused::NotFound("the account"))?.name;
        let allowed = Allowed::from_json(&accounts::allowed(self.db.pool(), &caller.account_id).await?)?;
        Ok(AccountSettings { name, allowed })
    }

    /// Another name for the account.
    pub(crate) async fn rename_account(&self, caller: &Caller, name: &str) -> Result<(), Refused> {
        require(caller, Role::Owner)?;
        titled("accountName", name)?;
        let mut writing = self.db.write().await?;
        accounts::rename(writing.on(), &caller.account_id, name).await?;
        let object = format!("account:{}", caller.account_id);
        self.audit(&mut writing, caller, ("account.update", &object, name)).await?;
        writing.commit().await
    }

    /// Changes where people and API clients may call from. The caller's own address has to be among it: who shuts the door
    /// from outside has lost the key.
    pub(crate) async fn allow_addresses(&self, caller: &Caller, allowed: &Allowed) -> Result<(), Refused> {
        require(caller, Role::Owner)?;
        if !allowed.lets_in(&caller.address) {
            let message =
                format!("would lock you out: you call from {}; add it, or a range that holds it", caller.address);
            return Err(Refused::conflict("would_lock_out", message));
        }
        let mut writing = self.db.write().await?;
        accounts::allow(writing.on(), &caller.account_id, &allowed.to_json()).await?;
        let object = format!("account:{}", caller.account_id);
        self.audit(&mut writing, caller, ("account.allow_addresses", &object, &allowed.texts().join(" "))).await?;
        writing.commit().await
    }

    /// Where an agent's process may call from, and where it called from last.
    pub(crate) async fn agent_addresses(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(Allowed, Option<String>), Refused> {
        let agent = self.agent(caller, id).await?;
        let known = credentials::all(self.db.pool(), id).await?;
        let last = known.into_iter().filter(|one| one.last_used_at.is_some()).max_by_key(|one| one.last_used_at);
        Ok((Allowed::from_json(&agent.allowed)?, last.and_then(|one| one.last_address)))
    }

    /// Changes that. What would shut out the process that called last has to be meant: `forced`.
    pub(crate) async fn allow_agent_addresses(
        &self,
        caller: &Caller,
        id: &str,
        allowed: &Allowed,
        forced: bool,
    ) -> Result<(), Refused> {
        require(caller, Role::Editor)?;
        let (_, last) = self.agent_addresses(caller, id).await?;
        if let Some(last) = last.filter(|last| !forced && !allowed.lets_in(last)) {
            let message =
                format!("would shut the agent out: it called from {last} last; add it, or say that you mean it");
            return Err(Refused::conflict("would_lock_out", message));
        }
        let mut writing = self.db.write().await?;
        if !agents::lock(writing.on(), &caller.account_id, id).await? {
            return Err(Refused::NotFound("the agent"));
        }
        agents::allow(writing.on(), id, &allowed.to_json()).await?;
        let detail = allowed.texts().join(" ");
        self.audit(&mut writing, caller, ("agent.allow_addresses", &format!("agent:{id}"), &detail)).await?;
        writing.commit().await
    }

    /// A part of what is wanted of the account's audit log, the newest first, and how much of it there is.
    pub(crate) async fn audit_log(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        part: &Part,
    ) -> Result<(Found<Line>, i64), Refused> {
        require(caller, Role::Owner)?;
        let lines = audit::list(self.db.pool(), &caller.account_id, wanted, part).await?;
        Ok((lines, audit::count(self.db.pool(), &caller.account_id, wanted).await?))
    }
}

/// The field that holds ranges of addresses.
pub(crate) const ALLOWED: &str = "allowedAddresses";

fn titled<'a>(field: &str, name: &'a str) -> Result<&'a str, Refused> {
    title_refused(name).map_or(Ok(name), |message| Err(Refused::invalid(field, message)))
}

fn name_taken(error: sqlx::Error, name: &str) -> Refused {
    match taken(&error) {
        Some(_) => Refused::conflict("name_taken", format!("a project named `{name}` is there already")),
        None => error.into(),
    }
}
