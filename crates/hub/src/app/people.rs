//! People: one-time links, signing in and out, and who a session's person is. How a link is taken up: `joining`.

use std::time::Duration;

use millrace_model::Timestamp;
use tracing::info;

use super::{App, later, require};
use crate::auth::addresses::Allowed;
use crate::auth::session::{self, Ticket};
use crate::auth::throttle::place_of;
use crate::auth::{Caller, Principal, Role, password, secret};
use crate::db::accounts;
use crate::db::audit;
use crate::db::people::{self, Invitation, Member, Person};
use crate::db::sessions::{self, Session};
use crate::fault::Refused;
use crate::settings::Registration;

/// How long the first owner's link is valid.
const OWNER_LINK: Duration = Duration::from_hours(24);
/// How long an invitation is valid.
const INVITATION: Duration = Duration::from_hours(7 * 24);
/// Failures a minute of one name from one address.
const OF_NAME: u32 = 10;
/// Failures a minute of one address, whatever the names.
pub(super) const OF_ADDRESS: u32 = 50;
/// A session is written as seen this often.
const SEEN: Duration = Duration::from_secs(30);

/// Where a request comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Browser {
    pub(crate) address: String,
    pub(crate) name: String,
}

impl App {
    /// Makes the one-time link of the first owner, where the hub has no people yet.
    pub(crate) async fn owner_link(&self) -> Result<Option<String>, Refused> {
        let now = self.now();
        let mut writing = self.db.write().await?;
        if people::any(writing.on()).await? {
            return Ok(None);
        }
        let account = accounts::first(writing.on()).await?;
        let token = secret::token()?;
        let link = Invitation {
            token_hash: secret::hash(&token),
            account_id: account.map(|account| account.id),
            email: None,
            role: Role::Owner.as_str().into(),
            created_at: now,
            created_by: "hub".into(),
            expires_at: later(now, OWNER_LINK),
        };
        people::invite(writing.on(), &link).await?;
        writing.commit().await?;
        Ok(Some(format!("{}/join/{token}", self.settings.public_url)))
    }

    /// Makes a one-time link for the owner of a further account.
    pub(crate) async fn account_link(&self) -> Result<String, Refused> {
        let now = self.now();
        let token = secret::token()?;
        let link = Invitation {
            token_hash: secret::hash(&token),
            account_id: None,
            email: None,
            role: Role::Owner.as_str().into(),
            created_at: now,
            created_by: "operator".into(),
            expires_at: later(now, INVITATION),
        };
        let mut writing = self.db.write().await?;
        people::invite(writing.on(), &link).await?;
        writing.commit().await?;
        Ok(format!("{}/join/{token}", self.settings.public_url))
    }

    /// Says in the log where the first owner begins, where there is none yet.
    pub(crate) async fn show_owner_link(&self) -> Result<(), Refused> {
        if let Some(url) = self.owner_link().await? {
            info!(code = "setup", url, "nobody can sign in yet: open this one-time link within a day");
        }
        Ok(())
    }

