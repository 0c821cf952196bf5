//! How fast the log is read: in gulps with pauses between them, because the reader's pace sets the sender's speed.
//!
//! The server makes one small send for each change. While our receive window is open, each of them crosses the whole
//! network stack and lies in our queue as a packet of its own; while it is closed, they only append to the server's socket
//! buffer and leave as large segments. So the receive buffer is small and is left full most of the time: a gulp empties it
//! once, what has gathered in the server's buffer fills it at once, and a pause follows. Too long a pause would let the
//! server's buffer (up to 4 MiB) fill, and the server stand still.
//!
//! How much has gathered there is known from the server's own clock: each message says when it was written, so its age
//! when we read it, times the rate of the stream, is what lies between. The difference of the two clocks is what the age
//! was when the stream was last read dry. A stream that brings nothing is waited for without a pause.

use std::time::Duration;

use tokio::time::Instant;

/// Size of the receive buffer that is asked for; the kernel doubles it for its own needs. A smaller one starves the server,
/// a larger one keeps the window open.
pub(crate) const RECEIVE_BUFFER: u32 = 256 << 10;
/// Between two gulps. The timer's grain is 1 ms.
const PAUSE: Duration = Duration::from_millis(2);
/// Between two gulps while too little has gathered.
const LONG_PAUSE: Duration = Duration::from_millis(4);
/// What shall have gathered: below it the window is open too often, above it the server may soon have to wait.
const GATHERED: std::ops::Range<f64> = 400e3..1200e3;
/// The rate is a mean over about so long.
const RATE_WINDOW: f64 = 0.05;

/// The pace of one stream.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    resume: Option<Instant>,
    /// Bytes since the last gulp's end, and when that was.
    taken: u64,
    since: Option<Instant>,
    /// Bytes a second.
    rate: f64,
    /// When the newest message was written, by the server's clock in µs.
    written: i64,
    /// Age of the newest message, in µs, when the stream was last read dry: the difference of the clocks.
    skew: Option<i64>,
    dry: bool,
}

impl Pace {
    /// Waits for the next gulp. Cancel-safe.
    pub(crate) async fn wait(&mut self) {
        if let Some(resume) = self.resume {
            tokio::time::sleep_until(resume).await;
            self.resume = None;
        }
    }

    /// So many bytes were read.
    pub(crate) fn took(&mut self, count: usize) {
        self.taken += count as u64;
    }

    /// A message that the server wrote at `clock` was understood.
    #[inline]
    pub(crate) fn saw(&mut self, clock: i64) {
        self.written = clock;
    }

    /// A gulp is understood: sets the pause before the next. `now` is our wall clock in the server's measure.
    pub(crate) fn gulped(&mut self, now: i64) {
        if self.taken == 0 {
            return;
        }
        let moment = Instant::now();
        if let Some(since) = self.since {
            let seconds = (moment - since).as_secs_f64().max(1e-6);
            let weight = (seconds / RATE_WINDOW).min(1.0);
            self.rate += (self.taken as f64 / seconds - self.rate) * weight;
        }
        self.since = Some(moment);
        self.taken = 0;
        let age = now - self.written;
        // What comes after the stream was read dry was written just now.
        let skew = if std::mem::take(&mut self.dry) { age } else { self.skew.unwrap_or(age).min(age) };
        self.skew = Some(skew);
        let gathered = (age - skew).max(0) as f64 / 1e6 * self.rate;
        self.resume = if gathered >= GATHERED.end {
            None
        } else if gathered < GATHERED.start {
            Some(moment + LONG_PAUSE)
        } else {
            Some(moment + PAUSE)
        };
    }

    /// There was nothing to read: all that was written is here.
    pub(crate) fn ran_dry(&mut self) {
        self.dry = true;
    }
}
