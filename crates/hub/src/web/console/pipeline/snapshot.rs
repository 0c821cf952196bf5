//! How far a snapshot is. What nobody can know is not shown as known: an estimate says that it is one, and nothing is whole
//! before it is finished.

use millrace_protocol::gateway::{Report, ReportedTable};

use crate::web::console::show::{count, span};

/// Longer than this nobody can tell.
const LONGEST: f64 = 30.0 * 86_400.0;

/// The snapshot of one table.
pub(crate) struct Progress {
    pub(crate) table: String,
    pub(crate) done: String,
    pub(crate) about: String,
    /// Of 100, at most 99 until it is finished; none where there is no estimate.
    pub(crate) percent: Option<u64>,
    pub(crate) is_finished: bool,
    pub(crate) words: &'static str,
}

fn percent(done: u64, about: u64) -> u64 {
    (done.saturating_mul(100)).checked_div(about).unwrap_or(0).min(99)
}

/// Of one table.
pub(crate) fn progress(table: &ReportedTable) -> Progress {
    let is_finished = table.snapshot == "finished";
    let (done, estimate) = (table.snapshot_rows, table.snapshot_rows_estimate);
    let about = match (is_finished, estimate) {
        (true, _) | (false, 0) => String::new(),
        // The agent never estimates fewer than it has read.
        (false, estimate) if estimate <= done => "more than was estimated".into(),
        (false, estimate) => format!("of about {}", count(estimate)),
    };
    Progress {
        table: table.table.clone(),
        done: count(done),
        about,
        percent: if is_finished { Some(100) } else { (estimate > 0).then(|| percent(done, estimate)) },
        is_finished,
        words: match table.snapshot.as_str() {
            "finished" => "finished",
            "running" => "being read",
            _ => "waits",
        },
    }
}

/// The whole snapshot: how far, and about how long still.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overall {
    pub(crate) percent: u64,
    pub(crate) line: String,
    pub(crate) left: String,
}

/// Of all tables, at a pace of so many rows a second; none where nothing is left to read.
pub(crate) fn overall(report: &Report, pace: Option<f64>) -> Option<Overall> {
    let of_snapshot: Vec<&ReportedTable> = report.tables.iter().filter(|table| table.snapshot != "none").collect();
    let open: Vec<&&ReportedTable> = of_snapshot.iter().filter(|table| table.snapshot != "finished").collect();
    if open.is_empty() {
        return None;
    }
    let done: u64 = of_snapshot.iter().map(|table| table.snapshot_rows).sum();
    let left: u64 = open.iter().map(|table| table.snapshot_rows_estimate.saturating_sub(table.snapshot_rows)).sum();
    let unknown = open.iter().filter(|table| table.snapshot_rows_estimate <= table.snapshot_rows).count();
    Some(Overall {
        percent: percent(done, done + left),
        line: format!(
            "{} of {} tables, {} of about {} rows",
            of_snapshot.len() - open.len(),
            of_snapshot.len(),
            count(done),
            count(done + left)
        ),
        left: remaining(left, pace, unknown),
    })
}

fn remaining(left: u64, pace: Option<f64>, unknown: usize) -> String {
    let tables = match unknown {
        0 => String::new(),
        1 => "; of 1 table nobody knows how many rows are left".into(),
        more => format!("; of {more} tables nobody knows how many rows are left"),
    };
    let time = match pace.filter(|pace| *pace >= 1.0).map(|pace| left as f64 / pace) {
        None => "how long still is not known yet".to_owned(),
        Some(_) if left == 0 => "how long still is not known".into(),
        Some(time) if time > LONGEST => "more than 30 days left at the pace of the last minutes".into(),
        Some(time) => {
            let word = if unknown > 0 { "at least about" } else { "about" };
            format!("{word} {} left at the pace of the last minutes", span(time.max(1.0)))
        }
    };
    format!("{time}{tables}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(tables: &[(&str, u64, u64)]) -> Report {
        let tables: Vec<_> = tables
            .iter()
            .map(|(snapshot, rows, estimate)| {
                json!({"table": "a.b", "snapshot": snapshot, "snapshotRows": rows, "snapshotRowsEstimate": estimate})
            })
            .collect();
        serde_json::from_value(
            json!({"pipelineId": "p", "status": "SNAPSHOTTING", "since": "", "revision": 1, "wish": 1,
            "tables": tables}),
        )
        .expect("it is a report")
    }

    #[test]
    fn nothing_is_whole_before_it_is_finished() {
        let all =
            overall(&report(&[("running", 1_000, 1_000), ("finished", 50, 50)]), Some(10.0)).expect("one is open");
        assert_eq!((all.percent, all.left.starts_with("how long still is not known;")), (99, true), "{}", all.left);
        assert_eq!(overall(&report(&[("finished", 50, 50), ("none", 0, 0)]), None), None);
    }

    #[test]
    fn an_estimate_is_named_as_one() {
        let left = |tables: &[_], pace| overall(&report(tables), pace).expect("one is open").left;
        assert_eq!(left(&[("running", 400, 1_000)], Some(10.0)), "about 1 min left at the pace of the last minutes");
        assert_eq!(left(&[("pending", 0, 1_000)], None), "how long still is not known yet");
        let one = left(&[("running", 400, 1_000), ("pending", 0, 0)], Some(10.0));
        assert!(
            one.starts_with("at least about 1 min left")
                && one.ends_with("of 1 table nobody knows how many rows are left")
        );
        assert!(left(&[("running", 0, 1 << 40)], Some(1.0)).starts_with("more than 30 days"));
    }
}
