//! The real `millrace` process under watch: its log lines as they come, signals at any moment, what it costs, and a
//! refusal to overlook a warning.
//!
//! A WARN or ERROR line that the test has not allowed, or a line that is no log line at all (a panic is one), is a fault
//! at the next thing the test asks, and at the latest when the process is dropped.

mod line;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use millrace_model::ByteSize;
use serde_json::Value;

pub use line::Line;

use crate::fault::{Fault, Result};
use crate::pipeline::Pipeline;
use crate::{spawn, usage};

/// How often the processor time and the memory of a running process are looked at, and whether it has ended.
const GLANCE: Duration = Duration::from_millis(10);

/// Stands for every event code.
const ANYTHING: &str = "*";

/// The program: `MILLRACE_BIN`, which xtask sets, or the one that cargo built beside the running test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MILLRACE_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe().map_err(Fault::io("the running program"))?;
    // A test lies in target/<profile>/deps, an example or a plain binary in a folder less or beside.
    let built = test.ancestors().skip(1).take(2).map(|folder| folder.join("millrace")).find(|path| path.is_file());
    built.ok_or_else(|| Fault::Missing { what: "the program millrace".into(), cure: "cargo build -p millrace".into() })
}

/// A command line of `millrace` that has not been started yet.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    allowed: Vec<String>,
}

/// What a command that ran to its end left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// All log lines.
    pub lines: Vec<Line>,
    /// The highest resident memory that was seen.
    pub peak_memory: ByteSize,
    /// Processor time in all.
    pub processor_time: Duration,
    /// From start to end.
    pub wall_time: Duration,
}

impl Invocation {
    /// What a pipeline needs in the environment.
    #[must_use]
    pub fn for_pipeline(self, pipeline: &Pipeline) -> Self {
        pipeline.environment.iter().fold(self, |invocation, (name, value)| invocation.env(name, value))
    }

