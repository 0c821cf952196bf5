//! The PostgreSQL source: publication, replication slot, and the log in pgoutput's protocol, straight into columns.
//!
//! The door is [`Postgres`], which is what the engine knows as a `Source`. Rooms: `client` speaks the server's protocol;
//! `slot`, `held` and `log` are S1, the held slot and the reading of `docs/specs/file-lake.md`; `decode` is pure; all SQL
//! lies in `queries`; `check`, `discover` and `cleanup` serve the commands of those names.

mod altered;
mod check;
mod cleanup;
mod client;
mod decode;
mod departures;
mod discover;
mod fault;
mod held;
mod log;
mod making;
mod members;
mod partitions;
mod password;
mod past;
mod position;
mod privileges;
mod publication;
mod queries;
mod relation;
mod settings;
mod slot;
mod snapshot;
mod types;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use millrace_model::{
    ByteSize, Fault, Finding, Held, LogWaiting, Member, Position, Slot, Snapshot, Source, SourceIdentity, TableName,
    Taken,
};

pub use cleanup::CleanupPlan;
pub use discover::{DiscoveredColumn, DiscoveredTable};
pub use password::Password;
pub use settings::{Binary, PublicationMode, Settings, TableSelection};

use altered::LastSeen;
use client::connect::{Purpose, connect};
use client::replies::Replies;
use client::session::Session;
use decode::message::Relation;
use departures::Oids;
use fault::Cause;
use held::{HeldSlot, SeenSlot};
use position::Lsn;
use relation::{Bulk, Description};
use slot::{Take, Without};

/// A PostgreSQL database, seen through one pipeline's settings.
pub struct Postgres {
    shared: Arc<Shared>,
}

/// What the source and its logs share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// A column came that the binary form cannot carry: from then on the log is read as text.
    pub(crate) text_only: AtomicBool,
    /// A transaction in progress could not be read: from then on the server keeps them until they end.
    pub(crate) whole_only: AtomicBool,
    /// What the tables were last seen as.
    pub(crate) oids: Oids,
    /// What the publication was last seen as.
    pub(crate) publication: LastSeen,
    /// Of the log that was opened last: how far it is read.
    pub(crate) replies: Mutex<Option<Arc<Replies>>>,
}

impl Shared {
    /// How far the log is read that was opened last.
    fn read(&self) -> Option<Lsn> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|replies| replies.read())
    }

    /// A log is open from here on.
    pub(crate) fn opened(&self, replies: &Arc<Replies>) {
        *self.replies.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(replies));
    }

    /// What a column without a binary decoder means: the next connection asks for text, whatever the catalogue says by then.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else went wrong stays what it is")]
    fn without_binary(&self, cause: Cause) -> Cause {
        match cause {
            Cause::NoDecoder { table, column, type_name } if self.settings.binary == Binary::On => {
                Cause::NotBinary { table, column, type_name }
            }
            Cause::NoDecoder { .. } => {
                self.text_only.store(true, Ordering::Release);
                cause
            }
            cause => cause,
        }
    }

    /// What a transaction in progress that cannot be read means: the next connection asks for whole ones.
    fn without_streaming(&self, cause: Cause) -> Cause {
        if matches!(cause, Cause::InProgress { .. }) {
            self.whole_only.store(true, Ordering::Release);
        }
        cause
    }

    /// Asks the catalogue about a table (or, `with_all`, about every other one as well), on the session given or, where
    /// that is gone, on a new one.
    async fn describe(
        &self,
        session: Option<Session>,
        relation: &Relation,
        with_all: bool,
    ) -> Result<(Session, Description, Option<Bulk>), Cause> {
        if let Some(mut session) = session {
            match self.look(&mut session, relation, with_all).await {
                Ok((description, bulk)) => return Ok((session, description, bulk)),
                // An idle session may have been cut by something in between.
                Err(Cause::Lost { .. } | Cause::Ended | Cause::Silent { .. } | Cause::NotReady(_)) => {}
                Err(cause) => return Err(cause),
            }
        }
        let mut session = connect(&self.settings, Purpose::Queries).await?;
        let (description, bulk) = self.look(&mut session, relation, with_all).await?;
        Ok((session, description, bulk))
    }

    async fn look(
        &self,
        session: &mut Session,
        relation: &Relation,
        with_all: bool,
    ) -> Result<(Description, Option<Bulk>), Cause> {
        let bulk = if with_all { Some(Bulk::fetch(session, &self.settings).await?) } else { None };
        Ok((relation::describe(session, relation, &self.settings.publication).await?, bulk))
    }
}

