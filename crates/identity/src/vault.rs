//! HashiCorp Vault: a token, and what is read with it.

mod login;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use millrace_model::{Fault, SecretValue, Timestamp};
use reqwest::{Method, Url};
use serde::Deserialize;
use tracing::warn;

use crate::fault::Cause;
use crate::http::{Answer, hidden, send};
use crate::kept::{Expiring, Kept};
use crate::surroundings::Surroundings;
use crate::text::SecretText;
use login::Login;

/// A token of Vault.
pub struct VaultToken {
    /// The token.
    pub value: SecretValue,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
    /// Whether its end can be put off.
    pub(crate) is_renewable: bool,
    /// The policies that it carries.
    pub policies: Vec<String>,
}

impl fmt::Debug for VaultToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultToken({:?})", self.policies)
    }
}

impl Expiring for VaultToken {
    fn expires(&self) -> Option<Timestamp> {
        self.expires
    }
}

/// A Vault, and this process's identity there.
pub struct VaultClient {
    server: Server,
    login: Login,
    kept: Kept<VaultToken>,
    /// The token that was got last, to be renewed.
    last: RwLock<Option<Arc<VaultToken>>>,
}

/// The server, without an identity.
pub(crate) struct Server {
    pub(crate) around: Surroundings,
    address: Url,
    namespace: Option<String>,
}

/// What was found at a path.
pub enum VaultRead {
    /// It is there.
    Found(Answer),
    /// Nothing, or nothing any more: the answer may say since when.
    Missing(Answer),
    /// The token is good, but none of its policies allows it.
    Denied {
        /// Whose token it is.
        identity: String,
        /// What it carries.
        policies: Vec<String>,
    },
    /// Another refusal, in Vault's words.
    Refused(String),
}

impl VaultClient {
    /// The Vault of `VAULT_ADDR`. Nothing is asked yet.
    pub fn new(around: &Surroundings) -> Result<Self, Fault> {
        let around = match around.variable("VAULT_CACERT") {
            Some(file) => around.trusting(file.into())?,
            None => around.clone(),
        };
        let wrong = |reason: String| {
            let cure = "set VAULT_ADDR to its address, for example https://vault.internal:8200".into();
            Cause::Wrong { place: "VAULT_ADDR".into(), reason, cure }
        };
        let address = around.variable("VAULT_ADDR").ok_or_else(|| wrong("it is not set".into()))?;
        let address = Url::parse(&address).map_err(|error| wrong(error.to_string()))?;
        if !matches!(address.scheme(), "http" | "https") || address.cannot_be_a_base() {
            return Err(wrong("it is no address of a web server".into()).into());
        }
        if address.scheme() == "http" && !is_local(&address) {
            warn!(code = "ID-005", "VAULT_ADDR is not encrypted: whoever listens reads tokens and secrets");
        }
        let namespace = around.variable("VAULT_NAMESPACE");
        let login = Login::of(&around)?;
        let server = Server { around, address, namespace };
        Ok(Self { server, login, kept: Kept::default(), last: RwLock::new(None) })
    }

    /// Reads the path below `/v1/`, each piece of which is given as it is called.
    pub async fn read(&self, path: &[&str], query: Option<(&str, &str)>) -> Result<VaultRead, Fault> {
        let mut is_new = false;
        loop {
            let token = self.token().await?;
            let answer = self.server.ask(Method::GET, path, query, Some(&token.value), None).await?;
            match answer.status {
                200..300 => return Ok(VaultRead::Found(answer)),
                404 => return Ok(VaultRead::Missing(answer)),
                // Vault says the same of a token that it does not know and of one that may not read this.
                403 => match self.server.look_up(&token.value).await? {
                    Some(held) => {
                        return Ok(VaultRead::Denied { identity: self.login.shown(), policies: held.policies });
                    }
                    None if is_new => return Err(self.refused("permission denied".into()).into()),
                    None => {
                        self.kept.forget(&token);
                        *self.last.write().unwrap_or_else(PoisonError::into_inner) = None;
                        is_new = true;
                    }
                },
                _ => return Ok(VaultRead::Refused(said(&answer))),
            }
        }
    }

    /// The token to ask with now.
    pub async fn token(&self) -> Result<Arc<VaultToken>, Fault> {
        let token = self.kept.get(&self.server.around, "the Vault token", self.obtain()).await?;
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&token));
        Ok(token)
    }

    /// Renews the last token, or signs in for another one.
    async fn obtain(&self) -> Result<VaultToken, Fault> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(last) = last.filter(|last| last.is_renewable) {
            match self.server.renew(&last.value).await {
                // A token that has come to its longest life is not renewed beyond it.
                Ok(Some(token)) if token.expires > last.expires => return Ok(token),
                Ok(_) => {}
                Err(Cause::Unanswered { identity, said }) => return Err(Cause::Unanswered { identity, said }.into()),
                Err(_signed_in_for_instead) => {}
            }
        }
        self.login.obtain(&self.server).await.map_err(|cause| {
            if let Cause::Refused { said, .. } = cause { self.refused(said).into() } else { cause.into() }
        })
    }

    fn refused(&self, said: String) -> Cause {
        Cause::Refused { identity: self.login.shown(), said, cure: self.login.cure() }
    }
}

