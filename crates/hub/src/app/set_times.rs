//! Set times: a pipeline is started and stopped by the clock, in UTC.
//!
//! A time is done in one transaction with the step to the next one, with no other writer at the pipeline: once, however many hub
//! processes look. Of times that were missed while no hub ran, the last one counts, and it is done when a hub is back.

use millrace_model::Timestamp;
use millrace_protocol::gateway::Wanted;
use tracing::{info, warn};

use super::cron::Cron;
use super::pipelines::word;
use super::{App, require};
use crate::auth::{Caller, Role};
use crate::db::set_times::{self, SetTimes};
use crate::db::{audit, pipelines};
use crate::fault::{Refused, Violation};

/// Between two looks at the clock.
const TICK: std::time::Duration = std::time::Duration::from_secs(1);
/// Times that a page or an answer names ahead.
const AHEAD: usize = 3;

/// A time that comes, and whether it starts.
pub(crate) type Next = (Timestamp, bool);

/// Reads what was given for one of the two; empty is none.
fn cron(field: &str, text: Option<&str>) -> Result<Option<Cron>, Violation> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    Cron::parse(text).map(Some).map_err(|message| Violation { field: field.into(), message })
}

/// What comes next of both, the soonest first.
pub(crate) fn ahead(times: &SetTimes, now: Timestamp) -> Vec<Next> {
    let each = |text: &Option<String>, starts: bool| {
        let cron = text.as_deref().and_then(|text| Cron::parse(text).ok());
        let first = cron.as_ref().and_then(|cron| cron.after(now));
        let following = std::iter::successors(first, move |at| cron.as_ref()?.after(*at));
        following.take(AHEAD).map(move |at| (at, starts)).collect::<Vec<Next>>()
    };
    let mut all = [each(&times.start, true), each(&times.stop, false)].concat();
    all.sort_by_key(|(at, _)| *at);
    all.truncate(AHEAD);
    all
}

impl App {
    /// The pipeline's set times.
    pub(crate) async fn set_times(
        &self,
        caller: &Caller,
        (project_id, id): (&str, &str),
    ) -> Result<Option<SetTimes>, Refused> {
        let pipeline = self.pipeline(caller, project_id, id).await?;
        set_times::of(self.db.pool(), &pipeline.id).await
    }

    /// Sets them; neither of the two: there are none any more.
    pub(crate) async fn keep_set_times(
        &self,
        caller: &Caller,
        (project_id, id): (&str, &str),
        (start, stop): (Option<&str>, Option<&str>),
    ) -> Result<(), Refused> {
        require(caller, Role::Editor)?;
        let now = self.now();
        let read = [cron("start", start), cron("stop", stop)];
        let violations: Vec<Violation> = read.iter().filter_map(|read| read.as_ref().err().cloned()).collect();
        let [Ok(start_cron), Ok(stop_cron)] = read else { return Err(Refused::Invalid(violations)) };
        if start_cron.is_some() && start_cron == stop_cron {
            let message = "start and stop are the same: a pipeline cannot do both at once";
            return Err(Refused::conflict("same_times", message));
        }
        let (mut writing, pipeline) = self.locked_pipeline(caller, project_id, id).await?;
        let object = format!("pipeline:{id}");
        if start_cron.is_none() && stop_cron.is_none() {
            if set_times::forget(writing.on(), id).await? {
                self.audit(&mut writing, caller, ("pipeline.forget_set_times", &object, &pipeline.name)).await?;
            }
            return writing.commit().await;
        }
        let text = |text: Option<&str>, cron: &Option<Cron>| {
            text.filter(|_| cron.is_some()).map(|text| text.trim().to_owned())
        };
        let times = SetTimes {
            pipeline_id: id.to_owned(),
            start: text(start, &start_cron),
            stop: text(stop, &stop_cron),
            next_start: start_cron.as_ref().and_then(|cron| cron.after(now)),
            next_stop: stop_cron.as_ref().and_then(|cron| cron.after(now)),
            author: caller.actor(),
            updated_at: now,
        };
        set_times::keep(writing.on(), &times).await?;
        let detail = format!("start {}, stop {}", or_never(times.start.as_deref()), or_never(times.stop.as_deref()));
        self.audit(&mut writing, caller, ("pipeline.set_times", &object, &detail)).await?;
        writing.commit().await
    }

