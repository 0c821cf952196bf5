//! `restart`: takes the files of tables out of the lake so that the next run reads them anew.
//!
//! S1 and S2 as in a start, save that a gap (and with `adopt` another pipeline or source) is no reason to stop. After a gap
//! the slot is made anew *before* the claim, which carries its position and identity and the same sequence. A claim that is
//! refused begins again at S1: neither its list of files nor its position may outlive what it was made from.

use std::collections::HashSet;
use std::sync::Arc;

use millrace_model::{
    Checkpoint, Claim, Claimed, Fault, Head, PastFile, Registry, Slot, SourceIdentity, Standing, TableEntry, Taken,
};

use crate::fault::Cause;
use crate::judge;
use crate::retry::{Halt, until_answered};
use crate::start::take;
use crate::stop::Stop;
use crate::{Engine, telemetry};

/// What to restart.
#[derive(Clone, Debug, Default)]
pub struct Restart {
    /// Names of tables; `None`: all. After a gap it is always all.
    pub tables: Option<Vec<String>>,
    /// Also when the chain belongs to another pipeline or another source.
    pub adopt: bool,
}

/// What a restart did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// Number of its claim.
    pub commit: u64,
    /// Files taken out of the lake.
    pub removed: usize,
    /// Whether the log had a gap, and a new slot was made.
    pub new_slot: bool,
}

impl Engine {
    /// Claims, and lists the earlier files of the tables as removed.
    pub async fn restart(&self, restart: &Restart, mut stop: Stop) -> Result<Restarted, Fault> {
        loop {
            match self.restart_once(restart, &mut stop).await {
                Ok(Some(restarted)) => return Ok(restarted),
                Ok(None) => {}
                Err(Halt::Fault(fault)) => return Err(fault),
                Err(Halt::Stopped) => return Err(Cause::RestartStopped.into()),
            }
        }
    }

    async fn restart_once(&self, restart: &Restart, stop: &mut Stop) -> Result<Option<Restarted>, Halt> {
        let taken = take(self, stop).await?;
        let head = until_answered("head", stop, async || self.target.head().await).await?;
        if let Some(standing) = &head.standing {
            let is_mine = standing.pipeline == self.settings.pipeline;
            if restart.adopt && is_mine {
                judge::newest_epoch(standing, self.settings.epoch)?;
            } else if !restart.adopt {
                // Another pipeline's epochs say nothing about this one's.
                judge::ours(standing, &self.settings.pipeline, self.settings.epoch)?;
            }
        }
        let before = until_answered("tables", stop, async || self.target.registry(&head).await).await?;
        // Before anything is claimed: a misspelt name must not look as if it had been done.
        if let Some(table) = restart.tables.iter().flatten().find(|table| !knows(&before, table)) {
            return Err(Halt::Fault(Cause::NoSuchTable { table: table.clone() }.into()));
        }
        let gap = self.gap(&head, &taken, restart.adopt)?;
        let (identity, position) = if gap {
            drop(taken);
            let (identity, position) = until_answered("slot", stop, async || self.source.recreate().await).await?;
            (identity, Some(position))
        } else {
            let position = head.standing.as_ref().and_then(|standing| standing.checkpoint.position.clone());
            (taken.identity.clone(), position)
        };
        let tables = if gap { None } else { restart.tables.as_deref() };
        let standing = self.restarted_standing(&head, &before, (identity, position), tables);
        let past = until_answered("files", stop, async || self.target.files_of(head.commit, tables).await).await?;
        // A table that left earlier keeps its files: nothing would read it anew.
        let members = before.entries().map(|entry| &entry.table).collect::<HashSet<_>>();
        let leaves = |file: &PastFile| !file.removed && members.contains(&file.table);
        let removed = past.into_iter().filter(leaves).map(|file| file.path).collect();
        let claim = Claim { standing, removed };
        let prepared = self.target.prepare_claim(&head, &claim)?;
        match until_answered("claim", stop, async || self.target.claim(&prepared).await).await? {
            Claimed::Taken => Ok(None),
            Claimed::Mine(chain) => {
                let checkpoint = &claim.standing.checkpoint;
                let position = checkpoint.position.as_ref().map(millrace_model::Position::as_str);
                telemetry::claimed(chain.claim(), position, checkpoint.sequence.0);
                Ok(Some(Restarted { commit: chain.claim(), removed: claim.removed.len(), new_slot: gap }))
            }
        }
    }

    /// Whether the log cannot be read on from the head. Another source is a gap if it may be adopted.
    fn gap(&self, head: &Head, taken: &Taken, adopt: bool) -> Result<bool, Fault> {
        let Some(standing) = &head.standing else {
            // No chain: a slot that stands serves another lake or nobody; the operator asked to begin anew.
            return Ok(!matches!(taken.slot, Slot::Missing));
        };
        if !self.source.same(&standing.source, &taken.identity) {
            let found = standing.source.identity.clone();
            let answers = taken.identity.identity.clone();
            return if adopt { Ok(true) } else { Err(Cause::OtherSource { found, answers }.into()) };
        }
        let position = standing.checkpoint.position.as_ref();
        // A slot that was never made is none that was lost.
        let is_due = position.is_none() && matches!(taken.slot, Slot::Missing);
        Ok(!is_due && judge::continues(&taken.slot, position, &standing.source).is_err())
    }

    fn restarted_standing(
        &self,
        head: &Head,
        registry: &Registry,
        (source, position): (SourceIdentity, Option<millrace_model::Position>),
        tables: Option<&[String]>,
    ) -> Standing {
        let before = head.standing.as_ref();
        let chosen = |entry: &TableEntry| tables.is_none_or(|names| names.iter().any(|n| entry.table.answers_to(n)));
        let registry = Registry::new(registry.entries().map(|entry| {
            if chosen(entry) { Arc::new(TableEntry { snapshot: None, ..(**entry).clone() }) } else { Arc::clone(entry) }
        }));
        let snapshots = before.map_or_else(Vec::new, |before| {
            let kept = |table: &millrace_model::TableName| {
                tables.is_some_and(|names| !names.iter().any(|name| table.answers_to(name)))
            };
            before.snapshots.iter().filter(|snapshot| kept(&snapshot.table)).cloned().collect()
        });
        Standing {
            pipeline: self.settings.pipeline.clone(),
            epoch: self.settings.epoch,
            source,
            checkpoint: Checkpoint {
                position,
                sequence: before.map(|before| before.checkpoint.sequence).unwrap_or_default(),
            },
            registry: Some(registry),
            snapshots,
            written_at: self.clock.now(),
        }
    }
}

/// Whether the lake has a table that answers to `name`.
fn knows(registry: &Registry, name: &str) -> bool {
    registry.entries().any(|entry| entry.table.answers_to(name))
}
