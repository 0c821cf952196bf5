//! Fakes of what clouds have beside a process: token services, metadata services and secret services.
//!
//! Each keeps to what the service's documentation says and demands what the real one demands: headers, signatures,
//! tokens that end. The vendors' own clients are let loose on them, too.

pub mod aws;
pub mod azure;
pub mod google;
pub mod issuer;
pub mod jwt;
pub mod moto;
pub mod vault;
pub mod vendor;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use millrace_model::{Clock, Timestamp};
use serde_json::Value;

/// A clock that stands still until it is told.
pub struct SetClock(AtomicI64);

impl SetClock {
    /// Stands at the machine's time.
    #[expect(clippy::disallowed_methods, reason = "it is the clock")]
    pub fn now() -> Arc<Self> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Arc::new(Self(AtomicI64::new(now.as_micros() as i64)))
    }

    /// Goes on.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::AcqRel);
    }

    /// Seconds since 1970.
    pub fn unix(&self) -> i64 {
        self.0.load(Ordering::Acquire) / 1_000_000
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Acquire))
    }
}

/// A server on a free port of this machine; it ends with this value.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    /// Serves these routes. Must be called within a runtime.
    #[expect(clippy::disallowed_methods, reason = "a fake has no supervisor")]
    pub fn start(routes: Router) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket for the runtime");
        let address = listener.local_addr().expect("an address");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a socket for the runtime");
        let task = tokio::spawn(async move {
            drop(axum::serve(listener, routes).await);
        });
        Self { address, task }
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A service that is not the real one.
pub struct Fake<S> {
    served: Served,
    state: Arc<Mutex<S>>,
}

/// What a fake holds; it answers by it.
pub trait Answers: Send + 'static {
    /// The answer to a request.
    fn respond(&mut self, asked: &Asked) -> Response;
}

impl<S: Answers> Fake<S> {
    /// Serves it. Must be called within a runtime.
    fn serve(state: S) -> Self {
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let routes = Router::new().fallback(move |request: Request| {
            let state = Arc::clone(&shared);
            async move {
                let asked = Asked::of(request).await;
                state.lock().unwrap_or_else(PoisonError::into_inner).respond(&asked)
            }
        });
        Self { served: Served::start(routes), state }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.served.url()
    }

    /// Host and port.
    pub fn host(&self) -> String {
        self.served.address.to_string()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.served.address.port()
    }

    /// What it holds.
    pub fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was asked.
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path, with percent signs where they were sent.
    pub path: String,
    /// The query, as it was sent.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Asked {
    /// Reads a request to its end.
    pub async fn of(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Self { method: parts.method, path: parts.uri.path().to_owned(), query, headers: parts.headers, body }
    }

    /// A header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, or null.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as a form.
    pub fn form(&self) -> HashMap<String, String> {
        pairs(&String::from_utf8_lossy(&self.body))
    }

    /// The query's parameters.
    pub fn parameters(&self) -> HashMap<String, String> {
        pairs(&self.query)
    }
}

fn pairs(text: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://host/?{text}"));
    url.map(|url| url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
        .unwrap_or_default()
}

/// An answer in JSON.
pub fn json(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}
