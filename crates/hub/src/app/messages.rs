//! Messages: what happened in an account, put together, and brought to its recipients with growing pauses until they have it or the
//! hub gives up.
//!
//! A message holds names, codes and words of the hub's own; nothing that an agent or a database said, so no value of a row.

use std::collections::HashMap;
use std::time::Duration;

use millrace_model::Timestamp;
use serde_json::{Value, json};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tracing::{info, warn};
use uuid::Uuid;

use super::outward::{self, Message, Reach};
use super::recipients::bytes_of;
use super::{App, later, mail, require};
use crate::auth::{Caller, Role};
use crate::db::notices::{self, Notice};
use crate::db::recipients::{self, Delivery, Recipient};
use crate::db::{Alone, accounts, audit};
use crate::fault::Refused;

/// What happens within so long is one message.
const TOGETHER: Duration = Duration::from_secs(3);
/// Changes that one message names; of more it says how many.
const NAMED: usize = 100;
/// Pauses after each attempt that failed; after the last the hub gives up.
const PAUSES: [Duration; 7] = [
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(6),
    Duration::from_hours(12),
];
/// Messages that are sent at the same time.
const AT_ONCE: usize = 64;
/// Of them to one recipient, and to all of one account: those that are slow keep the others waiting for no place.
const OF_ONE: usize = 2;
const OF_ACCOUNT: usize = 16;
/// Messages that are looked through for some that can be sent now: of a recipient, of an account, and in all.
const LOOKED_AT: (i64, i64, i64) = (OF_ONE as i64, OF_ACCOUNT as i64, 1_024);
/// How long a message may take, however many questions the other side answers slowly.
const DEADLINE: Duration = Duration::from_secs(30);
/// What was told is kept for so long.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// Tests of an account within a minute.
const TESTS: u32 = 10;
/// Between two looks.
const TICK: Duration = Duration::from_secs(1);
/// Looks between two sweeps.
const SWEEP: u32 = 5;
/// Looks between two for secrets that end soon.
const SECRETS: u32 = 60;

impl App {
    /// Looks, tells and tries again, for as long as it is polled.
    pub(crate) async fn keep_telling(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sending = Sending::default();
        let mut round = 0_u32;
        loop {
            // Beside each other: a server that takes its time keeps nobody else from being told, or missed.
            let outcome = tokio::select! {
                _ = tick.tick() => {
                    let outcome = self.look_and_tell(round, &mut sending).await;
                    round = round.wrapping_add(1);
                    outcome
                }
                Some(sent) = sending.next() => match sent {
                    Ok((delivery, recipient, outcome)) => self.note_outcome(&delivery, &recipient, outcome).await,
                    // It is tried again when its time comes.
                    Err(_panicked) => Ok(()),
                },
            };
            if let Err(refused) = outcome {
                warn!(code = "HB-003", "what happened could not be told: {refused}");
            }
        }
    }

    async fn look_and_tell(&self, round: u32, sending: &mut Sending) -> Result<(), Refused> {
        self.tell_recipients(sending).await?;
        // Only now: the database has answered.
        self.listen();
        if round.is_multiple_of(SWEEP) {
            self.sweep().await?;
        }
        if round.is_multiple_of(SECRETS) {
            self.look_for_old_secrets().await?;
        }
        Ok(())
    }

    /// Makes messages of what waits, and sends those whose time has come on their way.
    async fn tell_recipients(&self, sending: &mut Sending) -> Result<(), Refused> {
        self.gather().await?;
        for delivery in recipients::due(self.db.pool(), self.now(), LOOKED_AT).await? {
            if sending.has_room_for(&delivery)
                && let Some(ready) = self.ready(delivery).await?
            {
                sending.add(ready);
            }
        }
        Ok(())
    }

    /// One message a recipient of everything that happened in its account and that it wants to hear.
    async fn gather(&self) -> Result<(), Refused> {
        let now = self.now();
        let settled = Timestamp(now.0 - i64::try_from(TOGETHER.as_micros()).unwrap_or_default());
        if notices::waiting(self.db.pool(), settled).await?.is_empty() {
            return Ok(());
        }
        let mut writing = self.db.write_alone(Alone::Messages).await?;
        for account_id in notices::waiting(writing.on(), settled).await? {
            let happened = notices::take(writing.on(), &account_id, now).await?;
            let account = accounts::of_id(writing.on(), &account_id).await?;
            let account = json!({"id": account_id, "name": account.map(|account| account.name)});
            for recipient in recipients::list(writing.on(), &account_id).await? {
                let wanted = happened.iter().filter(|notice| recipient.events.contains(&notice.event));
                let wanted: Vec<&Notice> = wanted.collect();
                if !wanted.is_empty() {
                    let body = body("notification", &account, &self.changes(&wanted), wanted.len());
                    recipients::send(writing.on(), &delivery(&recipient, &body, now)).await?;
                }
            }
        }
        let old = Timestamp(now.0 - i64::try_from(KEPT.as_micros()).unwrap_or_default());
        notices::forget(writing.on(), old).await?;
        writing.commit().await
    }

