//! Two processes with one identity: one streams, the other leaves, whichever way they meet.

use std::thread;
use std::time::Duration;

use reqwest::Method;

use crate::hub_house::{HubHouse, lease};
use crate::shop::PATIENCE;

#[test]
fn of_two_processes_with_one_identity_one_streams_and_the_other_leaves() {
    let house = HubHouse::open();
    let load = house.shop.load(0);
    let mut first = house.streaming();
    let second = house.process(&house.agent, "other").start().unwrap();
    house.hub.wait_for_agent(&house.agent, "RUNNING", PATIENCE).unwrap();
    let ended = second.wait(Duration::from_secs(75)).unwrap();
    assert_eq!(ended.code, Some(75), "{:#?}", ended.lines);
    // Whoever looks sees that there were two, and which.
    let agent = house.hub.expect(200, Method::GET, &format!("/agents/{}", house.agent), None).unwrap();
    assert_eq!(agent["conditions"][0]["kind"], "duplicate_instance", "{agent}");
    first.wait_for("committed", PATIENCE).unwrap();
    house.wait("STREAMING");
    load.stop().unwrap();
    house.settle(first);
}

#[test]
fn a_process_that_was_paused_beyond_its_lease_finds_its_successor_and_leaves() {
    let house = HubHouse::open();
    let load = house.shop.load(0);
    let first = house.streaming();
    first.signal("STOP").unwrap();
    let second = house.process(&house.agent, "other").start().unwrap();
    // Twice the lease, as the pause of a machine is: nothing is waited for.
    thread::sleep(lease() * 2);
    house.wait("STREAMING");
    first.signal("CONT").unwrap();
    let ended = first.wait(Duration::from_secs(90)).unwrap();
    assert!([75, 76].contains(&ended.code.unwrap()), "{:#?}", ended.lines);
    house.shop.fsck();
    house.wait("STREAMING");
    load.stop().unwrap();
    house.settle(second);
}
