//! Asking the server to give up what a session waits for, when its caller no longer does.
//!
//! Closing the connection is not enough: a backend that waits for a lock does not look at its client, so the making of a
//! slot would go on, and the name would be taken, for as long as the transaction runs that it waits for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;

/// The server's address is known to answer; a stop must not wait for one that no longer does.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a backend must be told by whoever wants it to stop (manual, "Canceling Requests in Progress").
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackendKey {
    pub(crate) process: i32,
    pub(crate) secret: i32,
}

/// Cancels the session's statement when it is dropped before it was defused.
#[derive(Debug)]
pub(crate) struct CancelOnDrop {
    /// `None` where there is nothing to cancel, or no way to.
    target: Option<(SocketAddr, BackendKey)>,
}

impl CancelOnDrop {
    pub(crate) fn new(target: Option<(SocketAddr, BackendKey)>) -> Self {
        Self { target }
    }

    /// The statement has ended.
    pub(crate) fn defuse(mut self) {
        self.target = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some((address, key)) = self.target {
            // Nobody is left who could do more about it: the next start names the session that is in its way.
            drop(cancel(address, key));
        }
    }
}

/// Why not asynchronously: whoever drops a statement may be about to end the process, and this has to be out by then.
fn cancel(address: SocketAddr, key: BackendKey) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut out = BytesMut::new();
    frontend::cancel_request(key.process, key.secret, &mut out);
    stream.write_all(&out)?;
    // The server closes the connection once it has passed the request on.
    stream.read(&mut [0]).map(drop)
}
