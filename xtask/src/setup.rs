//! Installs what the tests need and the machine lacks. What is there already is left alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use millrace_testkit::postgres::{INSTALL, Programs};
use millrace_testkit::{Fault, Result, lake};

use crate::build;

/// The line that brings Python's own environments to Debian, where they are a package of their own.
const VENV_INSTALL: &str = "apt-get install -y python3-venv";

/// PostgreSQL of Debian.
pub(crate) fn postgres() -> Result<()> {
    if Programs::find(None).is_err() {
        install("PostgreSQL", INSTALL)?;
    }
    Programs::find(None).map(drop)
}

/// What watches system calls, and what makes certificates, for tests.
pub(crate) fn small_programs() -> Result<()> {
    for (program, asked) in [("strace", "--version"), ("openssl", "version")] {
        let is_there = Command::new(program).arg(asked).output().is_ok_and(|output| output.status.success());
        if !is_there {
            install(program, &format!("apt-get install -y {program}"))?;
        }
    }
    Ok(())
}

/// rustfmt and clippy, which a minimal toolchain lacks.
pub(crate) fn lint_programs() -> Result<()> {
    const LINE: [&str; 4] = ["component", "add", "rustfmt", "clippy"];
    let is_there =
        |name: &str| build::cargo().args([name, "--version"]).output().is_ok_and(|output| output.status.success());
    if is_there("fmt") && is_there("clippy") {
        return Ok(());
    }
    eprintln!("Installing rustfmt and clippy: rustup {}", LINE.join(" "));
    let missing = |_| Fault::Missing { what: "rustfmt and clippy".into(), cure: format!("rustup {}", LINE.join(" ")) };
    loud(Command::new("rustup").args(LINE)).map_err(missing)
}

/// The independent reader's Python environment, below the folder that cargo builds into; gives its Python.
pub(crate) fn reader() -> Result<PathBuf> {
    let python = lake::python_in(&build::folder()?);
    let wanted = lake::scripts().join("requirements.txt");
    let wanted_text = fs::read(&wanted).map_err(|cause| Fault::Io { path: wanted.clone(), cause })?;
    // A copy of the list, written last, says that everything on it is installed.
    let environment = python.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let installed = environment.join("installed.txt");
    if fs::read(&installed).is_ok_and(|text| text == wanted_text) {
        return Ok(python);
    }
    venv()?;
    eprintln!("Making the independent reader's Python environment");
    loud(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    loud(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&wanted),
    )?;
    fs::write(&installed, wanted_text).map_err(|cause| Fault::Io { path: installed, cause })?;
    Ok(python)
}

/// The readers of the long tier in the same environment, and what they run on.
pub(crate) fn far_readers() -> Result<()> {
    let python = reader()?;
    let wanted = lake::scripts().join("far-readers.txt");
    let script = lake::scripts().join("spark_reader.py");
    let read = |path: &PathBuf| fs::read(path).map_err(|cause| Fault::Io { path: path.clone(), cause });
    // What was asked for, and what fetches more; making the environment anew takes the copy away with all else.
    let asked = [read(&wanted)?, read(&script)?].concat();
    let installed = python.ancestors().nth(2).map(PathBuf::from).unwrap_or_default().join("far-readers.txt");
    if fs::read(&installed).is_ok_and(|text| text == asked) {
        return Ok(());
    }
    if !Command::new("java").arg("-version").output().is_ok_and(|output| output.status.success()) {
        install("Java, for Spark", "apt-get install -y openjdk-17-jre-headless")?;
    }
    eprintln!("Installing Spark and ClickHouse as readers");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    loud(Command::new(&python).args(pip).arg(&wanted))?;
    loud(Command::new(&python).arg("-B").arg(&script))?;
    fs::write(&installed, asked).map_err(|cause| Fault::Io { path: installed, cause })
}

/// Python, with environments of its own.
pub(crate) fn venv() -> Result<()> {
    if Command::new("python3").args(["-c", "import venv, ensurepip"]).output().map_or(true, |o| !o.status.success()) {
        install("Python", VENV_INSTALL)?;
    }
    Ok(())
}

pub(crate) fn install(what: &str, line: &str) -> Result<()> {
    let missing = || Fault::Missing { what: what.to_owned(), cure: format!("sudo {line}") };
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !is_root {
        return Err(missing());
    }
    eprintln!("Installing {what}: {line}");
    let (program, arguments) = line.split_once(' ').ok_or_else(missing)?;
    let apt = |arguments: &[&str]| {
        loud(
            Command::new(program)
                .args(["-qq", "-o=Dpkg::Use-Pty=0"])
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    apt(&["update"])?;
    apt(&arguments.split(' ').collect::<Vec<_>>())
}

/// Runs a program whose output is for the person who watches.
pub(crate) fn loud(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|cause| Fault::Io { path: program.clone().into(), cause })?;
    if status.success() {
        return Ok(());
    }
    Err(Fault::Program { program, status: status.to_string(), stderr: "its output stands above".into() })
}
