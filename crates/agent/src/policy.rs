//! What this agent may do, as its operator wrote it down beside it. The hub cannot widen it.
//!
//! A breached hub could point a database's secret at somebody else's host, or rows at somebody else's bucket. So hosts, secret
//! names and targets may be listed here, with `*` for any characters; a list that is absent allows everything of its kind.
//! And what proves who the agent is, a secret or the platform's identity, stays with the host that it was first sent to, until
//! the operator lists another host by name.

mod places;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_protocol::{AbsSpec, ConnectionSpec, SourcePart, SourceSpec, StoreSpec, TargetPart};
use millrace_secrets::known_as;
use serde::Deserialize;
use serde_saphyr::UserMessageFormatter;

use self::places::{Place, abs_host, steps_upwards};
use crate::cache::{Bindings, Cache};
use crate::fault::Cause;

/// What is bound: the names of a secret or of an identity, and the host.
#[derive(Debug, PartialEq, Eq)]
struct Binding {
    names: Vec<String>,
    host: String,
}

/// The three lists.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    #[serde(rename = "allowedHosts")]
    hosts: Option<Vec<String>>,
    /// Names of secrets, and roles to take.
    #[serde(rename = "allowedSecrets")]
    secrets: Option<Vec<String>>,
    #[serde(rename = "allowedTargets")]
    targets: Option<Vec<String>>,
}

