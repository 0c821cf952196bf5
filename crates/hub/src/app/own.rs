//! What people do with their own login: change the password, look at their sessions and end them, go to another account.

use super::people::{Browser, caller_of};
use super::{App, known};
use crate::auth::{Role, password, session};
use crate::db::accounts::Named;
use crate::db::people;
use crate::db::sessions::{self, Of, Seen, Session};
use crate::fault::Refused;

impl App {
    /// All sessions of the session's person, whichever their account.
    pub(crate) async fn own_sessions(&self, session: &Session) -> Result<Vec<Seen>, Refused> {
        self.living_sessions(all_of(session)).await
    }

    /// Sessions that are not over.
    pub(super) async fn living_sessions(&self, of: Of<'_>) -> Result<Vec<Seen>, Refused> {
        let now = self.now();
        let mut all = sessions::list(self.db.pool(), of).await?;
        all.retain(|one| !session::is_over(one.created_at, one.last_seen_at, now));
        Ok(all)
    }

    /// The accounts that the person may be in.
    pub(crate) async fn own_accounts(&self, session: &Session) -> Result<Vec<Named>, Refused> {
        people::accounts(self.db.pool(), &session.person_id).await
    }

    /// Ends one of the person's sessions.
    pub(crate) async fn end_own_session(&self, session: &Session, id: &str, browser: &Browser) -> Result<(), Refused> {
        known(id, "the session")?;
        let caller = session.caller(browser)?;
        let mut writing = self.db.write().await?;
        if !sessions::end_one(writing.on(), all_of(session), id).await? {
            return Err(Refused::NotFound("the session"));
        }
        self.audit(&mut writing, &caller, ("person.end_sessions", &caller.actor(), "1")).await?;
        writing.commit().await
    }

    /// Ends all of the person's sessions but this one.
    pub(crate) async fn end_other_sessions(&self, session: &Session, browser: &Browser) -> Result<(), Refused> {
        let caller = session.caller(browser)?;
        let mut writing = self.db.write().await?;
        let ended = sessions::end_all(writing.on(), all_of(session), &session.id_hash).await?;
        self.audit(&mut writing, &caller, ("person.end_sessions", &caller.actor(), &ended.to_string())).await?;
        writing.commit().await
    }

    /// Sets another password and ends all other sessions: whoever had the old one is out.
    pub(crate) async fn change_password(
        &self,
        session: &Session,
        (current, new): (&str, &str),
        browser: &Browser,
    ) -> Result<(), Refused> {
        if !self.confirm(session, current, browser).await? {
            return Err(Refused::invalid("password", "is not yours"));
        }
        if let Some(message) = password::refused(new, &session.email) {
            return Err(Refused::invalid("new", message));
        }
        if current == new {
            return Err(Refused::invalid("new", "must be another one than before"));
        }
        let hash = password::hash(new).await?;
        let caller = session.caller(browser)?;
        let mut writing = self.db.write().await?;
        people::set_password(writing.on(), &session.person_id, &hash).await?;
        sessions::end_all(writing.on(), all_of(session), &session.id_hash).await?;
        self.audit(&mut writing, &caller, ("person.change_password", &caller.actor(), "")).await?;
        writing.commit().await
    }

    /// Goes on in another account of the person's.
    pub(crate) async fn switch(&self, session: &Session, account_id: &str, browser: &Browser) -> Result<(), Refused> {
        let mut writing = self.db.write().await?;
        let mine = people::accounts(writing.on(), &session.person_id).await?;
        if !mine.iter().any(|account| account.id == account_id) {
            return Err(Refused::NotFound("the account"));
        }
        sessions::switch(writing.on(), &session.id_hash, account_id).await?;
        let caller = caller_of(&session.person_id, account_id, Role::Viewer.as_str(), browser)?;
        self.audit(&mut writing, &caller, ("person.switch", &format!("person:{}", session.person_id), "")).await?;
        writing.commit().await
    }
}

fn all_of(session: &Session) -> Of<'_> {
    Of { person_id: &session.person_id, account_id: None }
}
