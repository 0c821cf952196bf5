//! One HTTP request and its whole answer. Nothing is followed and nothing is asked twice here.

use std::time::Duration;

use bytes::Bytes;
use millrace_model::Fault;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Method};

use super::answer::Answer;

/// For a connection to stand.
const CONNECT: Duration = Duration::from_secs(10);
/// For an answer, beyond the time that the bytes take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A connection this slow is taken for a dead one: bytes in a second.
const SLOWEST: u64 = 256 << 10;
/// Services close connections after a while of silence; ours go before.
const IDLE: Duration = Duration::from_secs(15);

/// A client for one service.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    /// Connects nothing yet.
    pub(crate) fn new() -> Result<Self, Fault> {
        let _set_already = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .redirect(Policy::none())
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| super::unfit(format!("no HTTP client can be made: {error}")))?;
        Ok(Self { client })
    }

    /// Asks once.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<Reply, Answer> {
        let patience = PATIENCE + Duration::from_secs(body.len() as u64 / SLOWEST);
        let mut request = self.client.request(method.clone(), url);
        for (name, value) in headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|error| refused(name, &error))?;
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|error| refused(name.as_str(), &error))?;
            value.set_sensitive(name == "authorization" || name.as_str().ends_with("token"));
            request = request.header(name, value);
        }
        // A request with a method that has a body says its length, be it 0.
        if !body.is_empty() || matches!(method, Method::PUT | Method::POST) {
            request = request.header("content-length", body.len()).body(Body::from(body));
        }
        let answered = tokio::time::timeout(patience, request.send()).await;
        let response = answered.map_err(|_elapsed| late(patience))?.map_err(|error| lost(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let patience = PATIENCE + Duration::from_secs(response.content_length().unwrap_or(0) / SLOWEST);
        let body = tokio::time::timeout(patience, response.bytes()).await;
        let body = body.map_err(|_elapsed| late(patience))?.map_err(|error| lost(&error))?;
        Ok(Reply { status, headers, body })
    }
}

impl Reply {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn refused(name: &str, error: &dyn std::fmt::Display) -> Answer {
    Answer::Refused(format!("the header {name} cannot be sent: {error}"))
}

fn late(patience: Duration) -> Answer {
    Answer::Later(format!("no answer within {} s", patience.as_secs()))
}

/// The whole chain of reasons: the first alone says only that sending failed. Without the URL, which may be signed.
fn lost(error: &reqwest::Error) -> Answer {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(reason) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&reason.to_string());
        cause = reason.source();
    }
    Answer::Later(if text.is_empty() { "the connection was lost".into() } else { text })
}
