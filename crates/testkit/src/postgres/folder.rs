//! Where a throw-away server lives: the installed programs, the template that `initdb` makes once, and the copy of it
//! that one server uses up.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, Once};

use tempfile::TempDir;

use super::SUPERUSER;
use crate::fault::{Fault, Result};
use crate::spawn;

/// The line that installs what is missing.
pub const INSTALL: &str = "apt-get install -y postgresql";

/// Where Debian puts the programs: one folder for each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Debian's package makes this user; PostgreSQL refuses to run as root.
const SYSTEM_USER: &str = "postgres";

/// Begins the names of all our folders; the process that made one follows.
const PREFIX: &str = "millrace-pg-";

/// One process makes the template at a time; a second process is no harm, its copy is thrown away.
static TEMPLATE: Mutex<()> = Mutex::new(());

/// The installed programs of one major version.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
    major: u32,
    user: Option<&'static str>,
}

impl Programs {
    /// Finds the programs of `major`, or of the highest version that is installed.
    pub fn find(major: Option<u32>) -> Result<Self> {
        let installed = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
        let found = installed
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
            .filter(|(version, folder)| {
                folder.join("initdb").is_file() && major.is_none_or(|wanted| wanted == *version)
            })
            .max();
        let (major, folder) = found.ok_or_else(|| Fault::Missing {
            what: major.map_or("PostgreSQL".to_owned(), |version| format!("PostgreSQL {version}")),
            cure: major.map_or(INSTALL.to_owned(), |version| format!("{INSTALL}-{version}")),
        })?;
        Ok(Self { folder, major, user: is_root()?.then_some(SYSTEM_USER) })
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The full path of one program.
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// A server program, as the user that PostgreSQL wants, killed with this process.
    pub(super) fn bound(&self, program: &str) -> Command {
        let path = self.path(program);
        let path = path.to_string_lossy();
        match self.user {
            Some(user) => spawn::bound_as(user, &path),
            None => spawn::bound(&path),
        }
    }

    /// Hands a folder to the server's user.
    fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = self.user else { return Ok(()) };
        let number = |flag| -> Result<u32> {
            let text = spawn::read(Command::new("id").args([flag, user]))?;
            text.trim().parse().map_err(|_no_number| Fault::Missing { what: user.into(), cure: INSTALL.into() })
        };
        chown(path, Some(number("-u")?), Some(number("-g")?)).map_err(Fault::io(path))
    }
}

/// The folder of one server: `data`, its log and its socket. Deleted when dropped.
#[derive(Debug)]
pub(super) struct Folder {
    root: TempDir,
    data: PathBuf,
}

impl Folder {
    /// A fresh copy of the template.
    pub(super) fn from_template(programs: &Programs) -> Result<Self> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let template = template(programs)?;
        let root = temporary(programs)?;
        let data = root.path().join("data");
        spawn::complete(Command::new("cp").arg("-a").arg(&template).arg(&data))?;
        Ok(Self { root, data })
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.path().join("server.log")
    }

    /// The log, to be written by the server that is about to start: what an earlier one wrote is gone.
    pub(super) fn open_log(&self) -> Result<File> {
        File::create(self.log()).map_err(Fault::io(self.log()))
    }

    /// Adds lines to `postgresql.conf`.
    pub(super) fn configure(&self, lines: &[(String, String)]) -> Result<()> {
        let path = self.data.join("postgresql.conf");
        let mut file = OpenOptions::new().append(true).open(&path).map_err(Fault::io(&path))?;
        for (name, value) in lines {
            writeln!(file, "{name} = '{}'", value.replace('\'', "''")).map_err(Fault::io(&path))?;
        }
        Ok(())
    }

    /// From the next reload on, TCP clients prove who they are by `method`.
    pub(super) fn require(&self, method: &str) -> Result<()> {
        let path = self.data.join("pg_hba.conf");
        let rules = format!(
            "local all all trust\nhost all all 127.0.0.1/32 {method}\nhost replication all 127.0.0.1/32 {method}\n"
        );
        fs::write(&path, rules).map_err(Fault::io(&path))
    }

    /// Whether the postmaster `process` says in its own file that clients may come in.
    pub(super) fn is_ready(&self, process: u32) -> bool {
        /// The eighth line of `postmaster.pid` is the state (`miscadmin.h`, `LOCK_FILE_LINE_PM_STATUS`).
        const STATE_LINE: usize = 7;
        let text = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        let owner = lines.next().and_then(|line| line.parse().ok());
        owner == Some(process) && lines.nth(STATE_LINE - 1).is_some_and(|line| line.trim() == "ready")
    }

    /// Whether any process still works in the data folder: every process of a server has it as its current one.
    pub(super) fn is_in_use(&self) -> bool {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok()).any(|folder| folder == self.data)
    }
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self").map_err(Fault::io("/proc/self"))?.uid() == 0)
}

/// The folder that `initdb` made for this version and user, made now if need be.
fn template(programs: &Programs) -> Result<PathBuf> {
    let _one = TEMPLATE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let version = spawn::read(Command::new(programs.path("initdb")).arg("--version"))?;
    // `initdb (PostgreSQL) 15.18 (Debian …)`
    let version = version.split_whitespace().nth(2).unwrap_or("unknown");
    let me = fs::metadata("/proc/self").map_err(Fault::io("/proc/self"))?.uid();
    let place = std::env::temp_dir().join(format!("millrace-pg-template-{me}-{version}"));
    // Why not trust any folder of that name: the temporary folder is open to all users of the machine.
    if fs::symlink_metadata(&place).is_ok_and(|found| found.is_dir() && found.uid() == me) {
        return Ok(place.join("data"));
    }
    let fresh = temporary(programs)?;
    let mut initdb = programs.bound("initdb");
    initdb.current_dir(fresh.path()).arg("-D").arg(fresh.path().join("data"));
    initdb.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
    spawn::complete(&mut initdb)?;
    chown(fresh.path(), Some(me), None).map_err(Fault::io(fresh.path()))?;
    // A rename is all or nothing; if another process was quicker, its template is as good.
    match fs::rename(fresh.path(), &place) {
        Ok(()) => drop(fresh.keep()),
        Err(_) if place.join("data").is_dir() => {}
        Err(cause) => return Err(Fault::Io { path: place, cause }),
    }
    Ok(place.join("data"))
}

/// A folder of this process that belongs to the server's user.
fn temporary(programs: &Programs) -> Result<TempDir> {
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir().map_err(Fault::io(std::env::temp_dir()))?;
    programs.give(folder.path())?;
    Ok(folder)
}

/// Deletes the folders of processes that were killed before they could do so themselves.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Another process may sweep at the same moment, and other users' folders are not ours to delete.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