    pub(super) async fn new_session(
        &self,
        writing: &mut crate::db::Writing,
        (person_id, account_id): (&str, &str),
        browser: &Browser,
    ) -> Result<Ticket, Refused> {
        let ticket = Ticket::new()?;
        let now = self.now();
        let before = |span: Duration| Timestamp(now.0 - i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
        sessions::end_old(writing.on(), before(session::ABSOLUTE), before(session::IDLE)).await?;
        let from = (browser.address.as_str(), browser.name.as_str());
        sessions::insert(writing.on(), (&ticket.hash(), person_id, account_id), from, now).await?;
        Ok(ticket)
    }

    /// A new session for the person with this address and password. `None`: they do not belong together.
    pub(crate) async fn sign_in(
        &self,
        email: &str,
        password: &str,
        browser: &Browser,
    ) -> Result<Option<Ticket>, Refused> {
        let person = people::by_email(self.db.pool(), &address(email)).await?;
        if !self.is_right(&address(email), password, person.as_ref(), browser).await? {
            self.audit_refused_login(&address(email), browser).await?;
            return Ok(None);
        }
        let Some(person) = person else { return Ok(None) };
        // Someone who may be in no account any more is told the same as a stranger.
        let Some(account) = people::accounts(self.db.pool(), &person.id).await?.into_iter().next() else {
            return Ok(None);
        };
        let account_id = account.id;
        let mut writing = self.db.write().await?;
        let ticket = self.new_session(&mut writing, (&person.id, &account_id), browser).await?;
        let caller = caller_of(&person.id, &account_id, Role::Viewer.as_str(), browser)?;
        self.audit(&mut writing, &caller, ("person.sign_in", &format!("person:{}", person.id), "")).await?;
        writing.commit().await?;
        Ok(Some(ticket))
    }

    /// Whether the password is the person's; too many failures have to wait.
    pub(super) async fn is_right(
        &self,
        email: &str,
        password: &str,
        person: Option<&Person>,
        browser: &Browser,
    ) -> Result<bool, Refused> {
        let (name, place) = (format!("{email} {}", browser.address), format!("address {}", place_of(&browser.address)));
        let now = self.now();
        self.throttle
            .count(&[(&name, OF_NAME), (&place, OF_ADDRESS)], now)
            .map_err(|retry_after| Refused::TooMany { retry_after })?;
        let right = password::matches(password, person.map(|person| person.password_hash.as_str())).await;
        if right {
            self.throttle.right(&name);
            self.throttle.forgive(&place);
        }
        Ok(right)
    }

    async fn audit_refused_login(&self, email: &str, browser: &Browser) -> Result<(), Refused> {
        let mut writing = self.db.write().await?;
        let person = people::by_email(writing.on(), email).await?;
        let account_id = match &person {
            Some(person) => people::accounts(writing.on(), &person.id).await?.into_iter().next(),
            None => None,
        };
        let actor = person.map_or_else(|| "nobody".into(), |person| format!("person:{}", person.id));
        let entry = audit::Entry {
            account_id: account_id.as_ref().map(|account| account.id.as_str()),
            actor: &actor,
            address: &browser.address,
            action: "person.sign_in",
            object: &actor,
            detail: "",
            outcome: "refused",
        };
        audit::add(writing.on(), entry, self.now()).await?;
        writing.commit().await
    }

    /// The session of a cookie, unless it is over.
    pub(crate) async fn session(&self, ticket: &Ticket) -> Result<Option<Session>, Refused> {
        let now = self.now();
        let Some(session) = sessions::of_hash(self.db.pool(), &ticket.hash()).await? else { return Ok(None) };
        Ok((!session::is_over(session.created_at, session.last_seen_at, now)).then_some(session))
    }

    /// Notes that a person has used the session.
    pub(crate) async fn was_here(&self, session: &Session) -> Result<(), Refused> {
        let now = self.now();
        if session::past(session.last_seen_at, SEEN, now) {
            let mut writing = self.db.write().await?;
            sessions::seen(writing.on(), &session.id_hash, now).await?;
            writing.commit().await?;
        }
        Ok(())
    }

    /// Signs in again within a session; whether the password was right.
    pub(crate) async fn confirm(&self, session: &Session, password: &str, browser: &Browser) -> Result<bool, Refused> {
        let person = people::by_id(self.db.pool(), &session.person_id).await?;
        let right = self.is_right(&session.email, password, person.as_ref(), browser).await?;
        if right {
            let mut writing = self.db.write().await?;
            sessions::signed_in(writing.on(), &session.id_hash, self.now()).await?;
            writing.commit().await?;
        } else {
            self.audit_refused_login(&session.email, browser).await?;
        }
        Ok(right)
    }

    /// Ends a session.
    pub(crate) async fn sign_out(&self, session: &Session, browser: &Browser) -> Result<(), Refused> {
        let caller = session.caller(browser)?;
        let mut writing = self.db.write().await?;
        sessions::end(writing.on(), &session.id_hash).await?;
        self.audit(&mut writing, &caller, ("person.sign_out", &caller.actor(), "")).await?;
        writing.commit().await
    }

    /// The people of the caller's account, and those who are invited.
    pub(crate) async fn people(&self, caller: &Caller) -> Result<(Vec<Member>, Vec<Invitation>), Refused> {
        require(caller, Role::Owner)?;
        let members = people::members(self.db.pool(), &caller.account_id).await?;
        Ok((members, people::open_invitations(self.db.pool(), &caller.account_id, self.now()).await?))
    }

    /// Invites someone: the one-time link, which is shown this once.
    pub(crate) async fn invite(&self, caller: &Caller, email: &str, role: &str) -> Result<String, Refused> {
        require(caller, Role::Owner)?;
        if self.settings.registration == Registration::Closed {
            return Err(Refused::Forbidden("this hub is closed: its operator lets nobody new in".into()));
        }
        if !is_address(email) {
            return Err(Refused::invalid("email", "must be an e-mail address, like ann@example.com"));
        }
        let email = address(email);
        let role = role_of(role)?;
        let now = self.now();
        let token = secret::token()?;
        let link = Invitation {
            token_hash: secret::hash(&token),
            account_id: Some(caller.account_id.clone()),
            email: Some(email.clone()),
            role: role.as_str().into(),
            created_at: now,
            created_by: caller.actor(),
            expires_at: later(now, INVITATION),
        };
        let mut writing = self.db.write().await?;
        let members = people::members(writing.on(), &caller.account_id).await?;
        if members.iter().any(|member| member.email == email) {
            return Err(Refused::conflict("is_member", "belongs to this account already"));
        }
        // The newest link is the one that counts.
        people::withdraw(writing.on(), &caller.account_id, &email, now).await?;
        people::invite(writing.on(), &link).await?;
        self.audit(&mut writing, caller, ("person.invite", &email, role.as_str())).await?;
        writing.commit().await?;
        Ok(format!("{}/join/{token}", self.settings.public_url))
    }

    /// Takes an invitation back.
    pub(crate) async fn withdraw(&self, caller: &Caller, email: &str) -> Result<(), Refused> {
        require(caller, Role::Owner)?;
        let email = address(email);
        let mut writing = self.db.write().await?;
        if people::withdraw(writing.on(), &caller.account_id, &email, self.now()).await? == 0 {
            return Err(Refused::NotFound("the invitation"));
        }
        self.audit(&mut writing, caller, ("person.withdraw", &email, "")).await?;
        writing.commit().await
    }
}

impl Session {
    /// Whether its account may be reached from there.
    pub(crate) fn lets_in(&self, browser: &Browser) -> Result<bool, Refused> {
        Ok(Allowed::from_json(&self.allowed)?.lets_in(&browser.address))
    }

