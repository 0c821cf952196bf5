//! Addresses of objects, as the services want them: a service's name for its own root, and names in it, encoded.

use millrace_identity::encoded;
use millrace_model::Fault;
use reqwest::Url;

use super::unfit;

/// The place of a service: `https://host:port/path`.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) scheme: String,
    /// With its port, where that is not the usual one.
    pub(crate) host: String,
    /// Without a slash at the end.
    pub(crate) path: String,
}

impl Endpoint {
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let url = Url::parse(text).map_err(|error| unfit(format!("the endpoint `{text}` is no URL: {error}")))?;
        let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) else {
            return Err(unfit(format!("the endpoint `{text}` is no URL with http or https")));
        };
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { scheme: url.scheme().to_owned(), host, path: url.path().trim_end_matches('/').to_owned() })
    }

    /// Without the path.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }
}

/// The origin of a host that was put together of names; an error where a URL of it would lead to another one.
pub(crate) fn whole_origin(scheme: &str, host: &str) -> Result<String, Fault> {
    let origin = format!("{scheme}://{host}");
    let read = Endpoint::parse(&origin)?;
    if read.path.is_empty() && read.host.eq_ignore_ascii_case(host) {
        return Ok(origin);
    }
    Err(unfit(format!("`{host}` is no host: a name in it holds what no name can")))
}

/// A name of several parts: its slashes stay. A `%` is encoded too: names in a lake hold `%XX`, and mean it.
pub(crate) fn path(name: &str) -> String {
    name.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

/// A query in the one form that is signed: encoded and sorted.
pub(crate) fn query(parts: &[(&str, &str)]) -> String {
    let mut parts: Vec<String> =
        parts.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    parts.sort_unstable();
    parts.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_in_a_name_is_a_percent_sign() {
        assert_eq!(path("a/%5Fx ~"), "a/%255Fx%20~");
        assert_eq!(query(&[("prefix", "a/b"), ("delimiter", "/")]), "delimiter=%2F&prefix=a%2Fb");
    }

    #[test]
    fn an_endpoint_keeps_its_port_and_its_path() {
        let endpoint = Endpoint::parse("http://127.0.0.1:10000/account/").unwrap();
        assert_eq!((endpoint.origin().as_str(), endpoint.path.as_str()), ("http://127.0.0.1:10000", "/account"));
        assert!(Endpoint::parse("s3://bucket").is_err() && Endpoint::parse("lake").is_err());
    }
}
