//! What becomes of a running pipeline when its definition changes, moves, or goes.

use millrace_testkit::lake::state;
use millrace_testkit::pipeline::Pipeline;
use reqwest::Method;
use serde_json::{Value, json};

use crate::hub_house::HubHouse;
use crate::shop::{MILLRACE, PATIENCE, fsck, millrace, wait};

fn put(house: &HubHouse, body: &Value) {
    house.hub.expect(200, Method::PUT, &house.pipeline, Some(body)).unwrap();
}

fn streams_revision(house: &HubHouse, revision: u64) -> Value {
    let what = format!("revision {revision}");
    let is_there = |seen: &Value| {
        seen["status"] == "STREAMING" && seen["report"]["revision"] == revision && seen["reason"].is_null()
    };
    house.hub.wait_for_status(&house.pipeline, &what, PATIENCE, is_there).unwrap()
}

fn slots(house: &HubHouse) -> String {
    house.shop.database.sql("SELECT string_agg(slot_name, ',') FROM pg_replication_slots").unwrap()
}

#[test]
fn a_new_revision_is_applied_and_a_bad_one_leaves_the_last_good_one_running() {
    let house = HubHouse::open();
    let load = house.shop.load(0);
    let process = house.streaming();
    let mut body = house.body(&house.agent);
    body["advancedProperties"]["commit.interval"] = json!("50ms");
    put(&house, &body);
    streams_revision(&house, 2);

    let mut bad = body.clone();
    bad["streamingSource"]["connection"]["database"] = json!("nowhere");
    put(&house, &bad);
    let refused = |seen: &Value| seen["reason"]["message"].as_str().is_some_and(|text| text.contains("revision 3"));
    let seen = house.hub.wait_for_status(&house.pipeline, "the refusal", PATIENCE, refused).unwrap();
    assert_eq!((&seen["status"], &seen["report"]["revision"]), (&json!("STREAMING"), &json!(2)), "{seen}");

    // A new name changes neither slot nor chain.
    body["name"] = json!("renamed");
    put(&house, &body);
    streams_revision(&house, 4);
    assert_eq!(slots(&house), "millrace_shop");
    load.stop().unwrap();
    house.settle(process);
}

#[test]
fn a_revision_that_fails_after_the_switch_gives_way_to_the_last_good_one() {
    let house = HubHouse::open();
    let load = house.shop.load(0);
    let process = house.streaming();
    // Another pipeline's lake: nothing that a check sees, and a claim there is refused.
    let taken = house.shop.folder().join("taken");
    let other = house.shop.folder().join("other.yaml");
    let text = std::fs::read_to_string(&house.shop.pipeline.file).unwrap();
    let text = text.replace("./lake", "./taken").replace("name: shop", "name: other");
    std::fs::write(&other, text).unwrap();
    let other = Pipeline { file: other, lake: taken.clone(), name: "other".into(), ..house.shop.pipeline.clone() };
    let filled = millrace("run", &other, &["--until", "now"]).allow("retrying").complete(PATIENCE).unwrap();
    assert_eq!(filled.code, Some(0), "{:#?}", filled.lines);
    house.shop.database.sql("SELECT pg_drop_replication_slot('millrace_other')").unwrap();

    let good = house.body(&house.agent);
    let mut bad = good.clone();
    bad["streamingTarget"]["path"] = json!(taken);
    put(&house, &bad);
    let fell_back = |seen: &Value| seen["report"]["refused"]["revision"] == 2 && seen["status"] == "STREAMING";
    let seen = house.hub.wait_for_status(&house.pipeline, "the fall", PATIENCE, fell_back).unwrap();
    assert_eq!(seen["report"]["revision"], 1, "{seen}");
    assert!(seen["reason"]["message"].as_str().unwrap().starts_with("revision 2 is not taken: "), "{seen}");
    house.shop.wait_until_released();
    // So it is after the process was started anew: it tries, fails, and falls back.
    process.kill().unwrap();
    let process = house.process(&house.agent, "state").start().unwrap();
    let process = {
        house.hub.wait_for_status(&house.pipeline, "the fall again", PATIENCE, fell_back).unwrap();
        process
    };
    // Back where it was is no move: the lake that stands goes on.
    put(&house, &good);
    streams_revision(&house, 3);
    load.stop().unwrap();
    house.settle(process);
    fsck(&other);
}

