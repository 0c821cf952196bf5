//! A port of this machine where each connection is answered, on threads of its own: tests that block may ask there too.

use std::net::TcpListener as Bound;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::fault::{Fault, Result};

const HERE: &str = "127.0.0.1:0";

/// The port, open as long as this lives.
#[derive(Debug)]
pub(crate) struct Listener {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    runtime: Option<Runtime>,
}

impl Listener {
    /// Opens a free one. An answer that ends with an error ends its connection: whoever left has left.
    pub(crate) fn open<F, A>(answer: F) -> Result<Self>
    where
        F: Fn(TcpStream) -> A + Send + 'static,
        A: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let bound = Bound::bind(HERE).map_err(Fault::io(HERE))?;
        bound.set_nonblocking(true).map_err(Fault::io(HERE))?;
        let port = bound.local_addr().map_err(Fault::io(HERE))?.port();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Fault::io("a runtime"))?;
        runtime.spawn(async move {
            let Ok(listener) = TcpListener::from_std(bound) else { return };
            let mut answering = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                answering.spawn(answer(client));
                while answering.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, runtime: Some(runtime) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Also where a test of a runtime's own ends.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
