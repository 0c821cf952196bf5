//! The HTTP client of identities, secret services and object stores: bounded answers, no redirects, nothing printed.
//!
//! Metadata services lie beside the process and are asked without a proxy, which would answer in their place.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use millrace_model::{Fault, Timestamp};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::fault::Cause;
use crate::time::http_date;

/// A service that takes longer to accept a connection is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// A metadata service answers within milliseconds or is not there at all.
const CONNECT_BESIDE: Duration = Duration::from_secs(1);
/// Longest time for a whole answer, where a request says nothing else.
const PATIENCE: Duration = Duration::from_secs(15);
/// Services close connections after a while of silence; ours go before.
const IDLE: Duration = Duration::from_secs(15);
/// No token and no secret is larger (a secret has at most 64 KiB with the clouds, 1 MiB with Vault).
const LARGEST: usize = 4 << 20;

/// Whether an address leads to this machine alone, so that nobody can read on the way what is sent there.
pub fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// The client of a process: services outside, stores among them, and those beside it.
#[derive(Clone)]
pub struct Http {
    outside: Client,
    beside: Client,
}

/// An answer, whatever its status is. Its body may be a secret: it is overwritten when dropped, and never shown.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

impl Http {
    /// Trusts what the machine trusts, and the certificates of these PEM files.
    pub(crate) fn new(certificates: &[PathBuf]) -> Result<Self, Fault> {
        // The client is built without one of its own; whoever else needs it in this process sets the same.
        let _set_already = rustls::crypto::ring::default_provider().install_default();
        let mut trusted = Vec::new();
        for path in certificates {
            let wrong = |reason: String| Cause::Certificates { path: path.clone(), reason };
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            trusted.extend(Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?);
        }
        let client = |connect, is_beside: bool| {
            let mut builder = Client::builder()
                .connect_timeout(connect)
                .timeout(PATIENCE)
                .pool_idle_timeout(IDLE)
                // A redirect would carry a token to somewhere else.
                .redirect(Policy::none())
                .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")));
            if is_beside {
                builder = builder.no_proxy();
            }
            let builder = trusted.iter().fold(builder, |builder, one| builder.add_root_certificate(one.clone()));
            builder.build().map_err(|error| Fault::from(Cause::NoClient(words(error))))
        };
        Ok(Self { outside: client(CONNECT, false)?, beside: client(CONNECT_BESIDE, true)? })
    }

    /// A request to a service outside, by way of the proxy of the environment where there is one.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.outside.request(method, url)
    }

    /// A request to a service of the platform that lies beside the process.
    pub(crate) fn beside(&self, method: Method, url: &str) -> RequestBuilder {
        self.beside.request(method, url)
    }
}

/// Sends it. The error says in words why there was no answer.
pub async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let response = request.send().await.map_err(words)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: body(response, LARGEST).await? })
}

/// The body of an answer, if it has at most so many bytes. Overwritten when dropped.
pub async fn body(mut response: Response, largest: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut body = Zeroizing::new(Vec::with_capacity(8 << 10));
    while let Some(piece) = response.chunk().await.map_err(words)? {
        if body.len() + piece.len() > largest {
            return Err(format!("its answer has more than {largest} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// A header that the client does not show.
pub fn hidden(value: &str) -> HeaderValue {
    // A token with other characters than a header can have is no token; the service will refuse the empty one.
    let mut header = HeaderValue::from_str(value).unwrap_or_else(|_not_visible| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

impl Answer {
    /// Whether it is a good one.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it may be another one later.
    pub fn is_passing(&self) -> bool {
        self.status >= 500 || self.status == 429 || self.status == 408
    }

    /// What it holds. The parser's own words are left out: they may quote a secret.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// When the server says that it is.
    pub fn date(&self) -> Option<Timestamp> {
        http_date(self.header("date")?)
    }
}

/// An error of the client in words, without the address.
pub fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(beneath) = cause {
        text += &format!(": {beneath}");
        cause = beneath.source();
    }
    text
}
