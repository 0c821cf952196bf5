//! Google Secret Manager: `secrets.versions.access`, its checksum checked.
//!
//! `NAME` in `DEFAULT_GCP_PROJECT`, or the full resource name, also of a regional secret; behind it `/versions/…` where
//! another version than the latest is meant.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_identity::{CLOUD_PLATFORM, SecretText, Surroundings, Token, TokenIdentity, project, send};
use millrace_model::Fault;
use reqwest::Method;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::crc32c::crc32c;
use crate::fault::Cause;

const SERVICE: &str = "Google Secret Manager";
const PERMISSION: &str = "secretmanager.versions.access";

/// The client.
pub(crate) struct GoogleStore {
    around: Surroundings,
    identity: Arc<dyn TokenIdentity>,
    /// The project that the process runs in, once it was asked for.
    here: OnceLock<String>,
}

#[derive(Deserialize)]
struct Accessed {
    payload: Payload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    #[serde(default)]
    data: SecretText,
    /// A number, as text.
    data_crc32c: Option<String>,
}

#[derive(Default, Deserialize)]
struct Refused {
    error: Said,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    message: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    reason: String,
}

/// A reference, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    project: Option<&'a str>,
    location: Option<&'a str>,
    secret: &'a str,
    version: &'a str,
}

impl GoogleStore {
    pub(crate) fn new(around: &Surroundings, identity: Arc<dyn TokenIdentity>) -> Self {
        Self { around: around.clone(), identity, here: OnceLock::new() }
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Zeroizing<String>, Fault> {
        let place = parse(name)?;
        let project = self.project(name, &place).await?;
        let location = place.location.map_or_else(String::new, |location| format!("/locations/{location}"));
        let secret = format!("projects/{project}{location}/secrets/{}", place.secret);
        let address = format!("{}/v1/{secret}/versions/{}:access", self.endpoint(&place), place.version);
        let mut is_new = false;
        loop {
            let token = self.identity.token(CLOUD_PLATFORM).await?;
            let request = self.around.http().request(Method::GET, &address).bearer_auth(token.value.reveal());
            let unanswered = |said: String| Cause::Unanswered { service: SERVICE, name: name.to_owned(), said };
            let answer = send(request).await.map_err(unanswered)?;
            match answer.status {
                200 => return Ok(text(&answer, name)?),
                401 if !is_new => {
                    self.identity.forget(CLOUD_PLATFORM, &token);
                    is_new = true;
                }
                _ if answer.is_passing() => return Err(unanswered(format!("status {}", answer.status)).into()),
                status => {
                    let said = answer.json::<Refused>().unwrap_or_default().error;
                    return Err(cause(status, said, name, &secret, &token).into());
                }
            }
        }
    }

    async fn project(&self, name: &str, place: &Place<'_>) -> Result<String, Fault> {
        let set = || ["DEFAULT_GCP_PROJECT", "GOOGLE_CLOUD_PROJECT"].iter().find_map(|it| self.around.variable(it));
        if let Some(project) = place.project.map(str::to_owned).or_else(set) {
            return Ok(project);
        }
        if let Some(known) = self.here.get() {
            return Ok(known.clone());
        }
        let here = project(&self.around).await?.ok_or_else(|| Cause::Reference {
            name: name.to_owned(),
            reason: "the project is not known".into(),
            cure: "set DEFAULT_GCP_PROJECT, or write `projects/PROJECT/secrets/NAME` as `secretName`".into(),
        })?;
        Ok(self.here.get_or_init(|| here).clone())
    }

    /// Regional secrets are at the region's own address. The variable is that of `gcloud`.
    fn endpoint(&self, place: &Place<'_>) -> String {
        if let Some(set) = self.around.variable("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER") {
            return set.trim_end_matches('/').to_owned();
        }
        place.location.map_or_else(
            || "https://secretmanager.googleapis.com".to_owned(),
            |location| format!("https://secretmanager.{location}.rep.googleapis.com"),
        )
    }
}

fn text(answer: &millrace_identity::Answer, name: &str) -> Result<Zeroizing<String>, Cause> {
    let not_understood = |what| Cause::Answer { service: SERVICE, name: name.to_owned(), what };
    let payload = answer.json::<Accessed>().ok_or_else(|| not_understood("it has no payload"))?.payload;
    let bytes = STANDARD.decode(payload.data.as_bytes()).map(Zeroizing::new);
    let bytes = bytes.map_err(|_hidden| not_understood("its payload is no base64"))?;
    if let Some(sum) = payload.data_crc32c
        && sum.parse::<u32>() != Ok(crc32c(&bytes))
    {
        return Err(not_understood("its checksum is not that of its payload"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_hidden| Cause::NotText(name.to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn parse(name: &str) -> Result<Place<'_>, Cause> {
    let pieces: Vec<&str> = name.split('/').collect();
    let (project, location, secret, version) = match pieces.as_slice() {
        [secret] => (None, None, *secret, "latest"),
        [secret, "versions", version] => (None, None, *secret, *version),
        ["projects", project, "secrets", secret] => (Some(*project), None, *secret, "latest"),
        ["projects", project, "secrets", secret, "versions", version] => (Some(*project), None, *secret, *version),
        ["projects", project, "locations", location, "secrets", secret] => {
            (Some(*project), Some(*location), *secret, "latest")
        }
        ["projects", project, "locations", location, "secrets", secret, "versions", version] => {
            (Some(*project), Some(*location), *secret, *version)
        }
        _ => return Err(refused(name)),
    };
    let is_made_of = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    // The location becomes part of a host's name. A dot alone would be a step in the path.
    let is_good = is_made_of(secret, "-_")
        && is_made_of(version, "-_")
        && project.is_none_or(|it| is_made_of(it, "-:.") && !it.starts_with('.'))
        && location.is_none_or(|it| is_made_of(it, "-"));
    if is_good { Ok(Place { project, location, secret, version }) } else { Err(refused(name)) }
}

fn refused(name: &str) -> Cause {
    Cause::Reference {
        name: name.to_owned(),
        reason: "it is no name of a secret".into(),
        cure:
            "write `NAME` or `projects/PROJECT/secrets/NAME`; behind it `/versions/3` where an older version is meant"
                .into(),
    }
}

fn cause(status: u16, said: Said, name: &str, secret: &str, token: &Token) -> Cause {
    let name = name.to_owned();
    let is_off = said.details.iter().any(|detail| detail.reason == "SERVICE_DISABLED");
    match (status, said.status.as_str()) {
        (403, _) if is_off => Cause::Unusable {
            name,
            said: said.message,
            cure: "enable the service: `gcloud services enable secretmanager.googleapis.com`".into(),
        },
        (403, _) => Cause::Denied {
            name,
            identity: token.from.clone(),
            permission: PERMISSION.into(),
            cure: format!(
                "grant its principal the role on this one secret: `gcloud secrets add-iam-policy-binding {secret} \
                 --member=PRINCIPAL --role=roles/secretmanager.secretAccessor`"
            ),
            said: said.message,
        },
        (404, _) => Cause::Missing {
            name,
            place: format!("{SERVICE} ({secret})"),
            said: said.message,
            cure: "correct `secretName` or DEFAULT_GCP_PROJECT, or make the secret (or the version)".into(),
        },
        (400, "FAILED_PRECONDITION") => Cause::Unusable {
            name,
            said: said.message,
            cure: "enable the version (`gcloud secrets versions enable`), or add a new one".into(),
        },
        (401, _) => Cause::Identity { service: SERVICE, name, identity: token.from.clone(), said: said.message },
        _ => Cause::Refused { service: SERVICE, name, said: format!("status {status}: {}", said.message) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_name_or_a_resource_with_or_without_a_version() {
        let place = |project, location, version| Place { project, location, secret: "db", version };
        assert_eq!(parse("db").unwrap(), place(None, None, "latest"));
        assert_eq!(parse("db/versions/3").unwrap(), place(None, None, "3"));
        assert_eq!(parse("projects/p/secrets/db").unwrap(), place(Some("p"), None, "latest"));
        assert_eq!(
            parse("projects/example.com:p/secrets/db/versions/3").unwrap(),
            place(Some("example.com:p"), None, "3")
        );
        let regional = "projects/p/locations/europe-west3/secrets/db";
        assert_eq!(parse(regional).unwrap(), place(Some("p"), Some("europe-west3"), "latest"));
        for wrong in [
            "",
            "a/b",
            "db/versions/",
            "projects/../secrets/db",
            "projects/p/secrets/..",
            "projects/p/locations/evil.example/secrets/db",
            "projects/p/secrets/a%2fb",
        ] {
            assert!(matches!(parse(wrong), Err(Cause::Reference { .. })), "{wrong}");
        }
    }
}
