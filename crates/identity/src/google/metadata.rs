//! The metadata server of Google Cloud, which speaks for the service account of the machine or the pod.

use async_trait::async_trait;
use millrace_model::{Fault, SecretValue};
use reqwest::Method;
use serde::Deserialize;

use crate::aws::sign::encoded;
use crate::fault::{Cause, Nothing};
use crate::http::{Answer, send};
use crate::surroundings::Surroundings;
use crate::text::SecretText;
use crate::time::after;
use crate::token::{Step, Token};

const HOST: &str = "metadata.google.internal";
const FLAVOUR: &str = "metadata-flavor";

pub(super) struct Metadata;

#[derive(Deserialize)]
struct Given {
    access_token: SecretText,
    expires_in: i64,
}

#[async_trait]
impl Step for Metadata {
    async fn obtain(&self, around: &Surroundings, scope: &str) -> Result<Token, Nothing> {
        let path = format!("instance/service-accounts/default/token?scopes={scope}");
        let answer = ask(around, &path).await.map_err(Nothing::Absent)?;
        let from = "the service account of this machine or pod".to_owned();
        match answer.status {
            200 => {
                let what = "it has no token";
                let service = "the metadata server".to_owned();
                let given: Given =
                    answer.json().ok_or_else(|| Cause::Answer { identity: from.clone(), service, what })?;
                let value = SecretValue::new(&*given.access_token);
                Ok(Token { value, expires: after(around.now(), given.expires_in), from })
            }
            404 => Err(Nothing::Absent("this machine has no service account (the metadata server answers 404)".into())),
            status if answer.is_passing() => {
                Err(Cause::Unanswered { identity: from, said: format!("status {status}") }.into())
            }
            status => {
                let said = format!("status {status}: {}", answer.text().unwrap_or_default().trim());
                let cure = "give the machine or pod a service account with the scope cloud-platform".into();
                Err(Cause::Refused { identity: from, said, cure }.into())
            }
        }
    }
}

/// A token that says to somebody outside who the service account is, with everything that is known of it.
pub(crate) async fn identity_token(around: &Surroundings, audience: &str) -> Result<SecretValue, Fault> {
    let from = "the identity token of this machine or pod".to_owned();
    let path = format!("instance/service-accounts/default/identity?audience={}&format=full", encoded(audience));
    let answer = ask(around, &path).await.map_err(|said| Cause::Unanswered { identity: from.clone(), said })?;
    let text = answer.text().unwrap_or_default().trim();
    match answer.status {
        200 if text.split('.').count() == 3 => Ok(SecretValue::new(text)),
        200 => {
            Err(Cause::Answer { identity: from, service: "the metadata server".into(), what: "it has no token" }.into())
        }
        status if answer.is_passing() => {
            Err(Cause::Unanswered { identity: from, said: format!("status {status}") }.into())
        }
        status => {
            let cure = "give the machine or pod a service account".into();
            Err(Cause::Refused { identity: from, said: format!("status {status}: {text}"), cure }.into())
        }
    }
}

/// The project that the process runs in; `None` where it does not run in one.
pub async fn project(around: &Surroundings) -> Result<Option<String>, Fault> {
    let Ok(answer) = ask(around, "project/project-id").await else { return Ok(None) };
    if answer.is_passing() {
        let said = format!("status {}", answer.status);
        return Err(Cause::Unanswered { identity: "the project of this machine or pod".into(), said }.into());
    }
    Ok(answer.text().filter(|_| answer.status == 200).map(|text| text.trim().to_owned()))
}

/// Asks; the error says in words why nothing of it is to be had.
async fn ask(around: &Surroundings, path: &str) -> Result<Answer, String> {
    let host = around.variable("GCE_METADATA_HOST").unwrap_or_else(|| HOST.into());
    let address = format!("http://{host}/computeMetadata/v1/{path}");
    let request = around.http.beside(Method::GET, &address).header(FLAVOUR, "Google");
    let answer =
        send(request).await.map_err(|said| format!("the metadata server at {host} does not answer: {said}"))?;
    // Whoever answers without this is another service, to which no one's word is given. What stands before a server that is
    // down does not say it either.
    match answer.header(FLAVOUR) {
        Some("Google") => Ok(answer),
        _ if answer.is_passing() => Ok(answer),
        _ => Err(format!("what answers at {host} is no metadata server of Google")),
    }
}
