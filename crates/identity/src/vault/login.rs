//! How this process signs in to Vault: with a token that is there, an AppRole, or the pod's service account.

use std::path::PathBuf;

use millrace_model::SecretValue;
use serde_json::json;
use zeroize::Zeroizing;

use crate::fault::Cause;
use crate::surroundings::Surroundings;
use crate::vault::{Server, VaultToken};

/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// One way.
pub(crate) enum Login {
    /// `VAULT_TOKEN`.
    Token(SecretValue),
    /// `VAULT_TOKEN_FILE` or `~/.vault-token`, read anew each time: an agent of Vault may keep it fresh.
    File(PathBuf),
    /// `VAULT_ROLE_ID` with `VAULT_SECRET_ID` or `VAULT_SECRET_ID_FILE`.
    AppRole { mount: String, role: String, secret: Option<Held> },
    /// `VAULT_KUBERNETES_ROLE`.
    Kubernetes { mount: String, role: String, token: PathBuf },
}

/// A value, or the file that it is in.
pub(crate) enum Held {
    Value(SecretValue),
    File(PathBuf),
}

impl Login {
    /// The one that is set up here; the first of a token, an AppRole, a role of Kubernetes, and the file of `vault login`.
    pub(crate) fn of(around: &Surroundings) -> Result<Self, Cause> {
        let set = |name: &str| around.variable(name);
        let mount = |usual: &str| set("VAULT_AUTH_MOUNT").unwrap_or_else(|| usual.to_owned());
        if let Some(token) = set("VAULT_TOKEN") {
            return Ok(Self::Token(SecretValue::new(token)));
        }
        if let Some(file) = set("VAULT_TOKEN_FILE") {
            return Ok(Self::File(file.into()));
        }
        if let Some(role) = set("VAULT_ROLE_ID") {
            let secret = set("VAULT_SECRET_ID").map(|value| Held::Value(SecretValue::new(value)));
            let secret = secret.or_else(|| set("VAULT_SECRET_ID_FILE").map(|file| Held::File(file.into())));
            return Ok(Self::AppRole { mount: mount("approle"), role, secret });
        }
        if let Some(role) = set("VAULT_KUBERNETES_ROLE") {
            let token = set("VAULT_KUBERNETES_TOKEN_FILE").unwrap_or_else(|| SERVICE_ACCOUNT.to_owned()).into();
            return Ok(Self::Kubernetes { mount: mount("kubernetes"), role, token });
        }
        let left = around.in_home(".vault-token").filter(|file| file.is_file());
        left.map(Self::File).ok_or_else(|| Cause::None {
            cloud: "HashiCorp Vault",
            steps: ["VAULT_TOKEN", "VAULT_TOKEN_FILE", "VAULT_ROLE_ID", "VAULT_KUBERNETES_ROLE"]
                .iter()
                .map(|name| format!("{name} is not set"))
                .chain(["there is no ~/.vault-token".to_owned()])
                .collect(),
            cure: "set one of them; in a pod VAULT_KUBERNETES_ROLE needs nothing secret".into(),
        })
    }

    /// A token.
    pub(crate) async fn obtain(&self, server: &Server) -> Result<VaultToken, Cause> {
        match self {
            Self::Token(value) => standing(server, value.clone()).await,
            Self::File(file) => standing(server, SecretValue::new(read(file)?.trim())).await,
            Self::AppRole { mount, role, secret } => {
                let secret = match secret {
                    None => None,
                    Some(Held::Value(value)) => Some(Zeroizing::new(value.reveal().to_owned())),
                    Some(Held::File(file)) => Some(read(file)?),
                };
                let mut body = json!({"role_id": role});
                if let (Some(secret), Some(fields)) = (secret, body.as_object_mut()) {
                    fields.insert("secret_id".into(), secret.trim().into());
                }
                server.sign_in(mount, &body).await
            }
            Self::Kubernetes { mount, role, token } => {
                server.sign_in(mount, &json!({"role": role, "jwt": read(token)?.trim()})).await
            }
        }
    }

    /// The identity, for people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Token(_) => "the Vault token of VAULT_TOKEN".into(),
            Self::File(file) => format!("the Vault token in `{}`", file.display()),
            Self::AppRole { mount, role, .. } => format!("the AppRole {role} of VAULT_ROLE_ID at auth/{mount}"),
            Self::Kubernetes { mount, role, .. } => {
                format!("the Vault role {role} of VAULT_KUBERNETES_ROLE at auth/{mount}")
            }
        }
    }

    /// What helps where Vault refuses it.
    pub(crate) fn cure(&self) -> String {
        match self {
            Self::Token(_) | Self::File(_) => {
                "give a token that has not ended: `vault token lookup` says; or use VAULT_ROLE_ID or VAULT_KUBERNETES_ROLE"
                    .into()
            }
            Self::AppRole { mount, .. } => format!(
                "check that the role is there (`vault list auth/{mount}/role`) and give it a secret id that has not ended"
            ),
            Self::Kubernetes { mount, role, .. } => format!(
                "check `vault read auth/{mount}/role/{role}`: its bound_service_account_names, \
                 bound_service_account_namespaces and audience must be this pod's"
            ),
        }
    }
}

/// A token that is there already: Vault says how long it lives.
async fn standing(server: &Server, value: SecretValue) -> Result<VaultToken, Cause> {
    match server.look_up(&value).await? {
        Some(held) => Ok(VaultToken {
            value,
            expires: server.end(held.ttl),
            is_renewable: held.renewable,
            policies: held.policies,
        }),
        None => {
            let (identity, said) = (String::new(), "permission denied: Vault does not know it".to_owned());
            Err(Cause::Refused { identity, said, cure: String::new() })
        }
    }
}

fn read(file: &PathBuf) -> Result<Zeroizing<String>, Cause> {
    std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| Cause::Wrong {
        place: format!("the file `{}`", file.display()),
        reason: error.to_string(),
        cure: "let the user that millrace runs as read it".into(),
    })
}
