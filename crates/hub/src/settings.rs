//! The hub's settings, from flags and the environment (`docs/reference/cli.md`). What cannot work is refused here, each with its
//! cure, before anything is opened.

pub(crate) mod folder;
mod network;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::db::Place;
use crate::fault::Cause;

use folder::Tenancy;
pub use network::Networks;

/// How a hub runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen at, `127.0.0.1:8080`.
    pub listen: String,
    /// The hub's folder: database, key.
    pub data: PathBuf,
    /// A PostgreSQL server in place of the file in `data`.
    pub database_url: Option<String>,
    /// The address that browsers and agents use, without a slash at the end.
    pub public_url: String,
    /// The key that seals secrets; made in `data` where this is absent.
    pub key_file: Option<PathBuf>,
    /// Image URI that the console and the API show.
    pub agent_image: String,
    /// Certificate and key, as PEM, where the hub speaks TLS itself.
    pub tls: Option<TlsFiles>,
    /// Proxies whose word on the caller's address counts.
    pub trusted_proxies: Networks,
    /// Address of `/metrics`; absent: nobody can ask for them.
    pub metrics_listen: Option<String>,
    /// Where mail goes out.
    pub smtp: Option<Smtp>,
    /// Addresses that are not public and that webhooks may go to all the same.
    pub webhook_allow: Networks,
    /// Where the keys of issuers may be fetched although it is not public.
    pub issuer_allow: Networks,
    /// Calls of the API that one caller may make in a minute, at each hub process.
    pub calls_per_minute: u32,
    /// Who may come to this hub.
    pub registration: Registration,
    /// How long a sync is held for news.
    pub poll: Duration,
    /// How long a question waits for its agent.
    pub patience: Duration,
    /// How long a lease is valid without a sync.
    pub lease: Duration,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its root, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// A mail server.
#[derive(Clone, PartialEq, Eq)]
pub struct Smtp {
    /// `smtps://user:password@host:465`, or `smtp://host:587?tls=required`.
    pub url: String,
    /// The sender.
    pub from: String,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL holds a password.
        f.debug_struct("Smtp").field("from", &self.from).finish_non_exhaustive()
    }
}

/// What the command line says in place of the environment.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--listen`
    pub listen: Option<String>,
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--database`
    pub database_url: Option<String>,
}

/// Who may come to a hub: `HUB_REGISTRATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Those whom an owner invites.
    Invitation,
    /// Anyone, with an account of their own.
    Open,
    /// Nobody new.
    Closed,
}

impl Registration {
    /// Reads its word.
    pub fn from_word(word: &str) -> Result<Self, Cause> {
        match word {
            "invitation" => Ok(Self::Invitation),
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            other => {
                Err(Cause::Settings(format!("HUB_REGISTRATION is `{other}`; it can be invitation, open or closed")))
            }
        }
    }
}

/// Shown where `HUB_AGENT_IMAGE` is not set.
const IMAGE: &str = concat!("ghcr.io/millrace/millrace:", env!("CARGO_PKG_VERSION"));
/// Twice the bursts of 300 a second that the contract promises, all minute long.
const CALLS: u32 = 36_000;
const LISTEN: &str = "127.0.0.1:8080";
const FOLDER: &str = "millrace-hub";

impl Settings {
    /// The defaults for a hub in `data` that listens at `listen`.
    pub fn new(listen: impl Into<String>, data: impl Into<PathBuf>) -> Self {
        let listen = listen.into();
        Self {
            public_url: format!("http://{listen}"),
            listen,
            data: data.into(),
            database_url: None,
            key_file: None,
            agent_image: IMAGE.to_owned(),
            tls: None,
            trusted_proxies: Networks::default(),
            metrics_listen: None,
            smtp: None,
            webhook_allow: Networks::default(),
            issuer_allow: Networks::default(),
            calls_per_minute: CALLS,
            registration: Registration::Invitation,
            poll: Duration::from_secs(15),
            patience: Duration::from_mins(5),
            lease: Duration::from_secs(45),
        }
    }

