//! `schema.change: stop` at a real server: exit 65 before the transaction of the change, and `evolve` goes on.

use millrace_testkit::pipeline::Draft;
use millrace_testkit::postgres::Settings;
use millrace_testkit::process::Ended;

use crate::shop::{PATIENCE, Shop};

/// The pipeline file says this from now on.
fn set(shop: &mut Shop, word: &str) {
    shop.pipeline = Draft::new("shop", &shop.database, &["parts", "visits"])
        .property("commit.interval", "100ms")
        .property("schema.change", word)
        .write(shop.folder())
        .unwrap();
}

/// Keys of `parts` in the lake.
fn parts(shop: &Shop) -> Vec<i64> {
    let rows = shop.command("read", &["--table", "public.parts", "--state"]).complete(PATIENCE).unwrap().stdout;
    let key = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_i64().unwrap();
    let mut keys: Vec<i64> = rows.lines().map(key).collect();
    keys.sort_unstable();
    keys
}

/// The transaction has rows from before its own `ALTER TABLE`, which the catalogue no longer shows: a warning says so.
fn run_until_now(shop: &Shop) -> Ended {
    shop.command("run", &["--until", "now"]).allow("fault").allow("PG-025").complete(PATIENCE).unwrap()
}

fn assert_stopped(shop: &Shop, ended: &Ended) {
    assert_eq!(ended.code, Some(65), "{:#?}", ended.lines);
    let fault = ended.lines.iter().find(|line| line.code == "fault").unwrap();
    assert_eq!(fault.fields["fault"], "EN-021");
    assert!(fault.fields["cure"].as_str().unwrap().contains("schema.change: evolve"), "{fault:?}");
    assert!(
        fault.message.contains("shop.public.parts") && fault.message.contains("`weight` (integer) is new"),
        "{fault:?}"
    );
    shop.fsck();
    assert_eq!(parts(shop), [1, 2, 5]);
}

/// A server that hands over transactions of more than 64 kB while they are in progress, and one that does not.
fn stops_and_goes_on(server: Settings, rows: u32) {
    let mut shop = Shop::with(server, &["visits"], |draft| draft);
    shop.database
        .sql("CREATE TABLE parts (id int PRIMARY KEY, name text); INSERT INTO parts VALUES (1, 'old'), (2, 'old')")
        .unwrap();
    set(&mut shop, "stop");
    shop.catch_up();
    let mut running = shop.command("run", &[]).allow("fault").allow("PG-025").start().unwrap();
    running.wait_for("streaming", PATIENCE).unwrap();
    let last = 100 + rows;
    shop.database.sql("INSERT INTO parts VALUES (5, 'closed before')").unwrap();
    shop.database
        .sql(&format!(
            "BEGIN; INSERT INTO parts SELECT id, repeat('x', 100) FROM generate_series(100, {last}) id;
             ALTER TABLE parts ADD COLUMN weight int;
             INSERT INTO parts SELECT id, repeat('y', 100), id FROM generate_series({last} + 1, 2 * {last}) id; COMMIT"
        ))
        .unwrap();
    shop.database
        .sql("INSERT INTO visits VALUES (1, 'page', 1, now()); INSERT INTO parts VALUES (6, 'new', 1)")
        .unwrap();
    assert_stopped(&shop, &running.wait(PATIENCE).unwrap());
    assert_stopped(&shop, &run_until_now(&shop));
    set(&mut shop, "evolve");
    assert_eq!(run_until_now(&shop).code, Some(0));
    shop.fsck();
    shop.compare_independently();
    // What the lake knows by now is no change any more.
    set(&mut shop, "stop");
    shop.database.sql("INSERT INTO parts VALUES (7, 'later', 2)").unwrap();
    shop.catch_up();
    shop.compare();
}

#[test]
fn a_schema_change_ends_a_run_with_65_and_evolve_goes_on() {
    stops_and_goes_on(Settings::default(), 3);
}

#[test]
fn a_schema_change_in_a_transaction_in_progress_ends_a_run_with_65_as_well() {
    stops_and_goes_on(Settings::default().set("logical_decoding_work_mem", "64kB"), 2_000);
}
