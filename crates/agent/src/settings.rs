//! The agent's settings, from its environment (`docs/reference/cli.md`). Everything that is wrong is said at once.

use std::path::PathBuf;
use std::time::Duration;

use millrace_identity::Platform;
use millrace_model::SecretReference;
use reqwest::Url;
use serde::Deserialize;
use uuid::Uuid;

use crate::fault::{Cause, FROM_THE_CONSOLE};

/// How an agent runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the hub, without a slash at the end.
    pub hub_url: String,
    /// The account that it belongs to; sent with each call.
    pub account_id: String,
    /// Which agent it is.
    pub agent_id: String,
    /// With which it signs in.
    pub client_id: String,
    /// What it proves itself by.
    pub proof: Proof,
    /// Where it keeps its definition over a restart, and what it spills. `None`: nothing is kept.
    pub state_dir: Option<PathBuf>,
    /// What the hub cannot widen.
    pub policy_file: Option<PathBuf>,
    /// Address for health and metrics.
    pub listen: String,
    /// PEM file with further certificates to trust.
    pub certificates: Option<PathBuf>,
    /// A process that finds another one in its place gives up after so long.
    pub duplicate_patience: Duration,
    /// How far the clock that the hub is told of goes ahead of this machine's.
    pub clock_ahead: Duration,
}

/// What an agent proves itself by.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The client secret.
    Secret(ClientSecret),
    /// A private key in a file, with which it signs. Read anew whenever it is needed.
    Key(PathBuf),
    /// A token of its platform in a file, which the platform replaces. Read anew whenever it is needed.
    TokenFile(PathBuf),
    /// A token of its platform, asked for whenever it is needed.
    Platform {
        /// Which.
        platform: Platform,
        /// For whom.
        audience: String,
    },
}

/// Where the client secret is.
#[derive(Clone)]
pub enum ClientSecret {
    /// In the environment itself.
    Value(String),
    /// In a file that is read anew whenever it is needed.
    File(PathBuf),
    /// In a secret store.
    Reference(SecretReference),
}

impl std::fmt::Debug for ClientSecret {
    /// Never the value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(…)"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Reference(reference) => write!(f, "Reference({}:{})", reference.store, reference.name),
        }
    }
}

/// Where health and metrics are asked for unless `LISTEN` says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9464";

/// As long as a lease that nobody renews, and some.
const DUPLICATE_PATIENCE: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reference {
    secret_type: String,
    secret_name: String,
    key: Option<String>,
}

impl Settings {
    /// Reads what `variable` gives for each name.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Cause> {
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        let seconds = |name: &str| Some(Duration::from_secs(variable(name)?.parse().ok()?));
        let mut wrong = Wrong::default();
        let mut required = |name: &str| {
            variable(name).unwrap_or_else(|| {
                wrong.add(format!("{name} is not set"), FROM_THE_CONSOLE);
                String::new()
            })
        };
        let hub_url = required("HUB_URL").trim_end_matches('/').to_owned();
        let account_id = required("ACCOUNT_ID");
        let agent_id = required("AGENT_ID");
        let client_id = required("OAUTH_CLIENT_ID");
        wrong.look_at_address(&hub_url);
        wrong.look_at_id("ACCOUNT_ID", &account_id);
        wrong.look_at_id("AGENT_ID", &agent_id);
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            wrong.look_at_proxy(name, variable(name).as_deref());
        }
        let proof = match proof(&variable, &hub_url) {
            Ok(proof) => Some(proof),
            Err(reason) => {
                wrong.add(reason, FROM_THE_CONSOLE);
                None
            }
        };
        match (proof, wrong.said()) {
            (Some(proof), None) => Ok(Self {
                hub_url,
                account_id,
                agent_id,
                client_id,
                proof,
                state_dir: variable("STATE_DIR").map(PathBuf::from),
                policy_file: variable("POLICY_FILE").map(PathBuf::from),
                listen: variable("LISTEN").unwrap_or_else(|| DEFAULT_LISTEN.to_owned()),
                certificates: variable("CUSTOM_CERT_LOCATION").map(PathBuf::from),
                // Shorter, and wrong, for tests only.
                duplicate_patience: seconds("AGENT_TEST_PATIENCE_SECONDS").unwrap_or(DUPLICATE_PATIENCE),
                clock_ahead: seconds("AGENT_TEST_CLOCK_AHEAD_SECONDS").unwrap_or_default(),
            }),
            (_, said) => {
                Err(said.unwrap_or_else(|| Cause::setting("OAUTH_CLIENT_SECRET", "is not set", FROM_THE_CONSOLE)))
            }
        }
    }
}

