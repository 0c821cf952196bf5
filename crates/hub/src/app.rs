//! What the hub can do, apart from how it is asked: the rules of agents, pipelines and sessions.
//!
//! Handlers in `web` parse, call this, and render; SQL stands in `db` only. A status is computed here, never stored.

pub(crate) mod accounts;
pub(crate) mod agents;
pub(crate) mod assertion;
pub(crate) mod backup;
mod certificate;
pub(crate) mod clients;
pub(crate) mod commands;
pub(crate) mod console;
pub(crate) mod credentials;
mod cron;
pub(crate) mod doctor;
pub(crate) mod figures;
pub(crate) mod gateway;
mod guessing;
mod hearing;
pub(crate) mod issuers;
pub(crate) mod joining;
mod ledger;
pub(crate) mod lists;
mod mail;
pub(crate) mod measures;
pub(crate) mod members;
mod messages;
mod notices;
mod notify;
pub(crate) mod outward;
pub(crate) mod own;
pub(crate) mod people;
pub(crate) mod pipelines;
pub(crate) mod recipients;
pub(crate) mod repeats;
mod retention;
mod said;
pub(crate) mod set_times;
pub(crate) mod setup;
pub(crate) mod sign_in;
pub(crate) mod status;
pub(crate) mod trust;

use std::sync::Arc;
use std::time::Duration;

use millrace_model::{Clock, Timestamp};

use crate::auth::rate::Rates;
use crate::auth::seal::Sealer;
use crate::auth::throttle::Throttle;
use crate::auth::token::Tokens;
use crate::auth::{Caller, Role};
use crate::caught::kept_up;
use crate::db::{Db, audit, keys};
use crate::fault::{Cause, Refused};
use crate::settings::Settings;

/// Everything that a request needs.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) db: Db,
    pub(crate) sealer: Sealer,
    pub(crate) tokens: Tokens,
    pub(crate) clock: Arc<dyn Clock>,
    /// Since when this process has heard whatever agents say.
    pub(crate) hearing: hearing::Hearing,
    pub(crate) notifier: notify::Notifier,
    pub(crate) ledger: ledger::Ledger,
    pub(crate) throttle: Throttle,
    pub(crate) issuers: issuers::Issuers,
    pub(crate) rates: Rates,
    pub(crate) measures: measures::Measures,
    pub(crate) sampler: figures::Sampler,
}

impl App {
    /// Opens the hub's database and keys.
    pub(crate) async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, Cause> {
        settings.prepare()?;
        let db = Db::open(&settings.place()).await?;
        let sealer = Self::sealer(&settings, &db).await?;
        let tokens = Tokens::open(&db, &sealer, clock.now()).await?;
        Ok(Self {
            hearing: hearing::Hearing::new(clock.now()),
            settings,
            db,
            sealer,
            tokens,
            clock,
            notifier: notify::Notifier::default(),
            ledger: ledger::Ledger::default(),
            throttle: Throttle::default(),
            issuers: issuers::Issuers::default(),
            rates: Rates::default(),
            measures: measures::Measures::default(),
            sampler: figures::Sampler::default(),
        })
    }

    /// The key that seals secrets; a new one only where nothing is sealed yet.
    async fn sealer(settings: &Settings, db: &Db) -> Result<Sealer, Cause> {
        let file = settings.key_file();
        let sealed = keys::live(db.pool()).await.map_err(|refused| Cause::Damaged(refused.to_string()))?;
        if !sealed.is_empty() && !file.exists() {
            let message =
                format!("`{}` is not there, and this database's secrets are sealed with a key", file.display());
            return Err(Cause::OtherKey(message));
        }
        Sealer::open_or_create(&file)
    }

    /// Everything that the hub does by itself, for as long as it is polled.
    pub(crate) async fn work(&self) {
        tokio::join!(
            kept_up("books", || self.keep_books()),
            kept_up("tell others", || self.tell_others()),
            kept_up("hear others", || self.hear_others()),
            kept_up("messages", || self.keep_telling()),
            kept_up("set times", || self.keep_time()),
            kept_up("tidying", || self.keep_tidy()),
        );
    }

    /// Now, by the hub's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Writes a line of the audit log, as part of `writing`.
    pub(crate) async fn audit(
        &self,
        writing: &mut crate::db::Writing,
        caller: &Caller,
        (action, object, detail): (&str, &str, &str),
    ) -> Result<(), Refused> {
        let entry = audit::Entry {
            account_id: Some(&caller.account_id),
            actor: &caller.actor(),
            address: &caller.address,
            action,
            object,
            detail,
            outcome: "done",
        };
        audit::add(writing.on(), entry, self.now()).await
    }
}

impl App {
    /// Writes down that a caller was refused for good reason.
    pub(crate) async fn audit_refusal(&self, caller: &Caller, action: &str, object: &str) -> Result<(), Refused> {
        let entry = audit::Entry {
            account_id: Some(&caller.account_id),
            actor: &caller.actor(),
            address: &caller.address,
            action,
            object,
            detail: "",
            outcome: "forbidden",
        };
        let mut writing = self.db.write().await?;
        audit::add(writing.on(), entry, self.now()).await?;
        writing.commit().await
    }
}

/// Refuses a caller whose role is below `role`.
pub(crate) fn require(caller: &Caller, role: Role) -> Result<(), Refused> {
    if caller.role >= role {
        return Ok(());
    }
    Err(Refused::Forbidden(format!("this needs the role {}; yours is {}", role.as_str(), caller.role.as_str())))
}

/// Whether a text can be an id of ours; anything else never gets as far as the database.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// Refuses a text that can be no id: there is nothing of that name.
pub(crate) fn known(id: &str, what: &'static str) -> Result<(), Refused> {
    if is_id(id) { Ok(()) } else { Err(Refused::NotFound(what)) }
}

/// `at` and so much later.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}
