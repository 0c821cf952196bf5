//! What the console and its tests have from npm, by their lockfiles: htmx and fonts for the binary, a browser's driver for
//! the tests. Fetched below the folder that cargo builds into; nothing of it is committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use millrace_testkit::{Fault, Result};

use crate::build;
use crate::setup::{install, loud};

/// Files for the binary: where a package has them, what the console calls them.
const PARTS: [(&str, &str); 6] = [
    ("htmx.org/dist/htmx.min.js", "htmx.js"),
    ("htmx.org/LICENSE", "htmx.licence.txt"),
    ("@fontsource-variable/inter/files/inter-latin-wght-normal.woff2", "inter.woff2"),
    ("@fontsource-variable/inter/LICENSE", "inter.licence.txt"),
    ("@fontsource-variable/jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2", "mono.woff2"),
    ("@fontsource-variable/jetbrains-mono/LICENSE", "mono.licence.txt"),
];

fn io(path: &Path) -> impl Fn(std::io::Error) -> Fault {
    let path = path.to_owned();
    move |cause| Fault::Io { path: path.clone(), cause }
}

fn hub() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/hub")
}

/// Whether a program is there.
pub(crate) fn answers(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// `npm ci` of one of the hub's lockfiles, in a folder of its own; does nothing where that was done for this lockfile.
pub(crate) fn fetched(lockfile_of: &Path, name: &str) -> Result<PathBuf> {
    if !answers("npm") {
        install("npm", "apt-get install -y npm")?;
    }
    let folder = build::folder()?.join(name);
    let lock = lockfile_of.join("package-lock.json");
    let wanted = fs::read(&lock).map_err(io(&lock))?;
    // A copy of the lockfile, written last, says that everything in it is there.
    let done = folder.join("installed.json");
    if fs::read(&done).is_ok_and(|text| text == wanted) {
        return Ok(folder);
    }
    eprintln!("Fetching {name} (npm ci)");
    fs::create_dir_all(&folder).map_err(io(&folder))?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(lockfile_of.join(file), folder.join(file)).map_err(io(&folder))?;
    }
    let flags = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    loud(Command::new("npm").args(flags).current_dir(&folder))?;
    fs::write(&done, wanted).map_err(io(&done))?;
    Ok(folder)
}

/// Puts htmx and fonts where the hub's build finds them.
pub(crate) fn parts() -> Result<()> {
    let assets = hub().join("assets");
    let modules = fetched(&assets, "console-parts")?.join("node_modules");
    let target = assets.join(".fetched");
    fs::create_dir_all(&target).map_err(io(&target))?;
    for (from, to) in PARTS {
        let (from, to) = (modules.join(from), target.join(to));
        let bytes = fs::read(&from).map_err(io(&from))?;
        // Written only where it differs: cargo builds anew what has changed.
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            fs::write(&to, bytes).map_err(io(&to))?;
        }
    }
    Ok(())
}

/// The browser, and the folder with its driver.
pub(crate) fn browser() -> Result<PathBuf> {
    if !answers("chromium") {
        install("Chromium", "apt-get install -y chromium")?;
    }
    if !answers("node") {
        install("Node.js", "apt-get install -y nodejs")?;
    }
    fetched(&hub().join("browser"), "browser")
}
