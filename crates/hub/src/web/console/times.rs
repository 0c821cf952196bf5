//! When a pipeline is started and stopped by the clock: a form in plain words, and what comes next.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::pipeline::{Head, head};
use super::show::{Choice, Field, Pick, Summary, filters, until};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::set_times::ahead;
use crate::db::set_times::SetTimes;
use crate::fault::Refused;

/// Start or stop.
struct Half {
    name: &'static str,
    title: &'static str,
    how: Choice,
    days: Vec<(u32, &'static str, bool)>,
    time: Field,
    cron: Field,
}

#[derive(Template)]
#[template(path = "pipeline_times.html")]
struct TimesPage {
    shell: Shell,
    head: Head,
    next: Vec<(&'static str, String, String)>,
    summary: Summary,
    halves: [Half; 2],
}

const DAYS: [(u32, &str); 7] = [(1, "Mon"), (2, "Tue"), (3, "Wed"), (4, "Thu"), (5, "Fri"), (6, "Sat"), (0, "Sun")];

/// Names of the fields of a half.
struct Named {
    half: &'static str,
    title: &'static str,
    how: &'static str,
    days: &'static str,
    time: &'static str,
}

const START: Named = Named { half: "start", title: "Start", how: "startHow", days: "startDays", time: "startTime" };
const STOP: Named = Named { half: "stop", title: "Stop", how: "stopHow", days: "stopDays", time: "stopTime" };

impl Named {
    /// The fields as they were sent.
    fn sent(&self, fields: &Fields) -> Filled {
        Filled {
            how: fields.get(self.how).to_owned(),
            days: fields.all(self.days).filter_map(|day| day.parse().ok()).collect(),
            time: fields.get(self.time).trim().to_owned(),
            cron: fields.get(self.half).trim().to_owned(),
        }
    }

    fn shown(&self, filled: &Filled, wrong: &Wrong) -> Half {
        let hows =
            [("never", "Never: by hand alone"), ("days", "On some days, at a time"), ("cron", "As a cron expression")];
        let picks = hows.into_iter().map(|(word, text)| Pick::new(word, text, &filled.how));
        let on = |day: u32| filled.days.contains(&day);
        Half {
            name: self.half,
            title: self.title,
            how: Choice::of(self.how, "When", picks.collect(), wrong),
            days: DAYS.iter().map(|(number, day)| (*number, *day, on(*number))).collect(),
            time: Field::text(self.time, "Time, UTC", &filled.time, wrong).most(5).help("Like 06:30.").optional(),
            cron: Field::text(self.half, "Cron expression", &filled.cron, wrong)
                .most(100)
                .help("Minute, hour, day of month, month, day of week: 0 6 * * 1-5")
                .optional(),
        }
    }
}

/// A half as it is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filled {
    how: String,
    days: Vec<u32>,
    time: String,
    cron: String,
}

impl Filled {
    /// Of a stored cron: days and a time where it says no more than that.
    fn of(cron: Option<&str>) -> Self {
        let Some(cron) = cron else { return Self { how: "never".into(), ..Self::default() } };
        let words: Vec<&str> = cron.split_ascii_whitespace().collect();
        let number = |text: &str, most: u32| text.parse::<u32>().ok().filter(|number| *number <= most);
        if let &[minute, hour, "*", "*", days] = words.as_slice()
            && let Some((minute, hour)) = number(minute, 59).zip(number(hour, 23))
        {
            let listed = match days {
                "*" => Some((0..7).collect()),
                "1-5" => Some((1..=5).collect()),
                days => days.split(',').map(|day| number(day, 6)).collect::<Option<Vec<u32>>>(),
            };
            if let Some(days) = listed {
                return Self { how: "days".into(), days, time: format!("{hour:02}:{minute:02}"), cron: String::new() };
            }
        }
        Self { how: "cron".into(), cron: cron.to_owned(), ..Self::default() }
    }

