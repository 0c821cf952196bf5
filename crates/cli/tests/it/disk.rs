//! A lake that cannot be written: full, read-only, without hard links, or answering after the fact. Each is named with its
//! cure, and nothing is lost by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use millrace_testkit::disk::{SmallDisk, is_root};
use millrace_testkit::process::Invocation;

use crate::shop::{MILLRACE, PATIENCE, Shop, wait};
use crate::trace;

#[test]
fn a_full_disk_is_waited_for_and_loses_nothing() {
    let shop = Shop::open();
    let disk = SmallDisk::mount(&shop.pipeline.lake, "16m").unwrap();
    let mut running = shop.streaming();
    let load = shop.load(0);
    running
        .wait_for_lines("some commits", PATIENCE, |lines| {
            (lines.iter().filter(|line| line.code == "committed").count() > 3).then_some(())
        })
        .unwrap();
    let ballast = disk.path().join("ballast");
    fill(&ballast);
    let full = |line: &millrace_testkit::process::Line| line.fields.get("fault").is_some_and(|fault| fault == "FL-002");
    let line = running.wait_until("a word about the full disk", PATIENCE, full).unwrap();
    assert!(line.message.contains("no space left"), "{line:?}");
    assert!(!running.has_ended());
    let before = running.lines().iter().filter(|line| line.code == "committed").count();
    fs::remove_file(&ballast).unwrap();
    running
        .wait_for_lines("a commit after the full disk", PATIENCE, |lines| {
            (lines.iter().filter(|line| line.code == "committed").count() > before).then_some(())
        })
        .unwrap();
    load.stop().unwrap();
    running.stop(PATIENCE).unwrap();
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

#[test]
fn a_disk_that_becomes_read_only_ends_a_run_with_77_and_loses_nothing() {
    let shop = Shop::open();
    let disk = SmallDisk::mount(&shop.pipeline.lake, "64m").unwrap();
    let running = shop.command("run", &[]).allow("fault").start().unwrap();
    let load = shop.load(0);
    wait("some transactions", || load.done().transactions > 100);
    // Not while a file is open for writing, so it may take a few attempts.
    wait("the disk to become read-only", || disk.remount("ro"));
    let ended = running.wait(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(77), "{:#?}", ended.lines);
    let fault = ended.lines.iter().find(|line| line.code == "fault").unwrap();
    assert_eq!(fault.fields["fault"], "FL-003");
    assert!(fault.fields["cure"].as_str().unwrap().contains("write below the target's path"), "{fault:?}");
    load.stop().unwrap();
    assert!(disk.remount("rw"));
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

#[test]
fn a_folder_that_may_not_be_written_is_refused_with_77_and_its_cure() {
    let shop = Shop::open();
    let lake = &shop.pipeline.lake;
    fs::create_dir(lake).unwrap();
    fs::set_permissions(lake, fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(shop.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = if is_root() {
        ["--reuid=nobody", "--regid=nogroup", "--clear-groups", MILLRACE]
            .iter()
            .fold(Invocation::of(Path::new("setpriv"), [""; 0]), Invocation::argument)
    } else {
        Invocation::of(Path::new(MILLRACE), [""; 0])
    };
    let ended = run.argument("run").argument(&shop.pipeline.file).allow("FL-003").complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(77), "{:#?}", ended.lines);
    let line = ended.lines.iter().find(|line| line.code == "FL-003").unwrap();
    assert!(line.fields["cure"].as_str().unwrap().contains("write below the target's path"), "{line:?}");
    fs::set_permissions(lake, fs::Permissions::from_mode(0o755)).unwrap();
    shop.catch_up();
    shop.compare();
}

#[test]
fn a_filesystem_without_hard_links_is_refused_with_a_cure() {
    let shop = Shop::open();
    let run = trace::failing("linkat:error=EPERM", &["run", shop.pipeline.file.to_str().unwrap()]);
    let ended = run.allow("FL-004").complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(1), "{:#?}", ended.lines);
    let line = ended.lines.iter().find(|line| line.code == "FL-004").unwrap();
    assert!(line.fields["cure"].as_str().unwrap().contains("hard links"), "{line:?}");
    shop.catch_up();
    shop.compare();
}

#[test]
fn an_answer_that_is_lost_after_success_is_no_fence_and_no_loss() {
    let shop = Shop::open();
    shop.catch_up();
    // Each second sync that a thread asks for of the folder of commits fails: the commit stands there already.
    let commits = shop.pipeline.lake.join("_millrace/commits/00000000");
    let fault = "fsync:error=EIO:when=2+2";
    let run = trace::failing_at(&commits, fault, &["run", shop.pipeline.file.to_str().unwrap()]);
    let mut running = run.allow("retrying").start().unwrap();
    let load = shop.load(0);
    running
        .wait_for_lines("lost answers, and commits all the same", PATIENCE, |lines| {
            let lost = lines.iter().enumerate().filter(|(_, line)| line.code == "retrying").nth(3)?.0;
            lines[lost..].iter().any(|line| line.code == "committed").then_some(())
        })
        .unwrap();
    load.stop().unwrap();
    shop.wait_until_released();
    running.stop(PATIENCE).unwrap();
    shop.fsck();
    shop.compare();
}

/// Writes `ballast` until there is no room for anything more.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    let full = std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
}