    /// Does what is due, for as long as it is polled.
    pub(crate) async fn keep_time(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(refused) = self.do_what_is_due().await {
                warn!(code = "HB-003", "set times could not be kept: {refused}");
            }
        }
    }

    async fn do_what_is_due(&self) -> Result<(), Refused> {
        for (account_id, project_id, id) in set_times::due(self.db.pool(), self.now()).await? {
            self.do_set_time(&account_id, &project_id, &id).await?;
        }
        Ok(())
    }

    async fn do_set_time(&self, account_id: &str, project_id: &str, id: &str) -> Result<(), Refused> {
        let mut writing = self.db.write().await?;
        pipelines::lock(writing.on(), project_id, id).await?;
        let now = self.now();
        let pipeline = pipelines::of_project(writing.on(), project_id, id).await?;
        let times = set_times::of(writing.on(), id).await?;
        let Some((pipeline, times)) = pipeline.zip(times) else { return Ok(()) };
        let Some((at, starts)) = last_of_due(&times, now) else { return Ok(()) };
        let wanted = word(if starts { Wanted::Running } else { Wanted::Stopped });
        set_times::keep(writing.on(), &stepped(times, now)).await?;
        // One that someone has started or stopped by hand before is as it should be.
        if pipeline.wanted != wanted {
            pipelines::want(writing.on(), id, wanted).await?;
            let entry = audit::Entry {
                account_id: Some(account_id),
                actor: "hub",
                address: "",
                action: if starts { "pipeline.start" } else { "pipeline.stop" },
                object: &format!("pipeline:{id}"),
                detail: &format!("set time {at}"),
                outcome: "done",
            };
            audit::add(writing.on(), entry, now).await?;
        }
        writing.commit().await?;
        info!(code = "set_time", pipeline = id, wanted, "a set time has come");
        self.notifier.ring(&pipeline.agent_id);
        Ok(())
    }
}

fn or_never(text: Option<&str>) -> &str {
    text.unwrap_or("never")
}

/// Of everything that is due the last: when it was due, and whether it starts.
fn last_of_due(times: &SetTimes, now: Timestamp) -> Option<Next> {
    let last = |text: &Option<String>, next: Option<Timestamp>, starts: bool| {
        let first = next.filter(|next| *next <= now)?;
        let cron = Cron::parse(text.as_deref()?).ok()?;
        Some((cron.last(now).unwrap_or(first), starts))
    };
    let due = [last(&times.start, times.next_start, true), last(&times.stop, times.next_stop, false)];
    due.into_iter().flatten().max_by_key(|(at, starts)| (*at, !starts))
}

/// The same with the next times after `now`.
fn stepped(times: SetTimes, now: Timestamp) -> SetTimes {
    let next = |text: &Option<String>| text.as_deref().and_then(|text| Cron::parse(text).ok()?.after(now));
    SetTimes { next_start: next(&times.start), next_stop: next(&times.stop), ..times }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("{text}:00.000Z")).unwrap()
    }

    fn times(start: &str, stop: &str, next: (&str, &str)) -> SetTimes {
        SetTimes {
            pipeline_id: "1".into(),
            start: Some(start.into()),
            stop: Some(stop.into()),
            next_start: Some(at(next.0)),
            next_stop: Some(at(next.1)),
            author: "hub".into(),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn of_what_was_missed_the_last_counts() {
        let day = times("0 6 * * *", "0 20 * * *", ("2026-11-24T06:00", "2026-11-24T20:00"));
        for (now, expected) in [
            ("2026-11-24T05:59", None),
            ("2026-11-24T06:00", Some(("2026-11-24T06:00", true))),
            ("2026-11-24T21:00", Some(("2026-11-24T20:00", false))),
            ("2026-11-25T07:00", Some(("2026-11-25T06:00", true))),
            ("2027-03-01T21:00", Some(("2027-03-01T20:00", false))),
        ] {
            assert_eq!(last_of_due(&day, at(now)), expected.map(|(then, starts)| (at(then), starts)), "{now}");
        }
        let week = times("0 6 * * mon", "0 20 * * fri", ("2026-11-23T06:00", "2026-11-27T20:00"));
        assert_eq!(last_of_due(&week, at("2026-12-02T12:00")), Some((at("2026-11-30T06:00"), true)));
        assert_eq!(last_of_due(&week, at("2026-12-06T12:00")), Some((at("2026-12-04T20:00"), false)));
    }

    #[test]
    fn the_next_three_are_those_of_both_in_order() {
        let day = times("0 6 * * *", "0 20 * * *", ("2026-11-24T06:00", "2026-11-24T20:00"));
        let next = ahead(&day, at("2026-11-24T12:00"));
        let expected = [("2026-11-24T20:00", false), ("2026-11-25T06:00", true), ("2026-11-25T20:00", false)];
        assert_eq!(next, expected.map(|(then, starts)| (at(then), starts)));
    }
}
