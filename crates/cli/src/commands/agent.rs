//! `millrace agent`: runs one pipeline as its hub wishes, from the environment alone.

use millrace_agent::Settings;
use millrace_engine::Stop;
use millrace_model::Fault;

use super::{DONE, variable};
use crate::fault::Failure;
use crate::interrupt::Interrupt;

/// Runs until it is stopped, or until the hub or another writer ends it.
pub(crate) async fn agent() -> Result<u8, Failure> {
    let settings = Settings::read(variable).map_err(|cause| Failure::Fault(cause.into()))?;
    let interrupt = Interrupt::listen()?;
    let (handle, stop) = Stop::new();
    tokio::select! {
        ended = millrace_agent::run(&settings, stop) => ended.map(|()| DONE).map_err(of_fault),
        () = interrupt.watch(&handle) => Ok(DONE),
    }
}

fn of_fault(fault: Fault) -> Failure {
    Failure::Fault(fault)
}
