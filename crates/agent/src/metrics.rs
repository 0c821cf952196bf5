//! The numbers of a run as Prometheus reads them: text exposition format 0.0.4.

use millrace_model::{OpCounts, Timestamp};

use crate::clock::SystemClock;
use crate::meter::{Histogram, Meter, Reading, TableTotals};

/// Type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics, each with the label `pipeline`.
struct Page {
    text: String,
    pipeline: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.text += &format!("# HELP millrace_{name} {help}\n# TYPE millrace_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text += &format!("millrace_{name}{{pipeline=\"{}\"", self.pipeline);
        for (label, text) in labels.iter().filter(|(_, text)| !text.is_empty()) {
            self.text += &format!(",{label}=\"{}\"", escaped(text));
        }
        self.text += &format!("}} {value}\n");
    }

    fn histogram(&mut self, name: &str, help: &str, durations: &Histogram) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, count) in durations.buckets() {
            self.sample(&bucket, &[("le", &bound.to_string())], count);
        }
        self.sample(&bucket, &[("le", "+Inf")], durations.count);
        self.sample(&format!("{name}_sum"), &[], durations.sum);
        self.sample(&format!("{name}_count"), &[], durations.count);
    }

    /// A number without labels of its own.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// All metrics now.
pub fn page(meter: &Meter) -> String {
    let mut page = Page { text: String::new(), pipeline: escaped(meter.pipeline()) };
    let reading = meter.read();
    pace(&mut page, &reading);
    tables(&mut page, &reading);
    commits(&mut page, &reading);
    drop(reading);
    if let Some(bytes) = crate::process::resident_bytes() {
        page.one("memory_used_bytes", "gauge", "Memory that the process has resident.", bytes);
    }
    page.family("build_info", "gauge", "Always 1; the label tells the version.");
    page.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.text
}

/// What an agent adds to its page: whether the hub answered its last call.
pub fn hub_connected(connected: bool) -> String {
    format!(
        "# HELP millrace_hub_connected 1 while the hub answers.\n# TYPE millrace_hub_connected gauge\n\
         millrace_hub_connected {}\n",
        u8::from(connected)
    )
}

/// The page of an agent that runs nothing at the moment.
pub fn idle() -> String {
    let mut page = Page { text: String::new(), pipeline: String::new() };
    page.family("build_info", "gauge", "Always 1; the label tells the version.");
    page.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.text
}

fn pace(page: &mut Page, reading: &Reading) {
    let lag = reading.lag(SystemClock::time()).as_secs_f64();
    page.one(
        "lag_seconds",
        "gauge",
        "Age of the oldest change that is read and not committed; 0 when there is none.",
        lag,
    );
    let waiting = reading.waiting;
    if let Some(bytes) = waiting.unread {
        let help = "Bytes of the source's log behind the last transaction that was read, as of the last look.";
        page.one("lag_bytes", "gauge", help, bytes.get());
    }
    if let Some(bytes) = waiting.retained {
        let help = "Bytes of its log that the source keeps for this pipeline, as of the last look.";
        page.one("source_retained_bytes", "gauge", help, bytes.get());
    }
    let source = u8::from(reading.source_connected);
    page.one("source_connected", "gauge", "1 while the source answers.", source);
    let target = u8::from(reading.target_connected);
    page.one("target_connected", "gauge", "1 while the target answers.", target);
    page.family("retries_total", "counter", "Attempts without an answer, by what was tried.");
    for (stage, count) in &reading.retries {
        page.sample("retries_total", &[("stage", stage)], count);
    }
}

fn tables(page: &mut Page, reading: &Reading) {
    type Number = fn(&TableTotals) -> u64;
    page.family("changes_total", "counter", "Committed changes of the log, by op.");
    for (table, totals) in reading.tables.totals() {
        for (op, count) in by_op(&totals.ops) {
            page.sample("changes_total", &[("table", table), ("op", op)], count);
        }
    }
    let families: [(&str, &str, Number); 4] = [
        ("rows_written_total", "Committed rows, those of snapshots among them.", |totals| totals.rows),
        ("bytes_written_total", "Bytes of committed files.", |totals| totals.bytes),
        ("files_written_total", "Committed files.", |totals| totals.files),
        ("snapshot_rows_total", "Committed rows of snapshots.", |totals| totals.ops.read),
    ];
    for (name, help, number) in families {
        page.family(name, "counter", help);
        for (table, totals) in reading.tables.totals() {
            page.sample(name, &[("table", table)], number(totals));
        }
    }
    let remaining = reading.tables_remaining;
    page.one("snapshot_tables_remaining", "gauge", "Tables whose snapshot is not finished.", remaining);
}

fn by_op(ops: &OpCounts) -> [(&'static str, u64); 4] {
    [("insert", ops.create), ("update", ops.update), ("delete", ops.delete), ("truncate", ops.truncate)]
}

fn commits(page: &mut Page, reading: &Reading) {
    page.family("commits_total", "counter", "Commits, by kind.");
    for (kind, count) in &reading.commits {
        page.sample("commits_total", &[("kind", kind)], count);
    }
    if let Some((_, Timestamp(micros))) = reading.committed {
        let seconds = micros as f64 / 1e6;
        page.one("last_commit_timestamp_seconds", "gauge", "When the newest commit was confirmed.", seconds);
    }
    let help = "From the end of a round to its confirmed commit.";
    page.histogram("commit_duration_seconds", help, &reading.commit_durations);
    let help = "From a transaction's commit in the source to the commit that has it.";
    page.histogram("delivery_latency_seconds", help, &reading.delivery_latencies);
    let help = "Bytes of transactions without an end that wait on disk.";
    page.one("spill_bytes", "gauge", help, reading.spilled);
}

/// A label's value as it stands between quotation marks.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_every_sample_belongs_to_its_family() {
        let meter = Meter::new("a\"b\\c", true);
        meter.retrying("check");
        let text = page(&meter);
        assert!(text.contains("millrace_retries_total{pipeline=\"a\\\"b\\\\c\",stage=\"check\"} 1\n"), "{text}");
        let mut family = String::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE ").and_then(|line| line.split(' ').next()) {
                Some(name) => name.clone_into(&mut family),
                None => assert!(line.starts_with("# HELP ") || line.starts_with(&family), "{line} in {family}"),
            }
        }
    }
}
