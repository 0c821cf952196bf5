//! The conversation with the hub: sign in, say hello, then report and ask, one call at a time, for as long as the process
//! lives. A hub that is away stops nothing: the pipeline goes on, and what happened is told later.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_model::Fault;
use millrace_protocol::gateway::{DesiredPipeline, Goodbye, Hello, PROTOCOL, Platform, Sync, Synced};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use uuid::Uuid;

use crate::asked::Taken;
use crate::clock::SystemClock;
use crate::fault::Cause;
use crate::hub::{Answer, HubClient};
use crate::standing::Shared;

/// How long the hub may hold a sync.
const HOLD: Duration = Duration::from_secs(15);
/// A hub that is there says this soon whether what was kept is still to run.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// While something is in flux, it is told this often at most.
const AT_MOST_EVERY: Duration = Duration::from_millis(500);
/// How often it asks whether the other one's lease is over.
const DUPLICATE_PAUSE: Duration = Duration::from_secs(2);
/// A new wish is taken so soon, or told again.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A goodbye must not hold up the end of the process.
const GOODBYE_WITHIN: Duration = Duration::from_secs(3);

/// The conversation.
pub(crate) struct Session {
    pub(crate) hub: HubClient,
    pub(crate) shared: Arc<Shared>,
    pub(crate) wishes: watch::Sender<Option<DesiredPipeline>>,
    /// For questions, and for what acts on the pipeline.
    commands: (mpsc::Sender<Taken>, mpsc::Sender<Taken>),
    pub(crate) instance: String,
    /// What was kept from the last process, until the hub has spoken or stays away.
    kept: Option<DesiredPipeline>,
    id: Option<String>,
    sequence: u64,
    pause: Duration,
    signed_in: bool,
    duplicate_since: Option<Instant>,
    /// Commands whose results the hub has not stored yet.
    taken: HashSet<String>,
}

impl Session {
    pub(crate) fn new(
        hub: HubClient,
        shared: Arc<Shared>,
        wishes: watch::Sender<Option<DesiredPipeline>>,
        commands: (mpsc::Sender<Taken>, mpsc::Sender<Taken>),
        kept: Option<DesiredPipeline>,
    ) -> Self {
        Self {
            kept,
            hub,
            shared,
            wishes,
            commands,
            instance: Uuid::now_v7().to_string(),
            id: None,
            sequence: 0,
            pause: FIRST_PAUSE,
            signed_in: false,
            duplicate_since: None,
            taken: HashSet::new(),
        }
    }

    /// Talks until the hub refuses for good, or another process has the lease for too long.
    pub(crate) async fn talk(&mut self) -> Result<Infallible, Fault> {
        let began = Instant::now();
        loop {
            let left = FIRST_ANSWER.saturating_sub(began.elapsed());
            let waits = self.kept.is_some() && self.id.is_none();
            let asked = async {
                match self.id.clone() {
                    None => self.hello().await,
                    Some(id) => self.sync(id).await,
                }
            };
            let answered = if waits { tokio::time::timeout(left, asked).await } else { Ok(asked.await) };
            match answered {
                Ok(Ok(())) => {
                    self.shared.connected(true);
                    self.pause = FIRST_PAUSE;
                }
                Ok(Err(answer)) => {
                    self.shared.connected(!matches!(answer, Answer::Later(..)));
                    self.unanswered(answer).await?;
                }
                Err(_) => self.go_on(),
            }
        }
    }

    /// The hub is away, or waits for this agent's own old lease: what was kept goes on.
    fn go_on(&mut self) {
        if let Some(kept) = self.kept.take() {
            info!(code = "kept", pipeline = kept.held.pipeline_id, "going on with the definition that was kept");
            self.wishes.send_replace(Some(kept));
        }
    }

    async fn hello(&mut self) -> Result<(), Answer> {
        let held = self.wishes.borrow().as_ref().map(|wish| wish.held.clone());
        let kept = self.kept.as_ref().map(|kept| kept.held.clone());
        let hello = Hello {
            protocol: PROTOCOL,
            instance: self.instance.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: platform(),
            held,
            kept,
        };
        let welcome = self.hub.hello(&hello).await?;
        info!(code = "connected", hub_version = welcome.hub_version, "the hub knows this agent");
        self.id = Some(welcome.session_id);
        self.sequence = 0;
        self.signed_in = true;
        self.duplicate_since = None;
        Ok(())
    }

    /// What is said in the next sync.
    fn said(&self, session_id: String, wait: Duration) -> Sync {
        let now = SystemClock::time();
        let (events, results) = self.shared.outbox.next(now);
        Sync {
            session_id,
            sequence: self.sequence,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or_default(),
            sent_at: self.hub.clock().to_string(),
            held: self.shared.held(),
            report: self.shared.report(),
            events,
            results,
            taken: self.taken.iter().cloned().collect(),
            conditions: Some(self.shared.conditions()),
            process: Some(crate::process::figures()),
        }
    }

