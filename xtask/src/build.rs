//! Builds the program that everything else runs.

use std::path::PathBuf;
use std::process::Command;

use millrace_testkit::{Fault, Result};

use crate::{setup, web};

/// Which of cargo's profiles.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

/// The folder that cargo builds into: this very program lies in `<folder>/<profile>/`.
pub(crate) fn folder() -> Result<PathBuf> {
    let lost = |cause| Fault::Io { path: "the running xtask".into(), cause };
    let running = std::env::current_exe().map_err(lost)?;
    Ok(running.ancestors().nth(2).map(PathBuf::from).unwrap_or_default())
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds `millrace` and gives its path; where `MILLRACE_BIN` names a program, that one is taken as it is.
pub(crate) fn millrace(profile: Profile) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("MILLRACE_BIN") {
        return Ok(given.into());
    }
    web::parts()?;
    let mut command = cargo();
    command.args(["build", "--quiet", "--package", "millrace"]).arg("--target-dir").arg(folder()?);
    let name = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    eprintln!("Building millrace ({name})");
    setup::loud(&mut command)?;
    Ok(folder()?.join(name).join("millrace"))
}
