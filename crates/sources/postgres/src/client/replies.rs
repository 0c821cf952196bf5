//! The replier: a task of its own that owns the writing half of a log's connection and tells the server where we are.
//!
//! Nothing can block it: not a reader that waits for its target, not the target. It is what keeps the slot ours while a
//! large commit takes its time. Only the flushed position moves the slot, and it is only ever a released one; it never goes
//! back (manual, "Streaming Replication Protocol", Standby status update).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::client::duplex::Outgoing;
use crate::position::{EPOCH_MICROS, Lsn};

/// The server hears from us at least this often.
const LONGEST_PERIOD: Duration = Duration::from_secs(10);

/// What the replier is to say.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    flushed: AtomicU64,
    received: AtomicU64,
    ask: AtomicBool,
    finish: AtomicBool,
    wake: Notify,
}

/// The task; it ends with this.
#[derive(Debug)]
pub(crate) struct Replier {
    replies: Arc<Replies>,
    task: JoinHandle<()>,
}

impl Replies {
    /// Everything up to `lsn` may be forgotten; said at once. The highest ever said wins.
    pub(crate) fn flushed(&self, lsn: Lsn) {
        if self.flushed.fetch_max(lsn.0, Ordering::AcqRel) < lsn.0 {
            self.wake.notify_one();
        }
    }

    /// Everything up to `lsn` has been read; said with the next status.
    pub(crate) fn received(&self, lsn: Lsn) {
        self.received.fetch_max(lsn.0, Ordering::AcqRel);
    }

    /// How far that is.
    pub(crate) fn read(&self) -> Lsn {
        Lsn(self.received.load(Ordering::Acquire).max(self.flushed.load(Ordering::Acquire)))
    }

    /// Says where we are now.
    pub(crate) fn answer(&self) {
        self.wake.notify_one();
    }

    /// Says where we are, and asks the server to say where it is.
    pub(crate) fn ask(&self) {
        self.ask.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    #[expect(clippy::disallowed_methods, reason = "the protocol wants the machine's time")]
    fn status(&self) -> BytesMut {
        let flushed = self.flushed.load(Ordering::Acquire);
        let received = self.received.load(Ordering::Acquire).max(flushed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64);
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(b'd');
        out.put_u32(4 + 1 + 4 * 8 + 1);
        out.put_u8(b'r');
        out.put_u64(received);
        out.put_u64(flushed);
        out.put_u64(flushed);
        out.put_i64(now - EPOCH_MICROS);
        out.put_u8(u8::from(self.ask.swap(false, Ordering::AcqRel)));
        out
    }
}

impl Replier {
    /// Starts to reply, three times within the time that the server waits for us.
    #[expect(clippy::disallowed_methods, reason = "whoever drops the replier ends its task")]
    pub(crate) fn start(outgoing: Outgoing, sender_timeout: Option<Duration>) -> Self {
        let replies = Arc::new(Replies::default());
        let period = sender_timeout.map_or(LONGEST_PERIOD, |timeout| LONGEST_PERIOD.min(timeout / 3));
        let task = tokio::spawn(reply(Arc::clone(&replies), outgoing, period));
        Self { replies, task }
    }

    /// What it says.
    pub(crate) fn replies(&self) -> &Arc<Replies> {
        &self.replies
    }

    /// Says a last time where we are, and that no more will come.
    pub(crate) fn finish(&self) {
        self.replies.finish.store(true, Ordering::Release);
        self.replies.wake.notify_one();
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends when it is told to, or with the connection, which the reader notices by itself.
async fn reply(replies: Arc<Replies>, outgoing: Outgoing, period: Duration) {
    loop {
        let _woken_or_due = tokio::time::timeout(period, replies.wake.notified()).await;
        let finish = replies.finish.load(Ordering::Acquire);
        let mut out = replies.status();
        if finish {
            postgres_protocol::message::frontend::copy_done(&mut out);
        }
        if outgoing.send(&out).await.is_err() {
            return;
        }
        if finish {
            // The half stays open until the task is ended, so that the server can answer.
            return std::future::pending().await;
        }
    }
}
