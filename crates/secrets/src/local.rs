//! Secrets on this machine: variables and files.

use std::env::{self, VarError};
use std::path::Path;

use zeroize::Zeroizing;

use crate::fault::Cause;

/// A file's text.
pub(crate) fn file(folder: &Path, name: &str) -> Result<Zeroizing<String>, Cause> {
    let bytes = std::fs::read(folder.join(name))
        .map_err(|error| Cause::FileUnreadable { path: name.to_owned(), error })
        .map(Zeroizing::new)?;
    let text = std::str::from_utf8(&bytes).map_err(|_not_text| Cause::NotText(name.to_owned()))?;
    // Editors and `echo` end a file with a newline, which nobody means as part of a password. Only one.
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Zeroizing::new(text.to_owned()))
}

/// A variable's text.
#[expect(clippy::disallowed_methods, reason = "the one place where a secret is read from the environment")]
pub(crate) fn variable(name: &str) -> Result<Zeroizing<String>, Cause> {
    // `env::var` panics on names that no variable can have.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Cause::VariableMissing(name.to_owned()));
    }
    env::var(name).map(Zeroizing::new).map_err(|error| match error {
        VarError::NotPresent => Cause::VariableMissing(name.to_owned()),
        VarError::NotUnicode(_) => Cause::VariableNotText(name.to_owned()),
    })
}
