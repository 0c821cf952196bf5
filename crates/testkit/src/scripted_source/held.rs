//! A slot that a process holds, and the word that lets the source forget.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use millrace_model::{Coverage, Fault, Held, Opened, Position, Registry, Release, SlotState, Snapshot, SourceIdentity};

use super::log::ScriptedLog;
use super::pieces::Pieces;
use super::snapshot::ScriptedSnapshot;
use super::world::SlotRow;
use super::{ScriptedSource, World, number, position, unanswered};

/// A connection that holds the slot; dropping the last grip on it frees the slot.
pub(super) type Grip = Arc<Connection>;

pub(super) struct Connection {
    pub(super) world: World,
    pub(super) holder: u64,
    pub(super) generation: u64,
}

impl Connection {
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.world.check(self.holder, self.generation)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(slot) = self.world.state().slot.as_mut().filter(|slot| slot.holder == Some(self.holder)) {
            slot.holder = None;
        }
    }
}

pub(super) struct ScriptedHeld {
    pub(super) source: ScriptedSource,
    pub(super) identity: SourceIdentity,
    pub(super) grip: Grip,
    pub(super) state: SlotState,
    /// Of the log, as noted after the slot was taken.
    pub(super) end: u64,
    pub(super) exported: Option<Position>,
}

#[async_trait]
impl Held for ScriptedHeld {
    fn state(&self) -> &SlotState {
        &self.state
    }

    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn coverage(&self, position: &Position, _source: &SourceIdentity) -> Coverage {
        match number(position) {
            asked if number(&self.state.confirmed) > asked => Coverage::Forgotten,
            asked if self.end < asked => Coverage::SetBack(format!("its log ends at {}", self.end)),
            _ => Coverage::Whole,
        }
    }

    fn exported(&mut self) -> Option<Arc<dyn Snapshot>> {
        let position = self.exported.take()?;
        Some(Arc::new(ScriptedSnapshot::new(&self.source, position)))
    }

    async fn open(self: Box<Self>, from: Option<&Position>, registry: &Registry) -> Result<Opened, Fault> {
        let counted = registry.entries().map(|entry| (entry.table.clone(), Some(entry.source_id.clone()))).collect();
        let types = registry.entries().filter_map(|entry| {
            let value = entry.versions.last()?.columns.last()?;
            Some((entry.table.clone(), value.type_name.clone()))
        });
        let types = types.collect();
        let asked = number(from.unwrap_or(&self.state.confirmed));
        let (world, holder, generation) = (self.source.world.clone(), self.grip.holder, self.grip.generation);
        let open = move || {
            world.check(holder, generation)?;
            // The trap: a start before the confirmed position is moved forward without an error.
            Ok(asked.max(world.confirmed().unwrap_or(asked)))
        };
        let at = self.source.fuse.step("open the log", open).await.map_err(unanswered)??;
        let release = Arc::new(ScriptedRelease {
            world: self.source.world.clone(),
            holder: self.grip.holder,
            generation: self.grip.generation,
        });
        let position = position(asked);
        let pieces = self.source.streams.load(Ordering::Acquire).then(|| Pieces::new(at));
        let log = ScriptedLog {
            streams: self.source.streams,
            pieces,
            fuse: self.source.fuse,
            grip: self.grip,
            at,
            told: 0,
            marks: Vec::new(),
            watched: 0,
            open: None,
            tables: Vec::new(),
            counted,
            types,
        };
        Ok(Opened { position, log: Box::new(log), release })
    }
}

struct ScriptedRelease {
    world: World,
    holder: u64,
    generation: u64,
}

impl Release for ScriptedRelease {
    fn release(&self, position: &Position) {
        let mut state = self.world.state();
        let ours = |slot: &&mut SlotRow| slot.holder == Some(self.holder) && slot.generation == self.generation;
        if let Some(slot) = state.slot.as_mut().filter(ours) {
            slot.confirmed = slot.confirmed.max(number(position));
        }
    }
}
