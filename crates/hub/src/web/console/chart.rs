//! Small charts on one time axis, as SVG from the server. A line is 1.5 px and starts from zero, a gap is a gap; beside each
//! stands what it says, and the same figures can be read as a table.

use askama::Template;
use askama::filters::HtmlSafe;
use millrace_model::Timestamp;

use super::show::{local, offset, zone};
use super::visitor::Fields;
use crate::app::figures::{Bucket, Course};
use crate::db::figures::Counter;

const MINUTE: i64 = 60 * 1_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// A table has about so many rows.
const ROWS: i64 = 60;
/// Height and width of a line's own coordinates.
const HIGH: f64 = 100.0;
const WIDE: f64 = 1000.0;

/// How far back a page looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// In the address.
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) long: i64,
    /// From mark to mark of the axis.
    tick: i64,
}

/// What can be chosen.
const RANGES: [Range; 4] = [
    Range { key: "1h", name: "1 h", long: HOUR, tick: 10 * MINUTE },
    Range { key: "24h", name: "24 h", long: DAY, tick: 4 * HOUR },
    Range { key: "7d", name: "7 d", long: 7 * DAY, tick: DAY },
    Range { key: "30d", name: "30 d", long: 30 * DAY, tick: 5 * DAY },
];

impl Range {
    /// As the address asks for it.
    pub(crate) fn of(query: &Fields) -> Self {
        let [usual, ..] = RANGES;
        RANGES.into_iter().find(|range| range.key == query.get("range")).unwrap_or(usual)
    }

    /// The width of a table's rows.
    pub(crate) fn row(self) -> i64 {
        self.long / ROWS
    }

    /// A time on this axis.
    pub(crate) fn label(self, at: Timestamp) -> String {
        let text = local(at);
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
        if self.tick >= DAY { part(5..10) } else { part(11..16) }
    }
}

/// A link to another range.
pub(crate) struct RangeLink {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    pub(crate) is_chosen: bool,
}

/// One line of figures.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: fn(&Bucket) -> Option<f64>,
    pub(crate) shown: fn(f64) -> String,
    /// The scale goes up to this at least.
    pub(crate) least: f64,
}

/// A mark on the axis, in hundredths of its length.
pub(crate) struct Tick {
    pub(crate) at: String,
    pub(crate) label: String,
    /// Has no place where it is narrow.
    pub(crate) is_spare: bool,
}

/// Something that happened.
pub(crate) struct Mark {
    pub(crate) at: String,
    pub(crate) words: String,
}

/// One chart.
pub(crate) struct Chart {
    pub(crate) name: &'static str,
    pub(crate) path: String,
    pub(crate) top: String,
    /// The newest figure; empty where there is none.
    pub(crate) now: String,
    pub(crate) summary: String,
    /// What a reader who does not see it is told.
    pub(crate) spoken: String,
}

/// A row of the table.
pub(crate) struct Row {
    pub(crate) at: String,
    pub(crate) cells: Vec<String>,
}

/// All of it, with the choice of a range above.
#[derive(Template)]
#[template(path = "parts/charts.html")]
pub(crate) struct Charts {
    pub(crate) links: Vec<RangeLink>,
    pub(crate) zone: String,
    pub(crate) all: Vec<Chart>,
    pub(crate) ticks: Vec<Tick>,
    pub(crate) runs: Vec<Mark>,
    pub(crate) faults: Vec<Mark>,
    pub(crate) is_table: bool,
    pub(crate) other_view: String,
    pub(crate) columns: Vec<(&'static str, &'static str)>,
    pub(crate) rows: Vec<Row>,
    pub(crate) is_empty: bool,
    pub(crate) run_word: &'static str,
}

impl HtmlSafe for Charts {}

