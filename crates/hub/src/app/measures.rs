//! What the hub measures of itself, for Prometheus.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::App;
use crate::db::agents;
use crate::fault::Refused;

/// Upper ends of the buckets, seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// How often something took how long.
#[derive(Clone, Debug, Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (count, end) in self.counts.iter_mut().zip(BUCKETS) {
            *count += u64::from(seconds <= end);
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// As lines; `labels` is empty or `name="value",…`.
    fn lines(&self, name: &str, labels: &str) -> String {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut text = String::new();
        for (count, end) in self.counts.iter().zip(BUCKETS) {
            text += &format!("{name}_bucket{{{labels}{comma}le=\"{end}\"}} {count}\n");
        }
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        text += &format!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}\n", self.count);
        text += &format!("{name}_sum{braces} {}\n{name}_count{braces} {}\n", self.sum, self.count);
        text
    }
}

/// The measures of one hub process.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    sync: Mutex<Histogram>,
    requests: Mutex<BTreeMap<(String, u16), Histogram>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Measures {
    /// A sync took so long beyond the time for which it was held.
    pub(crate) fn synced(&self, beyond: Duration) {
        lock(&self.sync).add(beyond);
    }

    /// A request was answered. `route` is one of the router's, so there are few.
    pub(crate) fn answered(&self, route: &str, status: u16, took: Duration) {
        lock(&self.requests).entry((route.to_owned(), status)).or_default().add(took);
    }
}

impl App {
    /// The page for Prometheus.
    pub(crate) async fn metrics(&self) -> Result<String, Refused> {
        const SYNC: &str = "millrace_hub_sync_duration_seconds";
        const REQUEST: &str = "millrace_hub_http_request_duration_seconds";
        let mut text = String::from("# TYPE millrace_hub_agents gauge\n");
        for (status, count) in agents::by_status(self.db.pool(), self.now()).await? {
            text += &format!("millrace_hub_agents{{status=\"{status}\"}} {count}\n");
        }
        text += &format!("# TYPE {SYNC} histogram\n{}", lock(&self.measures.sync).lines(SYNC, ""));
        text += &format!("# TYPE {REQUEST} histogram\n");
        for ((route, status), histogram) in lock(&self.measures.requests).iter() {
            text += &histogram.lines(REQUEST, &format!("route=\"{route}\",status=\"{status}\""));
        }
        let version = env!("CARGO_PKG_VERSION");
        text += &format!("# TYPE millrace_build_info gauge\nmillrace_build_info{{version=\"{version}\"}} 1\n");
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_counts_all_that_were_as_fast_or_faster() {
        let mut histogram = Histogram::default();
        for millis in [4, 40, 4000, 40_000] {
            histogram.add(Duration::from_millis(millis));
        }
        let text = histogram.lines("x", "route=\"/a\"");
        for line in [
            "x_bucket{route=\"/a\",le=\"0.001\"} 0",
            "x_bucket{route=\"/a\",le=\"0.005\"} 1",
            "x_bucket{route=\"/a\",le=\"0.05\"} 2",
            "x_bucket{route=\"/a\",le=\"5\"} 3",
            "x_bucket{route=\"/a\",le=\"+Inf\"} 4",
            "x_count{route=\"/a\"} 4",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
