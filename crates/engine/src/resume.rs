//! S4 and *Reconnect*: getting the log open where the chain goes on, under a claim that stands.
//!
//! After a loss the order matters: the slot is taken again as in S1, then n+1 is read (76), then what was noted of the slot
//! is compared with the last commit (66), and only then the log is read on. PostgreSQL moves a start before the confirmed
//! position forward without an error, so a log that merely opens proves nothing.

use std::sync::Arc;

use millrace_model::{Fault, Position, Refusal, Registry, Remedy, Slot, TableEntry, Taken};

use crate::Engine;
use crate::fault::Cause;
use crate::judge;
use crate::retry::{Backoff, Halt, until_answered};
use crate::start::{Busy, Writing};
use crate::stop::Stop;
use crate::telemetry;

/// S4 of a start: opens what S1 took, or makes the slot where this is the first start.
pub(crate) async fn first(
    engine: &Engine,
    mut writing: Writing,
    taken: Taken,
    stop: &mut Stop,
) -> Result<Writing, Halt> {
    if let Err(fault) = open_unless_stopped(engine, &mut writing, taken.slot, stop).await? {
        after_loss(engine, &mut writing, retryable(fault)?, stop).await?;
    }
    Ok(writing)
}

/// *Reconnect*, until the log is open again.
pub(crate) async fn after_loss(
    engine: &Engine,
    writing: &mut Writing,
    mut fault: Fault,
    stop: &mut Stop,
) -> Result<(), Halt> {
    loop {
        writing.losses.wait("stream", &fault, stop).await?;
        let taken = take_again(engine, writing, stop).await?;
        fenced_by_another(writing, stop).await?;
        if !engine.source.same(&writing.confirmed.source, &taken.identity) {
            let found = writing.confirmed.source.identity.clone();
            return Err(Halt::Fault(Cause::OtherSource { found, answers: taken.identity.identity }.into()));
        }
        match open_unless_stopped(engine, writing, taken.slot, stop).await? {
            Ok(()) => return Ok(()),
            Err(again) => fault = retryable(again)?,
        }
    }
}

/// Takes the slot as in S1, looking each second whether another writer has taken the chain meanwhile.
async fn take_again(engine: &Engine, writing: &Writing, stop: &mut Stop) -> Result<Taken, Halt> {
    let mut busy = Busy::default();
    let mut backoff = Backoff::default();
    loop {
        let taken = match engine.source.take().await {
            Ok(taken) => taken,
            Err(fault) => {
                let fault = retryable(fault)?;
                fenced_by_another(writing, stop).await?;
                backoff.wait("take", &fault, stop).await?;
                continue;
            }
        };
        let Slot::Busy { holder, patience } = &taken.slot else { return Ok(taken) };
        fenced_by_another(writing, stop).await?;
        busy.wait(holder, *patience, stop).await?;
    }
}

/// Reads n+1: 76 where another writer's commit stands there.
async fn fenced_by_another(writing: &Writing, stop: &mut Stop) -> Result<(), Halt> {
    let superseded = until_answered("chain", stop, async || writing.chain.superseded().await).await?;
    if superseded {
        return Err(Halt::Fault(Cause::Fenced { commit: writing.chain.commit_number() + 1 }.into()));
    }
    Ok(())
}

/// A new slot waits for every running transaction of the server, a stop does not: nothing is open yet that it could close.
async fn open_unless_stopped(
    engine: &Engine,
    writing: &mut Writing,
    slot: Slot,
    stop: &mut Stop,
) -> Result<Result<(), Fault>, Halt> {
    tokio::select! {
        opened = open(engine, writing, slot) => Ok(opened),
        () = stop.requested() => Err(Halt::Stopped),
    }
}

/// Compares what was noted of the slot with the last commit, and opens the log there.
async fn open(engine: &Engine, writing: &mut Writing, slot: Slot) -> Result<(), Fault> {
    // While the checkpoint has no position, the place where the log was first opened is the yardstick.
    let yardstick: Option<Position> =
        writing.confirmed.checkpoint.position.clone().or_else(|| writing.first_opened.clone());
    writing.exported = None;
    let mut held = match (slot, &yardstick) {
        // The first start, or one that died before its first commit with a position.
        (Slot::Missing, None) => engine.source.create().await?,
        (slot, yardstick) => {
            judge::continues(&slot, yardstick.as_ref(), &writing.confirmed.source)?;
            match slot {
                Slot::Held(held) => held,
                // `continues` has refused every other slot.
                Slot::Missing | Slot::Lost { .. } | Slot::Busy { .. } => return Ok(()),
            }
        }
    };
    writing.confirmed.source = held.identity().clone();
    if writing.confirmed.checkpoint.position.is_none() {
        // The list of tables as the log begins; the first commit says it.
        let members = engine.source.members().await?;
        let published = members.iter().filter(|member| member.published);
        writing.confirmed.registry = Registry::new(published.map(|member| Arc::new(TableEntry::new(&member.schema))));
    }
    writing.exported = held.exported();
    let opened = held.open(yardstick.as_ref(), &writing.confirmed.registry).await?;
    if writing.first_opened.is_none() {
        writing.first_opened = Some(opened.position.clone());
    }
    telemetry::streaming(opened.position.as_str());
    writing.opened = Some(opened);
    Ok(())
}

/// Two first starts may have seen no slot: the one that finds it in use when it wants to make it waits for it as in S1. Of
/// both the later claim goes on, and the earlier finds out at its next commit.
fn retryable(fault: Fault) -> Result<Fault, Halt> {
    let in_use = fault.remedy == Remedy::Operator(Refusal::Busy);
    if fault.is_retry() || in_use { Ok(fault) } else { Err(Halt::Fault(fault)) }
}
