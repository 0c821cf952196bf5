//! The token endpoint's work: client credentials in, access token out; and the way back from a token to its caller.

use crate::auth::token::Audience;
use crate::auth::{Caller, Principal, Role, secret};
use crate::db::accounts;
use crate::db::agents::{self, Agent};
use crate::fault::Refused;

use super::App;

impl App {
    /// A token for the API client or agent with these credentials; `None`: `invalid_client`.
    pub(crate) async fn token(&self, client_id: &str, client_secret: &str) -> Result<Option<String>, Refused> {
        let now = self.now();
        if let Some(client) = accounts::client(self.db.pool(), client_id).await? {
            if !secret::matches(client_secret, &client.secret_hash) {
                return Ok(None);
            }
            let subject = (client.id.as_str(), client.account_id.as_str(), client.id.as_str());
            return self.tokens.issue(Audience::Api, subject, now).map(Some);
        }
        let Some(agent) = agents::by_client(self.db.pool(), client_id).await? else { return Ok(None) };
        let credentials = agents::credentials(self.db.pool(), &agent.id).await?;
        let right = credentials.into_iter().find(|credential| {
            secret::matches(client_secret, &credential.secret_hash) && credential.expires_at.is_none_or(|at| at > now)
        });
        let Some(credential) = right else { return Ok(None) };
        let mut writing = self.db.write().await?;
        agents::credential_used(writing.on(), &credential.id, now).await?;
        writing.commit().await?;
        let subject = (agent.id.as_str(), agent.account_id.as_str(), credential.id.as_str());
        self.tokens.issue(Audience::Gateway, subject, now).map(Some)
    }

    /// The caller of the API that shows this token.
    pub(crate) async fn api_caller(&self, token: &str, address: &str) -> Result<Caller, Refused> {
        let refused = || Refused::Unauthenticated("the token is not valid, or has expired".into());
        let claims = self.tokens.verify(token, Audience::Api, self.now()).ok_or_else(refused)?;
        let client = accounts::client(self.db.pool(), &claims.sub).await?.ok_or_else(refused)?;
        let role = Role::from_word(&client.role).ok_or_else(|| Refused::failed("a role that is none"))?;
        Ok(Caller {
            account_id: client.account_id,
            principal: Principal::Client(client.id),
            role,
            address: address.to_owned(),
        })
    }

    /// The agent that shows this token, unless its secret was revoked. A removed agent is told apart by the caller.
    pub(crate) async fn gateway_agent(&self, token: &str) -> Result<Agent, Refused> {
        let refused = || Refused::Unauthenticated("the token is not valid, or has expired".into());
        let claims = self.tokens.verify(token, Audience::Gateway, self.now()).ok_or_else(refused)?;
        let agent = agents::by_id(self.db.pool(), &claims.sub).await?.ok_or_else(refused)?;
        if agent.removed_at.is_some() {
            return Ok(agent);
        }
        let credentials = agents::credentials(self.db.pool(), &agent.id).await?;
        if !credentials.iter().any(|credential| credential.id == claims.credential) {
            return Err(refused());
        }
        Ok(agent)
    }
}
