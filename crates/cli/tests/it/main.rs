//! The program from the outside: command line, exit codes, what stands on which output; and end to end, against real
//! servers: what it must show under kills, pauses, crashes, full disks, and in the hands of somebody new to it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on fails, and one looks for what it looks for"
)]

mod api_client;
mod cloud_secret;
mod disk;
mod durable;
mod files;
mod formats;
mod heaps;
mod hub;
mod hub_canary;
mod hub_commands;
mod hub_crowd;
mod hub_doors;
mod hub_house;
mod hub_outage;
mod hub_pair;
mod hub_revisions;
mod hub_settings;
mod hub_twins;
mod hub_wizard;
mod kills;
mod listen;
mod members;
mod paused;
mod publications;
mod published;
mod race;
mod replayed;
mod rotation;
mod schema_change;
mod set_back;
mod shop;
mod starts_anew;
mod stops;
mod stores;
mod strangers;
mod trace;
mod usage;
mod wide;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A pipeline that this version can run, were there a server.
const SHOP: &str = "\
version: 1
name: shop
streamingSource:
  type: postgres
  connection:
    host: 127.0.0.1
    port: 1
    database: shop
    username: millrace
    jdbcProperties: {sslmode: disable}
  tables: [{schema: public, table: orders}]
streamingTarget: {type: local, path: ./lake, format: parquet, layout: flat}
advancedProperties: {snapshot.mode: never}
";

/// A folder with a pipeline file in it.
struct Place {
    folder: TempDir,
    file: PathBuf,
}

impl Place {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.yaml");
        std::fs::write(&file, text).unwrap();
        Self { folder, file }
    }

    /// Runs a command on the file.
    fn run(&self, command: &str, more: &[&str]) -> Output {
        millrace().arg(command).arg(&self.file).args(more).output().unwrap()
    }
}

fn millrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.stdin(std::process::Stdio::null());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The lines on standard error, each of which is JSON off a terminal.
fn log(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
