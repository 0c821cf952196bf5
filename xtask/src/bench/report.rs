//! What was measured: a name, a figure and, where there is one, the bar that it must not pass.

use std::fs;
use std::path::Path;

use millrace_testkit::{Fault, Result};
use serde_json::json;

/// All measurements of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Measured>,
}

#[derive(Debug)]
struct Measured {
    name: String,
    figure: f64,
    unit: &'static str,
    bar: Option<f64>,
}

impl Report {
    /// A figure that is good to know.
    pub(crate) fn add(&mut self, name: impl Into<String>, figure: f64, unit: &'static str) {
        self.put(Measured { name: name.into(), figure, unit, bar: None });
    }

    /// A figure with a bar.
    pub(crate) fn judge(&mut self, name: impl Into<String>, figure: f64, unit: &'static str, bar: f64) {
        self.put(Measured { name: name.into(), figure, unit, bar: Some(bar) });
    }

    fn put(&mut self, line: Measured) {
        println!("  {}", line.text());
        self.lines.push(line);
    }

    /// Prints all of it once more, together.
    pub(crate) fn print(&self) {
        println!("\nResults");
        for line in &self.lines {
            println!("  {}", line.text());
        }
    }

    /// A bar that was missed, or a figure that is none, is a failure.
    pub(crate) fn verdict(&self) -> Result<()> {
        let missed: Vec<&str> =
            self.lines.iter().filter(|line| !line.is_held()).map(|line| line.name.as_str()).collect();
        if missed.is_empty() {
            return Ok(());
        }
        Err(Fault::Unexpected(format!("missed: {}", missed.join("; "))))
    }

    /// Writes all of it as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let lines = self
            .lines
            .iter()
            .map(|line| json!({"name": line.name, "figure": line.figure, "unit": line.unit, "bar": line.bar}));
        let text = json!({ "measurements": lines.collect::<Vec<_>>() }).to_string();
        fs::write(path, text).map_err(|cause| Fault::Io { path: path.to_owned(), cause })
    }
}

impl Measured {
    fn is_held(&self) -> bool {
        self.bar.is_none_or(|bar| self.figure <= bar)
    }

    fn text(&self) -> String {
        let verdict = self.bar.map_or(String::new(), |bar| {
            format!("   bar {bar:.2}: {}", if self.is_held() { "held" } else { "MISSED" })
        });
        format!("{:<58} {:>9.3} {}{verdict}", self.name, self.figure, self.unit)
    }
}

/// The middle of several figures; of an even number the higher one of the two.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The figure that `share` (0 to 1) of all do not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are whole")]
mod tests {
    use super::*;

    #[test]
    fn a_missed_bar_and_a_figure_that_is_none_are_failures() {
        let mut report = Report::default();
        report.add("wall", 9.0, "s");
        report.judge("ratio", 0.6, "", 0.6);
        assert!(report.verdict().is_ok());
        report.judge("peak", 201.0, "MiB", 200.0);
        report.judge("delay", median(Vec::new()), "s", 1.0);
        assert_eq!(report.verdict().unwrap_err().to_string(), "missed: peak; delay");
    }

    #[test]
    fn medians_and_quantiles_are_what_they_say() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&hundred, 0.5), quantile(&hundred, 0.99), quantile(&hundred, 1.0)), (50.0, 99.0, 100.0));
        assert!(median(Vec::new()).is_nan());
    }
}
