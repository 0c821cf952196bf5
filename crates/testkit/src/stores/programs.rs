//! How each object store is started, what tells that it can be used, how it gets its bucket, and where its objects are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_model::Timestamp;
use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder, Response};
use ring::hmac;
use serde_json::{Value, json};

use super::{ACCESS_KEY, ACCOUNT, ACCOUNT_KEY, BUCKET, Program, SECRET_KEY, folder_in};
use crate::fault::{Fault, Result};
use crate::hub::of_http;
use crate::postgres::free_port;
use crate::spawn;

/// Identities of SeaweedFS that lack one thing each: name, which is the access key too, and what they may.
const RESTRICTED: [(&str, &[&str]); 3] =
    [("no-list", &["Read", "Write"]), ("no-read", &["Write", "List"]), ("no-write", &["Read", "List"])];

/// A server that has not been started yet.
pub(super) struct Prepared {
    pub(super) command: Command,
    /// Where its objects are.
    pub(super) shelf: Shelf,
    /// Says whether it can be used; does what makes it usable.
    pub(super) ready: Box<dyn Fn(&Client) -> bool>,
}

pub(super) fn prepare(program: Program, folder: &Path, port: u16) -> Result<Prepared> {
    let data = folder.join("data");
    fs::create_dir(&data).map_err(Fault::io(&data))?;
    match program {
        Program::SeaweedFs => seaweedfs(folder, &data, port),
        Program::VersityGw => versitygw(&data, port),
        Program::Azurite => azurite(&data, port),
        Program::FakeGcs => fake_gcs(port),
    }
}

fn seaweedfs(folder: &Path, data: &Path, port: u16) -> Result<Prepared> {
    let identity = |name: &str, actions: Value| json!({"name": name, "credentials": [{"accessKey": name, "secretKey": SECRET_KEY}], "actions": actions});
    let all = identity(ACCESS_KEY, json!(["Admin", "Read", "Write", "List", "Tagging"]));
    let restricted = RESTRICTED
        .iter()
        .map(|(name, actions)| identity(name, actions.iter().map(|action| format!("{action}:{BUCKET}")).collect()));
    let identities: Vec<Value> = [all].into_iter().chain(restricted).collect();
    let config = folder.join("s3.json");
    fs::write(&config, json!({ "identities": identities }).to_string()).map_err(Fault::io(&config))?;
    let mut command = spawn::bound(&installed("bin/weed")?.to_string_lossy());
    command.arg("mini").arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", config.display()));
    command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"]);
    command.args(["-s3.port.lance=0", "-master.telemetry=false"]).arg(format!("-s3.port={port}"));
    let filer = free_port()?;
    command.arg(format!("-filer.port={filer}"));
    let others =
        ["s3.port.grpc", "filer.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"];
    for other in others.into_iter().chain(["admin.port", "admin.port.grpc"]) {
        command.arg(format!("-{other}={}", free_port()?));
    }
    let bucket = format!("http://127.0.0.1:{filer}/buckets/{BUCKET}/");
    let objects = bucket.clone();
    let s3 = format!("http://127.0.0.1:{port}/");
    let ready = move |client: &Client| {
        let is_there = client.post(&bucket).send().is_ok_and(|answer| is_made(&answer));
        is_there && client.get(&s3).send().is_ok()
    };
    Ok(Prepared { command, shelf: Shelf::Address(objects), ready: Box::new(ready) })
}

fn versitygw(data: &Path, port: u16) -> Result<Prepared> {
    let bucket = data.join(BUCKET);
    fs::create_dir(&bucket).map_err(Fault::io(&bucket))?;
    let mut command = spawn::bound(&installed("bin/versitygw")?.to_string_lossy());
    command.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET_KEY);
    command.args(["--port", &format!("127.0.0.1:{port}"), "--quiet", "posix"]).arg(data);
    let s3 = format!("http://127.0.0.1:{port}/");
    let ready = move |client: &Client| client.get(&s3).send().is_ok();
    Ok(Prepared { command, shelf: Shelf::Folder(bucket), ready: Box::new(ready) })
}

fn azurite(data: &Path, port: u16) -> Result<Prepared> {
    let mut command = spawn::bound("node");
    command.arg(installed("azurite/node_modules/azurite/dist/src/blob/main.js")?);
    command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1"]);
    command.args(["--blobPort", &port.to_string(), "--location"]).arg(data);
    let ready = move |client: &Client| {
        let made = signed(client, Method::PUT, port, &format!("/{ACCOUNT}/{BUCKET}"), Some(("restype", "container")));
        made.send().is_ok_and(|answer| is_made(&answer))
    };
    Ok(Prepared { command, shelf: Shelf::Azure(port), ready: Box::new(ready) })
}

