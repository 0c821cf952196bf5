//! `run --listen` and `health`, with a real server and over real HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use millrace_testkit::pipeline::Draft;
use millrace_testkit::postgres::Server;
use millrace_testkit::process::{Invocation, Millrace};
use serde_json::Value;

use crate::{Place, SHOP, code, log, millrace};

const PATIENCE: Duration = Duration::from_mins(1);

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks until `line` is among the metrics.
fn until_metric(address: &str, line: &str) {
    let began = Instant::now();
    loop {
        let answer = get(address, "/metrics");
        if answer.lines().any(|it| it == line) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{line} not in\n{answer}");
    }
}

/// Asks until a metric has a value that is wanted.
fn until_bytes(address: &str, metric: &str, wanted: impl Fn(u64) -> bool) {
    let began = Instant::now();
    loop {
        let answer = get(address, "/metrics");
        let line = answer.lines().find_map(|it| it.strip_prefix(&format!("{metric}{{pipeline=\"shop\"}} ")));
        if line.is_some_and(|value| wanted(value.parse().unwrap())) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{metric} not as wanted in\n{answer}");
    }
}

fn start(file: &Path) -> (Millrace, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_millrace"));
    let arguments = Invocation::of(program, ["run"]).argument(file).argument("--listen").argument("127.0.0.1:0");
    let mut running = arguments.start().unwrap();
    let line = running.wait_for("listening", PATIENCE).unwrap();
    let address = line.fields["address"].as_str().unwrap().to_owned();
    (running, address)
}

#[test]
fn a_run_tells_prometheus_what_it_has_done_and_health_whether_it_is_ready() {
    let server = Server::start().unwrap();
    let database = server.create_database("shop").unwrap();
    database.sql("create table orders (id int primary key); insert into orders select generate_series(1, 10)").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let draft = Draft::new("shop", &database, &["orders"])
        .property("commit.interval", "100ms")
        .property("heartbeat.interval", "500ms");
    let pipeline = draft.write(folder.path()).unwrap();
    let (mut running, address) = start(&pipeline.file);
    running.wait_for("snapshot_finished", PATIENCE).unwrap();
    database.sql("insert into orders values (11); delete from orders where id < 3").unwrap();

    let table = format!("pipeline=\"shop\",table=\"{}\"", pipeline.full_name("orders"));
    until_metric(&address, &format!("millrace_changes_total{{{table},op=\"delete\"}} 2"));
    until_metric(&address, &format!("millrace_changes_total{{{table},op=\"insert\"}} 1"));
    until_metric(&address, &format!("millrace_snapshot_rows_total{{{table}}} 10"));
    until_metric(&address, "millrace_snapshot_tables_remaining{pipeline=\"shop\"} 0");
    // Insert and delete were sent as one.
    until_metric(&address, "millrace_delivery_latency_seconds_count{pipeline=\"shop\"} 1");
    until_metric(&address, "millrace_spill_bytes{pipeline=\"shop\"} 0");
    until_metric(&address, "millrace_lag_seconds{pipeline=\"shop\"} 0");
    // What an idle slot keeps is not nothing, and what another database writes is read past.
    until_bytes(&address, "millrace_source_retained_bytes", |bytes| bytes > 0);
    until_bytes(&address, "millrace_lag_bytes", |bytes| bytes < 1 << 20);
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 200 "));

    let output = millrace().args(["health", "--listen", &address]).output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &result["ready"], &result["status"]), (0, &true.into(), &"streaming".into()));

    assert_eq!(running.stop(PATIENCE).unwrap().code, Some(0));
    let output = millrace().args(["health", "--listen", &address]).output().unwrap();
    assert_eq!((code(&output), &log(&output)[0]["code"]), (1, &"CL-010".into()));
}

#[test]
fn a_run_whose_source_does_not_answer_is_live_and_not_ready() {
    let place = Place::new(SHOP);
    let program = Path::new(env!("CARGO_BIN_EXE_millrace"));
    let invocation =
        Invocation::of(program, ["run"]).argument(&place.file).argument("--listen").argument("127.0.0.1:0");
    let mut running = invocation.allow("retrying").start().unwrap();
    let line = running.wait_for("listening", PATIENCE).unwrap();
    let address = line.fields["address"].as_str().unwrap().to_owned();
    running.wait_for("retrying", PATIENCE).unwrap();
    assert!(get(&address, "/livez").starts_with("HTTP/1.1 200 "));
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 503 "));
    let output = millrace().args(["health", "--listen", &address]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert_eq!(running.stop(PATIENCE).unwrap().code, Some(0));
}

#[test]
fn an_address_that_is_taken_is_refused_before_anything_is_begun() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Place::new(SHOP).run("run", &["--listen", &address]);
    assert_eq!((code(&output), &log(&output)[0]["code"]), (64, &"CL-009".into()));
}
