//! One HTTP request and its whole answer. Nothing is followed and nothing is asked twice here.

use std::time::Duration;

use bytes::Bytes;
use millrace_identity::{Http, body, words};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method};

use super::answer::Answer;

/// For an answer, beyond the time that the bytes take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A connection this slow is taken for a dead one: bytes in a second.
const SLOWEST: u64 = 256 << 10;
/// The client's own patience, which knows nothing of a request's size, must not come before the one here.
const NEVER: Duration = Duration::from_hours(24);
/// What a lake has read whole, commits and archives, stays far below; of data files all that keep to the usual
/// `file.max.bytes`.
const LARGEST: usize = 1 << 30;

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Asks once.
pub(crate) async fn send(
    http: &Http,
    method: Method,
    url: &str,
    headers: HeaderMap,
    sent: Bytes,
) -> Result<Reply, Answer> {
    let patience = PATIENCE + Duration::from_secs(sent.len() as u64 / SLOWEST);
    let mut request = http.request(method.clone(), url).timeout(NEVER).headers(headers);
    // A request with a method that has a body says its length, be it 0.
    if !sent.is_empty() || matches!(method, Method::PUT | Method::POST) {
        request = request.header(CONTENT_LENGTH, sent.len()).body(Body::from(sent));
    }
    let answered = tokio::time::timeout(patience, request.send()).await;
    let response = answered.map_err(|_elapsed| late(patience))?.map_err(|error| Answer::Later(words(error)))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    if let Some(bytes) = response.content_length().filter(|bytes| *bytes > LARGEST as u64 && method != Method::HEAD) {
        return Err(Answer::Refused(format!("it has {bytes} bytes, and at most {LARGEST} are read whole")));
    }
    let patience = PATIENCE + Duration::from_secs(response.content_length().unwrap_or(0) / SLOWEST);
    let body = tokio::time::timeout(patience, body(response, LARGEST)).await;
    let mut body = body.map_err(|_elapsed| late(patience))?.map_err(Answer::Later)?;
    Ok(Reply { status, headers, body: Bytes::from(std::mem::take(&mut *body)) })
}

/// Headers of a request.
pub(crate) fn headers(of: &[(String, String)]) -> Result<HeaderMap, Answer> {
    let mut headers = HeaderMap::with_capacity(of.len() + 4);
    for (name, value) in of {
        let name = HeaderName::try_from(name.as_str()).map_err(|error| refused(name, &error))?;
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|error| refused(name.as_str(), &error))?;
        value.set_sensitive(name == "authorization");
        headers.insert(name, value);
    }
    Ok(headers)
}

impl Reply {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it is a yes.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

fn refused(name: &str, error: &dyn std::fmt::Display) -> Answer {
    Answer::Refused(format!("the header {name} cannot be sent: {error}"))
}

fn late(patience: Duration) -> Answer {
    Answer::Later(format!("no answer within {} s", patience.as_secs()))
}
