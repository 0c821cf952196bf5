//! Amazon S3, and whatever speaks its language, as a service for objects.
//!
//! An own client: of S3's 120 calls a lake needs nine, each signed, each asked once, and each answer told apart as
//! the protocol of the lake needs it (`said`). `docs/adr/0013-own-clients-of-the-stores.md` says why.

mod said;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use millrace_identity::{
    AwsCredentials, AwsIdentity, Signed, Surroundings, domain, encoded, http_date, is_region, sign,
};
use millrace_model::{ByteSize, Fault, Timestamp};
use reqwest::{Method, Url};

use super::objects::address::{path, query, whole_origin};
use super::objects::http::{Reply, headers, send};
use super::objects::{
    Answer, Deed, Endpoint, Grant, ObjectStore, Objects, Page, Piece, Pieces, Purpose, Unfinished, When,
    absent_is_none, patiently, unfit,
};

/// The least that S3 takes for a piece that is not the last.
const PIECE: usize = 5 << 20;
/// One connection seldom gives more than a tenth of what a machine can send.
const AT_ONCE: usize = 4;

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
    around: Surroundings,
    settings: S3Settings,
    identity: Arc<dyn AwsIdentity>,
    /// Scheme and host, with a port that is not the usual one.
    origin: String,
    /// Before each key.
    base: String,
    /// How far the service's clock is ahead of ours, in microseconds.
    ahead: AtomicI64,
}

impl ObjectStore {
    /// A bucket of S3. Uploads may hold about `memory`. Connects nothing yet.
    pub fn s3(
        settings: S3Settings,
        identity: Arc<dyn AwsIdentity>,
        around: &Surroundings,
        memory: ByteSize,
    ) -> Result<Self, Fault> {
        Ok(Self::new(S3::new(settings, identity, around)?, memory))
    }
}

/// A request as far as it does not depend on who asks, and when.
#[derive(Clone, Copy)]
struct Request<'a> {
    method: &'a Method,
    key: Option<&'a str>,
    parts: &'a [(&'a str, &'a str)],
    headers: &'a [(&'a str, String)],
}

impl S3 {
    fn new(settings: S3Settings, identity: Arc<dyn AwsIdentity>, around: &Surroundings) -> Result<Self, Fault> {
        let (origin, base) = address(&settings)?;
        Ok(Self { around: around.clone(), origin, base, identity, ahead: AtomicI64::new(0), settings })
    }

    /// Asks once; a second time only where the clock was wrong or the service did not take the keys, because then nothing
    /// has happened.
    async fn ask(
        &self,
        method: Method,
        key: Option<&str>,
        parts: &[(&str, &str)],
        headers: Vec<(&str, String)>,
        body: Bytes,
    ) -> Result<Reply, Answer> {
        let request = Request { method: &method, key, parts, headers: &headers };
        let credentials = self.identity.credentials().await?;
        let reply = self.ask_once(request, &credentials, body.clone()).await?;
        if reply.status == 403 && self.set_clock(&reply) {
            return self.ask_once(request, &credentials, body).await;
        }
        if matches!(reply.status, 400 | 401 | 403) && matches!(said::answer(&reply), Answer::Unknown(_)) {
            self.identity.forget(&credentials);
            let credentials = self.identity.credentials().await?;
            return self.ask_once(request, &credentials, body).await;
        }
        Ok(reply)
    }

    async fn ask_once(&self, request: Request<'_>, credentials: &AwsCredentials, body: Bytes) -> Result<Reply, Answer> {
        let Request { method, key, parts, headers: own } = request;
        let path = match key {
            Some(key) => format!("{}/{}", self.base, path(key)),
            // The bucket itself; as a host's root it has a slash.
            None if self.base.is_empty() => "/".to_owned(),
            None => self.base.clone(),
        };
        let mut all: Vec<(String, String)> =
            own.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        if self.settings.requester_pays {
            all.push(("x-amz-request-payer".into(), "requester".into()));
        }
        let mut headers = headers(&all)?;
        let mut address = format!("{}{path}", self.origin);
        if !parts.is_empty() {
            address = format!("{address}?{}", query(parts));
        }
        let url = Url::parse(&address).map_err(|error| Answer::Refused(format!("`{address}` is no URL: {error}")))?;
        let now = Timestamp(self.around.now().0 + self.ahead.load(Ordering::Relaxed));
        let region = &self.settings.region;
        sign(Signed { region, service: "s3", method, url: &url, body: &body, now }, credentials, &mut headers);
        send(self.around.http(), method.clone(), &address, headers, body).await
    }