    /// Its person as a caller.
    pub(crate) fn caller(&self, browser: &Browser) -> Result<Caller, Refused> {
        caller_of(&self.person_id, &self.account_id, &self.role, browser)
    }
}

pub(super) fn caller_of(person_id: &str, account_id: &str, role: &str, browser: &Browser) -> Result<Caller, Refused> {
    Ok(Caller {
        account_id: account_id.to_owned(),
        principal: Principal::Person(person_id.to_owned()),
        role: Role::from_word(role).ok_or_else(|| Refused::failed("a role that is none"))?,
        address: browser.address.clone(),
    })
}

/// Reads a role.
pub(crate) fn role_of(word: &str) -> Result<Role, Refused> {
    Role::from_word(&word.to_ascii_lowercase())
        .ok_or_else(|| Refused::invalid("role", "must be `owner`, `editor` or `viewer`"))
}

/// An e-mail address as it is kept: nobody has two that differ in case only.
pub(crate) fn address(email: &str) -> String {
    email.trim().to_lowercase()
}

pub(super) fn is_address(email: &str) -> bool {
    let Some((name, host)) = email.split_once('@') else { return false };
    let clean = !email.chars().any(|c| c.is_whitespace() || c.is_control() || c == '<' || c == '>');
    clean && !name.is_empty() && !host.is_empty() && !host.contains('@') && email.chars().count() <= 254
}