    /// What flags and environment say.
    pub fn read(given: Given, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Cause> {
        let listen = given.listen.or_else(|| variable("HUB_LISTEN")).unwrap_or_else(|| LISTEN.into());
        let data = given.data.or_else(|| variable("HUB_DATA").map(PathBuf::from)).unwrap_or_else(|| FOLDER.into());
        let defaults = Self::new(address("HUB_LISTEN", &listen)?, data);
        let tls = tls(variable("HUB_TLS_CERT"), variable("HUB_TLS_KEY"))?;
        let public_url = match variable("HUB_PUBLIC_URL") {
            Some(url) => public_url(&url, tls.is_some())?,
            None if tls.is_some() => format!("https://{listen}"),
            None => defaults.public_url,
        };
        let database_url = given.database_url.or_else(|| variable("HUB_DATABASE_URL"));
        let metrics_listen = variable("HUB_METRICS_LISTEN");
        let seconds = |name: &str, default| test_seconds(name, variable(name), default);
        let settings = Self {
            public_url,
            database_url: database_url.map(database).transpose()?,
            key_file: variable("HUB_KEY_FILE").map(PathBuf::from),
            agent_image: variable("HUB_AGENT_IMAGE").map(image).transpose()?.unwrap_or(defaults.agent_image),
            tls,
            trusted_proxies: networks("HUB_TRUSTED_PROXIES", variable("HUB_TRUSTED_PROXIES"))?,
            metrics_listen: metrics_listen.map(|text| address("HUB_METRICS_LISTEN", &text)).transpose()?,
            smtp: smtp(variable("HUB_SMTP_URL"), variable("HUB_SMTP_FROM"))?,
            webhook_allow: networks("HUB_WEBHOOK_ALLOW", variable("HUB_WEBHOOK_ALLOW"))?,
            issuer_allow: networks("HUB_ISSUER_ALLOW", variable("HUB_ISSUER_ALLOW"))?,
            registration: variable("HUB_REGISTRATION")
                .map_or(Ok(defaults.registration), |word| Registration::from_word(&word))?,
            // Shorter than the contract's, for tests that wait for a lease to lapse.
            lease: seconds("HUB_TEST_LEASE_SECONDS", defaults.lease)?,
            poll: seconds("HUB_TEST_POLL_SECONDS", defaults.poll)?,
            patience: seconds("HUB_TEST_PATIENCE_SECONDS", defaults.patience)?,
            calls_per_minute: defaults.calls_per_minute,
            listen: defaults.listen,
            data: defaults.data,
        };
        settings.is_safe()?;
        Ok(settings)
    }

    /// Browsers keep a Secure cookie only from https, and a password does not belong on a network in the clear.
    fn is_safe(&self) -> Result<(), Cause> {
        if is_loopback(&self.listen) || self.tls.is_some() || self.public_url.starts_with("https://") {
            return Ok(());
        }
        Err(Cause::Insecure { listen: self.listen.clone() })
    }

    /// Where the database is.
    pub fn place(&self) -> Place {
        match &self.database_url {
            Some(url) => Place::Postgres(url.clone()),
            None => Place::in_folder(&self.data),
        }
    }

    /// The file of the key that seals secrets.
    pub fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data.join("hub.key"))
    }

    /// Makes the folder, for the hub's user alone.
    pub(crate) fn prepare(&self) -> Result<(), Cause> {
        folder::prepare(&self.data)?;
        match self.place() {
            Place::Sqlite(_) => folder::prepare_database(&self.data),
            Place::Copy(_) | Place::Postgres(_) => Ok(()),
        }
    }

    /// Waits until no other hub process has the folder. Those on one PostgreSQL hear of each other.
    pub(crate) async fn occupy(&self) -> Result<Option<Tenancy>, Cause> {
        match self.place() {
            Place::Sqlite(_) => Tenancy::take(&self.data).await.map(Some),
            Place::Copy(_) | Place::Postgres(_) => Ok(None),
        }
    }
}

fn wrong(name: &str, value: &str, why: impl Into<String>, cure: impl Into<String>) -> Cause {
    Cause::Setting { name: name.to_owned(), value: value.to_owned(), why: why.into(), cure: cure.into() }
}

/// Host and port.
fn address(name: &str, text: &str) -> Result<String, Cause> {
    let is_host = |host: &str| !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    let named =
        text.rsplit_once(':').filter(|(host, _)| is_host(host) && (!host.contains(':') || host.starts_with('[')));
    if text.parse::<SocketAddr>().is_ok() || named.is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        return Ok(text.to_owned());
    }
    Err(wrong(name, text, "is no HOST:PORT", "write it like 127.0.0.1:8080, or [::1]:8080"))
}

/// A name other than `localhost` may mean any address: it is none of the loopback's.
pub(crate) fn is_loopback(listen: &str) -> bool {
    match listen.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_canonical().is_loopback(),
        Err(_) => listen.rsplit_once(':').is_some_and(|(host, _)| host == "localhost"),
    }
}

