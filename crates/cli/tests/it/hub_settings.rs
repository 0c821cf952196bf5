//! The hub's settings from its environment, and what is done to a hub from the command line.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use millrace_testkit::hub::Hub;
use millrace_testkit::process::Invocation;
use serde_json::Value;

use crate::shop::{MILLRACE, PATIENCE};

fn hub(data: &Path) -> Invocation {
    Invocation::of(MILLRACE.as_ref(), ["--format", "json", "hub", "--data"]).argument(data)
}

#[test]
fn settings_that_cannot_be_end_the_start_with_78_and_their_cure() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, code) in [
        ("HUB_LISTEN", "0.0.0.0:0", "HB-007"),
        ("HUB_LISTEN", "8080", "HB-001"),
        ("HUB_TLS_CERT", "/none.pem", "HB-001"),
        ("HUB_TRUSTED_PROXIES", "everybody", "HB-001"),
        ("HUB_METRICS_LISTEN", "9464", "HB-001"),
        ("HUB_SMTP_URL", "smtp://mail.example.com", "HB-001"),
        ("HUB_PUBLIC_URL", "hub.example.com", "HB-001"),
    ] {
        let ended = hub(folder.path()).env(name, value).allow(code).complete(PATIENCE).unwrap();
        assert_eq!(ended.code, Some(78), "{name}={value}");
        let said: Vec<Value> = ended.lines.iter().map(|line| serde_json::to_value(&line.fields).unwrap()).collect();
        assert!(said.iter().any(|line| line["cure"].as_str().is_some_and(|cure| !cure.is_empty())), "{said:?}");
    }
}

#[test]
fn a_database_that_is_damaged_or_away_is_said_at_once_and_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hub.sqlite"), "this is no database, and long enough to be looked at".repeat(99))
        .unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, code) in [(None, "HB-006"), (Some(format!("postgres://hub@{free}/hub")), "HB-003")] {
        let start = hub(folder.path()).argument("--listen").argument("127.0.0.1:0");
        let start = url.iter().fold(start, |start, url| start.env("HUB_DATABASE_URL", url));
        let ended = start.allow(code).complete(PATIENCE).unwrap();
        assert!(ended.lines.iter().all(|line| !line.code.is_empty()), "{:?}", ended.lines);
        assert!(ended.lines.iter().any(|line| format!("{line:?}").contains(code)), "{:?}", ended.lines);
    }
}

#[test]
fn an_address_that_is_taken_is_refused_by_the_setting_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (listen, metrics, named) in [(taken.as_str(), "", "HUB_LISTEN"), ("127.0.0.1:0", &taken, "HUB_METRICS_LISTEN")]
    {
        let start = hub(folder.path()).env("HUB_LISTEN", listen).env("HUB_METRICS_LISTEN", metrics);
        let ended = start.allow("HB-005").complete(PATIENCE).unwrap();
        assert_eq!(ended.code, Some(78));
        let cure = ended.lines.iter().find_map(|line| line.fields.get("cure")?.as_str()).unwrap();
        assert!(cure.contains(named) && cure.contains("--listen") == (named == "HUB_LISTEN"), "{cure}");
    }
}

#[test]
fn a_bootstrap_that_cannot_be_names_the_flags_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "short\n").unwrap();
    let data = folder.path().join("hub");
    let mut asked = hub(&data).argument("bootstrap").argument("--owner-password-file").argument(&password);
    for (flag, value) in [("--owner-email", "nobody"), ("--account", " "), ("--project", "Main"), ("--api-client", "")]
    {
        asked = asked.argument(flag).argument(value);
    }
    let ended = asked.allow("HB-001").complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(78));
    let said = format!("{:?}", ended.lines);
    for flag in ["--owner-email", "--owner-password-file", "--account", "--api-client"] {
        assert!(said.contains(flag), "{flag}: {said}");
    }
    assert!(!said.contains("--project") && !said.contains("short"), "{said}");
    assert!(!data.exists());
}

#[test]
fn a_hub_with_tls_reads_its_certificate_again_when_it_is_told_to_and_says_that_it_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=hub", "-keyout", &file("key.pem"), "-out", &file("cert.pem")])
        .output()
        .expect("openssl is there: apt-get install -y openssl");
    assert!(made.status.success());
    let settings = [("HUB_TLS_CERT", file("cert.pem")), ("HUB_TLS_KEY", file("key.pem"))];
    let start = settings.iter().fold(hub(&folder.path().join("hub")), |hub, (name, value)| hub.env(name, value));
    let mut process = start.argument("--listen").argument("127.0.0.1:0").start().unwrap();
    let line = process.wait_for("listening", PATIENCE).unwrap();
    process.signal("HUP").unwrap();
    process.wait_for("certificate", Duration::from_secs(3)).unwrap();
    // Its own certificate is nobody's business who asks from beside it.
    let address = line.fields["address"].as_str().unwrap();
    let health = || Invocation::of(MILLRACE.as_ref(), ["--format", "json", "health"]);
    let port = address.rsplit(':').next().unwrap();
    for asked in [
        health().argument("--listen").argument(address),
        health().env("HUB_LISTEN", address),
        health().env("HUB_LISTEN", &format!("0.0.0.0:{port}")),
    ] {
        assert_eq!(asked.json(PATIENCE).unwrap(), serde_json::json!({"ready": true, "status": "serving"}));
    }
    assert_eq!(process.stop(PATIENCE).unwrap().code, Some(0));
}

#[test]
fn a_hub_is_copied_while_it_runs_and_its_doctor_finds_it_well() {
    let folder = tempfile::tempdir().unwrap();
    let running = Hub::start(MILLRACE.as_ref(), folder.path()).unwrap();
    running.add_agent("north").unwrap();
    let copy = folder.path().join("copy.sqlite");
    let made = hub(&running.storage()).argument("backup").argument("--to").argument(&copy).json(PATIENCE).unwrap();
    assert_eq!(made["bytes"].as_u64(), Some(std::fs::metadata(&copy).unwrap().len()));
    let found = hub(&running.storage()).env("HUB_PUBLIC_URL", &running.url).argument("doctor").json(PATIENCE).unwrap();
    assert_eq!(found["ok"], true, "{found}");
    assert!(found["findings"].as_array().unwrap().len() >= 8, "{found}");
    running.stop().unwrap();
}
