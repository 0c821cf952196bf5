//! What a request carries: its caller, ids in its path, its page, its body, and the headers that guard a write.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use millrace_model::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{access, strict_json, trace};
use crate::app::agents::PLATFORMS;
use crate::app::gateway::removed;
use crate::app::lists::Filter;
use crate::app::repeats::Once;
use crate::app::{App, is_id};
use crate::auth::Caller;
use crate::db::agents::Agent;
use crate::db::part::{After, Part};
use crate::fault::{Refused, Violation};

/// A caller of the API with a valid token, of the account that `account-id` names.
pub(crate) struct ApiCaller(pub(crate) Caller);

/// An agent at the gateway.
pub(crate) struct GatewayAgent(pub(crate) Agent);

/// A JSON body; anything wrong with it is a problem, not a plain text.
pub(crate) struct Body<T>(pub(crate) T);

/// The JSON body of a write, and its `Idempotency-Key`.
pub(crate) struct Sent {
    pub(crate) body: Value,
    pub(crate) once: Option<Once>,
}

/// The same where the body may be left out: `{}`.
pub(crate) struct Perhaps(pub(crate) Sent);

/// The ids in the path. A text that is none is of nothing that is there.
pub(crate) struct Ids<T>(pub(crate) T);

/// What the query asks for.
pub(crate) struct Asked(Vec<(String, String)>);

/// `If-Match`, where it was sent.
pub(crate) struct IfMatch(Option<String>);

/// Where the request came from.
pub(crate) struct Address(pub(crate) String);

/// Which page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) page: i64,
    pub(crate) size: i64,
}

/// Which part of a list that may be long, and the address of the part after it.
pub(crate) struct Slice {
    pub(crate) part: Part,
    /// Of this list, as the contract names it.
    address: String,
    asked: Asked,
}

/// The query's name for the row before.
const AFTER: &str = "after";
const SIZE: i64 = 25;
const LARGEST: i64 = 100;
const LONGEST_KEY: usize = 255;

impl FromRequestParts<Arc<App>> for Address {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Refused> {
        Ok(Self(address_of(parts)))
    }
}

pub(crate) fn address_of(parts: &Parts) -> String {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(String::new, |info| info.0.ip().to_string())
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| token.trim()).ok_or_else(|| {
        Refused::Unauthenticated("send `Authorization: Bearer TOKEN`; /oauth/dpc/token gives tokens".into())
    })
}

impl FromRequestParts<Arc<App>> for ApiCaller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let caller = app.api_caller(bearer(&parts.headers)?, &address_of(parts)).await?;
        let (may, left) = app.rates.take(&caller.actor(), app.settings.calls_per_minute, app.now());
        trace::note(left);
        if !may {
            return Err(Refused::TooMany { retry_after: left.seconds });
        }
        if let Some(account) = parts.headers.get("account-id")
            && !account.as_bytes().eq_ignore_ascii_case(caller.account_id.as_bytes())
        {
            app.audit_refusal(&caller, "account.mismatch", "").await?;
            return Err(Refused::Forbidden("the token belongs to another account than `account-id` names".into()));
        }
        access::admit(app, parts.extensions.get(), &caller).await?;
        Ok(Self(caller))
    }
}

impl FromRequestParts<Arc<App>> for GatewayAgent {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let agent = app.gateway_agent(bearer(&parts.headers)?, &address_of(parts)).await?;
        if agent.removed_at.is_some() {
            return Err(removed());
        }
        Ok(Self(agent))
    }
}

async fn bytes_of(request: Request, app: &Arc<App>) -> Result<axum::body::Bytes, Refused> {
    axum::body::Bytes::from_request(request, app)
        .await
        .map_err(|error| Refused::invalid("", format!("the body cannot be read: {error}")))
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refused> {
        let bytes = bytes_of(request, app).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Refused::invalid("", error.to_string()))
    }
}

impl FromRequest<Arc<App>> for Sent {
    type Rejection = Refused;

    // The content type is not asked: existing automation may leave it out, and what is not JSON is refused anyway.
    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refused> {
        sent(request, app, None).await
    }
}

impl FromRequest<Arc<App>> for Perhaps {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refused> {
        sent(request, app, Some(Value::Object(serde_json::Map::new()))).await.map(Self)
    }
}

