//! A hub that goes away, comes back, and comes back older than it was; an agent that goes away without a word.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::hub_house::{HubHouse, lease};
use crate::shop::{PATIENCE, is_long, wait};

#[test]
fn an_agent_that_dies_is_unknown_and_one_that_says_goodbye_is_stopped() {
    let house = HubHouse::open();
    let process = house.process(&house.agent, "state").start().unwrap();
    let began = house.hub.wait_for_agent(&house.agent, "RUNNING", Duration::from_secs(5)).unwrap();
    assert!(began <= Duration::from_secs(5), "{began:?}");
    house.wait("STREAMING");
    process.kill().unwrap();
    let slack = Duration::from_secs(15);
    house.hub.wait_for_agent(&house.agent, "UNKNOWN", lease() + slack).unwrap();
    let seen = house.hub.status(&house.pipeline).unwrap();
    assert_eq!((&seen["status"], &seen["reason"]["code"]), (&"UNKNOWN".into(), &"agent_lost".into()));

    let process = house.process(&house.agent, "state").start().unwrap();
    house.hub.wait_for_agent(&house.agent, "RUNNING", Duration::from_secs(5)).unwrap();
    house.wait("STREAMING");
    process.signal("TERM").unwrap();
    house.hub.wait_for_agent(&house.agent, "STOPPED", Duration::from_secs(5)).unwrap();
    assert_eq!(process.wait(PATIENCE).unwrap().code, Some(0));
}

#[test]
fn a_hub_that_is_gone_under_load_stops_nothing_and_hears_of_it_later() {
    let mut house = HubHouse::open();
    let load = house.shop.load(0);
    let mut process = house.streaming();
    let gone = Instant::now();
    house.hub.kill().unwrap();
    let away = Duration::from_secs(if is_long() { 600 } else { 10 });
    // It streams on, whatever the hub does.
    let commits = |process: &millrace_testkit::process::Millrace| {
        process.lines().iter().filter(|line| line.code == "committed").count()
    };
    while gone.elapsed() < away / 2 {
        let before = commits(&process);
        wait("the next commit", || commits(&process) > before);
    }
    // The process goes down too, and comes back from what it kept. Ended by force or in good order.
    let invocation = house_process_without_hub(&house);
    process.kill().unwrap();
    process = invocation.start().unwrap();
    process.wait_for("streaming", PATIENCE).unwrap();
    let claim = process.wait_for("claimed", PATIENCE).unwrap().number("commit").unwrap();
    while gone.elapsed() < away {
        let before = commits(&process);
        wait("the next commit", || commits(&process) > before);
    }
    assert!(!house.hub_holds(&format!("{{\"commit\":{claim}}}")));
    house.hub.resume().unwrap();
    house.hub.wait_for_agent(&house.agent, "RUNNING", PATIENCE).unwrap();
    house.wait("STREAMING");
    wait("what happened meanwhile to be told", || house.hub_holds(&format!("{{\"commit\":{claim}}}")));
    load.stop().unwrap();
    house.settle(process);
}

/// The hub is away, so the credentials are those that the first process was started with.
fn house_process_without_hub(house: &HubHouse) -> millrace_testkit::process::Invocation {
    house.hub.agent_again(&house.agent, &house.state("state")).unwrap().allow("retrying").allow("PG-012")
}

#[test]
fn a_hub_that_was_set_back_to_an_older_copy_locks_no_agent_out() {
    let mut house = HubHouse::open();
    let load = house.shop.load(0);
    house.streaming().stop(PATIENCE).unwrap();
    house.hub.kill().unwrap();
    let copy = house.shop.folder().join("copy");
    copy_folder(&house.hub.storage(), &copy);
    house.hub.resume().unwrap();
    // Three more epochs, which the copy does not know.
    for _ in 0..2 {
        house.streaming().stop(PATIENCE).unwrap();
    }
    let process = house.streaming();
    house.hub.kill().unwrap();
    fs::remove_dir_all(house.hub.storage()).unwrap();
    copy_folder(&copy, &house.hub.storage());
    house.hub.resume().unwrap();
    // The one that runs goes on under its own epoch.
    let seen = known(&house, 4);
    assert_eq!(seen["status"], "STREAMING", "{seen}");
    process.stop(PATIENCE).unwrap();

    // Once more, and now nobody is left who could tell the hub: the chain does.
    house.hub.kill().unwrap();
    fs::remove_dir_all(house.hub.storage()).unwrap();
    copy_folder(&copy, &house.hub.storage());
    house.hub.resume().unwrap();
    fs::remove_dir_all(house.state("state")).unwrap();
    let process = house.streaming();
    let seen = known(&house, 5);
    assert_eq!(seen["status"], "STREAMING", "{seen}");
    load.stop().unwrap();
    house.settle(process);
}

