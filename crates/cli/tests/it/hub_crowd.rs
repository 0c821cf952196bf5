//! Many agents at one hub on SQLite.

use std::time::Duration;

use millrace_testkit::crowd::Crowd;
use millrace_testkit::hub::Hub;

use crate::shop::{MILLRACE, is_long};

/// Beyond the time for which the hub held it: 99 of 100 syncs.
const BAR: Duration = Duration::from_millis(200);

#[test]
#[expect(clippy::print_stdout, reason = "the figures are for whoever measures")]
fn thousands_of_agents_report_and_none_is_kept_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::start(MILLRACE.as_ref(), folder.path()).unwrap();
    let crowd = Crowd::gather(&hub, if is_long() { 2_000 } else { 100 }).unwrap();
    let seconds = if is_long() { 60 } else { 5 };
    let seen = crowd.report(Duration::from_secs(25), Duration::from_secs(seconds)).unwrap();
    let [half, most] = [0.5, 0.99].map(|part| seen.percentile(part));
    println!("{} syncs, beyond the hold: half {half:?}, 99 of 100 {most:?}", seen.beyond.len());
    assert_eq!(seen.refused, 0);
    assert!(!seen.beyond.is_empty());
    // In the normal tier other tests run beside this one, and take their share of the machine.
    assert!(!is_long() || most <= BAR, "{most:?}");
    hub.stop().unwrap();
}