/// A request to the emulator of Azure, without a body, by whoever has the account's key (Microsoft, "Authorize with Shared Key").
fn signed(client: &Client, method: Method, port: u16, path: &str, parameter: Option<(&str, &str)>) -> RequestBuilder {
    const VERSION: &str = "2023-11-03";
    let date = http_date();
    let line = parameter.map(|(name, value)| format!("\n{name}:{value}")).unwrap_or_default();
    let query = parameter.map(|(name, value)| format!("?{name}={value}")).unwrap_or_default();
    let lines =
        format!("{method}\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{VERSION}\n/{ACCOUNT}{path}{line}");
    let key = BASE64.decode(ACCOUNT_KEY).unwrap_or_default();
    let signature = BASE64.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), lines.as_bytes()));
    let request = client.request(method, format!("http://127.0.0.1:{port}{path}{query}"));
    let request = request.header("x-ms-date", date).header("x-ms-version", VERSION).header("content-length", "0");
    request.header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
}

fn fake_gcs(port: u16) -> Result<Prepared> {
    let mut command = spawn::bound(&installed("bin/fake-gcs-server")?.to_string_lossy());
    let here = format!("127.0.0.1:{port}");
    command.args(["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory", "-log-level", "warn"]);
    command.args(["-port", &port.to_string(), "-public-host", &here, "-external-url", &format!("http://{here}")]);
    let buckets = format!("http://{here}/storage/v1/b?project=millrace");
    let ready = move |client: &Client| {
        let made = client.post(&buckets).json(&json!({ "name": BUCKET })).send();
        made.is_ok_and(|answer| is_made(&answer))
    };
    let objects = format!("http://{here}/storage/v1/b/{BUCKET}/o/");
    Ok(Prepared { command, shelf: Shelf::Google(objects), ready: Box::new(ready) })
}

/// Where a server's objects are for whoever wants to read one without anything that is under test.
#[derive(Debug)]
pub(super) enum Shelf {
    /// Files of a folder.
    Folder(PathBuf),
    /// Below an address.
    Address(String),
    /// The same, with names whose slashes are encoded.
    Google(String),
    /// The emulator of Azure at this port.
    Azure(u16),
}

impl Shelf {
    /// The bytes of an object, if it is there. Its name is one that stands in addresses as it is.
    pub(super) fn read(&self, client: &Client, key: &str) -> Result<Option<Vec<u8>>> {
        let request = match self {
            Self::Folder(folder) => return Ok(fs::read(folder.join(key)).ok()),
            Self::Address(objects) => client.get(format!("{objects}{key}")),
            Self::Google(objects) => client.get(format!("{objects}{}?alt=media", key.replace('/', "%2F"))),
            Self::Azure(port) => signed(client, Method::GET, *port, &format!("/{ACCOUNT}/{BUCKET}/{key}"), None),
        };
        let answer = request.send().map_err(of_http)?;
        match answer.status().as_u16() {
            200 => Ok(Some(answer.bytes().map_err(of_http)?.to_vec())),
            404 => Ok(None),
            status => Err(Fault::Unexpected(format!("{status} for {key}: {}", answer.text().unwrap_or_default()))),
        }
    }
}

/// Whether a bucket is there now; 409 says that it was there before, which it is when one asks a second time.
fn is_made(answer: &Response) -> bool {
    answer.status().is_success() || answer.status() == 409
}

/// One of the installed programs: below `MILLRACE_STORES`, or below the folder that cargo builds into.
fn installed(path: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("MILLRACE_STORES") {
        return Ok(Path::new(&folder).join(path));
    }
    let running = std::env::current_exe().map_err(Fault::io("the running program"))?;
    let mut candidates = running.ancestors().skip(2).take(3).map(|folder| folder_in(folder).join(path));
    candidates
        .find(|program| program.is_file())
        .ok_or_else(|| Fault::Missing { what: format!("the object store of {path}"), cure: "cargo xtask setup".into() })
}

/// `Fri, 24 May 2013 00:00:00 GMT`; the day of the week may be any, nobody looks at it.
#[expect(clippy::disallowed_methods, reason = "requests are signed with the machine's time")]
fn http_date() -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
    let text = Timestamp(now).to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    format!("Fri, {} {} {} {} GMT", part(8, 10), month.unwrap_or(&""), part(0, 4), part(11, 19))
}
