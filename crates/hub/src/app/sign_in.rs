//! The token endpoint's work: client credentials in, access token out; and the way back from a token to its caller.

use crate::auth::addresses::Allowed;
use crate::auth::token::Audience;
use crate::auth::{Caller, Principal, Role, secret};
use crate::db::agents::{self, Agent};
use crate::db::used::{self, Used};
use crate::db::{audit, clients, credentials, trust};
use crate::fault::Refused;

use super::{App, is_id};

/// An API client or an agent whose secret was right.
struct Recognised {
    audience: Audience,
    subject: String,
    account_id: String,
    credential_id: String,
    actor: String,
}

impl App {
    /// A token for the API client or agent with these credentials; `None`: `invalid_client`. Too many failures in a minute
    /// are told to wait; who has the right secret never is.
    pub(crate) async fn token(
        &self,
        (client_id, client_secret): (&str, &str),
        address: &str,
    ) -> Result<Option<String>, Refused> {
        let now = self.now();
        let known = if is_id(client_id) { self.recognise(client_id, client_secret).await? } else { None };
        let Some(known) = known else {
            self.failed_sign_in(client_id, address, ("", "invalid_client")).await?;
            return Ok(None);
        };
        let mut writing = self.db.write().await?;
        let of = match known.audience {
            Audience::Gateway => Used::Credential,
            Audience::Api => Used::Client,
        };
        used::note(writing.on(), (of, &known.credential_id), address, now).await?;
        let entry = audit::Entry {
            account_id: Some(&known.account_id),
            actor: &known.actor,
            address,
            action: "token.issue",
            object: &known.actor,
            detail: &known.credential_id,
            outcome: "done",
        };
        audit::add(writing.on(), entry, now).await?;
        writing.commit().await?;
        let subject = (known.subject.as_str(), known.account_id.as_str(), known.credential_id.as_str());
        self.tokens.issue(known.audience, subject, now).map(Some)
    }

    /// Whose credentials these are.
    async fn recognise(&self, client_id: &str, client_secret: &str) -> Result<Option<Recognised>, Refused> {
        if let Some(client) = clients::by_id(self.db.pool(), client_id).await? {
            return Ok(secret::matches(client_secret, &client.secret_hash).then(|| Recognised {
                audience: Audience::Api,
                actor: format!("client:{}", client.id),
                account_id: client.account_id,
                credential_id: client.id.clone(),
                subject: client.id,
            }));
        }
        let Some(agent) = agents::by_client(self.db.pool(), client_id).await? else { return Ok(None) };
        let now = self.now();
        let right = credentials::live(self.db.pool(), &agent.id)
            .await?
            .into_iter()
            .find(|credential| secret::matches(client_secret, &credential.secret_hash) && credential.is_alive(now));
        Ok(right.map(|credential| Recognised {
            audience: Audience::Gateway,
            actor: format!("agent:{}", agent.id),
            account_id: agent.account_id,
            credential_id: credential.id,
            subject: agent.id,
        }))
    }

    /// Counts a failure and writes it down, with what is known of why; too many in a minute are told to wait.
    pub(super) async fn failed_sign_in(
        &self,
        client_id: &str,
        address: &str,
        why: (&str, &str),
    ) -> Result<(), Refused> {
        self.slow_down(client_id, address)?;
        self.audit_failure(client_id, address, why).await
    }

    /// Writes a failed sign-in down, in the account whose client was named.
    async fn audit_failure(
        &self,
        client_id: &str,
        address: &str,
        (detail, outcome): (&str, &str),
    ) -> Result<(), Refused> {
        let named = if is_id(client_id) { client_id } else { "unknown" };
        let client = clients::by_id(self.db.pool(), named).await?;
        let agent = if client.is_none() { agents::by_client(self.db.pool(), named).await? } else { None };
        let account_id = client.map(|client| client.account_id);
        let object = agent.as_ref().map_or_else(|| format!("client:{named}"), |agent| format!("agent:{}", agent.id));
        let account_id = account_id.or(agent.map(|agent| agent.account_id));
        let entry = audit::Entry {
            account_id: account_id.as_deref(),
            actor: "unknown",
            address,
            action: "token.issue",
            object: &object,
            detail,
            outcome,
        };
        let mut writing = self.db.write().await?;
        audit::add(writing.on(), entry, self.now()).await?;
        writing.commit().await
    }

    /// Writes down that an agent called from where it may not, once a minute.
    async fn audit_stranger(&self, agent: &Agent, address: &str) -> Result<(), Refused> {
        let (now, subject) = (self.now(), format!("address of {} {address}", agent.id));
        if self.throttle.count(&[(&subject, 1)], now).is_err() {
            return Ok(());
        }
        let actor = format!("agent:{}", agent.id);
        let entry = audit::Entry {
            account_id: Some(&agent.account_id),
            actor: &actor,
            address,
            action: "address.refused",
            object: &actor,
            detail: "",
            outcome: "forbidden",
        };
        let mut writing = self.db.write().await?;
        audit::add(writing.on(), entry, now).await?;
        writing.commit().await
    }

    /// The caller of the API that shows this token.
    pub(crate) async fn api_caller(&self, token: &str, address: &str) -> Result<Caller, Refused> {
        let refused = || Refused::Unauthenticated("the token is not valid, or has expired".into());
        let claims = self.tokens.verify(token, Audience::Api, self.now()).ok_or_else(refused)?;
        let client = clients::by_id(self.db.pool(), &claims.sub).await?.ok_or_else(refused)?;
        let role = Role::from_word(&client.role).ok_or_else(|| Refused::failed("a role that is none"))?;
        let lets_in = Allowed::from_json(&client.allowed)?.lets_in(address);
        let caller = Caller {
            account_id: client.account_id,
            principal: Principal::Client(client.id),
            role,
            address: address.to_owned(),
        };
        if !lets_in {
            self.audit_refusal(&caller, "address.refused", "").await?;
            return Err(not_from_here(address));
        }
        Ok(caller)
    }

    /// The agent that shows this token, unless what it was got with was revoked or has expired. A removed agent is told apart by the caller.
    pub(crate) async fn gateway_agent(&self, token: &str, address: &str) -> Result<Agent, Refused> {
        let refused = || Refused::Unauthenticated("the token is not valid, or has expired".into());
        let claims = self.tokens.verify(token, Audience::Gateway, self.now()).ok_or_else(refused)?;
        let agent = agents::by_id(self.db.pool(), &claims.sub).await?.ok_or_else(refused)?;
        if agent.removed_at.is_some() {
            return Ok(agent);
        }
        let live = credentials::live(self.db.pool(), &agent.id).await?;
        let now = self.now();
        let is_live = live.iter().any(|credential| credential.is_alive(now) && credential.id == claims.credential);
        if !is_live && !trust::is_live(self.db.pool(), &agent.id, &claims.credential).await? {
            return Err(refused());
        }
        if !Allowed::from_json(&agent.allowed)?.lets_in(address) {
            self.audit_stranger(&agent, address).await?;
            return Err(not_from_here(address));
        }
        Ok(agent)
    }
}

/// Why a call from that address is not taken.
pub(crate) fn not_from_here(address: &str) -> Refused {
    Refused::Forbidden(format!("calls from {address} are not let in; an owner of the account says from where they are"))
}
