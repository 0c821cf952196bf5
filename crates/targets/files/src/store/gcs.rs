//! Google Cloud Storage as a service for objects, through its JSON API.
//!
//! Why not its XML API, which S3's client could nearly speak: no emulator has it, and what cannot be tested is not promised.
//! An upload in pieces is a resumable one: its pieces go one after the other, and after a lost reply the service says how
//! far it has come.

mod said;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_identity::{Surroundings, encoded};
use millrace_model::{ByteSize, Fault};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::objects::address::query;
use super::objects::http::{Reply, headers, send};
use super::objects::{
    Answer, Deed, Endpoint, Grant, ObjectStore, Objects, Page, Piece, Pieces, Proof, Prover, Purpose, Unfinished, When,
    absent_is_none, pause,
};

/// A multiple of 256 KiB, as the manual demands. Pieces go one by one, so a small one would wait for its reply too often.
const PIECE: usize = 8 << 20;
/// Times that what is left of a piece is sent without getting on.
const ATTEMPTS: u32 = 5;

/// Where the objects lie, and how they shall be kept.
#[derive(Clone, Debug, Default)]
pub struct GcsSettings {
    /// Name of the bucket.
    pub bucket: String,
    /// Address of a service that is not Google's.
    pub endpoint: Option<String>,
    /// Key of Cloud KMS to encrypt with.
    pub kms_key_name: Option<String>,
    /// Storage class of data files. Commits and states are read at every start: they stay where the bucket puts them.
    pub storage_class: Option<String>,
    /// Project that pays for requests.
    pub user_project: Option<String>,
}

struct Gcs {
    around: Surroundings,
    settings: GcsSettings,
    prover: Arc<dyn Prover>,
    /// Scheme, host and what of a path comes before the service's own.
    origin: String,
}

impl ObjectStore {
    /// A bucket of Google Cloud Storage. Uploads may hold about `memory`. Connects nothing yet.
    pub fn gcs(
        settings: GcsSettings,
        prover: Arc<dyn Prover>,
        around: &Surroundings,
        memory: ByteSize,
    ) -> Result<Self, Fault> {
        let endpoint = settings.endpoint.as_deref().unwrap_or("https://storage.googleapis.com");
        let endpoint = Endpoint::parse(endpoint)?;
        let origin = endpoint.origin() + &endpoint.path;
        Ok(Self::new(Gcs { around: around.clone(), settings, prover, origin }, memory))
    }
}

impl Gcs {
    /// Asks once; a second time only where the service did not take the token, because then nothing has happened.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        parts: &[(&str, &str)],
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Reply, Answer> {
        let mut parts = parts.to_vec();
        parts.extend(self.settings.user_project.as_deref().map(|project| ("userProject", project)));
        let mut url = format!("{}{path}", self.origin);
        if !parts.is_empty() {
            url = format!("{url}{}{}", if url.contains('?') { '&' } else { '?' }, query(&parts));
        }
        let proof = self.prover.proof().await?;
        let reply = self.ask_once(&method, &url, headers, &proof, body.clone()).await?;
        if reply.status == 401
            && let Some(proof) = self.prover.another(&proof).await?
        {
            return self.ask_once(&method, &url, headers, &proof, body).await;
        }
        Ok(reply)
    }

    async fn ask_once(
        &self,
        method: &Method,
        url: &str,
        own: &[(&str, String)],
        proof: &Proof,
        body: Bytes,
    ) -> Result<Reply, Answer> {
        let mut all: Vec<(String, String)> =
            own.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        all.extend(proof.bearer().map(|bearer| ("authorization".to_owned(), bearer)));
        send(self.around.http(), method.clone(), url, headers(&all)?, body).await
    }

    fn object(&self, key: &str) -> String {
        format!("/storage/v1/b/{}/o/{}", encoded(&self.settings.bucket), encoded(key))
    }

