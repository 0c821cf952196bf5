//! Starting programs, so that none outlives the tests.
//!
//! A child that runs on is started through `setpriv --pdeathsig KILL`: it is killed with its parent, even if that one is
//! killed itself. Linux sends that signal when the *thread* that started the child ends, and tests run in short-lived
//! threads; so all such children are started by one thread that lives as long as the process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

use crate::fault::{Fault, Result};

/// A request to the thread that starts children, with the way back.
type Request = (Command, SyncSender<io::Result<Child>>);

/// The only line that brings `setpriv` to Debian, where it is part of the base system.
const SETPRIV_CURE: &str = "apt-get install -y util-linux";

/// `program`, to be killed when this process ends.
pub fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// `program` as `user`, to be killed when this process ends. Only root may do this.
pub fn bound_as(user: &str, program: &str) -> Command {
    let mut command = as_user(user);
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// The beginning of a command line that runs what follows as `user`.
pub fn as_user(user: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
    command
}

/// Starts a child that runs on, from the thread that outlives every test.
///
/// It gets a process group of its own: a Ctrl-C at the terminal is for us, and we end our children in good order.
pub fn start(mut command: Command) -> Result<Child> {
    static STARTER: OnceLock<Mutex<SyncSender<Request>>> = OnceLock::new();
    command.process_group(0);
    let starter = STARTER.get_or_init(|| {
        let (requests, inbox) = sync_channel(1);
        thread::spawn(move || serve(inbox));
        Mutex::new(requests)
    });
    let program = name(&command);
    let gone = || Fault::Unexpected("the thread that starts children is gone".into());
    let (answer, reply) = sync_channel(1);
    starter.lock().map_err(|_poisoned| gone())?.send((command, answer)).map_err(|_closed| gone())?;
    reply.recv().map_err(|_closed| gone())?.map_err(|cause| not_started(&program, cause))
}

fn serve(inbox: Receiver<Request>) {
    for (mut command, answer) in inbox {
        // The one who asked may have given up; then the child is dropped, and it ends with this process.
        drop(answer.send(command.spawn()));
    }
}

/// Runs a program to its end and gives back its standard output as text.
pub fn read(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&complete(command)?.stdout).into_owned())
}

/// Runs a program to its end; anything but success is a fault with what it said.
pub fn complete(command: &mut Command) -> Result<Output> {
    let program = name(command);
    let output = command.stdin(Stdio::null()).output().map_err(|cause| not_started(&program, cause))?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Fault::Program { program, status: output.status.to_string(), stderr })
}

/// Sends `signal` (`STOP`, `CONT`, `TERM` …) to a process that this one has started.
pub fn signal(process: u32, signal: &str) -> Result<()> {
    complete(Command::new("kill").arg(format!("-{signal}")).arg(process.to_string())).map(drop)
}

fn name(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    // Behind `setpriv` stands the program that is meant: the first argument that is no option and no option's value.
    if program != "setpriv" {
        return program;
    }
    let mut arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let mut found = program.clone();
    while let Some(argument) = arguments.next() {
        if argument == "--pdeathsig" {
            arguments.next();
        } else if !argument.starts_with("--") {
            found = argument.into_owned();
            break;
        }
    }
    found
}

fn not_started(program: &str, cause: io::Error) -> Fault {
    if cause.kind() == io::ErrorKind::NotFound && program == "setpriv" {
        return Fault::Missing { what: "setpriv".into(), cure: SETPRIV_CURE.into() };
    }
    Fault::Io { path: program.into(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let asked = thread::spawn(|| {
            let mut command = bound("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            start(command).unwrap()
        });
        let mut child = asked.join().unwrap();
        drop(child.stdin.take());
        // A killed `cat` would not end with success.
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_program_that_says_no_is_a_fault_with_its_words() {
        let fault = read(Command::new("sh").args(["-c", "echo too bad >&2; exit 3"])).unwrap_err().to_string();
        assert!(fault.contains("too bad") && fault.contains('3'), "{fault}");
    }
}
