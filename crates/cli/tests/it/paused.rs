//! A writer that is stopped at a random moment, for so long that another takes over, and then goes on as if nothing had
//! happened: it must notice, leave, and add nothing to the chain.

use std::fs;
use std::thread;
use std::time::Duration;

use millrace_testkit::postgres::Settings;
use millrace_testkit::process::Millrace;
use millrace_testkit::workload::{self, Random};
use serde_json::Value;

use crate::shop::{PATIENCE, Shop, is_long, wait};

/// The exit codes of a writer that finds another in its place.
const ANOTHER_HAS_IT: [i32; 2] = [75, 76];

#[test]
fn a_paused_writer_that_another_replaced_leaves_and_adds_nothing() {
    let impatient = Settings::default().set("wal_sender_timeout", "3s");
    let shop = Shop::with(impatient, &workload::TABLES, |draft| draft);
    let load = shop.load(0);
    let mut random = Random::new(2);
    let mut first = streaming(&shop);
    for _ in 0..if is_long() { 50 } else { 5 } {
        first.wait_for("committed", PATIENCE).unwrap();
        // The random moment is what is tested here; nothing is waited for.
        thread::sleep(Duration::from_millis(random.below(400)));
        first.signal("STOP").unwrap();
        let mut second = streaming(&shop);
        second.wait_for("committed", PATIENCE).unwrap();
        first.signal("CONT").unwrap();
        let ended = first.wait(PATIENCE).unwrap();
        assert!(ended.code.is_some_and(|code| ANOTHER_HAS_IT.contains(&code)), "{:#?}", ended.lines);
        let claim = second.wait_for("claimed", PATIENCE).unwrap().number("commit").unwrap();
        // Looked at after the first has ended: whatever it could have added is there by now.
        let strangers: Vec<u64> =
            writers(&shop).into_iter().filter(|(commit, by)| *commit >= claim && *by != claim).map(|it| it.0).collect();
        assert_eq!(strangers, [0; 0], "commits of another after claim {claim}");
        shop.fsck();
        first = second;
    }
    load.stop().unwrap();
    first.stop(PATIENCE).unwrap();
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

#[test]
fn a_writer_that_is_paused_while_it_starts_stands_in_nobodys_way() {
    let impatient = Settings::default().set("wal_sender_timeout", "1s");
    let shop = Shop::with(impatient, &workload::TABLES, |draft| draft);
    let load = shop.load(0);
    let mut random = Random::new(3);
    shop.catch_up();
    for _ in 0..if is_long() { 50 } else { 5 } {
        let first = shop.command("run", &[]).allow("fault").start().unwrap();
        // The random moment is what is tested here; nothing is waited for.
        thread::sleep(Duration::from_millis(random.below(150)));
        first.signal("STOP").unwrap();
        let mut second = streaming(&shop);
        second.wait_for("committed", PATIENCE).unwrap();
        first.signal("CONT").unwrap();
        // It has claimed, or has not even begun to. Either way one of the two goes on, and the other is told.
        wait("one of the two to leave", || first.has_ended() || second.has_ended());
        let (left, stays) = if first.has_ended() { (first, second) } else { (second, first) };
        let ended = left.wait(PATIENCE).unwrap();
        assert!(ended.code.is_some_and(|code| ANOTHER_HAS_IT.contains(&code)), "{:#?}", ended.lines);
        shop.fsck();
        stays.stop(PATIENCE).unwrap();
        shop.fsck();
    }
    load.stop().unwrap();
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

/// A run that streams; in the end it may find itself replaced.
fn streaming(shop: &Shop) -> Millrace {
    let mut running = shop.command("run", &[]).allow("fault").start().unwrap();
    running.wait_for("streaming", PATIENCE).unwrap();
    running
}

/// Each commit's number, and the claim of the writer that made it.
fn writers(shop: &Shop) -> Vec<(u64, u64)> {
    let mut writers = Vec::new();
    for folder in fs::read_dir(shop.pipeline.lake.join("_millrace/commits")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let commit: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
            writers.push((commit["commit"].as_u64().unwrap(), commit["writer"]["claim"].as_u64().unwrap()));
        }
    }
    writers
}