    fn upload(&self) -> String {
        format!("/upload/storage/v1/b/{}/o", encoded(&self.settings.bucket))
    }

    /// What a new object's request says beside its name and bytes.
    fn conditions(&self, when: When) -> Vec<(&str, &str)> {
        let mut parts = Vec::new();
        if when == When::Free {
            parts.push(("ifGenerationMatch", "0"));
        }
        parts.extend(self.settings.kms_key_name.as_deref().map(|key| ("kmsKeyName", key)));
        parts
    }

    fn described(&self, key: &str, purpose: Purpose) -> Value {
        match self.settings.storage_class.as_ref().filter(|_| purpose == Purpose::Rows) {
            Some(class) => json!({"name": key, "storageClass": class}),
            None => json!({ "name": key }),
        }
    }

    /// One request of a resumable upload: bytes from `from` on. How many bytes of the whole the service holds then; `None`
    /// when the object is there.
    async fn send(&self, upload: &str, from: u64, bytes: Bytes, total: Option<u64>) -> Result<Option<u64>, Answer> {
        let total = total.map_or("*".to_owned(), |total| total.to_string());
        let range = match bytes.len() as u64 {
            0 => format!("bytes */{total}"),
            length => format!("bytes {from}-{}/{total}", from + length - 1),
        };
        let reply = self.ask(Method::PUT, upload, &[], &[("content-range", range)], bytes).await?;
        match reply.status {
            200 | 201 => Ok(None),
            308 => Ok(Some(said::held(&reply))),
            _ => Err(said::answer(&reply)),
        }
    }
}

#[async_trait]
impl Objects for Gcs {
    fn place(&self) -> String {
        format!("gs://{}", self.settings.bucket)
    }

    fn pieces(&self) -> Pieces {
        Pieces { bytes: PIECE, at_once: 1 }
    }

