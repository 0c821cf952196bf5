//! Azure Blob Storage as a service for objects.
//!
//! Blobs are block blobs. An upload in pieces is a list of blocks that is put at the end; blocks that no list names vanish
//! after a week, so there is nothing to give up.

mod said;
mod sign;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use millrace_identity::{Surroundings, encoded, http_date as read_date};
use millrace_model::{ByteSize, Fault, Timestamp};
use reqwest::Method;

use super::objects::address::{path, query, whole_origin};
use super::objects::http::{Reply, headers, send};
use super::objects::{
    Answer, Deed, Endpoint, Grant, ObjectStore, Objects, Page, Piece, Pieces, Proof, Prover, Purpose, Unfinished, When,
    absent_is_none, patiently,
};
use sign::{http_date, sign};

/// Of a block. A blob has at most 50,000.
const PIECE: usize = 5 << 20;
/// One connection seldom gives more than a tenth of what a machine can send.
const AT_ONCE: usize = 4;
/// A clock that is off by less is not what a signature was refused for, in microseconds: Azure takes one of fifteen minutes.
const SKEW: i64 = 5 * 60 * 1_000_000;
/// The version of the service that the requests are written for.
const VERSION: &str = "2023-11-03";

/// Where the objects lie.
#[derive(Clone, Debug, Default)]
pub struct AbsSettings {
    /// Name of the storage account.
    pub account: String,
    /// Name of the container.
    pub container: String,
    /// Address of the account, where it is not `https://ACCOUNT.blob.core.windows.net`.
    pub endpoint: Option<String>,
}

struct Abs {
    around: Surroundings,
    settings: AbsSettings,
    prover: Arc<dyn Prover>,
    /// Scheme and host.
    origin: String,
    /// Path of the container.
    base: String,
    /// How far the service's clock is ahead of ours, in microseconds, where a signature was refused for it.
    ahead: AtomicI64,
}

impl ObjectStore {
    /// A container of Azure Blob Storage. Uploads may hold about `memory`. Connects nothing yet.
    pub fn abs(
        settings: AbsSettings,
        prover: Arc<dyn Prover>,
        around: &Surroundings,
        memory: ByteSize,
    ) -> Result<Self, Fault> {
        let address = match &settings.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => whole_origin("https", &format!("{}.blob.core.windows.net", settings.account))?,
        };
        let endpoint = Endpoint::parse(&address)?;
        // An emulator has the account in the path.
        let base = format!("{}/{}", endpoint.path, encoded(&settings.container));
        let origin = endpoint.origin();
        let ahead = AtomicI64::new(0);
        Ok(Self::new(Abs { around: around.clone(), settings, prover, origin, base, ahead }, memory))
    }
}

/// A request as far as it does not depend on who asks.
#[derive(Clone, Copy)]
struct Request<'a> {
    method: &'a Method,
    key: Option<&'a str>,
    parts: &'a [(&'a str, &'a str)],
    headers: &'a [(&'a str, &'a str)],
}

impl Abs {
    /// Asks once; again only where the clock was wrong or the service did not take the proof, because then nothing has happened.
    async fn ask(
        &self,
        method: Method,
        key: Option<&str>,
        parts: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, Answer> {
        let request = Request { method: &method, key, parts, headers };
        let proof = self.prover.proof().await?;
        let mut reply = self.ask_once(request, &proof, body.clone()).await?;
        if said::is_about_proof(&reply) && matches!(proof, Proof::Key(_)) && self.set_clock(&reply) {
            reply = self.ask_once(request, &proof, body.clone()).await?;
        }
        if said::is_about_proof(&reply)
            && let Some(proof) = self.prover.another(&proof).await?
        {
            return self.ask_once(request, &proof, body).await;
        }
        Ok(reply)
    }

    /// The service's time, as far as it is known.
    fn now(&self) -> Timestamp {
        Timestamp(self.around.now().0 + self.ahead.load(Ordering::Relaxed))
    }

    /// After a signature that was refused: takes the service's time, if ours is so far from it that this was why. Azure has one
    /// code for a wrong key and a wrong time.
    fn set_clock(&self, reply: &Reply) -> bool {
        let Some(theirs) = reply.header("date").and_then(read_date) else { return false };
        let is_off = (theirs.0 - self.now().0).abs() > SKEW;
        if is_off {
            self.ahead.store(theirs.0 - self.around.now().0, Ordering::Relaxed);
        }
        is_off
    }

    async fn ask_once(&self, request: Request<'_>, proof: &Proof, body: Bytes) -> Result<Reply, Answer> {
        let Request { method, key, parts, headers: own } = request;
        let path = key.map_or_else(|| self.base.clone(), |key| format!("{}/{}", self.base, path(key)));
        let mut all: Vec<(String, String)> =
            own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.push(("x-ms-date".into(), http_date(self.now())));
        all.push(("x-ms-version".into(), VERSION.into()));
        let authorization = match proof {
            Proof::Token(_) | Proof::Nothing => proof.bearer(),
            Proof::Key(secret) => {
                let Ok(secret) = BASE64.decode(secret.reveal()) else {
                    return Err(Answer::Unknown("the account's key is not base64".into()));
                };
                let account = &self.settings.account;
                let request = sign::Request { method: method.as_str(), path: &path, query: parts, length: body.len() };
                Some(format!("SharedKey {account}:{}", BASE64.encode(sign(&request, account, &secret, &all))))
            }
        };
        all.extend(authorization.map(|it| ("authorization".to_owned(), it)));
        let mut url = format!("{}{path}", self.origin);
        if !parts.is_empty() {
            url = format!("{url}?{}", query(parts));
        }
        send(self.around.http(), method.clone(), &url, headers(&all)?, body).await
    }
}

#[async_trait]
impl Objects for Abs {
    fn place(&self) -> String {
        format!("abs://{}/{}", self.settings.account, self.settings.container)
    }

