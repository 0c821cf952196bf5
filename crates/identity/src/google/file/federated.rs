//! Workload identity federation: a token of another issuer, from a file or an address, or AWS's word for a role, becomes
//! one of Google (Cloud IAM, "Workload Identity Federation"; AIP-4117).

use std::collections::HashMap;

use millrace_model::SecretValue;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::aws::sign::{Signed, encoded, sign};
use crate::aws::{AwsSettings, aws, region};
use crate::fault::Cause;
use crate::google::CLOUD_PLATFORM;
use crate::google::file::exchange;
use crate::http::send;
use crate::surroundings::Surroundings;
use crate::text::SecretText;
use crate::time::moment;
use crate::token::Token;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const WANTED: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Life of an impersonated account's token.
const LIFE: &str = "3600s";

/// The file.
#[derive(Deserialize)]
pub(super) struct Federated {
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: Source,
    service_account_impersonation_url: Option<String>,
}

/// Where the other issuer's token is.
#[derive(Deserialize)]
struct Source {
    file: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    format: Format,
    environment_id: Option<String>,
    regional_cred_verification_url: Option<String>,
}

#[derive(Default, Deserialize)]
struct Format {
    subject_token_field_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: SecretText,
    expire_time: String,
}

impl Federated {
    pub(super) async fn token(&self, around: &Surroundings, scope: &str, file: &str) -> Result<Token, Cause> {
        let subject = self.subject(around, file).await?;
        let scope_asked = if self.service_account_impersonation_url.is_some() { CLOUD_PLATFORM } else { scope };
        let form = [
            ("grant_type", GRANT),
            ("audience", self.audience.as_str()),
            ("scope", scope_asked),
            ("requested_token_type", WANTED),
            ("subject_token_type", self.subject_token_type.as_str()),
            ("subject_token", subject.as_str()),
        ];
        let from = format!("the federated identity of `{file}`");
        let cure = "see that the provider of the workload identity pool accepts this issuer, audience and subject \
                    (its attribute condition and mapping)";
        let token = exchange(around, &self.token_url, &form, from, cure.into()).await?;
        match &self.service_account_impersonation_url {
            None => Ok(token),
            Some(address) => impersonate(around, address, scope, &token).await,
        }
    }

    async fn subject(&self, around: &Surroundings, file: &str) -> Result<Zeroizing<String>, Cause> {
        let source = &self.credential_source;
        let wrong = |reason: String| Cause::Wrong {
            place: format!("the credential_source of `{file}`"),
            reason,
            cure: "make the file anew with `gcloud iam workload-identity-pools create-cred-config`".into(),
        };
        let text = if source.environment_id.as_deref().is_some_and(|id| id.starts_with("aws")) {
            return self.of_aws(around).await;
        } else if let Some(path) = &source.file {
            let read = std::fs::read_to_string(path).map(Zeroizing::new);
            read.map_err(|error| wrong(format!("`{path}`: {error}")))?
        } else if let Some(address) = &source.url {
            let request = source
                .headers
                .iter()
                .fold(around.http.beside(Method::GET, address), |request, (name, value)| request.header(name, value));
            let unanswered = |said| Cause::Unanswered { identity: format!("the token at {address}"), said };
            let answer = send(request).await.map_err(unanswered)?;
            if !answer.is_success() {
                return Err(unanswered(format!("status {}", answer.status)));
            }
            Zeroizing::new(answer.text().unwrap_or_default().to_owned())
        } else {
            return Err(wrong("it has neither `file` nor `url`, and programs (`executable`) are not run".into()));
        };
        let Some(field) = &source.format.subject_token_field_name else {
            return Ok(Zeroizing::new(text.trim().to_owned()));
        };
        let object: Option<HashMap<String, Value>> = serde_json::from_str(&text).ok();
        let token = object.and_then(|object| Some(object.get(field)?.as_str()?.to_owned())).map(Zeroizing::new);
        token.ok_or_else(|| wrong(format!("the token has no text under `{field}`")))
    }

    /// AWS's word for a role: a signed `GetCallerIdentity`, which Google sends in our place.
    async fn of_aws(&self, around: &Surroundings) -> Result<Zeroizing<String>, Cause> {
        let credentials = aws(around, &AwsSettings::default()).credentials().await.map_err(Cause::Of)?;
        let wrong = |reason: &str| Cause::Wrong {
            place: "the credential_source of AWS".into(),
            reason: reason.to_owned(),
            cure: "set AWS_REGION".into(),
        };
        let region = region(around).await.ok_or_else(|| wrong("the region is not known"))?;
        let usual = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";
        let pattern = self.credential_source.regional_cred_verification_url.as_deref().unwrap_or(usual);
        let address = pattern.replace("{region}", &region);
        let url = Url::parse(&address).map_err(|_error| wrong("regional_cred_verification_url is no address"))?;
        let mut headers = HeaderMap::new();
        if let Ok(audience) = HeaderValue::from_str(&self.audience) {
            headers.insert(HeaderName::from_static("x-goog-cloud-target-resource"), audience);
        }
        let method = Method::POST;
        let signed =
            Signed { region: &region, service: "sts", method: &method, url: &url, body: b"", now: around.now() };
        sign(signed, &credentials, &mut headers);
        let headers: Vec<Value> = headers
            .iter()
            .map(|(name, value)| json!({"key": name.as_str(), "value": String::from_utf8_lossy(value.as_bytes())}))
            .collect();
        let request = json!({"url": address, "method": "POST", "headers": headers});
        Ok(Zeroizing::new(encoded(&request.to_string())))
    }
}

async fn impersonate(around: &Surroundings, address: &str, scope: &str, token: &Token) -> Result<Token, Cause> {
    let from = format!("the service account of {address}");
    let request = around.http.request(Method::POST, address).bearer_auth(token.value.reveal());
    let request = request.json(&json!({"scope": [scope], "lifetime": LIFE}));
    let unanswered = |said| Cause::Unanswered { identity: from.clone(), said };
    let answer = send(request).await.map_err(unanswered)?;
    if answer.is_passing() {
        return Err(unanswered(format!("status {}", answer.status)));
    }
    if !answer.is_success() {
        let said = answer.json::<Value>().and_then(|it| Some(it.pointer("/error/message")?.as_str()?.to_owned()));
        let cure = "grant the federated identity roles/iam.workloadIdentityUser on the service account".into();
        return Err(Cause::Refused { identity: from, said: said.unwrap_or_default(), cure });
    }
    let what = "it has no token";
    let not_understood = || Cause::Answer { identity: from.clone(), service: address.to_owned(), what };
    let given: Impersonated = answer.json().ok_or_else(not_understood)?;
    let expires = moment(&given.expire_time).ok_or_else(not_understood)?;
    Ok(Token { value: SecretValue::new(&*given.access_token), expires, from })
}
