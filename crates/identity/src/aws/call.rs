//! One signed call to a service of AWS, with what can be put right on the way: keys that have ended, and a clock that is off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_model::{Fault, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use tracing::warn;

use crate::aws::sign::{Signed, sign};
use crate::aws::{AwsCredentials, AwsIdentity};
use crate::fault::Cause;
use crate::http::{Answer, send};
use crate::surroundings::Surroundings;
use crate::time::seconds_between;

/// A clock that is off by less is not what a signature was refused for, in seconds.
const SKEW: i64 = 60;

/// Where a service is.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    /// Its region.
    pub(crate) region: &'a str,
    /// Its address.
    pub(crate) endpoint: &'a str,
}

/// A client of one service.
pub struct AwsClient {
    around: Surroundings,
    identity: Arc<dyn AwsIdentity>,
    service: &'static str,
    /// Microseconds that the service's clock is ahead of ours.
    ahead: AtomicI64,
}

/// What a service said instead of what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For example `AccessDeniedException`.
    pub code: String,
    /// Its own words.
    pub message: String,
    /// Whose request it was.
    pub identity: String,
}

impl AwsClient {
    /// `service` is its name in signatures.
    pub fn new(around: &Surroundings, identity: Arc<dyn AwsIdentity>, service: &'static str) -> Self {
        Self { around: around.clone(), identity, service, ahead: AtomicI64::new(0) }
    }

    /// Where the service is in this region: `AWS_ENDPOINT_URL_…`, or its usual address.
    pub fn endpoint(&self, region: &str) -> String {
        endpoint(&self.around, self.service, region)
    }

    /// Calls an action of a service that speaks JSON.
    pub async fn json(
        &self,
        region: &str,
        target: &'static str,
        body: &serde_json::Value,
    ) -> Result<Result<Answer, Refusal>, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", HeaderValue::from_static(target));
        let endpoint = self.endpoint(region);
        Ok(self.call(&Place { region, endpoint: &endpoint }, &headers, body.to_string().as_bytes()).await?)
    }

    /// Posts a body, signed.
    pub(crate) async fn call(
        &self,
        place: &Place<'_>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Result<Answer, Refusal>, Cause> {
        let (mut is_new, mut is_set) = (false, false);
        loop {
            let credentials = self.identity.credentials().await.map_err(Cause::Of)?;
            let answer = self.once(place, headers, body, &credentials).await?;
            if answer.is_success() {
                return Ok(Ok(answer));
            }
            let refusal = refusal(&answer, &credentials);
            if answer.is_passing() || is_throttled(&refusal.code) {
                let said = format!("{}: {}", refusal.code, refusal.message);
                return Err(Cause::Unanswered { identity: self.shown(place), said });
            }
            if is_about_time(&refusal) {
                self.set_clock(&answer, is_set)?;
                is_set = true;
            } else if !is_about_keys(&refusal.code) {
                return Ok(Err(refusal));
            } else if is_new {
                let said = format!("{}: {}", refusal.code, refusal.message);
                let cure = "give it keys that are active and belong together, or another identity".into();
                return Err(Cause::Refused { identity: credentials.from.clone(), said, cure });
            } else {
                self.identity.forget(&credentials);
                is_new = true;
            }
        }
    }

    async fn once(
        &self,
        place: &Place<'_>,
        headers: &HeaderMap,
        body: &[u8],
        credentials: &AwsCredentials,
    ) -> Result<Answer, Cause> {
        let method = Method::POST;
        let url = Url::parse(place.endpoint).map_err(|error| Cause::Wrong {
            place: format!("the address `{}`", place.endpoint),
            reason: error.to_string(),
            cure: "correct AWS_ENDPOINT_URL or the region".into(),
        })?;
        let mut headers = headers.clone();
        let now = Timestamp(self.around.now().0 + self.ahead.load(Ordering::Acquire));
        let (region, service) = (place.region, self.service);
        sign(Signed { region, service, method: &method, url: &url, body, now }, credentials, &mut headers);
        let request = self.around.http.request(method, place.endpoint).headers(headers).body(body.to_vec());
        send(request).await.map_err(|said| Cause::Unanswered { identity: self.shown(place), said })
    }

    /// Signs with the service's time from now on, where it is not that already.
    fn set_clock(&self, answer: &Answer, is_set: bool) -> Result<(), Cause> {
        let now = self.around.now();
        let seconds = answer.date().map(|date| seconds_between(now, date)).unwrap_or_default();
        let direction = if seconds < 0 { "ahead of" } else { "behind" };
        let cause = Cause::Skewed { service: self.service.into(), seconds: seconds.abs(), direction };
        if is_set || seconds.abs() < SKEW {
            return Err(cause);
        }
        warn!(code = "ID-006", "{cause}; it is signed with the service's time");
        self.ahead.store(seconds * 1_000_000, Ordering::Release);
        Ok(())
    }

    fn shown(&self, place: &Place<'_>) -> String {
        format!("an answer of {} at {}", self.service, place.endpoint)
    }
}

