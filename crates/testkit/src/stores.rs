//! Throw-away object stores on 127.0.0.1, gone with the process that started them. Each judges signatures itself.
//!
//! `cargo xtask setup` installs them. Two of them speak S3 and share no line of code: what holds on both is no habit of one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::fault::{Fault, Result};
use crate::pipeline::Place;
use crate::postgres::free_port;
use crate::spawn;

/// The bucket that is there from the start.
pub const BUCKET: &str = "lake";
/// Who may do everything.
pub const ACCESS_KEY: &str = "millrace";
/// Their secret, and that of all others.
pub const SECRET_KEY: &str = "not-so-secret";

/// Begins the names of all our folders; the process that made one follows.
const PREFIX: &str = "millrace-store-";
/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(20);

/// Identities of SeaweedFS that lack one thing each: name, which is the access key too, and what they may.
const RESTRICTED: [(&str, &[&str]); 3] =
    [("no-list", &["Read", "Write"]), ("no-read", &["Write", "List"]), ("no-write", &["Read", "List"])];

/// A program that speaks S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// SeaweedFS: an own storage engine, in Go.
    SeaweedFs,
    /// Versity's gateway over a folder.
    VersityGw,
}

/// A running server.
#[derive(Debug)]
pub struct S3Server {
    port: u16,
    process: Child,
    log: PathBuf,
    folder: TempDir,
}

impl S3Server {
    /// The one of this test process; started when first asked for.
    pub fn shared(program: Program) -> &'static Self {
        static SEAWEEDFS: OnceLock<S3Server> = OnceLock::new();
        static VERSITYGW: OnceLock<S3Server> = OnceLock::new();
        let server = match program {
            Program::SeaweedFs => &SEAWEEDFS,
            Program::VersityGw => &VERSITYGW,
        };
        server.get_or_init(|| Self::start(program).unwrap_or_else(|fault| panic!("{fault}")))
    }

    /// Starts one.
    pub fn start(program: Program) -> Result<Self> {
        sweep();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().map_err(Fault::io(std::env::temp_dir()))?;
        let port = free_port()?;
        let (mut command, ready) = match program {
            Program::SeaweedFs => seaweedfs(folder.path(), port)?,
            Program::VersityGw => versitygw(folder.path(), port)?,
        };
        let log = folder.path().join("server.log");
        let out = File::create(&log).map_err(Fault::io(&log))?;
        let errors = out.try_clone().map_err(Fault::io(&log))?;
        command.stdin(Stdio::null()).stdout(out).stderr(errors).current_dir(folder.path());
        let mut server = Self { port, process: spawn::start(command)?, log, folder };
        server.wait_until(ready)?;
        Ok(server)
    }

    /// A folder of the bucket as the target of a pipeline, reached through `port`. Only Versity's gateway keeps the objects
    /// as files, for the independent reader.
    pub fn place(&self, prefix: &str, port: u16) -> Place {
        let fields = format!("type: s3, bucket: {BUCKET}, prefix: {prefix}, endpoint: \"http://127.0.0.1:{port}\"");
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Place {
            fields,
            folder: self.folder.path().join("data").join(BUCKET).join(prefix),
            environment: vec![variable("AWS_ACCESS_KEY_ID", ACCESS_KEY), variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY)],
        }
    }

    /// Where it listens, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn wait_until(&mut self, ready: Ready) -> Result<()> {
        let began = Instant::now();
        let client = reqwest::blocking::Client::builder().no_proxy().build();
        let client = client.map_err(|error| Fault::Unexpected(error.to_string()))?;
        loop {
            if ready(&client) {
                return Ok(());
            }
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(Fault::Program { program: "the object store".into(), status: status.to_string(), stderr: log() });
            }
            if began.elapsed() > PATIENCE {
                return Err(Fault::Late { what: "the object store".into(), waited: PATIENCE, seen: log() });
            }
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Says whether a server can be used; may do what makes it usable.
type Ready = Box<dyn Fn(&reqwest::blocking::Client) -> bool>;

fn seaweedfs(folder: &Path, port: u16) -> Result<(Command, Ready)> {
    let identity = |name: &str, actions: Vec<String>| {
        serde_json::json!({"name": name, "credentials": [{"accessKey": name, "secretKey": SECRET_KEY}], "actions": actions})
    };
    let all = ["Admin", "Read", "Write", "List", "Tagging"].map(str::to_owned).to_vec();
    let restricted = RESTRICTED.iter().map(|(name, actions)| {
        identity(name, actions.iter().map(|action| format!("{action}:{BUCKET}")).collect())
    });
    let identities: Vec<_> = [identity(ACCESS_KEY, all)].into_iter().chain(restricted).collect();
    let config = folder.join("s3.json");
    fs::write(&config, serde_json::json!({ "identities": identities }).to_string()).map_err(Fault::io(&config))?;
    let mut command = spawn::bound(&program("weed", "bin/weed")?.to_string_lossy());
    let data = folder.join("data");
    fs::create_dir(&data).map_err(Fault::io(&data))?;
    command.arg("mini").arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", config.display()));
    command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"]);
    command.args(["-s3.port.lance=0", "-master.telemetry=false", "-s3.iam=false"]).arg(format!("-s3.port={port}"));
    let filer = free_port()?;
    command.arg(format!("-filer.port={filer}"));
    for other in ["s3.port.grpc", "filer.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"] {
        command.arg(format!("-{other}={}", free_port()?));
    }
    command.arg(format!("-admin.port={}", free_port()?)).arg(format!("-admin.port.grpc={}", free_port()?));
    let bucket = format!("http://127.0.0.1:{filer}/buckets/{BUCKET}/");
    let s3 = format!("http://127.0.0.1:{port}/");
    let ready = move |client: &reqwest::blocking::Client| {
        let there = client.post(&bucket).send().is_ok_and(|answer| answer.status().is_success());
        there && client.get(&s3).send().is_ok()
    };
    Ok((command, Box::new(ready)))
}

fn versitygw(folder: &Path, port: u16) -> Result<(Command, Ready)> {
    let bucket = folder.join("data").join(BUCKET);
    fs::create_dir_all(&bucket).map_err(Fault::io(&bucket))?;
    let mut command = spawn::bound(&program("versitygw", "bin/versitygw")?.to_string_lossy());
    command.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET_KEY);
    command.args(["--port", &format!("127.0.0.1:{port}"), "--quiet", "posix"]).arg(folder.join("data"));
    let s3 = format!("http://127.0.0.1:{port}/");
    Ok((command, Box::new(move |client| client.get(&s3).send().is_ok())))
}

/// Where the servers lie below the folder that cargo builds into.
pub fn folder_in(build_folder: &Path) -> PathBuf {
    build_folder.join("testkit/stores")
}

/// One of the installed programs: `MILLRACE_STORES`, or the folder that cargo builds into.
fn program(name: &str, below: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("MILLRACE_STORES") {
        return Ok(Path::new(&folder).join(below));
    }
    let running = std::env::current_exe().map_err(Fault::io("the running program"))?;
    let installed = running.ancestors().skip(2).take(3).map(|folder| folder_in(folder).join(below));
    installed.into_iter().find(|program| program.is_file()).ok_or_else(|| Fault::Missing {
        what: name.to_owned(),
        cure: "cargo xtask setup".into(),
    })
}

/// Deletes the folders of processes that are gone.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Another process may sweep at the same moment.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
