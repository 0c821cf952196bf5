//! What can be wrong with a secret. Messages name variables, files and keys, never a value.

use std::io;

use millrace_identity::bounded;
use millrace_model::{Fault, Refusal};

/// The causes that this room knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("there are no secrets of type `{0}`")]
    StoreUnknown(String),
    #[error("the environment variable `{0}` is not set")]
    VariableMissing(String),
    #[error("the environment variable `{0}` is not valid UTF-8")]
    VariableNotText(String),
    #[error("the secret file `{path}` cannot be read: {error}")]
    FileUnreadable { path: String, error: io::Error },
    #[error("the secret `{0}` is not valid UTF-8")]
    NotText(String),
    #[error("the secret `{0}` is not a JSON object, so it has no key `{1}`")]
    NoObject(String, String),
    #[error("the secret `{0}` has no text under the key `{1}`")]
    KeyMissing(String, String),
    #[error("the secret `{0}` is empty")]
    Empty(String),
    /// A name that the service cannot have, or that lacks a part.
    #[error("`{name}` cannot be asked for: {reason}")]
    Reference { name: String, reason: String, cure: String },
    /// The service has nothing under this name.
    #[error("the secret `{name}` is not in {place}: {said}")]
    Missing { name: String, place: String, said: String, cure: String },
    /// The identity lacks a permission.
    #[error("the secret `{name}` may not be read: {identity} lacks the permission {permission} ({said})")]
    Denied { name: String, identity: String, permission: String, said: String, cure: String },
    /// It is there, but not to be had.
    #[error("the secret `{name}` cannot be read as it stands: {said}")]
    Unusable { name: String, said: String, cure: String },
    /// Another refusal, in the service's words.
    #[error("{service} refuses to give the secret `{name}`: {said}")]
    Refused { service: &'static str, name: String, said: String },
    /// The service does not take the token of an identity.
    #[error("{service} does not accept {identity} for the secret `{name}`: {said}")]
    Identity { service: &'static str, name: String, identity: String, said: String },
    /// No answer, or one that will be another one later.
    #[error("the secret `{name}` cannot be had now: {service} does not answer: {said}")]
    Unanswered { service: &'static str, name: String, said: String },
    /// An answer that is none.
    #[error("the answer of {service} about the secret `{name}` is not understood: {what}")]
    Answer { service: &'static str, name: String, what: &'static str },
    #[error("the secret `{0}` is an object, as all of its store are, and the reference has no `key`")]
    NoKey(String),
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        let message = bounded(&cause.to_string());
        let (code, refusal, cure) = match &cause {
            Cause::StoreUnknown(_) => {
                let cure =
                    "use env, file, aws_secrets_manager, azure_key_vault, google_secret_manager or hashicorp_vault";
                ("SE-001", Refusal::Spec, cure.to_owned())
            }
            Cause::VariableMissing(name) => (
                "SE-002",
                Refusal::Spec,
                format!("export {name} in the environment that starts millrace, or correct `secretName`"),
            ),
            Cause::VariableNotText(name) => ("SE-003", Refusal::Spec, format!("set {name} to UTF-8 text")),
            Cause::FileUnreadable { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                ("SE-004", Refusal::Permission, "let the user that millrace runs as read the file".to_owned())
            }
            Cause::FileUnreadable { .. } => (
                "SE-004",
                Refusal::Spec,
                "correct `secretName`: it is the file's path, a relative one being relative to the pipeline file"
                    .to_owned(),
            ),
            Cause::NotText(_) => ("SE-003", Refusal::Spec, "store the secret as UTF-8 text".to_owned()),
            Cause::NoObject(..) => {
                ("SE-005", Refusal::Spec, "leave `key` out, or store the secret as a JSON object".to_owned())
            }
            Cause::KeyMissing(..) => ("SE-006", Refusal::Spec, "correct `key`, or add it to the secret".to_owned()),
            Cause::Empty(_) => {
                ("SE-007", Refusal::Spec, "give it a value, or leave `password` out where none is asked for".to_owned())
            }
            Cause::Reference { cure, .. } => ("SE-008", Refusal::Spec, cure.clone()),
            Cause::Missing { cure, .. } => ("SE-009", Refusal::Spec, cure.clone()),
            Cause::Denied { cure, .. } => ("SE-010", Refusal::Permission, cure.clone()),
            Cause::Unusable { cure, .. } => ("SE-011", Refusal::Spec, cure.clone()),
            Cause::Refused { .. } => {
                ("SE-012", Refusal::Spec, "correct the reference as the service's own words say".to_owned())
            }
            Cause::Answer { .. } => return Self::retry("SE-013", message),
            Cause::Identity { .. } => (
                "SE-015",
                Refusal::Permission,
                "use an identity of the tenant or organisation that the secret belongs to".to_owned(),
            ),
            Cause::Unanswered { .. } => return Self::retry("SE-016", message),
            Cause::NoKey(_) => ("SE-014", Refusal::Spec, "add for example `key: password` to the reference".to_owned()),
        };
        Self::refused(code, refusal, message, cure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fault_is_without_a_cure() {
        let text = || "x".to_owned();
        let unreadable =
            |kind: io::ErrorKind| Cause::FileUnreadable { path: text(), error: io::Error::new(kind, "refused") };
        let all = [
            Cause::StoreUnknown(text()),
            Cause::VariableMissing(text()),
            Cause::VariableNotText(text()),
            unreadable(io::ErrorKind::NotFound),
            unreadable(io::ErrorKind::PermissionDenied),
            Cause::NotText(text()),
            Cause::NoObject(text(), text()),
            Cause::KeyMissing(text(), text()),
            Cause::Empty(text()),
            Cause::Reference { name: text(), reason: text(), cure: text() },
            Cause::Missing { name: text(), place: text(), said: text(), cure: text() },
            Cause::Denied { name: text(), identity: text(), permission: text(), said: text(), cure: text() },
            Cause::Unusable { name: text(), said: text(), cure: text() },
            Cause::Refused { service: "x", name: text(), said: text() },
            Cause::Answer { service: "x", name: text(), what: "x" },
            Cause::NoKey(text()),
            Cause::Identity { service: "x", name: text(), identity: text(), said: text() },
            Cause::Unanswered { service: "x", name: text(), said: text() },
        ];
        let mut codes: Vec<&str> = Vec::new();
        for fault in all.map(Fault::from) {
            assert!(!fault.message.is_empty() && !fault.cure.is_empty(), "{fault:?}");
            codes.push(fault.code);
        }
        codes.sort_unstable();
        codes.dedup();
        // Every code of this file, so that a cause that is added is added here too.
        let (source, _) = include_str!("fault.rs").split_once("#[cfg(test)]").expect("this very module");
        let mut written: Vec<&str> =
            source.match_indices("\"SE-").filter_map(|(at, _)| source.get(at + 1..at + 7)).collect();
        written.sort_unstable();
        written.dedup();
        assert_eq!(codes, written);
    }
}
