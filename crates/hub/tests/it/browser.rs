//! The console in Chromium: the whole story with and without JavaScript, and every screen under axe.

use std::path::Path;
use std::process::Stdio;

use millrace_hub::Registration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::house::{House, Kind, OWNER, PASSWORD};
use crate::past;

/// Runs a script of `browser/` against the house.
async fn run(house: &House, script: &str, more: &[(&str, &str)]) {
    let driver = std::env::var_os("MILLRACE_BROWSER");
    let driver = driver.expect("the browser's driver is not there; `cargo xtask test` brings it");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser").join(script);
    let set_up = &house.set_up;
    let mut node = Command::new("node");
    node.arg(script).env("MILLRACE_BROWSER", driver).env("HUB_URL", &house.url);
    node.env("CLIENT_ID", &set_up.client_id).env("CLIENT_SECRET", &set_up.client_secret);
    node.env("PROJECT_ID", &set_up.project_id).env("EMAIL", OWNER).env("PASSWORD", PASSWORD);
    node.envs(more.iter().copied()).kill_on_drop(true);
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut node = node.spawn().expect("node is there: apt-get install -y nodejs");
    let mut asks = BufReader::new(node.stdout.take().expect("it is piped")).lines();
    let mut answers = node.stdin.take().expect("it is piped");
    let listening = async {
        while let Some(line) = asks.next_line().await.expect("node writes text") {
            // A script that wants a past for its pipelines and agents waits until it has one.
            if let Some(ids) = line.strip_prefix("past ") {
                past::write(house, &serde_json::from_str::<Vec<String>>(ids).expect("a list of ids")).await;
                answers.write_all(b"written\n").await.expect("node reads");
            }
        }
    };
    let (output, ()) = tokio::join!(node.wait_with_output(), listening);
    let output = output.expect("node ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_adds_an_agent_runs_a_pipeline_and_removes_both() {
    let house = House::open(Kind::Sqlite).await;
    run(&house, "story.mjs", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_can_be_told_without_javascript() {
    let house = House::open(Kind::Sqlite).await;
    run(&house, "story.mjs", &[("HUB_SCRIPT", "off")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_any_screen_light_and_dark_narrow_and_wide() {
    let house = House::set(Kind::Sqlite, |settings| settings.registration = Registration::Open).await;
    // The pictures are kept, to be looked at. Here the owner can have a second account, and go from one to the other.
    run(&house, "shots.mjs", &[("SHOTS", concat!(env!("CARGO_TARGET_TMPDIR"), "/screens"))]).await;
    let house = House::open(Kind::Sqlite).await;
    run(&house, "shots.mjs", &[]).await;
}
