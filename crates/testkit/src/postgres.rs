//! A real PostgreSQL that is thrown away: its own folder, its own port on 127.0.0.1, gone with the value that stands
//! for it, whether the test passed, panicked or was killed.
//!
//! `initdb` runs once per version and user; a server starts from a copy of that folder in a fraction of a second.

mod folder;
mod session;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub use folder::{INSTALL, Programs};
pub use session::{Database, Session};

use crate::fault::{Fault, Result};
use crate::spawn;
use folder::Folder;

/// The superuser of every throw-away server.
pub const SUPERUSER: &str = "postgres";

/// How long a server may take to come up or to go down; recovery after a crash is part of it.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often a state that nobody announces is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// A port is free when it is chosen, but another process may be quicker.
const PORT_ATTEMPTS: usize = 5;

/// How clients prove who they are over TCP. The superuser always comes in through the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nobody asks.
    Trust,
    /// SCRAM-SHA-256 with this password for the superuser.
    Scram(String),
    /// md5 with this password for the superuser.
    Md5(String),
}

/// What a server shall be like.
#[derive(Clone, Debug)]
pub struct Settings {
    major: Option<u32>,
    auth: Auth,
    lines: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        let lines = [
            ("wal_level", "logical"),
            ("max_replication_slots", "20"),
            ("max_wal_senders", "20"),
            ("listen_addresses", "127.0.0.1"),
            ("fsync", "off"),
            ("autovacuum_naptime", "5s"),
        ];
        let lines = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { major: None, auth: Auth::Trust, lines }
    }
}

impl Settings {
    /// This major version instead of the highest that is installed.
    #[must_use]
    pub fn major(mut self, major: u32) -> Self {
        self.major = Some(major);
        self
    }

    /// How TCP clients authenticate.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// One line of `postgresql.conf`; a later one wins.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.lines.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With `fsync`, where durability is the subject.
    #[must_use]
    pub fn durable(self) -> Self {
        self.set("fsync", "on")
    }

    /// Starts a server like this.
    pub fn start(self) -> Result<Server> {
        Server::with(self)
    }
}

/// A running PostgreSQL, stopped and deleted when dropped.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    folder: Folder,
    port: u16,
    auth: Auth,
    process: Option<Child>,
}

impl Server {
    /// A server with the default settings.
    pub fn start() -> Result<Self> {
        Settings::default().start()
    }

    fn with(settings: Settings) -> Result<Self> {
        let programs = Programs::find(settings.major)?;
        let folder = Folder::from_template(&programs)?;
        folder.configure(&settings.lines)?;
        let mut server = Self { programs, folder, port: 0, auth: Auth::Trust, process: None };
        for attempt in 1.. {
            server.port = free_port()?;
            match server.launch() {
                Err(_) if attempt < PORT_ATTEMPTS && server.port_was_taken() => server.reap(),
                Err(fault) => return Err(fault),
                Ok(()) => break,
            }
        }
        server.ask_for(settings.auth)?;
        Ok(server)
    }

    /// Always the loopback address.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The TCP port; it stays the same across `restart` and `crash`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password over TCP, where one is asked for.
    pub fn password(&self) -> Option<&str> {
        match &self.auth {
            Auth::Trust => None,
            Auth::Scram(password) | Auth::Md5(password) => Some(password),
        }
    }

