//! Thousands of agents at one hub: how long a sync takes beyond the time for which the hub held it.

use std::path::Path;
use std::time::Duration;

use millrace_testkit::crowd::Crowd;
use millrace_testkit::hub::Hub;
use millrace_testkit::{Fault, Result};

use super::report::Report;

const AGENTS: usize = 2_000;
/// Until each has taken its pipeline.
const SETTLING: Duration = Duration::from_secs(30);
const TIME: Duration = Duration::from_mins(1);
/// Of 99 of 100 syncs.
const BAR: f64 = 200.0;

/// Measures a hub on SQLite.
pub(crate) fn measure(millrace: &Path, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir().map_err(|cause| Fault::Io { path: std::env::temp_dir(), cause })?;
    let hub = Hub::start(millrace, folder.path())?;
    println!("Making {AGENTS} agents");
    let crowd = Crowd::gather(&hub, AGENTS)?;
    let seen = crowd.report(SETTLING, TIME)?;
    if seen.refused > 0 {
        return Err(Fault::Unexpected(format!("{} syncs were refused", seen.refused)));
    }
    let milliseconds = |part| seen.percentile(part).as_secs_f64() * 1e3;
    report.add(format!("hub with {AGENTS} agents: sync beyond the hold, median"), milliseconds(0.5), "ms");
    report.judge(format!("hub with {AGENTS} agents: sync beyond the hold, p99"), milliseconds(0.99), "ms", BAR);
    hub.stop()
}
