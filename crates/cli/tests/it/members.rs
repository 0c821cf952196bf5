//! Tables that come and go while a pipeline runs on, tables that are read anew, and logs that cannot be continued.

use millrace_testkit::pipeline::{Draft, Pipeline};
use millrace_testkit::postgres::Settings;
use millrace_testkit::process::{Ended, Invocation};
use millrace_testkit::workload::{self, Load};

use crate::shop::{MILLRACE, PATIENCE, Shop, millrace, wait};

#[test]
fn tables_join_and_leave_by_an_edited_file() {
    let mut shop = Shop::with(Settings::default(), &["customers", "visits"], |draft| draft);
    let load = shop.load(0);
    shop.catch_up();
    // orders and order_lines join with the rows that they have by now, customers leaves.
    edit(&mut shop, &["orders", "visits", "order_lines"]);
    let mut running = shop.streaming();
    let finished = |table: &'static str| {
        move |line: &millrace_testkit::process::Line| {
            line.code == "snapshot_finished" && line.fields["table"] == format!("shop.public.{table}")
        }
    };
    for table in ["orders", "order_lines"] {
        running.wait_until("the snapshot of a table that joined", PATIENCE, finished(table)).unwrap();
    }
    let leaving = running.wait_for("leaving", PATIENCE).unwrap();
    assert_eq!(leaving.fields["tables"], serde_json::json!(["shop.public.customers"]));
    settle(&shop, &load, running);
    assert_eq!(published(&shop), "order_lines,orders,visits");
    // The one that left comes back, and is read anew.
    edit(&mut shop, &workload::TABLES);
    let mut running = shop.streaming();
    running.wait_until("the snapshot of a table that came back", PATIENCE, finished("customers")).unwrap();
    settle(&shop, &load, running);
    load.stop().unwrap();
    shop.catch_up();
    shop.compare_independently();
}

#[test]
fn a_restart_reads_all_tables_or_the_named_ones_anew() {
    let shop = Shop::open();
    let load = shop.load(0);
    wait_for_rows(&load);
    shop.catch_up();
    for (flags, tables) in [
        (&["--snapshot", "--yes"][..], &workload::TABLES[..]),
        (&["--snapshot", "--yes", "--tables", "public.orders,public.visits"], &["orders", "visits"]),
    ] {
        let restarted = shop.command("restart", flags).json(PATIENCE).unwrap();
        assert_eq!(restarted["new_slot"], false);
        assert!(restarted["removed"].as_u64() > Some(0), "{restarted}");
        let running = {
            let mut running = shop.streaming();
            running
                .wait_for_lines("the snapshots", PATIENCE, |lines| {
                    let finished = lines.iter().filter(|line| line.code == "snapshot_finished").count();
                    (finished >= tables.len()).then_some(())
                })
                .unwrap();
            running
        };
        let mut read: Vec<String> = running
            .lines()
            .iter()
            .filter(|line| line.code == "snapshot_started")
            .map(|line| line.fields["table"].as_str().unwrap().rsplit('.').next().unwrap().to_owned())
            .collect();
        // A table that is truncated meanwhile starts again.
        read.sort();
        read.dedup();
        let mut expected = tables.to_vec();
        expected.sort_unstable();
        assert_eq!(read, expected);
        settle(&shop, &load, running);
    }
    load.stop().unwrap();
}

#[test]
fn a_table_that_is_dropped_and_made_again_starts_anew() {
    let shop = Shop::with(Settings::default(), &["visits", "parts"], |draft| draft);
    shop.database
        .sql("CREATE TABLE parts (id int PRIMARY KEY, name text); INSERT INTO parts VALUES (1, 'old'), (2, 'old')")
        .unwrap();
    catch_up(&shop, "PG-025");
    // While nobody looks. The log speaks of a table that the catalogue has forgotten, and a warning says so.
    shop.database.sql("INSERT INTO parts VALUES (3, 'old'); DROP TABLE parts; CREATE TABLE parts (id int PRIMARY KEY, weight int); INSERT INTO parts VALUES (1, 7)").unwrap();
    catch_up(&shop, "PG-025");
    shop.fsck();
    shop.compare();
    // And while it runs.
    let mut running = shop.command("run", &[]).allow("PG-025").start().unwrap();
    running.wait_for("streaming", PATIENCE).unwrap();
    shop.database.sql("INSERT INTO parts VALUES (2, 8)").unwrap();
    shop.database.sql("DROP TABLE parts; CREATE TABLE parts (id int PRIMARY KEY, weight int, note text); INSERT INTO parts VALUES (5, 9, 'new')").unwrap();
    running.wait_for("snapshot_finished", PATIENCE).unwrap();
    shop.database.sql("INSERT INTO parts VALUES (6, 9, 'newer')").unwrap();
    running.stop(PATIENCE).unwrap();
    catch_up(&shop, "PG-025");
    shop.fsck();
    shop.compare_independently();
}

