//! A store in memory, for tests: shared between writers, and with a hook before and after every call.
//!
//! A hook can lose an answer, refuse, or hold a call for as long as a test likes, for ever too: that is how a test kills or
//! stops a process at any step. Each clone made by `with_hook` is one writer's view of the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use millrace_model::{Fault, Timestamp};

use super::{Created, Entry, EntryKind, Store, Upload, clean_prefix};
use crate::fault::{Cause, rule};

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// `Store::create`
    Create,
    /// `Store::read`
    Read,
    /// `Store::size`
    Size,
    /// `Store::confirm`
    Confirm,
    /// `Store::replace`
    Replace,
    /// `Store::begin`
    Begin,
    /// `Upload::publish`
    Publish,
    /// `Store::settle`
    Settle,
    /// `Store::list`
    List,
    /// `Store::delete`
    Delete,
}

/// On which side of the act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// Nothing has happened yet.
    Before,
    /// It has happened; the answer is on its way.
    After,
}

/// A call as the hook sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub step: Step,
    /// When.
    pub moment: Moment,
    /// Of which path (of `settle`: the first one).
    pub path: String,
}

/// What becomes of a call.
pub enum Answer {
    /// It goes on.
    Go,
    /// No answer: a fault with remedy `Retry`. Before: nothing has happened; after: it has.
    Lose,
    /// An answer that says no: permission denied.
    Refuse,
    /// The disk is full: a fault with remedy `Retry` that names the cause.
    Full,
    /// It waits for this, and then becomes what this says.
    Wait(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl Answer {
    /// The call never comes back: whoever waits for it is dead, or stopped for good.
    pub fn hang() -> Self {
        Self::Wait(Box::pin(std::future::pending()))
    }
}

/// Decides about each call, before and after it.
pub type Hook = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

/// Files in memory.
#[derive(Clone)]
pub struct MemoryStore {
    files: Arc<Mutex<BTreeMap<String, StoredFile>>>,
    prefix: String,
    hook: Hook,
}

#[derive(Clone)]
struct StoredFile {
    bytes: Arc<[u8]>,
    modified: Timestamp,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { files: Arc::default(), prefix: String::new(), hook: Arc::new(|_| Answer::Go) }
    }
}

impl MemoryStore {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same files, seen by a writer whose every call goes through `hook`.
    #[must_use]
    pub fn with_hook(&self, hook: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self { hook: Arc::new(hook), ..self.clone() }
    }

    /// All files by path, for a test to look at.
    pub fn contents(&self) -> BTreeMap<String, Arc<[u8]>> {
        self.lock().iter().map(|(path, file)| (path.clone(), Arc::clone(&file.bytes))).collect()
    }

    /// Puts a file, whatever stood there, for a test to spoil something.
    pub fn put(&self, path: &str, bytes: impl Into<Arc<[u8]>>) {
        self.lock().insert(self.at(path), StoredFile { bytes: bytes.into(), modified: now() });
    }

    /// Takes a file away, for a test to spoil something.
    pub fn remove(&self, path: &str) {
        self.lock().remove(&self.at(path));
    }