    /// After a refusal for the time: takes the service's. Says whether that was it.
    fn set_clock(&self, reply: &Reply) -> bool {
        let is_late = std::str::from_utf8(&reply.body).is_ok_and(|body| body.contains("RequestTimeTooSkewed"));
        let theirs = reply.header("date").and_then(http_date);
        match theirs {
            Some(theirs) if is_late => {
                self.ahead.store(theirs.0 - self.around.now().0, Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }

    /// The key that objects are encrypted with, as a policy names it: by its ARN, never by an alias.
    fn kms_key(&self) -> String {
        let id = self.settings.kms_key_id.as_deref().unwrap_or("KEY");
        match id {
            _ if id.starts_with("arn:") && id.contains(":key/") => id.to_owned(),
            _ if id.contains(['/', ':']) => format!("arn:aws:kms:{}:ACCOUNT:key/KEY", self.settings.region),
            _ => format!("arn:aws:kms:{}:ACCOUNT:key/{id}", self.settings.region),
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
        if reply.is_success() { Ok(()) } else { Err(said::answer(&reply)) }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Answer> {
        let reply = self.ask(Method::GET, Some(key), &[], Vec::new(), Bytes::new()).await?;
        if reply.is_success() {
            return Ok(Some(reply.body));
        }
        absent_is_none(said::answer(&reply))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, Answer> {
        let mut reply = self.ask(Method::HEAD, Some(key), &[], Vec::new(), Bytes::new()).await?;
        if matches!(reply.status, 400 | 401 | 403) {
            // A reply to HEAD has no body, and so no code: keys that have ended, a wrong clock and a missing permission look
            // alike. One to GET has, and all is put right there that can be.
            let first_byte = vec![("range", "bytes=0-0".to_owned())];
            reply = self.ask(Method::GET, Some(key), &[], first_byte, Bytes::new()).await?;
        }
        match said::whole_size(&reply) {
            Some(bytes) => Ok(Some(bytes)),
            None if reply.is_success() => Err(Answer::Refused("an object has no size".into())),
            None => absent_is_none(said::answer(&reply)),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, Answer> {
        let mut parts = vec![("list-type", "2"), ("delimiter", "/"), ("prefix", prefix)];
        parts.extend(after.map(|after| ("continuation-token", after)));
        let reply = self.ask(Method::GET, None, &parts, Vec::new(), Bytes::new()).await?;
        if reply.is_success() { said::page(&reply.body) } else { Err(said::answer(&reply)) }
    }

    async fn delete(&self, key: &str) -> Result<(), Answer> {
        let reply = self.ask(Method::DELETE, Some(key), &[], Vec::new(), Bytes::new()).await?;
        if reply.is_success() { Ok(()) } else { absent_is_none::<()>(said::answer(&reply)).map(drop) }
    }

    async fn begin(&self, key: &str) -> Result<String, Answer> {
        let headers = self.kept(Purpose::Rows);
        let reply = self.ask(Method::POST, Some(key), &[("uploads", "")], headers, Bytes::new()).await?;
        if reply.is_success() { said::upload_id(&reply.body) } else { Err(said::answer(&reply)) }
    }

    async fn piece(&self, key: &str, upload: &str, piece: &Piece) -> Result<String, Answer> {
        let number = piece.number.to_string();
        let parts = [("partNumber", number.as_str()), ("uploadId", upload)];
        patiently(|| async {
            let reply = self.ask(Method::PUT, Some(key), &parts, Vec::new(), piece.bytes.clone()).await?;
            match reply.header("etag").filter(|_| reply.is_success()) {
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
            Some(answer) if reply.is_success() => Err(answer),
            None if reply.is_success() => Ok(()),
            _ => Err(said::answer(&reply)),
        }
    }

    async fn abort(&self, key: &str, upload: &str) -> Result<(), Answer> {
        let reply = self.ask(Method::DELETE, Some(key), &[("uploadId", upload)], Vec::new(), Bytes::new()).await?;
        if reply.is_success() { Ok(()) } else { Err(said::answer(&reply)) }
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
            if !reply.is_success() {
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
        let permission = match deed {
            Deed::Create | Deed::Replace | Deed::Write => "s3:PutObject",
            Deed::Read | Deed::Size => "s3:GetObject",
            Deed::Delete => "s3:DeleteObject",
            Deed::Abort => "s3:AbortMultipartUpload",
            Deed::List => "s3:ListBucket",
            Deed::ListUploads => "s3:ListBucketMultipartUploads",
        };
        Grant { permission: permission.into(), line: self.line(permission, key) }
    }

    fn line(&self, permission: &str, key: &str) -> String {
        let bucket = format!("arn:aws:s3:::{}", self.settings.bucket);
        let resource = match permission {
            "s3:ListBucket" | "s3:ListBucketMultipartUploads" => bucket,
            _ if permission.starts_with("kms:") => self.kms_key(),
            _ => format!("{bucket}/{}*", above(key)),
        };
        format!(r#"{{"Effect":"Allow","Action":"{permission}","Resource":"{resource}"}}"#)
    }
}

/// Where the bucket is: its origin, and what comes before each key.
fn address(settings: &S3Settings) -> Result<(String, String), Fault> {
    let S3Settings { bucket, region, .. } = settings;
    if !is_region(region) {
        return Err(unfit(format!("`{region}` is no region; write one as in `eu-west-1`")));
    }
    let usual = || format!("https://s3.{region}.{}", domain(region));
    let Endpoint { scheme, host, path } = Endpoint::parse(&settings.endpoint.clone().unwrap_or_else(usual))?;
    // A dot in the bucket's name and the certificate of `*.s3.…` do not fit together.
    let in_path = settings.path_style || (bucket.contains('.') && scheme == "https");
    let host = if in_path { host } else { format!("{bucket}.{host}") };
    let origin = whole_origin(&scheme, &host)?;
    Ok((origin, if in_path { format!("{path}/{}", encoded(bucket)) } else { path }))
}

/// The lake's root, as far as a key tells it: what comes before `_millrace/`, else the whole bucket.
fn above(key: &str) -> &str {
    key.find("_millrace/").and_then(|at| key.get(..at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(bucket: &str, region: &str, endpoint: Option<&str>, path_style: bool) -> S3Settings {
        let (bucket, region, endpoint) = (bucket.into(), region.into(), endpoint.map(str::to_owned));
        S3Settings { bucket, region, endpoint, path_style, ..S3Settings::default() }
    }

    fn at(bucket: &str, endpoint: Option<&str>, path_style: bool) -> (String, String) {
        address(&settings(bucket, "eu-west-1", endpoint, path_style)).unwrap()
    }

    #[test]
    fn neither_bucket_nor_region_leads_to_another_host() {
        let elsewhere = Some("http://127.0.0.1:9000");
        for (bucket, region, endpoint) in [
            ("lake", "x.evil.example/", None),
            ("lake", "evil.example#", None),
            ("134744072/", "eu-west-1", None),
            ("evil.example/", "eu-west-1", elsewhere),
            ("evil@", "eu-west-1", elsewhere),
            ("evil?", "eu-west-1", None),
        ] {
            assert!(address(&settings(bucket, region, endpoint, false)).is_err(), "{bucket} {region}");
        }
        assert_eq!(at("Lake_1", None, false).0, "https://Lake_1.s3.eu-west-1.amazonaws.com");
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
