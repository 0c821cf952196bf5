//! The vendors' own clients: what they read from a fake says whether the fake is one of the real service.

use serde_json::Value;

use crate::fault::{Fault, Result};
use crate::lake;

/// Lets a vendor's client do something: `python/vendor.py` says what there is. Gives what it printed, as JSON.
pub fn run(arguments: &[&str]) -> Result<Value> {
    let mut command = lake::script("vendor.py")?;
    let output = command.args(arguments).output().map_err(Fault::io("python"))?;
    if !output.status.success() {
        return Err(Fault::Program {
            program: "vendor.py".into(),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    serde_json::from_slice(&output.stdout).map_err(|error| Fault::Unexpected(format!("vendor.py: {error}")))
}
