//! The lines of the live view.

use std::time::{Duration, Instant};

use millrace_model::Timestamp;

use crate::meter::{Phase, Reading, TableSnapshot};
use crate::paint::{Paint, Tone, fitted};
use crate::shown::{Side, age, grouped, padded, short};

/// So many tables have a bar; the others are counted in a line.
const BARS: usize = 8;
/// A bar is no wider, so that the numbers stay near.
const WIDEST_BAR: usize = 30;
const NARROWEST_BAR: usize = 8;
/// A name is no wider, so that the numbers have room.
const WIDEST_NAME: usize = 32;
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const PLAIN_SPINNER: [&str; 4] = ["|", "/", "-", "\\"];

pub(super) struct View {
    paint: Paint,
    frame: usize,
}

impl View {
    pub(super) fn new(paint: Paint) -> Self {
        Self { paint, frame: 0 }
    }

    /// The lines now, none wider than the terminal, and together lower than it.
    pub(super) fn lines(
        &mut self,
        reading: &Reading,
        now: Timestamp,
        at: Instant,
        (width, height): (usize, usize),
    ) -> Vec<String> {
        // A line that fills the last column makes some terminals wrap.
        let width = width.saturating_sub(1);
        let least = 2 + WIDEST_NAME.min(width / 3) + 2 + NARROWEST_BAR;
        let bars = if width < least { 0 } else { BARS.min(height.saturating_sub(3)) };
        let mut lines = if bars == 0 { Vec::new() } else { self.snapshots(reading, at, width, bars) };
        lines.push(self.status(reading, now, at, width));
        self.frame = self.frame.wrapping_add(1);
        lines
    }

    fn snapshots(&self, reading: &Reading, at: Instant, width: usize, bars: usize) -> Vec<String> {
        let all = reading.tables.snapshots();
        let (running, waiting): (Vec<_>, Vec<_>) =
            all.iter().filter(|snapshot| !snapshot.finished).partition(|snapshot| snapshot.began.is_some());
        let open: Vec<&TableSnapshot> = running.into_iter().chain(waiting).collect();
        let shown = open.get(..open.len().min(bars)).unwrap_or_default();
        let name_width = WIDEST_NAME.min(width / 3);
        let table = |snapshot: &&TableSnapshot| fitted(short(&snapshot.table), name_width, self.paint.unicode);
        let names = padded(shown.iter().map(table).collect(), Side::Left);
        let numbers: Vec<[String; COLUMNS]> = shown.iter().map(|snapshot| numbers(snapshot, at)).collect();
        let texts = |at: usize| numbers.iter().filter_map(|row| row.get(at).cloned()).collect();
        let column = |at: usize| padded(texts(at), Side::Right);
        let columns: [Vec<String>; COLUMNS] = std::array::from_fn(column);
        let used = 4 + names.first().map_or(0, |name| name.chars().count());
        // From the left as many columns as there is room for.
        let mut room = width.saturating_sub(used + NARROWEST_BAR);
        let fits = |column: &&Vec<String>| {
            let wide = column.first().map_or(0, |text| text.chars().count() + 2);
            let left = room.checked_sub(wide);
            room = left.unwrap_or(room);
            left.is_some()
        };
        let kept: Vec<&Vec<String>> = columns.iter().take_while(fits).collect();
        let bar_width = (NARROWEST_BAR + room).min(WIDEST_BAR);
        let mut lines = Vec::new();
        for (row, (snapshot, name)) in shown.iter().zip(&names).enumerate() {
            let mut line = format!("  {name}  {}", self.paint.bar(part(snapshot), bar_width));
            for text in kept.iter().filter_map(|column| column.get(row)) {
                line += &format!("  {text}");
            }
            lines.push(line.trim_end().to_owned());
        }
        if !open.is_empty() && all.len() > shown.len() {
            let done = all.len() - open.len();
            let mut parts = vec![format!("{} of {} tables are read", done, all.len())];
            if open.len() > shown.len() {
                parts.push(format!("{} more wait", open.len() - shown.len()));
            }
            let text = fitted(&format!("  {}", parts.join(", ")), width, self.paint.unicode);
            lines.push(self.paint.tone(Tone::Quiet, &text));
        }
        lines
    }