fn public_url(text: &str, has_tls: bool) -> Result<String, Cause> {
    const NAME: &str = "HUB_PUBLIC_URL";
    let cure = "write scheme, host and port as browsers and agents use them, like https://hub.example.com";
    let url = reqwest::Url::parse(text).map_err(|error| wrong(NAME, text, format!("is no URL: {error}"), cure))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong(NAME, text, "is no http or https address", cure));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(NAME, "…", "holds more than an address", cure));
    }
    if url.path() != "/" {
        return Err(wrong(NAME, text, "has a path; the hub is at the root of its host", cure));
    }
    if has_tls && url.scheme() == "http" {
        return Err(wrong(NAME, text, "says http, and HUB_TLS_CERT says https", "write https:// in HUB_PUBLIC_URL"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The value is never shown: it may hold a password.
fn database(text: String) -> Result<String, Cause> {
    let refused =
        |why: &str| wrong("HUB_DATABASE_URL", "…", why, "write it like postgres://user:password@host:5432/hub");
    let url = reqwest::Url::parse(&text).map_err(|_no_url| refused("is no URL"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(refused("is not the address of a PostgreSQL server"));
    }
    if url.path().trim_start_matches('/').is_empty() {
        return Err(refused("names no database"));
    }
    Ok(text)
}

fn image(text: String) -> Result<String, Cause> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) || text.contains("://") {
        let cure = "write it as `docker pull` takes it: registry/name:tag or registry/name@sha256:digest";
        return Err(wrong("HUB_AGENT_IMAGE", &text, "is no image", cure));
    }
    Ok(text)
}

fn tls(certificate: Option<String>, key: Option<String>) -> Result<Option<TlsFiles>, Cause> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Ok(Some(TlsFiles { certificate: PathBuf::from(certificate), key: PathBuf::from(key) }))
        }
        (Some(certificate), None) => Err(wrong(
            "HUB_TLS_CERT",
            &certificate,
            "stands without HUB_TLS_KEY",
            "name the file of the certificate's private key in HUB_TLS_KEY",
        )),
        (None, Some(key)) => Err(wrong(
            "HUB_TLS_KEY",
            &key,
            "stands without HUB_TLS_CERT",
            "name the file of the certificate in HUB_TLS_CERT",
        )),
    }
}

fn networks(name: &str, text: Option<String>) -> Result<Networks, Cause> {
    let Some(text) = text else { return Ok(Networks::default()) };
    Networks::parse(&text).map_err(|part| {
        let cure = "write addresses and networks with commas between them, like 10.0.0.0/8,192.0.2.7";
        wrong(name, &part, "is neither an address nor a network", cure)
    })
}

fn smtp(url: Option<String>, from: Option<String>) -> Result<Option<Smtp>, Cause> {
    const FORM: &str =
        "write it like smtps://user:password@mail.example.com:465, or smtp://mail.example.com:587?tls=required";
    let (url, from) = match (url, from) {
        (None, None) => return Ok(None),
        (Some(url), Some(from)) => (url, from),
        (Some(_), None) => {
            let cure = "name the sender in HUB_SMTP_FROM, like Millrace <millrace@example.com>";
            return Err(wrong("HUB_SMTP_URL", "…", "stands without HUB_SMTP_FROM", cure));
        }
        (None, Some(from)) => return Err(wrong("HUB_SMTP_FROM", &from, "stands without HUB_SMTP_URL", FORM)),
    };
    let parsed = reqwest::Url::parse(&url).map_err(|_no_url| wrong("HUB_SMTP_URL", "…", "is no URL", FORM))?;
    let host = parsed.host_str().unwrap_or_default();
    if host.is_empty() || !matches!(parsed.scheme(), "smtp" | "smtps") {
        return Err(wrong("HUB_SMTP_URL", "…", "is not the address of a mail server", FORM));
    }
    let tls = parsed.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match (parsed.scheme(), tls.as_deref()) {
        ("smtps", None) | ("smtp", Some("required")) => {}
        ("smtp", None) if local => {}
        ("smtp", None | Some("opportunistic")) => {
            return Err(wrong("HUB_SMTP_URL", "…", "would send mail and password in the clear", FORM));
        }
        _ => return Err(wrong("HUB_SMTP_URL", "…", "has a `tls` that is not `required`", FORM)),
    }
    if from.parse::<lettre::message::Mailbox>().is_err() {
        let cure = "write it like Millrace <millrace@example.com>";
        return Err(wrong("HUB_SMTP_FROM", &from, "is no e-mail address", cure));
    }
    Ok(Some(Smtp { url, from }))
}

fn test_seconds(name: &str, text: Option<String>, default: Duration) -> Result<Duration, Cause> {
    let Some(text) = text else { return Ok(default) };
    let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds > 0);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| wrong(name, &text, "is no number of seconds", "write a whole number"))
}

