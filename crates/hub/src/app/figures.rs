//! Figures over time: what agents report is kept as samples, and read as buckets of a range.
//!
//! Keeping them costs a sync nothing of its own: a sample goes with the entry that the ledger writes anyway, at most one in
//! ten seconds for each pipeline and each agent. `course` computes, this file fetches and keeps.

mod course;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_model::Timestamp;
use millrace_protocol::gateway::{ProcessFigures, Report};
use serde_json::Value;
use tracing::warn;

use super::App;
use crate::db::Writing;
use crate::db::figures::{self, Counter, Counters, QUARTER, Sample, series};
use crate::fault::Refused;

pub(crate) use course::{Bucket, Course};

/// Samples of one series are at least so far apart.
pub(crate) const FINE: i64 = 10 * 1_000_000;
/// Samples are kept for two days, their quarters of an hour for thirteen months.
const SAMPLES_FOR: i64 = 2 * 86_400 * 1_000_000;
const QUARTERS_FOR: i64 = 396 * 86_400 * 1_000_000;
/// What comes for a quarter of an hour has come so long after its end: the ledger waits for a second at most.
const LATE: i64 = 10 * 1_000_000;
/// So many series are added up in one transaction: nobody waits long for their turn.
const AT_ONCE: usize = 50;
/// How often it is looked whether a quarter of an hour is over.
const LOOK: Duration = Duration::from_secs(1);
/// In a list the last hour is shown by buckets so wide.
const SPARK: i64 = 120 * 1_000_000;
/// An agent's word is taken up to here, so that sums of many stay numbers: ten years of microseconds, and what nobody has counted.
const LONGEST_LAG: i64 = 10 * 366 * 86_400 * 1_000_000;
const MOST: i64 = 1 << 56;
/// Figures that could not be added up are tried again after so long.
const AGAIN: Duration = Duration::from_mins(1);
const HOUR: i64 = 3_600 * 1_000_000;
/// A range has at most so many buckets.
pub(crate) const BUCKETS: i64 = 1_500;

/// The last sample of each series by each agent. By agent: one that names the pipeline of another keeps
/// nobody's figures out.
#[derive(Default)]
pub(crate) struct Sampler(Mutex<HashMap<(i64, i64), Sample>>);

impl Sampler {
    fn lock(&self) -> MutexGuard<'_, HashMap<(i64, i64), Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time for another sample. Of a run that is over what it counted last is worth one, and what is said
    /// again and again is not: there nothing flows, and a chart has a gap.
    fn is_due(&self, (agent_id, id): (&str, &str), sample: &Sample, is_over: bool) -> bool {
        let series = (series(agent_id), series(id));
        let mut last = self.lock();
        let same_run = last.get(&series).filter(|last| last.run == sample.run);
        let same_counts = |last: &Sample| last.counters == sample.counters;
        let too_soon = |last: &Sample| (sample.at.0 - last.at.0).abs() < FINE;
        let is_known = same_run.is_some_and(|last| if is_over { same_counts(last) } else { too_soon(last) });
        if !is_known {
            last.insert(series, *sample);
        }
        !is_known
    }
}

/// The sample in a report; none in one that counts nothing.
fn of_report(report: &Report, at: Timestamp) -> Option<Sample> {
    let run = Timestamp::parse(report.counted_since.as_deref()?)?.0;
    let figure = |name: &str| report.figures.get(name);
    let whole = |name: &str| figure(name).and_then(Value::as_i64).map(|value| value.clamp(0, MOST));
    let micros = |name: &str| {
        figure(name).and_then(Value::as_f64).map(|seconds| ((seconds * 1e6).round() as i64).clamp(0, MOST))
    };
    let of_kind = |name: &str| {
        figure("changes_total")
            .and_then(|kinds| kinds.get(name))
            .and_then(Value::as_i64)
            .map(|value| value.clamp(0, MOST))
    };
    let counted = [
        (Counter::Rows, whole("rows_written_total")),
        (Counter::Bytes, whole("bytes_written_total")),
        (Counter::Inserts, of_kind("create")),
        (Counter::Updates, of_kind("update")),
        (Counter::Deletes, of_kind("delete")),
        (Counter::Truncates, of_kind("truncate")),
        (Counter::Reads, of_kind("read")),
        (Counter::Commits, whole("commit_duration_seconds_count")),
        (Counter::CommitTime, micros("commit_duration_seconds_sum")),
    ];
    let mut counters = Counters::default();
    for (counter, value) in counted {
        counters.set(counter, value.unwrap_or_default());
    }
    let lag = micros("lag_seconds").map(|lag| lag.min(LONGEST_LAG));
    let retained = whole("source_retained_bytes");
    Some(Sample { at, run, lag, lag_mean: lag, retained, memory: None, counters })
}

