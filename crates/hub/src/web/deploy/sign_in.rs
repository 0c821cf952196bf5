//! What an agent's process signs in with, as far as the way to start it depends on that: a key before a trust rule before a secret.

use crate::auth::trust::{Means, Rule};
use crate::db::trust::Trust;

/// What it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// Its client secret.
    Secret,
    /// An assertion that it signs with its own key.
    Key,
    /// A token that the platform writes into a file.
    Token {
        audience: String,
        /// Namespace and name of the service account that it is of, in Kubernetes.
        account: Option<(String, String)>,
    },
    /// A token that it asks its platform for: the platform's word, and the audience where that is not the hub.
    Identity { platform: &'static str, audience: Option<String> },
}

impl SignIn {
    /// Of an agent that has all of this beside its secrets. `hub`: the hub's address.
    pub(crate) fn of(trust: &[Trust], hub: &str) -> Self {
        let rule = |one: &Trust| if let Means::Rule(rule) = &one.means { Some(Self::by_rule(rule, hub)) } else { None };
        if trust.iter().any(|one| matches!(one.means, Means::Key(_))) {
            return Self::Key;
        }
        trust.iter().find_map(rule).unwrap_or(Self::Secret)
    }

    fn by_rule(rule: &Rule, hub: &str) -> Self {
        let audience = plain(&rule.audience, "AUDIENCE");
        let platform = match rule.issuer.as_str() {
            "https://accounts.google.com" => "google",
            issuer if issuer.starts_with("https://sts.windows.net/") => "azure",
            _ if rule.subject.starts_with("arn:aws") => "aws",
            _ => {
                let account = rule.subject.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
                let account = account.map(|(space, name)| (plain(space, "NAMESPACE"), plain(name, "SERVICE_ACCOUNT")));
                return Self::Token { audience, account };
            }
        };
        Self::Identity { platform, audience: (rule.audience != hub).then_some(audience) }
    }

    /// Its word, for pages.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Key => "key",
            Self::Token { .. } => "token",
            Self::Identity { .. } => "identity",
        }
    }

    /// The variables that are known whole.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let Self::Identity { platform, audience } = self else { return Vec::new() };
        let audience = audience.iter().map(|audience| ("OAUTH_WORKLOAD_AUDIENCE", audience.clone()));
        [("OAUTH_WORKLOAD_IDENTITY", (*platform).to_owned())].into_iter().chain(audience).collect()
    }

    /// The variable that names a file, and that file as these blocks call it.
    pub(super) fn file(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Secret => Some(("OAUTH_CLIENT_SECRET_FILE", "agent-secret")),
            Self::Key => Some(("OAUTH_CLIENT_KEY_FILE", "agent-key.pem")),
            Self::Token { .. } => Some((TOKEN_FILE, "TOKEN_FILE")),
            Self::Identity { .. } => None,
        }
    }
}

/// Where a platform's token is.
pub(super) const TOKEN_FILE: &str = "OAUTH_WORKLOAD_TOKEN_FILE";

/// A text of a rule as it may stand in commands that somebody copies; what a shell or a file could read otherwise is left to them.
fn plain(text: &str, instead: &str) -> String {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '.' | '_' | '-'));
    if is_plain { text.to_owned() } else { instead.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(issuer: &str, audience: &str, subject: &str) -> SignIn {
        let [issuer, audience, subject] = [issuer, audience, subject].map(str::to_owned);
        SignIn::by_rule(&Rule { issuer, audience, subject, claims: BTreeMap::new() }, "https://hub")
    }

    #[test]
    fn a_rule_says_what_the_process_shows() {
        let aws = of("https://id.tokens.sts.global.api.aws", "https://hub", "arn:aws:iam::1:role/lake");
        assert_eq!(aws, SignIn::Identity { platform: "aws", audience: None });
        let azure = of("https://sts.windows.net/t/", "api://app", "0d3f");
        assert_eq!(azure, SignIn::Identity { platform: "azure", audience: Some("api://app".into()) });
        let google = of("https://accounts.google.com", "https://hub", "12");
        assert_eq!(google.variables(), [("OAUTH_WORKLOAD_IDENTITY", "google".to_owned())]);
        let pod = of("https://oidc", "https://hub", "system:serviceaccount:lake:agent");
        let account = Some(("lake".to_owned(), "agent".to_owned()));
        assert_eq!(pod, SignIn::Token { audience: "https://hub".into(), account });
    }

    #[test]
    fn nothing_of_a_rule_stands_in_a_command_that_a_shell_would_read_otherwise() {
        let odd = of("https://oidc", "a\"; rm -rf /; \"", "system:serviceaccount:$(id):x y");
        let account = Some(("NAMESPACE".to_owned(), "SERVICE_ACCOUNT".to_owned()));
        assert_eq!(odd, SignIn::Token { audience: "AUDIENCE".into(), account });
    }
}
