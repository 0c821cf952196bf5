//! The command line itself.

use serde_json::Value;

use crate::{Place, SHOP, code, log, millrace, stderr};

#[test]
fn a_wrong_command_line_is_refused_with_64_and_a_hint() {
    for arguments in [
        &["rnu", "x.yaml"][..],
        &["run"],
        &["run", "x.yaml", "--until", "later"],
        &["restart", "x.yaml"],
        &["read", "x.yaml"],
        &[],
    ] {
        let output = millrace().args(arguments).output().unwrap();
        assert_eq!(code(&output), 64, "{arguments:?}");
        let line = &log(&output)[0];
        assert_eq!((&line["code"], &line["level"]), (&"CL-001".into(), &"error".into()), "{arguments:?}");
        assert_eq!(output.stdout, b"");
    }
    let output = millrace().args(["--format", "human", "statsu"]).output().unwrap();
    assert!(stderr(&output).contains("'status'") && stderr(&output).contains("code CL-001, see docs/errors/CL-001.md"));
}

#[test]
fn help_and_version_are_answers_on_standard_output() {
    let help = millrace().arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&help.stdout);
    assert_eq!(code(&help), 0);
    for command in ["run", "check", "discover", "status", "read", "fsck", "restart", "cleanup", "schema"] {
        assert!(text.contains(&format!("  {command}")), "{command} in {text}");
    }
    let version = millrace().arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("millrace "));
}

#[test]
fn the_schema_is_json_and_knows_the_fields_of_the_file() {
    let output = millrace().arg("schema").output().unwrap();
    assert_eq!(code(&output), 0);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["properties"]["version"]["maximum"], 1);
    assert_eq!(schema, millrace_protocol::json_schema());
}

#[test]
fn what_changes_something_asks_first_and_where_nobody_can_answer_it_changes_nothing() {
    let place = Place::new(SHOP);
    let output = place.run("restart", &["--snapshot"]);
    assert_eq!((code(&output), log(&output)[0]["code"].as_str()), (64, Some("CL-003")));
    assert!(!place.folder.path().join("lake").exists());
}

#[test]
fn a_command_changes_nothing_about_an_empty_place() {
    let place = Place::new(SHOP);
    let output = place.run("status", &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&status["head"], &status["checkpoint"]), (&0.into(), &Value::Null));
    let output = place.run("status", &["--format", "human"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "the lake is empty; `millrace run` fills it\n");
    assert!(!place.folder.path().join("lake").exists());
}
