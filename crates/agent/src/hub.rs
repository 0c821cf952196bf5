//! The way to the hub: signing in, and the three calls of `docs/specs/agent-protocol.md`.
//!
//! It says what the hub answered and decides nothing. What it signs in with is `sign_in`'s.

use std::path::Path;
use std::time::{Duration, Instant};

use millrace_model::Timestamp;
use millrace_protocol::gateway::{Goodbye, Hello, Sync, Synced, Welcome, refusal};
use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Client, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::clock::SystemClock;
use crate::fault::Cause;
use crate::settings::Settings;
use crate::sign_in::{Shown, SignIn};

/// How long an answer may take beyond the time that the hub may hold it.
const PATIENCE: Duration = Duration::from_secs(20);
/// A new token is asked for when this part of its life is left.
const RENEW_AT: f64 = 0.1;

/// RFC 7523, section 2.2.
const BY_ASSERTION: (&str, &str) = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

const CERTIFICATES: &str = "CUSTOM_CERT_LOCATION";

/// What the hub answered instead of what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Answer {
    /// No answer, or one that will be another one later.
    #[error("{0}")]
    Later(String, Option<Duration>),
    /// Another process has the lease.
    #[error("{0}")]
    Duplicate(String),
    /// Say hello again.
    #[error("the hub does not know this session")]
    UnknownSession,
    /// For good.
    #[error(transparent)]
    Final(Cause),
}

/// The client.
pub(crate) struct HubClient {
    settings: Settings,
    sign_in: SignIn,
    http: Client,
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    value: String,
    renew: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: u64,
}

/// The part of a problem that decides.
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
}

impl HubClient {
    /// Connects nothing yet.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Cause> {
        let mut builder = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("millrace-agent/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.certificates {
            for certificate in certificates(path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let http = builder.build().map_err(|error| {
            let why = format!("or the system's own certificates cannot be used: {}", plain(error));
            Cause::setting(CERTIFICATES, &why, "name PEM certificates, and install the system's (ca-certificates)")
        })?;
        Ok(Self { settings: settings.clone(), sign_in: SignIn::new(settings)?, http, token: Mutex::default() })
    }

    /// The time that the hub is told.
    pub(crate) fn clock(&self) -> Timestamp {
        let ahead = i64::try_from(self.settings.clock_ahead.as_micros()).unwrap_or_default();
        Timestamp(SystemClock::time().0.saturating_add(ahead))
    }

    /// How long a process waits for the lease of another one.
    pub(crate) fn duplicate_patience(&self) -> Duration {
        self.settings.duplicate_patience
    }

    /// `session`.
    pub(crate) async fn hello(&self, hello: &Hello) -> Result<Welcome, Answer> {
        self.call("session", hello, Duration::ZERO).await
    }

    /// `sync`.
    pub(crate) async fn sync(&self, sync: &Sync) -> Result<Synced, Answer> {
        self.call("sync", sync, Duration::from_millis(sync.wait_ms)).await
    }

    /// `goodbye`.
    pub(crate) async fn goodbye(&self, goodbye: &Goodbye) -> Result<(), Answer> {
        self.ask("goodbye", goodbye, Duration::ZERO).await.map(drop)
    }

    async fn call<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, held: Duration) -> Result<T, Answer> {
        let answer = self.ask(path, body, held).await?;
        answer
            .json()
            .await
            .map_err(|error| Answer::Later(format!("its answer is not understood: {}", plain(error)), None))
    }

    /// Asks, with a new token where the old one is refused.
    async fn ask(&self, path: &str, body: &impl Serialize, held: Duration) -> Result<Response, Answer> {
        let url = format!("{}/agent/v1/{path}", self.settings.hub_url);
        for fresh in [false, true] {
            let token = self.token(fresh).await?;
            let request = self.http.post(&url).bearer_auth(token).timeout(PATIENCE + held).json(body);
            let answer = request.send().await.map_err(|error| Answer::Later(plain(error), None))?;
            if answer.status() != StatusCode::UNAUTHORIZED || fresh {
                return judged(answer).await;
            }
        }
        Err(Answer::Later("the hub refuses its own token".into(), None))
    }