/// What was sent; `nothing` stands for an empty body where that is allowed.
async fn sent(request: Request, app: &Arc<App>, nothing: Option<Value>) -> Result<Sent, Refused> {
    let key = request.headers().get("idempotency-key").cloned();
    let path = request.uri().path().to_owned();
    let bytes = bytes_of(request, app).await?;
    let body = match nothing {
        Some(nothing) if bytes.is_empty() => nothing,
        _ => strict_json::parse(&bytes).map_err(|error| {
            Refused::invalid("", format!("the body must be JSON that says each thing once: {error}"))
        })?,
    };
    Ok(Sent { body, once: once(key.as_ref(), &path, &bytes)? })
}

fn once(key: Option<&HeaderValue>, path: &str, body: &[u8]) -> Result<Option<Once>, Refused> {
    let Some(key) = key else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let key = key.ok_or_else(|| {
        Refused::invalid("Idempotency-Key", format!("must have 1 to {LONGEST_KEY} printable ASCII characters"))
    })?;
    let mut hash = Sha256::new();
    hash.update(path.as_bytes());
    hash.update([0]);
    hash.update(body);
    let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(Once { key: key.to_owned(), fingerprint }))
}

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Ids<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        const NOTHING: Refused = Refused::NotFound("what the path names");
        let written = RawPathParams::from_request_parts(parts, app).await.map_err(|_not_text| NOTHING)?;
        if !written.iter().all(|(_, value)| is_id(value)) {
            return Err(NOTHING);
        }
        let Path(ids) = Path::<T>::from_request_parts(parts, app).await.map_err(|_not_these| NOTHING)?;
        Ok(Self(ids))
    }
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Refused> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

impl Asked {
    /// A text; absent where it was not sent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.value(name)
    }

    /// As it was sent.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `true` or `false`; absent is `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refused> {
        match self.value(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refused::invalid(name, "must be `true` or `false`")),
        }
    }

    /// What a list is filtered by and in which order. `statuses`: in capitals; `sorts`: as they are written.
    pub(crate) fn filter(&self, statuses: &[&str], sorts: &[&'static str]) -> Result<Filter, Refused> {
        let mut violations = Vec::new();
        let mut wrong = |field: &str, message: String| violations.push(Violation { field: field.into(), message });
        let status = self.value("status").map(str::to_ascii_uppercase);
        if status.as_ref().is_some_and(|status| !statuses.contains(&status.as_str())) {
            wrong("status", format!("must be one of {}", statuses.join(", ")));
        }
        let cloud_provider = self.value("cloudProvider").map(str::to_ascii_lowercase);
        if cloud_provider.as_ref().is_some_and(|cloud| !PLATFORMS.iter().any(|(known, _)| known == cloud)) {
            wrong("cloudProvider", "must be `aws`, `azure` or `gcp`".into());
        }
        let agent_id = self.value("agentId").map(str::to_owned);
        if agent_id.as_ref().is_some_and(|id| !is_id(id)) {
            wrong("agentId", "must be an id".into());
        }
        let sort = self.value("sort").map(|text| {
            let (word, down) = text.strip_prefix('-').map_or((text, false), |word| (word, true));
            (sorts.iter().find(|known| **known == word).copied(), down)
        });
        if matches!(sort, Some((None, _))) {
            wrong("sort", format!("must be one of {}, or one of them after a `-`", sorts.join(", ")));
        }
        if !violations.is_empty() {
            return Err(Refused::Invalid(violations));
        }
        let q = self.value("q").filter(|q| !q.is_empty()).map(str::to_owned);
        let sort = sort.and_then(|(word, down)| Some((word?, down)));
        Ok(Filter { status, cloud_provider, agent_id, q, sort })
    }

    /// A moment in RFC 3339.
    pub(crate) fn moment(&self, name: &str) -> Result<Option<Timestamp>, Refused> {
        let Some(text) = self.value(name) else { return Ok(None) };
        let wrong = || Refused::invalid(name, "must be a time in RFC 3339, for example `2026-01-31T09:30:00Z`");
        rfc3339(text).ok_or_else(wrong).map(Some)
    }

    /// A whole number, or none.
    pub(crate) fn whole(&self, name: &str, least: i64) -> Result<Option<i64>, Refused> {
        self.value(name).map(|_| self.number(name, least, least)).transpose()
    }

    fn number(&self, name: &str, default: i64, least: i64) -> Result<i64, Refused> {
        let Some(text) = self.value(name) else { return Ok(default) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // However far past the end: there is nothing there either.
        let number = text.parse().unwrap_or(i64::MAX);
        if digits && number >= least {
            return Ok(number);
        }
        Err(Refused::invalid(name, format!("must be a whole number from {least}")))
    }
}

/// A time with any offset, its letters in any case, as RFC 3339 has it.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let text = text.to_ascii_uppercase();
    let (date, clock) = text.split_at_checked(11)?;
    if let Some(clock) = clock.strip_suffix('Z') {
        return in_utc(date, clock);
    }
    let (clock, offset) = clock.split_at_checked(clock.len().checked_sub(6)?)?;
    let (sign, offset) = match offset.strip_prefix('+') {
        Some(offset) => (-1, offset),
        None => (1, offset.strip_prefix('-')?),
    };
    let (hours, minutes) = offset.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let at = in_utc(date, clock)?;
    Some(Timestamp(at.0 + sign * (hours * 60 + minutes) * 60_000_000))
}

