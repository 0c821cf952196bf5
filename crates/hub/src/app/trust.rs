//! What agents may sign in with beside a secret: keys and trust rules, added and removed.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::outward::{self, Reach};
use super::repeats::Once;
use super::{App, require};
use crate::auth::public_key::PublicKey;
use crate::auth::trust::{Means, Rule};
use crate::auth::{Caller, Role};
use crate::db::trust::{self, Trust};
use crate::db::{Writing, agents, credentials};
use crate::fault::{Refused, Violation};

/// Of each kind an agent has at most.
const MOST: usize = 10;
/// Longest name, and longest value of a rule.
pub(crate) const LONGEST_NAME: usize = 100;
pub(crate) const LONGEST_VALUE: usize = 1000;
/// Further claims of a rule.
pub(crate) const MOST_CLAIMS: usize = 20;

/// What somebody wants to trust, as it was typed.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewRule {
    pub(crate) issuer: String,
    /// Absent: the hub's own address.
    pub(crate) audience: Option<String>,
    pub(crate) subject: String,
    pub(crate) claims: BTreeMap<String, String>,
}

/// A name for people, checked.
fn name(text: &str) -> Option<Violation> {
    let is_fine = !text.is_empty()
        && text.trim() == text
        && text.chars().count() <= LONGEST_NAME
        && !text.chars().any(char::is_control);
    let message = format!("must have 1 to {LONGEST_NAME} characters, no space around it and no control characters");
    (!is_fine).then(|| Violation { field: "name".into(), message })
}

fn is_value(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= LONGEST_VALUE && !text.chars().any(char::is_control)
}

impl NewRule {
    /// Checks it; everything that is wrong at once.
    fn check(self, app: &App) -> Result<Rule, Vec<Violation>> {
        let mut violations = Vec::new();
        let mut wrong = |field: &str, message: String| violations.push(Violation { field: field.into(), message });
        if let Some(why) = outward::refused(&self.issuer, Reach::of_issuers(&app.settings.issuer_allow)) {
            wrong("issuer", why);
        } else if self.issuer.contains(['?', '#']) {
            wrong("issuer", "must have no query: it is the `iss` of the tokens, letter by letter".into());
        }
        let audience = self.audience.unwrap_or_else(|| app.settings.public_url.clone());
        for (field, value) in [("audience", &audience), ("subject", &self.subject)] {
            if !is_value(value) {
                wrong(field, format!("must have 1 to {LONGEST_VALUE} characters, as the tokens have it; no patterns"));
            }
        }
        if self.claims.len() > MOST_CLAIMS
            || self.claims.iter().any(|(name, value)| !is_value(name) || !is_value(value))
        {
            wrong("claims", format!("may name {MOST_CLAIMS} claims, each with its value"));
        }
        if !violations.is_empty() {
            return Err(violations);
        }
        Ok(Rule { issuer: self.issuer, audience, subject: self.subject, claims: self.claims })
    }
}

impl App {
    /// Everything that the agent may sign in with beside its secrets, by creation.
    pub(crate) async fn trust(&self, caller: &Caller, agent_id: &str) -> Result<Vec<Trust>, Refused> {
        self.agent(caller, agent_id).await?;
        trust::live(self.db.pool(), agent_id).await
    }

    /// Registers a public key of the agent.
    pub(crate) async fn add_key(
        &self,
        caller: &Caller,
        agent_id: &str,
        (called, key): (&str, &str),
        once: Option<&Once>,
    ) -> Result<String, Refused> {
        let mut violations: Vec<Violation> = name(called).into_iter().collect();
        let read = PublicKey::read(key);
        violations.extend(read.as_ref().err().map(|why| Violation { field: "publicKey".into(), message: why.clone() }));
        match read {
            Ok(key) if violations.is_empty() => self.add_trust(caller, agent_id, (called, Means::Key(key)), once).await,
            Ok(_) | Err(_) => Err(Refused::Invalid(violations)),
        }
    }