    /// `⠋ streaming  lag 0.3 s  1 204 rows/s  commit 42, 1 s ago  position 0/1A2B3C4`.
    fn status(&self, reading: &Reading, now: Timestamp, at: Instant, width: usize) -> String {
        let phase = reading.phase();
        let spinner = if self.paint.unicode { &SPINNER[..] } else { &PLAIN_SPINNER[..] };
        let sign = spinner.get(self.frame % spinner.len()).copied().unwrap_or_default();
        let state = match reading.waits_for() {
            Some(stage) if phase == Phase::Retrying => format!("no answer ({stage}), trying again"),
            _ => phase.as_str().to_owned(),
        };
        let mut texts = Vec::new();
        if let Some((then, _)) = reading.committed {
            texts.push(format!("lag {}", seconds(reading.lag(now))));
            texts.push(format!("{} rows/s", grouped(reading.rows_per_second(at))));
            texts.push(format!("commit {}, {} ago", grouped(reading.commit), age(at.duration_since(then))));
            if !reading.position.is_empty() {
                texts.push(format!("position {}", reading.position));
            }
        }
        let state = fitted(&state, width.saturating_sub(2), self.paint.unicode);
        let mut room = width.saturating_sub(2 + state.chars().count());
        let mut kept = String::new();
        for text in texts {
            let Some(left) = room.checked_sub(text.chars().count() + 3) else { break };
            room = left;
            kept += &format!("   {text}");
        }
        let tone = match phase {
            Phase::Streaming | Phase::Snapshotting => Tone::Good,
            Phase::Starting => Tone::Strong,
            Phase::Retrying | Phase::Stopping => Tone::Alarm,
        };
        if width < 2 {
            return String::new();
        }
        format!("{} {}{kept}", self.paint.tone(tone, sign), self.paint.tone(tone, &state))
    }
}

/// Columns of numbers beside a bar.
const COLUMNS: usize = 4;

/// Percent, rows, pace and time left: ` 61 %`, `1 220 000 of 2 000 000`, `410 000 rows/s`, `00:02 left`.
fn numbers(snapshot: &TableSnapshot, at: Instant) -> [String; COLUMNS] {
    let (rows, all) = (snapshot.rows(), snapshot.rows_in_all());
    // What is not committed is not there yet.
    let percent = ((part(snapshot) * 100.0) as u64).min(99);
    let Some(rate) = snapshot.rate(at) else {
        return [format!("{percent} %"), format!("about {} rows", grouped(all)), "waits".into(), String::new()];
    };
    let left = match all - rows {
        0 => "committing".into(),
        rows => format!("{} left", clock(rows as f64 / rate)),
    };
    [
        format!("{percent} %"),
        format!("{} of {}", grouped(rows), grouped(all)),
        format!("{} rows/s", grouped(rate as u64)),
        left,
    ]
}

/// How much of a table is read, from 0 to 1.
fn part(snapshot: &TableSnapshot) -> f64 {
    match snapshot.rows_in_all() {
        0 => 0.0,
        all => snapshot.rows() as f64 / all as f64,
    }
}

/// To a tenth where that says something.
fn seconds(duration: Duration) -> String {
    if duration < Duration::from_mins(1) { format!("{:.1} s", duration.as_secs_f64()) } else { age(duration) }
}

/// `02:05`, `1:02:05`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes:02}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use millrace_engine::{Event, Observer};
    use millrace_model::TableName;

    use super::*;
    use crate::meter::Meter;

    fn view() -> View {
        View::new(Paint::PLAIN)
    }

    fn shop(tables: usize) -> Meter {
        let meter = Meter::new("shop", true);
        meter.observe(&Event::Claimed { commit: 1, position: None });
        meter.observe(&Event::Streaming);
        for number in 0..tables {
            let table = TableName::new(["db".to_owned(), "public".to_owned(), format!("orders_{number}")]);
            meter.observe(&Event::SnapshotStarted { table: &table, rows_done: 0, rows_estimate: 4000 });
            if number < 2 {
                meter.observe(&Event::SnapshotRead { table: &table, rows: 1000 });
            }
        }
        meter
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_the_block_is_lower() {
        let meter = shop(20);
        let at = Instant::now() + Duration::from_secs(1);
        for width in [1, 5, 20, 40, 80, 200] {
            for height in [1, 2, 5, 24] {
                let lines = view().lines(&meter.read(), Timestamp(0), at, (width, height));
                assert!(lines.len() < height.max(3), "{lines:#?} in {height}");
                for line in &lines {
                    assert!(line.chars().count() < width.max(4), "{line:?} in {width}");
                }
            }
        }
    }

    #[test]
    fn tables_that_are_read_come_first_and_the_rest_is_counted() {
        let lines = view().lines(&shop(20).read(), Timestamp(0), Instant::now() + Duration::from_secs(1), (120, 24));
        assert_eq!(lines.len(), 10);
        assert!(lines[0].starts_with("  public.orders_0  ━━━━━━━──"), "{}", lines[0]);
        assert!(lines[0].contains(" 25 %    1 000 of 4 000  ") && lines[0].ends_with(" left"), "{}", lines[0]);
        assert!(lines[2].contains("   0 %  about 4 000 rows  ") && lines[2].ends_with("waits"), "{}", lines[2]);
        assert_eq!(lines[8], "  0 of 20 tables are read, 12 more wait");
        assert!(lines[9].starts_with("⠋ snapshotting   lag 0.0 s   0 rows/s   commit 1, 1 s ago"), "{}", lines[9]);
    }

    #[test]
    fn what_does_not_answer_is_named() {
        let meter = shop(0);
        meter.observe(&Event::Retrying { stage: "stream" });
        let lines = view().lines(&meter.read(), Timestamp(0), Instant::now(), (80, 24));
        assert!(lines[0].starts_with("⠋ no answer (stream), trying again   lag"), "{lines:?}");
    }
}