#[cfg(test)]
mod tests {
    use millrace_model::Fault;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Fault> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::read(Given::default(), variable).map_err(Fault::from)
    }

    #[test]
    fn an_address_other_than_loopback_needs_tls_or_an_https_address_outside() {
        for listen in ["127.0.0.1:8080", "[::1]:8080", "localhost:8080", "127.9.9.9:1", "[::ffff:127.0.0.1]:80"] {
            assert!(read(&[("HUB_LISTEN", listen)]).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:8080", "[::]:8080", "10.1.2.3:80", "hub.internal:8080", "localhost.example.com:80"] {
            let refused = read(&[("HUB_LISTEN", listen)]).unwrap_err();
            assert_eq!((refused.code, refused.exit_code()), ("HB-007", 78), "{listen}");
            assert!(refused.cure.contains("HUB_TLS_CERT") && refused.cure.contains("HUB_PUBLIC_URL"));
            let https = ("HUB_PUBLIC_URL", "https://hub.example.com/");
            assert_eq!(read(&[("HUB_LISTEN", listen), https]).unwrap().public_url, "https://hub.example.com");
            let http = ("HUB_PUBLIC_URL", "http://hub.example.com");
            assert!(read(&[("HUB_LISTEN", listen), http]).is_err());
            let files = [("HUB_LISTEN", listen), ("HUB_TLS_CERT", "c.pem"), ("HUB_TLS_KEY", "k.pem")];
            assert!(read(&files).unwrap().public_url.starts_with("https://"));
        }
    }

    #[test]
    fn every_value_that_cannot_be_is_refused_by_its_name_with_a_cure_and_no_password_is_shown() {
        for (name, value) in [
            ("HUB_LISTEN", "8080"),
            ("HUB_LISTEN", "127.0.0.1:99999"),
            ("HUB_LISTEN", "::1:8080"),
            ("HUB_PUBLIC_URL", "hub.example.com"),
            ("HUB_PUBLIC_URL", "ftp://hub.example.com"),
            ("HUB_PUBLIC_URL", "https://hub.example.com/millrace"),
            ("HUB_PUBLIC_URL", "https://ann:hidden@hub.example.com"),
            ("HUB_DATABASE_URL", "mysql://root:hidden@db/hub"),
            ("HUB_DATABASE_URL", "postgres://root:hidden@db"),
            ("HUB_DATABASE_URL", "hub.sqlite"),
            ("HUB_METRICS_LISTEN", "9464"),
            ("HUB_TLS_CERT", "cert.pem"),
            ("HUB_TLS_KEY", "key.pem"),
            ("HUB_TRUSTED_PROXIES", "10.0.0.0/33"),
            ("HUB_TRUSTED_PROXIES", "proxy.internal"),
            ("HUB_WEBHOOK_ALLOW", "10.0.0.0/8, everything"),
            ("HUB_ISSUER_ALLOW", "cluster.internal"),
            ("HUB_SMTP_URL", "smtps://ann:hidden@mail.example.com"),
            ("HUB_SMTP_FROM", "ann@example.com"),
            ("HUB_AGENT_IMAGE", "docker://millrace"),
            ("HUB_AGENT_IMAGE", "a b"),
            ("HUB_TEST_LEASE_SECONDS", "soon"),
        ] {
            let refused = read(&[(name, value)]).unwrap_err();
            assert_eq!((refused.code, refused.exit_code()), ("HB-001", 78), "{name}={value}");
            assert!(refused.message.contains(name) && !refused.cure.is_empty(), "{refused:?}");
            assert!(!refused.message.contains("hidden") && !refused.cure.contains("hidden"), "{refused:?}");
        }
        let from = ("HUB_SMTP_FROM", "Millrace <millrace@example.com>");
        for url in
            ["smtp://mail.example.com", "smtp://mail.example.com?tls=opportunistic", "https://x", "smtps://x?tls=no"]
        {
            assert!(read(&[("HUB_SMTP_URL", url), from]).is_err(), "{url}");
        }
        for url in ["smtps://a:b@mail.example.com:465", "smtp://mail.example.com?tls=required", "smtp://127.0.0.1:25"] {
            assert!(read(&[("HUB_SMTP_URL", url), from]).is_ok(), "{url}");
        }
        assert!(read(&[("HUB_SMTP_URL", "smtp://127.0.0.1"), ("HUB_SMTP_FROM", "ann")]).is_err());
        let both = [("HUB_TLS_CERT", "c"), ("HUB_TLS_KEY", "k"), ("HUB_PUBLIC_URL", "http://hub.example.com")];
        assert!(read(&both).unwrap_err().message.contains("HUB_TLS_CERT"));
    }
}