    async fn put(&self, key: &str, bytes: Bytes, when: When, purpose: Purpose) -> Result<(), Answer> {
        let mut parts = self.conditions(when);
        parts.push(("uploadType", "multipart"));
        let (kind, body) = said::related(&self.described(key, purpose), &bytes);
        let reply = self.ask(Method::POST, &self.upload(), &parts, &[("content-type", kind)], body).await?;
        if reply.is_success() { Ok(()) } else { Err(of_new(said::answer(&reply))) }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Answer> {
        let reply = self.ask(Method::GET, &self.object(key), &[("alt", "media")], &[], Bytes::new()).await?;
        if reply.is_success() {
            return Ok(Some(reply.body));
        }
        absent_is_none(said::answer(&reply))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, Answer> {
        let reply = self.ask(Method::GET, &self.object(key), &[("fields", "size")], &[], Bytes::new()).await?;
        if !reply.is_success() {
            return absent_is_none(said::answer(&reply));
        }
        said::size(&said::parse(&reply)?).map(Some)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, Answer> {
        let path = format!("/storage/v1/b/{}/o", encoded(&self.settings.bucket));
        let mut parts = vec![("delimiter", "/"), ("prefix", prefix)];
        parts.extend(after.map(|after| ("pageToken", after)));
        let reply = self.ask(Method::GET, &path, &parts, &[], Bytes::new()).await?;
        if reply.is_success() { said::page(&said::parse(&reply)?) } else { Err(said::answer(&reply)) }
    }

    async fn delete(&self, key: &str) -> Result<(), Answer> {
        let reply = self.ask(Method::DELETE, &self.object(key), &[], &[], Bytes::new()).await?;
        if reply.is_success() { Ok(()) } else { absent_is_none::<()>(said::answer(&reply)).map(drop) }
    }

    async fn begin(&self, key: &str) -> Result<String, Answer> {
        let mut parts = self.conditions(When::Free);
        parts.extend([("uploadType", "resumable"), ("name", key)]);
        let body = Bytes::from(self.described(key, Purpose::Rows).to_string());
        let headers = [("content-type", "application/json".to_owned())];
        let reply = self.ask(Method::POST, &self.upload(), &parts, &headers, body).await?;
        if !reply.is_success() {
            return Err(of_new(said::answer(&reply)));
        }
        // Where the upload goes on; without the host, which is the one that was asked.
        let place = reply.header("location").and_then(|location| Url::parse(location).ok());
        let place =
            place.map(|url| url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path())));
        place.ok_or_else(|| Answer::Refused("an upload that was begun has no place".into()))
    }

    async fn piece(&self, _key: &str, upload: &str, piece: &Piece) -> Result<String, Answer> {
        let end = piece.offset + piece.bytes.len() as u64;
        let total = piece.is_last.then_some(end);
        let (mut from, mut idle) = (piece.offset, 0);
        while idle < ATTEMPTS {
            let skipped = usize::try_from(from - piece.offset).unwrap_or_default();
            let rest = piece.bytes.slice(skipped.min(piece.bytes.len())..);
            let sent = match self.send(upload, from, rest, total).await {
                Err(answer) if answer.is_later() => {
                    pause(idle).await;
                    // How much of it has come, and whether that was all.
                    self.send(upload, 0, Bytes::new(), total).await
                }
                other => other,
            };
            match sent {
                Ok(None) => return Ok(String::new()),
                Ok(Some(held)) if held >= end && !piece.is_last => return Ok(String::new()),
                // Less than was sent is no error: what it holds is a multiple of 256 KiB.
                Ok(Some(held)) if held > from => (from, idle) = (held.min(end), 0),
                Ok(Some(held)) if held < piece.offset => {
                    return Err(Answer::Refused(format!("an upload has lost bytes: it holds {held}")));
                }
                Err(answer) if !answer.is_later() => return Err(answer),
                Ok(Some(_)) | Err(_) => idle += 1,
            }
        }
        Err(Answer::Later("an upload does not get on".into()))
    }

    async fn complete(&self, _key: &str, _upload: &str, _pieces: &[String]) -> Result<(), Answer> {
        Ok(())
    }

    async fn abort(&self, _key: &str, upload: &str) -> Result<(), Answer> {
        // 499 is the yes of this request.
        let reply = self.ask(Method::DELETE, upload, &[], &[], Bytes::new()).await?;
        if reply.is_success() || reply.status == 499 { Ok(()) } else { Err(said::answer(&reply)) }
    }

    /// They end by themselves after a week, and are not charged.
    async fn unfinished(&self, _prefix: &str) -> Result<Vec<Unfinished>, Answer> {
        Ok(Vec::new())
    }

    fn grant(&self, deed: Deed, key: &str) -> Grant {
        let permission = match deed {
            Deed::Create | Deed::Write | Deed::Abort => "storage.objects.create",
            // To put something in the place of an object takes two: to make one, and to delete what was there.
            Deed::Replace | Deed::Delete => "storage.objects.delete",
            Deed::Read | Deed::Size => "storage.objects.get",
            Deed::List | Deed::ListUploads => "storage.objects.list",
        };
        Grant { permission: permission.into(), line: self.line(permission, key) }
    }

    fn line(&self, permission: &str, _key: &str) -> String {
        let GcsSettings { bucket, user_project, .. } = &self.settings;
        if permission.starts_with("serviceusage.") {
            let project = user_project.as_deref().unwrap_or("PROJECT");
            return format!(
                "a role with it on the project that pays, for example: gcloud projects add-iam-policy-binding {project} \
                 --member=MEMBER --role=roles/serviceusage.serviceUsageConsumer"
            );
        }
        format!(
            "a role with {permission} on the bucket, for example: gcloud storage buckets add-iam-policy-binding \
             gs://{bucket} --member=MEMBER --role=roles/storage.objectUser"
        )
    }
}

/// Where an object is to be made, only the bucket can be what is not there.
fn of_new(answer: Answer) -> Answer {
    if answer == Answer::Missing { Answer::NoBucket } else { answer }
}
