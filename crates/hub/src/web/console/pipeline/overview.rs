//! What flows through a pipeline: the strip, the figures now and over time, the snapshot, the newest events.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use millrace_model::Timestamp;
use serde_json::Value;

use super::snapshot::{Overall, Progress, overall, progress};
use super::{EventRow, Head, head};
use crate::app::App;
use crate::app::console::Placed;
use crate::app::figures::Course;
use crate::db::events::Stored;
use crate::db::figures::Counter;
use crate::db::part::Part;
use crate::fault::Refused;
use crate::web::console::chart::{Charts, Drawn, Line, Range, wants_table};
use crate::web::console::flow::{Flow, figure, flow, is_fresh};
use crate::web::console::page::{Mishap, Shell, page};
use crate::web::console::show::{When, bytes, count, filters, rate, span};
use crate::web::console::visitor::{Fields, Visitor};

const MINUTE: i64 = 60 * 1_000_000;
/// The pace of a snapshot is that of so long.
const PACE: i64 = 5 * MINUTE;
/// So many tables of a snapshot, and events, are shown here.
const TABLES: usize = 8;
const EVENTS: usize = 5;
/// The newest events, in which faults are looked for that the charts mark.
const MARKED: i64 = 200;

/// One figure of the overview.
struct Tile {
    name: &'static str,
    value: String,
    unit: &'static str,
}

/// Changes of one kind: in the last hour, in the last day, since the run began.
struct Kind {
    name: &'static str,
    hour: String,
    day: String,
    run: String,
}

#[derive(Template)]
#[template(path = "pipeline.html")]
struct OverviewPage {
    shell: Shell,
    head: Head,
    flow: Flow,
    tiles: Vec<Tile>,
    stale: Option<When>,
    is_unknown: bool,
    kinds: Vec<Kind>,
    overall: Option<Overall>,
    snapshot: Vec<Progress>,
    snapshot_more: usize,
    charts: Charts,
    events: Vec<EventRow>,
    position: Option<(String, String, When)>,
}

fn bytes_of(number: f64) -> String {
    bytes(number.max(0.0).round() as u64)
}

/// A time that may be far below a second.
fn duration(seconds: f64) -> String {
    if seconds < 0.9995 { format!("{:.0} ms", seconds * 1000.0) } else { span(seconds) }
}

const LINES: [Line; 4] = [
    Line { name: "Lag", unit: "", value: |bucket| bucket.lag(), shown: duration, least: 0.5 },
    Line { name: "Rows/s", unit: "", value: |bucket| bucket.per_second(Counter::Rows), shown: rate, least: 1.0 },
    Line {
        name: "Bytes/s",
        unit: "",
        value: |bucket| bucket.per_second(Counter::Bytes),
        shown: bytes_of,
        least: 1000.0,
    },
    Line { name: "Commit time", unit: "", value: |bucket| bucket.commit_time(), shown: duration, least: 0.05 },
];

const KINDS: [(&str, &str, Counter); 5] = [
    ("create", "Inserts", Counter::Inserts),
    ("update", "Updates", Counter::Updates),
    ("delete", "Deletes", Counter::Deletes),
    ("truncate", "Truncates", Counter::Truncates),
    ("read", "Read by a snapshot", Counter::Reads),
];

fn changes(course: &Course) -> u64 {
    let counted = [Counter::Inserts, Counter::Updates, Counter::Deletes, Counter::Truncates];
    counted.into_iter().map(|counter| course.sum(counter)).sum()
}

fn tiles(placed: &Placed, hour: &Course, day: &Course) -> Vec<Tile> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let pace = "in the last seconds";
    let all = vec![
        Tile { name: "Lag", value: or_dash(figure(placed, "lag_seconds").map(span)), unit: "behind the source" },
        Tile { name: "Rows/s", value: or_dash(figure(placed, "rows_per_second").map(rate)), unit: pace },
        Tile { name: "Bytes/s", value: or_dash(figure(placed, "bytes_per_second").map(bytes_of)), unit: pace },
        Tile { name: "Changes, 1 h", value: count(changes(hour)), unit: "in the lake" },
        Tile { name: "Changes, 24 h", value: count(changes(day)), unit: "in the lake" },
        Tile {
            name: "Log kept",
            value: or_dash(figure(placed, "source_retained_bytes").map(bytes_of)),
            unit: "by the source for us",
        },
    ];
    // Figures that nobody has told are not worth a row.
    let is_told = all.iter().any(|tile| !matches!(tile.value.as_str(), "–" | "0"));
    if is_told { all } else { Vec::new() }
}