impl Postgres {
    /// A source with these settings. Nothing is connected yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                text_only: AtomicBool::new(false),
                whole_only: AtomicBool::new(false),
                oids: Oids::default(),
                publication: LastSeen::default(),
                replies: Mutex::default(),
            }),
        }
    }

    /// The tables of a schema, or of all but the system's.
    pub async fn discover(&self, schema: Option<&str>) -> Result<Vec<DiscoveredTable>, Fault> {
        Ok(discover::discover(&self.shared.settings, schema).await?)
    }

    /// Whether the server would encrypt a connection.
    pub async fn offers_tls(&self) -> Result<bool, Fault> {
        Ok(client::connect::offers_tls(&self.shared.settings).await?)
    }

    /// What `cleanup` would drop.
    pub async fn cleanup_plan(&self) -> Result<CleanupPlan, Fault> {
        Ok(cleanup::plan(&self.shared.settings).await?)
    }

    /// Drops the slot and, where we made it, the publication. Returns what was dropped.
    pub async fn cleanup(&self) -> Result<CleanupPlan, Fault> {
        Ok(cleanup::run(&self.shared.settings).await?)
    }

    fn taken(&self, take: Take) -> Taken {
        match take {
            Take::Held(grip) => {
                let identity = grip.identity.clone();
                Taken { identity, slot: Slot::Held(Box::new(HeldSlot { shared: Arc::clone(&self.shared), grip })) }
            }
            Take::Missing(identity) => Taken { identity, slot: Slot::Missing },
            Take::Lost(identity, reason) => Taken { identity, slot: Slot::Lost { reason } },
            Take::Busy(identity, holder, patience) => Taken { identity, slot: Slot::Busy { holder, patience } },
        }
    }

    fn without(&self) -> Without {
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        Without { binary: is_set(&self.shared.text_only), streaming: is_set(&self.shared.whole_only) }
    }
}

#[async_trait]
impl Source for Postgres {
    async fn check(&self) -> Result<Vec<Finding>, Fault> {
        check::check(&self.shared.settings).await
    }

    async fn take(&self) -> Result<Taken, Fault> {
        Ok(self.taken(slot::take(&self.shared.settings, self.without()).await?))
    }

    async fn look(&self) -> Result<Option<Taken>, Fault> {
        let sight = match slot::sight(&self.shared.settings).await {
            // Nothing can be said of a log that has no beginning yet; `check` says that.
            Err(Cause::InTheMaking { .. }) => return Ok(None),
            sight => sight?,
        };
        Ok(Some(match sight {
            Ok(sight) => Taken { identity: sight.identity.clone(), slot: Slot::Held(Box::new(SeenSlot(sight))) },
            Err(other) => self.taken(other),
        }))
    }

    async fn create(&self) -> Result<Box<dyn Held>, Fault> {
        let settings = &self.shared.settings;
        let take = slot::create(settings, self.without()).await?;
        let grip = slot::held(take, settings)?;
        Ok(Box::new(HeldSlot { shared: Arc::clone(&self.shared), grip }))
    }

    async fn recreate(&self) -> Result<(SourceIdentity, Position), Fault> {
        let (identity, position) = slot::recreate(&self.shared.settings).await?;
        Ok((identity, position.position()))
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        let mut session = connect(&self.shared.settings, Purpose::Queries).await?;
        let members = members::all(&mut session, &self.shared.settings).await?;
        self.shared.oids.see(&members);
        let written = members.first().and_then(|member| member.publication);
        self.shared.publication.see(&self.shared.settings, written);
        Ok(members.iter().map(members::MemberTable::member).collect())
    }

    async fn join(&self, tables: &[TableName]) -> Result<(), Fault> {
        let mut session = connect(&self.shared.settings, Purpose::Queries).await?;
        Ok(members::join(&mut session, &self.shared.settings, tables).await?)
    }

    async fn leave(&self, tables: &[TableName]) -> Result<(), Fault> {
        let mut session = connect(&self.shared.settings, Purpose::Queries).await?;
        Ok(members::leave(&mut session, &self.shared.settings, &self.shared.oids, tables).await?)
    }

    async fn snapshot(&self, bound: &(dyn Fn(Position) + Sync)) -> Result<Arc<dyn Snapshot>, Fault> {
        Ok(Arc::new(snapshot::make(&self.shared, bound).await?))
    }

    fn same(&self, one: &SourceIdentity, other: &SourceIdentity) -> bool {
        slot::same(one, other)
    }

    async fn end(&self) -> Result<Position, Fault> {
        let mut session = connect(&self.shared.settings, Purpose::Queries).await?;
        let row = session.row(queries::END).await?;
        let end = Lsn::parse(row.text(0)?).ok_or(Cause::Answer("the end of the log"))?;
        Ok(end.position())
    }

    async fn waiting(&self) -> Result<LogWaiting, Fault> {
        let mut session = connect(&self.shared.settings, Purpose::Queries).await?;
        let row = session.row(&queries::waiting(&self.shared.settings.slot)).await?;
        let end = Lsn::parse(row.text(0)?).ok_or(Cause::Answer("the end of the log"))?;
        // What was read is looked at last: it may lie beyond an end that is a moment old.
        let unread = self.shared.read().map(|read| ByteSize::bytes(end.0.saturating_sub(read.0)));
        Ok(LogWaiting { unread, retained: row.get(1).and_then(|bytes| bytes.parse().ok()).map(ByteSize::bytes) })
    }
}
