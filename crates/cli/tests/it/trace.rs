//! What `strace` writes down of a process, as calls with a beginning and an end: threads run side by side, so only a call
//! that ended before another began is surely before it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use millrace_testkit::process::Invocation;

use crate::shop::{MILLRACE, PATIENCE};

/// The calls that matter for durability, and those that a message to the server may be sent with.
const CALLS: &str = "fsync,fdatasync,link,linkat,rename,renameat,renameat2,mkdir,mkdirat,sendto,sendmsg,write,writev";

/// One call; the numbers are lines of the trace.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) begin: usize,
    pub(crate) end: usize,
    pub(crate) act: Act,
}

/// What was asked for and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The bytes of a file, or the names in a folder, are on the disk.
    Synced(PathBuf),
    /// The first name got a second one.
    Linked(PathBuf, PathBuf),
    /// A folder was made.
    Made(PathBuf),
    /// The server was told that it may forget everything before this position.
    Released(u64),
}

/// `millrace ARGUMENTS…` under `strace`, which watches from the side: the process is `millrace` itself.
pub(crate) fn traced(trace: &Path, arguments: &[&str]) -> Invocation {
    let calls = format!("trace={CALLS}");
    let invocation = strace(&["-y", "-x", "-s", "64", "-e", &calls, "-o"]).argument(trace).argument(MILLRACE);
    arguments.iter().fold(invocation, Invocation::argument)
}

/// `millrace ARGUMENTS…` where calls fail as `fault` says (strace(1), "Tampering").
pub(crate) fn failing(fault: &str, arguments: &[&str]) -> Invocation {
    failing_where(&[], fault, arguments)
}

/// The same for calls that have to do with `path` alone.
pub(crate) fn failing_at(path: &Path, fault: &str, arguments: &[&str]) -> Invocation {
    failing_where(&["-P", path.to_str().unwrap()], fault, arguments)
}

/// `millrace ARGUMENTS…` that is halted for good before it gives a file its name `path`. Once its watcher is gone it goes on as
/// if there had been none, which a filter of system calls would not allow.
pub(crate) fn halting_before(path: &Path, arguments: &[&str]) -> Invocation {
    const FOR_GOOD: &str = "inject=linkat:delay_enter=3600000000";
    let options = ["-P", path.to_str().unwrap(), "-e", "trace=linkat", "-e", FOR_GOOD, "-o", "/dev/null"];
    arguments.iter().fold(watched(&["-D", "-f"], &options).argument(MILLRACE), Invocation::argument)
}

/// The process that watches `process`.
pub(crate) fn watcher(process: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    line.trim().parse().unwrap()
}

fn failing_where(condition: &[&str], fault: &str, arguments: &[&str]) -> Invocation {
    let (call, _) = fault.split_once(':').unwrap();
    let (calls, fault) = (format!("trace={call}"), format!("inject={fault}"));
    let options = [condition, &["-e", &calls, "-e", &fault, "-o", "/dev/null"]].concat();
    arguments.iter().fold(strace(&options).argument(MILLRACE), Invocation::argument)
}

/// From the side, and only where it is worth it.
fn strace(options: &[&str]) -> Invocation {
    watched(&["-D", "-f", "--seccomp-bpf"], options)
}

fn watched(how: &[&str], options: &[&str]) -> Invocation {
    let is_there = std::process::Command::new("strace").arg("--version").output().is_ok();
    assert!(is_there, "strace is missing; install it with: apt-get install -y strace");
    let invocation = Invocation::of(Path::new("strace"), how);
    options.iter().fold(invocation, Invocation::argument)
}

/// All calls of a process that has ended, in the order of their ends.
pub(crate) fn read(trace: &Path, process: u32) -> Vec<Call> {
    let asked = Instant::now();
    let text = loop {
        // The watcher writes a last line of the process when it has seen its end.
        let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
        if text.lines().any(|line| line.starts_with(&process.to_string()) && line.contains("+++ exited")) {
            break text;
        }
        assert!(asked.elapsed() < PATIENCE, "the trace has no end");
    };
    parse(&text)
}

