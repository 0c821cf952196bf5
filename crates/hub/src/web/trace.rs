//! One id for a request, from its headers to the log and to a problem's `traceId`, and what is left of the caller's calls.

use std::cell::Cell;
use std::fmt::Display;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{debug, error};
use uuid::Uuid;

use crate::auth::rate::Left;

/// Longest id that a caller may choose.
const LONGEST: usize = 128;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

struct Trace {
    id: String,
    left: Cell<Option<Left>>,
    /// The log knows why it could not be answered.
    is_told: Cell<bool>,
}

tokio::task_local! {
    static TRACE: Trace;
}

/// The id of the request that this task answers; a new one outside of any.
pub(crate) fn id() -> String {
    TRACE.try_with(|trace| trace.id.clone()).unwrap_or_else(|_outside| fresh())
}

/// Notes what is left of the caller's calls, for the answer's headers.
pub(crate) fn note(left: Left) {
    // Outside of a request nobody asks.
    let _outside = TRACE.try_with(|trace| trace.left.set(Some(left)));
}

/// Writes down why a request could not be answered. The caller is given only the id under which it stands there.
pub(crate) fn failed(cause: &dyn Display) -> String {
    let id = TRACE.try_with(|trace| {
        trace.is_told.set(true);
        trace.id.clone()
    });
    let id = id.unwrap_or_else(|_outside| fresh());
    error!(code = "HB-017", trace_id = id, "a request could not be answered: {cause}");
    id
}

/// Whether the log knows why this request could not be answered.
pub(crate) fn is_told() -> bool {
    TRACE.try_with(|trace| trace.is_told.get()).unwrap_or_default()
}

fn fresh() -> String {
    Uuid::now_v7().simple().to_string()
}

/// Stands around everything: names the request, and says its name in the answer and in the log.
pub(crate) async fn traced(request: Request, next: Next) -> Response {
    let id = asked(request.headers()).unwrap_or_else(fresh);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let trace = Trace { id: id.clone(), left: Cell::new(None), is_told: Cell::new(false) };
    let (mut response, left) = TRACE
        .scope(trace, async {
            let response = next.run(request).await;
            (response, TRACE.with(|trace| trace.left.take()))
        })
        .await;
    let status = response.status().as_u16();
    debug!(code = "request", trace_id = id, %method, route, status, "answered");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    for (name, value) in left.into_iter().flat_map(Left::headers) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

/// The id that the caller gave: `X-Request-Id`, else the trace of `traceparent`.
fn asked(headers: &HeaderMap) -> Option<String> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    // It goes into log lines and headers as it is.
    let is_plain = |id: &&str| {
        (1..=LONGEST).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b))
    };
    let given = text(&REQUEST_ID).filter(is_plain).map(str::to_owned);
    given.or_else(|| trace_of(text(&HeaderName::from_static("traceparent"))?))
}

/// The trace id of a `traceparent` (W3C Trace Context): `00-4bf9…4736-00f0…02b7-01`.
fn trace_of(traceparent: &str) -> Option<String> {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let &[version, trace, parent, flags, ..] = parts.as_slice() else { return None };
    let known = is_hex(version, 2) && version != "ff" && (version != "00" || parts.len() == 4);
    let named = is_hex(trace, 32) && trace.bytes().any(|byte| byte != b'0');
    let whole = is_hex(parent, 16) && parent.bytes().any(|byte| byte != b'0') && is_hex(flags, 2);
    (known && named && whole).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_names_the_trace_if_it_is_whole() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let whole = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(trace_of(&whole).as_deref(), Some(trace));
        assert_eq!(trace_of(&format!("cc-{trace}-00f067aa0ba902b7-01-later")).as_deref(), Some(trace));
        for broken in [
            "",
            "00",
            &whole.to_uppercase(),
            &format!("{whole}-more"),
            &whole.replacen("00", "ff", 1),
            &whole.replace(trace, &"0".repeat(32)),
            &whole.replace("00f067aa0ba902b7", &"0".repeat(16)),
        ] {
            assert_eq!(trace_of(broken), None, "{broken}");
        }
    }
}
