//! Whether a request is signed with a key: Signature Version 4 from the service's side, written from its documentation
//! and not from our signer.

use millrace_model::Timestamp;
use ring::{digest, hmac};

use crate::clouds::Asked;

/// What a request says of its signature.
pub(super) struct Signed {
    pub(super) key_id: String,
    pub(super) service: String,
    /// Seconds since 1970.
    pub(super) at: i64,
    stamp: String,
    day: String,
    region: String,
    headers: Vec<String>,
    signature: String,
}

impl Signed {
    pub(super) fn of(asked: &Asked) -> Option<Self> {
        let rest = asked.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let mut parts = rest.split(", ");
        let scope: Vec<&str> = parts.next()?.strip_prefix("Credential=")?.split('/').collect();
        let [key_id, day, region, service, "aws4_request"] = scope.as_slice() else { return None };
        let headers: Vec<String> =
            parts.next()?.strip_prefix("SignedHeaders=")?.split(';').map(str::to_owned).collect();
        let signature = parts.next()?.strip_prefix("Signature=")?.to_owned();
        let stamp = asked.header("x-amz-date")?.to_owned();
        let digits = |from: usize, to: usize| stamp.get(from..to);
        let time = format!(
            "{}-{}-{}T{}:{}:{}Z",
            digits(0, 4)?,
            digits(4, 6)?,
            digits(6, 8)?,
            digits(9, 11)?,
            digits(11, 13)?,
            digits(13, 15)?
        );
        // A host and every header of Amazon's own must be signed.
        let must = |name: &str| name == "host" || name.starts_with("x-amz-");
        if asked.headers.keys().any(|name| must(name.as_str()) && !headers.iter().any(|it| it == name.as_str())) {
            return None;
        }
        Some(Self {
            at: Timestamp::parse(&time)?.0 / 1_000_000,
            key_id: (*key_id).to_owned(),
            day: (*day).to_owned(),
            region: (*region).to_owned(),
            service: (*service).to_owned(),
            stamp,
            headers,
            signature,
        })
    }

    pub(super) fn is_by(&self, secret: &str, asked: &Asked) -> bool {
        let mut canonical = format!("{}\n{}\n{}\n", asked.method, asked.path, asked.query);
        for name in &self.headers {
            canonical += &format!("{name}:{}\n", asked.header(name).unwrap_or_default().trim());
        }
        canonical += &format!("\n{}\n{}", self.headers.join(";"), sha256(&asked.body));
        let scope = format!("{}/{}/{}/aws4_request", self.day, self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", self.stamp, sha256(canonical.as_bytes()));
        let day = mac(format!("AWS4{secret}").as_bytes(), &self.day);
        let region = mac(&day, &self.region);
        let service = mac(&region, &self.service);
        let key = mac(&service, "aws4_request");
        hex(&mac(&key, &text)) == self.signature
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