/// The sample in what a process says of itself.
fn of_process(process: &ProcessFigures, at: Timestamp) -> Option<Sample> {
    let run = Timestamp::parse(&process.since)?.0;
    let whole = |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(MOST).min(MOST));
    let mut counters = Counters::default();
    counters.set(Counter::Cpu, whole(process.cpu_milliseconds).unwrap_or_default());
    Some(Sample { at, run, memory: whole(process.memory_bytes), counters, ..Sample::default() })
}

impl App {
    /// Keeps the samples in what an agent has said, as part of `writing`.
    pub(crate) async fn sample(
        &self,
        writing: &mut Writing,
        agent_id: &str,
        (report, process): (Option<&Report>, Option<&ProcessFigures>),
        at: Timestamp,
    ) -> Result<(), Refused> {
        if let Some(report) = report
            && let Some(sample) = of_report(report, at)
            && self.sampler.is_due((agent_id, &report.pipeline_id), &sample, report.status == "NOT_RUNNING")
        {
            figures::add_of_pipeline(writing.on(), (&report.pipeline_id, agent_id), &sample).await?;
        }
        if let Some(process) = process
            && let Some(sample) = of_process(process, at)
            && self.sampler.is_due((agent_id, agent_id), &sample, false)
        {
            figures::add_of_agent(writing.on(), agent_id, &sample).await?;
        }
        Ok(())
    }

    /// The figures of a pipeline or an agent from `from` to `to`, in buckets of `step` or wider.
    pub(crate) async fn course(
        &self,
        id: &str,
        (from, to): (Timestamp, Timestamp),
        step: Option<i64>,
    ) -> Result<Course, Refused> {
        let now = self.now();
        let from = Timestamp(from.0.max(now.0 - QUARTERS_FOR).min(now.0));
        let to = Timestamp(to.0.clamp(from.0 + 1, now.0.max(from.0 + 1)));
        let step = course::step(to.0 - from.0, step);
        let fine = step < QUARTER && from.0 >= now.0 - SAMPLES_FOR;
        let step = if fine { step } else { step.max(QUARTER) };
        let samples = self.samples(series(id), (from, to), fine).await?;
        Ok(Course::new(&samples, (from, to), (step, if fine { FINE } else { QUARTER })))
    }

    /// The rows of the last hour, of each of these that has any.
    pub(crate) async fn last_hour(&self, ids: &[&str]) -> Result<HashMap<String, Course>, Refused> {
        let now = self.now();
        let range = (Timestamp(now.0 - HOUR), now);
        let all: Vec<i64> = ids.iter().map(|id| series(id)).collect();
        if all.is_empty() {
            return Ok(HashMap::new());
        }
        let mut samples: HashMap<i64, Vec<Sample>> = HashMap::new();
        for (series, sample) in figures::rows_of(self.db.pool(), &all, range.0, SPARK).await? {
            samples.entry(series).or_default().push(sample);
        }
        let course =
            |id: &&str| Some(((*id).to_owned(), Course::new(samples.get(&series(id))?, range, (SPARK, SPARK))));
        Ok(ids.iter().filter_map(course).collect())
    }

    /// Quarters of an hour as far as there are any, unless `fine`; then what came since.
    async fn samples(
        &self,
        series: i64,
        (from, to): (Timestamp, Timestamp),
        fine: bool,
    ) -> Result<Vec<Sample>, Refused> {
        if fine {
            return figures::fine(self.db.pool(), series, (from, to)).await;
        }
        let (mut samples, end) = figures::quarters(self.db.pool(), series, (from, to)).await?;
        let newer = figures::fine(self.db.pool(), series, (end.unwrap_or(from).max(from), to)).await?;
        let last = samples.last().map_or(i64::MIN, |sample| sample.at.0);
        samples.extend(newer.into_iter().filter(|sample| sample.at.0 > last));
        Ok(samples)
    }