/// Refuses what has the form of a time and is none.
fn in_utc(date: &str, clock: &str) -> Option<Timestamp> {
    let at = Timestamp::parse(&format!("{date}{clock}Z"))?;
    // The first second of a minute that does not end with 60 is written as it is read.
    let same = at.to_string().get(..16) == format!("{date}{clock}").get(..16) || clock.get(6..8) == Some("60");
    let digits = clock.bytes().all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.');
    (same && digits && clock.len() >= 8).then_some(at)
}

impl FromRequestParts<Arc<App>> for Page {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let asked = Asked::from_request_parts(parts, app).await?;
        Ok(Self { page: asked.number("page", 0, 0)?, size: asked.number("size", SIZE, 1)?.min(LARGEST) })
    }
}

impl FromRequestParts<Arc<App>> for Slice {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let asked = Asked::from_request_parts(parts, app).await?;
        let Page { page, size } = Page::from_request_parts(parts, app).await?;
        let wrong = || Refused::invalid(AFTER, "must be as the `Link` of the page before has it");
        let after = asked.value(AFTER).map(|text| After::parse(text).ok_or_else(wrong)).transpose()?;
        // The router has taken off what the path begins with: it has two names, and this is the contract's.
        let address = format!("{}/dpc/v1{}", app.settings.public_url, parts.uri.path());
        Ok(Self { part: Part { size, page, after }, address, asked })
    }
}

impl Slice {
    /// The page's number, as an answer says it: what comes after a row is the first one from there.
    pub(crate) fn page(&self) -> Page {
        let Part { size, page, ref after } = self.part;
        Page { page: if after.is_some() { 0 } else { page }, size }
    }

    /// `Link: <…>; rel="next"` (RFC 8288) to what comes after this row.
    pub(crate) fn next(&self, row: &After) -> Result<HeaderValue, Refused> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.asked.0.iter().filter(|(name, _)| name != AFTER && name != "page") {
            query.append_pair(name, value);
        }
        query.append_pair(AFTER, &row.to_string());
        let link = format!("<{}?{}>; rel=\"next\"", self.address, query.finish());
        HeaderValue::from_str(&link).map_err(|error| Refused::Failed(Box::new(error)))
    }
}

impl FromRequestParts<Arc<App>> for IfMatch {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Refused> {
        let sent = parts.headers.get(header::IF_MATCH);
        // What is no text matches nothing.
        Ok(Self(sent.map(|value| value.to_str().unwrap_or_default().to_owned())))
    }
}

impl IfMatch {
    /// Whether it asks for something else than `tag`.
    pub(crate) fn is_stale(&self, tag: &str) -> bool {
        self.0.as_deref().is_some_and(|sent| !sent.split(',').any(|one| one.trim() == tag || one.trim() == "*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_with_any_offset_and_what_is_none_is_refused() {
        let at = |text: &str| rfc3339(text).map(|at| at.to_string());
        assert_eq!(at("2026-01-31T09:30:00Z").as_deref(), Some("2026-01-31T09:30:00.000Z"));
        assert_eq!(at("2026-01-31t09:30:00.5+05:30").as_deref(), Some("2026-01-31T04:00:00.500Z"));
        assert_eq!(at("2026-01-31T23:30:00-01:00").as_deref(), Some("2026-02-01T00:30:00.000Z"));
        assert_eq!(at("2016-12-31T23:59:60Z").as_deref(), Some("2017-01-01T00:00:00.000Z"));
        let not = [
            "",
            "now",
            "2026-01-31",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-01-31T25:00:00Z",
            "2026-01-31T09:30:00",
            "2026-01-31T09:30Z",
            "2026-01-31T09:30:xxZ",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ];
        for text in not {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
