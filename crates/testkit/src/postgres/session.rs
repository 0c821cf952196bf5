//! SQL from a test, through `psql`: one statement list and its answer, or a session that stays open and is fed line by
//! line. No client library of ours is in between, so a defect in it cannot hide here.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::SUPERUSER;
use crate::fault::{Fault, Result};
use crate::spawn;

/// Stands between fields: no value in a test holds it (ASCII unit separator).
const FIELD: char = '\x1f';

/// Stands between rows (ASCII record separator).
const ROW: char = '\x1e';

/// The way into one database, as superuser through the socket.
#[derive(Clone, Debug)]
pub struct Database {
    psql: PathBuf,
    socket: PathBuf,
    port: u16,
    name: String,
}

impl Database {
    pub(super) fn new(psql: PathBuf, socket: &Path, port: u16, name: &str) -> Self {
        Self { psql, socket: socket.to_owned(), port, name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a client library of PostgreSQL's own kind takes to get here: `host=… port=…`, through the socket.
    pub fn url(&self) -> String {
        format!("host={} port={} dbname={} user={SUPERUSER}", self.socket.display(), self.port, self.name)
    }

    /// Runs SQL (several statements are one transaction) and gives what the last one printed: rows by line, columns by
    /// `|`.
    pub fn sql(&self, sql: &str) -> Result<String> {
        Ok(spawn::read(self.psql().args(["-c", sql]))?.trim_end_matches('\n').to_owned())
    }

    /// Runs one query and gives its rows; a null is an empty text.
    pub fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let text = spawn::read(self.psql().args(["-F", &FIELD.to_string(), "-R", &ROW.to_string(), "-c", sql]))?;
        // psql ends the last row with a newline whatever stands between rows.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(text.split(ROW).map(|row| row.split(FIELD).map(str::to_owned).collect()).collect())
    }

    /// Opens a session that is fed statement by statement.
    pub fn session(&self) -> Result<Session> {
        let mut command = spawn::bound(&self.psql.to_string_lossy());
        self.arguments(&mut command);
        let mut child = spawn::start({
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        })?;
        let lost = || Fault::Unexpected("psql has no pipes".into());
        let input = child.stdin.take().ok_or_else(lost)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(lost)?);
        Ok(Session { child, input, output, asked: 0 })
    }

    /// Whether a TCP client without a password is turned away.
    pub(super) fn refuses_without_password(&self) -> bool {
        let mut command = Command::new(&self.psql);
        command.args([
            "-X",
            "-w",
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            SUPERUSER,
            "-c",
            "",
            "postgres",
        ]);
        command.env_remove("PGPASSWORD");
        matches!(spawn::complete(&mut command), Err(Fault::Program { .. }))
    }

    fn psql(&self) -> Command {
        let mut command = Command::new(&self.psql);
        self.arguments(&mut command);
        command
    }

    fn arguments(&self, command: &mut Command) {
        command.args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", &self.name]);
        command.arg("-h").arg(&self.socket).args(["-p", &self.port.to_string()]);
        // A person's own settings must not change what a test reads.
        command.env("PGOPTIONS", "-c client_min_messages=warning").env("PGCLIENTENCODING", "UTF8");
    }
}

/// An open `psql`: what it is told runs in one session, statement after statement.
#[derive(Debug)]
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    asked: u64,
}

impl Session {
    /// Runs SQL and waits for its end; gives the lines it printed. The first error ends the session.
    pub fn run(&mut self, sql: &str) -> Result<Vec<String>> {
        self.tell(sql)?;
        self.settle()
    }

    /// Sends SQL without waiting.
    pub fn tell(&mut self, sql: &str) -> Result<()> {
        let sent = writeln!(self.input, "{sql}\n;").and_then(|()| self.input.flush());
        sent.map_err(|_broken| self.last_words())
    }

    /// Waits until everything that was sent has been carried out; gives the lines that it printed.
    pub fn settle(&mut self) -> Result<Vec<String>> {
        self.asked += 1;
        let mark = format!("-- settled {} --", self.asked);
        let sent = writeln!(self.input, "SELECT '{mark}';").and_then(|()| self.input.flush());
        if sent.is_err() {
            return Err(self.last_words());
        }
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).map_err(Fault::io("psql"))?;
            if length == 0 {
                return Err(self.last_words());
            }
            let line = line.trim_end_matches('\n');
            if line == mark {
                return Ok(lines);
            }
            lines.push(line.to_owned());
        }
    }

    /// The backend's process id on the server.
    pub fn backend(&mut self) -> Result<u32> {
        let lines = self.run("SELECT pg_backend_pid()")?;
        let number = lines.first().and_then(|line| line.parse().ok());
        number.ok_or_else(|| Fault::Unexpected("the server did not say its process id".into()))
    }

    fn last_words(&mut self) -> Fault {
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            // What cannot be read is not shown; the fault stands either way.
            drop(pipe.read_to_string(&mut stderr));
        }
        let status = self.child.wait().map_or_else(|cause| cause.to_string(), |status| status.to_string());
        Fault::Program { program: "psql".into(), status, stderr: stderr.trim().to_owned() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The server notices the closed connection and rolls back what is open.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
