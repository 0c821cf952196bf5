//! What this agent may do, as its operator wrote it down beside it. The hub cannot widen it.
//!
//! A breached hub could point a database's secret at somebody else's host. So hosts, secret names and targets may be listed
//! here, with `*` for any characters; a list that is absent allows everything of its kind. And a secret stays with the
//! host that it was first sent to, until the operator lists another host by name.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_model::SecretReference;
use millrace_protocol::{ConnectionSpec, SourcePart, SourceSpec, StoreSpec, TargetPart};
use millrace_secrets::known_as;
use serde::Deserialize;

use crate::cache::{Bindings, Cache};
use crate::fault::Cause;

/// The names of a secret, and the host that it is bound to.
type Binding = (Vec<String>, String);

/// The three lists.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    #[serde(rename = "allowedHosts")]
    hosts: Option<Vec<String>>,
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
        serde_saphyr::from_str(&text)
            .map_err(|error| Cause::Policy { path: path.to_owned(), reason: error.to_string() })
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
        let place = match &target.target.store {
            StoreSpec::Local { path } => path.display().to_string(),
            StoreSpec::S3(s3) => s3.bucket.clone(),
            StoreSpec::Gcs(gcs) => gcs.bucket.clone(),
            StoreSpec::Abs(abs) => {
                if let Some(secret) = &abs.account_key {
                    check_secret(self.secrets.as_ref(), &secret.name)?;
                }
                abs.container.clone()
            }
        };
        check(self.targets.as_ref(), "allowedTargets", &place)
    }

    /// Whether the secret goes to a host that it is bound to, or that the operator wrote down as it stands. The binding
    /// that a run of it would add, if it would.
    fn binds(&self, source: SourcePart<'_>, bindings: &Bindings) -> Result<Option<Binding>, Cause> {
        let connection = connection(source);
        let Some(secret) = &connection.password else { return Ok(None) };
        self.binds_to(secret, &connection.host, bindings)
    }

    /// The same for the key of a store's account.
    fn binds_target(&self, target: TargetPart<'_>, bindings: &Bindings) -> Result<Option<Binding>, Cause> {
        let StoreSpec::Abs(abs) = &target.target.store else { return Ok(None) };
        let Some(secret) = &abs.account_key else { return Ok(None) };
        let usual = || format!("{}.blob.core.windows.net", abs.account_name);
        let written = abs.endpoint.as_deref().map(|url| reqwest::Url::parse(url).ok()?.host_str().map(str::to_owned));
        // An endpoint without a host is refused later; until then it is bound as it is written.
        let host = written.map_or_else(usual, |host| host.or_else(|| abs.endpoint.clone()).unwrap_or_default());
        self.binds_to(secret, &host, bindings)
    }

    fn binds_to(&self, secret: &SecretReference, host: &str, bindings: &Bindings) -> Result<Option<Binding>, Cause> {
        let names = known_as(secret);
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
            return Ok(Some((names, host)));
        }
        let bound: Vec<&str> = bound.into_iter().collect();
        Err(Cause::Forbidden(format!(
            "the secret `{}` was first sent to {} and is not sent to `{host}`; the line `- \"{host}\"` under \
             `allowedHosts` in the agent's policy file would allow it",
            secret.name,
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

    /// The first run with a secret binds it to its host.
    pub(crate) fn bind(&self, source: SourcePart<'_>, target: TargetPart<'_>, cache: &Cache) -> Result<(), Cause> {
        let mut bindings = self.bindings();
        let bound = [self.policy.binds(source, &bindings)?, self.policy.binds_target(target, &bindings)?];
        for (names, host) in bound.into_iter().flatten() {
            for name in names {
                bindings.entry(name).or_default().insert(host.clone());
            }
            cache.bind(&bindings)?;
        }
        Ok(())
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
    Err(Cause::Forbidden(format!(
        "the agent's policy does not allow `{value}`; the line `- \"{value}\"` under `{name}` would"
    )))
}

/// A name that steps upwards lies elsewhere than its beginning says: no pattern covers it, only the name itself.
fn check_secret(list: Option<&Vec<String>>, name: &str) -> Result<(), Cause> {
    if !name.split('/').any(|piece| piece == "..") {
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

#[cfg(test)]
mod tests {
    use millrace_protocol::PipelineSpec;

    use super::*;

    fn spec(host: &str, secret: &str) -> PipelineSpec {
        let text = format!(
            "version: 1\nname: shop\nstreamingSource:\n  type: postgres\n  connection: {{host: {host}, port: 5432, \
             database: shop, username: u, password: {{secretType: env, secretName: {secret}}}}}\n  \
             tables: [{{schema: public, table: t}}]\nstreamingTarget: {{type: local, path: /lake}}\n"
        );
        PipelineSpec::parse(&text, millrace_protocol::Notation::Yaml, "/".as_ref()).unwrap()
    }

    #[test]
    fn a_secret_stays_with_its_host_until_the_operator_names_another() {
        let open = Policy::default();
        let mut bindings = Bindings::new();
        let (names, host) = open.binds(spec("db.internal", "A").source_part(), &bindings).unwrap().unwrap();
        bindings.entry(names[0].clone()).or_default().insert(host);
        assert_eq!(open.binds(spec("DB.internal", "A").source_part(), &bindings).unwrap(), None);
        assert!(open.binds(spec("evil.example", "B").source_part(), &bindings).unwrap().is_some());
        let refused = open.binds(spec("evil.example", "A").source_part(), &bindings).unwrap_err().to_string();
        assert!(refused.contains("- \"evil.example\""), "{refused}");
        let wide = Policy { hosts: Some(vec!["*".into()]), ..Policy::default() };
        assert!(wide.binds(spec("evil.example", "A").source_part(), &bindings).is_err());
        let named = Policy { hosts: Some(vec!["db2.internal".into()]), ..Policy::default() };
        assert!(named.binds(spec("db2.internal", "A").source_part(), &bindings).unwrap().is_some());
    }

    #[test]
    fn another_key_version_or_spelling_of_a_secret_stays_with_its_host() {
        let open = Policy::default();
        let of = |host: &str, store: &str, name: &str, key: Option<&str>| {
            let mut spec = spec(host, "A");
            let SourceSpec::Postgres { connection, .. } = &mut spec.source else { panic!("it is PostgreSQL") };
            let (store, name, key) = (store.into(), name.into(), key.map(Into::into));
            connection.password = Some(millrace_model::SecretReference { store, name, key });
            spec
        };
        let aws = "aws_secrets_manager";
        let mut bindings = Bindings::new();
        let first = of("db.internal", aws, "shop/db", Some("password"));
        let (names, host) = open.binds(first.source_part(), &bindings).unwrap().unwrap();
        for name in names {
            bindings.entry(name).or_default().insert(host.clone());
        }
        // As an earlier version kept it.
        bindings.entry("hashicorp_vault:secret/db:password".into()).or_default().insert("db.internal".into());
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:shop/db-AbCdEf";
        for (store, name, key) in [
            (aws, "shop/db", None),
            (aws, "shop/db", Some("other")),
            (aws, arn, Some("password")),
            (aws, "shop/db?versionStage=AWSPREVIOUS", Some("password")),
            ("hashicorp_vault", "secret/db?version=1", Some("password")),
        ] {
            assert!(
                open.binds(of("db.internal", store, name, key).source_part(), &bindings).unwrap().is_none(),
                "{name}"
            );
            assert!(open.binds(of("evil.example", store, name, key).source_part(), &bindings).is_err(), "{name}");
        }
        assert!(open.binds(of("evil.example", aws, "shop/db2", None).source_part(), &bindings).unwrap().is_some());
    }

    #[test]
    fn a_pattern_does_not_cover_steps_out_of_its_folder() {
        let list = vec!["/run/secrets/*".to_owned(), "../beside".to_owned()];
        assert!(check_secret(Some(&list), "/run/secrets/a").is_ok());
        assert!(check_secret(Some(&list), "/run/secrets/../../etc/shadow").is_err());
        assert!(check_secret(Some(&list), "../beside").is_ok());
    }

    #[test]
    fn the_key_of_a_stores_account_stays_with_its_host_too() {
        let abs = |endpoint: &str| {
            let target = format!(
                "streamingTarget: {{type: abs, container: c, accountName: acme, accountKey: {{secretType: env, secretName: K}}{endpoint}}}"
            );
            let text = format!(
                "version: 1\nname: shop\nstreamingSource:\n  type: postgres\n  connection: {{host: h, port: 5432, \
                 database: shop, username: u}}\n  tables: [{{schema: public, table: t}}]\n{target}\n"
            );
            PipelineSpec::parse(&text, millrace_protocol::Notation::Yaml, "/".as_ref()).unwrap()
        };
        let open = Policy::default();
        let mut bindings = Bindings::new();
        let (names, host) = open.binds_target(abs("").target_part(), &bindings).unwrap().unwrap();
        assert_eq!(host, "acme.blob.core.windows.net");
        bindings.entry(names[0].clone()).or_default().insert(host);
        assert_eq!(open.binds_target(abs("").target_part(), &bindings).unwrap(), None);
        let elsewhere = abs(", endpoint: 'https://evil.example/acme'");
        assert!(open.binds_target(elsewhere.target_part(), &bindings).is_err());
        let listed = Policy { secrets: Some(vec!["L".into()]), ..Policy::default() };
        assert!(listed.allows(None, Some(abs("").target_part())).is_err());
    }

    #[test]
    fn a_list_refuses_what_it_does_not_hold_with_the_line_to_add() {
        let policy: Policy =
            serde_saphyr::from_str("allowedHosts: [db.internal]\nallowedSecrets: [A*]\nallowedTargets: [/lake]")
                .unwrap();
        let allows = |spec: PipelineSpec| policy.allows(Some(spec.source_part()), Some(spec.target_part()));
        allows(spec("db.internal", "AB")).unwrap();
        for (host, secret, line) in [("other", "AB", "- \"other\""), ("db.internal", "B", "- \"B\"")] {
            let refused = allows(spec(host, secret)).unwrap_err().to_string();
            assert!(refused.contains(line), "{refused}");
        }
        assert!(serde_saphyr::from_str::<Policy>("allowedHost: []").is_err());
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, value, same) in [
            ("db.internal", "db.internal", true),
            ("db.internal", "db.internal.evil", false),
            ("*.internal", "db.internal", true),
            ("*.internal", "internal", false),
            ("millrace/*/db", "millrace/shop/db", true),
            ("millrace/*", "other/shop", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, value), same, "{pattern} {value}");
        }
    }
}