    /// The programs of this server's version.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.folder.data()
    }

    /// What the server has written so far.
    pub fn log(&self) -> String {
        fs::read(self.folder.log()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The way into a database that is there.
    pub fn database(&self, name: &str) -> Database {
        Database::new(self.programs.path("psql"), self.folder.root(), self.port, name)
    }

    /// Makes a database and gives the way into it.
    pub fn create_database(&self, name: &str) -> Result<Database> {
        self.sql(&format!("CREATE DATABASE \"{name}\""))?;
        Ok(self.database(name))
    }

    /// Runs SQL in the database `postgres`; see [`Database::sql`].
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.database("postgres").sql(sql)
    }

    /// Runs SQL in the database `postgres`; see [`Database::rows`].
    pub fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        self.database("postgres").rows(sql)
    }

    /// Stops in good order (open sessions are cut) and starts again on the same port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Stops in good order, without starting again.
    pub fn stop(&mut self) -> Result<()> {
        self.end_by("INT")
    }

    /// Kills the postmaster with SIGKILL and starts again: the server recovers from its log.
    pub fn crash(&mut self) -> Result<()> {
        self.kill()?;
        self.launch()
    }

    /// Kills the postmaster with SIGKILL and waits until its last child has noticed.
    pub fn kill(&mut self) -> Result<()> {
        self.end_by("KILL")
    }

    /// Starts a server that `stop` or `kill` has ended, and waits until it lets clients in.
    pub fn launch(&mut self) -> Result<()> {
        let log = self.folder.open_log()?;
        let mut command = self.programs.bound("postgres");
        command
            .arg("-D")
            .arg(self.folder.data())
            .arg("-k")
            .arg(self.folder.root())
            .args(["-p", &self.port.to_string()]);
        command.current_dir(self.folder.root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = spawn::start(command)?;
        let process = child.id();
        self.process = Some(child);
        wait("PostgreSQL to accept connections", || match self.process.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => Ok(self.folder.is_ready(process)),
            _ => Err(Fault::Unexpected(format!("PostgreSQL did not start: {}", last_lines(&self.log())))),
        })
    }

    fn port_was_taken(&self) -> bool {
        self.log().contains("Address already in use")
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.process.take() {
            // It has ended or is about to; neither call can fail in a way that matters here.
            drop(child.kill());
            drop(child.wait());
        }
    }

    fn ask_for(&mut self, auth: Auth) -> Result<()> {
        let (method, encryption, password) = match &auth {
            Auth::Trust => return Ok(()),
            Auth::Scram(password) => ("scram-sha-256", "scram-sha-256", password),
            Auth::Md5(password) => ("md5", "md5", password),
        };
        let quoted = password.replace('\'', "''");
        self.sql(&format!("SET password_encryption = '{encryption}'; ALTER ROLE {SUPERUSER} PASSWORD '{quoted}'"))?;
        self.folder.require(method)?;
        self.sql("SELECT pg_reload_conf()")?;
        self.auth = auth;
        // The postmaster reloads in its own time: from then on a client without a password is refused.
        let database = self.database("postgres");
        wait("the new rules for clients", || Ok(database.refuses_without_password()))
    }

    fn end_by(&mut self, signal: &str) -> Result<()> {
        let Some(mut child) = self.process.take() else { return Ok(()) };
        spawn::signal(child.id(), signal)?;
        wait("PostgreSQL to end", || Ok(!matches!(child.try_wait(), Ok(None))))?;
        wait("PostgreSQL's last process to end", || Ok(!self.folder.is_in_use()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &self.process {
            // At once, without a checkpoint: nobody will read this folder again. What is left is killed.
            drop(spawn::signal(child.id(), "QUIT"));
            drop(wait("PostgreSQL to end", || Ok(!self.folder.is_in_use())));
        }
        self.reap();
    }
}

/// A port of 127.0.0.1 that nobody listens on at this moment.
pub fn free_port() -> Result<u16> {
    let path = || PathBuf::from("127.0.0.1:0");
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Fault::io(path()))?;
    Ok(listener.local_addr().map_err(Fault::io(path()))?.port())
}

/// Looks until `done` says yes.
fn wait(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !done()? {
        if began.elapsed() > PATIENCE {
            return Err(Fault::Late { what: what.to_owned(), waited: PATIENCE, seen: "nothing".to_owned() });
        }
        thread::sleep(GLANCE);
    }
    Ok(())
}

fn last_lines(log: &str) -> String {
    const SHOWN: usize = 5;
    let lines: Vec<&str> = log.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(SHOWN)).copied().collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests;
