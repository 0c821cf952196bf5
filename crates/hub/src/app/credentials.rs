//! Credentials of agents: revealed, rotated with two secrets alive at most, revoked.

use millrace_model::Timestamp;
use uuid::Uuid;

use super::repeats::Once;
use super::{App, is_id, require};
use crate::auth::{Caller, Role, secret};
use crate::db::credentials::{self, Credential};
use crate::db::{Writing, agents, trust};
use crate::fault::Refused;

/// An agent's credentials as its process needs them.
pub(crate) struct Revealed {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

/// Secrets of an agent that may be alive at once.
const MOST: usize = 2;
/// Days that a secret may be given at most.
pub(crate) const LONGEST_LIFE: i64 = 3650;
/// A day (microseconds).
const DAY: i64 = 24 * 3600 * 1_000_000;

impl App {
    pub(super) fn new_credential(
        &self,
        agent_id: &str,
        author: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<Credential, Refused> {
        let plain = secret::new()?;
        Ok(Credential {
            id: Uuid::now_v7().to_string(),
            secret_hash: secret::hash(&plain),
            sealed: self.sealer.seal(plain.as_bytes(), agent_id)?,
            created_at: self.now(),
            created_by: author.to_owned(),
            last_used_at: None,
            last_address: None,
            expires_at,
            revoked_at: None,
        })
    }

    /// Whether these were the credentials of an agent until it was removed.
    pub(crate) async fn was_removed(&self, client_id: &str, client_secret: &str) -> Result<bool, Refused> {
        let agent = if is_id(client_id) { agents::by_client(self.db.pool(), client_id).await? } else { None };
        let Some((agent, removed_at)) = agent.and_then(|agent| Some((agent.id, agent.removed_at?))) else {
            return Ok(false);
        };
        let all = credentials::all(self.db.pool(), &agent).await?;
        Ok(all.iter().any(|credential| {
            credential.revoked_at == Some(removed_at) && secret::matches(client_secret, &credential.secret_hash)
        }))
    }

    /// The credentials that the agent's process needs: the newest secret that it can sign in with.
    pub(crate) async fn reveal_credentials(&self, caller: &Caller, id: &str) -> Result<Revealed, Refused> {
        require(caller, Role::Editor)?;
        let agent = self.agent(caller, id).await?;
        let now = self.now();
        let live = credentials::live(self.db.pool(), id).await?;
        // One that has ended opens nothing, though it be the newest.
        let newest = live.iter().find(|secret| secret.is_alive(now)).or(live.first());
        let newest = newest.ok_or(Refused::NotFound("a secret of this agent"))?;
        let plain = self.sealer.open(&newest.sealed, id)?;
        let client_secret =
            String::from_utf8(plain).map_err(|_error| Refused::failed("a sealed secret is not text"))?;
        let mut writing = self.db.write().await?;
        self.audit(&mut writing, caller, ("credentials.reveal", &format!("agent:{id}"), &newest.id)).await?;
        writing.commit().await?;
        Ok(Revealed { client_id: agent.client_id, client_secret })
    }

    /// Makes a second secret beside the one that is in use; from now on it is the one that is revealed. `days`: when it
    /// ends by itself; absent: never.
    pub(crate) async fn rotate_credentials(
        &self,
        caller: &Caller,
        id: &str,
        days: Option<i64>,
        once: Option<&Once>,
    ) -> Result<(), Refused> {
        require(caller, Role::Editor)?;
        let mut writing = self.db.write().await?;
        if self.done_before(&mut writing, caller, once).await?.is_some() {
            return Ok(());
        }
        let live = self.locked_credentials(&mut writing, caller, id).await?;
        if live.iter().filter(|secret| secret.is_alive(self.now())).count() >= MOST {
            let message = format!("{MOST} secrets are alive already; revoke the old one first");
            return Err(Refused::conflict("too_many_credentials", message));
        }
        let expires_at = days.map(|days| Timestamp(self.now().0 + days.clamp(1, LONGEST_LIFE) * DAY));
        let credential = self.new_credential(id, &caller.actor(), expires_at)?;
        credentials::insert(writing.on(), id, &credential).await?;
        self.note_done(&mut writing, caller, once, &credential.id).await?;
        self.audit(&mut writing, caller, ("credentials.rotate", &format!("agent:{id}"), &credential.id)).await?;
        writing.commit().await
    }

    /// All secrets that the agent has and had, without the secrets.
    pub(crate) async fn credentials(&self, caller: &Caller, id: &str) -> Result<Vec<Credential>, Refused> {
        self.agent(caller, id).await?;
        credentials::all(self.db.pool(), id).await
    }

    /// Ends a secret at once. The last one stays unless there is a key or a trust rule: an agent without any could never
    /// come back.
    pub(crate) async fn revoke_credential(
        &self,
        caller: &Caller,
        id: &str,
        credential_id: &str,
    ) -> Result<(), Refused> {
        require(caller, Role::Editor)?;
        let mut writing = self.db.write().await?;
        let live = self.locked_credentials(&mut writing, caller, id).await?;
        let now = self.now();
        let (ended, others): (Vec<_>, Vec<_>) = live.iter().partition(|secret| secret.id == credential_id);
        let ended = ended.first().ok_or(Refused::NotFound("the secret"))?;
        let is_only = others.is_empty() || (ended.is_alive(now) && !others.iter().any(|secret| secret.is_alive(now)));
        if is_only && trust::live(writing.on(), id).await?.is_empty() {
            return Err(Refused::conflict("last_credential", "it is the agent's only secret; rotate first"));
        }
        credentials::revoke(writing.on(), credential_id, now).await?;
        self.audit(&mut writing, caller, ("credentials.revoke", &format!("agent:{id}"), credential_id)).await?;
        writing.commit().await?;
        self.notifier.ring(id);
        Ok(())
    }

    /// The agent's live secrets, with nobody else at them.
    async fn locked_credentials(
        &self,
        writing: &mut Writing,
        caller: &Caller,
        id: &str,
    ) -> Result<Vec<Credential>, Refused> {
        if !agents::lock(writing.on(), &caller.account_id, id).await? {
            return Err(Refused::NotFound("the agent"));
        }
        credentials::live(writing.on(), id).await
    }
}