#[test]
fn a_star_takes_a_later_table_with_a_key_and_leaves_one_without_out() {
    let mut shop = Shop::with(Settings::default(), &["*"], |draft| draft);
    let mut running = shop.command("run", &[]).allow("PG-017").start().unwrap();
    running.wait_for("streaming", PATIENCE).unwrap();
    shop.database.sql("CREATE TABLE heap (a int); INSERT INTO heap VALUES (1)").unwrap();
    shop.database
        .sql("CREATE TABLE later (id int PRIMARY KEY, a text); INSERT INTO later VALUES (1, 'there already')")
        .unwrap();
    running
        .wait_until("the snapshot of the later table", PATIENCE, |line| {
            line.code == "snapshot_finished" && line.fields["table"] == "shop.public.later"
        })
        .unwrap();
    // The user's own updates of a table without a key go on: it is in no publication.
    shop.database.sql("UPDATE heap SET a = 2; INSERT INTO later VALUES (2, 'streamed')").unwrap();
    running.stop(PATIENCE).unwrap();
    catch_up(&shop, "PG-017");
    shop.fsck();
    shop.pipeline.tables = ["later"].iter().chain(&workload::TABLES).map(|table| (*table).to_owned()).collect();
    shop.compare();
    assert!(!published(&shop).contains("heap"));
}

#[test]
fn a_lost_slot_ends_a_run_with_66_and_a_restart_cures_it() {
    let shop = Shop::open();
    let load = shop.load(0);
    wait_for_rows(&load);
    shop.catch_up();
    assert_eq!(check(&shop.pipeline), ["ok"]);
    shop.database.sql("SELECT pg_drop_replication_slot('millrace_shop')").unwrap();
    assert_eq!(check(&shop.pipeline), ["EN-004 millrace restart FILE --snapshot"]);
    let ended = refused(shop.command("run", &[]), 66);
    assert!(cures(&ended).iter().any(|cure| cure.contains("millrace restart FILE --snapshot")), "{:#?}", ended.lines);
    let restarted = shop.command("restart", &["--snapshot", "--yes"]).json(PATIENCE).unwrap();
    assert_eq!(restarted["new_slot"], true);
    load.stop().unwrap();
    let running = shop.streaming();
    assert_eq!(check(&shop.pipeline), ["ok"], "beside a pipeline that runs");
    running.stop(PATIENCE).unwrap();
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

#[test]
fn another_pipeline_at_the_root_is_refused_with_64_and_changes_nothing() {
    let shop = Shop::open();
    shop.catch_up();
    let head = shop.status()["head"].clone();
    let other = Draft::new("other", &shop.database, &["orders"]).write(shop.folder()).unwrap();
    assert_eq!(check(&other), ["EN-001 millrace restart FILE --snapshot --adopt"]);
    let ended = refused(millrace("run", &other, &[]), 64);
    assert!(cures(&ended).iter().any(|cure| cure.contains("--adopt")), "{:#?}", ended.lines);
    assert_eq!(shop.status()["head"], head);
}

#[test]
fn a_slot_of_the_default_name_without_a_chain_is_refused_with_66() {
    let shop = Shop::open();
    shop.catch_up();
    let elsewhere = tempfile::tempdir().unwrap();
    let pipeline = Draft::new("shop", &shop.database, &["orders"]).write(elsewhere.path()).unwrap();
    assert_eq!(check(&pipeline), ["EN-008 millrace restart FILE --snapshot"]);
    let ended = refused(millrace("run", &pipeline, &[]), 66);
    assert!(cures(&ended).iter().any(|cure| cure.contains("slot.name")), "{:#?}", ended.lines);
    assert!(!elsewhere.path().join("lake/_millrace/commits").exists());
    shop.catch_up();
}

/// Runs a command that must end with this code; its log.
fn refused(invocation: Invocation, code: i32) -> Ended {
    let ended = invocation.allow("fault").complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(code), "{:#?}", ended.lines);
    ended
}

/// The errors that `check` finds, each with the command of its cure; `ok` where there are none.
fn check(pipeline: &Pipeline) -> Vec<String> {
    let mut command = std::process::Command::new(MILLRACE);
    let output = command.args(["--format", "json", "check"]).arg(&pipeline.file).output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(i32::from(result["ok"] != true)));
    let findings = result["findings"].as_array().unwrap();
    let errors = findings.iter().filter(|finding| finding["severity"] == "error");
    let shown = |finding: &serde_json::Value| {
        let command = finding["cure"].as_str().unwrap().split('`').find(|part| part.starts_with("millrace"));
        format!("{} {}", finding["code"].as_str().unwrap(), command.unwrap_or_default())
    };
    let errors: Vec<String> = errors.map(shown).collect();
    if errors.is_empty() && result["ok"] == true { vec!["ok".into()] } else { errors }
}

/// Catches up where a warning is due.
fn catch_up(shop: &Shop, warning: &str) {
    let ended = shop.command("run", &["--until", "now"]).allow(warning).complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
}

fn cures(ended: &Ended) -> Vec<String> {
    ended.lines.iter().filter_map(|line| line.fields.get("cure")?.as_str().map(str::to_owned)).collect()
}

/// While the shop stands still: the run is stopped, the rest is caught up, and lake and source are equal.
fn settle(shop: &Shop, load: &Load, running: millrace_testkit::process::Millrace) {
    let _pause = load.pause();
    running.stop(PATIENCE).unwrap();
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

fn wait_for_rows(load: &Load) {
    wait("some transactions", || load.done().transactions >= 150);
}

/// The pipeline file names these tables from now on.
fn edit(shop: &mut Shop, tables: &[&str]) {
    shop.pipeline = Draft::new("shop", &shop.database, tables)
        .property("commit.interval", "100ms")
        .property("heartbeat.interval", "500ms")
        .write(shop.folder())
        .unwrap();
}

fn published(shop: &Shop) -> String {
    let tables = "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_publication_tables WHERE pubname = 'millrace_shop'";
    shop.database.sql(tables).unwrap()
}
