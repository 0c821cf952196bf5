//! A server that is an earlier copy of itself: restored from a backup, or a standby that was promoted.

use std::fs;
use std::path::Path;
use std::process::Command;

use millrace_testkit::postgres::Settings;
use millrace_testkit::process::Ended;

use crate::shop::{PATIENCE, Shop, wait};

/// A shop with one table, and ten rows of it in the lake.
fn shop() -> Shop {
    let shop = Shop::with(Settings::default(), &["t"], |draft| draft);
    shop.database.sql("CREATE TABLE t (id bigint PRIMARY KEY, v text)").unwrap();
    insert(&shop, 1, 10);
    shop.catch_up();
    shop
}

fn insert(shop: &Shop, from: u32, to: u32) {
    let rows = format!("INSERT INTO t SELECT n, repeat(md5(n::text), 20) FROM generate_series({from}, {to}) n");
    shop.database.sql(&rows).unwrap();
}

/// A copy of the server that stands still, in the place of `to`.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// The server as it was when `backup` was taken.
fn restore(shop: &mut Shop, backup: &Path) {
    shop.server.stop().unwrap();
    copy(backup, shop.server.data());
    shop.server.launch().unwrap();
}

/// The same, as a standby that is promoted.
fn promote(shop: &mut Shop, backup: &Path) {
    shop.server.stop().unwrap();
    let data = shop.server.data().to_owned();
    copy(backup, &data);
    fs::write(data.join("standby.signal"), "").unwrap();
    let (like, signal) = (data.join("PG_VERSION"), data.join("standby.signal"));
    let given = Command::new("chown").arg("--reference").arg(like).arg(signal).status().unwrap();
    assert!(given.success());
    shop.server.launch().unwrap();
    shop.server.sql("SELECT pg_promote()").unwrap();
    wait("the promotion", || shop.server.sql("SELECT pg_is_in_recovery()").unwrap() == "f");
}

fn refused(shop: &Shop) -> Ended {
    let ended = shop.command("run", &["--until", "now"]).allow("fault").complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(66), "{:#?}", ended.lines);
    assert!(ended.lines.iter().any(|line| line.fields.get("fault").is_some_and(|fault| fault == "EN-024")));
    ended
}

/// What the operator does then.
fn restarted(shop: &Shop) {
    let check = shop.command("check", &[]).complete(PATIENCE).unwrap();
    assert!(check.stdout.contains("EN-024"), "{}", check.stdout);
    let restart = shop.command("restart", &["--snapshot", "--yes"]).complete(PATIENCE).unwrap();
    assert_eq!(restart.code, Some(0), "{:#?}", restart.lines);
    shop.catch_up();
    insert(shop, 90_001, 90_010);
    shop.catch_up();
    shop.fsck();
    shop.compare();
    shop.compare_independently();
}

/// A backup of the server as it is now.
fn backed_up(shop: &mut Shop, folder: &Path) {
    shop.server.stop().unwrap();
    copy(shop.server.data(), folder);
    shop.server.launch().unwrap();
}

#[test]
fn a_server_that_was_restored_from_a_backup_is_refused_and_read_anew_by_a_restart() {
    let mut shop = shop();
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    backed_up(&mut shop, &backup);
    insert(&shop, 11, 2_000);
    shop.catch_up();
    restore(&mut shop, &backup);
    insert(&shop, 5_001, 5_010);
    refused(&shop);
    restarted(&shop);
}

#[test]
fn a_standby_that_was_promoted_before_it_had_everything_is_refused_also_when_it_has_grown_since() {
    let mut shop = shop();
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    backed_up(&mut shop, &backup);
    insert(&shop, 11, 200);
    shop.catch_up();
    promote(&mut shop, &backup);
    insert(&shop, 5_001, 9_000);
    let ended = refused(&shop);
    assert!(
        ended.lines.iter().any(|line| line.message.contains("timeline 2 left timeline 1 at")),
        "{:#?}",
        ended.lines
    );
    restarted(&shop);
}

#[test]
fn a_standby_that_had_everything_goes_on() {
    let mut shop = shop();
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    backed_up(&mut shop, &backup);
    promote(&mut shop, &backup);
    // More than once: from then on the lake was written from the new timeline.
    for first in [11, 21, 31] {
        insert(&shop, first, first + 9);
        shop.catch_up();
    }
    shop.fsck();
    shop.compare();
    shop.compare_independently();
}
