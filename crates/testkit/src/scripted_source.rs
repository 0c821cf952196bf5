//! A source database as a script: a log of transactions and a slot that behaves like PostgreSQL's, traps included.
//!
//! The traps are the point: a start before the confirmed position is moved forward without an error; a slot can be dropped,
//! made anew, moved by a stranger or lose its log; a dead holder's slot is free at once, a paused one's only when the server
//! expels it.

mod held;
mod log;
mod pieces;
mod snapshot;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use millrace_model::{
    Fault, Finding, Held, Member, Op, Position, Refusal, Slot, SlotState, Snapshot, Source, SourceIdentity, TableName,
    Taken,
};

use crate::fuse::{Fuse, Unanswered};
use held::{Connection, Grip, ScriptedHeld};
use log::{ScriptedLog, ended};
use snapshot::ScriptedSnapshot;
pub use world::{Alter, World, scripted_schema};

/// One row change of the script. Every table has columns `id` (key) and `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedRow {
    /// Table.
    pub table: String,
    /// What happens to the row.
    pub op: Op,
    /// Its key.
    pub id: i64,
    /// Its value; null for deletes.
    pub value: Option<String>,
    /// The log does not carry the value, because it did not change.
    pub unsent: bool,
}

impl ScriptedRow {
    /// An insert.
    pub fn create(table: &str, id: i64, value: &str) -> Self {
        Self { table: table.into(), op: Op::Create, id, value: Some(value.into()), unsent: false }
    }

    /// An update.
    pub fn update(table: &str, id: i64, value: &str) -> Self {
        Self { op: Op::Update, ..Self::create(table, id, value) }
    }

    /// An update that leaves a large value alone: the log does not carry it.
    pub fn touch(table: &str, id: i64) -> Self {
        Self { op: Op::Update, value: None, unsent: true, ..Self::create(table, id, "") }
    }

    /// A delete.
    pub fn delete(table: &str, id: i64) -> Self {
        Self { op: Op::Delete, value: None, ..Self::create(table, id, "") }
    }
}

/// The database as one process sees it.
#[derive(Clone)]
pub struct ScriptedSource {
    world: World,
    fuse: Fuse,
    default_name: bool,
    tables: Vec<String>,
    /// Transactions are handed over while they are in progress.
    streams: Arc<AtomicBool>,
}

impl ScriptedSource {
    /// A process's view of `world`.
    pub fn new(world: &World, fuse: &Fuse) -> Self {
        Self {
            world: world.clone(),
            fuse: fuse.clone(),
            default_name: true,
            tables: vec!["a".into(), "b".into()],
            streams: Arc::default(),
        }
    }

    /// The same with transactions that are handed over while they are in progress: in pieces, by turns, partly undone.
    #[must_use]
    pub fn streamed(self, streams: bool) -> Self {
        self.streams.store(streams, Ordering::Release);
        self
    }

    /// The same with other tables in its pipeline file.
    #[must_use]
    pub fn with_tables(mut self, tables: &[&str]) -> Self {
        self.tables = tables.iter().map(ToString::to_string).collect();
        self
    }

    /// The same with a slot that the user named.
    #[must_use]
    pub fn with_named_slot(mut self) -> Self {
        self.default_name = false;
        self
    }

    fn identity(&self) -> SourceIdentity {
        SourceIdentity { kind: "scripted".into(), identity: format!("{}|timeline 1", self.world.state().cluster) }
    }

    /// Takes the slot if it is free: the number of the holder, and a guard that frees it.
    fn hold(&self) -> Result<Grip, Slot> {
        let mut state = self.world.state();
        state.holders += 1;
        let holder = state.holders;
        let Some(slot) = &mut state.slot else { return Err(Slot::Missing) };
        if slot.lost {
            return Err(Slot::Lost { reason: "the log was discarded".into() });
        }
        if let Some(other) = slot.holder {
            let patience = Duration::from_secs(6);
            return Err(Slot::Busy { holder: format!("holder {other}"), patience });
        }
        slot.holder = Some(holder);
        let generation = slot.generation;
        Ok(Arc::new(Connection { world: self.world.clone(), holder, generation }))
    }
}

fn unanswered(_: Unanswered) -> Fault {
    Fault::retry("TK-001", "the scripted source gave no answer")
}

fn position(number: u64) -> Position {
    Position::new(number.to_string())
}

fn number(position: &Position) -> u64 {
    position.as_str().parse().unwrap_or_default()
}

#[async_trait]
impl Source for ScriptedSource {
    async fn check(&self) -> Result<Vec<Finding>, Fault> {
        Ok(Vec::new())
    }

    async fn take(&self) -> Result<Taken, Fault> {
        let source = self.clone();
        let held = self.fuse.step("take the slot", move || source.hold()).await.map_err(unanswered)?;
        let slot = match held {
            Err(slot) => slot,
            Ok(grip) => Slot::Held(Box::new(self.note(grip).await?)),
        };
        Ok(Taken { identity: self.identity(), slot })
    }

