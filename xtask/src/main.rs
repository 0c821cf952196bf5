//! `cargo xtask`: the demo, the tests, the benchmarks. Each installs what it lacks, says what it does, and cleans up.
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "it talks on its output, and looks into JSON of its own making"
)]

mod bench;
mod build;
mod demo;
mod setup;
mod stores;
mod test;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_testkit::Result;

/// Demo, tests and benchmarks of Millrace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Stream a live database into a lake, watch it, and compare the two at the end.
    Demo(demo::Arguments),
    /// Run the tests.
    Test(test::Arguments),
    /// Measure Millrace and a yardstick alternately, and print their ratios.
    Bench(bench::Arguments),
    /// Hold dependencies against `deny.toml`: bans, licences, sources. Needs cargo-deny.
    Deny,
    /// Fetch what the console has from elsewhere: htmx and its fonts.
    Assets,
    /// Install what the others need: PostgreSQL, the independent reader's Python environment, object stores, what the console needs.
    Setup {
        /// What the long tier of the tests needs too: Spark with its Java, ClickHouse.
        #[arg(long)]
        all: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Deny => test::deny(),
        Task::Assets => web::parts(),
        Task::Setup { all } => everything_installed().and_then(|()| if all { setup::far_readers() } else { Ok(()) }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn everything_installed() -> Result<()> {
    setup::postgres()?;
    web::parts()?;
    web::browser()?;
    stores::installed()?;
    setup::reader().map(drop)
}
