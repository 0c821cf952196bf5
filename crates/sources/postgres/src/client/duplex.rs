//! A connection in COPY BOTH: the half that reads frames of the log. The other half belongs to `replies`.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::client::input::{Frame, Input};
use crate::client::pace::Pace;
use crate::client::session::lost;
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
    pub(crate) outgoing: OwnedWriteHalf,
}

/// The reading half. Cancel-safe: bytes that were read stay here.
#[derive(Debug)]
pub(crate) struct Incoming {
    half: OwnedReadHalf,
    input: Input,
    pace: Pace,
}

impl Duplex {
    pub(crate) fn new(stream: TcpStream, mut input: Input) -> Self {
        let (half, outgoing) = stream.into_split();
        input.resize(LOG_INPUT);
        Self { incoming: Incoming { half, input, pace: Pace::default() }, outgoing }
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
        self.half.readable().await.map_err(lost)
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
        match self.input.fill(|into| self.half.try_read(into)) {
            Ok(0) => Err(Cause::Ended),
            Ok(count) => {
                self.pace.took(count);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.pace.ran_dry();
                Ok(false)
            }
            Err(error) => Err(lost(error)),
        }
    }
}
