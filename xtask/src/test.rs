//! `cargo xtask test`: installs what the tests lack, builds what they run, and runs them; then the lints, unless only some tests
//! were asked for.

use millrace_testkit::{Fault, Result};

use crate::build::{self, Profile};
use crate::{setup, stores, web};

/// What to test.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The long tier too.
    #[arg(long)]
    all: bool,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// Runs the tests; their own closing lines are the result.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_whole = arguments.filter.is_none();
    if is_whole {
        setup::lint_programs()?;
        format()?;
    }
    setup::postgres()?;
    setup::small_programs()?;
    let python = setup::reader()?;
    if arguments.all {
        setup::far_readers()?;
    }
    let stores = stores::installed()?;
    web::parts()?;
    let browser = web::browser()?;
    let millrace = build::millrace(Profile::Dev)?;
    let mut tests = build::cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]).arg("--target-dir").arg(build::folder()?);
    tests.env("MILLRACE_BIN", millrace).env("MILLRACE_PYTHON", python).env("MILLRACE_BROWSER", browser);
    tests.env("MILLRACE_STORES", stores);
    if arguments.all {
        tests.env("MILLRACE_LONG", "1");
    }
    if let Some(filter) = &arguments.filter {
        tests.args(["--", filter]);
    }
    setup::loud(&mut tests)?;
    if is_whole { lint() } else { Ok(()) }
}

/// The quickest of all, so it comes first.
fn format() -> Result<()> {
    setup::loud(build::cargo().args(["fmt", "--all", "--check"]))
}

/// After the tests, whose word is waited for: it reads all dependencies once more, as cargo keeps what was checked apart from what
/// was built.
fn lint() -> Result<()> {
    let mut lints = build::cargo();
    lints.args(["clippy", "--quiet", "--workspace", "--all-targets"]).arg("--target-dir").arg(build::folder()?);
    eprintln!("Checking the lints");
    setup::loud(lints.args(["--", "-D", "warnings"]))
}

/// What the program is built of, against `deny.toml`, by whoever has cargo-deny; never a green line without it.
pub(crate) fn deny() -> Result<()> {
    let is_there = build::cargo().args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !is_there {
        let cure = "cargo install --locked cargo-deny".to_owned();
        return Err(Fault::Missing { what: "cargo-deny".into(), cure });
    }
    setup::loud(build::cargo().args(["deny", "check", "bans", "licenses", "sources"]))
}
