//! Where a target lies, as far as a policy cares: the host that requests go to, whose host that is, and how a container is
//! written down.

use millrace_protocol::{AbsSpec, StoreSpec};
use reqwest::Url;

use super::matches;

/// The host that requests of a store go to.
pub(super) struct Place<'a> {
    store: &'a StoreSpec,
    endpoint: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub(super) fn of(store: &'a StoreSpec) -> Self {
        let endpoint = match store {
            StoreSpec::Local { .. } => None,
            StoreSpec::S3(s3) => s3.endpoint.as_deref(),
            StoreSpec::Abs(abs) => abs.endpoint.as_deref(),
            StoreSpec::Gcs(gcs) => gcs.endpoint.as_deref(),
        };
        Self { store, endpoint }
    }

    /// The host; empty for a folder.
    pub(super) fn host(&self) -> String {
        match self.endpoint {
            Some(url) => host_of(url),
            None => self.usual(),
        }
    }

    /// The host of an endpoint that is written down, unless it is the cloud's own anyway.
    pub(super) fn foreign_host(&self) -> Option<String> {
        let host = host_of(self.endpoint?);
        (!self.is_own(&host)).then_some(host)
    }

    /// Whether requests go to the cloud itself and to nobody's account there.
    pub(super) fn is_the_clouds_own(&self) -> bool {
        !matches!(self.store, StoreSpec::Abs(_)) && self.is_own(&self.host())
    }

    /// Whose identity requests carry.
    pub(super) fn platform(&self) -> Option<&'static str> {
        match self.store {
            StoreSpec::Local { .. } => None,
            StoreSpec::S3(_) => Some("aws"),
            StoreSpec::Abs(_) => Some("azure"),
            StoreSpec::Gcs(_) => Some("google"),
        }
    }

    /// Where the store is without an endpoint. The regions of S3 are one place here.
    fn usual(&self) -> String {
        match self.store {
            StoreSpec::Local { .. } => String::new(),
            StoreSpec::S3(_) => "s3.amazonaws.com".to_owned(),
            StoreSpec::Abs(abs) => format!("{}.blob.core.windows.net", abs.account_name.to_lowercase()),
            StoreSpec::Gcs(_) => "storage.googleapis.com".to_owned(),
        }
    }

    /// Whether the host is the cloud's own. Exactly: below a cloud's domain its customers have hosts too.
    fn is_own(&self, host: &str) -> bool {
        match self.store {
            StoreSpec::Local { .. } => false,
            StoreSpec::Abs(_) | StoreSpec::Gcs(_) => host == self.usual(),
            StoreSpec::S3(_) => is_of_s3(host),
        }
    }
}

/// `s3.eu-west-1.amazonaws.com` and its kin: with FIPS, with IPv6, in China.
fn is_of_s3(host: &str) -> bool {
    let Some(rest) = host.strip_suffix(".cn").unwrap_or(host).strip_suffix(".amazonaws.com") else { return false };
    match rest.split('.').collect::<Vec<_>>()[..] {
        ["s3" | "s3-fips"] => true,
        ["s3" | "s3-fips", region] | ["s3" | "s3-fips", "dualstack", region] => is_region(region),
        _ => false,
    }
}

/// `eu-west-1`, `us-gov-east-1`.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [words @ .., number] = &parts[..] else { return false };
    words.len() >= 2
        && number.len() == 1
        && number.bytes().all(|digit| digit.is_ascii_digit())
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|letter| letter.is_ascii_lowercase()))
}

/// The host of a URL. A text that has none is refused later; until then it is its own host.
fn host_of(url: &str) -> String {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.map_or_else(|| url.to_owned(), |host| host.trim_matches(['[', ']']).to_lowercase())
}

/// The host of a storage account.
pub(super) fn abs_host(abs: &AbsSpec) -> String {
    let account = abs.account_name.to_lowercase();
    // Behind an endpoint the account stands in the path.
    abs.endpoint
        .as_deref()
        .map_or_else(|| format!("{account}.blob.core.windows.net"), |url| format!("{}/{account}", host_of(url)))
}

/// Whether a list covers the container: as `account/container`, or alone, which is that of the account that was first written
/// to. Where one line gives it an account, it does not count alone.
pub(super) fn covers(list: &[String], abs: &AbsSpec) -> bool {
    let of_account = |pattern: &str| {
        let parts = pattern.split_once('/').filter(|(account, _)| !account.is_empty());
        parts.is_some_and(|(_, container)| matches(container, &abs.container))
    };
    let alone = |pattern: &str| !pattern.contains('/') && matches(pattern, &abs.container);
    list.iter().any(|pattern| names(pattern, abs))
        || (list.iter().any(|pattern| alone(pattern)) && !list.iter().any(|pattern| of_account(pattern)))
}

/// Whether a pattern covers the container together with its account. `*` alone is everything.
pub(super) fn names(pattern: &str, abs: &AbsSpec) -> bool {
    match pattern.split_once('/') {
        // A star does not reach from the one into the other.
        Some((account, container)) => matches(account, &abs.account_name) && matches(container, &abs.container),
        None => pattern == "*",
    }
}

/// Whether a path or a name has a `..` among its pieces.
pub(super) fn steps_upwards(path: &str) -> bool {
    path.split('/').any(|piece| piece == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_clouds_own_hosts_are_its_own() {
        for host in [
            "s3.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
            "s3.dualstack.us-gov-east-1.amazonaws.com",
            "s3-fips.us-east-2.amazonaws.com",
            "s3.cn-north-1.amazonaws.com.cn",
        ] {
            assert!(is_of_s3(host), "{host}");
        }
        for host in [
            "ec2-1-2-3-4.compute.amazonaws.com",
            "evil.s3.amazonaws.com",
            "s3.evil.amazonaws.com",
            "s3.elb.amazonaws.com",
            "s3.eu-west-1.amazonaws.com.evil.example",
            "s3.eu-west-1.amazonaws.org",
            "amazonaws.com",
        ] {
            assert!(!is_of_s3(host), "{host}");
        }
    }
}
