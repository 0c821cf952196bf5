//! Opens the pipeline file.

use std::path::Path;

use millrace_agent::wiring::Secrets;
use millrace_protocol::{Notation, PipelineSpec};

use crate::fault::{Cause, Failure};

/// The pipeline in `file`, if it is valid and this version can run it.
pub(crate) fn load(file: &Path) -> Result<PipelineSpec, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Cause::FileUnreadable { file: file.to_owned(), error })?;
    let json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let notation = if json { Notation::Json } else { Notation::Yaml };
    PipelineSpec::parse(&text, notation, folder_of(file))
        .and_then(PipelineSpec::runnable)
        .map_err(|problems| Failure::File { file: file.to_owned(), problems })
}

/// The secret stores, as `file` means them.
pub(crate) fn secrets_of(file: &Path) -> Secrets {
    Secrets::new(folder_of(file))
}

/// The folder that relative paths in `file` are relative to.
fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or_else(|| Path::new(""))
}