    /// Adds a trust rule.
    pub(crate) async fn add_rule(
        &self,
        caller: &Caller,
        agent_id: &str,
        (called, rule): (&str, NewRule),
        once: Option<&Once>,
    ) -> Result<String, Refused> {
        let mut violations: Vec<Violation> = name(called).into_iter().collect();
        match rule.check(self) {
            Ok(rule) if violations.is_empty() => {
                self.add_trust(caller, agent_id, (called, Means::Rule(rule)), once).await
            }
            checked => {
                violations.extend(checked.err().unwrap_or_default());
                Err(Refused::Invalid(violations))
            }
        }
    }

    async fn add_trust(
        &self,
        caller: &Caller,
        agent_id: &str,
        (called, means): (&str, Means),
        once: Option<&Once>,
    ) -> Result<String, Refused> {
        require(caller, Role::Editor)?;
        let mut writing = self.db.write().await?;
        if let Some(id) = self.done_before(&mut writing, caller, once).await? {
            return Ok(id);
        }
        let others = self.locked_trust(&mut writing, caller, agent_id).await?;
        if others.iter().any(|other| other.name == called && other.means.kind() == means.kind()) {
            return Err(Refused::conflict("name_taken", "this agent has one of that name"));
        }
        if others.iter().any(|other| other.means == means) {
            return Err(Refused::conflict("name_taken", "this agent has the same one under another name"));
        }
        if others.iter().filter(|other| other.means.kind() == means.kind()).count() >= MOST {
            let message = format!("an agent has {MOST} of them at most; remove one first");
            return Err(Refused::conflict("too_many_credentials", message));
        }
        let new = Trust {
            id: Uuid::now_v7().to_string(),
            name: called.to_owned(),
            means,
            created_at: self.now(),
            created_by: caller.actor(),
            last_used_at: None,
            last_address: None,
        };
        trust::insert(writing.on(), agent_id, &new).await?;
        self.note_done(&mut writing, caller, once, &new.id).await?;
        let action = format!("credentials.add_{}", new.means.kind());
        self.audit(&mut writing, caller, (&action, &format!("agent:{agent_id}"), &told(&new))).await?;
        writing.commit().await?;
        Ok(new.id)
    }

    /// Ends one at once, with the tokens that were got with it.
    pub(crate) async fn remove_trust(
        &self,
        caller: &Caller,
        agent_id: &str,
        (kind, id): (&str, &str),
    ) -> Result<(), Refused> {
        require(caller, Role::Editor)?;
        let mut writing = self.db.write().await?;
        let live = self.locked_trust(&mut writing, caller, agent_id).await?;
        let ended = live.iter().find(|one| one.id == id && one.means.kind() == kind);
        let ended = ended.ok_or(Refused::NotFound(if kind == "key" { "the key" } else { "the rule" }))?;
        let secrets = credentials::live(writing.on(), agent_id).await?;
        if live.len() == 1 && !secrets.iter().any(|secret| secret.is_alive(self.now())) {
            let message =
                "it is all that the agent can sign in with; rotate its secret first, or add another key or rule";
            return Err(Refused::conflict("last_credential", message));
        }
        trust::remove(writing.on(), id, self.now()).await?;
        let action = format!("credentials.remove_{kind}");
        self.audit(&mut writing, caller, (&action, &format!("agent:{agent_id}"), &told(ended))).await?;
        writing.commit().await?;
        self.notifier.ring(agent_id);
        Ok(())
    }

    /// What the agent has, with nobody else at it.
    async fn locked_trust(
        &self,
        writing: &mut Writing,
        caller: &Caller,
        agent_id: &str,
    ) -> Result<Vec<Trust>, Refused> {
        if !super::is_id(agent_id) || !agents::lock(writing.on(), &caller.account_id, agent_id).await? {
            return Err(Refused::NotFound("the agent"));
        }
        trust::live(writing.on(), agent_id).await
    }
}

/// As the audit log has it.
fn told(trust: &Trust) -> String {
    match &trust.means {
        Means::Key(key) => format!("{} {} {}", trust.name, key.algorithm(), key.thumbprint()),
        Means::Rule(rule) => format!("{} {} {} {}", trust.name, rule.issuer, rule.audience, rule.subject),
    }
}
