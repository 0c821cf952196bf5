//! A service for objects as a store: what S3, Azure Blob and Google Cloud Storage have in common.
//!
//! Each service is an [`Objects`]: one request a call, an [`Answer`] for everything that is no yes. What stands here makes
//! a [`Store`] of it: prefixes, faults with their cures, what is tried again and what never, and uploads that grow.
//!
//! Invariant: nothing is tried again but what may happen twice without harm. A create is asked once; what became of an
//! unanswered one the caller finds out by reading.

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod http;
mod proof;
mod retry;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_model::{ByteSize, Fault, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Created, Entry, EntryKind, Store, Upload, clean_prefix};
use crate::fault::{Cause, lost_task};
pub(crate) use address::Endpoint;
pub(crate) use answer::{Answer, Deed, Grant};
pub use proof::{Proof, Prover};
pub(crate) use retry::{patiently, pause};
pub(crate) use upload::Piece;

/// Requests that are under way at once for one call that asks for many objects.
const LANES: usize = 16;

/// On what condition something is put under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Only if the name is free.
    Free,
    /// Whatever stands there.
    Always,
}

/// What an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Commits, states, the hint: small, and read at every start.
    Chain,
    /// Rows.
    Rows,
}

/// A part of a listing.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Names of objects from the root of the bucket on.
    pub(crate) objects: Vec<Object>,
    /// Beginnings that more objects share; they end in `/`.
    pub(crate) folders: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<String>,
}

/// An object in a listing.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) bytes: u64,
    pub(crate) modified: Timestamp,
}

/// An upload that was begun and never came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfinished {
    pub(crate) key: String,
    pub(crate) upload: String,
}

/// How uploads in pieces have to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pieces {
    /// Bytes of each but the last.
    pub(crate) bytes: usize,
    /// Pieces of one upload that may be under way at once.
    pub(crate) at_once: usize,
}

/// A service for objects. Each call is one request.
#[async_trait]
pub(crate) trait Objects: Send + Sync + 'static {
    /// The root, for people: `s3://bucket`.
    fn place(&self) -> String;

    /// How it wants uploads.
    fn pieces(&self) -> Pieces;

    /// Puts an object, whole.
    async fn put(&self, key: &str, bytes: Bytes, when: When, purpose: Purpose) -> Result<(), Answer>;

    /// The bytes of an object; `None` only if the service says that it is not there.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Answer>;

    /// The size of an object; `None` only if the service says that it is not there.
    async fn size(&self, key: &str) -> Result<Option<u64>, Answer>;

    /// What begins with `prefix`, up to the next `/`; from `after` on.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, Answer>;

    /// Deletes an object, if it is there.
    async fn delete(&self, key: &str) -> Result<(), Answer>;

    /// Begins an upload in pieces; gives its id.
    async fn begin(&self, key: &str) -> Result<String, Answer>;

    /// Sends a piece, again where no answer comes; gives what `complete` wants to hear of it.
    async fn piece(&self, key: &str, upload: &str, piece: &Piece) -> Result<String, Answer>;

    /// Makes an object of all pieces, in order, if its name is free.
    async fn complete(&self, key: &str, upload: &str, pieces: &[String]) -> Result<(), Answer>;

    /// Gives an upload up.
    async fn abort(&self, key: &str, upload: &str) -> Result<(), Answer>;

    /// Uploads below `prefix` that were begun and never ended. Nothing where they end by themselves.
    async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, Answer>;

    /// What an identity needs to do something, and what grants it.
    fn grant(&self, deed: Deed, key: &str) -> Grant;

    /// What grants a permission.
    fn line(&self, permission: &str, key: &str) -> String;
}

/// A service for objects as a store.
#[derive(Clone)]
pub struct ObjectStore {
    objects: Arc<dyn Objects>,
    prefix: String,
    /// A permit for each piece in memory that is under way.
    sending: Arc<Semaphore>,
}

