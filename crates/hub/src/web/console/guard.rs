//! What stands before and after every page: no form from elsewhere comes in, and each answer carries the headers that keep
//! a browser from doing what the page does not ask for.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::page::Mishap;
use super::show::{MANNERS, Manners};
use crate::app::App;
use crate::auth::session::cookie;
use crate::fault::Refused;

/// Nothing but our own files; no inline script or style, no eval, no frame, no form to elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
];
const HSTS: &str = "max-age=31536000; includeSubDomains";

/// Guards the pages.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if safe || is_ours(request.headers(), &app.settings.public_url) {
        let manners = manners(request.headers());
        MANNERS.scope(manners, next.run(request)).await
    } else {
        Mishap::from(Refused::Forbidden("this form was sent from another site".into())).into_response()
    };
    if response.status() == StatusCode::OK || !response.headers().contains_key(header::CACHE_CONTROL) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    put(response.headers_mut(), app.settings.public_url.starts_with("https://"));
    response
}

/// What a visitor has chosen, from the cookies.
pub(super) fn manners(headers: &HeaderMap) -> Manners {
    let cookies = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let theme = match cookie(cookies, "theme") {
        Some("dark") => "dark",
        Some("light") => "light",
        _ => "auto",
    };
    let minutes = cookie(cookies, "offset").and_then(|text| text.parse::<i64>().ok());
    let is_local = cookie(cookies, "clock") == Some("local");
    // No place on earth is further away from UTC.
    let offset = minutes.filter(|minutes| is_local && minutes.abs() <= 14 * 60).unwrap_or_default();
    Manners { offset, theme }
}

/// The headers that every answer of the console has.
pub(crate) fn put(headers: &mut HeaderMap, secure: bool) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
}

/// What every answer of the hub has, whoever asked: nothing is guessed about its type, and with https it stays https.
pub(crate) async fn everywhere(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if app.settings.public_url.starts_with("https://") {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    response
}

/// Whether a browser sent this from a page of ours. Browsers say so in `Sec-Fetch-Site`; older ones in `Origin`.
fn is_ours(headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = text("origin") else { return false };
    let host = origin.split_once("://").map(|(_, host)| host);
    origin == public_url || (host.is_some() && host == text("host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_form_from_another_site_or_from_nowhere_is_not_ours() {
        let ours = |pairs: &[(&'static str, &'static str)]| is_ours(&headers(pairs), "https://hub.example.com");
        assert!(ours(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(ours(&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")]));
        assert!(ours(&[("origin", "https://hub.example.com"), ("host", "inside")]));
        assert!(!ours(&[("sec-fetch-site", "same-site"), ("origin", "https://hub.example.com")]));
        assert!(!ours(&[("sec-fetch-site", "cross-site")]));
        assert!(!ours(&[("origin", "https://evil.example.com"), ("host", "hub.example.com")]));
        assert!(!ours(&[("host", "hub.example.com")]));
        assert!(!ours(&[("origin", "null"), ("host", "hub.example.com")]));
    }
}
