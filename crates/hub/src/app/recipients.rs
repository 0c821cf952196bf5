//! Who is told when something needs someone: an account's webhooks and e-mail addresses, and what each of them wants to hear.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use super::outward::{self, Reach};
use super::repeats::Once;
use super::{App, is_id, require};
use crate::auth::{Caller, Role};
use crate::db::recipients::{self, Recipient};
use crate::fault::{Refused, Violation};

/// What can be told, and how a page says it.
pub(crate) const EVENTS: [(&str, &str); 4] = [
    ("pipeline_failed", "A pipeline has failed and does not run"),
    ("agent_unknown", "An agent went silent"),
    ("credentials_expiring", "An agent's secret is about to expire"),
    ("recovered", "It is over: a pipeline runs again, an agent is back"),
];
/// Of one account.
const MOST: usize = 20;
/// Begins a webhook's secret, as Standard Webhooks has it.
const PREFIX: &str = "whsec_";

/// A new one, or what one becomes; checked.
#[derive(Clone, Debug)]
pub(crate) struct NewRecipient {
    pub(crate) kind: &'static str,
    pub(crate) address: String,
    pub(crate) events: Vec<String>,
}

impl NewRecipient {
    /// Everything that is wrong at once. `field`: what the address is called where it was given.
    pub(crate) fn check(
        app: &App,
        (kind, field): (&'static str, &str),
        address: &str,
        events: &[String],
    ) -> Result<Self, Refused> {
        let mut violations = Vec::new();
        let mut wrong = |field: &str, message: String| violations.push(Violation { field: field.into(), message });
        if kind == "webhook" {
            if let Some(why) = outward::refused(address, Reach::of_webhooks(&app.settings.webhook_allow)) {
                wrong(field, why);
            }
        } else if app.settings.smtp.is_none() {
            wrong(field, "cannot be used: this hub has no mail server; whoever runs it sets HUB_SMTP_URL".into());
        } else if address.parse::<lettre::Address>().is_err() {
            wrong(field, "must be an e-mail address, like ann@example.com".into());
        }
        let unknown = events.iter().find(|event| !EVENTS.iter().any(|(word, _)| word == event));
        if events.is_empty() || unknown.is_some() {
            let words: Vec<&str> = EVENTS.iter().map(|(word, _)| *word).collect();
            wrong("events", format!("must be some of {}", words.join(", ")));
        }
        if !violations.is_empty() {
            return Err(Refused::Invalid(violations));
        }
        let named = EVENTS.iter().map(|(word, _)| (*word).to_owned());
        let events = named.filter(|word| events.contains(word)).collect();
        Ok(Self { kind, address: address.to_owned(), events })
    }
}

impl App {
    /// The account's recipients, by creation.
    pub(crate) async fn recipients(&self, caller: &Caller) -> Result<Vec<Recipient>, Refused> {
        require(caller, Role::Owner)?;
        recipients::list(self.db.pool(), &caller.account_id).await
    }

    /// The account's recipient of that id.
    pub(crate) async fn recipient(&self, caller: &Caller, id: &str) -> Result<Recipient, Refused> {
        require(caller, Role::Owner)?;
        let found = if is_id(id) { recipients::of_id(self.db.pool(), id).await? } else { None };
        found.filter(|one| one.account_id == caller.account_id).ok_or(Refused::NotFound("the recipient"))
    }

    /// Adds one: its id, and of a webhook the secret that signs its messages.
    pub(crate) async fn add_recipient(
        &self,
        caller: &Caller,
        new: NewRecipient,
        once: Option<&Once>,
    ) -> Result<(String, Option<String>), Refused> {
        require(caller, Role::Owner)?;
        let id = Uuid::now_v7().to_string();
        let secret = if new.kind == "webhook" { Some(new_secret()?) } else { None };
        let sealed = secret.as_deref().map(|secret| self.sealer.seal(secret.as_bytes(), &id)).transpose()?;
        let mut writing = self.db.write().await?;
        if let Some(id) = self.done_before(&mut writing, caller, once).await? {
            let made =
                recipients::of_id(writing.on(), &id).await?.ok_or(Refused::NotFound("what this request has made"))?;
            return Ok((id, self.secret_of(&made)?));
        }
        let others = recipients::list(writing.on(), &caller.account_id).await?;
        if others.len() >= MOST {
            return Err(Refused::conflict(
                "too_many_recipients",
                format!("an account tells {MOST} recipients at most"),
            ));
        }
        if others.iter().any(|other| other.address == new.address) {
            return Err(taken());
        }
        let recipient = Recipient {
            id: id.clone(),
            account_id: caller.account_id.clone(),
            kind: new.kind.into(),
            address: new.address,
            events: new.events,
            sealed,
            created_at: self.now(),
            created_by: caller.actor(),
            reached_at: None,
            trouble: None,
        };
        recipients::insert(writing.on(), &recipient).await?;
        self.note_done(&mut writing, caller, once, &id).await?;
        let action = format!("{}.create", recipient.kind);
        // A webhook's path may be a secret of its receiver.
        self.audit(&mut writing, caller, (&action, &format!("recipient:{id}"), shown(&recipient.address))).await?;
        writing.commit().await?;
        Ok((id, secret))
    }

    /// Changes address and events.
    pub(crate) async fn change_recipient(&self, caller: &Caller, id: &str, new: NewRecipient) -> Result<(), Refused> {
        let before = self.recipient(caller, id).await?;
        let mut writing = self.db.write().await?;
        let others = recipients::list(writing.on(), &caller.account_id).await?;
        if others.iter().any(|other| other.id != id && other.address == new.address) {
            return Err(taken());
        }
        recipients::choose(writing.on(), id, (&new.address, &new.events)).await?;
        let action = format!("{}.update", before.kind);
        let after = Recipient { address: new.address, ..before };
        self.audit(&mut writing, caller, (&action, &format!("recipient:{id}"), shown(&after.address))).await?;
        writing.commit().await
    }

    /// Removes one.
    pub(crate) async fn remove_recipient(&self, caller: &Caller, id: &str) -> Result<(), Refused> {
        let recipient = self.recipient(caller, id).await?;
        let mut writing = self.db.write().await?;
        recipients::remove(writing.on(), id, self.now()).await?;
        let action = format!("{}.remove", recipient.kind);
        self.audit(&mut writing, caller, (&action, &format!("recipient:{id}"), shown(&recipient.address))).await?;
        writing.commit().await
    }

    /// The secret that signs a webhook's messages.
    pub(crate) fn secret_of(&self, recipient: &Recipient) -> Result<Option<String>, Refused> {
        let Some(sealed) = &recipient.sealed else { return Ok(None) };
        let plain = self.sealer.open(sealed, &recipient.id)?;
        String::from_utf8(plain).map(Some).map_err(|_error| Refused::failed("a sealed secret is not text"))
    }
}

fn taken() -> Refused {
    Refused::conflict("name_taken", "this address is in the list already")
}

fn new_secret() -> Result<String, Refused> {
    let mut bytes = [0u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_error| Refused::failed("the system has no random numbers"))?;
    Ok(format!("{PREFIX}{}", BASE64.encode(bytes)))
}

/// The bytes that a secret's text stands for.
pub(super) fn bytes_of(secret: &str) -> Vec<u8> {
    BASE64.decode(secret.trim_start_matches(PREFIX)).unwrap_or_default()
}

/// A recipient's address as lists and logs show it: of a webhook the host alone.
pub(crate) fn shown(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}
