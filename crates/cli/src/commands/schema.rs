//! `millrace schema`: the JSON Schema of the pipeline file.

use millrace_protocol::json_schema;

use super::DONE;
use crate::console::print;
use crate::fault::Failure;

/// Prints it. It is JSON for people too, so it is always laid out.
pub(crate) fn schema() -> Result<u8, Failure> {
    print(&format!("{:#}", json_schema()))?;
    Ok(DONE)
}
