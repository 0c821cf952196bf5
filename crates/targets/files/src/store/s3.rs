//! Amazon S3, and whatever speaks its language, as a service for objects.
//!
//! An own client: of S3's 120 calls a lake needs nine, each signed (`sign`), each asked once, and each answer told apart as
//! the protocol of the lake needs it (`said`). `docs/adr/0013-own-clients-of-the-stores.md` says why.

mod said;
pub(crate) mod sign;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_model::{ByteSize, Fault, SecretValue, Timestamp};
use reqwest::{Method, Url};

use super::objects::answer::moment;
use super::objects::http::{Http, Reply};
use super::objects::{
    Answer, Deed, Grant, ObjectStore, Objects, Page, Piece, Pieces, Purpose, Unfinished, When, patiently, unfit,
};
use sign::{Request, Signer, encode, query};

/// The least that S3 takes for a piece that is not the last.
const PIECE: usize = 5 << 20;
/// One connection seldom gives more than a tenth of what a machine can send.
const AT_ONCE: usize = 4;

/// Keys of an AWS identity.
#[derive(Clone, Debug)]
pub struct AwsKeys {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: SecretValue,
    /// Session token, of keys that are valid for a while.
    pub token: Option<SecretValue>,
}

/// Who millrace is on AWS. Asked before each request; whoever implements it keeps what is still valid.
#[async_trait]
pub trait AwsIdentity: Send + Sync {
    /// Keys that are valid now.
    async fn keys(&self) -> Result<AwsKeys, Fault>;
}

/// Where the objects lie, and how they shall be kept.
#[derive(Clone, Debug, Default)]
pub struct S3Settings {
    /// Name of the bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Address of a service that is not Amazon's: `https://host:port`.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path; otherwise it is the first part of the host.
    pub path_style: bool,
    /// Key of AWS KMS to encrypt with.
    pub kms_key_id: Option<String>,
    /// Storage class of data files. Commits and states are read at every start: they stay where the bucket puts them.
    pub storage_class: Option<String>,
    /// Whether the requester pays.
    pub requester_pays: bool,
    /// Tags of every object.
    pub tags: Vec<(String, String)>,
}

struct S3 {
    http: Http,
    settings: S3Settings,
    identity: Arc<dyn AwsIdentity>,
    /// Scheme and host, with a port that is not the usual one.
    origin: String,
    host: String,
    /// Before each key.
    base: String,
    /// How far the service's clock is ahead of ours, in microseconds.
    ahead: AtomicI64,
}

impl ObjectStore {
    /// A bucket of S3. Uploads may hold about `memory`. Connects nothing yet.
    pub fn s3(settings: S3Settings, identity: Arc<dyn AwsIdentity>, memory: ByteSize) -> Result<Self, Fault> {
        Ok(Self::new(S3::new(settings, identity)?, memory))
    }
}