/// A moment as a share of the range; none outside of it.
fn share(course: &Course, at: Timestamp) -> Option<f64> {
    let share = (at.0 - course.from.0) as f64 / (course.to.0 - course.from.0) as f64;
    (0.0..=1.0).contains(&share).then_some(share)
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// The next number that people like: 1, 2 or 5 and zeros.
fn round_up(number: f64) -> f64 {
    let power = 10f64.powf(number.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| number <= step * 1.0001).unwrap_or(number)
}

/// The line: from the middle of a bucket to that of the next, broken where nothing is known.
fn path(course: &Course, line: &Line, top: f64) -> String {
    let mut path = String::new();
    let whole = (course.to.0 - course.from.0) as f64;
    let x = |at: i64| ((at - course.from.0) as f64 / whole * WIDE).clamp(0.0, WIDE);
    let mut before = false;
    let values: Vec<Option<f64>> = course.buckets.iter().map(line.value).collect();
    for (at, (bucket, value)) in course.buckets.iter().zip(&values).enumerate() {
        let Some(value) = value else {
            before = false;
            continue;
        };
        let y = HIGH - (value / top * HIGH).clamp(0.0, HIGH);
        let alone = !before && values.get(at + 1).is_none_or(Option::is_none);
        if alone {
            path += &format!("M{:.1} {y:.1}H{:.1}", x(bucket.at.0), x(bucket.at.0 + course.step));
        } else {
            let mark = if before { 'L' } else { 'M' };
            path += &format!("{mark}{:.1} {y:.1}", x(bucket.at.0 + course.step / 2));
        }
        before = true;
    }
    path
}

fn chart(course: &Course, range: Range, line: &Line) -> Chart {
    let known: Vec<(Timestamp, f64)> =
        course.buckets.iter().filter_map(|bucket| Some((bucket.at, (line.value)(bucket)?))).collect();
    let most = known.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let top = round_up(most.map_or(line.least, |(_, most)| most.max(line.least)));
    let mean = known.iter().map(|(_, value)| value).sum::<f64>() / known.len().max(1) as f64;
    let shown = |value: f64| (line.shown)(value);
    // The newest bucket may not be over; what it has is what is known.
    let newest = known.last().filter(|(at, _)| course.to.0 - at.0 <= 4 * course.step.max(MINUTE / 2));
    let summary = most.map_or_else(
        || "no figures in this time".into(),
        |(at, most)| format!("mean {}, most {} at {}", shown(mean), shown(most), range.label(at)),
    );
    let now = newest.map_or_else(String::new, |(_, value)| shown(*value));
    let spoken = if now.is_empty() {
        format!("{}: {summary}", line.name)
    } else {
        format!("{}: newest {now}, {summary}", line.name)
    };
    Chart { name: line.name, path: path(course, line, top), top: shown(top), now, summary, spoken }
}

fn ticks(course: &Course, range: Range) -> Vec<Tick> {
    let ahead = offset() * MINUTE;
    let first = (course.from.0 + ahead).div_euclid(range.tick) * range.tick - ahead;
    let moments = (0..).map(|at| Timestamp(first + at * range.tick)).take_while(|at| at.0 <= course.to.0);
    let shares = moments.filter_map(|at| Some((at, share(course, at)?)));
    // Beside the edge a label has no room.
    let inside = shares.filter(|(_, share)| (0.025..0.975).contains(share));
    inside
        .enumerate()
        .map(|(number, (at, share))| Tick {
            at: percent(share),
            label: range.label(at),
            is_spare: !number.is_multiple_of(2),
        })
        .collect()
}

/// What a page of figures is made of.
pub(crate) struct Drawn<'a> {
    pub(crate) course: &'a Course,
    /// The same in fewer buckets, where a table is asked for.
    pub(crate) table: Option<&'a Course>,
    pub(crate) range: Range,
    pub(crate) query: &'a Fields,
    pub(crate) lines: &'a [Line],
    /// When something went wrong, and what.
    pub(crate) faults: Vec<(Timestamp, String)>,
    /// What began at a mark.
    pub(crate) run_word: &'static str,
}

/// Rows a second of a range, as a line of a list.
#[derive(Template)]
#[template(path = "parts/spark.html")]
pub(crate) struct Spark {
    path: String,
    spoken: String,
}

impl HtmlSafe for Spark {}

impl Spark {
    /// None where nothing has flowed.
    pub(crate) fn new(course: &Course) -> Option<Self> {
        let line = Line {
            name: "",
            unit: "",
            value: |bucket| bucket.per_second(Counter::Rows),
            shown: super::show::rate,
            least: 1.0,
        };
        let most = course.buckets.iter().filter_map(|bucket| (line.value)(bucket)).reduce(f64::max)?;
        let spoken = format!("at most {} rows a second in the last hour", (line.shown)(most));
        Some(Self { path: path(course, &line, most.max(line.least)), spoken })
    }
}

/// Whether a table is asked for.
pub(crate) fn wants_table(query: &Fields) -> bool {
    query.get("view") == "table"
}

impl Charts {
    pub(crate) fn new(drawn: Drawn<'_>) -> Self {
        let Drawn { course, table, range, query, lines, faults, run_word } = drawn;
        let [usual, ..] = RANGES;
        let links = RANGES.into_iter().map(|other| RangeLink {
            name: other.name,
            address: query.with("range", if other == usual { "" } else { other.key }),
            is_chosen: other == range,
        });
        let mark = |at: Timestamp, words: String| {
            let time = range.label(at);
            share(course, at).map(|share| Mark { at: percent(share), words: format!("{time} {words}") })
        };
        let rows = table.map_or_else(Vec::new, |table| {
            let known = table.buckets.iter().rev().filter(|bucket| bucket.is_known());
            let cell = |bucket: &Bucket, line: &Line| (line.value)(bucket).map_or_else(|| "–".into(), line.shown);
            known
                .map(|bucket| Row {
                    at: local(bucket.at).get(..16).unwrap_or_default().replace('T', " "),
                    cells: lines.iter().map(|line| cell(bucket, line)).collect(),
                })
                .collect()
        });
        Self {
            links: links.collect(),
            zone: zone(),
            all: lines.iter().map(|line| chart(course, range, line)).collect(),
            ticks: ticks(course, range),
            runs: course.runs.iter().filter_map(|at| mark(*at, run_word.into())).collect(),
            faults: faults.into_iter().filter_map(|(at, words)| mark(at, words)).collect(),
            is_table: table.is_some(),
            other_view: query.with("view", if table.is_some() { "" } else { "table" }),
            columns: lines.iter().map(|line| (line.name, line.unit)).collect(),
            rows,
            is_empty: !course.buckets.iter().any(Bucket::is_known),
            run_word,
        }
    }

    /// Whether it is the last one, which carries the axis.
    fn is_last(&self, at: usize) -> bool {
        at + 1 == self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "round numbers are exact")]
    fn a_scale_ends_with_a_round_number() {
        assert_eq!([0.3, 1.0, 1.1, 4.0, 12_000.0].map(round_up), [0.5, 1.0, 2.0, 5.0, 20_000.0]);
    }

    #[test]
    fn a_range_is_what_the_address_asks_for_or_an_hour() {
        let of = |query: &str| Range::of(&Fields::parse(query.as_bytes())).key;
        assert_eq!([of(""), of("range=7d"), of("range=2y")], ["1h", "7d", "1h"]);
    }
}