    fn changes(&self, happened: &[&Notice]) -> Vec<Value> {
        let change = |notice: &&Notice| {
            let (kind, id) = notice.object.split_once(':').unwrap_or_default();
            let mut change = json!({"event": notice.event, "at": notice.at.to_string(),
                "object": {"kind": kind, "id": id, "name": notice.name}, "message": words(notice, kind),
                "link": format!("{}/{kind}s/{id}", self.settings.public_url)});
            if let (Some(code), Some(change)) = (&notice.code, change.as_object_mut()) {
                change.insert("code".into(), code.as_str().into());
            }
            change
        };
        happened.iter().take(NAMED).map(change).collect()
    }

    /// Takes a message for one attempt, unless another hub process has it or nobody wants it any more.
    async fn ready(&self, delivery: Delivery) -> Result<Option<Ready>, Refused> {
        let now = self.now();
        let mut writing = self.db.write().await?;
        let Some(recipient) = recipients::of_id(writing.on(), &delivery.recipient_id).await? else {
            recipients::ended(writing.on(), &delivery.id, now).await?;
            writing.commit().await?;
            return Ok(None);
        };
        let next = later(now, pause(delivery.attempts));
        let taken = recipients::attempt(writing.on(), &delivery, next).await?;
        writing.commit().await?;
        if !taken {
            return Ok(None);
        }
        let secret = self.secret_of(&recipient)?.unwrap_or_default();
        let way = match (recipient.kind.as_str(), &self.settings.smtp) {
            ("webhook", _) => Way::Webhook { secret: bytes_of(&secret), allowed: self.settings.webhook_allow.clone() },
            (_, smtp) => Way::Mail(smtp.clone()),
        };
        Ok(Some(Ready { delivery, recipient, way, now }))
    }

    async fn note_outcome(
        &self,
        delivery: &Delivery,
        recipient: &Recipient,
        outcome: Result<(), String>,
    ) -> Result<(), Refused> {
        let now = self.now();
        let mut writing = self.db.write().await?;
        recipients::outcome(writing.on(), &recipient.id, outcome.as_ref().err().map(String::as_str), now).await?;
        let id = &recipient.id;
        match outcome {
            Ok(()) => {
                recipients::ended(writing.on(), &delivery.id, now).await?;
                info!(code = "notified", recipient = id, "a message has arrived");
            }
            Err(why) if usize::try_from(delivery.attempts).unwrap_or(usize::MAX) + 1 >= PAUSES.len() => {
                recipients::ended(writing.on(), &delivery.id, now).await?;
                warn!(code = "HB-010", recipient = id, "a message was given up: {why}");
                let entry = audit::Entry {
                    account_id: Some(&recipient.account_id),
                    actor: "hub",
                    address: "",
                    action: &format!("{}.give_up", recipient.kind),
                    object: &format!("recipient:{id}"),
                    detail: &why,
                    outcome: "failed",
                };
                audit::add(writing.on(), entry, now).await?;
            }
            Err(why) => {
                warn!(code = "retrying", stage = "notification", recipient = id, "a message did not arrive: {why}");
            }
        }
        writing.commit().await
    }

    /// Sends a recipient a message at once: why it did not arrive.
    pub(crate) async fn test_recipient(&self, caller: &Caller, id: &str) -> Result<Result<(), String>, Refused> {
        require(caller, Role::Owner)?;
        let recipient = self.recipient(caller, id).await?;
        // Each is a call to somewhere else: nobody makes the hub call more often.
        let subject = format!("test {}", caller.account_id);
        let counted = self.throttle.count(&[(&subject, TESTS)], self.now());
        counted.map_err(|retry_after| Refused::TooMany { retry_after })?;
        let account = accounts::of_id(self.db.pool(), &caller.account_id).await?;
        let account = json!({"id": caller.account_id, "name": account.map(|account| account.name)});
        let message = delivery(&recipient, &body("test", &account, &[], 0), self.now());
        let mut writing = self.db.write().await?;
        recipients::send(writing.on(), &message).await?;
        let action = format!("{}.test", recipient.kind);
        self.audit(&mut writing, caller, (&action, &format!("recipient:{id}"), "")).await?;
        writing.commit().await?;
        let Some(ready) = self.ready(message).await? else {
            return Ok(Err("another process is sending it".into()));
        };
        let (delivery, recipient, outcome) = ready.send().await;
        // A test is tried once: whoever asked for it looks at it now.
        let last = Delivery { attempts: i64::MAX, ..delivery };
        match &outcome {
            Ok(()) => self.note_outcome(&last, &recipient, Ok(())).await?,
            Err(why) => {
                let mut writing = self.db.write().await?;
                recipients::ended(writing.on(), &last.id, self.now()).await?;
                recipients::outcome(writing.on(), &recipient.id, Some(why), self.now()).await?;
                writing.commit().await?;
            }
        }
        Ok(outcome)
    }
}

