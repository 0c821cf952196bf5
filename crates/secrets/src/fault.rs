//! What can be wrong with a secret. Messages name variables, files and keys, never a value.

use std::io;

use millrace_model::{Fault, Refusal};

/// The causes that this room knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("secrets of type `{0}` are not built yet")]
    StoreUnknown(String),
    #[error("the environment variable `{0}` is not set")]
    VariableMissing(String),
    #[error("the environment variable `{0}` is not valid UTF-8")]
    VariableNotText(String),
    #[error("the secret file `{path}` cannot be read: {error}")]
    FileUnreadable { path: String, error: io::Error },
    #[error("the secret file `{0}` is not valid UTF-8")]
    FileNotText(String),
    #[error("the secret `{0}` is not a JSON object, so it has no key `{1}`")]
    NoObject(String, String),
    #[error("the secret `{0}` has no text under the key `{1}`")]
    KeyMissing(String, String),
    #[error("the secret `{0}` is empty")]
    Empty(String),
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        let message = cause.to_string();
        let (code, refusal, cure) = match &cause {
            Cause::StoreUnknown(_) => {
                ("SE-001", Refusal::Spec, "use `secretType: env` or `secretType: file`".to_owned())
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
            Cause::FileNotText(_) => ("SE-003", Refusal::Spec, "store the secret as UTF-8 text".to_owned()),
            Cause::NoObject(..) => {
                ("SE-005", Refusal::Spec, "leave `key` out, or store the secret as a JSON object".to_owned())
            }
            Cause::KeyMissing(..) => ("SE-006", Refusal::Spec, "correct `key`, or add it to the secret".to_owned()),
            Cause::Empty(_) => {
                ("SE-007", Refusal::Spec, "give it a value, or leave `password` out where none is asked for".to_owned())
            }
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
            Cause::FileNotText(text()),
            Cause::NoObject(text(), text()),
            Cause::KeyMissing(text(), text()),
            Cause::Empty(text()),
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
