//! Hub and agent as processes, with a real database between them: created, run, watched and stopped through the API.

use std::time::Duration;

use millrace_testkit::hub::Hub;
use millrace_testkit::pipeline::Draft;
use millrace_testkit::workload;
use reqwest::Method;

use crate::shop::{MILLRACE, PATIENCE, Shop};

#[test]
fn an_agent_streams_what_its_hub_wishes_and_stops_when_it_is_told() {
    let mut draft = None;
    let shop = Shop::with(millrace_testkit::postgres::Settings::default(), &workload::TABLES, |quick: Draft| {
        draft = Some(quick.clone());
        quick
    });
    let draft = draft.unwrap();
    let hub = Hub::start(MILLRACE.as_ref(), shop.folder()).unwrap();
    let agent = hub.add_agent("north").unwrap();
    let pipeline = hub.add_pipeline(&draft.body(&agent, shop.folder())).unwrap();
    hub.command(&pipeline, "START").unwrap();
    assert_eq!(hub.status(&pipeline).unwrap()["reason"]["code"], "waiting_for_agent");

    let load = shop.load(0);
    let state = shop.folder().join("state");
    let process = hub.agent(&agent, &state).unwrap().start().unwrap();
    hub.wait_for_agent(&agent, "RUNNING", Duration::from_secs(5)).unwrap();
    hub.wait_for_pipeline(&pipeline, "STREAMING", PATIENCE).unwrap();
    let seen = hub.status(&pipeline).unwrap();
    assert!(seen["report"]["figures"]["rows_written_total"].as_u64() > Some(0), "{seen}");

    // Stopped and started again: it goes on where it was.
    hub.command(&pipeline, "STOP").unwrap();
    hub.wait_for_pipeline(&pipeline, "NOT_RUNNING", PATIENCE).unwrap();
    assert_eq!(hub.status(&pipeline).unwrap()["reason"]["code"], "stopped");
    hub.command(&pipeline, "START").unwrap();
    hub.wait_for_pipeline(&pipeline, "STREAMING", PATIENCE).unwrap();
    load.stop().unwrap();

    let ended = process.stop(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
    hub.wait_for_agent(&agent, "STOPPED", Duration::from_secs(5)).unwrap();
    // What it counted is kept: what flowed, and what its process took.
    let flowed = hub.expect(200, Method::GET, &format!("{pipeline}/metrics"), None).unwrap();
    assert!(flowed["total"]["rows"].as_u64() > Some(0), "{flowed}");
    assert!(flowed["total"]["commits"].as_u64() > Some(0), "{flowed}");
    let took = hub.expect(200, Method::GET, &format!("/agents/{agent}/metrics"), None).unwrap();
    let points = took["points"].as_array().unwrap();
    assert!(points.iter().any(|point| point["memoryBytes"].as_u64() > Some(1 << 20)), "{took}");
    // Without the hub: the same lake, read by the same file.
    shop.fsck();
    hub.expect(204, Method::DELETE, &pipeline, None).unwrap();
    hub.expect(202, Method::DELETE, &format!("/agents/{agent}"), None).unwrap();
    hub.stop().unwrap();
}
