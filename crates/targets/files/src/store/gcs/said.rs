//! What Google Cloud Storage says: its JSON, and what its statuses and reasons mean.

use bytes::Bytes;
use millrace_model::Timestamp;
use serde_json::Value;

use crate::store::objects::answer::in_a_line;
use crate::store::objects::http::Reply;
use crate::store::objects::{Answer, Object, Page};

/// What a reply that is no success means.
pub(super) fn answer(reply: &Reply) -> Answer {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    // Some errors, of downloads above all, are a plain text.
    let message = body.pointer("/error/message").and_then(Value::as_str).map(str::to_owned);
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(&reply.body).into_owned());
    let said = in_a_line(&format!("{} {message}", reply.status));
    match reply.status {
        412 | 304 => Answer::Taken,
        404 | 410 if message.to_lowercase().contains("bucket does not exist") => Answer::NoBucket,
        404 | 410 => Answer::Missing,
        408 | 429 | 500 | 502..=599 => Answer::Later(said),
        409 => Answer::Conflict,
        401 => Answer::Unknown(said),
        403 if is_about_pace(&body) => Answer::Later(said),
        403 => Answer::Denied { permission: named(&message), said },
        _ => Answer::Refused(said),
    }
}

/// Too many requests, which some parts of Google's answer with 403: `rateLimitExceeded`, `userRateLimitExceeded`.
fn is_about_pace(body: &Value) -> bool {
    let reason = body.pointer("/error/errors/0/reason").and_then(Value::as_str).unwrap_or_default();
    reason.to_lowercase().ends_with("ratelimitexceeded")
}

/// The permission that Google names: `Permission 'storage.objects.create' denied on resource …`.
fn named(message: &str) -> Option<String> {
    let (_, after) = message.split_once("Permission '")?;
    after.split_once('\'').map(|(permission, _)| permission.to_owned())
}

/// A success's JSON.
pub(super) fn parse(reply: &Reply) -> Result<Value, Answer> {
    serde_json::from_slice(&reply.body).map_err(|error| Answer::Refused(format!("an answer is no JSON: {error}")))
}

/// The size of an object, which stands there as a text.
pub(super) fn size(object: &Value) -> Result<u64, Answer> {
    let size = object["size"].as_str().and_then(|size| size.parse().ok());
    size.ok_or_else(|| Answer::Refused("an object has no size".into()))
}

/// A page of a listing.
pub(super) fn page(body: &Value) -> Result<Page, Answer> {
    let mut page = Page { next: body["nextPageToken"].as_str().map(str::to_owned), ..Page::default() };
    for object in body["items"].as_array().into_iter().flatten() {
        let key = object["name"].as_str().map(str::to_owned);
        let modified = object["updated"].as_str().and_then(Timestamp::parse);
        let (Some(key), Some(modified)) = (key, modified) else {
            return Err(Answer::Refused("a listing lacks name or time of an object".into()));
        };
        page.objects.push(Object { key, bytes: size(object)?, modified });
    }
    let folders = body["prefixes"].as_array().into_iter().flatten();
    page.folders = folders.filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(page)
}

/// How many bytes an upload under way holds: `Range: bytes=0-524287`, or no such header.
pub(super) fn held(reply: &Reply) -> u64 {
    let last = reply.header("range").and_then(|range| range.rsplit_once('-')?.1.parse::<u64>().ok());
    last.map_or(0, |last| last + 1)
}

/// Description and bytes of an object in one body, and the body's type.
pub(super) fn related(description: &Value, bytes: &Bytes) -> (String, Bytes) {
    // It must not occur in the bytes: 128 bits that nobody knew when those were written.
    let boundary = format!("millrace-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let mut body = format!(
        "--{boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n{description}\r\n--{boundary}\r\ncontent-type: \
         application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    let end = format!("\r\n--{boundary}--\r\n");
    body.reserve_exact(bytes.len() + end.len());
    body.extend_from_slice(bytes);
    body.extend_from_slice(end.as_bytes());
    (format!("multipart/related; boundary={boundary}"), Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use serde_json::json;

    use super::*;

    fn reply(status: u16, message: &str) -> Answer {
        let body = Bytes::from(json!({"error": {"code": status, "message": message}}).to_string());
        answer(&Reply { status, headers: HeaderMap::new(), body })
    }

    #[test]
    fn a_no_is_told_from_a_not_now() {
        assert_eq!(reply(412, "At least one of the pre-conditions you specified did not hold."), Answer::Taken);
        assert_eq!(reply(404, "No such object: lake/a"), Answer::Missing);
        assert_eq!(reply(404, "The specified bucket does not exist."), Answer::NoBucket);
        assert!(reply(503, "").is_later() && reply(429, "").is_later());
        let body = json!({"error": {"code": 403, "errors": [{"reason": "userRateLimitExceeded"}], "message": "m"}});
        let reply403 = Reply { status: 403, headers: HeaderMap::new(), body: Bytes::from(body.to_string()) };
        assert!(answer(&reply403).is_later());
        let message = "u@p.iam does not have storage.objects.get access to the Google Cloud Storage object. Permission \
                       'storage.objects.get' denied on resource (or it may not exist).";
        let Answer::Denied { permission, .. } = reply(403, message) else { panic!("not denied") };
        assert_eq!(permission.as_deref(), Some("storage.objects.get"));
    }

    #[test]
    fn an_upload_without_a_range_holds_nothing() {
        let mut reply = Reply { status: 308, headers: HeaderMap::new(), body: Bytes::new() };
        assert_eq!(held(&reply), 0);
        reply.headers.insert("range", "bytes=0-524287".parse().unwrap());
        assert_eq!(held(&reply), 524_288);
    }
}
