//! A held slot as the engine sees it, and how its log is opened.

use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::{Coverage, Fault, Held, Opened, Position, Registry, Release, SlotState, Snapshot, SourceIdentity};

use crate::Shared;
use crate::client::replies::Replies;
use crate::fault::Cause;
use crate::log::PostgresLog;
use crate::members;
use crate::past::Past;
use crate::position::Lsn;
use crate::slot::{Grip, Sight};
use crate::snapshot::PostgresSnapshot;

/// A slot that this process holds; its log is open already, and kept ours by the replier.
pub(crate) struct HeldSlot {
    pub(crate) shared: Arc<Shared>,
    pub(crate) grip: Box<Grip>,
}

#[async_trait]
impl Held for HeldSlot {
    fn state(&self) -> &SlotState {
        &self.grip.state
    }

    fn identity(&self) -> &SourceIdentity {
        &self.grip.identity
    }

    fn coverage(&self, position: &Position, source: &SourceIdentity) -> Coverage {
        coverage(self.grip.confirmed, &self.grip.past, position, source)
    }

    fn exported(&mut self) -> Option<Arc<dyn Snapshot>> {
        let exported = self.grip.exported.take()?;
        Some(Arc::new(PostgresSnapshot::new(Arc::clone(&self.shared), exported)))
    }

    async fn open(mut self: Box<Self>, from: Option<&Position>, registry: &Registry) -> Result<Opened, Fault> {
        let confirmed = self.grip.confirmed;
        let from = match from {
            None => confirmed,
            Some(position) => {
                Lsn::of(position).ok_or(Cause::Answer("a checkpoint that is no position of PostgreSQL"))?
            }
        };
        if from < confirmed {
            let (slot, confirmed) = (self.shared.settings.slot.clone(), confirmed.to_string());
            return Err(Cause::Skipped { slot, confirmed, from: from.to_string() }.into());
        }
        if self.grip.state.unreadable.is_some() {
            let settings = &self.shared.settings;
            let (slot, publication) = (settings.slot.clone(), settings.publication.clone());
            return Err(Cause::Unreadable { slot, publication }.into());
        }
        members::disown(&mut self.grip.catalogue, &self.shared.settings, registry).await?;
        self.shared.oids.remember(registry);
        self.shared.opened(self.grip.replier.replies());
        let release = Arc::new(Releaser(Arc::clone(self.grip.replier.replies())));
        let log = Box::new(PostgresLog::new(self.shared, *self.grip, from, registry));
        Ok(Opened { position: from.position(), log, release })
    }
}

/// A slot that was looked at and not taken: it can be judged, and that is all.
pub(crate) struct SeenSlot(pub(crate) Sight);

#[async_trait]
impl Held for SeenSlot {
    fn state(&self) -> &SlotState {
        &self.0.state
    }

    fn identity(&self) -> &SourceIdentity {
        &self.0.identity
    }

    fn coverage(&self, position: &Position, source: &SourceIdentity) -> Coverage {
        coverage(self.0.confirmed, &self.0.past, position, source)
    }

    fn exported(&mut self) -> Option<Arc<dyn Snapshot>> {
        None
    }

    async fn open(self: Box<Self>, _: Option<&Position>, _: &Registry) -> Result<Opened, Fault> {
        Err(Cause::Answer("a slot that was only looked at").into())
    }
}

fn coverage(confirmed: Lsn, past: &Past, position: &Position, source: &SourceIdentity) -> Coverage {
    match Lsn::of(position).filter(|position| confirmed <= *position) {
        None => Coverage::Forgotten,
        Some(position) => past.differs(position, source).map_or(Coverage::Whole, Coverage::SetBack),
    }
}

/// Lets the server forget.
struct Releaser(Arc<Replies>);

impl Release for Releaser {
    fn release(&self, position: &Position) {
        match Lsn::of(position) {
            Some(lsn) => self.0.flushed(lsn),
            None => tracing::error!(code = "PG-024", "a released position is none of PostgreSQL's"),
        }
    }
}
