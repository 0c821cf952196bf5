//! How many connections the hub takes, and how long each may take to say what it wants. Who is asking is not known yet here: what is
//! bounded is what anybody who reaches the port could use up.
//!
//! An address has a part of all connections only. Proxies that are trusted have as many as there are: they speak for many.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::Service;

use crate::auth::throttle::network_of;
use crate::settings::Networks;

/// Until the first request of a connection is there, its headers whole.
const FIRST: Duration = Duration::from_secs(10);
/// Until the next one is: longer than the minute after which nginx gives an idle connection up by itself, so that the proxy is the one
/// that ends it, and no request of it meets a closed door.
const IDLE: Duration = Duration::from_secs(65);
/// Until a request's body is there: the largest sync, over a line of 140 kB a second.
const BODY: Duration = Duration::from_mins(1);
/// Files that a process may open where nothing limits it.
const FILES: u64 = 1 << 20;
/// Of an address: this part of all connections.
const SHARE: usize = 4;

/// The bounds.
#[derive(Clone)]
pub(crate) struct Bounds {
    /// Until the first request is there.
    pub(crate) first: Duration,
    /// Until the next one is.
    pub(crate) idle: Duration,
    /// Until its body is.
    pub(crate) body: Duration,
    /// Connections at the same time.
    pub(crate) all: usize,
    /// The same of one address.
    pub(crate) of_one: usize,
    /// Addresses that have no bound of their own.
    pub(crate) trusted: Networks,
}

impl Bounds {
    /// As many as the process may open files, and three quarters of them; the rest is for the database, the log, and calls outward.
    pub(crate) fn of_process(trusted: Networks) -> Self {
        Self::of_files(raise_files(), trusted)
    }

    fn of_files(files: u64, trusted: Networks) -> Self {
        let all = usize::try_from(files / 4 * 3).unwrap_or(usize::MAX).max(SHARE);
        Self { first: FIRST, idle: IDLE, body: BODY, all, of_one: all / SHARE, trusted }
    }
}

/// Lets the process open as many files as it may: by itself it is given few, for programs from before there were more.
fn raise_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.unwrap_or(FILES);
    match setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }) {
        Ok(()) => most,
        Err(_not_allowed) => current.unwrap_or(FILES),
    }
}

/// Connections that are open, by where they come from.
#[derive(Default)]
struct Open {
    all: usize,
    of_one: HashMap<IpAddr, usize>,
}

/// Where connections come in.
pub(crate) struct Entrance {
    router: Router,
    bounds: Bounds,
    open: Arc<Mutex<Open>>,
}

impl Entrance {
    pub(crate) fn new(router: Router, bounds: Bounds) -> Self {
        Self { router, bounds, open: Arc::default() }
    }

    /// Room for one more, unless there is none.
    fn enter(&self, address: IpAddr) -> Option<Room> {
        let place = Some(network_of(address)).filter(|_| !self.bounds.trusted.contain(address));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = place.and_then(|place| open.of_one.get(&place)).copied().unwrap_or_default();
        if open.all >= self.bounds.all || taken >= self.bounds.of_one {
            return None;
        }
        open.all += 1;
        if let Some(place) = place {
            open.of_one.insert(place, taken + 1);
        }
        Some(Room { open: Arc::clone(&self.open), place })
    }
}

/// A connection's room, until it is dropped.
struct Room {
    open: Arc<Mutex<Open>>,
    place: Option<IpAddr>,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        let Some(place) = self.place else { return };
        let left = open.of_one.get(&place).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            open.of_one.remove(&place);
        } else {
            open.of_one.insert(place, left);
        }
    }
}

impl Service<SocketAddr> for Entrance {
    type Response = Connection;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Connection>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A connection for which there is no room is closed without a word: a word would be as dear as an answer.
    fn call(&mut self, address: SocketAddr) -> Self::Future {
        let connection = self.enter(address.ip()).map(|room| Connection {
            router: self.router.clone(),
            address,
            patience: self.bounds.body,
            _room: Arc::new(room),
        });
        std::future::ready(connection.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()))
    }
}