#[test]
fn a_hub_that_was_set_back_and_revised_anew_has_its_own_revision_run() {
    let mut house = HubHouse::open();
    let process = house.streaming();
    house.shop.wait_until_released();
    house.hub.kill().unwrap();
    let copy = house.shop.folder().join("copy");
    copy_folder(&house.hub.storage(), &copy);
    house.hub.resume().unwrap();
    let revise = |house: &HubHouse, tables: usize| {
        let mut body = house.body(&house.agent);
        body["streamingSource"]["tables"].as_array_mut().unwrap().truncate(tables);
        house.hub.expect(200, Method::PUT, &house.pipeline, Some(&body)).unwrap();
    };
    let whole = house.body(&house.agent)["streamingSource"]["tables"].as_array().unwrap().len();
    let runs = |house: &HubHouse, tables: usize| {
        let there = |seen: &Value| {
            let report = &seen["report"];
            let told = report["tables"].as_array().map_or(0, Vec::len);
            seen["status"] == "STREAMING" && report["revision"] == 2 && told == tables
        };
        house.hub.wait_for_status(&house.pipeline, &format!("{tables} tables"), PATIENCE, there).unwrap();
    };
    revise(&house, whole - 1);
    runs(&house, whole - 1);
    // The agent hears nothing of it: when it asks again, the hub has a second revision 2.
    process.signal("STOP").unwrap();
    house.hub.kill().unwrap();
    fs::remove_dir_all(house.hub.storage()).unwrap();
    copy_folder(&copy, &house.hub.storage());
    house.hub.resume().unwrap();
    revise(&house, whole - 2);
    process.signal("CONT").unwrap();
    runs(&house, whole - 2);
    process.stop(PATIENCE).unwrap();
    house.shop.fsck();
}

#[test]
fn what_another_agent_kept_is_not_run() {
    let mut house = HubHouse::open();
    house.streaming().stop(PATIENCE).unwrap();
    let south = house.hub.add_agent("south").unwrap();
    // The variables of its process, in the folder of the other one.
    let process = house.process(&south, "state");
    house.hub.kill().unwrap();
    let mut process = process.allow("AG-003").start().unwrap();
    let line = process.wait_for("AG-003", PATIENCE).unwrap();
    assert!(format!("{line:?}").contains(&house.agent), "{line:?}");
    // Longer than a process waits for its hub before it goes on with what it kept.
    std::thread::sleep(Duration::from_secs(7));
    assert!(process.lines().iter().all(|line| line.code != "claimed"), "{:#?}", process.lines());
    assert!(!house.shop.slot_is_active());
    process.stop(PATIENCE).unwrap();
}

#[test]
fn an_agent_that_was_removed_while_it_was_away_leaves_with_69() {
    let house = HubHouse::open();
    house.streaming().kill().unwrap();
    let process = house.process(&house.agent, "state").allow("AG-006");
    let path = format!("/agents/{}?force=true", house.agent);
    house.hub.expect(202, Method::DELETE, &path, None).unwrap();
    let ended = process.start().unwrap().wait(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(69), "{:#?}", ended.lines);
}

/// What the API says once it has been told of that epoch.
fn known(house: &HubHouse, epoch: u64) -> Value {
    let there = |seen: &Value| seen["status"] == "STREAMING" && seen["report"]["epoch"].as_u64() >= Some(epoch);
    house.hub.wait_for_status(&house.pipeline, &format!("epoch {epoch}"), PATIENCE, there).unwrap()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
