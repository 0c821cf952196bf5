//! sweep
use crate::Lake;
use millrace_model::Fault;
#[derive(Default)]
pub(crate) struct Sweeper {}
pub(crate) async fn sweep(_lake: &Lake, _claim: u64, _confirmed: u64, _sweeper: &Sweeper) -> Result<u64, Fault> {
    Ok(0)
}
