//! Secret stores, each against the service or a fake of it that the vendor's own client accepts too.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod aws;
mod azure;
mod google;
mod local;
mod vault;

use std::sync::Arc;

use millrace_identity::Surroundings;
use millrace_model::{Clock, Fault, SecretReference, SecretStore};
use millrace_secrets::Secrets;

/// Secrets in surroundings with these variables and no others.
fn secrets(variables: &[(&str, &str)], clock: Arc<dyn Clock>) -> Secrets {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let variable = move |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    Secrets::around("", Surroundings::new(variable, clock).unwrap())
}

async fn read(secrets: &Secrets, store: &str, name: &str, key: Option<&str>) -> Result<String, Fault> {
    let reference = SecretReference { store: store.into(), name: name.into(), key: key.map(Into::into) };
    secrets.read(&reference).await.map(|value| value.reveal().to_owned())
}

/// Code and exit code of a refusal, whose texts must not show a secret.
fn refusal(result: Result<String, Fault>) -> (&'static str, u8, String) {
    let fault = result.unwrap_err();
    let shown = format!("{fault} | {} | {fault:?}", fault.cure);
    assert!(!fault.cure.is_empty() && !shown.contains("s3cret"), "{shown}");
    (fault.code, fault.exit_code(), shown)
}
