//! Lakes in object stores, end to end: real servers, a real database, a way between that fails, and kills.

use std::fs;
use std::thread;
use std::time::Duration;

use millrace_testkit::doors::{Authority, Door};
use millrace_testkit::flaky::Flaky;
use millrace_testkit::postgres::Settings;
use millrace_testkit::stores::{Program, StoreServer};
use millrace_testkit::workload::{self, Random};
use serde_json::Value;

use crate::shop::{PATIENCE, Shop, is_long, wait};

/// The exit codes of a writer that finds another in its place.
const ANOTHER_HAS_IT: [i32; 2] = [75, 76];

/// A shop whose lake lies in a folder of a store, reached through `port`.
fn shop_in(program: Program, prefix: &str, port: u16) -> Shop {
    let place = StoreServer::shared(program).place(prefix, port);
    let impatient = Settings::default().set("wal_sender_timeout", "3s");
    Shop::with(impatient, &workload::TABLES, |draft| draft.to(place))
}

#[test]
fn a_check_of_a_store_finds_nothing_and_leaves_nothing() {
    for program in [Program::SeaweedFs, Program::VersityGw, Program::Azurite, Program::FakeGcs] {
        let shop = shop_in(program, "checked", StoreServer::shared(program).port());
        let check = shop.command("check", &[]).json(PATIENCE).unwrap();
        assert_eq!(check["ok"], true, "{program:?} {check}");
        assert_eq!(shop.status()["head"], 0);
    }
}

