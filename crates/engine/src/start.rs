//! Start: S1 takes the source, S2 reads the head and judges, S3 claims; S4 is `resume`.
//!
//! Nothing is written before the claim and nothing but the claim, so a wrong pipeline file never fences a rightful writer.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use millrace_model::{
    Chain, Checkpoint, Claim, Claimed, Head, Opened, Position, Registry, Slot, Snapshot, SnapshotProgress,
    SourceIdentity, Standing, Taken,
};
use tokio::time::Instant;

use crate::Engine;
use crate::fault::Cause;
use crate::judge::{self, Verdict};
use crate::resume;
use crate::retry::{Backoff, Halt, until_answered};
use crate::stop::Stop;
use crate::telemetry;

/// How often a slot that another process has is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What the newest confirmed commit of this writer says; a round that is given up goes back to it.
#[derive(Clone, Debug)]
pub(crate) struct Confirmed {
    pub source: SourceIdentity,
    pub checkpoint: Checkpoint,
    pub registry: Registry,
    pub snapshots: Vec<SnapshotProgress>,
}

/// A claimed chain with the log that feeds it.
pub(crate) struct Writing {
    pub chain: Box<dyn Chain>,
    pub confirmed: Confirmed,
    /// The open log; a stream takes it.
    pub opened: Option<Opened>,
    /// Where the log was first opened under this claim: the yardstick while no commit has a position.
    pub first_opened: Option<Position>,
    /// The next round. Rounds are numbered once under a claim, also those that are given up.
    pub rounds: Arc<AtomicU64>,
    /// The snapshot that the making of the slot exported, until it is used or the log is lost.
    pub exported: Option<Arc<dyn Snapshot>>,
    /// `run --until now`: where the log's end was at the start.
    pub until: Option<Position>,
    /// Attempts to get the log back since the last commit.
    pub losses: Backoff,
}

/// S1 to S4.
pub(crate) async fn start(engine: &Engine, stop: &mut Stop) -> Result<Writing, Halt> {
    let (taken, head) = take_and_judge(engine, stop).await?;
    let (mut taken, mut head) = (taken, head);
    loop {
        if let Some(writing) = claim(engine, &head, &taken, stop).await? {
            return resume::first(engine, writing, taken, stop).await;
        }
        // S3, taken: back to S2 with what S1 noted.
        head = until_answered("head", stop, async || engine.target.head().await).await?;
        if judge_once(engine, &head, &taken, None)? == Verdict::LookAgain {
            (taken, head) = take_and_judge(engine, stop).await?;
        }
    }
}

/// S1, then S2; once more from S1 where what was found may be older than the head.
async fn take_and_judge(engine: &Engine, stop: &mut Stop) -> Result<(Taken, Head), Halt> {
    let mut before = None;
    loop {
        let taken = take(engine, stop).await?;
        let head = until_answered("head", stop, async || engine.target.head().await).await?;
        match judge_once(engine, &head, &taken, before.as_ref())? {
            Verdict::Fits => return Ok((taken, head)),
            Verdict::LookAgain => before = head.standing.and_then(|standing| standing.checkpoint.position),
        }
    }
}

fn judge_once(engine: &Engine, head: &Head, taken: &Taken, before: Option<&Position>) -> Result<Verdict, Halt> {
    let settings = &engine.settings;
    Ok(judge::start(head, taken, engine.source.as_ref(), &settings.pipeline, settings.epoch, before)?)
}

/// S1: waits while another process has the slot, for as long as a dead one can keep it (then 75).
pub(crate) async fn take(engine: &Engine, stop: &mut Stop) -> Result<Taken, Halt> {
    let mut busy = Busy::default();
    loop {
        let taken = until_answered("take", stop, async || engine.source.take().await).await?;
        let Slot::Busy { holder, patience } = &taken.slot else { return Ok(taken) };
        busy.wait(holder, *patience, stop).await?;
    }
}

/// A slot that another process has.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    since: Option<Instant>,
}

impl Busy {
    /// Waits before the next look; 75 once a dead holder would have lost it.
    pub(crate) async fn wait(&mut self, holder: &str, patience: Duration, stop: &mut Stop) -> Result<(), Halt> {
        let since = *self.since.get_or_insert_with(|| {
            telemetry::waiting_for_slot(holder);
            Instant::now()
        });
        if since.elapsed() >= patience {
            return Err(Halt::Fault(Cause::Busy { holder: holder.to_owned() }.into()));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => Ok(()),
            () = stop.requested() => Err(Halt::Stopped),
        }
    }
}

/// S3: creates the claim after `head`; `None` where another commit has its number.
async fn claim(engine: &Engine, head: &Head, taken: &Taken, stop: &mut Stop) -> Result<Option<Writing>, Halt> {
    let standing = claimed_standing(engine, head, &taken.identity);
    let claim = Claim { standing, removed: Arc::default() };
    let prepared = engine.target.prepare_claim(head, &claim)?;
    match until_answered("claim", stop, async || engine.target.claim(&prepared).await).await? {
        Claimed::Taken => Ok(None),
        Claimed::Mine(chain) => {
            let Standing { checkpoint, source, snapshots, .. } = claim.standing;
            let position = checkpoint.position.as_ref().map(Position::as_str);
            telemetry::claimed(chain.claim(), position, checkpoint.sequence.0);
            let registry = until_answered("tables", stop, async || engine.target.registry(head).await).await?;
            Ok(Some(Writing {
                chain,
                confirmed: Confirmed { source, checkpoint, registry, snapshots },
                opened: None,
                first_opened: None,
                rounds: Arc::new(AtomicU64::new(1)),
                exported: None,
                until: None,
                losses: Backoff::default(),
            }))
        }
    }
}

/// A claim repeats the commit before; it may restate the source's identity, and it carries this process's epoch.
fn claimed_standing(engine: &Engine, head: &Head, identity: &SourceIdentity) -> Standing {
    let before = head.standing.clone();
    Standing {
        pipeline: engine.settings.pipeline.clone(),
        epoch: engine.settings.epoch,
        source: identity.clone(),
        checkpoint: before.as_ref().map(|before| before.checkpoint.clone()).unwrap_or_default(),
        registry: None,
        snapshots: before.map(|before| before.snapshots).unwrap_or_default(),
        written_at: engine.clock.now(),
    }
}
