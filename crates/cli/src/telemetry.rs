//! The log: every `tracing` event as one line on standard error.
//!
//! An event carries its code in the field `code` (`committed`, `PG-004`); the other fields stand beside it. Off a terminal
//! a line is JSON: `ts level code msg` and the fields. On one it is time, level, message, fields, and a cure on its own line.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::args::{Format, LogLevel};
use crate::console::{Console, log_line};
use crate::paint::{Paint, Tone};
use crate::screen::Screen;
use crate::shown::grouped;
use millrace_agent::clock::SystemClock;

/// Turns the log on, for the whole process and once. An agent outlives what went wrong in its pipeline: nothing but the log
/// says it.
pub(crate) fn start(console: &Console, level: LogLevel, is_agent: bool) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // The live view shows these better; whoever asks for more than usual gets them all the same.
    let live = console.is_watched() && level <= LevelFilter::INFO;
    let lines = Lines {
        format: console.log_format(),
        screen: console.screen(),
        paint: console.log_paint(),
        live,
        detailed: level > LevelFilter::INFO,
        is_agent,
    };
    tracing::subscriber::set_global_default(Registry::default().with(level).with(lines))
        .expect("main starts the log once, before anything else could");
}

struct Lines {
    format: Format,
    screen: Arc<Screen>,
    paint: Paint,
    /// A live view stands below the lines.
    live: bool,
    /// Someone asked for more than usual.
    detailed: bool,
    is_agent: bool,
}

/// The hub's client of its database talks in lines without a code, of what the hub says by itself or nobody needs to know.
const DATABASE_CLIENT: &str = "sqlx";

/// What happens all the time.
const SHOWN_LIVE: [&str; 3] = ["committed", "chunk_committed", "snapshot_started"];

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut parts = Parts::default();
        event.record(&mut parts);
        if parts.code.is_empty() && !self.detailed && event.metadata().target().starts_with(DATABASE_CLIENT) {
            return;
        }
        // On a terminal a command's last lines say what ended it, with the cure.
        let is_said_later = parts.code == "fault" && !self.is_agent;
        let is_in_view = self.live && SHOWN_LIVE.contains(&parts.code.as_str());
        if self.format == Format::Human && (is_said_later || is_in_view) {
            return;
        }
        self.screen.line(&match self.format {
            Format::Json => parts.json(*event.metadata().level()),
            Format::Human => parts.human(*event.metadata().level(), self.paint),
        });
    }
}

/// The fields of one event.
#[derive(Default)]
struct Parts {
    code: String,
    message: String,
    fields: Vec<(String, Value)>,
}

impl Parts {
    fn json(self, level: Level) -> String {
        log_line(SystemClock::time(), word(level), &self.code, &self.message, self.fields)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else JSON has is printed as it is")]
    fn human(self, level: Level, paint: Paint) -> String {
        let now = SystemClock::time().to_string();
        let clock = now.split_once('T').map_or(now.as_str(), |(_, clock)| clock.get(..8).unwrap_or(clock));
        let tone = match level {
            Level::ERROR => Tone::Bad,
            Level::WARN => Tone::Alarm,
            _ => Tone::Quiet,
        };
        let level = format!("{:<5}", word(level).to_uppercase());
        let mut line = format!("{} {} ", paint.tone(Tone::Quiet, clock), paint.tone(tone, &level));
        line += if self.message.is_empty() { &self.code } else { &self.message };
        let mut cure = String::new();
        for (name, value) in &self.fields {
            match value {
                Value::String(text) if name == "cure" => cure = format!("\n               cure: {text}"),
                // The message begins with it.
                Value::String(_) if name == "subject" => {}
                Value::String(text) if !text.contains(' ') => line += &format!("  {name}={text}"),
                Value::Number(number) if name.starts_with("rows") || name == "bytes" => {
                    line += &format!("  {name}={}", grouped(number.as_u64().unwrap_or_default()));
                }
                value => line += &format!("  {name}={value}"),
            }
        }
        // Codes of errors lead to a page; words such as `committed` say nothing that the message does not say.
        if self.code.contains('-') {
            line += &format!("  ({})", self.code);
        }
        line + &cure
    }

    fn put(&mut self, field: &Field, value: Value) {
        let text = |value: Value| if let Value::String(text) = value { text } else { value.to_string() };
        match field.name() {
            "code" => self.code = text(value),
            "message" => self.message = text(value),
            name => self.fields.push((name.to_owned(), value)),
        }
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        // A list of texts looks in Rust as it does in JSON.
        let list = if text.starts_with('[') { serde_json::from_str::<Vec<String>>(&text).ok() } else { None };
        self.put(field, list.map_or_else(|| text.into(), Value::from));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        _ => "trace",
    }
}
