//! The watch itself, over a shell that logs as `millrace` does.

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Invocation {
    Invocation::of(Path::new("sh"), ["-c", script])
}

fn says(level: &str, code: &str) -> String {
    format!(r#"echo '{{"ts":"2026-01-01T00:00:00Z","level":"{level}","code":"{code}","msg":"m","commit":7}}' >&2;"#)
}

#[test]
fn lines_are_seen_as_they_come_and_the_end_is_told() {
    let script = format!("{} echo '[1]'; {} exit 3", says("INFO", "started"), says("info", "stopped"));
    let mut process = shell(&script).start().unwrap();
    assert_eq!(process.wait_for("started", PATIENCE).unwrap().number("commit"), Some(7));
    let ended = process.wait(PATIENCE).unwrap();
    assert_eq!((ended.code, ended.stdout.as_str(), ended.lines.len()), (Some(3), "[1]\n", 2));
    assert_eq!(ended.lines[1].level, "INFO");
}

#[test]
fn a_warning_an_error_and_a_panic_fail_the_test_unless_allowed() {
    for script in [says("WARN", "retrying"), says("ERROR", "fault"), "echo 'thread main panicked' >&2".to_owned()] {
        let fault = shell(&script).complete(PATIENCE).unwrap_err().to_string();
        assert!(fault.contains("unexpected line"), "{fault}");
    }
    shell(&says("WARN", "retrying")).allow("retrying").complete(PATIENCE).unwrap();
}

#[test]
#[should_panic(expected = "unexpected line")]
fn a_process_that_is_only_dropped_does_not_hide_its_warning() {
    let process = shell(&says("WARN", "retrying")).start().unwrap();
    while !process.has_ended() {
        thread::yield_now();
    }
}

#[test]
fn a_line_that_never_comes_is_late_with_what_was_seen_instead() {
    let mut process = shell(&says("INFO", "started")).start().unwrap();
    let fault = process.wait_for("streaming", PATIENCE).unwrap_err().to_string();
    assert!(fault.contains("streaming") && fault.contains("started"), "{fault}");
}

#[test]
fn a_process_can_be_paused_continued_and_killed() {
    let process = shell("exec tail -f /dev/null").start().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let until = |wanted: &str| {
        while !state().contains(wanted) {
            thread::yield_now();
        }
    };
    process.signal("STOP").unwrap();
    until("T (stopped)");
    process.signal("CONT").unwrap();
    until("S (sleeping)");
    assert!(process.peak_memory().unwrap() > ByteSize::kib(1));
    assert_eq!(process.kill().unwrap().code, None);
}

#[test]
fn processor_time_is_complete_when_the_process_has_ended() {
    let ended = shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").complete(PATIENCE).unwrap();
    assert!(ended.processor_time >= Duration::from_millis(20), "{:?}", ended.processor_time);
    assert!(ended.processor_time <= ended.wall_time + Duration::from_millis(50));
    assert!(ended.peak_memory > ByteSize::kib(100));
}
