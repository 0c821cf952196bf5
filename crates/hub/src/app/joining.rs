//! How people come: by a one-time link, or where the hub is open by themselves; and how a new account is made for them.
//!
//! Someone who has a login on this hub already keeps it: another account is joined with the password that they have.

use uuid::Uuid;

use super::App;
use super::people::{Browser, address, caller_of, is_address};
use crate::auth::session::Ticket;
use crate::auth::throttle::place_of;
use crate::auth::{Role, password};
use crate::db::accounts::{self, Named};
use crate::db::people::{self, Invitation, Person};
use crate::db::{Writing, taken};
use crate::fault::{Refused, Violation};
use crate::settings::Registration;

/// What a one-time link is answered with.
pub(crate) struct Joining<'a> {
    pub(crate) account: &'a str,
    pub(crate) email: &'a str,
    pub(crate) password: &'a str,
}

/// New accounts a minute from one address.
const REGISTRATIONS: u32 = 5;

impl App {
    /// The link that a token belongs to, with the name of its account.
    pub(crate) async fn invitation(&self, token: &str) -> Result<Option<(Invitation, Option<Named>)>, Refused> {
        let found = people::invitation(self.db.pool(), &crate::auth::secret::hash(token), self.now()).await?;
        let Some(link) = found else { return Ok(None) };
        // A hub that was closed since keeps its links to itself, save those of its operator.
        if self.settings.registration == Registration::Closed && link.email.is_some() {
            return Ok(None);
        }
        let account = match &link.account_id {
            Some(id) => accounts::of_id(self.db.pool(), id).await?,
            None => None,
        };
        Ok(Some((link, account)))
    }

    /// Takes a one-time link up: a person of its account, which is made where the link leads to none yet.
    pub(crate) async fn join(&self, token: &str, joining: Joining<'_>, browser: &Browser) -> Result<Ticket, Refused> {
        let gone = || Refused::NotFound("this link");
        let (link, account) = self.invitation(token).await?.ok_or_else(gone)?;
        let email = link.email.clone().unwrap_or_else(|| address(joining.email));
        let name = account.as_ref().map_or_else(|| joining.account.trim(), |account| &account.name).to_owned();
        let person = self.newcomer((&email, joining.password), &name, browser).await?;
        let now = self.now();
        let mut writing = self.db.write().await?;
        if !people::use_up(writing.on(), &link.token_hash, now).await? {
            return Err(gone());
        }
        let account_id = match link.account_id {
            Some(id) => id,
            None if link.created_by == "hub" && accounts::any(writing.on()).await? => return Err(gone()),
            None => self.new_account(&mut writing, name).await?,
        };
        let ticket = self.settle(&mut writing, &person, (&account_id, &link.role), browser).await?;
        writing.commit().await?;
        Ok(ticket)
    }

    /// Makes a new account for whoever asks, where the hub is open.
    pub(crate) async fn register(&self, joining: Joining<'_>, browser: &Browser) -> Result<Ticket, Refused> {
        if self.settings.registration != Registration::Open {
            return Err(Refused::NotFound("registration"));
        }
        let (now, subject) = (self.now(), format!("register {}", place_of(&browser.address)));
        let counted = self.throttle.count(&[(&subject, REGISTRATIONS)], now);
        counted.map_err(|retry_after| Refused::TooMany { retry_after })?;
        let name = joining.account.trim().to_owned();
        let person = self.newcomer((&address(joining.email), joining.password), &name, browser).await?;
        let mut writing = self.db.write().await?;
        let account_id = self.new_account(&mut writing, name).await?;
        let ticket = self.settle(&mut writing, &person, (&account_id, Role::Owner.as_str()), browser).await?;
        people::forget_owner_links(writing.on(), now).await?;
        writing.commit().await?;
        Ok(ticket)
    }

    /// Who comes: someone new with a good password, or someone who is known with theirs.
    async fn newcomer(
        &self,
        (email, given): (&str, &str),
        account: &str,
        browser: &Browser,
    ) -> Result<Person, Refused> {
        let known = people::by_email(self.db.pool(), email).await?;
        match known {
            Some(person) if !person.password_hash.is_empty() => {
                check_joining(email, None, account)?;
                if self.is_right(email, given, Some(&person), browser).await? {
                    return Ok(person);
                }
                let message = "must be the one that you sign in with: this address has a login on this hub already";
                Err(Refused::invalid("password", message))
            }
            other => {
                check_joining(email, Some(given), account)?;
                let id = other.map_or_else(|| Uuid::now_v7().to_string(), |person| person.id);
                Ok(Person { id, email: email.to_owned(), password_hash: password::hash(given).await? })
            }
        }
    }

    /// A new account with its first project: its id.
    async fn new_account(&self, writing: &mut Writing, name: String) -> Result<String, Refused> {
        let account = Named { id: Uuid::now_v7().to_string(), name };
        let project = Named { id: Uuid::now_v7().to_string(), name: "Main".into() };
        accounts::insert(writing.on(), &account, self.now()).await?;
        accounts::insert_project(writing.on(), &account.id, &project, self.now()).await?;
        Ok(account.id)
    }

    /// Makes the person a member, and signs them in.
    async fn settle(
        &self,
        writing: &mut Writing,
        person: &Person,
        (account_id, role): (&str, &str),
        browser: &Browser,
    ) -> Result<Ticket, Refused> {
        let now = self.now();
        people::keep(writing.on(), person, now).await.map_err(|error| match taken(&error) {
            Some(_) => Refused::invalid("email", "was taken in this very moment; try again"),
            None => error.into(),
        })?;
        if !people::join(writing.on(), &person.id, (account_id, role), now).await? {
            return Err(Refused::invalid("email", "belongs to this account already; sign in instead"));
        }
        people::forget_owner_links(writing.on(), now).await?;
        let caller = caller_of(&person.id, account_id, role, browser)?;
        self.audit(writing, &caller, ("person.join", &format!("person:{}", person.id), role)).await?;
        self.new_session(writing, (&person.id, account_id), browser).await
    }
}

/// What is wrong with the name of an account, a project or an API client.
pub(crate) fn title_refused(name: &str) -> Option<&'static str> {
    let count = name.chars().count();
    let clean = name.trim() == name && !name.chars().any(char::is_control);
    (count == 0 || count > 100 || !clean).then_some("must have 1 to 100 characters, and no space around them")
}

/// Everything that is wrong with someone who comes, at once. `None`: the password is not a new one.
pub(crate) fn check_joining(email: &str, given: Option<&str>, account: &str) -> Result<(), Refused> {
    let mut violations = Vec::new();
    let mut wrong =
        |field: &str, message: &str| violations.push(Violation { field: field.into(), message: message.into() });
    if let Some(message) = title_refused(account) {
        wrong("account", message);
    }
    if !is_address(email) {
        wrong("email", "must be an e-mail address, like ann@example.com");
    }
    if let Some(message) = given.and_then(|given| password::refused(given, email)) {
        wrong("password", &message);
    }
    if violations.is_empty() { Ok(()) } else { Err(Refused::Invalid(violations)) }
}