    async fn create(&self) -> Result<Box<dyn Held>, Fault> {
        let (world, tables) = (self.world.clone(), self.tables.clone());
        self.fuse.step("make the publication", move || world.publish(&tables)).await.map_err(unanswered)?;
        let world = self.world.clone();
        // One that another process has made meanwhile is taken, if it is free.
        let make = move || {
            let is_new = world.state().slot.is_none();
            if is_new {
                world.make_slot();
            }
            is_new
        };
        let is_new = self.fuse.step("make the slot", make).await.map_err(unanswered)?;
        let source = self.clone();
        match self.fuse.step("take the new slot", move || source.hold()).await.map_err(unanswered)? {
            Ok(grip) => {
                let mut held = self.note(grip).await?;
                held.exported = is_new.then(|| held.state.confirmed.clone());
                Ok(Box::new(held))
            }
            Err(Slot::Busy { holder, .. }) => {
                Err(Fault::refused("TK-003", Refusal::Busy, format!("{holder} has the slot"), "stop the other process"))
            }
            Err(_) => Err(Fault::retry("TK-004", "the new slot is not to be had")),
        }
    }

    async fn recreate(&self) -> Result<(SourceIdentity, Position), Fault> {
        let world = self.world.clone();
        self.fuse.step("drop the slot", move || world.drop_slot()).await.map_err(unanswered)?;
        let world = self.world.clone();
        self.fuse.step("make the slot anew", move || world.make_slot()).await.map_err(unanswered)?;
        let confirmed = self.world.confirmed().ok_or_else(|| Fault::retry("TK-005", "the new slot is gone"))?;
        Ok((self.identity(), position(confirmed)))
    }

    async fn members(&self) -> Result<Vec<Member>, Fault> {
        let (world, tables) = (self.world.clone(), self.tables.clone());
        let look = move || {
            let published = |table: &String| world.state().published.contains_key(table);
            let fit = tables.iter().filter(|table| !world.state().unfit.contains(*table));
            fit.map(|table| Member { schema: world.schema(table), published: published(table) }).collect()
        };
        self.fuse.step("look at the tables", look).await.map_err(unanswered)
    }

    async fn join(&self, tables: &[TableName]) -> Result<(), Fault> {
        let (world, tables) = (self.world.clone(), last_parts(tables));
        self.fuse.step("publish tables", move || world.publish(&tables)).await.map_err(unanswered)
    }

    async fn leave(&self, tables: &[TableName]) -> Result<(), Fault> {
        let (world, tables) = (self.world.clone(), last_parts(tables));
        self.fuse.step("unpublish tables", move || world.unpublish(&tables)).await.map_err(unanswered)
    }

    async fn snapshot(&self, bound: &(dyn Fn(Position) + Sync)) -> Result<Arc<dyn Snapshot>, Fault> {
        // Somebody else's transaction runs until now: the stream may come this far.
        bound(position(self.world.end()));
        let world = self.world.clone();
        let make = move || {
            let late = std::mem::take(&mut world.state().late);
            position(world.end() - late)
        };
        let made = self.fuse.step("make a temporary slot", make).await.map_err(unanswered)?;
        Ok(Arc::new(ScriptedSnapshot::new(self, made)))
    }

    fn same(&self, one: &SourceIdentity, other: &SourceIdentity) -> bool {
        let cluster = |identity: &SourceIdentity| identity.identity.split('|').next().map(str::to_owned);
        one.kind == other.kind && cluster(one) == cluster(other)
    }

    async fn end(&self) -> Result<Position, Fault> {
        let world = self.world.clone();
        self.fuse.step("ask for the end", move || position(world.end())).await.map_err(unanswered)
    }
}

impl ScriptedSource {
    async fn note(&self, grip: Grip) -> Result<ScriptedHeld, Fault> {
        let world = self.world.clone();
        let confirmed =
            self.fuse.step("note the confirmed position", move || world.confirmed()).await.map_err(unanswered)?;
        let confirmed = confirmed.ok_or_else(|| Fault::retry("TK-006", "the slot is gone"))?;
        let is_unreadable = self.world.state().slot.as_ref().is_some_and(|slot| slot.unreadable);
        let unreadable = is_unreadable.then(|| "its publication is missing".to_owned());
        let state = SlotState { confirmed: position(confirmed), default_name: self.default_name, unreadable };
        let end = self.world.end();
        Ok(ScriptedHeld { source: self.clone(), identity: self.identity(), grip, state, end, exported: None })
    }
}

fn last_parts(tables: &[TableName]) -> Vec<String> {
    tables.iter().filter_map(|table| table.parts().last().cloned()).collect()
}
