//! `cargo xtask bench`: measures Millrace and a yardstick alternately in one run, and prints ratios.
//!
//! Seconds move between machines; ratios of two things measured side by side hold. Nothing else should be running.

mod chain;
mod cpu;
mod drain;
mod formats;
mod hub;
mod latency;
mod memory;
mod report;
mod snapshot;
mod stage;
mod stores;

use std::path::PathBuf;

use millrace_testkit::Result;

use crate::build::{self, Profile};
use crate::setup;
use report::Report;
use stage::Stage;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this measurement; without it, all of them.
    #[arg(value_enum)]
    name: Option<Name>,
    /// Changes of the backlog; the other measurements scale with it.
    #[arg(long, default_value_t = 5_000_000)]
    rows: u64,
    /// Repetitions, of which the median counts.
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// Also write the measurements to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// Draining a backlog: wall time against pg_recvlogical, CPU time against the server's own decoding.
    Drain,
    /// Draining a backlog into each format and layout, against flat Parquet.
    Formats,
    /// From a commit in the source to the commit in the lake, at 5,000 changes a second.
    Latency,
    /// Reading the rows that are there already: wall time against two parallel COPYs.
    Snapshot,
    /// A start over a chain of a million commits.
    Chain,
    /// Peak memory of one huge transaction, and of thousands of tables that change at once.
    Memory,
    /// Draining a backlog to S3 against local disk, and memory there.
    Stores,
    /// 2,000 agents that report to one hub on SQLite.
    Hub,
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::postgres()?;
    let millrace = build::millrace(Profile::Release)?;
    let mut report = Report::default();
    let wanted = |name| arguments.name.is_none_or(|only| only == name);
    if wanted(Name::Drain) {
        let stage = Stage::set(&millrace)?;
        drain::measure(&stage, arguments.rows, arguments.times, &mut report)?;
    }
    if wanted(Name::Formats) {
        let stage = Stage::set(&millrace)?;
        formats::measure(&stage, arguments.rows.div_ceil(2), arguments.times, &mut report)?;
    }
    if wanted(Name::Latency) {
        let stage = Stage::set(&millrace)?;
        latency::measure(&stage, arguments.times, &mut report)?;
    }
    if wanted(Name::Snapshot) {
        let stage = Stage::set(&millrace)?;
        snapshot::measure(&stage, arguments.rows.saturating_mul(2), arguments.times, &mut report)?;
    }
    if wanted(Name::Chain) {
        let stage = Stage::set(&millrace)?;
        chain::measure(&stage, arguments.rows as f64 / 5e6, &mut report)?;
    }
    if wanted(Name::Memory) {
        let stage = Stage::set(&millrace)?;
        memory::one_transaction(&stage, arguments.rows.saturating_mul(4), &mut report)?;
        memory::many_tables(&millrace, &mut report)?;
    }
    if wanted(Name::Stores) {
        crate::stores::installed()?;
        stores::measure(&Stage::set(&millrace)?, arguments.rows, arguments.times, &mut report)?;
        stores::large_files_and_many_tables(&millrace, arguments.rows, &mut report)?;
    }
    if wanted(Name::Hub) {
        hub::measure(&millrace, &mut report)?;
    }
    report.print();
    if let Some(path) = &arguments.json {
        report.write(path)?;
    }
    report.verdict()
}
