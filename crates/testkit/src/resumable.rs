//! What the emulator of Google Cloud Storage lacks: uploads that go on after a lost reply, by the manual's words
//! (<https://cloud.google.com/storage/docs/performing-resumable-uploads>).
//!
//! It takes less of a piece than was sent, now and then, but always a multiple of 256 KiB; it says how far an upload is;
//! it makes an object only where none is. Enough to upload and to read; nobody's signature is judged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fault::Result;
use crate::flaky::request;
use crate::listener::Listener;
use crate::workload::Random;

/// What is kept of a piece that is not the last is a multiple of this.
const QUANTUM: usize = 256 << 10;

/// The service, as long as this lives.
#[derive(Debug)]
pub struct Resumable {
    listener: Listener,
}

#[derive(Debug)]
struct Bucket {
    objects: HashMap<String, Vec<u8>>,
    uploads: Vec<Upload>,
    random: Random,
}

#[derive(Debug)]
struct Upload {
    name: String,
    held: Vec<u8>,
    is_done: bool,
}

/// Status, headers, body.
type Answer = (u16, String, Vec<u8>);

impl Resumable {
    /// An empty bucket of any name.
    pub fn start(seed: u64) -> Result<Self> {
        let bucket = Bucket { objects: HashMap::new(), uploads: Vec::new(), random: Random::new(seed) };
        let bucket = Arc::new(Mutex::new(bucket));
        let listener = Listener::open(move |client| {
            let bucket = Arc::clone(&bucket);
            async move { serve(client, &bucket).await }
        })?;
        Ok(Self { listener })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.listener.port
    }
}

async fn serve(mut client: TcpStream, bucket: &Mutex<Bucket>) -> std::io::Result<()> {
    let Some(whole) = request(&mut client).await? else { return Ok(()) };
    let end = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(whole.len());
    let head = String::from_utf8_lossy(whole.get(..end).unwrap_or_default()).into_owned();
    let body = whole.get(end + 4..).unwrap_or_default();
    let (status, headers, answer) = bucket.lock().unwrap_or_else(PoisonError::into_inner).answer(&head, body);
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    client.write_all(head.as_bytes()).await?;
    client.write_all(&answer).await
}

impl Bucket {
    fn answer(&mut self, head: &str, body: &[u8]) -> Answer {
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameter = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let range = head.lines().find_map(|line| line.strip_prefix("content-range: bytes "));
        match (method, path.strip_prefix("/upload/")) {
            ("POST", Some(_)) => {
                let name = parameter("name").unwrap_or_default().to_owned();
                self.uploads.push(Upload { name, held: Vec::new(), is_done: false });
                let place = format!("Location: http://elsewhere/upload/{}\r\n", self.uploads.len() - 1);
                (200, place, Vec::new())
            }
            ("PUT", Some(number)) => match (number.parse(), range) {
                (Ok(number), Some(range)) => self.piece(number, range, body),
                _ => (400, String::new(), Vec::new()),
            },
            ("GET", None) => {
                // As it stands in the address: whoever put it there encodes it alike when it reads.
                let name = path.rsplit('/').next().unwrap_or_default();
                match self.objects.get(name) {
                    None => (404, String::new(), Vec::new()),
                    Some(bytes) if parameter("alt").is_some() => (200, String::new(), bytes.clone()),
                    Some(bytes) => (200, String::new(), format!("{{\"size\":\"{}\"}}", bytes.len()).into_bytes()),
                }
            }
            _ => (400, String::new(), Vec::new()),
        }
    }

    /// `FROM-LAST/TOTAL` or `*/TOTAL`, where a total that is not known yet is `*`.
    fn piece(&mut self, number: usize, range: &str, body: &[u8]) -> Answer {
        let Some(upload) = self.uploads.get_mut(number) else { return (404, String::new(), Vec::new()) };
        let Some((part, total)) = range.split_once('/') else { return (400, String::new(), Vec::new()) };
        if upload.is_done {
            return (200, String::new(), b"{}".to_vec());
        }
        let from = part.split_once('-').and_then(|(from, _)| from.parse::<usize>().ok());
        if let Some(from) = from {
            let held = upload.held.len();
            if from > held {
                return (503, String::new(), Vec::new());
            }
            let fresh = body.get(held - from..).unwrap_or_default();
            let is_last = total.parse() == Ok(held + fresh.len());
            let taken = if is_last && !self.random.once_in(3) {
                fresh.len()
            } else {
                let quanta = fresh.len() / QUANTUM;
                self.random.below(quanta as u64 + 1) as usize * QUANTUM
            };
            upload.held.extend_from_slice(fresh.get(..taken).unwrap_or_default());
        }
        if total.parse() == Ok(upload.held.len()) {
            if self.objects.contains_key(&upload.name) {
                return (412, String::new(), Vec::new());
            }
            upload.is_done = true;
            self.objects.insert(upload.name.clone(), std::mem::take(&mut upload.held));
            return (200, String::new(), b"{}".to_vec());
        }
        let held = match upload.held.len() {
            0 => String::new(),
            held => format!("Range: bytes=0-{}\r\n", held - 1),
        };
        (308, held, Vec::new())
    }
}
