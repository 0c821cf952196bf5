//! The course of figures over a range: rates, lags and sums by buckets, from counters as they stood.
//!
//! What was counted between two samples is spread evenly over the time between them. Where that time is longer than a gap,
//! it counts in sums, and no bucket shows a rate of it: nobody knows what happened then.

use millrace_model::Timestamp;

use super::{BUCKETS, FINE};
use crate::db::figures::{Counter, Counters, Sample};

/// Samples that are further apart have a gap between them.
const GAP: i64 = 60 * 1_000_000;
/// So many buckets, where nobody asks for others.
const USUAL: i64 = 300;
/// Widths that people can read, in seconds.
const WIDTHS: [i64; 12] = [10, 15, 30, 60, 120, 300, 900, 3_600, 7_200, 10_800, 21_600, 86_400];
const SECOND: i64 = 1_000_000;

/// The width of a bucket in a range so long: as asked, or else one that people can read; wider where there would be too many.
pub(super) fn step(range: i64, asked: Option<i64>) -> i64 {
    let width = |buckets: i64| {
        let fits = WIDTHS.iter().map(|width| width * SECOND).find(|width| range <= width * buckets);
        fits.unwrap_or_else(|| range / buckets + 1)
    };
    asked.unwrap_or_else(|| width(USUAL)).max(FINE).max(width(BUCKETS))
}

/// Figures of a range.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    /// Microseconds.
    pub(crate) step: i64,
    /// How far samples are apart that it was made of, in microseconds.
    pub(crate) resolution: i64,
    pub(crate) buckets: Vec<Bucket>,
    /// What was counted in the range.
    sums: [f64; 10],
    /// When a run began.
    pub(crate) runs: Vec<Timestamp>,
}

/// What is known of a bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) at: Timestamp,
    /// Microseconds of it that samples cover; where there are none, there is a gap.
    covered: f64,
    lag_time: f64,
    lag_covered: f64,
    /// Seconds.
    pub(crate) lag_most: Option<f64>,
    pub(crate) retained: Option<i64>,
    pub(crate) memory: Option<i64>,
    counted: [f64; 10],
}

impl Bucket {
    /// Whether anything is known of it.
    pub(crate) fn is_known(&self) -> bool {
        self.covered > 0.0
    }

    /// The mean, in seconds.
    pub(crate) fn lag(&self) -> Option<f64> {
        (self.lag_covered > 0.0).then(|| self.lag_time / self.lag_covered / 1e6)
    }

    /// So much a second.
    pub(crate) fn per_second(&self, counter: Counter) -> Option<f64> {
        self.is_known().then(|| self.counted(counter) / (self.covered / 1e6))
    }

    /// So much in all.
    pub(crate) fn counted(&self, counter: Counter) -> f64 {
        self.counted.get(counter as usize).copied().unwrap_or_default()
    }

    /// What a commit took, in seconds; none where there was none.
    pub(crate) fn commit_time(&self) -> Option<f64> {
        let commits = self.counted(Counter::Commits);
        (commits > 0.01).then(|| self.counted(Counter::CommitTime) / commits / 1e6)
    }
}

/// What was counted from one sample to the next.
struct Stretch {
    from: i64,
    to: i64,
    counted: Counters,
    is_gap: bool,
}

impl Stretch {
    fn new(before: Option<&Sample>, sample: &Sample, gap: i64) -> Self {
        let same = before.filter(|before| before.run == sample.run);
        let from = match (same, before) {
            (Some(same), _) => same.at.0,
            // A new run counts from nothing, since it began; two clocks may differ.
            (None, Some(before)) => sample.run.max(before.at.0),
            (None, None) => sample.run,
        };
        let from = from.min(sample.at.0);
        let counted = same.map_or(sample.counters, |same| sample.counters.since(&same.counters));
        Self { from, to: sample.at.0, counted, is_gap: sample.at.0 - from > gap }
    }

    /// How much of it lies between two moments.
    fn share(&self, from: i64, to: i64) -> f64 {
        if self.from == self.to {
            return if self.to > from && self.to <= to { 1.0 } else { 0.0 };
        }
        let overlap = self.to.min(to) - self.from.max(from);
        overlap.max(0) as f64 / (self.to - self.from) as f64
    }
}

impl Course {
    /// The course of samples, the oldest first; one before the range may come first.
    pub(super) fn new(samples: &[Sample], (from, to): (Timestamp, Timestamp), (step, resolution): (i64, i64)) -> Self {
        let first = from.0.div_euclid(step) * step;
        let count = (to.0 - first + step - 1) / step;
        let mut course = Self {
            from,
            to,
            step,
            resolution,
            buckets: (0..count).map(|at| Bucket { at: Timestamp(first + at * step), ..Bucket::default() }).collect(),
            sums: [0.0; 10],
            runs: Vec::new(),
        };
        // Two quarters of an hour beside each other are no gap.
        let gap = GAP.max(2 * resolution);
        let mut before = None;
        for sample in samples {
            if before.is_none_or(|before: &Sample| before.run != sample.run)
                && sample.run > from.0
                && sample.run <= to.0
            {
                course.runs.push(Timestamp(sample.run));
            }
            course.add(&Stretch::new(before, sample, gap), sample);
            before = Some(sample);
        }
        course
    }

