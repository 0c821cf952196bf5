//! HashiCorp Vault's key/value store, of version 1 and 2.
//!
//! `MOUNT/PATH`, as the `vault kv` commands write it; behind it `?version=…` for an older version. Which version of the
//! store it is, and how long the mount's name is, Vault says itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use millrace_identity::{Answer, VaultClient, VaultRead};
use millrace_model::Fault;
use serde::Deserialize;

use crate::fault::Cause;
use crate::object::Object;

const SERVICE: &str = "HashiCorp Vault";

/// The client.
pub(crate) struct VaultStore {
    client: VaultClient,
    /// What Vault said of the mount of a path.
    mounts: Mutex<HashMap<String, Mount>>,
}

/// Where a path's store is mounted.
#[derive(Clone, Debug)]
struct Mount {
    pieces: usize,
    is_versioned: bool,
}

#[derive(Deserialize)]
struct Wrapped<T> {
    data: Option<T>,
}

#[derive(Deserialize)]
struct Said {
    path: String,
    options: Option<HashMap<String, String>>,
    #[serde(rename = "type", default)]
    kind: String,
}

/// What a store of version 2 says.
#[derive(Deserialize)]
struct Version {
    data: Option<Object>,
    #[serde(default)]
    metadata: About,
}

#[derive(Default, Deserialize)]
struct About {
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl VaultStore {
    pub(crate) fn new(client: VaultClient) -> Self {
        Self { client, mounts: Mutex::default() }
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Object, Fault> {
        let (path, version) = parse(name)?;
        let mount = self.mount(name, &path).await?;
        let path = place(name, &path, &mount)?;
        if version.is_some() && !mount.is_versioned {
            return Err(refused(name, "the store of version 1 keeps no versions").into());
        }
        let written: Vec<&str> = path.iter().map(String::as_str).collect();
        let answer = match self.client.read(&written, version.map(|version| ("version", version))).await? {
            VaultRead::Found(answer) => answer,
            VaultRead::Missing(answer) => return Err(missing(&answer, name, &mount).into()),
            VaultRead::Denied { identity, policies } => {
                return Err(denied(name, &written.join("/"), identity, &policies).into());
            }
            VaultRead::Refused(said) => {
                return Err(Cause::Refused { service: SERVICE, name: name.to_owned(), said }.into());
            }
        };
        let object = if mount.is_versioned {
            answer.json::<Wrapped<Version>>().and_then(|it| it.data?.data)
        } else {
            answer.json::<Wrapped<Object>>().and_then(|it| it.data)
        };
        let what = "it has no object of a key/value store";
        Ok(object.ok_or_else(|| Cause::Answer { service: SERVICE, name: name.to_owned(), what })?)
    }

    /// Asks as the `vault kv` commands do. Who may not ask uses the first piece of the path as the mount, of version 2.
    async fn mount(&self, name: &str, path: &[&str]) -> Result<Mount, Fault> {
        if let Some(known) = self.mounts.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(known.clone());
        }
        let asked: Vec<&str> = ["sys", "internal", "ui", "mounts"].iter().chain(path).copied().collect();
        let usual = Mount { pieces: 1, is_versioned: true };
        let answer = match self.client.read(&asked, None).await? {
            VaultRead::Found(answer) => answer,
            VaultRead::Missing(_) | VaultRead::Denied { .. } | VaultRead::Refused(_) => return Ok(usual),
        };
        let Some(said) = answer.json::<Wrapped<Said>>().and_then(|it| it.data) else { return Ok(usual) };
        if !matches!(said.kind.as_str(), "kv" | "generic" | "") {
            return Err(refused(name, &format!("at {} is no key/value store but `{}`", said.path, said.kind)).into());
        }
        let mount = Mount {
            pieces: said.path.trim_matches('/').split('/').count(),
            is_versioned: said.options.is_some_and(|options| options.get("version").is_some_and(|it| it == "2")),
        };
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), mount.clone());
        Ok(mount)
    }
}

