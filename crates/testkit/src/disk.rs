//! A disk of a few pages or megabytes, which is soon full.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fault::{Fault, Result};
use crate::spawn;

/// A disk in memory, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `path`, which is made. `size` as `mount` takes it: `16m`. Only root may do this.
    pub fn mount(path: &Path, size: &str) -> Result<Self> {
        if !is_root() {
            let cure = "run the tests with: sudo -E cargo xtask test".into();
            return Err(Fault::Missing { what: "a small disk, which only root may mount,".into(), cure });
        }
        fs::create_dir(path).map_err(Fault::io(path))?;
        let options = format!("size={size}");
        spawn::complete(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes how it is mounted, if nothing is in the way.
    pub fn remount(&self, how: &str) -> bool {
        let options = format!("remount,{how}");
        spawn::complete(Command::new("mount").args(["-o", &options]).arg(&self.path)).is_ok()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also when a process still looks at it.
        drop(spawn::complete(Command::new("umount").arg("--lazy").arg(&self.path)));
    }
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