    fn add(&mut self, stretch: &Stretch, sample: &Sample) {
        let whole = stretch.share(self.from.0, self.to.0);
        for (sum, counted) in self.sums.iter_mut().zip(stretch.counted.each()) {
            *sum += counted as f64 * whole;
        }
        let first = self.buckets.first().map_or(0, |bucket| bucket.at.0);
        let index = |at: i64| usize::try_from((at - first).max(0) / self.step).unwrap_or(usize::MAX);
        let (begin, end) = (index(stretch.from), index(stretch.to));
        if stretch.is_gap || stretch.to < first {
            return;
        }
        for bucket in self.buckets.iter_mut().take(end.saturating_add(1)).skip(begin) {
            bucket.take(stretch, sample, self.step);
        }
    }

    /// What was counted in the range, to the nearest whole one.
    pub(crate) fn sum(&self, counter: Counter) -> u64 {
        self.sums.get(counter as usize).map_or(0, |sum| sum.round() as u64)
    }
}

impl Bucket {
    fn take(&mut self, stretch: &Stretch, sample: &Sample, step: i64) {
        let share = stretch.share(self.at.0, self.at.0 + step);
        if share <= 0.0 {
            return;
        }
        let covered = share * (stretch.to - stretch.from) as f64;
        self.covered += covered;
        for (sum, counted) in self.counted.iter_mut().zip(stretch.counted.each()) {
            *sum += counted as f64 * share;
        }
        if let (Some(mean), Some(most)) = (sample.lag_mean, sample.lag) {
            self.lag_time += mean as f64 * covered;
            self.lag_covered += covered;
            self.lag_most = Some(self.lag_most.unwrap_or(0.0).max(most as f64 / 1e6));
        }
        self.retained = self.retained.max(sample.retained);
        self.memory = self.memory.max(sample.memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: i64, run: i64, rows: i64) -> Sample {
        let mut counters = Counters::default();
        counters.set(Counter::Rows, rows);
        let lag = Some(at * 1000);
        Sample { at: Timestamp(at * SECOND), run: run * SECOND, lag, lag_mean: lag, counters, ..Sample::default() }
    }

    fn course(samples: &[Sample], to: i64, step: i64) -> Course {
        Course::new(samples, (Timestamp(0), Timestamp(to * SECOND)), (step * SECOND, FINE))
    }

    fn rates(course: &Course) -> Vec<Option<f64>> {
        course.buckets.iter().map(|bucket| bucket.per_second(Counter::Rows)).collect()
    }

    #[test]
    fn a_restart_counts_from_nothing_and_no_rate_is_ever_negative() {
        let samples = [sample(0, -100, 1_000), sample(20, -100, 1_200), sample(40, 30, 50), sample(60, 30, 250)];
        let course = course(&samples, 60, 20);
        // The second bucket: nothing is known of the time from 20 to 30, and 50 rows came from 30 to 40.
        assert_eq!(rates(&course), [Some(10.0), Some(5.0), Some(10.0)]);
        assert_eq!((course.sum(Counter::Rows), course.runs.len()), (450, 1));
    }

    #[test]
    fn a_gap_shows_no_rate_and_still_counts() {
        let samples = [sample(0, -100, 0), sample(20, -100, 20), sample(620, -100, 6_020), sample(640, -100, 6_040)];
        let course = course(&samples, 640, 20);
        let rates = rates(&course);
        assert_eq!((rates[0], rates[1], rates[30], rates[31]), (Some(1.0), None, None, Some(1.0)));
        assert_eq!(course.sum(Counter::Rows), 6_040);
    }

    #[test]
    fn what_was_counted_before_the_range_is_not_in_it() {
        // The only sample of a run that began 1,000 s before the range: of its 2,000 rows half fell into it.
        let course = course(&[sample(1_000, -1_000, 2_000)], 1_000, 100);
        assert_eq!(course.sum(Counter::Rows), 1_000);
        assert!(rates(&course).iter().all(Option::is_none));
    }

    #[test]
    fn a_clock_that_is_ahead_does_no_harm() {
        let course = course(&[sample(10, 500, 7)], 20, 10);
        assert_eq!(course.sum(Counter::Rows), 7);
    }

    #[test]
    fn buckets_are_as_wide_as_people_read_them_and_never_too_many() {
        let hour = 3_600 * SECOND;
        assert_eq!([step(hour, None), step(24 * hour, None)], [15 * SECOND, 300 * SECOND]);
        assert_eq!([step(hour, Some(1)), step(24 * hour, Some(10 * SECOND))], [10 * SECOND, 60 * SECOND]);
        assert_eq!(step(720 * hour, None), 10_800 * SECOND);
    }
}
