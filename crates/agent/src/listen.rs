//! `--listen`: answers `/metrics`, `/livez` and `/readyz` over HTTP/1.1, one request a connection.
//!
//! Made for three paths and nothing else, and for clients of every kind: what is slow, endless or not HTTP costs a bounded
//! time and a bounded piece of memory, and never disturbs the run.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::meter::{Meter, Phase};
use crate::metrics;

/// Where `health` asks when it is not told.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:9464";

/// A head that is longer is not from one of our clients.
const LONGEST_HEAD: usize = 8 << 10;
/// A request and its answer together take no longer.
const DEADLINE: Duration = Duration::from_secs(5);
/// So many are answered at once; more wait in the system's queue.
const AT_ONCE: usize = 16;
/// After a connection could not be accepted: too many files are open, and that does not pass at once.
const REST: Duration = Duration::from_millis(200);

/// Gives the numbers of what runs at the moment, if anything does.
pub type Running = Arc<dyn Fn() -> Option<Arc<Meter>> + Send + Sync>;
/// Says whether the hub answered the last call.
pub type Connected = Arc<dyn Fn() -> bool + Send + Sync>;

/// An open address.
pub struct Listening(TcpListener);

/// An answer.
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.into() + "\n" }
    }
}

impl Listening {
    /// Opens the address.
    pub async fn open(address: &str) -> std::io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// Where it really listens: with port 0 the system has chosen one.
    pub fn address(&self) -> String {
        self.0.local_addr().map(|address| address.to_string()).unwrap_or_default()
    }

    /// Answers for what runs until it is dropped.
    pub async fn serve(self, running: Running) {
        self.serve_within(DEADLINE, running, None).await;
    }

    /// The same for an agent: what it says of its hub too.
    pub async fn serve_agent(self, running: Running, connected: Connected) {
        self.serve_within(DEADLINE, running, Some(connected)).await;
    }

    async fn serve_within(self, deadline: Duration, running: Running, connected: Option<Connected>) {
        let mut answering = JoinSet::new();
        loop {
            while answering.len() >= AT_ONCE {
                answering.join_next().await;
            }
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let meter = running();
                    let connected = connected.as_ref().map(|connected| connected());
                    answering.spawn(async move {
                        // A client that goes away, or does not ask in time, gets no answer.
                        let _gone = tokio::time::timeout(deadline, converse(stream, meter.as_deref(), connected)).await;
                    });
                }
                Err(_) => tokio::time::sleep(REST).await,
            }
            while answering.try_join_next().is_some() {}
        }
    }
}

async fn converse(mut stream: TcpStream, meter: Option<&Meter>, connected: Option<bool>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let (answer, with_body) = loop {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await?;
        head.extend_from_slice(piece.get(..read).unwrap_or_default());
        if head.windows(4).any(|four| four == b"\r\n\r\n") {
            break answer(&head, meter, connected);
        }
        if read == 0 {
            return Ok(());
        }
        if head.len() > LONGEST_HEAD {
            break (Answer::text("431 Request Header Fields Too Large", "the request is too long"), true);
        }
    };
    let Answer { status, kind, body } = answer;
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    if with_body {
        text += &body;
    }
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// The answer to a request, and whether its body is wanted.
fn answer(head: &[u8], meter: Option<&Meter>, connected: Option<bool>) -> (Answer, bool) {
    let head = String::from_utf8_lossy(head);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    if !version.is_some_and(|version| version.starts_with("HTTP/1.")) || words.next().is_some() {
        return (Answer::text("400 Bad Request", "not a request of HTTP/1"), true);
    }
    if method != Some("GET") && method != Some("HEAD") {
        return (Answer::text("405 Method Not Allowed", "only GET and HEAD"), true);
    }
    let path = target.and_then(|target| target.split('?').next()).unwrap_or_default();
    let answer = match path {
        "/metrics" => Answer {
            status: "200 OK",
            kind: metrics::CONTENT_TYPE,
            body: meter.map_or_else(metrics::idle, metrics::page)
                + &connected.map(metrics::hub_connected).unwrap_or_default(),
        },
        "/livez" => Answer::text("200 OK", "live"),
        "/readyz" => readiness(meter),
        _ => Answer::text("404 Not Found", "here are /metrics, /livez and /readyz"),
    };
    (answer, method == Some("GET"))
}

/// Ready: source and target answer, and the lake is being written; or there is nothing to run.
fn readiness(meter: Option<&Meter>) -> Answer {
    let Some(meter) = meter else { return Answer::text("200 OK", "idle") };
    match meter.read().phase() {
        phase @ (Phase::Snapshotting | Phase::Streaming) => Answer::text("200 OK", phase.as_str()),
        phase @ (Phase::Starting | Phase::Retrying | Phase::Stopping) => {
            Answer::text("503 Service Unavailable", phase.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: &str, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn shop() -> Running {
        let meter = Arc::new(Meter::new("shop", true));
        Arc::new(move || Some(Arc::clone(&meter)))
    }

    async fn serving() -> (String, JoinSet<()>) {
        let listening = Listening::open("127.0.0.1:0").await.unwrap();
        let address = listening.address();
        let mut tasks = JoinSet::new();
        tasks.spawn(listening.serve(shop()));
        (address, tasks)
    }

    #[tokio::test]
    async fn each_path_has_its_answer_and_everything_else_is_refused() {
        let (address, _tasks) = serving().await;
        for (request, starts, ends) in [
            ("GET /livez HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK", "live\n"),
            ("HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK", "\r\n\r\n"),
            ("GET /readyz?verbose HTTP/1.0\r\n\r\n", "HTTP/1.1 503 ", "starting\n"),
            ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", "\n"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ", "\n"),
            ("GET /metrics HTTP/2\r\n\r\n", "HTTP/1.1 400 ", "\n"),
            ("\u{1}\u{2}\r\n\r\n", "HTTP/1.1 400 ", "\n"),
        ] {
            let answer = ask(&address, request.as_bytes()).await;
            assert!(answer.starts_with(starts) && answer.ends_with(ends), "{request:?}: {answer:?}");
        }
        let answer = ask(&address, b"GET /metrics HTTP/1.1\r\n\r\n").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("millrace_source_connected{pipeline=\"shop\"} 0\n"), "{body}");
    }

    #[tokio::test]
    async fn an_endless_head_is_cut_off() {
        let (address, _tasks) = serving().await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let sent = async {
            // Ends with an error once the other side has hung up.
            while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
        };
        tokio::time::timeout(Duration::from_mins(1), sent).await.expect("the connection is closed");
    }

    #[tokio::test]
    async fn clients_that_say_nothing_keep_nobody_else_out_for_long() {
        let listening = Listening::open("127.0.0.1:0").await.unwrap();
        let address = listening.address();
        let mut tasks = JoinSet::new();
        tasks.spawn(listening.serve_within(Duration::from_millis(50), shop(), None));
        let mut silent = Vec::new();
        for _ in 0..AT_ONCE * 2 {
            silent.push(TcpStream::connect(&address).await.unwrap());
        }
        let answer = ask(&address, b"GET /livez HTTP/1.1\r\n\r\n").await;
        assert!(answer.ends_with("live\n"), "{answer}");
    }
}