    /// As cron; what is wrong, and at which field.
    fn cron(&self, named: &Named) -> Result<Option<String>, Wrong> {
        match self.how.as_str() {
            "days" => {
                let mut days: Vec<u32> =
                    DAYS.iter().map(|(day, _)| *day).filter(|day| self.days.contains(day)).collect();
                days.sort_unstable();
                let Some((hour, minute)) = clock(&self.time) else {
                    return Err(Wrong::at(named.time, "must be a time from 00:00 to 23:59"));
                };
                let days = match days.as_slice() {
                    [] => return Err(Wrong::at(named.how, "needs at least one day")),
                    all if all.len() == 7 => "*".to_owned(),
                    [1, 2, 3, 4, 5] => "1-5".to_owned(),
                    some => some.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
                };
                Ok(Some(format!("{minute} {hour} * * {days}")))
            }
            "cron" if self.cron.is_empty() => Err(Wrong::at(named.half, "must have five fields")),
            "cron" => Ok(Some(self.cron.clone())),
            _ => Ok(None),
        }
    }
}

fn clock(text: &str) -> Option<(u32, u32)> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, most: u32| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|number| digits && *number <= most)
    };
    number(hour, 23).zip(number(minute, 59))
}

async fn times_page(
    app: &App,
    visitor: &Visitor,
    id: &str,
    sent: Option<(&Fields, Wrong)>,
) -> Result<TimesPage, Mishap> {
    let now = app.now();
    let placed = app.placed(&visitor.caller, id).await?;
    let times = app.set_times(&visitor.caller, (&placed.project.id, id)).await?;
    let next = times.as_ref().map(|times| ahead(times, now)).unwrap_or_default();
    let next = next.into_iter().map(|(at, starts)| {
        let (what, machine) = (if starts { "Start" } else { "Stop" }, at.to_string());
        (what, until(at, now), format!("{} UTC", machine.get(..16).unwrap_or_default().replace('T', " ")))
    });
    let kept = |text: fn(&SetTimes) -> Option<&str>| Filled::of(times.as_ref().and_then(text));
    let (filled, wrong) = match sent {
        Some((fields, wrong)) => ([START.sent(fields), STOP.sent(fields)], wrong),
        None => ([kept(|times| times.start.as_deref()), kept(|times| times.stop.as_deref())], Wrong::default()),
    };
    let [start, stop] = filled;
    Ok(TimesPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "times", now),
        next: next.collect(),
        halves: [START.shown(&start, &wrong), STOP.shown(&stop, &wrong)],
        summary: Summary(wrong),
    })
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    Ok(page(&times_page(&app, &visitor, &id, None).await?))
}

pub(crate) async fn keep(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let placed = app.placed(&visitor.caller, &id).await?;
    let read = START.sent(&fields).cron(&START).and_then(|start| Ok((start, STOP.sent(&fields).cron(&STOP)?)));
    let wrong = match read {
        Ok((start, stop)) => {
            let of = (placed.project.id.as_str(), id.as_str());
            match app.keep_set_times(&visitor.caller, of, (start.as_deref(), stop.as_deref())).await {
                Ok(()) => return Ok(Redirect::to(&format!("/pipelines/{id}/times")).into_response()),
                Err(Refused::Conflict { code: "same_times", .. }) => {
                    Wrong::at("stop", "is at the same times as the start: a pipeline cannot do both at once")
                }
                Err(refused) => Wrong::from(refused)?,
            }
        }
        Err(wrong) => wrong,
    };
    let shown = times_page(&app, &visitor, &id, Some((&fields, wrong))).await?;
    Ok(with_status(StatusCode::BAD_REQUEST, &shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_a_time_become_cron_and_come_back_from_it() {
        for cron in ["30 6 * * 1-5", "0 20 * * *", "5 0 * * 0,6", "15 23 * * 3"] {
            let filled = Filled::of(Some(cron));
            assert_eq!(filled.how, "days");
            assert_eq!(filled.cron(&START).ok().flatten().as_deref(), Some(cron));
        }
        for cron in ["*/5 * * * *", "0 6 1 * *", "0 6 * * fri"] {
            let filled = Filled::of(Some(cron));
            assert_eq!((filled.how.as_str(), filled.cron(&STOP).ok().flatten().as_deref()), ("cron", Some(cron)));
        }
        assert_eq!(Filled::of(None).cron(&START).ok(), Some(None));
        for time in ["", "6", "24:00", "6:60", "-1:00", "6:000"] {
            let filled = Filled { how: "days".into(), days: vec![1], time: time.into(), cron: String::new() };
            assert!(filled.cron(&START).is_err(), "{time}");
        }
        assert_eq!(clock("6:05"), Some((6, 5)));
    }
}