/// Everything that is wrong, each with its cure.
#[derive(Default)]
struct Wrong {
    messages: Vec<String>,
    cures: Vec<String>,
}

impl Wrong {
    fn add(&mut self, message: impl Into<String>, cure: &str) {
        self.messages.push(message.into());
        if !self.cures.iter().any(|known| known == cure) {
            self.cures.push(cure.to_owned());
        }
    }

    fn said(&self) -> Option<Cause> {
        let (message, cure) = (self.messages.join("; "), self.cures.join("; "));
        (!message.is_empty()).then_some(Cause::Settings { message, cure })
    }

    /// One that is missing has been said.
    fn look_at_address(&mut self, url: &str) {
        let cure = "write HUB_URL like https://hub.example.com, as the agent's page in the console shows it";
        let has_host = || Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        if url.is_empty() {
        } else if !url.starts_with("https://") && !is_local(url) {
            self.add("HUB_URL must begin with https:// (http:// is for a hub on this machine only)", cure);
        } else if !has_host() {
            self.add("HUB_URL is not the address of a hub", cure);
        }
    }

    /// Not quoted: it may be a secret that went into the wrong variable.
    fn look_at_id(&mut self, name: &str, id: &str) {
        if !id.is_empty() && Uuid::try_parse(id).is_err() {
            let cure = format!("copy {name} from the agent's page in the console: it is a UUID");
            self.add(format!("{name} is no id"), &cure);
        }
    }

    /// As the HTTP client reads it, which passes over one that it cannot use. Never quoted: it may hold a password.
    fn look_at_proxy(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let is_proxy = Url::parse(&whole).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
        });
        if !is_proxy {
            let cure = format!("write {name} like http://proxy.example.com:3128, or leave it out");
            self.add(format!("{name} is not the address of a proxy"), &cure);
        }
    }
}

/// The variables that say what it proves itself by; one of them is set.
const PROOFS: [&str; 6] = [
    "OAUTH_CLIENT_SECRET",
    "OAUTH_CLIENT_SECRET_FILE",
    "OAUTH_CLIENT_SECRET_REF",
    "OAUTH_CLIENT_KEY_FILE",
    "OAUTH_WORKLOAD_TOKEN_FILE",
    "OAUTH_WORKLOAD_IDENTITY",
];

fn proof(variable: &impl Fn(&str) -> Option<String>, hub_url: &str) -> Result<Proof, String> {
    let given: Vec<(&str, String)> =
        PROOFS.into_iter().filter_map(|name| variable(name).map(|value| (name, value))).collect();
    let (name, value) = match &given[..] {
        [(name, value)] => (*name, value.clone()),
        [] => return Err(format!("{} is not set, nor another of {}", PROOFS[0], PROOFS[1..].join(", "))),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            return Err(format!("only one of {} may be set", names.join(" and ")));
        }
    };
    match name {
        // Without the end of the line that a file brings which a platform gives as a variable.
        "OAUTH_CLIENT_SECRET" => Ok(Proof::Secret(ClientSecret::Value(value.trim_end().to_owned()))),
        "OAUTH_CLIENT_SECRET_FILE" => Ok(Proof::Secret(ClientSecret::File(value.into()))),
        "OAUTH_CLIENT_SECRET_REF" => reference(&value).map(Proof::Secret),
        "OAUTH_CLIENT_KEY_FILE" => Ok(Proof::Key(value.into())),
        "OAUTH_WORKLOAD_TOKEN_FILE" => Ok(Proof::TokenFile(value.into())),
        _ => {
            let platform = Platform::from_word(&value).ok_or("OAUTH_WORKLOAD_IDENTITY must be aws, azure or google")?;
            let audience = variable("OAUTH_WORKLOAD_AUDIENCE").unwrap_or_else(|| hub_url.to_owned());
            Ok(Proof::Platform { platform, audience })
        }
    }
}

fn reference(text: &str) -> Result<ClientSecret, String> {
    // The parser's words are left out: somebody may have put the secret itself here.
    let refused =
        "OAUTH_CLIENT_SECRET_REF must be JSON such as {\"secretType\":\"aws_secrets_manager\",\"secretName\":\"…\"}";
    let Reference { secret_type, secret_name, key } =
        serde_json::from_str(text).map_err(|_hidden| refused.to_owned())?;
    Ok(ClientSecret::Reference(SecretReference { store: secret_type.to_lowercase(), name: secret_name, key }))
}

