//! Whether a slot fits a chain: the stops of S2 and of *Reconnect*, as plain decisions over what was noted.
//!
//! Pure on purpose: each "no" is a sentence of `docs/specs/file-lake.md` and has its test below.

use millrace_model::{Coverage, Fault, Head, Held, Position, Slot, Source, SourceIdentity, Standing, Taken};

use crate::fault::Cause;

/// What S2 decides.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Claim and read on.
    Fits,
    /// S1 found no slot and the head has a position, or the log ends before it: since S1 another writer may have made the slot,
    /// or come further. Once more from S1.
    LookAgain,
}

/// S2: may this process claim after `head`, given what S1 took and noted? `before` is the position of the head that was read
/// before S1, where an earlier look was in doubt.
pub(crate) fn start(
    head: &Head,
    taken: &Taken,
    source: &dyn Source,
    pipeline: &str,
    epoch: Option<u64>,
    before: Option<&Position>,
) -> Result<Verdict, Fault> {
    let Some(standing) = &head.standing else {
        return first_start(&taken.slot).map(|()| Verdict::Fits);
    };
    ours(standing, pipeline, epoch)?;
    same_source(standing, &taken.identity, source)?;
    match (&taken.slot, &standing.checkpoint.position) {
        (Slot::Missing, Some(_)) if before.is_none() => Ok(Verdict::LookAgain),
        (Slot::Missing, None) => Ok(Verdict::Fits),
        (Slot::Held(held), Some(position)) if is_in_doubt(held.as_ref(), position, &standing.source, before) => {
            Ok(Verdict::LookAgain)
        }
        (slot, position) => continues(slot, position.as_ref(), &standing.source).map(|()| Verdict::Fits),
    }
}

/// Whether the source only seems to have been set back: the head may be of a writer that has read on since S1 noted where the
/// log ends. No doubt is left where that log lacks what was committed before S1, too.
fn is_in_doubt(held: &dyn Held, position: &Position, source: &SourceIdentity, before: Option<&Position>) -> bool {
    let is_set_back = |position| matches!(held.coverage(position, source), Coverage::SetBack(_));
    is_set_back(position) && !before.is_some_and(is_set_back)
}

/// Whether the chain belongs to this pipeline, and no newer epoch has written to it.
pub(crate) fn ours(standing: &Standing, pipeline: &str, epoch: Option<u64>) -> Result<(), Fault> {
    if standing.pipeline != pipeline {
        return Err(Cause::OtherPipeline { found: standing.pipeline.clone(), wanted: pipeline.into() }.into());
    }
    newest_epoch(standing, epoch)
}

/// 76 where the head's epoch is above mine; null is not compared.
pub(crate) fn newest_epoch(standing: &Standing, epoch: Option<u64>) -> Result<(), Fault> {
    match (standing.epoch, epoch) {
        (Some(found), Some(mine)) if found > mine => Err(Cause::NewerEpoch { found, mine }.into()),
        _ => Ok(()),
    }
}

fn same_source(standing: &Standing, answers: &SourceIdentity, source: &dyn Source) -> Result<(), Fault> {
    if source.same(&standing.source, answers) {
        return Ok(());
    }
    Err(Cause::OtherSource { found: standing.source.identity.clone(), answers: answers.identity.clone() }.into())
}

/// No commit at the root: a slot of the default name serves another lake; one that the user named is used.
fn first_start(slot: &Slot) -> Result<(), Fault> {
    match slot {
        Slot::Held(held) if held.state().default_name => Err(Cause::SlotOfAnotherLake.into()),
        Slot::Missing | Slot::Held(_) | Slot::Lost { .. } | Slot::Busy { .. } => has_log(slot),
    }
}

/// Whether the log behind `slot` goes on where what was read from `source` up to `checkpoint` ends (`None`: nothing was read
/// yet, and whatever the slot still has will do).
pub(crate) fn continues(slot: &Slot, checkpoint: Option<&Position>, source: &SourceIdentity) -> Result<(), Fault> {
    match (slot, checkpoint) {
        (Slot::Missing, checkpoint) => {
            let checkpoint = checkpoint.map_or_else(String::new, ToString::to_string);
            Err(Cause::SlotMissing { checkpoint }.into())
        }
        (Slot::Held(held), Some(checkpoint)) => {
            has_log(slot)?;
            goes_on(held.as_ref(), checkpoint, source)
        }
        _ => has_log(slot),
    }
}

/// Whether there is a log behind `slot` that can be read.
fn has_log(slot: &Slot) -> Result<(), Fault> {
    match slot {
        Slot::Missing => Ok(()),
        Slot::Held(held) => match &held.state().unreadable {
            Some(reason) => Err(Cause::SlotUnreadable { reason: reason.clone() }.into()),
            None => Ok(()),
        },
        Slot::Lost { reason } => Err(Cause::SlotLost { reason: reason.clone() }.into()),
        Slot::Busy { holder, .. } => Err(Cause::Busy { holder: holder.clone() }.into()),
    }
}

fn goes_on(held: &dyn Held, checkpoint: &Position, source: &SourceIdentity) -> Result<(), Fault> {
    match held.coverage(checkpoint, source) {
        Coverage::Whole => Ok(()),
        Coverage::Forgotten => {
            let (confirmed, checkpoint) = (held.state().confirmed.to_string(), checkpoint.to_string());
            Err(Cause::SlotBeyond { confirmed, checkpoint }.into())
        }
        Coverage::SetBack(why) => Err(Cause::SourceSetBack { why, checkpoint: checkpoint.to_string() }.into()),
    }
}