/// What Vault answers about a token, and to a login.
#[derive(Deserialize)]
struct About {
    auth: Option<Auth>,
    data: Option<Held>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: SecretText,
    #[serde(default)]
    lease_duration: i64,
    #[serde(default)]
    renewable: bool,
    #[serde(default)]
    policies: Vec<String>,
}

/// A token as it stands.
#[derive(Deserialize)]
pub(crate) struct Held {
    #[serde(default)]
    pub(crate) ttl: i64,
    #[serde(default)]
    pub(crate) renewable: bool,
    #[serde(default)]
    pub(crate) policies: Vec<String>,
}

impl Server {
    /// Asks for a path below `/v1/`; a missing answer, and one that will be another one later, is a cause.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: Option<(&str, &str)>,
        token: Option<&SecretValue>,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, Cause> {
        let unanswered = |said| Cause::Unanswered { identity: format!("an answer of Vault at {}", self.address), said };
        let mut url = self.address.clone();
        if let Ok(mut pieces) = url.path_segments_mut() {
            pieces.pop_if_empty().push("v1").extend(path);
        }
        if let Some((name, value)) = query {
            url.query_pairs_mut().append_pair(name, value);
        }
        // Required by agents and proxies of Vault against forged requests.
        let mut request = self.around.http.request(method, url.as_str()).header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace.trim_matches('/'));
        }
        if let Some(token) = token {
            request = request.header("x-vault-token", hidden(token.reveal()));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = send(request).await.map_err(unanswered)?;
        // 472 and 473: a replica for recovery or performance that cannot answer now.
        if answer.is_passing() || matches!(answer.status, 412 | 472 | 473) {
            return Err(unanswered(said(&answer)));
        }
        Ok(answer)
    }

    /// What a token is; `None` where Vault does not know it.
    pub(crate) async fn look_up(&self, token: &SecretValue) -> Result<Option<Held>, Cause> {
        let answer = self.ask(Method::GET, &["auth", "token", "lookup-self"], None, Some(token), None).await?;
        Ok(answer.json::<About>().filter(|_| answer.is_success()).and_then(|about| about.data))
    }

    /// Puts off a token's end; `None` where that is refused.
    pub(crate) async fn renew(&self, token: &SecretValue) -> Result<Option<VaultToken>, Cause> {
        let path = ["auth", "token", "renew-self"];
        let answer = self.ask(Method::POST, &path, None, Some(token), Some(&serde_json::json!({}))).await?;
        Ok(if answer.is_success() { self.token(&answer) } else { None })
    }

    /// Signs in.
    pub(crate) async fn sign_in(&self, mount: &str, body: &serde_json::Value) -> Result<VaultToken, Cause> {
        let path: Vec<&str> = ["auth"].into_iter().chain(mount.trim_matches('/').split('/')).chain(["login"]).collect();
        let answer = self.ask(Method::POST, &path, None, None, Some(body)).await?;
        if !answer.is_success() {
            let cure = String::new();
            return Err(Cause::Refused { identity: format!("the login at auth/{mount}"), said: said(&answer), cure });
        }
        self.token(&answer).ok_or_else(|| Cause::Answer {
            identity: format!("the login at auth/{mount}"),
            service: "Vault".into(),
            what: "it has no token",
        })
    }

    fn token(&self, answer: &Answer) -> Option<VaultToken> {
        let auth = answer.json::<About>()?.auth?;
        Some(VaultToken {
            value: SecretValue::new(&*auth.client_token),
            expires: self.end(auth.lease_duration),
            is_renewable: auth.renewable,
            policies: auth.policies,
        })
    }

    /// A life of nothing is one without an end.
    pub(crate) fn end(&self, seconds: i64) -> Option<Timestamp> {
        (seconds > 0).then(|| crate::time::after(self.around.now(), seconds))
    }
}

#[derive(Default, Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

/// Vault's own words.
fn said(answer: &Answer) -> String {
    let errors = answer.json::<Errors>().unwrap_or_default().errors;
    let words: Vec<&str> =
        errors.iter().flat_map(|error| error.split_whitespace()).filter(|word| *word != "*").collect();
    if words.is_empty() { format!("status {}", answer.status) } else { words.join(" ") }
}

fn is_local(url: &Url) -> bool {
    matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}