    /// `millrace ARGUMENTS…`.
    pub fn new(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Self> {
        Ok(Self::of(&binary()?, arguments))
    }

    /// The same with a given program, which is expected to log as `millrace` does.
    pub fn of(program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut command = spawn::bound(&program.to_string_lossy());
        command.args(arguments);
        Self { command, allowed: Vec::new() }
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// WARN and ERROR lines with this event code are expected.
    #[must_use]
    pub fn allow(mut self, code: &str) -> Self {
        self.allowed.push(code.to_owned());
        self
    }

    /// Any WARN and ERROR line is expected: a person plays with it.
    #[must_use]
    pub fn allow_anything(self) -> Self {
        self.allow(ANYTHING)
    }

    /// Starts it.
    pub fn start(mut self) -> Result<Millrace> {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = spawn::start(self.command)?;
        let lost = || Fault::Unexpected("the process has no pipes".into());
        let (stdout, stderr) = (child.stdout.take().ok_or_else(lost)?, child.stderr.take().ok_or_else(lost)?);
        let seen = Arc::new(Seen::default());
        let process = child.id();
        let printed = thread::spawn(move || {
            let mut text = Vec::new();
            // A broken pipe ends the text; what came before it is what there is.
            drop(BufReader::new(stdout).read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        let reader = thread::spawn({
            let seen = Arc::clone(&seen);
            move || seen.read(stderr)
        });
        let cost = thread::spawn(move || watch_cost(process));
        let threads = Some(Threads { printed, reader, cost });
        Ok(Millrace { child, seen, threads, allowed: self.allowed, began, settled: false })
    }

    /// Starts it and waits for its end.
    pub fn complete(self, patience: Duration) -> Result<Ended> {
        self.start()?.wait(patience)
    }

    /// Starts it, waits for its end, demands exit code 0 and reads what it printed as JSON.
    pub fn json(self, patience: Duration) -> Result<Value> {
        let ended = self.complete(patience)?;
        if ended.code != Some(0) {
            return Err(Fault::Unexpected(format!("exit code {:?}: {:?}", ended.code, ended.lines.last())));
        }
        serde_json::from_str(&ended.stdout).map_err(|cause| Fault::Unexpected(format!("no JSON was printed: {cause}")))
    }
}

/// A running `millrace`.
#[derive(Debug)]
pub struct Millrace {
    child: Child,
    seen: Arc<Seen>,
    threads: Option<Threads>,
    allowed: Vec<String>,
    began: Instant,
    settled: bool,
}

#[derive(Debug)]
struct Threads {
    printed: JoinHandle<String>,
    reader: JoinHandle<()>,
    cost: JoinHandle<(ByteSize, Duration)>,
}

impl Millrace {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line with the event code `code`, counted from the start of the process.
    pub fn wait_for(&mut self, code: &str, patience: Duration) -> Result<Line> {
        self.wait_until(&format!("a line with code {code}"), patience, |line| line.code == code)
    }

    /// Waits for a line that `wanted` says yes to; lines that came before count too.
    pub fn wait_until(&mut self, what: &str, patience: Duration, wanted: impl Fn(&Line) -> bool) -> Result<Line> {
        self.wait_for_lines(what, patience, |lines| lines.iter().find(|line| wanted(line)).cloned())
    }

    /// Waits until `find` finds in all lines so far what it looks for.
    pub fn wait_for_lines<T>(
        &mut self,
        what: &str,
        patience: Duration,
        find: impl Fn(&[Line]) -> Option<T>,
    ) -> Result<T> {
        let began = Instant::now();
        let mut log = self.seen.lock();
        loop {
            if let Some(found) = find(&log.lines) {
                drop(log);
                return self.check().map(|()| found);
            }
            let left = patience.saturating_sub(began.elapsed());
            if log.ended || left.is_zero() {
                let last = log.lines.last().map_or_else(|| "no line at all".to_owned(), |line| format!("{line:?}"));
                let seen = if log.ended { format!("the log ended with {last}") } else { last };
                drop(log);
                self.check()?;
                return Err(Fault::Late { what: what.to_owned(), waited: began.elapsed(), seen });
            }
            log = self.seen.changed.wait_timeout(log, left).map_or_else(|poison| poison.into_inner().0, |(log, _)| log);
        }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.seen.lock().lines.clone()
    }

    /// Sends `STOP`, `CONT`, `TERM`, `INT` …
    pub fn signal(&self, signal: &str) -> Result<()> {
        spawn::signal(self.id(), signal)
    }

    /// Kills it at once, as a power cut would, and waits until it is gone.
    pub fn kill(mut self) -> Result<Ended> {
        self.child.kill().map_err(Fault::io("millrace"))?;
        self.wait(Duration::from_secs(30))
    }

    /// Asks it to stop in good order and demands that it exits with 0.
    pub fn stop(self, patience: Duration) -> Result<Ended> {
        self.signal("TERM")?;
        let ended = self.wait(patience)?;
        if ended.code == Some(0) {
            return Ok(ended);
        }
        Err(Fault::Unexpected(format!("after SIGTERM the exit code was {:?}: {:?}", ended.code, ended.lines.last())))
    }

    /// Peak memory so far.
    pub fn peak_memory(&self) -> Option<ByteSize> {
        usage::peak_memory(self.id())
    }

    /// Processor time so far.
    pub fn processor_time(&self) -> Option<Duration> {
        usage::processor_time(self.id())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        usage::has_ended(self.id())
    }

    /// Waits for its end.
    pub fn wait(mut self, patience: Duration) -> Result<Ended> {
        let asked = Instant::now();
        while !self.has_ended() {
            if asked.elapsed() > patience {
                let seen = self.lines().last().map_or_else(|| "no line at all".to_owned(), |line| format!("{line:?}"));
                self.settled = true;
                return Err(Fault::Late { what: "millrace to end".into(), waited: patience, seen });
            }
            thread::sleep(GLANCE / 2);
        }
        let wall_time = self.began.elapsed();
        let gone = |_panic| Fault::Unexpected("a thread that watches millrace panicked".into());
        let threads = self.threads.take().ok_or_else(|| Fault::Unexpected("millrace was waited for twice".into()))?;
        // The cost is read from the ended process, so it comes before the waiting that makes it disappear.
        let (peak_memory, processor_time) = threads.cost.join().map_err(gone)?;
        let status = self.child.wait().map_err(Fault::io("millrace"))?;
        let stdout = threads.printed.join().map_err(gone)?;
        threads.reader.join().map_err(gone)?;
        self.check()?;
        Ok(Ended { code: status.code(), stdout, lines: self.lines(), peak_memory, processor_time, wall_time })
    }

    /// A fault for the first line that should not be there.
    pub fn check(&mut self) -> Result<()> {
        let log = self.seen.lock();
        let allowed = |line: &Line| self.allowed.iter().any(|code| *code == line.code || code == ANYTHING);
        let Some(line) = log.lines.iter().find(|line| line.is_alarm() && !allowed(line)) else {
            return Ok(());
        };
        self.settled = true;
        Err(Fault::Unexpected(format!("an unexpected line in the log: {line:?}")))
    }
}

impl Drop for Millrace {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if self.settled || thread::panicking() {
            return;
        }
        if let Some(threads) = self.threads.take() {
            drop(threads.reader.join());
        }
        let unexpected = self.check();
        assert!(unexpected.is_ok(), "{unexpected:?}");
    }
}

/// The log as it has come so far.
#[derive(Debug, Default)]
struct Seen {
    log: Mutex<Log>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Log {
    lines: Vec<Line>,
    ended: bool,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, stderr: impl Read) {
        for text in BufReader::new(stderr).split(b'\n') {
            let Ok(text) = text else { break };
            self.lock().lines.push(Line::parse(&String::from_utf8_lossy(&text)));
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

/// Looks at a process until it has ended. Memory is last seen a moment before the end (it is a high-water mark, so
/// little is missed); processor time is complete.
fn watch_cost(process: u32) -> (ByteSize, Duration) {
    let (mut memory, mut processor) = (ByteSize::default(), Duration::ZERO);
    loop {
        let ended = usage::has_ended(process);
        memory = usage::peak_memory(process).unwrap_or_default().max(memory);
        processor = usage::processor_time(process).unwrap_or_default().max(processor);
        if ended {
            return (memory, processor);
        }
        thread::sleep(GLANCE);
    }
}

#[cfg(test)]
mod tests;
