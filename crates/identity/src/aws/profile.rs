//! The files of the AWS command line: `~/.aws/credentials` and `~/.aws/config`, or what `AWS_SHARED_CREDENTIALS_FILE` and
//! `AWS_CONFIG_FILE` name.
//!
//! Keys, `role_arn` with `source_profile`, `credential_source` or a web identity. Single sign-on and
//! `credential_process` are not built: a service that runs unattended has neither a browser nor a reason to start programs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::SecretValue;

use crate::aws::call::AwsClient;
use crate::aws::environment::Environment;
use crate::aws::served::{Container, Machine};
use crate::aws::sts::{AssumedRole, WebIdentity};
use crate::aws::{AwsCredentials, Chain, Step};
use crate::fault::{Cause, Nothing};
use crate::surroundings::Surroundings;

/// A longer chain of `source_profile` goes round in a circle.
const DEEPEST: usize = 5;

type Section = HashMap<String, String>;

/// The profile of `AWS_PROFILE`, or the one named `default`.
pub(super) struct Profile {
    /// Another one, that a profile builds on.
    pub(super) name: Option<String>,
    pub(super) depth: usize,
}

#[async_trait]
impl Step for Profile {
    async fn obtain(&self, around: &Surroundings) -> Result<AwsCredentials, Nothing> {
        let is_asked_for = self.name.is_some() || around.variable("AWS_PROFILE").is_some();
        let name = self.name.clone().unwrap_or_else(|| chosen(around));
        match read(around, &name)? {
            Some(section) => self.of(around, &name, &section).await,
            None if is_asked_for => Err(wrong(&name, "it is in neither file", "add it, or unset AWS_PROFILE").into()),
            None => Err(Nothing::Absent(format!("there is no profile `{name}` in the AWS configuration files"))),
        }
    }
}

impl Profile {
    async fn of(&self, around: &Surroundings, name: &str, section: &Section) -> Result<AwsCredentials, Nothing> {
        let field = |key: &str| section.get(key).cloned();
        // A profile may take its role with its own keys.
        let is_own_source = field("source_profile").as_deref() == Some(name);
        if let Some(role) = field("role_arn").filter(|_| self.depth == 0 || !is_own_source) {
            return self.role(around, name, section, role).await;
        }
        if let (Some(key_id), Some(secret)) = (field("aws_access_key_id"), field("aws_secret_access_key")) {
            return Ok(AwsCredentials {
                from: format!("the access key {key_id} of the profile `{name}`"),
                key_id,
                secret_key: SecretValue::new(secret),
                session_token: field("aws_session_token").map(SecretValue::new),
                expires: None,
            });
        }
        for (key, what) in [
            ("sso_session", "single sign-on"),
            ("sso_start_url", "single sign-on"),
            ("credential_process", "`credential_process`"),
        ] {
            if section.contains_key(key) {
                let reason = format!("{what} is not built");
                return Err(wrong(name, &reason, "use keys, a role, or the platform's own identity").into());
            }
        }
        let reason = format!("the profile `{name}` has neither keys nor a role");
        if self.name.is_some() {
            Err(wrong(name, &reason, "add what is missing").into())
        } else {
            Err(Nothing::Absent(reason))
        }
    }

    async fn role(
        &self,
        around: &Surroundings,
        name: &str,
        section: &Section,
        role: String,
    ) -> Result<AwsCredentials, Nothing> {
        let field = |key: &str| section.get(key).cloned();
        let region = field("region");
        if let Some(file) = field("web_identity_token_file") {
            return WebIdentity { role: Some(role), file: Some(file), region }.obtain(around).await;
        }
        if self.depth >= DEEPEST {
            return Err(wrong(name, "its source_profile leads back to itself", "end the circle").into());
        }
        if field("mfa_serial").is_some() {
            return Err(
                wrong(name, "a role that asks for a code (mfa_serial) needs a person", "use another role").into()
            );
        }
        let source: Box<dyn Step> = match (field("source_profile"), field("credential_source").as_deref()) {
            (Some(source), None) => Box::new(Self { name: Some(source), depth: self.depth + 1 }),
            (None, Some("Environment")) => Box::new(Environment),
            (None, Some("EcsContainer")) => Box::new(Container),
            (None, Some("Ec2InstanceMetadata")) => Box::new(Machine),
            (Some(_), Some(_)) => return Err(wrong(name, "it has two sources", "keep one of them").into()),
            (None, _) => {
                let cure =
                    "add source_profile, or credential_source with Environment, EcsContainer or Ec2InstanceMetadata";
                return Err(wrong(name, "its role has no source", cure).into());
            }
        };
        let client = AwsClient::new(around, Arc::new(Chain::of(around, vec![source])), "sts");
        let (external_id, session) = (field("external_id"), field("role_session_name"));
        AssumedRole { client, role, external_id, session, region }.obtain(around).await
    }
}

fn wrong(name: &str, reason: &str, cure: &str) -> Cause {
    Cause::Wrong { place: format!("the AWS profile `{name}`"), reason: reason.to_owned(), cure: cure.to_owned() }
}

fn chosen(around: &Surroundings) -> String {
    around.variable("AWS_PROFILE").unwrap_or_else(|| "default".into())
}

/// The region of the profile.
pub(super) fn region(around: &Surroundings) -> Option<String> {
    read(around, &chosen(around)).ok()??.remove("region")
}

/// What both files say of a profile; of a key in both, the credentials file's counts.
fn read(around: &Surroundings, name: &str) -> Result<Option<Section>, Cause> {
    let file =
        |variable: &str, usual: &str| around.variable(variable).map(PathBuf::from).or_else(|| around.in_home(usual));
    let config = sections(file("AWS_CONFIG_FILE", ".aws/config"))?;
    let credentials = sections(file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"))?;
    // The configuration file writes `[profile NAME]`, but for the default one.
    let long = format!("profile {name}");
    let of_config = config.into_iter().find(|(title, _)| *title == long || (name == "default" && title == name));
    let of_credentials = credentials.into_iter().find(|(title, _)| title == name);
    let (one, other) = (of_config.map(|it| it.1), of_credentials.map(|it| it.1));
    Ok(match (one, other) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one),
        (Some(mut one), Some(other)) => {
            one.extend(other);
            Some(one)
        }
    })
}

fn sections(file: Option<PathBuf>) -> Result<Vec<(String, Section)>, Cause> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let cure = "let the user that millrace runs as read it".into();
            return Err(Cause::Wrong { place: format!("`{}`", file.display()), reason: error.to_string(), cure });
        }
    };
    let mut found: Vec<(String, Section)> = Vec::new();
    for line in text.lines() {
        // Indented lines are parts of a nested setting, which none of ours is.
        if line.starts_with(['#', ';', ' ', '\t']) || line.trim().is_empty() {
            continue;
        }
        if let Some(title) = line.trim().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let title: Vec<&str> = title.0.split_whitespace().map(|word| word.trim_matches('"')).collect();
            found.push((title.join(" "), Section::new()));
        } else if let (Some((key, value)), Some((_, section))) = (line.split_once('='), found.last_mut()) {
            section.insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    Ok(found)
}