fn parse(text: &str) -> Vec<Call> {
    let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (number, head));
            continue;
        }
        let (begin, whole) = match rest.strip_prefix("<... ").and_then(|it| it.split_once(" resumed>")) {
            Some((_, tail)) => match unfinished.remove(thread) {
                Some((begin, head)) => (begin, format!("{head}{tail}")),
                None => continue,
            },
            None => (number, rest.to_owned()),
        };
        calls.extend(act(&whole).map(|act| Call { begin, end: number, act }));
    }
    calls
}

/// The act of a call that succeeded, if it is one that matters.
fn act(call: &str) -> Option<Act> {
    let (call, answer) = call.rsplit_once(" = ")?;
    if answer.starts_with('-') {
        return None;
    }
    let (name, arguments) = call.split_once('(')?;
    let mut quoted = arguments.split('"').skip(1).step_by(2);
    match name {
        "fsync" | "fdatasync" => Some(Act::Synced(descriptor(arguments)?.into())),
        "link" | "linkat" | "rename" | "renameat" | "renameat2" => {
            Some(Act::Linked(quoted.next()?.into(), quoted.next()?.into()))
        }
        "mkdir" | "mkdirat" => Some(Act::Made(quoted.next()?.into())),
        _ => released(&bytes(quoted.next()?)),
    }
}

/// The path that `-y` writes behind a descriptor.
fn descriptor(arguments: &str) -> Option<&str> {
    Some(arguments.split_once('<')?.1.rsplit_once('>')?.0)
}

/// The bytes of a text that `-x` shows: as hexadecimal numbers if any of them cannot be printed.
fn bytes(shown: &str) -> Vec<u8> {
    let numbers = shown.split("\\x").skip(1);
    numbers.map_while(|it| u8::from_str_radix(it, 16).ok()).collect()
}

/// A standby status update in a CopyData message (PostgreSQL, "Streaming Replication Protocol"): `d`, length, `r`, then
/// the positions written, flushed and applied, the clock, and a flag. The server forgets by the one flushed.
fn released(message: &[u8]) -> Option<Act> {
    const LENGTH: usize = 4 + 1 + 8 + 8 + 8 + 8 + 1;
    let is_update = message.len() == 1 + LENGTH && message[0] == b'd' && message[5] == b'r';
    let flushed = message.get(14..22).filter(|_| is_update)?;
    Some(Act::Released(u64::from_be_bytes(flushed.try_into().ok()?)))
}

#[test]
fn calls_are_read_with_their_beginnings_and_ends() {
    let text = r#"10 fsync(5</lake/tmp/a>) = 0
10 linkat(AT_FDCWD</>, "/lake/tmp/a", AT_FDCWD</>, "/lake/f", 0 <unfinished ...>
11 fsync(6</lake> <unfinished ...>
11 <... fsync resumed>) = 0
10 <... linkat resumed>) = 0
10 linkat(AT_FDCWD</>, "/lake/tmp/b", AT_FDCWD</>, "/lake/f", 0) = -1 EEXIST (File exists)
12 sendto(9<TCP:[1]>, "\x64\x00\x00\x00\x26\x72\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00", 39, MSG_NOSIGNAL, NULL, 0) = 39
"#;
    let calls: Vec<_> = parse(text).into_iter().map(|call| (call.begin, call.end, call.act)).collect();
    let path = PathBuf::from;
    assert_eq!(
        calls,
        [
            (0, 0, Act::Synced(path("/lake/tmp/a"))),
            (2, 3, Act::Synced(path("/lake"))),
            (1, 4, Act::Linked(path("/lake/tmp/a"), path("/lake/f"))),
            (6, 6, Act::Released(0x1_0000_0005)),
        ]
    );
}