impl S3 {
    fn new(settings: S3Settings, identity: Arc<dyn AwsIdentity>) -> Result<Self, Fault> {
        let S3Settings { bucket, region, .. } = &settings;
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = settings.endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.{domain}"));
        let url =
            Url::parse(&endpoint).map_err(|error| unfit(format!("the endpoint `{endpoint}` is no URL: {error}")))?;
        let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) else {
            return Err(unfit(format!("the endpoint `{endpoint}` is no URL with http or https")));
        };
        let host = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        // A dot in the bucket's name and the certificate of `*.s3.…` do not fit together.
        let in_path = settings.path_style || (bucket.contains('.') && url.scheme() == "https");
        let host = if in_path { host } else { format!("{bucket}.{host}") };
        let below = url.path().trim_end_matches('/');
        let base = if in_path { format!("{below}/{}", encode(bucket, false)) } else { below.to_owned() };
        Ok(Self {
            http: Http::new()?,
            origin: format!("{}://{host}", url.scheme()),
            host,
            base,
            identity,
            ahead: AtomicI64::new(0),
            settings,
        })
    }

    /// Asks once; a second time only where the clock was wrong, because then nothing has happened.
    async fn ask(
        &self,
        method: Method,
        key: Option<&str>,
        query: &[(&str, &str)],
        headers: Vec<(&str, String)>,
        body: Bytes,
    ) -> Result<Reply, Answer> {
        let reply = self.ask_once(&method, key, query, &headers, body.clone()).await?;
        if reply.status == 403 && self.set_clock(&reply) {
            return self.ask_once(&method, key, query, &headers, body).await;
        }
        Ok(reply)
    }

    async fn ask_once(
        &self,
        method: &Method,
        key: Option<&str>,
        parts: &[(&str, &str)],
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Reply, Answer> {
        let keys = self.identity.keys().await?;
        let path = match key {
            Some(key) => format!("{}/{}", self.base, encode(key, true)),
            // The bucket itself; as a host's root it has a slash.
            None if self.base.is_empty() => "/".to_owned(),
            None => self.base.clone(),
        };
        let mut headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        if self.settings.requester_pays {
            headers.push(("x-amz-request-payer".into(), "requester".into()));
        }
        let signer = Signer {
            id: &keys.id,
            secret: keys.secret.reveal(),
            token: keys.token.as_ref().map(SecretValue::reveal),
            region: &self.settings.region,
            service: "s3",
        };
        let request = Request { method: method.as_str(), host: &self.host, path: &path, query: parts, body: &body };
        signer.sign(&request, Timestamp(now() + self.ahead.load(Ordering::Relaxed)), &mut headers);
        let mut url = format!("{}{path}", self.origin);
        if !parts.is_empty() {
            url = format!("{url}?{}", query(parts));
        }
        self.http.send(method.clone(), &url, &headers, body).await
    }

    /// After a refusal for the time: takes the service's. Says whether that was it.
    fn set_clock(&self, reply: &Reply) -> bool {
        let is_late = std::str::from_utf8(&reply.body).is_ok_and(|body| body.contains("RequestTimeTooSkewed"));
        let theirs = reply.header("date").and_then(moment);
        match theirs {
            Some(theirs) if is_late => {
                self.ahead.store(theirs - now(), Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }

    /// Headers of a new object.
    fn kept(&self, purpose: Purpose) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(key) = &self.settings.kms_key_id {
            headers.push(("x-amz-server-side-encryption", "aws:kms".to_owned()));
            headers.push(("x-amz-server-side-encryption-aws-kms-key-id", key.clone()));
        }
        if let Some(class) = self.settings.storage_class.as_ref().filter(|_| purpose == Purpose::Rows) {
            headers.push(("x-amz-storage-class", class.clone()));
        }
        if !self.settings.tags.is_empty() {
            let tags: Vec<(&str, &str)> =
                self.settings.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(("x-amz-tagging", query(&tags)));
        }
        headers
    }
}

#[async_trait]
impl Objects for S3 {
    fn place(&self) -> String {
        format!("s3://{}", self.settings.bucket)
    }

    fn pieces(&self) -> Pieces {
        Pieces { bytes: PIECE, at_once: AT_ONCE }
    }

    async fn put(&self, key: &str, bytes: Bytes, when: When, purpose: Purpose) -> Result<(), Answer> {
        let mut headers = self.kept(purpose);
        if when == When::Free {
            headers.push(("if-none-match", "*".to_owned()));
        }
        let reply = self.ask(Method::PUT, Some(key), &[], headers, bytes).await?;
        if is_success(&reply) { Ok(()) } else { Err(said::answer(&reply)) }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Answer> {
        let reply = self.ask(Method::GET, Some(key), &[], Vec::new(), Bytes::new()).await?;
        if is_success(&reply) {
            return Ok(Some(reply.body));
        }
        absent_is_none(said::answer(&reply))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, Answer> {
        let reply = self.ask(Method::HEAD, Some(key), &[], Vec::new(), Bytes::new()).await?;
        if !is_success(&reply) {
            return absent_is_none(said::answer(&reply));
        }
        let bytes = reply.header("content-length").and_then(|length| length.parse().ok());
        bytes.map(Some).ok_or_else(|| Answer::Refused("an object has no size".into()))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, Answer> {
        let mut parts = vec![("list-type", "2"), ("delimiter", "/"), ("prefix", prefix)];
        parts.extend(after.map(|after| ("continuation-token", after)));
        let reply = self.ask(Method::GET, None, &parts, Vec::new(), Bytes::new()).await?;
        if is_success(&reply) { said::page(&reply.body) } else { Err(said::answer(&reply)) }
    }

    async fn delete(&self, key: &str) -> Result<(), Answer> {
        let reply = self.ask(Method::DELETE, Some(key), &[], Vec::new(), Bytes::new()).await?;
        if is_success(&reply) { Ok(()) } else { absent_is_none::<()>(said::answer(&reply)).map(drop) }
    }

    async fn begin(&self, key: &str) -> Result<String, Answer> {
        let headers = self.kept(Purpose::Rows);
        let reply = self.ask(Method::POST, Some(key), &[("uploads", "")], headers, Bytes::new()).await?;
        if is_success(&reply) { said::upload_id(&reply.body) } else { Err(said::answer(&reply)) }
    }

    async fn piece(&self, key: &str, upload: &str, piece: &Piece) -> Result<String, Answer> {
        let number = piece.number.to_string();
        let parts = [("partNumber", number.as_str()), ("uploadId", upload)];
        patiently(|| async {
            let reply = self.ask(Method::PUT, Some(key), &parts, Vec::new(), piece.bytes.clone()).await?;
            match reply.header("etag").filter(|_| is_success(&reply)) {
                Some(tag) => Ok(tag.to_owned()),
                None => Err(said::answer(&reply)),
            }
        })
        .await
    }

    async fn complete(&self, key: &str, upload: &str, pieces: &[String]) -> Result<(), Answer> {
        let body = Bytes::from(said::completion(pieces));
        let headers = vec![("if-none-match", "*".to_owned()), ("content-type", "application/xml".to_owned())];
        let reply = self.ask(Method::POST, Some(key), &[("uploadId", upload)], headers, body).await?;
        match said::late_error(&reply) {
            Some(answer) if is_success(&reply) => Err(answer),
            None if is_success(&reply) => Ok(()),
            _ => Err(said::answer(&reply)),
        }
    }

    async fn abort(&self, key: &str, upload: &str) -> Result<(), Answer> {
        let reply = self.ask(Method::DELETE, Some(key), &[("uploadId", upload)], Vec::new(), Bytes::new()).await?;
        if is_success(&reply) { Ok(()) } else { Err(said::answer(&reply)) }
    }

    async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, Answer> {
        let mut found = Vec::new();
        let mut next: Option<(String, String)> = None;
        loop {
            let mut parts = vec![("uploads", ""), ("prefix", prefix)];
            if let Some((key, upload)) = &next {
                parts.extend([("key-marker", key.as_str()), ("upload-id-marker", upload.as_str())]);
            }
            let reply = self.ask(Method::GET, None, &parts, Vec::new(), Bytes::new()).await?;
            if !is_success(&reply) {
                return Err(said::answer(&reply));
            }
            let (uploads, more) = said::uploads(&reply.body)?;
            found.extend(uploads);
            next = more;
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    fn grant(&self, deed: Deed, key: &str) -> Grant {
        let bucket = format!("arn:aws:s3:::{}", self.settings.bucket);
        let (permission, resource) = match deed {
            Deed::Create | Deed::Replace | Deed::Write => ("s3:PutObject", format!("{bucket}/{}*", above(key))),
            Deed::Read | Deed::Size => ("s3:GetObject", format!("{bucket}/{}*", above(key))),
            Deed::Delete => ("s3:DeleteObject", format!("{bucket}/{}*", above(key))),
            Deed::Abort => ("s3:AbortMultipartUpload", format!("{bucket}/{}*", above(key))),
            Deed::List => ("s3:ListBucket", bucket),
            Deed::ListUploads => ("s3:ListBucketMultipartUploads", bucket),
        };
        let line = format!(r#"{{"Effect":"Allow","Action":"{permission}","Resource":"{resource}"}}"#);
        Grant { permission: permission.into(), line }
    }
}

/// The lake's root, as far as a key tells it: what comes before `_millrace/`, else the whole bucket.
fn above(key: &str) -> &str {
    key.find("_millrace/").and_then(|at| key.get(..at)).unwrap_or_default()
}

fn is_success(reply: &Reply) -> bool {
    (200..300).contains(&reply.status)
}

fn absent_is_none<T>(answer: Answer) -> Result<Option<T>, Answer> {
    if answer == Answer::Missing { Ok(None) } else { Err(answer) }
}

#[expect(clippy::disallowed_methods, reason = "requests are signed with the machine's time")]
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    #[async_trait]
    impl AwsIdentity for Nobody {
        async fn keys(&self) -> Result<AwsKeys, Fault> {
            Err(unfit("nobody"))
        }
    }

    fn at(bucket: &str, endpoint: Option<&str>, path_style: bool) -> (String, String) {
        let settings = S3Settings {
            bucket: bucket.into(),
            region: "eu-west-1".into(),
            endpoint: endpoint.map(str::to_owned),
            path_style,
            ..S3Settings::default()
        };
        let s3 = S3::new(settings, Arc::new(Nobody)).unwrap();
        (s3.origin, s3.base)
    }

    #[test]
    fn a_bucket_stands_in_the_host_or_in_the_path() {
        let place = |origin: &str, base: &str| (origin.to_owned(), base.to_owned());
        assert_eq!(at("lake", None, false), place("https://lake.s3.eu-west-1.amazonaws.com", ""));
        assert_eq!(at("la.ke", None, false), place("https://s3.eu-west-1.amazonaws.com", "/la.ke"));
        assert_eq!(at("lake", Some("http://127.0.0.1:9000/"), true), place("http://127.0.0.1:9000", "/lake"));
        assert_eq!(at("lake", Some("https://s3.example"), false), place("https://lake.s3.example", ""));
    }
}