/// Answers the requests of one connection.
#[derive(Clone)]
pub(crate) struct Connection {
    router: Router,
    address: SocketAddr,
    patience: Duration,
    /// Until the last request is answered.
    _room: Arc<Room>,
}

impl<B> Service<Request<B>> for Connection
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = <Router as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let patience = self.patience;
        let mut request = request.map(|body| Body::new(Timed { body, patience, end: None }));
        request.extensions_mut().insert(ConnectInfo(self.address));
        self.router.call(request)
    }
}

/// A body that has to be there in time, from the moment that somebody asks for it.
struct Timed<B> {
    body: B,
    patience: Duration,
    end: Option<Pin<Box<Sleep>>>,
}

impl<B> HttpBody for Timed<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let timed = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut timed.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let end = Instant::now() + timed.patience;
        ready!(timed.end.get_or_insert_with(|| Box::pin(sleep_until(end))).as_mut().poll(context));
        Poll::Ready(Some(Err("it did not come in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn short(of_one: usize) -> Bounds {
        Bounds {
            first: Duration::from_millis(300),
            idle: Duration::from_millis(300),
            body: Duration::from_millis(300),
            all: 100,
            of_one,
            trusted: Networks::default(),
        }
    }

    async fn hub(bounds: Bounds) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            "slow"
        };
        let address_of = |ConnectInfo(address): ConnectInfo<SocketAddr>| async move { address.ip().to_string() };
        let router = Router::new()
            .route("/livez", get(address_of))
            .route("/slow", get(slow))
            .route("/body", post(|body: Bytes| async move { body.len().to_string() }));
        let serving = super::super::serve(listener, router, (None, bounds), std::future::pending());
        #[expect(clippy::disallowed_methods, reason = "it ends with its test")]
        tokio::spawn(serving);
        address
    }

    async fn said(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Everything that comes until the hub closes the connection.
    async fn ended(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await;
        // One that is closed while something lies unread is reset: that is an end, too.
        let _reset = read.expect("the hub ends it");
        String::from_utf8(bytes).unwrap()
    }

    const ALIVE: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";

    #[tokio::test]
    async fn whoever_says_nothing_or_half_of_it_is_not_waited_for() {
        let address = hub(short(50)).await;
        let nothing = said(address, "").await;
        let half = said(address, "GET /livez HTTP/1.1\r\nhos").await;
        let idle = said(address, ALIVE).await;
        let body = said(address, "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await;
        assert_eq!(ended(nothing).await, "");
        assert!(!ended(half).await.contains("200 OK"));
        assert!(ended(idle).await.ends_with("127.0.0.1"));
        let body = ended(body).await;
        assert!(body.starts_with("HTTP/1.1 400"), "{body}");
        // An answer may take longer than a question: a sync is held.
        let slow = ended(said(address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await).await;
        assert!(slow.starts_with("HTTP/1.1 200") && slow.ends_with("slow"), "{slow}");
        let whole = "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nfull";
        assert!(ended(said(address, whole).await).await.ends_with('4'));
    }

    #[tokio::test]
    async fn an_address_has_its_share_of_connections_and_a_trusted_proxy_has_all() {
        let long = Bounds { first: Duration::from_mins(1), idle: Duration::from_mins(1), ..short(3) };
        let address = hub(long.clone()).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = said(address, ALIVE).await;
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            held.push(stream);
        }
        assert_eq!(ended(said(address, ALIVE).await).await, "", "a fourth");
        held.pop();
        // One that ends makes room for another.
        let close = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let begun = Instant::now();
        while !ended(said(address, close).await).await.ends_with("127.0.0.1") {
            assert!(begun.elapsed() < Duration::from_secs(10), "there is no room again");
        }
        let trusted = hub(Bounds { trusted: Networks::parse("127.0.0.1").unwrap(), ..long }).await;
        let mut all = Vec::new();
        for _ in 0..10 {
            let mut stream = said(trusted, ALIVE).await;
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            all.push(stream);
        }
    }

    #[test]
    fn the_bounds_follow_from_the_files_that_the_process_may_open() {
        let bounds = Bounds::of_files(1024, Networks::default());
        assert_eq!((bounds.all, bounds.of_one), (768, 192));
        assert!(raise_files() >= 1024);
    }
}
