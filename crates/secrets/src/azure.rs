//! Azure Key Vault: `GET /secrets/NAME/VERSION`.
//!
//! `NAME` or `NAME/VERSION` in `DEFAULT_KEYVAULT`, or the secret's identifier, an address. What token a vault wants, it says
//! itself in answer to a request without one; it is given one of Key Vault only, whatever it asks for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use millrace_identity::{Answer, SecretText, Surroundings, Token, TokenIdentity, send};
use millrace_model::Fault;
use reqwest::{Method, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::fault::Cause;

const SERVICE: &str = "Azure Key Vault";
const VERSION: &str = "7.4";
/// Domains of vaults, in all of Azure's clouds. A reference leads to no other host.
const DOMAINS: [&str; 3] = [".vault.azure.net", ".vault.azure.cn", ".vault.usgovcloudapi.net"];

/// The client.
pub(crate) struct AzureStore {
    around: Surroundings,
    identity: Arc<dyn TokenIdentity>,
    /// The scope of each vault, and the tenant that it belongs to.
    challenges: Mutex<HashMap<String, Challenge>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Challenge {
    scope: String,
    tenant: String,
}

#[derive(Deserialize)]
struct Secret {
    value: SecretText,
}

#[derive(Default, Deserialize)]
struct Refused {
    error: Said,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    innererror: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    code: String,
}

/// A reference, taken apart.
struct Place {
    vault: Url,
    name: String,
    version: String,
}

impl AzureStore {
    pub(crate) fn new(around: &Surroundings, identity: Arc<dyn TokenIdentity>) -> Self {
        Self { around: around.clone(), identity, challenges: Mutex::default() }
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Zeroizing<String>, Fault> {
        let place = self.place(name)?;
        let address = place.address();
        let mut is_new = false;
        loop {
            let challenge = self.challenge(name, &place).await?;
            let token = self.identity.token(&challenge.scope).await?;
            let answer = self.ask(name, &address, Some(&token)).await?;
            match answer.status {
                200 => {
                    let what = "it has no value";
                    let not_understood = || Cause::Answer { service: SERVICE, name: name.to_owned(), what };
                    return Ok(answer.json::<Secret>().ok_or_else(not_understood)?.value.into());
                }
                401 if !is_new => {
                    self.identity.forget(&challenge.scope, &token);
                    self.challenges().remove(place.host());
                    is_new = true;
                }
                401 => {
                    let said = answer.json::<Refused>().unwrap_or_default().error.message;
                    let said = format!("{said} (the vault is of the tenant {})", challenge.tenant);
                    let identity = token.from.clone();
                    return Err(Cause::Identity { service: SERVICE, name: name.to_owned(), identity, said }.into());
                }
                status => {
                    let said = answer.json::<Refused>().unwrap_or_default().error;
                    return Err(cause(status, said, name, &place, &token).into());
                }
            }
        }
    }

    async fn ask(&self, name: &str, address: &str, token: Option<&Token>) -> Result<Answer, Cause> {
        let unanswered = |said: String| Cause::Unanswered { service: SERVICE, name: name.to_owned(), said };
        let request = self.around.http().request(Method::GET, address);
        let request = token
            .map_or_else(|| request.try_clone(), |token| Some(request.try_clone()?.bearer_auth(token.value.reveal())));
        let request = request.ok_or_else(|| unanswered("the request cannot be repeated".into()))?;
        let answer = send(request).await.map_err(unanswered)?;
        if answer.is_passing() { Err(unanswered(format!("status {}", answer.status))) } else { Ok(answer) }
    }

    /// What token the vault wants.
    async fn challenge(&self, name: &str, place: &Place) -> Result<Challenge, Cause> {
        if let Some(known) = self.challenges().get(place.host()) {
            return Ok(known.clone());
        }
        let answer = self.ask(name, &place.address(), None).await?;
        let asked = answer.header("www-authenticate").and_then(challenge);
        let what = "it does not say which token it wants";
        let asked = asked.ok_or_else(|| Cause::Answer { service: SERVICE, name: name.to_owned(), what })?;
        if !is_of(&asked.scope, &place.vault) {
            let said = format!("it asks for a token of `{}`, which is not that of its own domain", asked.scope);
            return Err(Cause::Refused { service: SERVICE, name: name.to_owned(), said });
        }
        self.challenges().insert(place.host().to_owned(), asked.clone());
        Ok(asked)
    }

    fn challenges(&self) -> std::sync::MutexGuard<'_, HashMap<String, Challenge>> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, reference: &str) -> Result<Place, Cause> {
        let refused = |reason: &str, cure: &str| Cause::Reference {
            name: reference.to_owned(),
            reason: reason.to_owned(),
            cure: cure.to_owned(),
        };
        let usual = "write `NAME` or `NAME/VERSION`, or the secret's identifier, for example \
                     https://VAULT.vault.azure.net/secrets/NAME";
        let set = "set DEFAULT_KEYVAULT to the vault's name or address, or write the secret's identifier";
        let default = self.around.variable("DEFAULT_KEYVAULT");
        let default = default.map(|it| vault(&it).ok_or_else(|| refused("DEFAULT_KEYVAULT names no vault", set)));
        let default = default.transpose()?;
        let is_address = reference.contains("://");
        let (vault, path) = if is_address {
            let url = Url::parse(reference).map_err(|_error| refused("it is no address", usual))?;
            let host = url.host_str().unwrap_or_default();
            let is_ours =
                url.scheme() == "https" && url.port().is_none() && DOMAINS.iter().any(|it| host.ends_with(it));
            let is_default = default.as_ref().is_some_and(|it| it.origin() == url.origin());
            if !is_ours && !is_default {
                return Err(refused("it leads to a host that is no key vault", usual));
            }
            let path =
                url.path().strip_prefix("/secrets/").ok_or_else(|| refused("it is no secret's", usual))?.to_owned();
            (url, path)
        } else {
            (default.ok_or_else(|| refused("the vault is not known", set))?, reference.to_owned())
        };
        let (name, version) = path.split_once('/').map_or((path.as_str(), ""), |(name, version)| (name, version));
        let is_good = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if name.is_empty() || !is_good(name) || !is_good(version) {
            return Err(refused("it is no name of a secret", usual));
        }
        Ok(Place { name: name.to_owned(), version: version.to_owned(), vault })
    }
}

impl Place {
    fn host(&self) -> &str {
        self.vault.host_str().unwrap_or_default()
    }

    fn address(&self) -> String {
        let origin = self.vault.origin().ascii_serialization();
        let version = if self.version.is_empty() { String::new() } else { format!("/{}", self.version) };
        format!("{origin}/secrets/{}{version}?api-version={VERSION}", self.name)
    }

    /// Its name, as the command line of Azure wants it.
    fn vault_name(&self) -> &str {
        self.host().split('.').next().unwrap_or_default()
    }
}

/// A name or an address.
fn vault(text: &str) -> Option<Url> {
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let address = if is_name { format!("https://{text}.vault.azure.net") } else { text.to_owned() };
    Url::parse(&address).ok().filter(|url| url.host_str().is_some() && matches!(url.scheme(), "https" | "http"))
}

/// `Bearer authorization="https://login…/TENANT", resource="https://vault.azure.net"` (or `scope`).
fn challenge(header: &str) -> Option<Challenge> {
    let rest = header.strip_prefix("Bearer ")?;
    let fields: HashMap<&str, &str> = rest
        .split([',', ' '])
        .filter_map(|field| field.trim().split_once('='))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect();
    let scope = match (fields.get("scope"), fields.get("resource")) {
        (Some(scope), _) => (*scope).to_owned(),
        (None, Some(resource)) => format!("{}/.default", resource.trim_end_matches('/')),
        (None, None) => return None,
    };
    let authority = fields.get("authorization").or_else(|| fields.get("authorization_uri"))?;
    let tenant = authority.trim_end_matches('/').rsplit('/').next()?.to_owned();
    Some(Challenge { scope, tenant })
}

/// Whether a scope is that of the domain that the vault lies in; otherwise a strange host could ask for a token of
/// another service. On this machine anything goes: it is a fake.
fn is_of(scope: &str, vault: &Url) -> bool {
    let host = vault.host_str().unwrap_or_default();
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    let domain = Url::parse(resource).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    matches!(host, "127.0.0.1" | "localhost") || (!domain.is_empty() && host.ends_with(&format!(".{domain}")))
}

fn cause(status: u16, said: Said, reference: &str, place: &Place, token: &Token) -> Cause {
    let name = reference.to_owned();
    let inner = said.innererror.map(|inner| inner.code).unwrap_or_default();
    let vault = place.vault_name();
    let denied = |permission: &str, cure: String| Cause::Denied {
        name: name.clone(),
        identity: token.from.clone(),
        permission: permission.to_owned(),
        said: said.message.lines().next().unwrap_or_default().to_owned(),
        cure,
    };
    match (status, inner.as_str()) {
        (403, "ForbiddenByRbac") => denied(
            "Microsoft.KeyVault/vaults/secrets/getSecret/action",
            format!(
                "grant it the role on this one secret: `az role assignment create --role \"Key Vault Secrets User\" \
                 --assignee PRINCIPAL --scope $(az keyvault show --name {vault} --query id -o tsv)/secrets/{}`",
                place.name
            ),
        ),
        (403, "SecretDisabled") => Cause::Unusable {
            name,
            said: said.message,
            cure: format!(
                "enable it: `az keyvault secret set-attributes --vault-name {vault} --name {} --enabled true`",
                place.name
            ),
        },
        (403, "ForbiddenByFirewall" | "ForbiddenByConnection") => {
            denied("to reach the vault through its firewall", format!("let the network of the agent into the vault: `az keyvault network-rule add --name {vault} …`"))
        }
        (403, _) => denied(
            "`get` on secrets of the vault's access policy",
            format!("add it: `az keyvault set-policy --name {vault} --object-id PRINCIPAL --secret-permissions get`"),
        ),
        (404, _) => Cause::Missing {
            name,
            place: format!("{SERVICE} ({})", place.host()),
            said: said.message,
            cure: "correct `secretName` or DEFAULT_KEYVAULT, or make the secret (or the version); a deleted one comes back \
                   with `az keyvault secret recover`"
                .into(),
        },
        _ => Cause::Refused { service: SERVICE, name, said: format!("{}: {}", said.code, said.message) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_says_which_token_it_wants_and_gets_only_that_of_its_own_domain() {
        let header =
            "Bearer authorization=\"https://login.microsoftonline.com/tenant-1\", resource=\"https://vault.azure.net\"";
        let asked = challenge(header).unwrap();
        let expected = Challenge { scope: "https://vault.azure.net/.default".into(), tenant: "tenant-1".into() };
        assert_eq!(asked, expected);
        assert_eq!(challenge("Basic realm=\"x\""), None);
        let url = |text: &str| Url::parse(text).unwrap();
        assert!(is_of(&asked.scope, &url("https://a.vault.azure.net")));
        assert!(!is_of("https://management.azure.com/.default", &url("https://a.vault.azure.net")));
        assert!(!is_of(&asked.scope, &url("https://evilvault.azure.net")));
    }
}
