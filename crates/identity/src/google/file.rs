//! Credentials files of Google: a service account's key, a federated identity, a user's login.
//!
//! Impersonating another service account from a login (`impersonated_service_account`) is not built.

mod federated;

use std::path::PathBuf;

use async_trait::async_trait;
use millrace_model::SecretValue;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::fault::{Cause, Nothing};
use crate::http::send;
use crate::jwt::{Algorithm, Key};
use crate::surroundings::Surroundings;
use crate::text::SecretText;
use crate::time::{after, unix};
use crate::token::{Step, Token};
use federated::Federated;

const TOKENS: &str = "https://oauth2.googleapis.com/token";
const BY_ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest life that Google lets an assertion have, in seconds; that of the token is the same.
const ASSERTION: i64 = 3600;
/// Where `gcloud auth application-default login` leaves its file.
const LEFT: &str = ".config/gcloud/application_default_credentials.json";

pub(super) struct CredentialsFile;

/// The file, by its `type`.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(User),
    ExternalAccount(Box<Federated>),
}

#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: SecretText,
    private_key_id: String,
    token_uri: Option<String>,
}

#[derive(Deserialize)]
struct User {
    client_id: String,
    client_secret: SecretText,
    refresh_token: SecretText,
    token_uri: Option<String>,
}

#[async_trait]
impl Step for CredentialsFile {
    async fn obtain(&self, around: &Surroundings, scope: &str) -> Result<Token, Nothing> {
        let set = around.variable("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from);
        let left = || around.in_home(LEFT).filter(|file| file.is_file());
        let Some(file) = set.or_else(left) else {
            let reason = "GOOGLE_APPLICATION_CREDENTIALS is not set, and gcloud left no file in the home folder";
            return Err(Nothing::Absent(reason.into()));
        };
        let shown = file.display().to_string();
        let wrong = |reason: String| Cause::Wrong {
            place: format!("the credentials file `{shown}`"),
            reason,
            cure: "give the JSON file of a service account's key or of a workload identity federation".into(),
        };
        // Read anew each time: keys are rotated.
        let text = std::fs::read(&file).map(Zeroizing::new).map_err(|error| wrong(error.to_string()))?;
        // The parser's own words are left out: they may quote a key.
        let content: Content = serde_json::from_slice(&text).map_err(|_hidden| {
            wrong(
                "it is not of type service_account, external_account or authorized_user, or a field is missing".into(),
            )
        })?;
        Ok(match content {
            Content::ServiceAccount(account) => account.token(around, scope, &wrong).await?,
            Content::AuthorizedUser(user) => user.token(around).await?,
            Content::ExternalAccount(federated) => federated.token(around, scope, &shown).await?,
        })
    }
}

impl ServiceAccount {
    async fn token(
        &self,
        around: &Surroundings,
        scope: &str,
        wrong: &impl Fn(String) -> Cause,
    ) -> Result<Token, Cause> {
        let now = unix(around.now());
        let address = self.token_uri.as_deref().unwrap_or(TOKENS);
        let claims =
            json!({"iss": self.client_email, "scope": scope, "aud": address, "iat": now, "exp": now + ASSERTION});
        let key = Key::of_pem(&self.private_key).map_err(wrong)?;
        let assertion = key.sign(Algorithm::Rs256, json!({"kid": self.private_key_id}), &claims).map_err(wrong)?;
        let email = &self.client_email;
        let cure = format!(
            "give a key of {email} that is active (`gcloud iam service-accounts keys list --iam-account={email}`), and see \
             that this machine's clock is right"
        );
        let from = format!("the service account {email} by its key {}", self.private_key_id);
        exchange(around, address, &[("grant_type", BY_ASSERTION), ("assertion", &assertion)], from, cure).await
    }
}

impl User {
    async fn token(&self, around: &Surroundings) -> Result<Token, Cause> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", &*self.client_secret),
            ("refresh_token", &*self.refresh_token),
        ];
        let from = "the login of `gcloud auth application-default login`".to_owned();
        let cure = "log in again with `gcloud auth application-default login`, or use a service account".into();
        exchange(around, self.token_uri.as_deref().unwrap_or(TOKENS), &form, from, cure).await
    }
}

#[derive(Deserialize)]
struct Given {
    access_token: SecretText,
    expires_in: i64,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Trades a proof for a token (RFC 6749, 7523, 8693).
async fn exchange(
    around: &Surroundings,
    address: &str,
    form: &[(&str, &str)],
    from: String,
    cure: String,
) -> Result<Token, Cause> {
    let request = around.http.request(Method::POST, address).form(form);
    let answer = send(request).await.map_err(|said| Cause::Unanswered { identity: from.clone(), said })?;
    if answer.is_success() {
        let not_understood =
            || Cause::Answer { identity: from.clone(), service: address.to_owned(), what: "it has no token" };
        let given: Given = answer.json().ok_or_else(not_understood)?;
        let value = SecretValue::new(&*given.access_token);
        return Ok(Token { value, expires: after(around.now(), given.expires_in), from });
    }
    let Said { error, error_description } = answer.json().unwrap_or_default();
    let said = format!("status {}: {error}: {error_description}", answer.status);
    if answer.is_passing() {
        return Err(Cause::Unanswered { identity: from, said });
    }
    Err(Cause::Refused { identity: from, said, cure })
}
