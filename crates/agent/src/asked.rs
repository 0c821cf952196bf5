//! What a hub asks beside whatever runs: `check` and `discover`. Each is done once, in its time, and stands in nobody's way.
//!
//! `restart` and `cleanup` act on the pipeline and are the supervisor's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_model::{Fault, Remedy};
use millrace_protocol::gateway::{Command, CommandResult, Reason};
use millrace_protocol::{NOT_BUILT, Question};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::fault::Cause;
use crate::policy::Guard;
use crate::preflight::{self, Asked};
use crate::results;
use crate::standing::Shared;
use crate::told::{failed, spoken};
use crate::wiring::{self, Secrets};

/// So many questions are looked into at once; more wait. A source has few connections to spare.
const AT_ONCE: usize = 4;
/// Tables and all, a result leaves room for the rest of a sync.
const LARGEST: usize = 6 << 20;

/// A command that this process has, and until when somebody waits for it.
pub(crate) struct Taken {
    pub(crate) command: Command,
    pub(crate) until: Instant,
}

impl Taken {
    pub(crate) fn new(command: Command) -> Self {
        let until = Instant::now() + Duration::from_secs(command.expires_in_seconds);
        Self { command, until }
    }

    /// Whether it is a question.
    pub(crate) fn is_question(&self) -> bool {
        matches!(self.command.kind.as_str(), "check" | "discover")
    }
}

/// Does `act`, unless nobody waits for it any more.
async fn in_time<T>(until: Instant, act: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let left = until.saturating_duration_since(Instant::now());
    tokio::time::timeout(left, act).await.unwrap_or_else(|_| Err(Cause::TooLate.into()))
}

/// Answers questions for as long as they come.
pub(crate) struct Questions {
    pub(crate) guard: Arc<Guard>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) secrets: Secrets,
    /// Where large transactions would wait, unless what is asked names another folder.
    pub(crate) spill: Option<PathBuf>,
    pub(crate) asked: mpsc::Receiver<Taken>,
}

impl Questions {
    pub(crate) async fn answer(mut self) {
        let mut looking = JoinSet::new();
        loop {
            tokio::select! {
                Some(taken) = self.asked.recv(), if looking.len() < AT_ONCE => {
                    looking.spawn(one(Arc::clone(&self.guard), self.secrets.clone(), self.spill.clone(), taken));
                }
                Some(result) = looking.join_next() => {
                    if let Ok(result) = result {
                        self.shared.outbox.result(result);
                    }
                }
                else => return,
            }
        }
    }
}

async fn one(guard: Arc<Guard>, secrets: Secrets, spill: Option<PathBuf>, taken: Taken) -> CommandResult {
    let Taken { command, until } = taken;
    info!(code = "command", kind = command.kind, "the hub asks a question");
    let arguments = &command.arguments;
    let done = match question(&guard, spill, arguments) {
        Ok(question) if command.kind == "check" => in_time(until, check(&question, &secrets)).await,
        Ok(question) => in_time(until, discover(&question, &secrets, arguments)).await,
        Err(fault) => Err(fault),
    };
    result(command.id, done.map_err(|fault| why(&fault)))
}

/// What comes with a question, held against the policy as a definition that is to run. It binds no secret yet.
fn question(guard: &Guard, spill: Option<PathBuf>, arguments: &Value) -> Result<Question, Fault> {
    let mut question = Question::parse(arguments.get("spec").unwrap_or(&Value::Null))?;
    question.advanced.spill_directory = question.advanced.spill_directory.or(spill);
    guard.allows(question.source_part(), question.target_part())?;
    Ok(question)
}

async fn check(question: &Question, secrets: &Secrets) -> Result<Value, Fault> {
    let mut findings = preflight::look(Asked::of_question(question), secrets).await?;
    findings.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.subject.cmp(&other.subject)));
    for finding in &mut findings {
        finding.message = spoken(finding.code, &finding.message);
    }
    Ok(results::check(&findings))
}

async fn discover(question: &Question, secrets: &Secrets, arguments: &Value) -> Result<Value, Fault> {
    let Some(part) = question.source_part() else {
        return Err(Cause::NotSpoken("a `discover` without a source".into()).into());
    };
    let source = wiring::source(part, secrets)?;
    let tables = source.discover(arguments.get("schema").and_then(Value::as_str)).await?;
    let columns = arguments.get("columns").and_then(Value::as_bool).unwrap_or(true);
    Ok(results::discovered(&tables, columns, LARGEST))
}

/// How a command ended.
pub(crate) fn result(id: String, done: Result<Value, Reason>) -> CommandResult {
    match done {
        Ok(result) => CommandResult { id, done: true, result },
        Err(reason) => {
            warn!(code = "command", fault = reason.fault, "a command was not done: {}", reason.message);
            CommandResult { id, done: false, result: json!(reason) }
        }
    }
}

/// Why a command was not done.
pub(crate) fn why(fault: &Fault) -> Reason {
    let word = match (fault.code, fault.remedy) {
        ("AG-009", _) => "policy",
        ("AG-015", _) => "busy",
        ("AG-016", _) => "expired",
        (NOT_BUILT, _) => "unsupported_by_agent",
        (code, _) if code.starts_with("PL-") => "settings_refused",
        (_, Remedy::Retry) => "no_answer",
        _ => "failed",
    };
    failed(word, fault)
}
