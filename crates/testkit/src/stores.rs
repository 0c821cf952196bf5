//! Throw-away object stores on 127.0.0.1, gone with the process that started them.
//!
//! `cargo xtask setup` installs them. Two of them speak S3 and share no line of code: what holds on both is no habit of one.
//! All but the one for Google Cloud Storage judge signatures themselves.

mod programs;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use serde_json::json;
use tempfile::TempDir;

use crate::fault::{Fault, Result};
use crate::pipeline::Place;
use crate::postgres::free_port;
use crate::spawn;
use programs::Shelf;

/// The bucket, or container, that is there from the start.
pub const BUCKET: &str = "lake";
/// Who may do everything, where identities have names.
pub const ACCESS_KEY: &str = "millrace";
/// Their secret.
pub const SECRET_KEY: &str = "not-so-secret";
/// The storage account of the emulator of Azure.
pub const ACCOUNT: &str = "devstoreaccount1";
/// Its key, which the whole world knows.
pub const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Begins the names of all our folders; the process that made one follows.
const PREFIX: &str = "millrace-store-";
/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(40);
/// Ports are free when they are chosen, but others may be quicker.
const ATTEMPTS: usize = 4;
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(20);

/// A program that is an object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// SeaweedFS: S3 over an own storage engine, in Go.
    SeaweedFs,
    /// Versity's gateway: S3 over a folder.
    VersityGw,
    /// Microsoft's own emulator of Azure Blob Storage.
    Azurite,
    /// An emulator of Google Cloud Storage's JSON API.
    FakeGcs,
}

/// A running server.
#[derive(Debug)]
pub struct StoreServer {
    program: Program,
    port: u16,
    process: Child,
    log: PathBuf,
    folder: TempDir,
    shelf: Shelf,
    client: Client,
}

impl StoreServer {
    /// The one of this test process; started when first asked for.
    pub fn shared(program: Program) -> &'static Self {
        static SERVERS: [OnceLock<StoreServer>; 4] = [const { OnceLock::new() }; 4];
        let server = match program {
            Program::SeaweedFs => &SERVERS[0],
            Program::VersityGw => &SERVERS[1],
            Program::Azurite => &SERVERS[2],
            Program::FakeGcs => &SERVERS[3],
        };
        // A runtime of a test may be around, and what starts a server has one of its own.
        let start = || thread::scope(|scope| scope.spawn(|| Self::start(program)).join());
        server.get_or_init(|| start().expect("starting does not panic").expect("a store that tests need starts"))
    }

    /// Starts one.
    pub fn start(program: Program) -> Result<Self> {
        sweep();
        let mut started = Self::start_once(program);
        for _ in 1..ATTEMPTS {
            if started.is_ok() {
                break;
            }
            started = Self::start_once(program);
        }
        started
    }

    fn start_once(program: Program) -> Result<Self> {
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().map_err(Fault::io(std::env::temp_dir()))?;
        let port = free_port()?;
        let mut prepared = programs::prepare(program, folder.path(), port)?;
        let log = folder.path().join("server.log");
        let out = File::create(&log).map_err(Fault::io(&log))?;
        let errors = out.try_clone().map_err(Fault::io(&log))?;
        prepared.command.stdin(Stdio::null()).stdout(out).stderr(errors).current_dir(folder.path());
        let process = spawn::start(prepared.command)?;
        let mut server = Self { program, port, process, log, folder, shelf: prepared.shelf, client: client()? };
        server.wait_until(&*prepared.ready)?;
        Ok(server)
    }

    /// A folder of the bucket as the target of a pipeline, reached through `port`. Only Versity's gateway keeps the objects
    /// as files, for the independent reader.
    pub fn place(&self, prefix: &str, port: u16) -> Place {
        self.place_at(prefix, &format!("http://127.0.0.1:{port}"))
    }

    /// The same, reached at another address.
    pub fn place_at(&self, prefix: &str, address: &str) -> Place {
        let set = |variables: &[(&str, &str)]| {
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (fields, environment) = match self.program {
            Program::SeaweedFs | Program::VersityGw => (
                json!({"type": "s3", "bucket": BUCKET, "endpoint": address}),
                set(&[("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]),
            ),
            Program::Azurite => (
                json!({"type": "abs", "container": BUCKET, "accountName": ACCOUNT, "endpoint": format!("{address}/{ACCOUNT}"),
                    "accountKey": {"secretType": "env", "secretName": "LAKE_KEY"}}),
                set(&[("LAKE_KEY", ACCOUNT_KEY)]),
            ),
            Program::FakeGcs => (json!({"type": "gcs", "bucket": BUCKET}), set(&[("STORAGE_EMULATOR_HOST", address)])),
        };
        let mut fields = fields.as_object().cloned().unwrap_or_default();
        fields.insert("prefix".into(), prefix.into());
        Place { fields, folder: self.folder.path().join("data").join(BUCKET).join(prefix), environment }
    }

    /// Where it listens, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bytes of an object of the bucket, if it is there, read without anything that is under test. Not on a runtime.
    pub fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.shelf.read(&self.client, key)
    }

    fn wait_until(&mut self, ready: &dyn Fn(&Client) -> bool) -> Result<()> {
        let began = Instant::now();
        while !ready(&self.client) {
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            if let Ok(Some(status)) = self.process.try_wait() {
                let program = format!("{:?}", self.program);
                return Err(Fault::Program { program, status: status.to_string(), stderr: log() });
            }
            if began.elapsed() > PATIENCE {
                let what = format!("{:?} to come up", self.program);
                return Err(Fault::Late { what, waited: PATIENCE, seen: log() });
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn client() -> Result<Client> {
    let _set_already = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().map_err(|error| Fault::Unexpected(error.to_string()))
}

/// Where the servers lie below the folder that cargo builds into.
pub fn folder_in(build_folder: &Path) -> PathBuf {
    build_folder.join("testkit/stores")
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
