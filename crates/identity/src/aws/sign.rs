//! Signature Version 4 (AWS General Reference, "Create a signed AWS API request").

use millrace_model::Timestamp;
use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use ring::{digest, hmac};

use crate::aws::AwsCredentials;
use crate::http::hidden;
use crate::time::compact;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as far as its signature speaks of it. Beside the host, every header that it has by then is signed: a proxy that
/// drops an `If-None-Match` makes it fail.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// For example `eu-west-1`.
    pub region: &'a str,
    /// The service's name in signatures, for example `secretsmanager`.
    pub service: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The address.
    pub url: &'a Url,
    /// The body.
    pub body: &'a [u8],
    /// When it is signed, as the service will see it.
    pub now: Timestamp,
}

/// Adds `x-amz-date`, `x-amz-security-token`, for S3 `x-amz-content-sha256`, and `authorization` to the headers of a
/// request.
pub fn sign(request: Signed<'_>, credentials: &AwsCredentials, headers: &mut HeaderMap) {
    let stamp = compact(request.now);
    headers.insert("x-amz-date", hidden(&stamp));
    if let Some(token) = &credentials.session_token {
        headers.insert("x-amz-security-token", hidden(token.reveal()));
    }
    let body = sha256(request.body);
    if request.service == "s3" {
        headers.insert("x-amz-content-sha256", hidden(&body));
    }
    if let Some(host) = host(request.url) {
        headers.insert(HOST, host);
    }
    let day = stamp.split('T').next().unwrap_or_default();
    let (region, service) = (request.region, request.service);
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let (canonical, names) = canonical(request, headers, &body);
    let to_sign = format!("{ALGORITHM}\n{stamp}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let signature = hex(hmac(&signing_key(credentials, day, region, service), &to_sign).as_ref());
    let key_id = &credentials.key_id;
    let written = format!("{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}");
    headers.insert(AUTHORIZATION, hidden(&written));
}

/// The host as the client will send it.
fn host(url: &Url) -> Option<HeaderValue> {
    let name = url.host_str()?;
    let written = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
    HeaderValue::from_str(&written).ok()
}

/// The canonical request, and the names of the signed headers.
fn canonical(request: Signed<'_>, headers: &HeaderMap, body: &str) -> (String, String) {
    let mut lines: Vec<(&str, String)> = headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str(), value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect();
    lines.sort();
    let names = lines.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines = lines.iter().fold(String::new(), |text, (name, value)| text + &format!("{name}:{value}\n"));
    let text = format!(
        "{}\n{}\n{}\n{lines}\n{names}\n{}",
        request.method,
        path(request.url, request.service == "s3"),
        query(request.url),
        body
    );
    (text, names)
}

/// Each piece of the path is encoded once more than it is sent, save for S3.
fn path(url: &Url, is_s3: bool) -> String {
    if is_s3 { url.path().to_owned() } else { url.path().split('/').map(encoded).collect::<Vec<_>>().join("/") }
}

fn query(url: &Url) -> String {
    let mut pairs: Vec<String> =
        url.query_pairs().map(|(name, value)| format!("{}={}", encoded(&name), encoded(&value))).collect();
    pairs.sort();
    pairs.join("&")
}

/// Percent-encoded but for the unreserved characters of RFC 3986.
pub fn encoded(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            written.push(char::from(byte));
        } else {
            written += &format!("%{byte:02X}");
        }
    }
    written
}

fn signing_key(credentials: &AwsCredentials, day: &str, region: &str, service: &str) -> hmac::Key {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    let secret = zeroize::Zeroizing::new(format!("AWS4{}", credentials.secret_key.reveal()));
    [day, region, service, "aws4_request"]
        .iter()
        .fold(key(secret.as_bytes()), |so_far, piece| key(hmac(&so_far, piece).as_ref()))
}

fn hmac(key: &hmac::Key, text: &str) -> hmac::Tag {
    hmac::sign(key, text.as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use millrace_model::SecretValue;

    use super::*;

    /// Key, secret, time, region and service of AWS's Signature Version 4 test suite.
    fn signature(method: &Method, path: &str, headers: &[(&'static str, &str)], body: &str, service: &str) -> String {
        let credentials = AwsCredentials {
            key_id: "AKIDEXAMPLE".into(),
            secret_key: SecretValue::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            expires: None,
            from: "the test suite".into(),
        };
        let host = if service == "iam" { "iam" } else { "example" };
        let url = Url::parse(&format!("https://{host}.amazonaws.com{path}")).unwrap();
        let mut map: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let now = Timestamp::parse("2015-08-30T12:36:00Z").unwrap();
        let request = Signed { region: "us-east-1", service, method, url: &url, body: body.as_bytes(), now };
        sign(request, &credentials, &mut map);
        let written = map[AUTHORIZATION].to_str().unwrap();
        written.split_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn signatures_are_those_of_the_test_suite_of_aws() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        for (name, method, path, headers, body, expected) in [
            (
                "get-vanilla",
                Method::GET,
                "/",
                &[][..],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-vanilla-query-order-key-case",
                Method::GET,
                "/?Param2=value2&Param1=value1",
                &[],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-unreserved",
                Method::GET,
                &format!("/{unreserved}"),
                &[],
                "",
                "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            ),
            (
                "get-vanilla-query-unreserved",
                Method::GET,
                &format!("/?{unreserved}={unreserved}"),
                &[],
                "",
                "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            ),
            (
                "get-vanilla-utf8-query",
                Method::GET,
                "/?\u{1234}=bar",
                &[],
                "",
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
            (
                "post-vanilla",
                Method::POST,
                "/",
                &[],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-x-www-form-urlencoded",
                Method::POST,
                "/",
                &form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            assert_eq!(signature(&method, path, headers, body, "service"), expected, "{name}");
        }
    }

    #[test]
    fn the_signature_is_that_of_the_signing_guide() {
        let path = "/?Action=ListUsers&Version=2010-05-08";
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        assert_eq!(
            signature(&Method::GET, path, &headers, "", "iam"),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    /// The second example of "Signature Calculations for the Authorization Header" of S3's API reference.
    #[test]
    fn the_signature_is_that_of_the_manual_of_s3() {
        let credentials = AwsCredentials {
            key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: SecretValue::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            expires: None,
            from: "the manual".into(),
        };
        let url = Url::parse("https://examplebucket.s3.amazonaws.com/test%24file.text").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("date", HeaderValue::from_static("Fri, 24 May 2013 00:00:00 GMT"));
        headers.insert("x-amz-storage-class", HeaderValue::from_static("REDUCED_REDUNDANCY"));
        let (region, method, now) = ("us-east-1", &Method::PUT, Timestamp::parse("2013-05-24T00:00:00Z").unwrap());
        let request = Signed { region, service: "s3", method, url: &url, body: b"Welcome to Amazon S3.", now };
        sign(request, &credentials, &mut headers);
        let written = headers[AUTHORIZATION].to_str().unwrap();
        assert!(written.ends_with("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"), "{written}");
    }

    #[test]
    fn credentials_show_only_where_they_are_from() {
        let secret = SecretValue::new("hidden");
        let shown = format!(
            "{:?}",
            AwsCredentials {
                key_id: "AKID".into(),
                session_token: Some(secret.clone()),
                secret_key: secret,
                expires: None,
                from: "here".into()
            }
        );
        assert_eq!(shown, "AwsCredentials(here)");
    }
}
