//! Two processes of one hub on one PostgreSQL.

use std::time::{Duration, Instant};

use millrace_testkit::hub::Hub;
use millrace_testkit::pipeline::Draft;
use millrace_testkit::workload;

use crate::shop::{MILLRACE, PATIENCE, Shop};

#[test]
fn a_start_through_one_process_reaches_within_a_second_the_agent_that_waits_at_the_other() {
    let mut draft = None;
    let shop = Shop::with(millrace_testkit::postgres::Settings::default(), &workload::TABLES, |quick: Draft| {
        draft = Some(quick.clone());
        quick
    });
    let draft = draft.unwrap();
    let server = millrace_testkit::postgres::Server::start().unwrap();
    server.create_database("hub").unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/hub", server.port());
    let one = Hub::with(MILLRACE.as_ref(), shop.folder(), &[("HUB_DATABASE_URL", &url)]).unwrap();
    let other = one.beside().unwrap();
    let agent = one.add_agent("north").unwrap();
    let pipeline = one.add_pipeline(&draft.body(&agent, shop.folder())).unwrap();

    // The agent knows the other process alone; what is asked of it is asked of the first.
    let process = other.agent(&agent, &shop.folder().join("state")).unwrap().start().unwrap();
    one.wait_for_agent(&agent, "RUNNING", PATIENCE).unwrap();
    for (command, away) in [("START", "NOT_RUNNING"), ("STOP", "STREAMING")] {
        one.wait_for_pipeline(&pipeline, away, PATIENCE).unwrap();
        // It has reported what it runs, and its sync is held by now, for 12 s at least.
        std::thread::sleep(Duration::from_secs(2));
        let begun = Instant::now();
        one.command(&pipeline, command).unwrap();
        one.wait_for_status(&pipeline, "another status", PATIENCE, |seen| {
            // What the agent itself says, not what the hub expects of it.
            seen.pointer("/report/status").is_some_and(|status| status != away)
        })
        .unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "{command} took {took:?}");
    }
    one.wait_for_pipeline(&pipeline, "NOT_RUNNING", PATIENCE).unwrap();
    process.stop(PATIENCE).unwrap();
    other.stop().unwrap();
    one.stop().unwrap();
}
