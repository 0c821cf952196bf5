//! The statuses of agents and pipelines: functions of what was stored and of the hub's clock, of nothing else.

use millrace_model::Timestamp;
use millrace_protocol::gateway::{Condition, Reason, Report};
use millrace_protocol::wire;
use serde_json::{Map, Value};

use crate::db::agents::Agent;
use crate::db::pipelines::Pipeline;

/// Status of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentStatus {
    /// It never connected.
    Pending,
    /// Its lease is alive.
    Running,
    /// It said goodbye.
    Stopped,
    /// It went silent without a goodbye.
    Unknown,
}

impl AgentStatus {
    /// On the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The agent's status at `now`.
pub(crate) fn of_agent(agent: &Agent, now: Timestamp) -> AgentStatus {
    match (agent.first_connected_at, agent.lease, agent.goodbye_at) {
        (None, ..) => AgentStatus::Pending,
        (_, _, Some(_)) => AgentStatus::Stopped,
        (_, Some((_, expires_at)), None) if expires_at > now => AgentStatus::Running,
        _ => AgentStatus::Unknown,
    }
}

/// Status of a pipeline, with its reason.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PipelineStatus {
    /// `STARTING SNAPSHOTTING STREAMING STOPPING NOT_RUNNING UNKNOWN`.
    pub(crate) word: String,
    /// Why, where the word does not say it.
    pub(crate) reason: Option<Reason>,
    /// The report that it rests on, and when it came.
    pub(crate) report: Option<(Report, Timestamp)>,
}

const NOT_RUNNING: &str = "NOT_RUNNING";

/// The pipeline's status at `now`. `agent` is the one that it names; `None` where that one was removed.
pub(crate) fn of_pipeline(pipeline: &Pipeline, agent: Option<&Agent>, now: Timestamp) -> PipelineStatus {
    let status = of_wish_and_report(pipeline, agent, now);
    let starting =
        status.word == "STARTING" && status.report.as_ref().is_none_or(|(report, _)| report.status != "STARTING");
    let waits = pipeline.wanted == "running" && (status.word == NOT_RUNNING || starting);
    match waits.then(|| unsupported(pipeline)).flatten() {
        Some(reason) if agent.is_some() => {
            PipelineStatus { word: NOT_RUNNING.to_owned(), reason: Some(reason), ..status }
        }
        _ => status,
    }
}

/// What of the pipeline no agent of this version can run.
fn unsupported(pipeline: &Pipeline) -> Option<Reason> {
    let body = serde_json::from_str(&pipeline.body).ok()?;
    let problem = wire::unsupported(&body)?;
    Some(because("unsupported_by_agent", &format!("{}: {}", problem.path, problem.message), &problem.cure))
}

fn of_wish_and_report(pipeline: &Pipeline, agent: Option<&Agent>, now: Timestamp) -> PipelineStatus {
    let wanted = pipeline.wanted == "running";
    let report = pipeline.report.as_ref().and_then(|stored| {
        let report = serde_json::from_str::<Report>(&stored.report).ok()?;
        Some((report, stored))
    });
    let status = |word: &str, reason: Option<Reason>| PipelineStatus {
        word: word.to_owned(),
        reason,
        report: report.as_ref().map(|(report, stored)| (report.clone(), stored.updated_at)),
    };
    let Some(agent) = agent else {
        return status(NOT_RUNNING, Some(because("agent_removed", "its agent was removed", "give it another agent")));
    };
    let ran = report.as_ref().is_some_and(|(report, _)| report.status != NOT_RUNNING);
    match of_agent(agent, now) {
        AgentStatus::Pending => status(NOT_RUNNING, Some(idle(wanted, "the agent has not connected yet"))),
        AgentStatus::Stopped => status(NOT_RUNNING, Some(idle(wanted, "the agent is stopped"))),
        AgentStatus::Unknown if ran => status(
            "UNKNOWN",
            Some(because(
                "agent_lost",
                "the agent went silent; the pipeline may still be running",
                "look at the agent's own log and at its connection to the hub",
            )),
        ),
        AgentStatus::Unknown => status(NOT_RUNNING, Some(idle(wanted, "the agent went silent"))),
        AgentStatus::Running => {
            let fresh = report.as_ref().filter(|(_, stored)| {
                stored.agent_id == agent.id
                    && pipeline.given_to.as_deref().is_none_or(|given| given == stored.session_id)
            });
            match fresh {
                // The wish is newer than the report: it is on its way to the agent.
                Some((report, _)) if is_older(report, pipeline) => match (wanted, report.status == NOT_RUNNING) {
                    (true, true) => status("STARTING", None),
                    (false, false) => status("STOPPING", None),
                    _ => status(&report.status, reason_of(report)),
                },
                Some((report, _)) => status(&report.status, reason_of(report)),
                None if wanted => status("STARTING", held_elsewhere(pipeline, agent)),
                None => status(NOT_RUNNING, Some(idle(false, ""))),
            }
        }
    }
}