    /// One sync. Something new in the agent lets it go early, so that the next one tells it.
    async fn sync(&mut self, session_id: String) -> Result<(), Answer> {
        let begun = Instant::now();
        self.sequence += 1;
        // Whatever rang until now is said in this one.
        let _rang = tokio::time::timeout(Duration::ZERO, self.shared.outbox.bell.notified()).await;
        let sync = self.said(session_id, HOLD);
        let synced = tokio::select! {
            synced = self.hub.sync(&sync) => synced?,
            () = self.shared.outbox.bell.notified() => {
                // Whatever comes at once goes together.
                tokio::time::sleep(AT_MOST_EVERY.saturating_sub(begun.elapsed())).await;
                return Ok(());
            }
        };
        self.take(synced).await;
        Ok(())
    }

    async fn take(&mut self, synced: Synced) {
        self.shared.outbox.acknowledged(&synced.acknowledged_events, &synced.acknowledged_commands);
        self.taken.retain(|id| !synced.acknowledged_commands.contains(id));
        let kept = self.kept.take();
        if let Some(desired) = synced.desired {
            self.wishes.send_if_modified(|wish| {
                let news = wish.as_ref().map(|wish| &wish.held) != desired.pipeline.as_ref().map(|wish| &wish.held);
                *wish = desired.pipeline;
                news
            });
            // The supervisor rings when it has taken it; until then there is nothing to add.
            let _slow = tokio::time::timeout(TAKEN_WITHIN, self.shared.outbox.bell.notified()).await;
        } else if kept.is_some() && self.shared.held().is_none() {
            // It is not this agent's any more.
            self.wishes.send_replace(None);
        }
        for command in synced.commands {
            // The hub repeats a command until it is said to be taken.
            let id = command.id.clone();
            let taken = Taken::new(command);
            let (questions, acts) = &self.commands;
            let channel = if taken.is_question() { questions } else { acts };
            if self.taken.insert(id.clone()) && channel.try_send(taken).is_err() {
                self.taken.remove(&id);
                warn!(code = "command", "a command came while others wait; it is left for later");
                tokio::time::sleep(AT_MOST_EVERY).await;
            }
        }
    }

    /// No answer, or a refusal: waits, or ends.
    async fn unanswered(&mut self, answer: Answer) -> Result<(), Fault> {
        match answer {
            Answer::UnknownSession => {
                self.id = None;
                Ok(())
            }
            Answer::Duplicate(said) => {
                let since = *self.duplicate_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.hub.duplicate_patience() {
                    return Err(Cause::Duplicate(said).into());
                }
                warn!(code = "retrying", stage = "session", "{said}");
                self.go_on();
                tokio::time::sleep(DUPLICATE_PAUSE).await;
                Ok(())
            }
            // A secret or a key that was good is being rotated, or the hub was set back: that passes.
            Answer::Final(
                cause @ (Cause::SignInRefused { .. }
                | Cause::ProofRefused { .. }
                | Cause::File { .. }
                | Cause::Settings { .. }),
            ) if self.signed_in => self.wait(&cause.to_string(), None).await,
            Answer::Final(cause) => Err(cause.into()),
            Answer::Later(said, retry_after) => self.wait(&said, retry_after).await,
        }
    }

    async fn wait(&mut self, said: &str, retry_after: Option<Duration>) -> Result<(), Fault> {
        let pause = retry_after.unwrap_or_else(|| self.pause.mul_f64(0.5 + fastrand::f64() / 2.0));
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        warn!(code = "retrying", stage = "hub", wait_ms = milliseconds, "no answer from the hub: {said}");
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.go_on();
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Tells what is left to tell, and that the process ends.
    pub(crate) async fn goodbye(&mut self, reason: &str) {
        let Some(session_id) = self.id.clone() else { return };
        let last = async {
            self.sequence += 1;
            let sync = self.said(session_id.clone(), Duration::ZERO);
            let told = self.hub.sync(&sync).await.map(drop);
            let said = self.hub.goodbye(&Goodbye { session_id: session_id.clone(), reason: reason.to_owned() }).await;
            told.and(said)
        };
        match tokio::time::timeout(GOODBYE_WITHIN, last).await {
            Ok(Ok(())) => {}
            Ok(Err(answer)) => warn!(code = "retrying", stage = "goodbye", "the hub was not told: {answer}"),
            Err(_) => warn!(code = "retrying", stage = "goodbye", "the hub was not told: it gave no answer in time"),
        }
    }
}

fn platform() -> Platform {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|text| text.trim().to_owned());
    Platform { os: Some(std::env::consts::OS.into()), arch: Some(std::env::consts::ARCH.into()), host }
}