impl ObjectStore {
    /// The bucket's root. Uploads may hold about `memory` beyond what their files' open ends take.
    pub(crate) fn new(objects: impl Objects, memory: ByteSize) -> Self {
        let piece = objects.pieces().bytes as u64;
        let sending = usize::try_from(memory.get() / piece).unwrap_or(usize::MAX).clamp(1, LANES);
        Self { objects: Arc::new(objects), prefix: String::new(), sending: Arc::new(Semaphore::new(sending)) }
    }

    fn key(&self, path: &str) -> String {
        match (self.prefix.as_str(), path) {
            ("", path) => path.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        }
    }

    /// The beginning that everything in a folder shares.
    fn folder(&self, path: &str) -> String {
        let key = self.key(path);
        if key.is_empty() { key } else { key + "/" }
    }

    /// What an answer that is no yes means for the lake.
    async fn fault(&self, deed: Deed, key: &str, answer: Answer) -> Fault {
        // A service that may not say what there is says of a missing name that one may not read it.
        let may_be_listing = matches!(answer, Answer::Denied { permission: None, .. });
        let may_be_listing = may_be_listing && matches!(deed, Deed::Read | Deed::Size);
        let deed = if may_be_listing && self.may_not_list(key).await { Deed::List } else { deed };
        let usual = self.objects.grant(deed, key);
        // A service may name another one: of the key that it encrypts with, of a tag.
        let grant = match answer.permission() {
            Some(named) if named != usual.permission => {
                Grant { permission: named.to_owned(), line: self.objects.line(named, key) }
            }
            _ => usual,
        };
        answer.fault(deed, &format!("{}/{key}", self.objects.place()), &grant)
    }

    async fn may_not_list(&self, key: &str) -> bool {
        matches!(self.objects.list(key, None).await, Err(Answer::Denied { .. }))
    }

    async fn conflicted(&self, key: &str) -> Result<Created, Fault> {
        // Another create of this name was under way. Whoever waits for one that is still to come asks again.
        match patiently(|| self.objects.size(key)).await {
            Ok(Some(_)) => Ok(Created::Exists),
            Ok(None) => Err(self.fault(Deed::Create, key, Answer::Later("another create is under way".into())).await),
            Err(answer) => Err(self.fault(Deed::Size, key, answer).await),
        }
    }
}

#[async_trait]
impl Store for ObjectStore {
    /// A request takes some tens of milliseconds, whatever else there is to do.
    fn lanes(&self) -> usize {
        2 * LANES
    }

    fn under(&self, prefix: &str) -> Arc<dyn Store> {
        Arc::new(Self { prefix: clean_prefix(&self.key(prefix)), ..self.clone() })
    }

    async fn create(&self, path: &str, bytes: Arc<[u8]>) -> Result<Created, Fault> {
        let key = self.key(path);
        match self.objects.put(&key, Bytes::from_owner(bytes), When::Free, Purpose::Chain).await {
            Ok(()) => Ok(Created::Created),
            Err(Answer::Taken) => Ok(Created::Exists),
            Err(Answer::Conflict) => self.conflicted(&key).await,
            Err(answer) => Err(self.fault(Deed::Create, &key, answer).await),
        }
    }

    async fn read(&self, path: &str) -> Result<Option<Arc<[u8]>>, Fault> {
        let key = self.key(path);
        match patiently(|| self.objects.get(&key)).await {
            Ok(found) => Ok(found.map(|bytes| Arc::from(&*bytes))),
            Err(answer) => Err(self.fault(Deed::Read, &key, answer).await),
        }
    }

