//! Pipeline files that are refused, and what a run does before it streams.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Place, SHOP, code, log, millrace, stderr};

#[test]
fn a_missing_file_is_refused_with_its_path_and_a_cure() {
    for command in ["run", "check", "discover", "status", "fsck"] {
        let output = millrace().args([command, "absent.yaml"]).output().unwrap();
        let line = &log(&output)[0];
        assert_eq!((code(&output), &line["code"]), (64, &"CL-002".into()), "{command}");
        assert!(line["msg"].as_str().unwrap().contains("absent.yaml"));
        assert_ne!(line["cure"], "");
    }
    let output = millrace().args(["--format", "human", "check", "absent.yaml"]).output().unwrap();
    let text = stderr(&output);
    let starts: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().0).collect();
    assert_eq!(starts, ["error:", "cure:", "code"], "{text}");
}

#[test]
fn broken_yaml_is_refused_with_its_line() {
    let output = Place::new("version: 1\nname: [shop\nstreamingSource: }\n").run("run", &[]);
    let line = &log(&output)[0];
    assert_eq!((code(&output), &line["code"]), (64, &"PL-001".into()));
    assert!(line["msg"].as_str().unwrap().contains("line 3"), "{line}");
}

#[test]
fn every_problem_of_a_file_is_a_line_of_the_log_and_a_line_for_people() {
    let text =
        SHOP.replace("port: 1", "port: many").replace("username:", "usrname:").replace("layout: flat", "layout: flt");
    let place = Place::new(&text);
    let output = place.run("run", &[]);
    assert_eq!(code(&output), 64);
    assert_eq!(output.stdout, b"");
    let lines = log(&output);
    let found: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["path"].as_str().unwrap(), line["cure"].as_str().unwrap())).collect();
    assert!(found.contains(&("streamingSource.connection.usrname", "did you mean `username`?")), "{found:?}");
    assert!(found.contains(&("streamingTarget.layout", "did you mean `flat`?")), "{found:?}");
    assert!(found.iter().any(|(path, _)| *path == "streamingSource.connection.port"), "{found:?}");
    assert!(found.iter().any(|(path, _)| *path == "streamingSource.connection.username"), "{found:?}");

    // A field that is missing stands in no line.
    let numbered = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap().get("line").cloned();
    assert_eq!(numbered("streamingTarget.layout"), Some(12.into()));
    assert_eq!(numbered("streamingSource.connection.username"), None);

    let human = stderr(&place.run("check", &["--format", "human"]));
    assert!(human.starts_with("error: ") && human.contains("was refused for 4 reasons"), "{human}");
    assert!(
        human.contains("  streamingTarget.layout (line 12): must be one of envelope, flat, not `flt`\n"),
        "{human}"
    );
    assert!(human.ends_with("code PL-002, see docs/errors/PL-002.md\n"), "{human}");
}

#[test]
fn what_is_not_built_is_refused_with_what_works_today() {
    let text = SHOP.replace("{type: local, path: ./lake, format: parquet, layout: flat}", "{type: iceberg}");
    let output = Place::new(&text).run("run", &[]);
    assert_eq!(code(&output), 64);
    let cures: Vec<String> = log(&output).iter().map(|line| line["cure"].as_str().unwrap().to_owned()).collect();
    assert!(cures.iter().any(|cure| cure.starts_with("what works today: local")), "{cures:?}");
}

#[test]
fn an_unset_variable_of_a_secret_ends_a_run_with_its_name() {
    let password = "    password: {secretType: env, secretName: MILLRACE_NO_SUCH_VARIABLE}\n    jdbcProperties";
    let output = Place::new(&SHOP.replace("    jdbcProperties", password)).run("run", &[]);
    assert_eq!((code(&output), log(&output)[0]["code"].as_str()), (64, Some("SE-002")));
    assert!(stderr(&output).contains("MILLRACE_NO_SUCH_VARIABLE"));
}

#[test]
fn a_check_without_an_answer_says_so_and_exits_1() {
    let output = Place::new(SHOP).run("check", &[]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["ok"], false);
    let finding = result["findings"].as_array().unwrap().iter().find(|finding| finding["subject"] == "source").unwrap();
    assert_eq!(finding["severity"], "error");
    assert_ne!(finding["cure"], "");
}

#[test]
fn a_run_without_an_answer_retries_until_it_is_stopped_and_then_exits_0() {
    let place = Place::new(SHOP);
    let mut child = millrace().arg("run").arg(&place.file).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let retrying = lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut retrying = retrying.filter(|line| line["code"] == "retrying");
    // The second proves that it went on after the first.
    for _ in 0..2 {
        let line = retrying.next().expect("it retries");
        assert_eq!((&line["level"], &line["stage"]), (&"warn".into(), &"check".into()));
        assert!(line["wait_ms"].as_u64() > Some(0));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn keys_without_meaning_are_warned_about_with_their_cure() {
    let place = Place::new(&SHOP.replace("snapshot.mode: never", "snapshot.mode: never, comit.interval: 1s"));
    let output = place.run("check", &[]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let codes: Vec<(&str, &str)> = result["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (finding["severity"].as_str().unwrap(), finding["code"].as_str().unwrap()))
        .collect();
    assert_eq!(codes, [("error", "PG-001"), ("warning", "PL-006")], "the gravest first");
    let finding = &result["findings"][1];
    assert!(finding["cure"].as_str().unwrap().contains("`commit.interval`"));
}