    fn pieces(&self) -> Pieces {
        Pieces { bytes: PIECE, at_once: AT_ONCE }
    }

    async fn put(&self, key: &str, bytes: Bytes, when: When, _purpose: Purpose) -> Result<(), Answer> {
        let mut headers = vec![("x-ms-blob-type", "BlockBlob")];
        if when == When::Free {
            headers.push(("if-none-match", "*"));
        }
        let reply = self.ask(Method::PUT, Some(key), &[], &headers, bytes).await?;
        if reply.is_success() { Ok(()) } else { Err(said::answer(&reply)) }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Answer> {
        let reply = self.ask(Method::GET, Some(key), &[], &[], Bytes::new()).await?;
        if reply.is_success() {
            return Ok(Some(reply.body));
        }
        absent_is_none(said::answer(&reply))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, Answer> {
        let reply = self.ask(Method::HEAD, Some(key), &[], &[], Bytes::new()).await?;
        if !reply.is_success() {
            return absent_is_none(said::answer(&reply));
        }
        let bytes = reply.header("content-length").and_then(|length| length.parse().ok());
        bytes.map(Some).ok_or_else(|| Answer::Refused("a blob has no size".into()))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, Answer> {
        let mut parts = vec![("restype", "container"), ("comp", "list"), ("delimiter", "/")];
        // An empty one is refused by some.
        parts.extend((!prefix.is_empty()).then_some(("prefix", prefix)));
        parts.extend(after.map(|after| ("marker", after)));
        let reply = self.ask(Method::GET, None, &parts, &[], Bytes::new()).await?;
        if reply.is_success() { said::page(&reply.body) } else { Err(said::answer(&reply)) }
    }

    async fn delete(&self, key: &str) -> Result<(), Answer> {
        let reply = self.ask(Method::DELETE, Some(key), &[], &[], Bytes::new()).await?;
        if reply.is_success() { Ok(()) } else { absent_is_none::<()>(said::answer(&reply)).map(drop) }
    }

    /// Blocks are sent without a word before. The id keeps two uploads of one name apart, should there ever be two.
    async fn begin(&self, _key: &str) -> Result<String, Answer> {
        Ok(format!("{:016x}", fastrand::u64(..)))
    }

    async fn piece(&self, key: &str, upload: &str, piece: &Piece) -> Result<String, Answer> {
        // All ids of a blob's blocks have to be of one length.
        let id = BASE64.encode(format!("{upload}-{:06}", piece.number));
        let parts = [("comp", "block"), ("blockid", id.as_str())];
        patiently(|| async {
            let reply = self.ask(Method::PUT, Some(key), &parts, &[], piece.bytes.clone()).await?;
            if reply.is_success() { Ok(id.clone()) } else { Err(said::answer(&reply)) }
        })
        .await
    }

    async fn complete(&self, key: &str, _upload: &str, pieces: &[String]) -> Result<(), Answer> {
        let body = Bytes::from(said::block_list(pieces));
        let headers = [("if-none-match", "*"), ("content-type", "application/xml")];
        let reply = self.ask(Method::PUT, Some(key), &[("comp", "blocklist")], &headers, body).await?;
        if reply.is_success() { Ok(()) } else { Err(said::answer(&reply)) }
    }

    async fn abort(&self, _key: &str, _upload: &str) -> Result<(), Answer> {
        Ok(())
    }

    async fn unfinished(&self, _prefix: &str) -> Result<Vec<Unfinished>, Answer> {
        Ok(Vec::new())
    }

    fn grant(&self, deed: Deed, key: &str) -> Grant {
        let blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
        let permission = match deed {
            Deed::Create | Deed::Write | Deed::Replace | Deed::Abort => format!("{blobs}/write"),
            Deed::Read | Deed::Size | Deed::List | Deed::ListUploads => format!("{blobs}/read"),
            Deed::Delete => format!("{blobs}/delete"),
        };
        let line = self.line(&permission, key);
        Grant { permission, line }
    }

    fn line(&self, _permission: &str, _key: &str) -> String {
        let AbsSettings { account, container, .. } = &self.settings;
        format!(
            "a role with it on the container, for example: az role assignment create --assignee IDENTITY --role \
             \"Storage Blob Data Contributor\" --scope \"/subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/\
             Microsoft.Storage/storageAccounts/{account}/blobServices/default/containers/{container}\""
        )
    }
}
