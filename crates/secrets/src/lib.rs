//! Reads the values behind secret references: from the environment and from files.
//!
//! Nothing is kept: a secret that changes is seen at the next read. Stores of clouds are not built yet and are refused.

mod fault;

use std::env::{self, VarError};
use std::path::PathBuf;

use async_trait::async_trait;
use millrace_model::{Fault, SecretReference, SecretStore, SecretValue};

use fault::Cause;

/// The secret stores of this build.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    /// Relative paths of secret files are relative to `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn read_file(&self, name: &str) -> Result<String, Cause> {
        let bytes = std::fs::read(self.folder.join(name))
            .map_err(|error| Cause::FileUnreadable { path: name.to_owned(), error })?;
        let mut text = String::from_utf8(bytes).map_err(|_not_text| Cause::FileNotText(name.to_owned()))?;
        // Editors and `echo` end a file with a newline, which nobody means as part of a password. Only one.
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

#[async_trait]
impl SecretStore for Secrets {
    async fn read(&self, reference: &SecretReference) -> Result<SecretValue, Fault> {
        let name = reference.name.as_str();
        let text = match reference.store.as_str() {
            "env" => read_variable(name),
            "file" => self.read_file(name),
            other => Err(Cause::StoreUnknown(other.to_owned())),
        }?;
        let value = match &reference.key {
            Some(key) => pick(&text, name, key)?,
            None => text,
        };
        if value.is_empty() {
            return Err(Cause::Empty(name.to_owned()).into());
        }
        Ok(SecretValue::new(value))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where a secret is read from the environment")]
fn read_variable(name: &str) -> Result<String, Cause> {
    // `env::var` panics on names that no variable can have.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Cause::VariableMissing(name.to_owned()));
    }
    env::var(name).map_err(|error| match error {
        VarError::NotPresent => Cause::VariableMissing(name.to_owned()),
        VarError::NotUnicode(_) => Cause::VariableNotText(name.to_owned()),
    })
}

/// The text under `key` of a secret that is a JSON object.
fn pick(text: &str, name: &str, key: &str) -> Result<String, Cause> {
    // The parser's own words are left out: they may quote the secret.
    let object: serde_json::Value =
        serde_json::from_str(text).map_err(|_may_quote_it| Cause::NoObject(name.to_owned(), key.to_owned()))?;
    let object = object.as_object().ok_or_else(|| Cause::NoObject(name.to_owned(), key.to_owned()))?;
    match object.get(key) {
        Some(serde_json::Value::String(value)) => Ok(value.clone()),
        _ => Err(Cause::KeyMissing(name.to_owned(), key.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(store: &str, name: &str, key: Option<&str>) -> SecretReference {
        SecretReference { store: store.into(), name: name.into(), key: key.map(Into::into) }
    }

    async fn read(secrets: &Secrets, reference: SecretReference) -> Result<String, (&'static str, u8)> {
        let read = secrets.read(&reference).await;
        read.map(|value| value.reveal().to_owned()).map_err(|fault| {
            assert!(!fault.cure.is_empty() && !fault.to_string().contains("s3cret"), "{fault}");
            (fault.code, fault.exit_code())
        })
    }

    #[tokio::test]
    async fn a_file_loses_one_newline_at_its_end_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(folder.path());
        for (bytes, value) in [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" s3\ncret\n\n", " s3\ncret\n")] {
            std::fs::write(folder.path().join("password"), bytes).unwrap();
            assert_eq!(read(&secrets, reference("file", "password", None)).await, Ok(value.to_owned()));
        }
        assert_eq!(read(&secrets, reference("file", "absent", None)).await, Err(("SE-004", 64)));
        std::fs::write(folder.path().join("password"), b"\xff").unwrap();
        assert_eq!(read(&secrets, reference("file", "password", None)).await, Err(("SE-003", 64)));
        std::fs::write(folder.path().join("password"), b"\n").unwrap();
        assert_eq!(read(&secrets, reference("file", "password", None)).await, Err(("SE-007", 64)));
    }

    #[tokio::test]
    async fn a_key_picks_one_text_out_of_a_json_object() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(folder.path());
        std::fs::write(folder.path().join("db.json"), r#"{"password":"s3cret","port":5432}"#).unwrap();
        assert_eq!(read(&secrets, reference("file", "db.json", Some("password"))).await, Ok("s3cret".into()));
        assert_eq!(read(&secrets, reference("file", "db.json", Some("port"))).await, Err(("SE-006", 64)));
        assert_eq!(read(&secrets, reference("file", "db.json", Some("user"))).await, Err(("SE-006", 64)));
        std::fs::write(folder.path().join("db.json"), "s3cret").unwrap();
        assert_eq!(read(&secrets, reference("file", "db.json", Some("password"))).await, Err(("SE-005", 64)));
    }

    #[tokio::test]
    async fn a_variable_is_read_and_a_missing_one_is_named() {
        let secrets = Secrets::default();
        // Cargo sets this one for every test.
        assert_eq!(read(&secrets, reference("env", "CARGO_PKG_NAME", None)).await, Ok("millrace-secrets".into()));
        assert_eq!(read(&secrets, reference("env", "MILLRACE_NO_SUCH_VARIABLE", None)).await, Err(("SE-002", 64)));
        assert_eq!(read(&secrets, reference("env", "A=B", None)).await, Err(("SE-002", 64)));
    }

    #[tokio::test]
    async fn a_store_that_is_not_built_is_refused() {
        assert_eq!(read(&Secrets::default(), reference("hashicorp_vault", "x", None)).await, Err(("SE-001", 64)));
    }
}