/// Why the pipeline's agent is not given it yet.
fn held_elsewhere(pipeline: &Pipeline, agent: &Agent) -> Option<Reason> {
    pipeline.holder.as_deref().filter(|holder| *holder != agent.id)?;
    Some(because(
        "held_elsewhere",
        "the agent that ran it before has not said that it stopped",
        "wait until it has, or until its lease is over; or stop its process",
    ))
}

/// Whether the report does not answer the newest wish yet.
fn is_older(report: &Report, pipeline: &Pipeline) -> bool {
    i64::try_from(report.wish).unwrap_or(i64::MAX) < pipeline.wish
}

/// Why it is as it is: also that a revision was refused while the one before goes on.
fn reason_of(report: &Report) -> Option<Reason> {
    let refused = report.refused.as_ref().map(|refused| Reason {
        message: format!("revision {} is not taken: {}", refused.revision, refused.reason.message),
        ..refused.reason.clone()
    });
    report.reason.clone().or(refused)
}

/// What is not as it should be beside the pipeline, at `now`: what the agent says, and what only the hub can know.
pub(crate) fn conditions(agent: &Agent, now: Timestamp) -> Vec<Condition> {
    let mut conditions: Vec<Condition> =
        agent.conditions.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut add = |kind: &str, since: Timestamp, message: String| {
        conditions.push(Condition { kind: kind.into(), message, since: since.to_string() });
    };
    if let Some((rival, at)) = &agent.rival
        && now.0 - at.0 < SHOWN
    {
        let holder = agent.instance.as_deref().unwrap_or("none");
        add(
            "duplicate_instance",
            *at,
            format!("two processes run as this agent: {holder} has the lease, {rival} asked for it; stop one of them"),
        );
    }
    if let Some(skew) = agent.clock_skew_ms.filter(|skew| *skew != 0) {
        let direction = if skew > 0 { "ahead of" } else { "behind" };
        let since = agent.lease.map_or(now, |(renewed_at, _)| renewed_at);
        add("clock_skew", since, format!("the agent's clock is {} s {direction} the hub's", skew.abs() / 1000));
    }
    if let Some((since, message)) = agent.credentials_end.and_then(|end| expiry(end, now)) {
        add("credentials_expire", since, message);
    }
    conditions
}

/// A rival that has not asked for so long is gone (microseconds).
const SHOWN: i64 = 120 * 1_000_000;
/// A day (microseconds).
const DAY: i64 = 24 * 3600 * 1_000_000;
/// Days before its end at which a secret is to be rotated, ever more urgently.
const WARNINGS: [i64; 3] = [1, 7, 30];

/// What to say of a secret that ends at `end`, and since when that is so.
fn expiry(end: Timestamp, now: Timestamp) -> Option<(Timestamp, String)> {
    if end <= now {
        return Some((
            end,
            format!("the secret that the agent uses has expired ({end}); rotate it and deploy the new one"),
        ));
    }
    let days = WARNINGS.into_iter().find(|days| end.0 - now.0 < days * DAY)?;
    let left = if days == 1 { "a day".into() } else { format!("{days} days") };
    let message =
        format!("the secret that the agent uses expires within {left} ({end}); rotate it and deploy the new one");
    Some((Timestamp(end.0 - days * DAY), message))
}

/// Where the target of a pipeline's body lies: a lake lives at a root.
pub(crate) fn root(body: &Map<String, Value>) -> Vec<String> {
    let target = body.get("streamingTarget");
    let part = |name: &&str| {
        let text = target.and_then(|target| target.get(*name)).and_then(Value::as_str).unwrap_or_default();
        text.trim_end_matches('/').to_owned()
    };
    ["type", "path", "bucket", "container", "accountName", "prefix"].iter().map(part).collect()
}

/// The same of a stored body.
pub(crate) fn root_of(body: &str) -> Vec<String> {
    serde_json::from_str(body).map(|body| root(&body)).unwrap_or_default()
}

/// Why a pipeline does not run where no agent says so.
fn idle(wanted: bool, waiting: &str) -> Reason {
    if wanted {
        because("waiting_for_agent", waiting, "start the agent with its environment variables")
    } else {
        because("stopped", "it is not started", "start it")
    }
}

fn because(code: &str, message: &str, cure: &str) -> Reason {
    Reason { code: code.into(), message: message.into(), cure: cure.into(), fault: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_ends_is_told_of_30_days_7_days_and_1_day_before_and_when_it_is_over() {
        let end = Timestamp(100 * DAY);
        let told = |days_left: i64| expiry(end, Timestamp(end.0 - days_left * DAY + 1));
        assert_eq!(told(31), None);
        for (days_left, since, word) in
            [(30, 30, "30 days"), (8, 30, "30 days"), (7, 7, "7 days"), (2, 7, "7 days"), (1, 1, "a day")]
        {
            let (at, message) = told(days_left).unwrap_or_else(|| panic!("{days_left}"));
            assert_eq!(at, Timestamp(end.0 - since * DAY), "{message}");
            assert!(message.contains(word), "{message}");
        }
        assert!(told(0).is_some_and(|(at, message)| at == end && message.contains("has expired")));
    }
}
