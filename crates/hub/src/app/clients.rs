//! API clients: created with a secret that is shown once, and revoked.

use uuid::Uuid;

use super::joining::title_refused;
use super::people::role_of;
use super::{App, known, require};
use crate::auth::{Caller, Principal, Role, secret};
use crate::db::clients::{self, ApiClient};
use crate::fault::{Refused, Violation};

/// API clients of one account, at most.
const MOST: usize = 500;

impl App {
    /// The account's API clients, by creation.
    pub(crate) async fn clients(&self, caller: &Caller) -> Result<Vec<ApiClient>, Refused> {
        require(caller, Role::Owner)?;
        clients::list(self.db.pool(), &caller.account_id).await
    }

    /// One of them.
    pub(crate) async fn client(&self, caller: &Caller, id: &str) -> Result<ApiClient, Refused> {
        let found = self.clients(caller).await?.into_iter().find(|client| client.id == id);
        found.ok_or(Refused::NotFound("the API client"))
    }

    /// A new one: its id, and its secret, which is not kept.
    pub(crate) async fn create_client(
        &self,
        caller: &Caller,
        name: &str,
        role: &str,
    ) -> Result<(String, String), Refused> {
        require(caller, Role::Owner)?;
        let role = check(name, role)?;
        let plain = secret::new()?;
        let client = ApiClient {
            id: Uuid::new_v4().to_string(),
            account_id: caller.account_id.clone(),
            name: name.to_owned(),
            role: role.as_str().into(),
            secret_hash: secret::hash(&plain),
            created_at: self.now(),
            created_by: caller.actor(),
            last_used_at: None,
            last_address: None,
            allowed: "[]".into(),
        };
        let mut writing = self.db.write().await?;
        let others = clients::list(writing.on(), &caller.account_id).await?;
        if others.iter().any(|other| other.name == name) {
            return Err(Refused::conflict("name_taken", format!("an API client named `{name}` is there already")));
        }
        if others.len() >= MOST {
            return Err(Refused::conflict("too_many_clients", format!("an account has {MOST} API clients at most")));
        }
        clients::insert(writing.on(), &client).await?;
        let object = format!("client:{}", client.id);
        self.audit(&mut writing, caller, ("client.create", &object, &format!("{name}, {}", client.role))).await?;
        writing.commit().await?;
        Ok((client.id, plain))
    }

    /// Revokes one: its secret and its tokens end at once.
    pub(crate) async fn revoke_client(&self, caller: &Caller, id: &str) -> Result<(), Refused> {
        require(caller, Role::Owner)?;
        known(id, "the API client")?;
        if caller.principal == Principal::Client(id.to_owned()) {
            return Err(Refused::conflict(
                "own_client",
                "an API client does not revoke itself; let another one, or a person",
            ));
        }
        let mut writing = self.db.write().await?;
        if !clients::revoke(writing.on(), (&caller.account_id, id), self.now()).await? {
            return Err(Refused::NotFound("the API client"));
        }
        self.audit(&mut writing, caller, ("client.revoke", &format!("client:{id}"), "")).await?;
        writing.commit().await
    }
}

fn check(name: &str, role: &str) -> Result<Role, Refused> {
    let mut violations = Vec::new();
    if let Some(message) = title_refused(name) {
        violations.push(Violation { field: "name".into(), message: message.into() });
    }
    match role_of(role) {
        Ok(role) if violations.is_empty() => return Ok(role),
        Ok(_) => {}
        Err(Refused::Invalid(found)) => violations.extend(found),
        Err(refused) => return Err(refused),
    }
    Err(Refused::Invalid(violations))
}