#[test]
fn the_identity_of_a_profile_opens_the_bucket_where_the_environment_has_no_keys() {
    let shop = shop_in(Program::VersityGw, "profiled", StoreServer::shared(Program::VersityGw).port());
    let of = |name: &str| {
        let found = shop.pipeline.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap()
    };
    let (id, secret) = (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY"));
    let file = shop.folder().join("credentials");
    let profile = format!("[lake]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    fs::write(&file, profile).unwrap();
    let check = |profile: &str| -> Value {
        let without = shop.command("check", &[]).env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
        let asked = without.env("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()).env("AWS_PROFILE", profile);
        let asked = asked.env("AWS_CONFIG_FILE", "/nowhere").env("AWS_EC2_METADATA_DISABLED", "true");
        serde_json::from_str(&asked.complete(PATIENCE).unwrap().stdout).unwrap()
    };
    assert_eq!(check("lake")["ok"], true, "{}", check("lake"));
    let other = check("other");
    assert_eq!(other["ok"], false, "{other}");
    assert!(other["findings"].to_string().contains("ID-00"), "{other}");
}

#[test]
fn a_store_behind_a_certificate_authority_of_ones_own_is_reached_with_custom_cert_location() {
    let server = StoreServer::shared(Program::VersityGw);
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path()).unwrap();
    let door = Door::tls(&authority, server.port()).unwrap();
    let place = server.place_at("behind-tls", &format!("https://127.0.0.1:{}", door.port));
    let shop = Shop::with(Settings::default(), &workload::TABLES, |draft| draft.to(place));
    let check = |certificate: &str| -> Value {
        let asked = shop.command("check", &[]).env("CUSTOM_CERT_LOCATION", certificate);
        serde_json::from_str(&asked.complete(PATIENCE).unwrap().stdout).unwrap()
    };
    let trusted = check(authority.certificate.to_str().unwrap());
    assert_eq!(trusted["ok"], true, "{trusted}");
    let distrusted = check("");
    assert_eq!(distrusted["ok"], false, "{distrusted}");
    assert!(distrusted["findings"].to_string().contains("certificate"), "{distrusted}");
}

#[test]
fn kills_on_a_failing_way_to_s3_lose_and_double_nothing() {
    kills(Program::VersityGw);
}

#[test]
fn kills_on_a_failing_way_to_another_s3_lose_and_double_nothing() {
    kills(Program::SeaweedFs);
}

#[test]
fn kills_on_a_failing_way_to_azure_lose_and_double_nothing() {
    kills(Program::Azurite);
}

#[test]
fn kills_on_a_failing_way_to_google_lose_and_double_nothing() {
    kills(Program::FakeGcs);
}

fn kills(program: Program) {
    let straight = StoreServer::shared(program).port();
    let way = Flaky::to(straight, 7, 10).unwrap();
    let shop = shop_in(program, "raw/kills", way.port());
    let mut random = Random::new(5);
    let load = shop.load(0);
    for _ in 0..if is_long() { 50 } else { 4 } {
        let mut running = shop.run();
        if random.once_in(3) {
            running.wait_for("claimed", PATIENCE).unwrap();
        } else {
            running.wait_for("committed", PATIENCE).unwrap();
        }
        // The random moment is what is tested here; nothing is waited for.
        thread::sleep(Duration::from_millis(random.below(800)));
        running.kill().unwrap();
    }
    load.stop().unwrap();
    shop.catch_up();
    assert!(way.met() > 5, "{} requests met with something", way.met());
    way.set(0);
    shop.fsck();
    shop.compare();
    if program == Program::VersityGw {
        // It keeps objects as files: whoever knows nothing of us reads those.
        shop.compare_independently();
    }
}

#[test]
fn paused_writers_on_a_failing_way_to_s3_leave_and_add_nothing() {
    pauses(Program::VersityGw);
}

#[test]
fn paused_writers_on_a_failing_way_to_another_s3_leave_and_add_nothing() {
    pauses(Program::SeaweedFs);
}

#[test]
fn paused_writers_on_a_failing_way_to_azure_leave_and_add_nothing() {
    pauses(Program::Azurite);
}

#[test]
fn paused_writers_on_a_failing_way_to_google_leave_and_add_nothing() {
    pauses(Program::FakeGcs);
}

fn pauses(program: Program) {
    let way = Flaky::to(StoreServer::shared(program).port(), 8, 15).unwrap();
    let shop = shop_in(program, "raw/pauses", way.port());
    let mut random = Random::new(6);
    let load = shop.load(0);
    let streaming = || {
        let mut running = shop.command("run", &[]).allow("fault").start().unwrap();
        running.wait_for("streaming", PATIENCE).unwrap();
        running
    };
    let mut first = streaming();
    for _ in 0..if is_long() { 20 } else { 2 } {
        first.wait_for("committed", PATIENCE).unwrap();
        // The random moment is what is tested here; nothing is waited for.
        thread::sleep(Duration::from_millis(random.below(400)));
        first.signal("STOP").unwrap();
        let mut second = streaming();
        second.wait_for("committed", PATIENCE).unwrap();
        first.signal("CONT").unwrap();
        let ended = first.wait(PATIENCE).unwrap();
        assert!(ended.code.is_some_and(|code| ANOTHER_HAS_IT.contains(&code)), "{:#?}", ended.lines);
        first = second;
    }
    load.stop().unwrap();
    first.stop(PATIENCE).unwrap();
    shop.catch_up();
    way.set(0);
    let report: Value = shop.fsck();
    assert_eq!(report["ok"], true);
    shop.compare();
}

/// The next writer's sweep gives up the upload in which the first one was paused.
#[test]
fn a_writer_that_was_paused_in_an_upload_is_told_of_the_other_writer() {
    for program in [Program::VersityGw, Program::SeaweedFs] {
        let way = Door::refusing(StoreServer::shared(program).port(), |_line| None).unwrap();
        let shop = shop_in(program, "raw/given-up", way.port);
        let streaming = || {
            let mut running = shop.command("run", &[]).allow("fault").start().unwrap();
            running.wait_for("streaming", PATIENCE).unwrap();
            running.wait_for("committed", PATIENCE).unwrap();
            running
        };
        let load = shop.load(0);
        let first = streaming();
        load.stop().unwrap();
        // Some twenty megabytes that no compression makes fewer: a file in several pieces.
        let noise = "(SELECT string_agg(md5(random()::text || line || part), '') FROM generate_series(1, 100) part)";
        let rows = format!("SELECT 1000000 + line, {noise} FROM generate_series(1, 12000) line");
        shop.database.sql(&format!("INSERT INTO visits (customer_id, page) {rows}")).unwrap();
        wait("a piece of a file", || way.has_asked(|request| is_a_step(request, "PUT ")));
        first.signal("STOP").unwrap();
        assert!(!way.has_asked(|request| is_a_step(request, "POST ")), "it was too quick");
        let second = streaming();
        wait("the upload to be given up", || way.has_asked(|request| is_a_step(request, "DELETE ")));
        first.signal("CONT").unwrap();
        let ended = first.wait(PATIENCE).unwrap();
        assert!(ended.code.is_some_and(|code| ANOTHER_HAS_IT.contains(&code)), "{program:?} {:#?}", ended.lines);
        second.stop(PATIENCE).unwrap();
        shop.catch_up();
        shop.fsck();
        shop.compare();
    }
}

/// Whether a request belongs to an upload in pieces.
fn is_a_step(request: &str, method: &str) -> bool {
    request.starts_with(method) && request.lines().next().is_some_and(|line| line.contains("uploadId="))
}