    fn at(&self, path: &str) -> String {
        match (self.prefix.as_str(), path) {
            ("", path) => path.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, StoredFile>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create_now(&self, path: &str, bytes: Arc<[u8]>) -> Created {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        match self.lock().entry(self.at(path)) {
            Occupied(_) => Created::Exists,
            Vacant(place) => {
                place.insert(StoredFile { bytes, modified: now() });
                Created::Created
            }
        }
    }

    /// Does something between the two halves of the hook.
    async fn call<T>(&self, step: Step, path: &str, act: impl FnOnce() -> T) -> Result<T, Fault> {
        self.ask(step, Moment::Before, path).await?;
        let value = act();
        self.ask(step, Moment::After, path).await?;
        Ok(value)
    }

    async fn ask(&self, step: Step, moment: Moment, path: &str) -> Result<(), Fault> {
        let mut answer = (self.hook)(&Call { step, moment, path: path.to_owned() });
        while let Answer::Wait(until) = answer {
            answer = until.await;
        }
        let (doing, path) = (doing(step), path.to_owned());
        match answer {
            Answer::Go | Answer::Wait(_) => Ok(()),
            Answer::Lose => Err(Cause::NoAnswer { doing, path, cause: None }.into()),
            Answer::Refuse => Err(Cause::Permission { doing, path, cause: None }.into()),
            Answer::Full => Err(Cause::NoSpace { doing, path, cause: io::ErrorKind::StorageFull.into() }.into()),
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn under(&self, prefix: &str) -> Arc<dyn Store> {
        Arc::new(Self { prefix: clean_prefix(&self.at(prefix)), ..self.clone() })
    }

    async fn create(&self, path: &str, bytes: Arc<[u8]>) -> Result<Created, Fault> {
        self.call(Step::Create, path, || self.create_now(path, bytes)).await
    }

    async fn read(&self, path: &str) -> Result<Option<Arc<[u8]>>, Fault> {
        self.call(Step::Read, path, || self.lock().get(&self.at(path)).map(|file| Arc::clone(&file.bytes))).await
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, Fault> {
        self.call(Step::Size, path, || self.lock().get(&self.at(path)).map(|file| file.bytes.len() as u64)).await
    }

    async fn confirm(&self, path: &str) -> Result<(), Fault> {
        self.call(Step::Confirm, path, || ()).await
    }

    async fn replace(&self, path: &str, bytes: Arc<[u8]>) -> Result<(), Fault> {
        self.call(Step::Replace, path, || self.put(path, bytes)).await
    }

    async fn begin(&self, path: &str) -> Result<Box<dyn Upload>, Fault> {
        self.call(Step::Begin, path, || ()).await?;
        Ok(Box::new(MemoryUpload { store: self.clone(), path: path.to_owned(), bytes: Vec::new() }))
    }

    async fn settle(&self, paths: &[String]) -> Result<(), Fault> {
        self.call(Step::Settle, paths.first().map_or("", String::as_str), || ()).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>, Fault> {
        self.call(Step::List, folder, || {
            let folder = self.at(folder);
            let folder = if folder.is_empty() { folder } else { format!("{folder}/") };
            let mut folders = BTreeSet::new();
            let mut entries = Vec::new();
            for (path, file) in self.lock().range(folder.clone()..) {
                let Some(name) = path.strip_prefix(&folder) else { break };
                match name.split_once('/') {
                    Some((name, _)) => drop(folders.insert(name.to_owned())),
                    None => entries.push(Entry {
                        name: name.to_owned(),
                        kind: EntryKind::File { bytes: file.bytes.len() as u64, modified: file.modified },
                    }),
                }
            }
            entries.extend(folders.into_iter().map(|name| Entry { name, kind: EntryKind::Folder }));
            entries
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<(), Fault> {
        self.call(Step::Delete, path, || self.remove(path)).await
    }
}

struct MemoryUpload {
    store: MemoryStore,
    path: String,
    bytes: Vec<u8>,
}

impl Write for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn publish(self: Box<Self>) -> Result<(), Fault> {
        let Self { store, path, bytes } = *self;
        let created = store.call(Step::Publish, &path, || store.create_now(&path, bytes.into())).await?;
        match created {
            Created::Created => Ok(()),
            Created::Exists => Err(rule(format!("`{path}` is the name of another data file"))),
        }
    }
}

fn doing(step: Step) -> &'static str {
    match step {
        Step::Create => "create",
        Step::Read => "read",
        Step::Size => "look for",
        Step::Confirm | Step::Settle => "sync",
        Step::Replace => "replace",
        Step::Begin => "begin",
        Step::Publish => "write",
        Step::List => "list",
        Step::Delete => "delete",
    }
}

#[expect(clippy::disallowed_methods, reason = "a store for tests has no clock but the machine's")]
fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64))
}
