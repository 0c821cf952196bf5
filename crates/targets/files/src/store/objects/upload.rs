//! A data file on its way: small ones in one request, larger ones in pieces that leave while the encoder goes on.
//!
//! Memory: the open end of each file is at most one piece, and the pieces under way of all files together are as many as
//! the store has permits. Whoever writes faster than the service takes waits for a permit: on its blocking thread, which is
//! where encoders run.
//!
//! Repeating is safe although a name may be given once: no two contents ever share a data name (`names.rs`), so a name that
//! is taken is ours if it has our size: by an unanswered request of ours, or by one that something on the way has sent twice.

use std::io::{self, Write};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_model::Fault;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::retry::{patiently, pause};
use super::{Answer, Deed, ObjectStore, Purpose, When};
use crate::fault::lost_task;
use crate::store::Upload;

/// Times that a file's last step is tried.
const ATTEMPTS: u32 = 5;
/// Memory that a file takes at first; most are small.
const LEAST: usize = 32 << 10;

/// Consecutive bytes of an upload.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// From 1 on.
    pub(crate) number: usize,
    /// Bytes before it.
    pub(crate) offset: u64,
    /// None follows.
    pub(crate) is_last: bool,
    /// Itself.
    pub(crate) bytes: Bytes,
}

/// The request that gives a file its name.
enum Last {
    /// All of it.
    Whole(Bytes),
    /// What was said of its pieces.
    List(Vec<String>),
}

/// A data file on its way.
pub(super) struct Growing {
    store: ObjectStore,
    key: String,
    runtime: Handle,
    /// Not sent yet. Full, it still waits for one more byte, so that the last piece is never empty.
    end: Vec<u8>,
    sent: u64,
    pieces: usize,
    /// The upload, once there is more than one piece.
    upload: Option<Arc<str>>,
    at_once: Arc<Semaphore>,
    under_way: JoinSet<Result<(usize, String), Answer>>,
    arrived: Vec<(usize, String)>,
}

impl Growing {
    /// Sends nothing yet. Called on a runtime.
    pub(super) fn new(store: ObjectStore, key: String) -> Self {
        let at_once = Arc::new(Semaphore::new(store.objects.pieces().at_once));
        Self {
            store,
            key,
            runtime: Handle::current(),
            end: Vec::new(),
            sent: 0,
            pieces: 0,
            upload: None,
            at_once,
            under_way: JoinSet::new(),
            arrived: Vec::new(),
        }
    }

    /// Sends what is there as the next piece; returns once it is under way.
    async fn send(&mut self, is_last: bool) -> Result<(), Answer> {
        let upload = match &self.upload {
            Some(upload) => Arc::clone(upload),
            None => {
                let upload: Arc<str> = patiently(|| self.store.objects.begin(&self.key)).await?.into();
                self.upload = Some(Arc::clone(&upload));
                upload
            }
        };
        while let Some(arrived) = self.under_way.try_join_next() {
            self.arrived.push(joined(arrived)?);
        }
        self.pieces += 1;
        let bytes = Bytes::from(std::mem::take(&mut self.end));
        let piece = Piece { number: self.pieces, offset: self.sent, is_last, bytes };
        self.sent += piece.bytes.len() as u64;
        // Its own turn first: what waits for it must not keep others from sending.
        let turn = permit(&self.at_once).await?;
        let memory = permit(&self.store.sending).await?;
        let (objects, key) = (Arc::clone(&self.store.objects), self.key.clone());
        self.under_way.spawn_on(
            async move {
                let said = objects.piece(&key, &upload, &piece).await?;
                drop((turn, memory));
                Ok((piece.number, said))
            },
            &self.runtime,
        );
        Ok(())
    }

    /// Sends the last piece and makes an object of all.
    async fn complete(&mut self) -> Result<(), Answer> {
        self.send(true).await?;
        while let Some(arrived) = self.under_way.join_next().await {
            self.arrived.push(joined(arrived)?);
        }
        self.arrived.sort_unstable();
        let pieces: Vec<String> = std::mem::take(&mut self.arrived).into_iter().map(|(_, said)| said).collect();
        self.settle(Last::List(pieces)).await
    }

    /// Gives the file its name, asking again where no answer comes.
    async fn settle(&self, last: Last) -> Result<(), Answer> {
        let (objects, key) = (&self.store.objects, self.key.as_str());
        let mut unanswered = false;
        for attempt in 0..ATTEMPTS {
            let answer = match (&last, &self.upload) {
                (Last::Whole(bytes), _) => objects.put(key, bytes.clone(), When::Free, Purpose::Rows).await,
                (Last::List(pieces), Some(upload)) => objects.complete(key, upload, pieces).await,
                (Last::List(_), None) => Err(Answer::Missing),
            };
            match answer {
                Err(answer) if answer.is_later() && attempt + 1 < ATTEMPTS => {
                    unanswered = true;
                    pause(attempt).await;
                }
                // The first of two requests has done it: the name is taken, or the upload is no more.
                Err(answer) if answer == Answer::Taken || (unanswered && answer == Answer::Missing) => {
                    let found = patiently(|| self.store.objects.size(&self.key)).await?;
                    return if found == Some(self.sent) { Ok(()) } else { Err(answer) };
                }
                other => return other,
            }
        }
        Ok(())
    }
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = self.store.objects.pieces().bytes;
        if self.end.len() >= piece {
            let runtime = self.runtime.clone();
            if let Err(answer) = runtime.block_on(self.send(false)) {
                let fault = runtime.block_on(self.store.fault(Deed::Write, &self.key, answer));
                return Err(io::Error::other(fault));
            }
        }
        let taken = bytes.len().min(piece - self.end.len());
        if self.end.capacity() - self.end.len() < taken {
            // Doubled, but never beyond a piece: that is what is counted on.
            let capacity = (self.end.capacity() * 2).max(self.end.len() + taken).max(LEAST).min(piece);
            self.end.reserve_exact(capacity - self.end.len());
        }
        self.end.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Upload for Growing {
    async fn publish(mut self: Box<Self>) -> Result<(), Fault> {
        let done = if self.upload.is_some() {
            self.complete().await
        } else {
            let bytes = Bytes::from(std::mem::take(&mut self.end));
            self.sent = bytes.len() as u64;
            self.settle(Last::Whole(bytes)).await
        };
        match done {
            Ok(()) => {
                self.upload = None;
                Ok(())
            }
            Err(answer) => Err(self.store.fault(Deed::Write, &self.key, answer).await),
        }
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        self.under_way.abort_all();
        let (objects, key) = (Arc::clone(&self.store.objects), std::mem::take(&mut self.key));
        // What this does not reach, the next writer's sweep does.
        self.runtime.spawn(async move { objects.abort(&key, &upload).await });
    }
}

async fn permit(of: &Arc<Semaphore>) -> Result<tokio::sync::OwnedSemaphorePermit, Answer> {
    Arc::clone(of).acquire_owned().await.map_err(|closed| Answer::Later(closed.to_string()))
}

fn joined(arrived: Result<Result<(usize, String), Answer>, tokio::task::JoinError>) -> Result<(usize, String), Answer> {
    arrived.map_err(lost_task).map_err(Answer::from)?
}
