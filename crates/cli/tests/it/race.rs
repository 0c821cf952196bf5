//! Many processes that want one commit number: twenty in the long tier. The first streams and has changes for it, the others have read the head
//! below it and claim. All are held until the last of them stands there, then they go at once: the number is created once,
//! in the end one writer goes on, and the others are told.

use std::path::{Path, PathBuf};

use millrace_testkit::gate::Gate;
use millrace_testkit::postgres::Settings;
use millrace_testkit::process::{Invocation, Millrace};
use millrace_testkit::spawn;
use millrace_testkit::stores::{Program, StoreServer};
use millrace_testkit::workload::{self, Mover};
use serde_json::Value;

use crate::shop::{PATIENCE, Shop, is_long, wait};
use crate::trace;

/// The exit codes of a writer that finds another in its place.
const ANOTHER_HAS_IT: [i32; 2] = [75, 76];

/// What holds writers before they create the commit that is raced for.
trait Hold {
    /// A run that will be held there.
    fn run(&self, shop: &Shop) -> Invocation;

    /// Holds from now on, and not before.
    fn begin(&self) {}

    /// How many it holds.
    fn held(&self) -> usize;

    /// Lets all go at once; back when each of them has its number or has not.
    fn release(&self, writers: &[Millrace]);
}

#[test]
fn of_many_processes_that_want_one_commit_number_of_a_disk_one_goes_on() {
    let shop = Shop::with(impatient(), &workload::TABLES, quiet);
    shop.catch_up();
    // The first will claim the next number, and commit under the one after it.
    let contested = shop.status()["head"].as_u64().unwrap() + 2;
    // As the pipeline file says it, for whoever compares texts.
    race(&shop, &Disk::of(&shop.folder().join("./lake"), contested));
}

#[test]
fn of_many_processes_that_want_one_commit_number_of_a_store_one_goes_on() {
    let all = [Program::VersityGw, Program::SeaweedFs, Program::Azurite, Program::FakeGcs];
    for program in all.into_iter().take(if is_long() { all.len() } else { 1 }) {
        let server = StoreServer::shared(program);
        let gate = Gate::to(server.port(), is_commit).unwrap();
        let place = server.place("race", gate.port());
        let shop = Shop::with(impatient(), &workload::TABLES, |draft| quiet(draft).to(place));
        shop.catch_up();
        race(&shop, &gate);
        assert_one_number(&gate.held_requests());
        let made = gate.statuses().into_iter().filter(|status| (200..300).contains(status)).count();
        assert_eq!(made, 1, "{program:?} {:?}", gate.statuses());
    }
}

fn writers_wanted() -> usize {
    if is_long() { 20 } else { 6 }
}

/// Who waits for the slot of another gives up after twice this long.
fn impatient() -> Settings {
    Settings::default().set("wal_sender_timeout", "4s")
}

/// Without heartbeats: the first commit after a claim is one of changes.
fn quiet(draft: millrace_testkit::pipeline::Draft) -> millrace_testkit::pipeline::Draft {
    draft.property("heartbeat.interval", "1h")
}

fn race(shop: &Shop, hold: &impl Hold) {
    let start = || hold.run(shop).allow("retrying").allow("PG-012").allow("fault").start().unwrap();
    let mut first = start();
    first.wait_for("streaming", PATIENCE).unwrap();
    hold.begin();
    workload::move_rows(&shop.database, &mut Mover::new(3, 90), 20).unwrap();
    let mut writers = vec![first];
    loop {
        wait(&format!("writer {} before its commit", writers.len()), || hold.held() == writers.len());
        // It stands still, as far as it is concerned for a moment; meanwhile the server takes it for dead.
        writers.last().unwrap().signal("STOP").unwrap();
        free_the_slot(shop);
        if writers.len() == writers_wanted() {
            break;
        }
        writers.push(start());
    }
    // Who has the slot and is fenced finds out when it commits.
    let load = shop.load(0);
    hold.release(&writers);
    writers.iter().for_each(|writer| writer.signal("CONT").unwrap());
    wait("all but one to leave", || writers.iter().filter(|writer| !writer.has_ended()).count() <= 1);
    let (left, mut stay): (Vec<_>, Vec<_>) = writers.into_iter().partition(Millrace::has_ended);
    for writer in left {
        let ended = writer.wait(PATIENCE).unwrap();
        assert!(ended.code.is_some_and(|code| ANOTHER_HAS_IT.contains(&code)), "{:#?}", ended.lines);
    }
    assert_eq!(stay.len(), 1, "one writer goes on");
    let mut last = stay.remove(0);
    last.wait_for("committed", PATIENCE).unwrap();
    load.stop().unwrap();
    last.stop(PATIENCE).unwrap();
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

/// Ends the connection of whoever reads the slot.
fn free_the_slot(shop: &Shop) {
    let end = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'millrace_shop' AND active";
    shop.database.sql(end).unwrap();
    wait("the slot to be free", || !shop.slot_is_active());
}

/// Whether a request to a store puts a commit there; Google's have its name in their body.
fn is_commit(request: &str) -> bool {
    (request.starts_with("PUT ") || request.starts_with("POST ")) && request.contains("/_millrace/commits/")
}

/// That these are the requests of all writers, for one number, the first for changes and all others for claims.
fn assert_one_number(requests: &[String]) {
    let commit = |request: &String| -> (u64, String) {
        let json = request.get(request.find("{\"format\"").unwrap()..).unwrap();
        // More may follow it.
        let commit: Value = serde_json::Deserializer::from_str(json).into_iter().next().unwrap().unwrap();
        (commit["commit"].as_u64().unwrap(), commit["kind"].as_str().unwrap().to_owned())
    };
    let commits: Vec<(u64, String)> = requests.iter().map(commit).collect();
    let number = commits[0].0;
    let wanted = ["changes"].into_iter().chain(std::iter::repeat("claim")).map(|kind| (number, kind.to_owned()));
    assert_eq!(commits, wanted.take(writers_wanted()).collect::<Vec<_>>());
}

impl Hold for Gate {
    fn run(&self, shop: &Shop) -> Invocation {
        shop.command("run", &[])
    }

    fn begin(&self) {
        self.close();
    }

    fn held(&self) -> usize {
        self.held_requests().len()
    }

    fn release(&self, writers: &[Millrace]) {
        self.open();
        wait("an answer to each", || self.statuses().len() == writers.len());
    }
}

/// A lake on a disk: whoever wants to give a commit its name is halted there by a watcher.
struct Disk {
    commit: PathBuf,
    unnamed: PathBuf,
}

impl Disk {
    fn of(lake: &Path, commit: u64) -> Self {
        let own = lake.join("_millrace");
        Self { commit: own.join(format!("commits/{:08}/{commit:012}.json", commit / 10_000)), unnamed: own.join("tmp") }
    }
}

impl Hold for Disk {
    fn run(&self, shop: &Shop) -> Invocation {
        let arguments = ["--format", "json", "run", shop.pipeline.file.to_str().unwrap()];
        trace::halting_before(&self.commit, &arguments)
    }

    /// Each has the bytes of its commit there, still without their name.
    fn held(&self) -> usize {
        let files = std::fs::read_dir(&self.unnamed).into_iter().flatten().flatten();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts.filter(|text| text.starts_with("{\"format\"") && text.contains("\"previous\"")).count()
    }

    fn release(&self, writers: &[Millrace]) {
        let watchers = writers.iter().map(|writer| trace::watcher(writer.id()).to_string());
        spawn::complete(std::process::Command::new("kill").arg("-KILL").args(watchers)).unwrap();
        wait("a commit of that number", || self.commit.exists());
    }
}
