//! The hub's folder: for the hub's user alone, and for one hub process at a time.
//!
//! It holds password hashes, tokens and sealed secrets. SQLite gives its `-wal` and `-shm` the mode of the database's file.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Error, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::Cause;

/// What is in it of the database.
const DATABASE: [&str; 3] = ["hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm"];
/// What tells a folder that is the hub's from one that was named by mistake.
const OURS: [&str; 3] = ["hub.sqlite", "hub.key", LOCK];
/// What group and others may do with a file.
const OTHERS: u32 = 0o077;
const LOCK: &str = "hub.lock";
/// A process that was told to stop needs a moment for its open calls.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);

/// Makes the folder, and keeps everyone else out of it.
pub(crate) fn prepare(folder: &Path) -> Result<(), Cause> {
    let made = match folder.parent() {
        Some(parent) => std::fs::create_dir_all(parent),
        None => Ok(()),
    };
    let made = made.and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(folder));
    made.and_then(|()| close(folder)).map_err(|error| of(folder, error))
}

/// Makes the file of the database, so that nobody else can read it at any moment; SQLite fills an empty file as it does a new one.
pub(crate) fn prepare_database(folder: &Path) -> Result<(), Cause> {
    let [database, ..] = DATABASE.map(|name| folder.join(name));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&database) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(of(&database, error)),
        Ok(_) | Err(_) => {}
    }
    for file in DATABASE.map(|name| folder.join(name)) {
        if file.exists() {
            restrict(&file, 0o600).map_err(|error| of(&file, error))?;
        }
    }
    Ok(())
}

/// A folder that was there keeps its mode where it is somebody else's, or holds other things and nothing of a hub.
fn close(folder: &Path) -> std::io::Result<()> {
    let is_empty = std::fs::read_dir(folder)?.next().is_none();
    if is_empty || OURS.iter().any(|name| folder.join(name).exists()) { restrict(folder, 0o700) } else { Ok(()) }
}

/// Takes away what group and others may, where it is ours to take.
fn restrict(path: &Path, mode: u32) -> std::io::Result<()> {
    if std::fs::metadata(path)?.permissions().mode() & OTHERS == 0 {
        return Ok(());
    }
    match std::fs::set_permissions(path, Permissions::from_mode(mode)) {
        // It belongs to somebody else.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

fn of(path: &Path, error: Error) -> Cause {
    Cause::File { path: path.display().to_string(), error }
}

/// The right to be the hub of a folder. It ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Tenancy {
    _locked: File,
}

impl Tenancy {
    /// Takes it. Two processes on one SQLite file would not hear of each other's changes.
    pub(crate) async fn take(folder: &Path) -> Result<Self, Cause> {
        let path = folder.join(LOCK);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|error| of(&path, error))?;
        let mut left = PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(of(&path, error)),
                Err(TryLockError::WouldBlock) if left.is_zero() => return Err(taken(folder, &mut file)),
                Err(TryLockError::WouldBlock) => {
                    tokio::time::sleep(AGAIN).await;
                    left = left.saturating_sub(AGAIN);
                }
            }
        }
        let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(|error| of(&path, error))?;
        Ok(Self { _locked: file })
    }
}

/// The lock says who; a process in another container has a number that means nothing here.
fn taken(folder: &Path, file: &mut File) -> Cause {
    let mut holder = String::new();
    let read = file.rewind().and_then(|()| file.take(20).read_to_string(&mut holder));
    let holder = holder.trim();
    let process = if read.is_ok() && !holder.is_empty() { format!("process {holder}") } else { "a process".into() };
    Cause::SecondHub { folder: PathBuf::from(folder), process }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn open(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_of_the_hub_is_closed_and_a_folder_of_other_things_is_left() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("a/hub");
        prepare(&folder).unwrap();
        prepare_database(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&folder.join("hub.sqlite"))), (0o700, 0o600));
        for name in ["hub.sqlite-wal", "hub.sqlite-shm"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        DATABASE.iter().for_each(|name| open(&folder.join(name), 0o644));
        open(&folder, 0o755);
        prepare(&folder).unwrap();
        prepare_database(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        assert!(DATABASE.iter().all(|name| mode(&folder.join(name)) == 0o600));

        let shared = outer.path().join("shared");
        std::fs::create_dir_all(shared.join("other")).unwrap();
        open(&shared, 0o755);
        prepare(&shared).unwrap();
        assert_eq!(mode(&shared), 0o755);
    }
}