    async fn read_many(&self, paths: Vec<String>) -> Result<Vec<Option<Arc<[u8]>>>, Fault> {
        let mut found = vec![None; paths.len()];
        let mut lanes = JoinSet::new();
        let mut paths = paths.into_iter().enumerate();
        loop {
            while lanes.len() < LANES {
                let Some((at, path)) = paths.next() else { break };
                let store = self.clone();
                lanes.spawn(async move { store.read(&path).await.map(|bytes| (at, bytes)) });
            }
            let Some(read) = lanes.join_next().await else { return Ok(found) };
            let (at, bytes) = read.map_err(lost_task)??;
            if let Some(place) = found.get_mut(at) {
                *place = bytes;
            }
        }
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, Fault> {
        let key = self.key(path);
        match patiently(|| self.objects.size(&key)).await {
            Ok(found) => Ok(found),
            Err(answer) => Err(self.fault(Deed::Size, &key, answer).await),
        }
    }

    /// An object that can be seen is durable.
    async fn confirm(&self, _path: &str) -> Result<(), Fault> {
        Ok(())
    }

    async fn replace(&self, path: &str, bytes: Arc<[u8]>) -> Result<(), Fault> {
        let (key, bytes) = (self.key(path), Bytes::from_owner(bytes));
        match self.objects.put(&key, bytes, When::Always, Purpose::Chain).await {
            Ok(()) => Ok(()),
            Err(answer) => Err(self.fault(Deed::Replace, &key, answer).await),
        }
    }

    async fn begin(&self, path: &str) -> Result<Box<dyn Upload>, Fault> {
        Ok(Box::new(upload::Growing::new(self.clone(), self.key(path))))
    }

    /// Names of objects are as durable as their bytes.
    async fn settle(&self, _paths: &[String]) -> Result<(), Fault> {
        Ok(())
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>, Fault> {
        let prefix = self.folder(folder);
        let mut entries = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = match patiently(|| self.objects.list(&prefix, after.as_deref())).await {
                Ok(page) => page,
                Err(answer) => return Err(self.fault(Deed::List, &prefix, answer).await),
            };
            entries.extend(page.objects.into_iter().filter_map(|object| {
                let name = object.key.strip_prefix(&prefix).filter(|name| !name.is_empty())?.to_owned();
                let kind = EntryKind::File { bytes: object.bytes, modified: object.modified };
                Some(Entry { name, kind })
            }));
            entries.extend(page.folders.iter().filter_map(|folder| {
                let name = folder.strip_prefix(&prefix)?.trim_end_matches('/').to_owned();
                Some(Entry { name, kind: EntryKind::Folder })
            }));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(entries),
            }
        }
    }

    async fn delete(&self, path: &str) -> Result<(), Fault> {
        let key = self.key(path);
        match patiently(|| self.objects.delete(&key)).await {
            Ok(()) => Ok(()),
            Err(answer) => Err(self.fault(Deed::Delete, &key, answer).await),
        }
    }

    async fn prove_upload(&self, path: &str) -> Result<(), Fault> {
        let key = self.key(path);
        let upload = match patiently(|| self.objects.begin(&key)).await {
            Ok(upload) => upload,
            Err(answer) => return Err(self.fault(Deed::Write, &key, answer).await),
        };
        match patiently(|| self.objects.abort(&key, &upload)).await {
            // The first of two requests has done it.
            Ok(()) | Err(Answer::Missing) => Ok(()),
            Err(answer) => Err(self.fault(Deed::Abort, &key, answer).await),
        }
    }

    async fn give_up(&self, is_over: &(dyn for<'a> Fn(&'a str) -> bool + Sync)) -> Result<u64, Fault> {
        let prefix = self.folder("");
        let unfinished = match patiently(|| self.objects.unfinished(&prefix)).await {
            Ok(unfinished) => unfinished,
            Err(answer) => return Err(self.fault(Deed::ListUploads, &prefix, answer).await),
        };
        let mut given_up = 0;
        for Unfinished { key, upload } in unfinished {
            if key.strip_prefix(&prefix).is_some_and(is_over) {
                match patiently(|| self.objects.abort(&key, &upload)).await {
                    // Another sweep was quicker.
                    Ok(()) | Err(Answer::Missing) => given_up += 1,
                    Err(answer) => return Err(self.fault(Deed::Abort, &key, answer).await),
                }
            }
        }
        Ok(given_up)
    }
}

/// Where an object that is not there is no fault.
pub(crate) fn absent_is_none<T>(answer: Answer) -> Result<Option<T>, Answer> {
    if answer == Answer::Missing { Ok(None) } else { Err(answer) }
}

/// The error of a constructor: something that the pipeline file says is no setting of the service.
pub(crate) fn unfit(what: impl Into<String>) -> Fault {
    Cause::Unfit { what: what.into() }.into()
}
