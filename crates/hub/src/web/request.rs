//! What a request carries beside its body: its caller, its page, and the way a body is read.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::auth::Caller;
use crate::db::agents::Agent;
use crate::fault::Refused;

/// A caller of the API with a valid token, of the account that `account-id` names.
pub(crate) struct ApiCaller(pub(crate) Caller);

/// An agent at the gateway.
pub(crate) struct GatewayAgent(pub(crate) Agent);

/// A JSON body; anything wrong with it is a problem, not a plain text.
pub(crate) struct Body<T>(pub(crate) T);

/// Which page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) page: i64,
    pub(crate) size: i64,
}

const SIZE: i64 = 25;
const LARGEST: i64 = 100;

pub(crate) fn address_of(parts: &Parts) -> String {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(String::new, |info| info.0.ip().to_string())
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| token.trim()).ok_or_else(|| {
        Refused::Unauthenticated("send `Authorization: Bearer TOKEN`; /oauth/dpc/token gives tokens".into())
    })
}

impl FromRequestParts<Arc<App>> for ApiCaller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let caller = app.api_caller(bearer(&parts.headers)?, &address_of(parts)).await?;
        if let Some(account) = parts.headers.get("account-id")
            && account.as_bytes() != caller.account_id.as_bytes()
        {
            return Err(Refused::Forbidden("the token belongs to another account than `account-id` names".into()));
        }
        Ok(Self(caller))
    }
}

impl FromRequestParts<Arc<App>> for GatewayAgent {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let agent = app.gateway_agent(bearer(&parts.headers)?).await?;
        if agent.removed_at.is_some() {
            return Err(Refused::Gone {
                code: millrace_protocol::gateway::refusal::AGENT_REMOVED,
                message: "this agent was removed from the hub".into(),
            });
        }
        Ok(Self(agent))
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refused> {
        let bytes = axum::body::Bytes::from_request(request, app)
            .await
            .map_err(|error| Refused::invalid("", format!("the body cannot be read: {error}")))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Refused::invalid("", error.to_string()))
    }
}

impl FromRequestParts<Arc<App>> for Page {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, app)
            .await
            .map_err(|error| Refused::invalid("", error.to_string()))?;
        let number = |name: &str, default: i64, least: i64| match pairs.iter().find(|(key, _)| key == name) {
            None => Ok(default),
            Some((_, text)) => match text.parse::<i64>() {
                Ok(number) if number >= least => Ok(number),
                _ => Err(Refused::invalid(name, format!("must be a whole number from {least}"))),
            },
        };
        Ok(Self { page: number("page", 0, 0)?, size: number("size", SIZE, 1)?.min(LARGEST) })
    }
}
