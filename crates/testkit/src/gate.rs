//! A way to an object store with a gate on it. While the gate is closed, requests of one sort wait before it, each with all
//! of its bytes; when it opens they go through together, whatever has become of those who sent them.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::fault::Result;
use crate::flaky::{forward, request};
use crate::listener::Listener;

/// The way, as long as this lives. At first the gate is open.
#[derive(Debug)]
pub struct Gate {
    listener: Listener,
    is_closed: watch::Sender<bool>,
    held: Arc<Mutex<Held>>,
}

/// What came while the gate was closed.
#[derive(Debug, Default)]
struct Held {
    /// Requests that wait, or have waited, in the order in which they came.
    requests: Vec<String>,
    /// What the service said to them.
    statuses: Vec<u16>,
}

impl Gate {
    /// A way to `port` of this machine; the gate is for requests whose text `stops` says yes to.
    pub fn to(port: u16, stops: fn(&str) -> bool) -> Result<Self> {
        let (is_closed, closed) = watch::channel(false);
        let held = Arc::new(Mutex::new(Held::default()));
        let shared = Arc::clone(&held);
        let listener = Listener::open(move |client| {
            let (closed, held) = (closed.clone(), Arc::clone(&shared));
            async move { carry(client, port, stops, (closed, &held)).await }
        })?;
        Ok(Self { listener, is_closed, held })
    }

    /// Where the way begins.
    pub fn port(&self) -> u16 {
        self.listener.port
    }

    /// Closes the gate.
    pub fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// Opens it: all that wait go through at once.
    pub fn open(&self) {
        self.is_closed.send_replace(false);
    }

    /// Requests that came while it was closed, with their bodies as far as those are text.
    pub fn held_requests(&self) -> Vec<String> {
        lock(&self.held).requests.clone()
    }

    /// What the service said to them, in the order in which it did.
    pub fn statuses(&self) -> Vec<u16> {
        lock(&self.held).statuses.clone()
    }
}

fn lock(held: &Mutex<Held>) -> std::sync::MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request of a connection, which ends with it.
async fn carry(
    mut client: TcpStream,
    port: u16,
    stops: fn(&str) -> bool,
    (mut closed, held): (watch::Receiver<bool>, &Mutex<Held>),
) -> std::io::Result<()> {
    let Some(request) = request(&mut client).await? else { return Ok(()) };
    let text = String::from_utf8_lossy(&request).into_owned();
    if !*closed.borrow() || !stops(&text) {
        let reply = forward(port, &request).await?;
        return client.write_all(&reply).await;
    }
    lock(held).requests.push(text);
    // A gate that is gone is open.
    drop(closed.wait_for(|is_closed| !is_closed).await);
    let reply = forward(port, &request).await?;
    lock(held).statuses.push(status(&reply));
    client.write_all(&reply).await
}

/// The status of a reply: `HTTP/1.1 412 …`.
fn status(reply: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(reply.get(..16).unwrap_or_default()).into_owned();
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}
