//! The files target: a lake of data files in a folder, with a chain of commits that makes them exactly-once.
//!
//! `docs/specs/file-lake.md` is the contract; this crate is its writer (`chain`, `round`, `sweep`) and its checker (`fsck`,
//! `read`, `status`). It knows nothing of sources and of the engine. The store below is a port of its own (`store`), so that
//! the protocol is the same on a disk, in memory and in an object store.

mod ahead;
mod archive;
mod chain;
mod check;
mod commit_json;
mod current;
mod encode;
pub mod fault;
pub mod fsck;
mod head;
pub mod names;
pub mod read;
mod round;
mod rows;
mod settings;
mod shape;
mod state;
pub mod status;
pub mod store;
mod sweep;
mod walk;

use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::{Claim, Claimed, Clock, Fault, Finding, Head, PastFile, Prepared, Registry, Target};

pub use commit_json::{
    CheckpointJson, CommitJson, FileJson, OpsJson, PreviousJson, SnapshotJson, SourceJson, StateRef, WriterJson,
};
pub use fsck::{Breach, FsckReport, fsck};
pub use read::read;
pub use settings::{Compression, Decimals, Form, Format, Layout, Settings};
pub use status::{Status, TableStatus, status};
pub use store::abs::AbsSettings;
pub use store::gcs::GcsSettings;
pub use store::local::LocalStore;
pub use store::memory::MemoryStore;
pub use store::objects::{ObjectStore, Proof, Prover};
pub use store::s3::S3Settings;
pub use store::{Created, Entry, EntryKind, Store, Upload};

/// A lake of files, seen through one pipeline's settings.
#[derive(Clone)]
pub struct Files {
    lake: Arc<Lake>,
}

/// What all parts of the target share.
pub(crate) struct Lake {
    settings: Settings,
    /// Its root is the lake's root: the prefix is applied.
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    states: state::StateMemory,
}

impl Files {
    /// The lake below the settings' prefix in `store`.
    #[expect(clippy::needless_pass_by_value, reason = "whoever has the lake has the store no more")]
    pub fn new(settings: Settings, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let store = store.under(&settings.prefix);
        let states = state::StateMemory::new(settings.form);
        Self { lake: Arc::new(Lake { settings, store, clock, states }) }
    }
}

#[async_trait]
impl Target for Files {
    async fn check(&self) -> Result<Vec<Finding>, Fault> {
        check::check(&self.lake).await
    }

    async fn head(&self) -> Result<Head, Fault> {
        head::head(&self.lake).await
    }

    async fn registry(&self, head: &Head) -> Result<Registry, Fault> {
        match head.commit {
            0 => Ok(Registry::default()),
            _ => self.lake.states.read(&self.lake.store, &StateRef::of(&head.registry_link)).await,
        }
    }

    async fn files_of(&self, last: u64, tables: Option<&[String]>) -> Result<Vec<PastFile>, Fault> {
        walk::past_files(&self.lake.store, last, tables).await
    }

    fn prepare_claim(&self, head: &Head, claim: &Claim) -> Result<Prepared, Fault> {
        chain::prepare_claim(&self.lake, head, claim)
    }

    async fn claim(&self, prepared: &Prepared) -> Result<Claimed, Fault> {
        chain::claim(&self.lake, prepared).await
    }
}