/// `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, or the usual address (AWS SDKs and Tools, "Service-specific endpoints").
pub(crate) fn endpoint(around: &Surroundings, service: &str, region: &str) -> String {
    let own = if service == "sts" { "AWS_ENDPOINT_URL_STS" } else { "AWS_ENDPOINT_URL_SECRETS_MANAGER" };
    let is_ignored = around.variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|it| it == "true");
    let set = || around.variable(own).or_else(|| around.variable("AWS_ENDPOINT_URL"));
    if let Some(url) = (!is_ignored).then(set).flatten() {
        return url;
    }
    let fips = around.variable("AWS_USE_FIPS_ENDPOINT").filter(|it| it == "true").map_or("", |_| "-fips");
    format!("https://{service}{fips}.{region}.{}", domain(region))
}

/// Whether a text can be a region's name. It becomes a part of hosts: a dot or a slash in it would lead to another one.
pub fn is_region(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// The domain of the partition that a region lies in.
pub fn domain(region: &str) -> &'static str {
    match region.split('-').next().unwrap_or_default() {
        "cn" => "amazonaws.com.cn",
        "eusc" => "amazonaws.eu",
        _ if region.starts_with("us-iso-") => "c2s.ic.gov",
        _ if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ => "amazonaws.com",
    }
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default, rename = "__type")]
    code: String,
    #[serde(default, alias = "Message")]
    message: String,
}

/// The refusal in an answer, in JSON or in XML.
fn refusal(answer: &Answer, credentials: &AwsCredentials) -> Refusal {
    let identity = credentials.from.clone();
    if let Some(Said { code, message }) = answer.json::<Said>() {
        // The type may come with a namespace before it and an address behind it.
        let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
        return Refusal { code, message, identity };
    }
    let text = answer.text().unwrap_or_default();
    let part = |name| element(text, name).unwrap_or_default();
    let code = part("Code");
    let code = if code.is_empty() { format!("status {}", answer.status) } else { code };
    Refusal { code, message: part("Message"), identity }
}

/// The text of the first element of this name: enough for the token service's answers, which nest nothing in the leaves.
pub(crate) fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character)))
}

fn is_throttled(code: &str) -> bool {
    code.contains("Throttl") || code == "TooManyRequestsException" || code == "IDPCommunicationError"
}

/// The service's clock and ours differ.
fn is_about_time(refusal: &Refusal) -> bool {
    matches!(refusal.code.as_str(), "RequestTimeTooSkewed" | "RequestExpired")
        || refusal.message.starts_with("Signature expired")
        || refusal.message.starts_with("Signature not yet current")
}

/// The keys are not, or no longer, good.
fn is_about_keys(code: &str) -> bool {
    const CODES: [&str; 7] = [
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    ];
    CODES.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_the_address_of_its_partition() {
        for (region, ending) in [
            ("eu-west-1", ".eu-west-1.amazonaws.com"),
            ("cn-north-1", ".cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1", ".us-gov-west-1.amazonaws.com"),
            ("us-iso-east-1", ".us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", ".us-isob-east-1.sc2s.sgov.gov"),
            ("eusc-de-east-1", ".eusc-de-east-1.amazonaws.eu"),
        ] {
            assert!(format!("{region}.{}", domain(region)).ends_with(ending.trim_start_matches('.')), "{region}");
            assert!(is_region(region));
        }
        for other in ["", "x.evil.example/", "evil.example#", "a@b", "eu west"] {
            assert!(!is_region(other), "{other}");
        }
    }

    #[test]
    fn an_element_is_read_out_of_xml() {
        let xml = "<Error><Code>AccessDenied</Code><Message>User: a &amp; b</Message></Error>";
        assert_eq!(element(xml, "Message").as_deref(), Some("User: a & b"));
        assert_eq!(element(xml, "Token"), None);
    }
}