fn parse(name: &str) -> Result<(Vec<&str>, Option<&str>), Cause> {
    let (path, query) = name.split_once('?').map_or((name, None), |(path, query)| (path, Some(query)));
    let version = match query.map(|query| query.split_once('=')) {
        None => None,
        Some(Some(("version", number))) if number.parse::<u32>().is_ok_and(|number| number > 0) => Some(number),
        Some(_) => return Err(refused(name, "what follows the question mark is no version")),
    };
    let path: Vec<&str> = path.split('/').collect();
    // A dot would lead to another path than the one that the agent's policy was asked about.
    if path.len() < 2 || path.iter().any(|piece| piece.is_empty() || matches!(*piece, "." | "..")) {
        return Err(refused(name, "it is no path of a secret"));
    }
    Ok((path, version))
}

fn place(name: &str, path: &[&str], mount: &Mount) -> Result<Vec<String>, Cause> {
    let (of_mount, within) = path.split_at_checked(mount.pieces).unwrap_or((path, &[]));
    if within.is_empty() {
        return Err(refused(name, "it is the mount itself"));
    }
    let data = mount.is_versioned.then_some("data");
    Ok(of_mount.iter().copied().chain(data).chain(within.iter().copied()).map(str::to_owned).collect())
}

fn refused(name: &str, reason: &str) -> Cause {
    Cause::Reference {
        name: name.to_owned(),
        reason: reason.to_owned(),
        cure:
            "write `MOUNT/PATH` as `vault kv get` has it, for example `secret/shop/db`; behind it `?version=3` where \
               an older version is meant"
                .into(),
    }
}

fn missing(answer: &Answer, name: &str, mount: &Mount) -> Cause {
    let about = answer.json::<Wrapped<Version>>().and_then(|it| it.data).map(|it| it.metadata).unwrap_or_default();
    let unusable = |said: &str, cure: String| Cause::Unusable { name: name.to_owned(), said: said.to_owned(), cure };
    if mount.is_versioned && about.destroyed {
        return unusable("this version was destroyed", "write the secret anew, or name another `?version=`".into());
    }
    if mount.is_versioned && !about.deletion_time.is_empty() {
        let cure = "bring it back with `vault kv undelete`, or write it anew".into();
        return unusable("this version was deleted", cure);
    }
    Cause::Missing {
        name: name.to_owned(),
        place: SERVICE.into(),
        said: "nothing is there".into(),
        cure: "correct `secretName` (mount, then path) or VAULT_NAMESPACE, or write the secret with `vault kv put`"
            .into(),
    }
}

fn denied(name: &str, path: &str, identity: String, policies: &[String]) -> Cause {
    Cause::Denied {
        name: name.to_owned(),
        identity,
        permission: format!("read on {path}"),
        said: format!("its policies are {}", policies.join(", ")),
        cure: format!("add to one of its policies: path \"{path}\" {{ capabilities = [\"read\"] }}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_mount_and_a_path() {
        assert_eq!(parse("secret/shop/db").unwrap(), (vec!["secret", "shop", "db"], None));
        assert_eq!(parse("secret/db?version=3").unwrap(), (vec!["secret", "db"], Some("3")));
        for wrong in
            ["", "secret", "secret/", "/db", "secret//db", "secret/../sys", "secret/db?version=0", "secret/db?x"]
        {
            assert!(matches!(parse(wrong), Err(Cause::Reference { .. })), "{wrong}");
        }
        let mount = |pieces, is_versioned| Mount { pieces, is_versioned };
        assert_eq!(place("", &["a", "b", "c"], &mount(2, true)).unwrap(), ["a", "b", "data", "c"]);
        assert_eq!(place("", &["a", "b", "c"], &mount(1, false)).unwrap(), ["a", "b", "c"]);
        assert!(place("", &["a", "b"], &mount(2, true)).is_err());
    }
}