/// A message that is about to be sent.
struct Ready {
    delivery: Delivery,
    recipient: Recipient,
    way: Way,
    now: Timestamp,
}

enum Way {
    Webhook { secret: Vec<u8>, allowed: crate::settings::Networks },
    Mail(Option<crate::settings::Smtp>),
}

/// What came of a message.
type Sent = (Delivery, Recipient, Result<(), String>);

/// Messages on their way, and whose they are: recipient and account.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<Sent>,
    owners: HashMap<Id, (String, String)>,
}

impl Sending {
    fn has_room_for(&self, delivery: &Delivery) -> bool {
        let of_one = self.owners.values().filter(|(recipient, _)| *recipient == delivery.recipient_id).count();
        let of_account = self.owners.values().filter(|(_, account)| *account == delivery.account_id).count();
        self.tasks.len() < AT_ONCE && of_one < OF_ONE && of_account < OF_ACCOUNT
    }

    fn add(&mut self, ready: Ready) {
        let owner = (ready.recipient.id.clone(), ready.recipient.account_id.clone());
        let task = self.tasks.spawn(ready.send());
        self.owners.insert(task.id(), owner);
    }

    /// The next that has ended; `None`: none is on its way.
    async fn next(&mut self) -> Option<Result<Sent, JoinError>> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(panicked) => panicked.id(),
        };
        self.owners.remove(&id);
        Some(ended.map(|(_, sent)| sent))
    }
}

impl Ready {
    async fn send(self) -> Sent {
        let Self { delivery, recipient, way, now } = self;
        let sending = Self::by(&way, &recipient, (&delivery, now));
        let late = |_late| Err(format!("it was not taken within {} s", DEADLINE.as_secs()));
        let outcome = timeout(DEADLINE, sending).await.unwrap_or_else(late);
        (delivery, recipient, outcome)
    }

    async fn by(way: &Way, recipient: &Recipient, (delivery, now): (&Delivery, Timestamp)) -> Result<(), String> {
        match way {
            Way::Webhook { secret, allowed } => {
                let message = Message { id: &delivery.id, timestamp: now.0 / 1_000_000, body: &delivery.body };
                outward::send(&recipient.address, secret, &message, Reach::of_webhooks(allowed)).await
            }
            Way::Mail(Some(smtp)) => mail::send(smtp, &recipient.address, &delivery.id, &delivery.body).await,
            Way::Mail(None) => Err("this hub has no mail server any more".into()),
        }
    }
}

fn pause(attempts: i64) -> Duration {
    let at = usize::try_from(attempts).unwrap_or_default().min(PAUSES.len() - 1);
    PAUSES.get(at).copied().unwrap_or_default()
}

fn delivery(recipient: &Recipient, body: &Value, now: Timestamp) -> Delivery {
    Delivery {
        id: Uuid::now_v7().to_string(),
        recipient_id: recipient.id.clone(),
        account_id: recipient.account_id.clone(),
        body: body.to_string(),
        created_at: now,
        attempts: 0,
        due_at: now,
    }
}

/// A message's body. With its hundred changes it stays far below what a receiver may be asked to take.
fn body(kind: &str, account: &Value, changes: &[Value], total: usize) -> Value {
    let body =
        json!({"type": kind, "account": account, "changes": changes, "more": total.saturating_sub(changes.len())});
    debug_assert!(body.to_string().len() <= outward::BODY, "a message fits");
    body
}

fn words(notice: &Notice, kind: &str) -> String {
    let name = &notice.name;
    match (notice.event.as_str(), kind) {
        ("pipeline_failed", _) => {
            let code = notice.code.as_deref().unwrap_or("a fault");
            format!("Pipeline {name} has failed with {code} and does not run.")
        }
        ("agent_unknown", _) => {
            format!("Agent {name} went silent without a goodbye. Its pipeline may still be running.")
        }
        ("credentials_expiring", _) => format!("The secret of agent {name} expires within a week."),
        ("recovered", "pipeline") => format!("Pipeline {name} runs again."),
        _ => format!("Agent {name} is heard again."),
    }
}
