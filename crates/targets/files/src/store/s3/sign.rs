//! Signature Version 4: proves who asks, and that nobody changed the request on the way. Pure.
//!
//! As <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html> says. What is signed here is the host,
//! every header of the request, and the hash of the body: a proxy that drops `If-None-Match` makes the request fail.

use millrace_model::Timestamp;
use ring::hmac;
use sha2::{Digest, Sha256};

use crate::names::hex;

/// Who signs.
pub(crate) struct Signer<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// What is signed.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    /// Encoded, as it is sent.
    pub(crate) path: &'a str,
    /// Names and values, not encoded yet.
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

impl Signer<'_> {
    /// Adds what signs the request to its headers, whose names are in lower case.
    pub(crate) fn sign(&self, request: &Request<'_>, now: Timestamp, headers: &mut Vec<(String, String)>) {
        let at = amz_date(now);
        let day = at.get(..8).unwrap_or_default();
        let body = hex(&Sha256::digest(request.body));
        headers.push(("x-amz-date".into(), at.clone()));
        headers.push(("x-amz-content-sha256".into(), body.clone()));
        if let Some(token) = self.token {
            headers.push(("x-amz-security-token".into(), token.to_owned()));
        }
        let mut signed: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.trim())).chain([("host", request.host)]).collect();
        signed.sort_unstable();
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines = signed.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join("\n") + "\n";
        let query = query(request.query);
        let canonical = format!("{}\n{}\n{query}\n{lines}\n{names}\n{body}", request.method, request.path);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let key = [day, self.region, self.service, "aws4_request"]
            .iter()
            .fold(format!("AWS4{}", self.secret).into_bytes(), |key, text| keyed(&key, text));
        let signature = hex(&keyed(&key, &to_sign));
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.id);
        headers.push(("authorization".into(), authorization));
    }
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// `20261122T140307Z`.
fn amz_date(now: Timestamp) -> String {
    let seconds: String = now.to_string().chars().take_while(|c| *c != '.').filter(|c| !"-:".contains(*c)).collect();
    seconds + "Z"
}

/// A query in the one form that is signed: encoded and sorted.
pub(crate) fn query(parts: &[(&str, &str)]) -> String {
    let mut parts: Vec<String> =
        parts.iter().map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false))).collect();
    parts.sort_unstable();
    parts.join("&")
}

/// Percent-encodes everything but unreserved characters. A `%` too: names in a lake hold `%XX`, and mean it.
pub(crate) fn encode(text: &str, slashes_stay: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (slashes_stay && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex(&[byte]).to_ascii_uppercase());
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second example of the manual: a PUT with a storage class.
    #[test]
    fn the_manuals_example_has_the_manuals_signature() {
        let signer = Signer {
            id: "AKIAIOSFODNN7EXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            token: None,
            region: "us-east-1",
            service: "s3",
        };
        let request = Request {
            method: "PUT",
            host: "examplebucket.s3.amazonaws.com",
            path: &encode("/test$file.text", true),
            query: &[],
            body: b"Welcome to Amazon S3.",
        };
        let mut headers = vec![
            ("date".to_owned(), "Fri, 24 May 2013 00:00:00 GMT".to_owned()),
            ("x-amz-storage-class".to_owned(), "REDUCED_REDUNDANCY".to_owned()),
        ];
        signer.sign(&request, Timestamp::parse("2013-05-24T00:00:00.000Z").unwrap(), &mut headers);
        let (_, authorization) = headers.last().unwrap();
        assert!(
            authorization.ends_with("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
            "{authorization}"
        );
    }

    #[test]
    fn a_percent_sign_in_a_name_is_a_percent_sign() {
        assert_eq!(encode("a/%5Fx ~", true), "a/%255Fx%20~");
        assert_eq!(query(&[("prefix", "a/b"), ("delimiter", "/")]), "delimiter=%2F&prefix=a%2Fb");
    }
}