    /// Adds up quarters of an hour when they are over and forgets what is too old, for as long as it is polled.
    pub(crate) async fn keep_figures(&self) {
        let mut done = Timestamp(0);
        loop {
            let closed = Timestamp((self.now().0 - LATE).div_euclid(QUARTER) * QUARTER);
            if closed != done {
                match self.add_up(closed).await {
                    Ok(()) => done = closed,
                    Err(error) => {
                        warn!(code = "HB-003", "figures could not be added up, it is tried again: {error}");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn add_up(&self, closed: Timestamp) -> Result<(), Refused> {
        let ends = (Timestamp(closed.0 - SAMPLES_FOR), Timestamp(closed.0 - QUARTERS_FOR));
        let kept = figures::kept(self.db.pool(), ends.0).await?;
        let mut failed = Ok(());
        for some in kept.chunks(AT_ONCE) {
            if self.add_up_of(some, closed, ends).await.is_ok() {
                continue;
            }
            // Those of one that cannot be added up keep nobody else's back.
            for one in some.chunks(1) {
                failed = self.add_up_of(one, closed, ends).await.and(failed);
            }
        }
        failed
    }

    async fn add_up_of(
        &self,
        some: &[(i64, bool)],
        closed: Timestamp,
        ends: (Timestamp, Timestamp),
    ) -> Result<(), Refused> {
        let mut writing = self.db.write().await?;
        for (series, is_gone) in some {
            if *is_gone {
                figures::forget(writing.on(), *series, (Timestamp(i64::MAX), Timestamp(i64::MAX))).await?;
            } else {
                figures::add_up(writing.on(), *series, closed).await?;
                figures::forget(writing.on(), *series, ends).await?;
            }
        }
        writing.commit().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_a_sample_and_one_that_counts_nothing_is_none() {
        let mut report: Report = serde_json::from_value(json!({"pipelineId": "p", "status": "STREAMING",
            "since": "2026-01-01T00:00:00.000Z", "revision": 1, "wish": 1, "countedSince": "2026-01-01T00:00:00.000Z",
            "figures": {"lag_seconds": 1.5, "rows_written_total": 7, "commit_duration_seconds_sum": 0.25,
                "commit_duration_seconds_count": 2, "changes_total": {"create": 4, "read": 3}}}))
        .expect("it is a report");
        let sample = of_report(&report, Timestamp(9)).expect("it counts");
        assert_eq!((sample.lag, sample.retained, sample.at), (Some(1_500_000), None, Timestamp(9)));
        let counted = [Counter::Rows, Counter::Inserts, Counter::Reads, Counter::Commits, Counter::CommitTime];
        assert_eq!(counted.map(|counter| sample.counters.of(counter)), [7, 4, 3, 2, 250_000]);
        let absurd = json!({"lag_seconds": 1e300, "rows_written_total": i64::MAX, "bytes_written_total": -7});
        report.figures = serde_json::from_value(absurd).expect("they are figures");
        let sample = of_report(&report, Timestamp(9)).expect("it counts");
        assert_eq!(sample.lag, Some(LONGEST_LAG));
        assert_eq!([Counter::Rows, Counter::Bytes].map(|counter| sample.counters.of(counter)), [MOST, 0]);
        report.counted_since = None;
        assert_eq!(of_report(&report, Timestamp(9)), None);
    }

    #[test]
    fn many_syncs_are_one_sample_in_ten_seconds_and_a_new_run_is_one_at_once() {
        let sampler = Sampler::default();
        let due = |seconds: i64, run, rows, is_over| {
            let mut sample = Sample { at: Timestamp(seconds * 1_000_000), run, ..Sample::default() };
            sample.counters.set(Counter::Rows, rows);
            sampler.is_due(("a", "p"), &sample, is_over)
        };
        let running = [(0, 1), (1, 1), (9, 1), (10, 1), (11, 2), (12, 2)].map(|(at, run)| due(at, run, at, false));
        assert_eq!(running, [true, false, false, true, true, false]);
        // It ends a second later with more rows, and says so for as long as it rests.
        assert_eq!([due(13, 2, 13, true), due(28, 2, 13, true), due(600, 2, 13, true)], [true, false, false]);
        // After a clock was set back there are figures at once, not when it has caught up.
        assert_eq!([due(700, 3, 1, false), due(100, 3, 2, false), due(105, 3, 3, false)], [true, true, false]);
    }
}