    async fn token(&self, fresh: bool) -> Result<String, Answer> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| !fresh && token.renew > Instant::now()) {
            return Ok(token.value.clone());
        }
        let shown = self.sign_in.show(self.clock()).await?;
        // As every client does; the hub takes any audience.
        let form = [("grant_type", "client_credentials"), ("audience", "millrace-gateway")];
        let request = self.http.post(format!("{}/oauth/dpc/token", self.settings.hub_url)).timeout(PATIENCE);
        let request = match &shown {
            // Form-encoded as RFC 6749 wants it; ids and secrets of ours need no escaping.
            Shown::Secret(secret) => request.basic_auth(&self.settings.client_id, Some(secret)).form(&form),
            Shown::Assertion { token, .. } => {
                let client = ("client_id", self.settings.client_id.as_str());
                request.form(&[&form[..], &[client, BY_ASSERTION, ("client_assertion", token.as_str())]].concat())
            }
        };
        let asked = Instant::now();
        let answer = request.send().await.map_err(|error| Answer::Later(plain(error), None))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let problem: Problem = answer.json().await.unwrap_or_default();
            if problem.code == refusal::AGENT_REMOVED {
                return Err(Answer::Final(Cause::Removed));
            }
            return Err(Answer::Final(self.sign_in.refused(shown)));
        }
        let answer: TokenAnswer = judged(answer)
            .await?
            .json()
            .await
            .map_err(|error| Answer::Later(format!("its token is not understood: {}", plain(error)), None))?;
        let life = Duration::from_secs(answer.expires_in);
        *kept = Some(Token { value: answer.access_token.clone(), renew: asked + life.mul_f64(1.0 - RENEW_AT) });
        Ok(answer.access_token)
    }
}

/// The certificates in a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<Certificate>, Cause> {
    let failed = |error| Cause::File { variable: CERTIFICATES, path: path.to_owned(), error };
    let refused = |why: &str| {
        let why = format!("names `{}`, which {why}", path.display());
        Cause::setting(CERTIFICATES, &why, "name a PEM file: its blocks begin with -----BEGIN CERTIFICATE-----")
    };
    let pem = std::fs::read(path).map_err(failed)?;
    let found =
        Certificate::from_pem_bundle(&pem).map_err(|error| refused(&format!("cannot be read: {}", plain(error))))?;
    if found.is_empty() { Err(refused("holds no certificate")) } else { Ok(found) }
}

/// The answer, if it is a good one; else what it means.
async fn judged(answer: Response) -> Result<Response, Answer> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let problem: Problem = answer.json().await.unwrap_or_default();
    let said = if problem.detail.is_empty() { status.to_string() } else { problem.detail };
    Err(match (status, problem.code.as_str()) {
        (StatusCode::CONFLICT, refusal::DUPLICATE_INSTANCE) => Answer::Duplicate(said),
        (StatusCode::CONFLICT, refusal::UNKNOWN_SESSION) => Answer::UnknownSession,
        (StatusCode::CONFLICT, refusal::PROTOCOL) => Answer::Final(Cause::NotSpoken(said)),
        (StatusCode::GONE, _) => Answer::Final(Cause::Removed),
        _ => Answer::Later(said, retry_after.map(Duration::from_secs)),
    })
}

/// An error of the client in words, without the address, which the log has anyway.
fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(beneath) = cause {
        text += &format!(": {beneath}");
        cause = beneath.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use millrace_model::Fault;

    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused_by_the_name_of_its_variable() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("empty.pem", ""), ("key.pem", "just text"), ("der.crt", "\u{1}\u{2}")] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let refused = Fault::from(certificates(&path).unwrap_err());
            assert_eq!(refused.code, "AG-002");
            assert!(refused.message.contains(CERTIFICATES) && refused.message.contains(name), "{refused:?}");
            assert!(refused.cure.contains("BEGIN CERTIFICATE"), "{refused:?}");
        }
        let refused = Fault::from(certificates(&folder.path().join("none")).unwrap_err());
        assert_eq!(refused.code, "AG-003");
        assert!(refused.message.contains("CUSTOM_CERT_LOCATION") && refused.message.contains("does not exist"));
        assert!(refused.cure.contains("CUSTOM_CERT_LOCATION"), "{refused:?}");
    }
}
