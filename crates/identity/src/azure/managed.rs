//! Managed identities: tokens that the platform hands out beside the process, with nothing to keep.
//!
//! `AZURE_CLIENT_ID` chooses a user-assigned one.

use async_trait::async_trait;
use millrace_model::{SecretValue, Timestamp};
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::Value;

use crate::fault::{Cause, Nothing};
use crate::http::{hidden, send};
use crate::surroundings::Surroundings;
use crate::text::SecretText;
use crate::token::{Step, Token};

const MACHINE: &str = "http://169.254.169.254";

/// App Service, Functions and Container Apps: `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
pub(super) struct Platform;
/// A machine, a container instance or a pod on one: the instance metadata service.
pub(super) struct Machine;

#[async_trait]
impl Step for Platform {
    async fn obtain(&self, around: &Surroundings, scope: &str) -> Result<Token, Nothing> {
        let Some(endpoint) = around.variable("IDENTITY_ENDPOINT") else {
            return Err(Nothing::Absent("IDENTITY_ENDPOINT is not set".into()));
        };
        let header = around.variable("IDENTITY_HEADER").ok_or_else(|| Cause::Wrong {
            place: "IDENTITY_ENDPOINT".into(),
            reason: "IDENTITY_HEADER is not set".into(),
            cure: "leave both as the platform sets them".into(),
        })?;
        let request = around.http.beside(Method::GET, &address(around, &endpoint, scope, "2019-08-01")?);
        let request = request.header("x-identity-header", hidden(&header));
        let from = format!("the managed identity{} of IDENTITY_ENDPOINT", chosen(around));
        Ok(ask(request, from).await.map_err(|(cause, _)| cause)?)
    }
}

#[async_trait]
impl Step for Machine {
    async fn obtain(&self, around: &Surroundings, scope: &str) -> Result<Token, Nothing> {
        // The variable is of the pod identities of old, and what the vendor's own clients understand.
        let host = around.variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| MACHINE.into());
        let endpoint = format!("{}/metadata/identity/oauth2/token", host.trim_end_matches('/'));
        let request = around.http.beside(Method::GET, &address(around, &endpoint, scope, "2018-02-01")?);
        let from = format!("the managed identity{} of this machine", chosen(around));
        ask(request.header("metadata", "true"), from).await.map_err(|(cause, was_asked)| {
            if was_asked {
                return Nothing::Failed(cause);
            }
            Nothing::Absent(format!("the metadata service of Azure at {host} gives nothing: {cause}"))
        })
    }
}

/// Where a token for the scope is asked for.
fn address(around: &Surroundings, endpoint: &str, scope: &str, version: &str) -> Result<String, Cause> {
    let mut url = Url::parse(endpoint).map_err(|error| Cause::Wrong {
        place: format!("the address `{endpoint}`"),
        reason: error.to_string(),
        cure: "leave IDENTITY_ENDPOINT as the platform sets it".into(),
    })?;
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
    if let Some(client) = around.variable("AZURE_CLIENT_ID") {
        url.query_pairs_mut().append_pair("client_id", &client);
    }
    Ok(url.into())
}

fn chosen(around: &Surroundings) -> String {
    around.variable("AZURE_CLIENT_ID").map_or_else(String::new, |client| format!(" {client}"))
}

/// Numbers come as texts.
#[derive(Deserialize)]
struct Given {
    access_token: SecretText,
    expires_on: Value,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    error: Value,
    #[serde(default, alias = "message")]
    error_description: String,
}

/// With a cause comes whether there was any answer.
async fn ask(request: RequestBuilder, from: String) -> Result<Token, (Cause, bool)> {
    let unanswered = |said| Cause::Unanswered { identity: from.clone(), said };
    let answer = send(request).await.map_err(|said| (unanswered(said), false))?;
    if answer.is_success() {
        let not_understood = |what| {
            let service = "the platform's token service".into();
            (Cause::Answer { identity: from.clone(), service, what }, true)
        };
        let given: Given = answer.json().ok_or_else(|| not_understood("it has no token"))?;
        let end = given.expires_on.as_i64().or_else(|| given.expires_on.as_str()?.parse().ok());
        let end = end.ok_or_else(|| not_understood("its end is no time"))?;
        let value = SecretValue::new(&*given.access_token);
        return Ok(Token { value, expires: Timestamp(end.saturating_mul(1_000_000)), from });
    }
    let said: Said = answer.json().unwrap_or_default();
    let said =
        format!("status {} {}: {}", answer.status, said.error.as_str().unwrap_or_default(), said.error_description);
    // 404 and 410: the service is being started or updated, as its documentation has it.
    if answer.is_passing() || matches!(answer.status, 404 | 410) {
        return Err((unanswered(said), true));
    }
    let cure = "assign a managed identity to this app, container or machine; where it has several, set AZURE_CLIENT_ID to \
                the client id of one that is assigned here";
    Err((Cause::Refused { identity: from, said, cure: cure.into() }, true))
}
