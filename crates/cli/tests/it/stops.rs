//! Ending in good order: at a signal, and by itself when the lake has caught up.

use std::time::{Duration, Instant};

use millrace_testkit::postgres::Settings;
use millrace_testkit::workload;

use crate::shop::{PATIENCE, Shop, wait};

/// Of the pipeline file's `stop.deadline` here.
const DEADLINE: Duration = Duration::from_secs(5);

#[test]
fn a_stop_commits_what_is_whole_and_leaves_the_slot_free() {
    let shop = Shop::with(Settings::default(), &workload::TABLES, |draft| {
        draft.property("commit.interval", "60s").property("stop.deadline", "5s")
    });
    let running = shop.streaming();
    let load = shop.load(0);
    for _ in 0..2 {
        let before = load.done().transactions;
        wait("a hundred transactions", || load.done().transactions >= before + 100);
    }
    load.stop().unwrap();
    // What has been sent can be seen by the source: all of it is with the process, and none of it is committed yet.
    let end = shop.database.sql("SELECT pg_current_wal_flush_lsn()").unwrap();
    wait_until_sent(&shop, &end);
    let asked = Instant::now();
    let ended = running.stop(PATIENCE).unwrap();
    assert!(asked.elapsed() < DEADLINE, "{:?}", asked.elapsed());
    assert!(!shop.slot_is_active());
    assert_eq!(ended.lines.last().map(|line| line.code.as_str()), Some("stopped"));
    shop.fsck();
    shop.compare();
}

#[test]
fn a_second_signal_ends_it_at_once_and_safely() {
    let shop = Shop::with(Settings::default(), &workload::TABLES, |draft| draft.property("stop.deadline", "60s"));
    let mut running = shop.command("run", &[]).allow("stopping").start().unwrap();
    running.wait_for("streaming", PATIENCE).unwrap();
    // A lake that gives no answer (its name leads in a circle) keeps the stop from ending.
    let lake = &shop.pipeline.lake;
    let away = lake.with_extension("away");
    std::fs::rename(lake, &away).unwrap();
    std::os::unix::fs::symlink(lake, lake).unwrap();
    shop.database.sql("INSERT INTO visits VALUES (1, 'page', 1, now())").unwrap();
    running.wait_for("retrying", PATIENCE).unwrap();
    running.signal("TERM").unwrap();
    running.wait_for("stopping", PATIENCE).unwrap();
    assert!(!running.has_ended());
    let asked = Instant::now();
    running.signal("TERM").unwrap();
    let ended = running.wait(PATIENCE).unwrap();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
    std::fs::remove_file(lake).unwrap();
    std::fs::rename(&away, lake).unwrap();
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

#[test]
fn until_now_is_quick_where_nothing_happens_and_ends_where_much_does() {
    let shop = Shop::with(Settings::default(), &workload::TABLES, |draft| draft.property("commit.interval", "1s"));
    shop.catch_up();
    for _ in 0..2 {
        let ended = shop.catch_up();
        assert!(ended.wall_time < Duration::from_secs(3), "{:?}", ended.wall_time);
    }
    let load = shop.load(0);
    for _ in 0..2 {
        let done = load.done().transactions;
        wait("a hundred transactions", || load.done().transactions >= done + 100);
        let end = shop.database.sql("SELECT pg_current_wal_flush_lsn()").unwrap();
        shop.catch_up();
        let checkpoint = shop.status()["checkpoint"]["position"].as_str().unwrap().to_owned();
        let is_past = format!("SELECT '{checkpoint}'::pg_lsn >= '{end}'::pg_lsn");
        assert_eq!(shop.database.sql(&is_past).unwrap(), "t", "{checkpoint} {end}");
    }
    load.stop().unwrap();
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

fn wait_until_sent(shop: &Shop, end: &str) {
    let sent = format!("SELECT count(*) FROM pg_stat_replication WHERE sent_lsn >= '{end}'");
    wait("the server to send everything", || shop.database.sql(&sent).unwrap() != "0");
}
