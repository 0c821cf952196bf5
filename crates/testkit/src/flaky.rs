//! A way to an object store that fails as networks and busy services do: replies get lost after the request went through,
//! requests arrive late, connections are cut, and now and then the service is "too busy". What happens is a matter of a seed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fault::Result;
use crate::listener::Listener;
use crate::workload::Random;

/// A longer head is not from one of our clients.
const LONGEST_HEAD: usize = 64 << 10;
/// How late a late request arrives, at most.
const LATEST: u64 = 1500;

/// The way, open as long as this lives.
#[derive(Debug)]
pub struct Flaky {
    listener: Listener,
    fates: Arc<Fates>,
}

#[derive(Debug)]
struct Fates {
    random: Mutex<Random>,
    /// One request in so many meets with something; 0: none.
    one_in: Mutex<u64>,
    met: Mutex<u64>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It and its reply go through.
    Pass,
    /// It goes through, its reply is lost.
    LoseReply,
    /// The connection is cut, and it goes through a while later.
    Late,
    /// The connection is cut before it went through.
    Cut,
    /// Half of its reply comes.
    HalfReply,
    /// It never goes through; the service answers with this.
    Answer(u16, &'static str),
    /// It goes through and is answered as if it had met another one.
    Conflict,
}

const FATES: [Fate; 9] = [
    Fate::LoseReply,
    Fate::LoseReply,
    Fate::Late,
    Fate::Cut,
    Fate::HalfReply,
    Fate::Answer(503, "SlowDown"),
    Fate::Answer(500, "InternalError"),
    Fate::Answer(429, "TooManyRequests"),
    Fate::Conflict,
];

impl Flaky {
    /// A way to `port` of 127.0.0.1 on which one request in `one_in` meets with something.
    pub fn to(port: u16, seed: u64, one_in: u64) -> Result<Self> {
        let fates = Arc::new(Fates {
            random: Mutex::new(Random::new(seed)),
            one_in: Mutex::new(one_in),
            met: Mutex::default(),
        });
        let shared = Arc::clone(&fates);
        let listener = Listener::open(move |client| {
            let fates = Arc::clone(&shared);
            // A broken connection is what this is for.
            async move { carry(client, port, &fates).await }
        })?;
        Ok(Self { listener, fates })
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.listener.port
    }

    /// From now on one request in `one_in` meets with something; 0: none.
    pub fn set(&self, one_in: u64) {
        *self.fates.one_in.lock().unwrap_or_else(PoisonError::into_inner) = one_in;
    }

    /// How many requests have met with something.
    pub fn met(&self) -> u64 {
        *self.fates.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fates {
    fn next(&self) -> (Fate, Duration) {
        let one_in = *self.one_in.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if one_in == 0 || !random.once_in(one_in) {
            return (Fate::Pass, Duration::ZERO);
        }
        *self.met.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        (*random.one_of(&FATES), Duration::from_millis(random.below(LATEST)))
    }
}

/// One request of a connection, which ends with it.
async fn carry(mut client: TcpStream, port: u16, fates: &Fates) -> std::io::Result<()> {
    let Some(request) = request(&mut client).await? else { return Ok(()) };
    let (fate, late) = fates.next();
    match fate {
        Fate::Cut => return Ok(()),
        Fate::Answer(status, code) => return client.write_all(answer(status, code).as_bytes()).await,
        Fate::Late => {
            drop(client);
            tokio::time::sleep(late).await;
            return forward(port, &request).await.map(drop);
        }
        Fate::Pass | Fate::LoseReply | Fate::HalfReply | Fate::Conflict => {}
    }
    let reply = forward(port, &request).await?;
    match fate {
        Fate::HalfReply => client.write_all(reply.get(..reply.len() / 2).unwrap_or_default()).await,
        Fate::Conflict => client.write_all(answer(409, "ConditionalRequestConflict").as_bytes()).await,
        Fate::LoseReply => Ok(()),
        Fate::Pass | Fate::Late | Fate::Cut | Fate::Answer(..) => client.write_all(&reply).await,
    }
}

/// A whole request that asks for the connection to be closed after its reply; `None` where none comes.
pub(crate) async fn request(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > LONGEST_HEAD || client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse().ok())
        .unwrap_or_default();
    let body = end + 4;
    while bytes.len() < body + length {
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let mut whole = format!("{head}\r\nConnection: close\r\n\r\n").into_bytes();
    whole.extend_from_slice(bytes.get(body..).unwrap_or_default());
    Ok(Some(whole))
}

/// The reply to a request that asks for the connection to be closed.
pub(crate) async fn forward(port: u16, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    server.write_all(request).await?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply).await?;
    Ok(reply)
}

fn answer(status: u16, code: &str) -> String {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by the seed</Message></Error>");
    format!(
        "HTTP/1.1 {status} Busy\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
