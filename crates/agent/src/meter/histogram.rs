//! Durations by size, as Prometheus counts them.

use std::time::Duration;

/// Upper bounds in seconds: from a commit to a local disk to a lake that is half an hour late.
const BOUNDS: [f64; 15] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [u64; BOUNDS.len()],
    /// Of all, also those beyond the last bound.
    pub count: u64,
    /// Seconds of all together.
    pub sum: f64,
}

impl Histogram {
    pub(super) fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.count += 1;
        self.sum += seconds;
        for (count, bound) in self.counts.iter_mut().zip(BOUNDS) {
            *count += u64::from(seconds <= bound);
        }
    }

    /// Each bound, and how many were no longer.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.into_iter().zip(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_counts_all_that_were_no_longer() {
        let mut durations = Histogram::default();
        for milliseconds in [5, 6, 60_000] {
            durations.add(Duration::from_millis(milliseconds));
        }
        let counts: Vec<u64> = durations.buckets().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[12], durations.count), (1, 2, 3, 3));
    }
}
