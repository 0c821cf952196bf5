//! Tokens of Microsoft Entra for an application that proves itself: by a secret, a certificate, or a token that
//! Kubernetes wrote (Microsoft identity platform, "OAuth 2.0 client credentials flow").

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_model::SecretValue;
use reqwest::Method;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::fault::{Cause, Nothing};
use crate::http::send;
use crate::jwt::{Algorithm, Key, block};
use crate::surroundings::Surroundings;
use crate::text::SecretText;
use crate::time::{after, unix};
use crate::token::{Step, Token};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const BY_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Life of an assertion, in seconds: it is used at once.
const ASSERTION: i64 = 300;

/// Who signs in, and where.
struct Application {
    tenant: String,
    client: String,
    address: String,
}

/// `AZURE_CLIENT_SECRET`.
pub(super) struct ClientSecret;
/// `AZURE_CLIENT_CERTIFICATE_PATH`: a PEM file with the certificate and its key.
pub(super) struct ClientCertificate;
/// `AZURE_FEDERATED_TOKEN_FILE`.
pub(super) struct Workload;

#[async_trait]
impl Step for ClientSecret {
    async fn obtain(&self, around: &Surroundings, scope: &str) -> Result<Token, Nothing> {
        let secret = Zeroizing::new(set(around, "AZURE_CLIENT_SECRET")?);
        let application = Application::of(around, "AZURE_CLIENT_SECRET")?;
        let from = format!("the application {} with AZURE_CLIENT_SECRET", application.client);
        Ok(application.sign_in(around, scope, from, &[("client_secret", &secret)]).await?)
    }
}

#[async_trait]
impl Step for ClientCertificate {
    async fn obtain(&self, around: &Surroundings, scope: &str) -> Result<Token, Nothing> {
        let file = set(around, "AZURE_CLIENT_CERTIFICATE_PATH")?;
        let application = Application::of(around, "AZURE_CLIENT_CERTIFICATE_PATH")?;
        let wrong = |reason: String| Cause::Wrong {
            place: format!("the certificate `{file}` of AZURE_CLIENT_CERTIFICATE_PATH"),
            reason,
            cure: "give a PEM file that has the certificate and its RSA key without a password".into(),
        };
        let pem = std::fs::read_to_string(&file).map(Zeroizing::new).map_err(|error| wrong(error.to_string()))?;
        let assertion = assertion(around, &application, &pem).map_err(wrong)?;
        let from = format!("the application {} with the certificate `{file}`", application.client);
        let proof = [("client_assertion_type", BY_ASSERTION), ("client_assertion", assertion.as_str())];
        Ok(application.sign_in(around, scope, from, &proof).await?)
    }
}

#[async_trait]
impl Step for Workload {
    async fn obtain(&self, around: &Surroundings, scope: &str) -> Result<Token, Nothing> {
        let file = set(around, "AZURE_FEDERATED_TOKEN_FILE")?;
        let application = Application::of(around, "AZURE_FEDERATED_TOKEN_FILE")?;
        // Read anew each time: Kubernetes replaces it before it ends.
        let token = std::fs::read_to_string(&file).map(Zeroizing::new).map_err(|error| Cause::Wrong {
            place: format!("the token file `{file}` of AZURE_FEDERATED_TOKEN_FILE"),
            reason: error.to_string(),
            cure: "label the pod with azure.workload.identity/use: \"true\"".into(),
        })?;
        let from = format!("the workload identity {} by the token in `{file}`", application.client);
        let proof = [("client_assertion_type", BY_ASSERTION), ("client_assertion", token.trim())];
        Ok(application.sign_in(around, scope, from, &proof).await?)
    }
}

fn set(around: &Surroundings, name: &str) -> Result<String, Nothing> {
    around.variable(name).ok_or_else(|| Nothing::Absent(format!("{name} is not set")))
}

fn assertion(around: &Surroundings, application: &Application, pem: &str) -> Result<String, String> {
    let certificate = block(pem, "CERTIFICATE").ok_or("it has no certificate in PEM")??;
    let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &certificate));
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_unspecified| "there are no random numbers")?;
    let now = unix(around.now());
    let claims = json!({"aud": application.address, "iss": application.client, "sub": application.client,
        "jti": URL_SAFE_NO_PAD.encode(id), "iat": now, "nbf": now, "exp": now + ASSERTION});
    Key::of_pem(pem)?.sign(Algorithm::Ps256, json!({"x5t#S256": thumbprint}), &claims)
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

impl Application {
    /// `named` is the variable that made this step the one.
    fn of(around: &Surroundings, named: &str) -> Result<Self, Cause> {
        let part = |name: &str| {
            around.variable(name).ok_or_else(|| Cause::Wrong {
                place: named.to_owned(),
                reason: format!("{name} is not set"),
                cure: format!("set {name} too, or unset {named}"),
            })
        };
        let (tenant, client) = (part("AZURE_TENANT_ID")?, part("AZURE_CLIENT_ID")?);
        let authority = around.variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.into());
        let address = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
        Ok(Self { tenant, client, address })
    }

    async fn sign_in(
        &self,
        around: &Surroundings,
        scope: &str,
        from: String,
        proof: &[(&str, &str)],
    ) -> Result<Token, Cause> {
        let who = [("grant_type", "client_credentials"), ("client_id", self.client.as_str()), ("scope", scope)];
        let request = around.http.request(Method::POST, &self.address).form(&[&who[..], proof].concat());
        let answer = send(request).await.map_err(|said| Cause::Unanswered { identity: from.clone(), said })?;
        if answer.is_success() {
            let what = "it has no token";
            let not_understood = || Cause::Answer { identity: from.clone(), service: self.address.clone(), what };
            let given: Given = answer.json().ok_or_else(not_understood)?;
            let value = SecretValue::new(&*given.access_token);
            return Ok(Token { value, expires: after(around.now(), given.expires_in), from });
        }
        let Said { error, error_description } = answer.json().unwrap_or_default();
        // What follows the sentence are numbers for Microsoft's support.
        let sentence = error_description.split(" Trace ID").next().unwrap_or_default();
        let said = format!("{error}: {}", sentence.lines().next().unwrap_or_default());
        if answer.is_passing() || error == "temporarily_unavailable" {
            return Err(Cause::Unanswered { identity: from, said });
        }
        Err(Cause::Refused { identity: from, cure: self.cure(&said), said })
    }

    fn cure(&self, said: &str) -> String {
        let (tenant, client) = (&self.tenant, &self.client);
        let has = |code: &str| said.contains(code);
        if has("AADSTS7000215") {
            "set AZURE_CLIENT_SECRET to the secret's value, not to its id".into()
        } else if has("AADSTS7000222") {
            format!("the secret has ended: `az ad app credential reset --id {client} --append` makes another one")
        } else if has("AADSTS70021") || has("AADSTS700213") || has("AADSTS700211") {
            "add a federated credential to the identity whose issuer, subject (system:serviceaccount:NAMESPACE:NAME) and \
             audience (api://AzureADTokenExchange) are those of the token"
                .into()
        } else if has("AADSTS700027") {
            format!(
                "upload the certificate: `az ad app credential reset --id {client} --append --cert @certificate.pem`"
            )
        } else if has("AADSTS90002") || has("AADSTS900023") {
            format!("correct AZURE_TENANT_ID: there is no tenant {tenant}")
        } else {
            format!("check AZURE_CLIENT_ID ({client}) and AZURE_TENANT_ID ({tenant})")
        }
    }
}