#[test]
fn a_target_that_moves_begins_a_new_lake_and_the_old_one_stays() {
    let house = HubHouse::open();
    let load = house.shop.load(0);
    let process = house.streaming();
    house.shop.wait_until_released();
    let mut body = house.body(&house.agent);
    let lake = house.shop.folder().join("second");
    body["streamingTarget"]["path"] = json!(lake);
    put(&house, &body);
    streams_revision(&house, 2);
    load.stop().unwrap();
    house.shop.wait_until_released();
    assert_eq!(slots(&house), "millrace_shop");
    process.stop(PATIENCE).unwrap();
    // The old lake is whole, and the new one is the source.
    house.shop.fsck();
    let text = std::fs::read_to_string(&house.shop.pipeline.file).unwrap().replace("./lake", "./second");
    let file = house.shop.folder().join("second.yaml");
    std::fs::write(&file, text).unwrap();
    let second = Pipeline { file, lake, ..house.shop.pipeline.clone() };
    fsck(&second);
    state::compare(MILLRACE.as_ref(), &second, &house.shop.database).unwrap();
}

#[test]
fn a_pipeline_that_is_given_another_agent_stops_here_and_goes_on_there() {
    let house = HubHouse::open();
    let load = house.shop.load(0);
    let first = house.streaming();
    let south = house.hub.add_agent("south").unwrap();
    let second = house.process(&south, "south").start().unwrap();
    house.hub.wait_for_agent(&south, "RUNNING", PATIENCE).unwrap();
    put(&house, &house.body(&south));
    let seen = streams_revision(&house, 2);
    assert!(seen["report"]["epoch"].as_u64() > Some(1), "{seen}");
    assert!(!first.has_ended());
    load.stop().unwrap();
    house.settle(second);
    first.stop(PATIENCE).unwrap();
}

#[test]
fn a_running_pipeline_that_is_deleted_stops() {
    let house = HubHouse::open();
    let process = house.streaming();
    house.hub.expect(204, Method::DELETE, &house.pipeline, None).unwrap();
    wait("the slot to be let go", || !house.shop.slot_is_active());
    house.hub.wait_for_agent(&house.agent, "RUNNING", PATIENCE).unwrap();
    process.stop(PATIENCE).unwrap();
    assert!(!house.state("state").join("pipeline.json").exists());
    house.shop.fsck();
}

#[test]
fn a_secret_and_a_cell_never_reach_the_hub() {
    let house = HubHouse::with(|draft| draft.password_from("SHOP_PASSWORD"));
    let (secret, cell) = ("canary-secret-5c1f", "canary-cell-77ab");
    house.shop.database.sql("CREATE TABLE canaries (id int PRIMARY KEY, t text)").unwrap();
    house.shop.database.sql(&format!("INSERT INTO canaries VALUES (1, '{cell}')")).unwrap();
    let mut body = house.body(&house.agent);
    body["streamingSource"]["tables"].as_array_mut().unwrap().push(json!({"schema": "public", "table": "canaries"}));
    put(&house, &body);
    let process = house.process(&house.agent, "state").env("SHOP_PASSWORD", secret).start().unwrap();
    streams_revision(&house, 2);
    house.shop.database.sql(&format!("UPDATE canaries SET t = '{cell}-again'")).unwrap();
    house.shop.wait_until_released();
    // A host that the secret was not sent to before is refused, with the line that would allow it.
    body["streamingSource"]["connection"]["host"] = json!("localhost");
    put(&house, &body);
    let refused = |seen: &Value| seen["reason"]["code"] == "policy";
    let seen = house.hub.wait_for_status(&house.pipeline, "the refusal", PATIENCE, refused).unwrap();
    assert!(seen["reason"]["message"].as_str().unwrap().contains("allowedHosts"), "{seen}");
    assert_eq!(seen["status"], "STREAMING");
    let agent = house.hub.expect(200, Method::GET, &format!("/agents/{}", house.agent), None).unwrap();
    assert_eq!(agent["conditions"][0]["kind"], "settings_refused", "{agent}");
    let lines = format!("{:?}", house.hub.log());
    process.stop(PATIENCE).unwrap();
    let seen = format!("{seen}{agent}{lines}");
    for canary in [secret, cell] {
        assert!(!house.hub_holds(canary), "{canary} is in the hub's folder");
        assert!(!seen.contains(canary), "{canary} was said");
    }
    // What is looked for would be found.
    assert!(house.hub_holds("SHOP_PASSWORD"));
}
