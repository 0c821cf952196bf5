//! Identities, each against a fake of its metadata or token service.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod aws;
mod azure;
mod google;
mod vault;
mod workload;

use std::sync::Arc;

use millrace_identity::Surroundings;
use millrace_model::{Clock, Fault};

/// Surroundings with these variables and no others.
fn around(variables: &[(&str, &str)], clock: Arc<dyn Clock>) -> Surroundings {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let variable = move |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    Surroundings::new(variable, clock).unwrap()
}

/// Code, and everything that a refusal shows.
fn refusal<T>(result: Result<T, Fault>) -> (&'static str, String) {
    let Err(fault) = result else { panic!("it was not refused") };
    let shown = format!("{fault} | {} | {fault:?}", fault.cure);
    assert!(!fault.cure.is_empty() && !shown.contains("hidden"), "{shown}");
    (fault.code, shown)
}
