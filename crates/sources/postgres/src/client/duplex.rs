//! A connection in COPY BOTH: the half that reads frames of the log, and the half that replies.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::input::{Frame, Input};
use crate::client::pace::Pace;
use crate::client::session::lost;
use crate::client::socket;
use crate::fault::Cause;
use crate::position::EPOCH_MICROS;

/// How much of the log is read at once.
const LOG_INPUT: usize = 256 << 10;

/// Both halves of a connection in COPY BOTH.
#[derive(Debug)]
pub(crate) struct Duplex {
    /// For reading.
    pub(crate) incoming: Incoming,
    /// For status updates.
    pub(crate) outgoing: Outgoing,
}

/// The reading half. Cancel-safe: bytes that were read stay here.
#[derive(Debug)]
pub(crate) struct Incoming {
    socket: Arc<TcpStream>,
    input: Input,
    pace: Pace,
}

/// The writing half.
#[derive(Debug)]
pub(crate) struct Outgoing {
    socket: Arc<TcpStream>,
}

impl Duplex {
    /// Of a socket that does not block.
    pub(crate) fn new(socket: Arc<TcpStream>, mut input: Input) -> Self {
        input.resize(LOG_INPUT);
        let outgoing = Outgoing { socket: Arc::clone(&socket) };
        Self { incoming: Incoming { socket, input, pace: Pace::default() }, outgoing }
    }
}

impl Outgoing {
    /// Sends all of it.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        socket::send(&self.socket, bytes).await
    }
}

impl Incoming {
    /// The first frame, if all of it is there.
    pub(crate) fn frame(&self) -> Result<Option<Frame>, Cause> {
        self.input.frame().map_err(lost)
    }

    /// What a frame holds.
    pub(crate) fn body(&self, frame: &Frame) -> &[u8] {
        self.input.body(frame)
    }

    /// The first frame is done with.
    pub(crate) fn consume(&mut self, frame: &Frame) {
        self.input.consume(frame);
    }

    /// Waits until there may be something to read.
    pub(crate) async fn readable(&self) -> Result<(), Cause> {
        socket::readable(&self.socket).await.map_err(lost)
    }

    /// Waits for the time of the next gulp.
    pub(crate) async fn pause(&mut self) {
        self.pace.wait().await;
    }

    /// A message that the server wrote at `clock` was understood.
    #[inline]
    pub(crate) fn saw(&mut self, clock: i64) {
        self.pace.saw(clock);
    }

    /// What was read is understood.
    #[expect(clippy::disallowed_methods, reason = "compared with the server's clock, both of them machines'")]
    pub(crate) fn gulped(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64);
        self.pace.gulped(now - EPOCH_MICROS);
    }

    /// Reads what is there; `false` where there is nothing now.
    pub(crate) fn fill(&mut self) -> Result<bool, Cause> {
        match self.input.fill(|into| (&*self.socket).read(into)) {
            Ok(0) => Err(Cause::Ended),
            Ok(count) => {
                self.pace.took(count);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                self.pace.ran_dry();
                Ok(false)
            }
            Err(error) => Err(lost(error)),
        }
    }
}
