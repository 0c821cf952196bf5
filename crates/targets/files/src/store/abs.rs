//! Azure Blob Storage as a service for objects.
//!
//! Blobs are block blobs. An upload in pieces is a list of blocks that is put at the end; blocks that no list names vanish
//! after a week, so there is nothing to give up.

mod said;
mod sign;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use millrace_model::{ByteSize, Fault, SecretValue, Timestamp};
use reqwest::{Method, Url};

use super::objects::http::{Http, Reply};
use super::objects::{
    Answer, Deed, Grant, ObjectStore, Objects, Page, Piece, Pieces, Purpose, Unfinished, When, patiently, unfit,
};
use super::s3::sign::{encode, query};
use sign::{http_date, sign};

/// Of a block. A blob has at most 50,000.
const PIECE: usize = 5 << 20;
/// One connection seldom gives more than a tenth of what a machine can send.
const AT_ONCE: usize = 4;
/// The version of the service that the requests are written for.
const VERSION: &str = "2023-11-03";

/// What proves who millrace is at a storage account.
#[derive(Clone, Debug)]
pub enum AzureProof {
    /// The account's key, in base64.
    Key(SecretValue),
    /// An access token of Microsoft Entra.
    Token(SecretValue),
}

/// Who millrace is on Azure. Asked before each request; whoever implements it keeps what is still valid.
#[async_trait]
pub trait AzureIdentity: Send + Sync {
    /// A proof that is valid now.
    async fn proof(&self) -> Result<AzureProof, Fault>;
}

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
    http: Http,
    settings: AbsSettings,
    identity: Arc<dyn AzureIdentity>,
    /// Scheme and host.
    origin: String,
    /// Path of the container.
    base: String,
}

impl ObjectStore {
    /// A container of Azure Blob Storage. Uploads may hold about `memory`. Connects nothing yet.
    pub fn abs(settings: AbsSettings, identity: Arc<dyn AzureIdentity>, memory: ByteSize) -> Result<Self, Fault> {
        let usual = || format!("https://{}.blob.core.windows.net", settings.account);
        let endpoint = settings.endpoint.clone().unwrap_or_else(usual);
        let url =
            Url::parse(&endpoint).map_err(|error| unfit(format!("the endpoint `{endpoint}` is no URL: {error}")))?;
        let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) else {
            return Err(unfit(format!("the endpoint `{endpoint}` is no URL with http or https")));
        };
        let host = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        let origin = format!("{}://{host}", url.scheme());
        // An emulator has the account in the path.
        let base = format!("{}/{}", url.path().trim_end_matches('/'), encode(&settings.container, false));
        Ok(Self::new(Abs { http: Http::new()?, settings, identity, origin, base }, memory))
    }
}

impl Abs {
    async fn ask(
        &self,
        method: Method,
        key: Option<&str>,
        parts: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, Answer> {
        let path = key.map_or(self.base.clone(), |key| format!("{}/{}", self.base, encode(key, true)));
        let mut headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.push(("x-ms-date".into(), http_date(now())));
        headers.push(("x-ms-version".into(), VERSION.into()));
        match self.identity.proof().await? {
            AzureProof::Token(token) => headers.push(("authorization".into(), format!("Bearer {}", token.reveal()))),
            AzureProof::Key(secret) => {
                let Ok(secret) = BASE64.decode(secret.reveal()) else {
                    return Err(Answer::Unknown("the account's key is not base64".into()));
                };
                let account = &self.settings.account;
                let request = sign::Request { method: method.as_str(), path: &path, query: parts, length: body.len() };
                let signature = BASE64.encode(sign(&request, account, &secret, &headers));
                headers.push(("authorization".into(), format!("SharedKey {account}:{signature}")));
            }
        }
        let mut url = format!("{}{path}", self.origin);
        if !parts.is_empty() {
            url = format!("{url}?{}", query(parts));
        }
        self.http.send(method, &url, &headers, body).await
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
        if is_success(&reply) { Ok(()) } else { Err(said::answer(&reply)) }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Answer> {
        let reply = self.ask(Method::GET, Some(key), &[], &[], Bytes::new()).await?;
        if is_success(&reply) {
            return Ok(Some(reply.body));
        }
        absent_is_none(said::answer(&reply))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, Answer> {
        let reply = self.ask(Method::HEAD, Some(key), &[], &[], Bytes::new()).await?;
        if !is_success(&reply) {
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
        if is_success(&reply) { said::page(&reply.body) } else { Err(said::answer(&reply)) }
    }

    async fn delete(&self, key: &str) -> Result<(), Answer> {
        let reply = self.ask(Method::DELETE, Some(key), &[], &[], Bytes::new()).await?;
        if is_success(&reply) { Ok(()) } else { absent_is_none::<()>(said::answer(&reply)).map(drop) }
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
            if is_success(&reply) { Ok(id.clone()) } else { Err(said::answer(&reply)) }
        })
        .await
    }

    async fn complete(&self, key: &str, _upload: &str, pieces: &[String]) -> Result<(), Answer> {
        let body = Bytes::from(said::block_list(pieces));
        let headers = [("if-none-match", "*"), ("content-type", "application/xml")];
        let reply = self.ask(Method::PUT, Some(key), &[("comp", "blocklist")], &headers, body).await?;
        if is_success(&reply) { Ok(()) } else { Err(said::answer(&reply)) }
    }

    async fn abort(&self, _key: &str, _upload: &str) -> Result<(), Answer> {
        Ok(())
    }

    async fn unfinished(&self, _prefix: &str) -> Result<Vec<Unfinished>, Answer> {
        Ok(Vec::new())
    }

    fn grant(&self, deed: Deed, _key: &str) -> Grant {
        let blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
        let permission = match deed {
            Deed::Create | Deed::Write | Deed::Replace | Deed::Abort => format!("{blobs}/write"),
            Deed::Read | Deed::Size | Deed::List | Deed::ListUploads => format!("{blobs}/read"),
            Deed::Delete => format!("{blobs}/delete"),
        };
        let AbsSettings { account, container, .. } = &self.settings;
        let line = format!(
            "a role with it on the container, for example: az role assignment create --assignee IDENTITY --role \
             \"Storage Blob Data Contributor\" --scope \"/subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/\
             Microsoft.Storage/storageAccounts/{account}/blobServices/default/containers/{container}\""
        );
        Grant { permission, line }
    }
}

fn is_success(reply: &Reply) -> bool {
    (200..300).contains(&reply.status)
}

fn absent_is_none<T>(answer: Answer) -> Result<Option<T>, Answer> {
    if answer == Answer::Missing { Ok(None) } else { Err(answer) }
}

#[expect(clippy::disallowed_methods, reason = "requests are signed with the machine's time")]
fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64))
}
