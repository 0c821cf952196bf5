//! The CPU yardstick: what it costs a backend to decode the same range of the log and show it to nobody.

use std::time::Duration;

use millrace_testkit::{Fault, Result, usage};

use super::stage::{BENCH, Stage};

/// CPU time of the backend that decodes the first slot's log up to `end`. The slot stays where it is.
pub(crate) fn of_decoding(stage: &Stage, end: &str) -> Result<Duration> {
    let mut session = stage.database.session()?;
    let backend = session.backend()?;
    let gone = || Fault::Unexpected("the backend that decodes is gone".into());
    let before = usage::processor_time(backend).ok_or_else(gone)?;
    session.run(&format!(
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('{BENCH}', '{end}', NULL, 'proto_version', '1', \
         'publication_names', '{BENCH}')"
    ))?;
    Ok(usage::processor_time(backend).ok_or_else(gone)?.saturating_sub(before))
}
