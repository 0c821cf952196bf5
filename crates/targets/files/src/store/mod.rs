//! The store under a lake: few promises, each of which the protocol needs.
//!
//! Paths are relative to the store's root, with `/` between their parts. Errors are faults: *answered no* is remedy
//! `Operator`, *no answer* is remedy `Retry`; after the latter nobody knows whether the call has happened.

pub mod abs;
pub mod gcs;
pub mod local;
pub mod memory;
pub mod objects;
pub mod s3;

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::{Fault, Timestamp};

/// How a create-if-absent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The name is there now, with these bytes, durably.
    Created,
    /// The name was there before; whether durably, only `confirm` says.
    Exists,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its last part.
    pub name: String,
    /// What stands there.
    pub kind: EntryKind,
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// More names.
    Folder,
    /// Bytes.
    File {
        /// How many.
        bytes: u64,
        /// Last changed, by the store's clock.
        modified: Timestamp,
    },
}

/// A place for files.
#[async_trait]
pub trait Store: Send + Sync {
    /// Small files that it is best given side by side: most of their time goes into waiting for the store.
    fn lanes(&self) -> usize {
        8
    }

    /// The part of this store below `prefix`, as a store.
    fn under(&self, prefix: &str) -> Arc<dyn Store>;

    /// Creates a file, whole and durably, only if the name is free. Atomic: of any number of creates one succeeds.
    async fn create(&self, path: &str, bytes: Arc<[u8]>) -> Result<Created, Fault>;

    /// The bytes under a name; `None` only where the store says that there are none.
    async fn read(&self, path: &str) -> Result<Option<Arc<[u8]>>, Fault>;

    /// `read` of each of these.
    async fn read_many(&self, paths: Vec<String>) -> Result<Vec<Option<Arc<[u8]>>>, Fault> {
        let mut found = Vec::with_capacity(paths.len());
        for path in &paths {
            found.push(self.read(path).await?);
        }
        Ok(found)
    }

    /// The size of the file under a name; `None` only where the store says that there is none.
    async fn size(&self, path: &str) -> Result<Option<u64>, Fault>;

    /// Makes a file durable that was found, whoever wrote it: one that is seen may still be lost with the power.
    async fn confirm(&self, path: &str) -> Result<(), Fault>;

    /// Puts bytes under a name, whatever stood there; need not be durable. For the hint alone: everything else is created.
    async fn replace(&self, path: &str, bytes: Arc<[u8]>) -> Result<(), Fault>;

    /// Begins a data file that will get the name `path`.
    async fn begin(&self, path: &str) -> Result<Box<dyn Upload>, Fault>;

    /// Makes the names of published data files durable; each file's bytes are so already.
    async fn settle(&self, paths: &[String]) -> Result<(), Fault>;

    /// What lies directly in a folder, in no order; nothing where there is no such folder.
    async fn list(&self, folder: &str) -> Result<Vec<Entry>, Fault>;

    /// Deletes a file; nothing happens where there is none.
    async fn delete(&self, path: &str) -> Result<(), Fault>;

    /// Proves that an upload can be begun and given up: under `path`, which gets no file.
    async fn prove_upload(&self, _path: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// Gives up uploads that were begun under a name of which `is_over` says so, and never ended; says how many. Nothing
    /// to do where an upload ends with its process.
    async fn give_up(&self, _is_over: &(dyn for<'a> Fn(&'a str) -> bool + Sync)) -> Result<u64, Fault> {
        Ok(0)
    }
}

/// A data file that grows out of sight. Dropped, it leaves nothing behind that has a name.
#[async_trait]
pub trait Upload: Write + Send {
    /// Makes what was written durable and gives it its name, which no file may have yet.
    async fn publish(self: Box<Self>) -> Result<(), Fault>;
}

/// A prefix without its outer slashes and without empty or upward parts.
pub(crate) fn clean_prefix(prefix: &str) -> String {
    prefix.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect::<Vec<_>>().join("/")
}
