//! `cargo xtask test`: installs what the tests lack, builds what they run, and runs them.

use millrace_testkit::Result;

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
    setup::postgres()?;
    setup::small_programs()?;
    let python = setup::reader()?;
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
    setup::loud(&mut tests)
}
