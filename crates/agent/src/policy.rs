//! What this agent may do, as its operator wrote it down beside it. The hub cannot widen it.
//!
//! A breached hub could point a database's secret at somebody else's host. So hosts, secret names and targets may be listed
//! here, with `*` for any characters; a list that is absent allows everything of its kind.

use std::path::Path;

use millrace_protocol::{PipelineSpec, SourceSpec, StoreSpec};
use serde::Deserialize;

use crate::fault::Cause;

/// The three lists.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Policy {
    allowed_hosts: Option<Vec<String>>,
    allowed_secrets: Option<Vec<String>>,
    allowed_targets: Option<Vec<String>>,
}

impl Policy {
    /// Reads the file; none allows everything.
    pub(crate) fn read(file: Option<&Path>) -> Result<Self, Cause> {
        let Some(path) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).map_err(|error| Cause::File { path: path.to_owned(), error })?;
        serde_saphyr::from_str(&text)
            .map_err(|error| Cause::Policy { path: path.to_owned(), reason: error.to_string() })
    }

    /// Whether the pipeline keeps to it; otherwise the line that would have to be added.
    pub(crate) fn allows(&self, spec: &PipelineSpec) -> Result<(), Cause> {
        let (SourceSpec::Postgres { connection, .. } | SourceSpec::Mysql { connection }) = &spec.source;
        check(self.allowed_hosts.as_ref(), "allowedHosts", &connection.host)?;
        if let Some(secret) = &connection.password {
            check(self.allowed_secrets.as_ref(), "allowedSecrets", &secret.name)?;
        }
        let target = match &spec.target.store {
            StoreSpec::Local { path } => path.display().to_string(),
            StoreSpec::S3 { bucket } | StoreSpec::Gcs { bucket } => bucket.clone(),
            StoreSpec::Abs { container } => container.clone(),
        };
        check(self.allowed_targets.as_ref(), "allowedTargets", &target)
    }
}

fn check(list: Option<&Vec<String>>, name: &str, value: &str) -> Result<(), Cause> {
    if list.is_none_or(|patterns| patterns.iter().any(|pattern| matches(pattern, value))) {
        return Ok(());
    }
    Err(Cause::Forbidden(format!(
        "the agent's policy does not allow `{value}`; the line `- \"{value}\"` under `{name}` would"
    )))
}

/// Whether `value` is what the pattern says; `*` stands for any characters, also none.
fn matches(pattern: &str, value: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == value,
        Some((before, after)) => value
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|tail| matches(after, tail)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, value, same) in [
            ("db.internal", "db.internal", true),
            ("db.internal", "db.internal.evil", false),
            ("*.internal", "db.internal", true),
            ("*.internal", "internal", false),
            ("millrace/*/db", "millrace/shop/db", true),
            ("millrace/*", "other/shop", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, value), same, "{pattern} {value}");
        }
    }
}
