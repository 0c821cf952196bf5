//! What the operating system was asked for, and in which order: data before the commit, the commit before the release.

use std::path::{Path, PathBuf};

use millrace_testkit::postgres::Settings;
use millrace_testkit::workload::{self, Mover};
use serde_json::Value;

use crate::shop::{PATIENCE, Shop};
use crate::trace::{self, Act, Call};

#[test]
fn data_is_durable_before_its_commit_and_the_commit_before_the_release() {
    let shop = Shop::with(Settings::default().durable(), &workload::TABLES, |draft| draft);
    let trace = shop.folder().join("trace");
    // Something for the snapshot, then something for the stream.
    workload::move_rows(&shop.database, &mut Mover::new(5, 0), 60).unwrap();
    let arguments = ["--format", "json", "run", shop.pipeline.file.to_str().unwrap()];
    let mut running = trace::traced(&trace, &arguments).start().unwrap();
    running.wait_for("snapshot_finished", PATIENCE).unwrap();
    for mover in 1..7 {
        workload::move_rows(&shop.database, &mut Mover::new(5, mover), 60).unwrap();
        shop.wait_until_released();
    }
    let process = running.id();
    // Where the slot began; to say so again makes the source forget nothing.
    let begun = lsn(running.wait_for("streaming", PATIENCE).unwrap().fields["position"].as_str().unwrap());
    running.stop(PATIENCE).unwrap();
    let calls = trace::read(&trace, process);
    let judged = judge(&shop.pipeline.lake, &calls, begun).unwrap();
    assert!(judged.commits > 5 && judged.files > 8 && judged.releases > 3, "{judged:?}");
    // What would be found, were it otherwise.
    for (what, is_left_out) in omissions(&shop.pipeline.lake) {
        let fewer: Vec<Call> = calls.iter().filter(|call| !is_left_out(&call.act)).cloned().collect();
        assert!(judge(&shop.pipeline.lake, &fewer, begun).is_err(), "{what}: nothing was found");
    }
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

type Omission = Box<dyn Fn(&Act) -> bool>;

/// Syncs that a careless writer would leave out.
fn omissions(lake: &Path) -> Vec<(&'static str, Omission)> {
    let sync_in = |folder: PathBuf| move |act: &Act| matches!(act, Act::Synced(path) if path.starts_with(&folder));
    vec![
        ("unfinished files", Box::new(sync_in(lake.join("_millrace/tmp")))),
        ("folders of data", Box::new(sync_in(lake.join("shop")))),
        ("folders of commits", Box::new(sync_in(lake.join("_millrace/commits")))),
        ("folders of states", Box::new(sync_in(lake.join("_millrace/state")))),
    ]
}

/// How much was looked at.
#[derive(Debug, Default)]
struct Judged {
    commits: usize,
    files: usize,
    releases: usize,
}

/// Holds each commit and each release against what was durable before it began.
fn judge(lake: &Path, calls: &[Call], begun: u64) -> Result<Judged, String> {
    let mut judged = Judged::default();
    // Positions that commits hold, and from when on they do so for good.
    let mut held: Vec<(u64, usize)> = Vec::new();
    for call in calls {
        let Act::Linked(_, path) = &call.act else { continue };
        if !path.starts_with(lake.join("_millrace/commits")) {
            continue;
        }
        let commit: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for needed in needed_by(lake, &commit) {
            durable(lake, calls, &needed, call.begin)
                .map_err(|why| format!("{} of {}: {why}", needed.display(), path.display()))?;
            judged.files += 1;
        }
        judged.commits += 1;
        if let Some(position) = commit["checkpoint"]["position"].as_str() {
            let at = named(calls, path, usize::MAX).ok_or(format!("{} is not durable", path.display()))?;
            held.push((lsn(position), at));
        }
    }
    for call in calls {
        let Act::Released(position) = call.act else { continue };
        if position <= begun {
            continue;
        }
        if !held.iter().any(|(committed, at)| *committed >= position && *at < call.begin) {
            return Err(format!("{position:X} is released at {} and held by no commit", call.begin));
        }
        judged.releases += 1;
    }
    Ok(judged)
}

/// The files that a commit names.
fn needed_by(lake: &Path, commit: &Value) -> Vec<PathBuf> {
    let files = commit["files"].as_array().unwrap().iter();
    let mut needed: Vec<PathBuf> = files.map(|file| lake.join(file["path"].as_str().unwrap())).collect();
    if let Some(registry) = commit["tables"]["path"].as_str() {
        let registry = lake.join(registry);
        let tables: Value = serde_json::from_slice(&std::fs::read(&registry).unwrap()).unwrap();
        needed.extend(tables["tables"].as_array().unwrap().iter().map(|it| lake.join(it["path"].as_str().unwrap())));
        needed.push(registry);
    }
    needed
}

/// Bytes, name and folders of a file of the lake were on the disk before `deadline`.
fn durable(lake: &Path, calls: &[Call], file: &Path, deadline: usize) -> Result<(), String> {
    let linked = calls.iter().find_map(|call| match &call.act {
        Act::Linked(from, to) if to == file => Some((call.begin, from)),
        _ => None,
    });
    let (linked, from) = linked.ok_or("it was never linked")?;
    let synced = calls.iter().any(|call| call.end < linked && call.act == Act::Synced(from.clone()));
    if !synced {
        return Err("it got its name before its bytes were synced".into());
    }
    if named(calls, file, deadline).is_none() {
        return Err("its folder was not synced in time".into());
    }
    for folder in file.ancestors().skip(1).take_while(|folder| folder.starts_with(lake)) {
        let was_made = calls.iter().any(|call| call.act == Act::Made(folder.to_owned()));
        if was_made && named(calls, folder, deadline).is_none() {
            return Err(format!("the folder of {} was not synced in time", folder.display()));
        }
    }
    Ok(())
}

/// When the folder of a name was synced after the name was given, if it was before `deadline`.
fn named(calls: &[Call], path: &Path, deadline: usize) -> Option<usize> {
    let given = calls.iter().find_map(|call| match &call.act {
        Act::Linked(_, to) if to == path => Some(call.end),
        Act::Made(made) if made == path => Some(call.end),
        _ => None,
    })?;
    let folder = Act::Synced(path.parent()?.to_owned());
    let synced = calls.iter().filter(|call| call.begin > given && call.end < deadline && call.act == folder);
    synced.map(|call| call.end).min()
}

/// `16/B374D848` as a number.
fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}
