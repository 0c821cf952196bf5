//! The terminal: where results go, where the log goes, and in which form.
//!
//! Results are on standard output, everything else is on standard error and passes `Screen`, which keeps a live view below
//! the lines.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use millrace_model::Timestamp;
use serde_json::{Value, json};

use crate::args::Format;
use crate::fault::{Cause, Failure};
use crate::live::Live;
use crate::paint::{Paint, Tone};
use crate::screen::Screen;
use millrace_agent::clock::SystemClock;

/// Where and how to print.
#[derive(Clone)]
pub(crate) struct Console {
    results: Format,
    log: Format,
    screen: Arc<Screen>,
    /// What standard output can show.
    paint: Paint,
    /// What standard error can show.
    log_paint: Paint,
}

impl Console {
    /// What was asked for, or what fits each of the two.
    pub(crate) fn new(asked: Option<Format>) -> Self {
        let fitting = |terminal: bool| asked.unwrap_or(if terminal { Format::Human } else { Format::Json });
        Self {
            results: fitting(io::stdout().is_terminal()),
            log: fitting(io::stderr().is_terminal()),
            screen: Arc::default(),
            paint: Paint::of(&io::stdout()),
            log_paint: Paint::of(&io::stderr()),
        }
    }

    /// For a command line that could not be understood: a `--format` in it is honoured all the same.
    pub(crate) fn before_arguments() -> Self {
        let line: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let asks_for = |format: &str| {
            line.contains(&format!("--format={format}")) || line.windows(2).any(|pair| pair == ["--format", format])
        };
        Self::new(match (asks_for("human"), asks_for("json")) {
            (true, _) => Some(Format::Human),
            (_, true) => Some(Format::Json),
            _ => None,
        })
    }

    /// What the log's lines can show.
    pub(crate) fn log_paint(&self) -> Paint {
        self.log_paint
    }

    /// In which form the log is.
    pub(crate) fn log_format(&self) -> Format {
        self.log
    }

    /// Whether people watch: the log is for them, and there is a terminal that can be drawn on.
    pub(crate) fn is_watched(&self) -> bool {
        self.log == Format::Human && Live::is_possible()
    }

    /// Where the log goes.
    pub(crate) fn screen(&self) -> Arc<Screen> {
        self.screen.clone()
    }

    /// Prints a result: as one line of JSON, or as `human` puts it.
    pub(crate) fn result(&self, result: &Value, human: impl FnOnce(&Value, Paint) -> String) -> Result<(), Failure> {
        match self.results {
            Format::Json => print(&result.to_string()),
            Format::Human => print(human(result, self.paint).trim_end()),
        }
    }

    /// Asks on the terminal and goes on only with a yes.
    pub(crate) fn ask(&self, question: &str) -> Result<(), Failure> {
        if !io::stdin().is_terminal() {
            return Err(Cause::NobodyToAsk.into());
        }
        self.screen.line(&format!("{question} Type yes to go on:"));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(|_closed| Cause::NobodyToAsk)?;
        if answer.trim().eq_ignore_ascii_case("yes") { Ok(()) } else { Err(Cause::Declined.into()) }
    }

    /// Says why the command failed, and returns its exit code.
    pub(crate) fn report(&self, failure: &Failure) -> u8 {
        let text = match (self.log, failure) {
            (Format::Human, failure) => human(failure, self.log_paint),
            (Format::Json, Failure::Logged(fault)) => return fault.exit_code(),
            (Format::Json, Failure::Fault(fault)) => {
                let mut message = fault.to_string();
                message.drain(..fault.code.len() + ": ".len());
                json_line(fault.code, &message, &fault.cure, json!({"exit": fault.exit_code()}))
            }
            (Format::Json, Failure::File { file, problems }) => {
                let lines = problems.0.iter().map(|problem| {
                    let mut more = json!({"file": file.display().to_string(), "path": problem.path,
                        "exit": failure.exit_code()});
                    // What is missing stands in no line.
                    if let (Some(fields), 1..) = (more.as_object_mut(), problem.line) {
                        fields.insert("line".into(), problem.line.into());
                    }
                    json_line(problem.code, &problem.to_string(), &problem.cure, more)
                });
                lines.collect::<Vec<_>>().join("\n")
            }
        };
        self.screen.line(&text);
        failure.exit_code()
    }
}

/// Prints to standard output. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(format!("{text}\n").as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Cause::OutputLost(error).into()),
        _ => Ok(()),
    }
}

/// One line of the log as JSON: `ts level code msg` and the fields.
pub(crate) fn log_line(now: Timestamp, level: &str, code: &str, message: &str, fields: Vec<(String, Value)>) -> String {
    let head = [("ts", now.to_string()), ("level", level.into()), ("code", code.into()), ("msg", message.into())];
    let head = head.map(|(name, text)| (name.to_owned(), Value::String(text)));
    // By hand, because a map would sort them: whoever looks at the log wants the time first.
    let pairs = head.into_iter().chain(fields).map(|(name, value)| format!("{}:{value}", Value::String(name)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

fn json_line(code: &str, message: &str, cure: &str, more: Value) -> String {
    let mut fields = vec![("cure".to_owned(), cure.into())];
    if let Value::Object(more) = more {
        fields.extend(more);
    }
    log_line(SystemClock::time(), "error", code, message, fields)
}

fn human(failure: &Failure, paint: Paint) -> String {
    let error = paint.tone(Tone::Bad, "error:");
    let cure = paint.tone(Tone::Strong, "cure:");
    match failure {
        Failure::Fault(fault) | Failure::Logged(fault) => {
            let mut message = fault.to_string();
            message.drain(..fault.code.len() + ": ".len());
            format!("{error} {message}\n{cure} {}\n{}", fault.cure, reference(fault.code))
        }
        Failure::File { file, problems } => {
            let mut text = match problems.0.len() {
                1 => format!("{error} {} was refused\n", file.display()),
                count => format!("{error} {} was refused for {count} reasons\n", file.display()),
            };
            for problem in &problems.0 {
                text += &format!("  {problem}\n    {cure} {}\n", problem.cure);
            }
            let mut codes: Vec<&str> = problems.0.iter().map(|problem| problem.code).collect();
            codes.sort_unstable();
            codes.dedup();
            text + &codes.into_iter().map(reference).collect::<Vec<_>>().join("\n")
        }
    }
}

fn reference(code: &str) -> String {
    format!("code {code}, see docs/errors/{code}.md")
}
