//! check
use crate::Lake;
use millrace_model::{Fault, Finding};
pub(crate) async fn check(_lake: &Lake) -> Result<Vec<Finding>, Fault> {
    Ok(vec![])
}
