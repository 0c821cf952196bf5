//! The people of an account: their roles, and when they may come no more.
//!
//! Invariant: an account always has an owner who can sign in. Every change is made with the account locked, so two owners
//! cannot take each other's role at once.

use super::{App, known, require};
use crate::auth::{Caller, Principal, Role};
use crate::db::people::{self, Member};
use crate::db::sessions::{self, Of, Seen};
use crate::db::{Writing, accounts};
use crate::fault::Refused;

/// What is changed of a person; absent is unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    pub(crate) role: Option<Role>,
    pub(crate) disabled: Option<bool>,
}

const PERSON: &str = "the person";

impl App {
    /// One of the account's people, with their sessions in it.
    pub(crate) async fn member(&self, caller: &Caller, person_id: &str) -> Result<(Member, Vec<Seen>), Refused> {
        require(caller, Role::Owner)?;
        known(person_id, PERSON)?;
        let member = people::member_of(self.db.pool(), &caller.account_id, person_id).await?;
        let member = member.ok_or(Refused::NotFound(PERSON))?;
        let sessions = self.living_sessions(in_account(caller, person_id)).await?;
        Ok((member, sessions))
    }

    /// Gives them another role, takes the account away from them, or gives it back.
    pub(crate) async fn change_member(&self, caller: &Caller, person_id: &str, change: Change) -> Result<(), Refused> {
        require(caller, Role::Owner)?;
        known(person_id, PERSON)?;
        let now = self.now();
        let mut writing = self.db.write().await?;
        let (member, others) = self.locked_member(&mut writing, caller, person_id).await?;
        let role = change.role.map_or_else(|| member.role.clone(), |role| role.as_str().to_owned());
        let disabled_at = match change.disabled {
            Some(true) => member.disabled_at.or(Some(now)),
            Some(false) => None,
            None => member.disabled_at,
        };
        let stays_owner = role == Role::Owner.as_str() && disabled_at.is_none();
        if !stays_owner && others == 0 {
            return Err(last_owner());
        }
        people::change(writing.on(), (&caller.account_id, person_id), &role, disabled_at).await?;
        let object = format!("person:{person_id}");
        if role != member.role {
            let detail = format!("{} to {role}", member.role);
            self.audit(&mut writing, caller, ("person.change_role", &object, &detail)).await?;
        }
        match (member.disabled_at, disabled_at) {
            (None, Some(_)) => {
                sessions::end_all(writing.on(), in_account(caller, person_id), "").await?;
                people::withdraw_of(writing.on(), (&caller.account_id, &object), now).await?;
                self.audit(&mut writing, caller, ("person.disable", &object, "")).await?;
            }
            (Some(_), None) => self.audit(&mut writing, caller, ("person.enable", &object, "")).await?,
            (None, None) | (Some(_), Some(_)) => {}
        }
        writing.commit().await
    }

    /// Takes them out of the account. Whoever is in no other one loses their password with it.
    pub(crate) async fn remove_member(&self, caller: &Caller, person_id: &str) -> Result<(), Refused> {
        require(caller, Role::Owner)?;
        known(person_id, PERSON)?;
        let mut writing = self.db.write().await?;
        let (member, others) = self.locked_member(&mut writing, caller, person_id).await?;
        if others == 0 {
            return Err(last_owner());
        }
        sessions::end_all(writing.on(), in_account(caller, person_id), "").await?;
        people::remove(writing.on(), (&caller.account_id, person_id), self.now()).await?;
        let object = format!("person:{person_id}");
        people::withdraw_of(writing.on(), (&caller.account_id, &object), self.now()).await?;
        self.audit(&mut writing, caller, ("person.remove", &object, &member.email)).await?;
        writing.commit().await
    }

    /// Ends all of their sessions in the account.
    pub(crate) async fn end_sessions(&self, caller: &Caller, person_id: &str) -> Result<(), Refused> {
        require(caller, Role::Owner)?;
        known(person_id, PERSON)?;
        let mut writing = self.db.write().await?;
        if people::member_of(writing.on(), &caller.account_id, person_id).await?.is_none() {
            return Err(Refused::NotFound(PERSON));
        }
        let ended = sessions::end_all(writing.on(), in_account(caller, person_id), "").await?;
        let object = format!("person:{person_id}");
        self.audit(&mut writing, caller, ("person.end_sessions", &object, &ended.to_string())).await?;
        writing.commit().await
    }

    /// The person, and how many owners the account has beside them, with nobody else at them.
    async fn locked_member(
        &self,
        writing: &mut Writing,
        caller: &Caller,
        person_id: &str,
    ) -> Result<(Member, usize), Refused> {
        accounts::lock(writing.on(), &caller.account_id).await?;
        let mut members = people::members(writing.on(), &caller.account_id).await?;
        // A role that was taken away a moment ago does nothing more.
        if let Principal::Person(own) = &caller.principal
            && !members.iter().any(|member| member.person_id == *own && is_owner(member))
        {
            return Err(Refused::Forbidden("you are no owner of this account any more".into()));
        }
        let at = members.iter().position(|member| member.person_id == person_id);
        let member = members.remove(at.ok_or(Refused::NotFound(PERSON))?);
        Ok((member, members.iter().filter(|member| is_owner(member)).count()))
    }
}

fn is_owner(member: &Member) -> bool {
    member.role == Role::Owner.as_str() && member.disabled_at.is_none()
}

fn in_account<'a>(caller: &'a Caller, person_id: &'a str) -> Of<'a> {
    Of { person_id, account_id: Some(&caller.account_id) }
}

fn last_owner() -> Refused {
    Refused::conflict("last_owner", "the account would be left without an owner; make someone else one first")
}
