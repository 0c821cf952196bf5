//! Memory for transactions without an end: what does not fit waits on disk, and comes back when the end is read.
//!
//! One transaction may be open in the log (its rows have sequences, and wait for its end), and many in progress (their rows
//! have places, see `Changes`). Each has a file of its own. Nothing here outlives the stream: a log that is opened anew
//! hands over everything that had not ended from its start.

use std::collections::HashMap;

use millrace_model::{Batch, Fault, Log};

use super::Reader;
use crate::fault::Cause;
use crate::settings::Settings;
use crate::spill::Spill;
use crate::telemetry;

/// What waits on disk.
#[derive(Debug, Default)]
pub(super) struct Spilled {
    /// Of the open transaction.
    open: Option<Spill>,
    /// Of those in progress.
    in_progress: HashMap<u32, Spill>,
    /// What the observer knows of.
    told: u64,
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.open = None;
        self.in_progress.clear();
        self.tell();
    }
}

impl Spilled {
    pub(super) fn has_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn drop_open(&mut self) {
        self.open = None;
        self.tell();
    }

    fn tell(&mut self) {
        let bytes = self.bytes();
        if bytes != self.told {
            telemetry::spilled(bytes);
            self.told = bytes;
        }
    }

    fn bytes(&self) -> u64 {
        self.open.iter().chain(self.in_progress.values()).map(Spill::bytes).sum()
    }

    /// Where batches of the open transaction (`None`), or of one in progress, go.
    fn of(&mut self, id: Option<u32>, settings: &Settings) -> Result<&mut Spill, Cause> {
        let is_new = match id {
            None => self.open.is_none(),
            Some(id) => !self.in_progress.contains_key(&id),
        };
        let fresh = || {
            telemetry::spilling();
            Spill::new(&settings.spill_directory)
        };
        let fresh = if is_new { Some(fresh()?) } else { None };
        match (id, fresh) {
            (None, Some(fresh)) => self.open = Some(fresh),
            (Some(id), Some(fresh)) => drop(self.in_progress.insert(id, fresh)),
            (_, None) => {}
        }
        let spill = match id {
            None => self.open.as_mut(),
            Some(id) => self.in_progress.get_mut(&id),
        };
        spill.ok_or_else(|| Cause::Batch("a spill is gone".into()))
    }

    /// Adds batches. Fails also where all that waits is more than the limit allows.
    async fn push(&mut self, id: Option<u32>, batches: Vec<Batch>, settings: &Settings) -> Result<(), Cause> {
        for batch in batches {
            self.of(id, settings)?.push(batch).await?;
        }
        let limit = settings.spill_limit;
        if self.bytes() <= limit.get() { Ok(()) } else { Err(Cause::SpillFull { limit }) }
    }
}

impl Reader<'_> {
    /// Moves rows of transactions without an end to disk, where memory asks for it.
    pub(super) async fn make_room(&mut self, log: &mut dyn Log) -> Result<(), Fault> {
        // Those that were undone meanwhile need no file any more.
        self.spilled.in_progress.retain(|&id, _| self.changes.is_in_progress(id));
        let limit = self.settings.open_limit().get();
        // What has ended needs no disk, however much of it there is: its round closes at the next boundary.
        if self.changes.open_bytes() >= limit && self.changes.held_bytes() >= limit {
            // What belongs to ended transactions goes to the writer.
            let (ended, open) = self.changes.take_open().map_err(unbuilt)?;
            self.hand_over(ended).await?;
            self.keep(None, open, log).await?;
        }
        while self.changes.in_progress_bytes() >= limit {
            let Some((id, batches)) = self.changes.take_largest().map_err(unbuilt)? else { break };
            self.keep(Some(id), batches, log).await?;
        }
        self.spilled.tell();
        if self.changes.part_bytes() >= self.settings.parts_limit().get() && log.decline_in_progress() {
            let why = "transactions in progress have more subtransactions than memory has room for".into();
            return Err(Cause::Declined { why }.into());
        }
        Ok(())
    }

    /// Puts rows on disk. Where that has no room for them, the source keeps what is in progress, if it has handed any over.
    async fn keep(&mut self, id: Option<u32>, batches: Vec<Batch>, log: &mut dyn Log) -> Result<(), Fault> {
        match self.spilled.push(id, batches, self.settings).await {
            Err(cause) if cause.is_lack_of_room() && log.decline_in_progress() => {
                Err(Cause::Declined { why: cause.to_string() }.into())
            }
            kept => Ok(kept?),
        }
    }

    /// Transactions whose rows are on disk have ended: they go to the writer, before those that came after them.
    pub(super) async fn unspill(&mut self) -> Result<(), Fault> {
        if let Some(spill) = self.spilled.open.take()
            && let Some(end) = self.changes.last_end().cloned()
        {
            for number in 0..spill.len() {
                if let Some(mut batch) = spill.get(number).await? {
                    batch.end_open(&end);
                    self.hand_over(vec![batch]).await?;
                }
            }
        }
        while let Some(ended) = self.changes.take_ended().map_err(unbuilt)? {
            self.hand_over(ended.before).await?;
            let Some(spill) = self.spilled.in_progress.remove(&ended.id) else { continue };
            for number in 0..spill.len() {
                let Some(batch) = spill.get(number).await? else { continue };
                let numbered = ended.survivors.number(batch).map_err(unbuilt)?;
                self.hand_over(numbered.into_iter().collect()).await?;
            }
        }
        self.spilled.tell();
        Ok(())
    }
}

fn unbuilt(error: impl std::fmt::Display) -> Fault {
    Cause::Batch(error.to_string()).into()
}
