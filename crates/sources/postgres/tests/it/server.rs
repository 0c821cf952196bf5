//! A PostgreSQL server of our own for this test binary: one cluster, one database a test.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use millrace_model::SecretValue;
use millrace_postgres::{Binary, Password, Postgres, PublicationMode, Settings, TableSelection};

const CONFIGURATION: &str = "wal_level = logical\nmax_wal_senders = 60\nmax_replication_slots = 500\nfsync = off\n\
    max_prepared_transactions = 4\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nautovacuum = off\n";

/// A running cluster.
pub(crate) struct Server {
    pub port: u16,
    folder: PathBuf,
    owner: Option<u32>,
    process: Option<Child>,
}

fn binary(name: &str) -> PathBuf {
    let mut folders: Vec<_> =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|it| it.path()).collect();
    folders.sort();
    let found = folders.iter().rev().map(|folder| folder.join("bin").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no PostgreSQL server here: apt-get install postgresql-15"))
}

impl Server {
    /// The cluster that the tests share. It ends with the test process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| {
            let (sender, receiver) = mpsc::channel();
            // The server ends with the thread that started it, so that thread must not end before the process.
            std::thread::spawn(move || {
                sweep_leftovers();
                sender.send(Self::start("shared", "wal_sender_timeout = 20s\n")).unwrap();
                loop {
                    std::thread::park();
                }
            });
            receiver.recv().unwrap()
        })
    }

    /// A cluster with further settings. It ends when it is dropped, or with the thread that started it.
    pub(crate) fn start(name: &str, configuration: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("millrace-postgres-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let owner = is_root.then(|| number(Command::new("id").args(["-u", "postgres"])));
        if let Some(owner) = owner {
            std::os::unix::fs::chown(&folder, Some(owner), None).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { port, folder, owner, process: None };
        let cluster = server.cluster();
        let made = server
            .as_owner("initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&cluster)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut file = fs::OpenOptions::new().append(true).open(cluster.join("postgresql.conf")).unwrap();
        write!(file, "{CONFIGURATION}port = {port}\n{configuration}").unwrap();
        server.run();
        server
    }

    fn cluster(&self) -> PathBuf {
        self.folder.join("cluster")
    }

    fn as_owner(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(owner) = self.owner {
            command.arg(format!("--reuid={owner}")).args(["--regid=postgres", "--clear-groups"]);
        }
        command.arg(binary(program)).current_dir("/");
        command
    }

    /// Starts the server process and waits until it answers.
    pub(crate) fn run(&mut self) {
        let log = fs::File::create(self.folder.join("log")).unwrap();
        let mut command = self.as_owner("postgres");
        command.arg("-D").arg(self.cluster()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.try_sql("postgres", "SELECT 1").is_err() {
            assert!(Instant::now() < deadline, "the server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the server at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // SIGQUIT: an immediate shutdown, children included.
            let _ = Command::new("kill").args(["-QUIT", &process.id().to_string()]).status();
            let _ = process.wait();
        }
    }

    /// Shuts the server down as `pg_ctl stop` does, and returns how long it took.
    pub(crate) fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        if let Some(mut process) = self.process.take() {
            // SIGINT: a fast shutdown.
            Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
            process.wait().unwrap();
        }
        begun.elapsed()
    }

    /// Puts lines in front of `pg_hba.conf`.
    pub(crate) fn admit(&self, lines: &str) {
        let path = self.cluster().join("pg_hba.conf");
        let standing = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{lines}{standing}")).unwrap();
        self.try_sql("postgres", "SELECT pg_reload_conf()").unwrap();
        while self.try_sql("postgres", "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'md5'").as_deref()
            == Ok("0")
        {
            std::thread::yield_now();
        }
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = Command::new(binary("psql"));
        command.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        command.arg("-p").arg(self.port.to_string()).arg("-d").arg(database);
        command
    }

    /// Runs SQL and returns its rows as text, columns parted by `|`.
    pub(crate) fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let answer = self.psql(database).arg("-c").arg(sql).output().unwrap();
        if answer.status.success() {
            Ok(String::from_utf8_lossy(&answer.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&answer.stderr).into_owned())
        }
    }

    /// A database of its own, with this SQL run in it.
    pub(crate) fn database(&'static self, sql: &str) -> Database<'static> {
        Database::new(self, sql)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn number(command: &mut Command) -> u32 {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("there is a user postgres")
}

/// A database of one test.
pub(crate) struct Database<'a> {
    pub server: &'a Server,
    pub name: String,
}

impl<'a> Database<'a> {
    pub(crate) fn new(server: &'a Server, sql: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server.try_sql("postgres", &format!("CREATE DATABASE {name}")).unwrap();
        let database = Self { server, name };
        database.sql(sql);
        database
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_sql(&self, sql: &str) -> Result<String, String> {
        self.server.try_sql(&self.name, sql)
    }

    /// Settings of a pipeline over all tables of `public`.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            host: "127.0.0.1".into(),
            port: self.server.port,
            database: self.name.clone(),
            username: "postgres".into(),
            password: None,
            tables: vec![table("*")],
            slot: format!("slot_{}", self.name),
            slot_is_default: true,
            publication: "millrace".into(),
            publication_is_default: true,
            publication_mode: PublicationMode::Create,
            binary: Binary::Auto,
            streaming: true,
            snapshots: true,
            old_rows: false,
        }
    }

    pub(crate) fn source(&self) -> Postgres {
        Postgres::new(self.settings())
    }

    /// An interactive session.
    pub(crate) fn session(&self) -> Interactive {
        let mut process = self.server.psql(&self.name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Interactive { process, input, output }
    }
}

/// An entry of `tables` in schema `public`.
pub(crate) fn table(name: &str) -> TableSelection {
    TableSelection { schema: "public".into(), table: name.into() }
}

/// A password.
#[expect(clippy::unnecessary_wraps, reason = "settings ask for one so")]
pub(crate) fn password(text: &str) -> Option<Password> {
    Some(Password::of(Arc::new(SecretValue::new(text))))
}

/// A session that stays open.
pub(crate) struct Interactive {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Interactive {
    /// Sends SQL and does not wait.
    pub(crate) fn tell(&mut self, sql: &str) {
        writeln!(self.input, "{sql}").unwrap();
    }

    /// Runs SQL and waits until it is done.
    pub(crate) fn sql(&mut self, sql: &str) -> String {
        self.tell(&format!("{sql}\n\\echo :done:"));
        let mut text = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the session ended");
            if line.trim_end() == ":done:" {
                return text;
            }
            text.push_str(&line);
        }
    }
}

impl Drop for Interactive {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Removes what killed test processes left.
fn sweep_leftovers() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(process) = name.strip_prefix("millrace-postgres-").and_then(|rest| rest.split('-').next()) else {
            continue;
        };
        if !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