impl Policy {
    /// Reads the file; none allows everything.
    pub(crate) fn read(file: Option<&Path>) -> Result<Self, Cause> {
        let Some(path) = file else { return Ok(Self::default()) };
        let failed = |error| Cause::File { variable: "POLICY_FILE", path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        // Said in the words that are meant for people, not for who uses the parser.
        let words = |error: serde_saphyr::Error| error.render_with_formatter(&UserMessageFormatter);
        serde_saphyr::from_str(&text).map_err(|error| Cause::Policy { path: path.to_owned(), reason: words(error) })
    }

    /// Whether these keep to it; otherwise the line that would have to be added.
    fn allows(&self, source: Option<SourcePart<'_>>, target: Option<TargetPart<'_>>) -> Result<(), Cause> {
        if let Some(source) = source {
            let connection = connection(source);
            check(self.hosts.as_ref(), "allowedHosts", &connection.host)?;
            if let Some(secret) = &connection.password {
                check_secret(self.secrets.as_ref(), &secret.name)?;
            }
        }
        let Some(target) = target else { return Ok(()) };
        let place = Place::of(&target.target.store);
        if let Some(host) = place.foreign_host() {
            check(self.hosts.as_ref(), "allowedHosts", &host)?;
        }
        self.allows_store(target)
    }

    fn allows_store(&self, target: TargetPart<'_>) -> Result<(), Cause> {
        match &target.target.store {
            StoreSpec::Local { path } => {
                let path = path.display().to_string();
                if self.targets.is_some() && steps_upwards(&path) {
                    return Err(Cause::Forbidden(format!(
                        "the agent's policy lists targets, and `{path}` steps out of its folder with `..`; write the \
                         path without"
                    )));
                }
                check(self.targets.as_ref(), "allowedTargets", &path)
            }
            StoreSpec::S3(s3) => {
                if let Some(role) = &s3.role_arn {
                    check(self.secrets.as_ref(), "allowedSecrets", role)?;
                }
                check(self.targets.as_ref(), "allowedTargets", &s3.bucket)
            }
            StoreSpec::Gcs(gcs) => check(self.targets.as_ref(), "allowedTargets", &gcs.bucket),
            StoreSpec::Abs(abs) => {
                if let Some(secret) = &abs.account_key {
                    check_secret(self.secrets.as_ref(), &secret.name)?;
                }
                match &self.targets {
                    Some(list) if !places::covers(list, abs) => {
                        let full = format!("{}/{}", abs.account_name, abs.container);
                        Err(not_listed("allowedTargets", &full))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// What a run of the source would bind. Refused where a secret is bound to another host that is not written down.
    fn binds(&self, source: SourcePart<'_>, bindings: &Bindings) -> Result<Option<Binding>, Cause> {
        let connection = connection(source);
        let Some(secret) = &connection.password else { return Ok(None) };
        self.binds_to(&format!("the secret `{}`", secret.name), known_as(secret), &connection.host, bindings)
    }

    /// What a run of the target would bind: the key of an account, the platform's identity, the account of a container.
    fn binds_target(&self, target: TargetPart<'_>, bindings: &Bindings) -> Result<Vec<Binding>, Cause> {
        let store = &target.target.store;
        let place = Place::of(store);
        let mut bound = Vec::new();
        if let StoreSpec::Abs(abs) = store {
            bound.extend(self.binds_account(abs, bindings)?);
            if let Some(secret) = &abs.account_key {
                let what = format!("the secret `{}`", secret.name);
                bound.extend(self.binds_to(&what, known_as(secret), &place.host(), bindings)?);
                return Ok(bound);
            }
        }
        let Some(platform) = place.platform() else { return Ok(bound) };
        let names = vec![format!("platform:{platform}")];
        let what = format!("the agent's own identity ({platform})");
        match self.binds_to(&what, names.clone(), &place.host(), bindings) {
            Ok(binding) => bound.extend(binding),
            // Nobody but the cloud itself hears of it there. A storage account has an owner, who may be anybody.
            Err(_) if place.is_the_clouds_own() => bound.push(Binding { names, host: place.host() }),
            Err(refused) => return Err(refused),
        }
        Ok(bound)
    }

    /// A container that is listed without an account is the one of the account that was first written to.
    fn binds_account(&self, abs: &AbsSpec, bindings: &Bindings) -> Result<Option<Binding>, Cause> {
        let listed = self.targets.iter().flatten().any(|pattern| places::names(pattern, abs));
        if self.targets.is_none() || listed {
            return Ok(None);
        }
        let (name, host) = (format!("container:{}", abs.container), abs_host(abs));
        match bindings.get(&name) {
            None => Ok(Some(Binding { names: vec![name], host })),
            Some(hosts) if hosts.contains(&host) => Ok(None),
            Some(hosts) => Err(Cause::Forbidden(format!(
                "the container `{container}` was first written to at {}, and is not at `{host}`; the line `- \
                 \"{account}/{container}\"` under `allowedTargets` in the agent's policy file would allow it",
                hosts.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
                container = abs.container,
                account = abs.account_name,
            ))),
        }
    }

    /// Whether `what` goes to a host that it is bound to, or that the operator wrote down as it stands. The binding that a run
    /// would add, if it would.
    fn binds_to(
        &self,
        what: &str,
        names: Vec<String>,
        host: &str,
        bindings: &Bindings,
    ) -> Result<Option<Binding>, Cause> {
        let host = host.to_lowercase();
        // What was bound with a key of the secret binds all of it: without a key all of it would be sent.
        let is_of = |bound: &str, name: &str| {
            bound.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        let bound: BTreeSet<&str> = bindings
            .iter()
            .filter(|(bound, _)| names.iter().any(|name| is_of(bound, name)))
            .flat_map(|(_, hosts)| hosts.iter().map(String::as_str))
            .collect();
        if bound.contains(host.as_str()) {
            return Ok(None);
        }
        // A pattern is not enough: it was there before anybody thought of this host.
        if bound.is_empty() || self.hosts.iter().flatten().any(|allowed| allowed.to_lowercase() == host) {
            return Ok(Some(Binding { names, host }));
        }
        let bound: Vec<&str> = bound.into_iter().collect();
        Err(Cause::Forbidden(format!(
            "{what} was first sent to {} and is not sent to `{host}`; the line `- \"{host}\"` under `allowedHosts` in the \
             agent's policy file would allow it",
            bound.join(", "),
        )))
    }
}

/// The policy, and where secrets have been sent so far. Everything that the hub asks for passes here.
pub(crate) struct Guard {
    policy: Policy,
    bindings: Mutex<Bindings>,
}

impl Guard {
    pub(crate) fn new(policy: Policy, bindings: Bindings) -> Self {
        Self { policy, bindings: Mutex::new(bindings) }
    }

    /// Whether these may be looked at, and run.
    pub(crate) fn allows(&self, source: Option<SourcePart<'_>>, target: Option<TargetPart<'_>>) -> Result<(), Cause> {
        self.policy.allows(source, target)?;
        if let Some(source) = source {
            self.policy.binds(source, &self.bindings())?;
        }
        match target {
            Some(target) => self.policy.binds_target(target, &self.bindings()).map(drop),
            None => Ok(()),
        }
    }

    /// The first run with a secret or an identity binds it to its host.
    pub(crate) fn bind(&self, source: SourcePart<'_>, target: TargetPart<'_>, cache: &Cache) -> Result<(), Cause> {
        let mut bindings = self.bindings();
        let mut bound = self.policy.binds_target(target, &bindings)?;
        bound.extend(self.policy.binds(source, &bindings)?);
        if bound.is_empty() {
            return Ok(());
        }
        for Binding { names, host } in bound {
            for name in names {
                bindings.entry(name).or_default().insert(host.clone());
            }
        }
        cache.bind(&bindings)
    }

    fn bindings(&self) -> MutexGuard<'_, Bindings> {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connection(part: SourcePart<'_>) -> &ConnectionSpec {
    let (SourceSpec::Postgres { connection, .. } | SourceSpec::Mysql { connection }) = part.source;
    connection
}

fn check(list: Option<&Vec<String>>, name: &str, value: &str) -> Result<(), Cause> {
    if list.is_none_or(|patterns| patterns.iter().any(|pattern| matches(pattern, value))) {
        return Ok(());
    }
    Err(not_listed(name, value))
}

fn not_listed(name: &str, value: &str) -> Cause {
    Cause::Forbidden(format!(
        "the agent's policy does not allow `{value}`; the line `- \"{value}\"` under `{name}` would"
    ))
}

/// A name that steps upwards lies elsewhere than its beginning says: no pattern covers it, only the name itself.
fn check_secret(list: Option<&Vec<String>>, name: &str) -> Result<(), Cause> {
    if !steps_upwards(name) {
        return check(list, "allowedSecrets", name);
    }
    let exact: Option<Vec<String>> = list.map(|list| list.iter().filter(|it| *it == name).cloned().collect());
    check(exact.as_ref(), "allowedSecrets", name)
}

/// Whether `value` is what the pattern says; `*` stands for any characters, also none.
fn matches(pattern: &str, value: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == value,
        Some((before, after)) => value
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|tail| matches(after, tail)))),
    }
}