fn kinds(placed: &Placed, hour: &Course, day: &Course) -> Vec<Kind> {
    let told = placed.status.report.as_ref().and_then(|(report, _)| report.figures.get("changes_total"));
    let kind = |(op, name, counter): (&str, &'static str, Counter)| Kind {
        name,
        hour: count(hour.sum(counter)),
        day: count(day.sum(counter)),
        run: told.and_then(|told| told.get(op)).and_then(Value::as_u64).map_or_else(|| "–".into(), count),
    };
    let all: Vec<Kind> = KINDS.into_iter().map(kind).collect();
    let is_told =
        all.iter().any(|kind| [&kind.hour, &kind.day].into_iter().any(|count| count != "0") || kind.run != "–");
    if is_told { all } else { Vec::new() }
}

/// Rows of snapshots a second, over the last minutes in which anything is known.
async fn pace(app: &App, id: &str, now: Timestamp) -> Result<Option<f64>, Refused> {
    let course = app.course(id, (Timestamp(now.0 - PACE), now), None).await?;
    let known: Vec<f64> = course.buckets.iter().filter_map(|bucket| bucket.per_second(Counter::Reads)).collect();
    // Fewer say nothing about a pace.
    Ok((known.len() >= 3).then(|| known.iter().sum::<f64>() / known.len() as f64))
}

/// What a chart marks as gone wrong.
fn faults(events: &[Stored]) -> Vec<(Timestamp, String)> {
    let bad = events.iter().filter(|event| event.severity == "error");
    bad.map(|event| (event.at, format!("{}: {}", event.code, event.message))).collect()
}

pub(crate) async fn overview(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let now = app.now();
    let placed = app.placed(&visitor.caller, &id).await?;
    let body = serde_json::from_str(&placed.pipeline.body).unwrap_or_default();
    let fresh = is_fresh(&placed, now);
    let report = placed.status.report.as_ref();
    let events = app.pipeline_events(&placed.pipeline, &Part::first(MARKED)).await?.rows;
    let range = Range::of(&query);
    let past = |long: i64| (Timestamp(now.0 - long), now);
    let course = app.course(&id, past(range.long), None).await?;
    let hour = app.course(&id, past(60 * MINUTE), None).await?;
    let day = app.course(&id, past(24 * 60 * MINUTE), Some(15 * MINUTE)).await?;
    let table =
        if wants_table(&query) { Some(app.course(&id, past(range.long), Some(range.row())).await?) } else { None };
    let charts = Charts::new(Drawn {
        course: &course,
        table: table.as_ref(),
        range,
        query: &query,
        lines: &LINES,
        faults: faults(&events),
        run_word: "a run began",
    });
    let mut snapshot: Vec<Progress> = report.map_or_else(Vec::new, |(report, _)| {
        report.tables.iter().filter(|table| table.snapshot != "none").map(progress).collect()
    });
    snapshot.sort_by_key(|progress| (progress.is_finished, progress.words == "waits"));
    let snapshot_more = snapshot.len().saturating_sub(TABLES);
    snapshot.truncate(TABLES);
    let pace = if fresh { pace(&app, &id, now).await? } else { None };
    Ok(page(&OverviewPage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "overview", now),
        flow: flow(&placed, &body, now),
        tiles: tiles(&placed, &hour, &day),
        is_unknown: placed.status.word == "UNKNOWN",
        stale: report.filter(|_| !fresh).map(|(_, at)| When::new(*at, now)),
        kinds: kinds(&placed, &hour, &day),
        overall: report.and_then(|(report, _)| overall(report, pace)),
        snapshot,
        snapshot_more,
        charts,
        events: events.into_iter().take(EVENTS).map(|event| EventRow::new(event, now)).collect(),
        position: report.and_then(|(report, _)| report.checkpoint.as_ref()).and_then(|checkpoint| {
            let at = Timestamp::parse(&checkpoint.at)?;
            Some((checkpoint.position.clone(), count(checkpoint.commit), When::new(at, now)))
        }),
    }))
}