/// Whether the address is one of this machine, where plain HTTP does no harm.
fn is_local(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]") || host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use millrace_model::Fault;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Cause> {
        Settings::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    const WHOLE: [(&str, &str); 5] = [
        ("HUB_URL", "https://hub.example/"),
        ("ACCOUNT_ID", "0198c2a4-0000-7000-8000-000000000001"),
        ("AGENT_ID", "0198c2a4-0000-4000-8000-000000000002"),
        ("OAUTH_CLIENT_ID", "c"),
        ("OAUTH_CLIENT_SECRET", "hidden"),
    ];

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        let said = read(&[("HUB_URL", "http://hub.example")]).unwrap_err().to_string();
        for name in ["ACCOUNT_ID", "AGENT_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "https://"] {
            assert!(said.contains(name), "{said}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_is_refused_by_its_name_with_a_cure_of_its_own() {
        for (name, value) in [
            ("HUB_URL", "hub.example"),
            ("HUB_URL", "https://"),
            ("HUB_URL", "https://:8443"),
            ("ACCOUNT_ID", "hidden"),
            ("AGENT_ID", "hidden"),
            ("HTTPS_PROXY", ":::"),
            ("https_proxy", "ftp://ann:hidden@proxy.example"),
            ("ALL_PROXY", "http://"),
        ] {
            let mut pairs: Vec<_> = WHOLE.into_iter().filter(|(known, _)| *known != name).collect();
            pairs.push((name, value));
            let refused = Fault::from(read(&pairs).unwrap_err());
            assert_eq!((refused.code, refused.exit_code()), ("AG-002", 78));
            assert!(refused.message.contains(name) && refused.cure.contains(name), "{refused:?}");
            assert!(!refused.message.contains("hidden"), "{refused:?}");
        }
        for proxy in ["http://ann:secret@proxy.example:3128", "proxy.example:3128", "https://proxy", "127.0.0.1:3128"] {
            assert!(read(&[&WHOLE[..], &[("HTTPS_PROXY", proxy)]].concat()).is_ok(), "{proxy}");
        }
    }

    #[test]
    fn a_secret_is_given_in_one_way_and_never_shown() {
        let settings = read(&WHOLE).unwrap();
        assert_eq!(settings.hub_url, "https://hub.example");
        assert!(!format!("{settings:?}").contains("hidden"));
        let of_a_file = read(&[&WHOLE[..4], &[("OAUTH_CLIENT_SECRET", "hidden\n")]].concat()).unwrap().proof;
        assert!(matches!(of_a_file, Proof::Secret(ClientSecret::Value(value)) if value == "hidden"));
        let twice = [&WHOLE[..], &[("OAUTH_CLIENT_SECRET_FILE", "/run/secret")]].concat();
        assert!(read(&twice).unwrap_err().to_string().contains("only one"));
        let plain = [&WHOLE[..4], &[("OAUTH_CLIENT_SECRET_REF", "hidden")]].concat();
        assert!(!read(&plain).unwrap_err().to_string().contains("hidden"));
    }

    #[test]
    fn what_it_proves_itself_by_needs_no_secret() {
        let with = |pairs: &[(&'static str, &'static str)]| read(&[&WHOLE[..4], pairs].concat());
        let of = |pairs: &[(&'static str, &'static str)]| format!("{:?}", with(pairs).unwrap().proof);
        assert_eq!(of(&[("OAUTH_CLIENT_KEY_FILE", "/key.pem")]), "Key(\"/key.pem\")");
        assert_eq!(of(&[("OAUTH_WORKLOAD_TOKEN_FILE", "/token")]), "TokenFile(\"/token\")");
        let google = of(&[("OAUTH_WORKLOAD_IDENTITY", "google")]);
        assert_eq!(google, "Platform { platform: Google, audience: \"https://hub.example\" }");
        let azure = of(&[("OAUTH_WORKLOAD_IDENTITY", "azure"), ("OAUTH_WORKLOAD_AUDIENCE", "api://hub")]);
        assert!(azure.contains("api://hub"), "{azure}");
        for (pairs, said) in [
            (&[("OAUTH_WORKLOAD_IDENTITY", "hidden")][..], "aws, azure or google"),
            (&[], "OAUTH_CLIENT_KEY_FILE"),
            (&[("OAUTH_CLIENT_KEY_FILE", "/a"), ("OAUTH_WORKLOAD_TOKEN_FILE", "/b")], "only one"),
        ] {
            let refused = with(pairs).unwrap_err().to_string();
            assert!(refused.contains(said) && !refused.contains("hidden"), "{refused}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (url, allowed) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost.example:8080", false),
            ("http://10.0.0.1", false),
        ] {
            let mut pairs = WHOLE;
            pairs[0].1 = url;
            assert_eq!(read(&pairs).is_ok(), allowed, "{url}");
        }
    }
}
