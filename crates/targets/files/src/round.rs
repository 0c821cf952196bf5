//! The files of one round as they grow.
//!
//! A large batch goes to an open encoder, of which there are a few; small batches wait, up to a bound, and are encoded one
//! at a time: thousands of quiet tables cost one encoder, not thousands. Encoding and disk run on blocking threads.
//!
//! Invariant: a file holds rows of one table under one version, of the stream or of one part of one snapshot, in sequence
//! order; a part number is used once in a round.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow_array::Array;
use async_trait::async_trait;
use millrace_model::{Batch, Fault, OpCounts, Origin, RoundWriter, Sequence, StagedFile, TableName, Timestamp};
use tokio::task::JoinSet;

use crate::Lake;
use crate::encode::records::About;
use crate::encode::{EncodeError, Encoded, Encoder, Values};
use crate::fault::{Cause, lost_task, of_io, rule};
use crate::names::DataName;
use crate::settings::Settings;
use crate::store::Upload;

/// Small files that are encoded side by side.
const LANES: usize = 4;
/// Encoders that are open at once.
const OPEN_FILES: usize = 3;
/// Rows of this many bytes in memory open an encoder; fewer wait for others of their table.
const LARGE_BATCH: usize = 1 << 20;
/// Bytes in memory that may wait in small batches.
const WAITING_BYTES: usize = 8 << 20;

/// Which rows share a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Share {
    table: TableName,
    schema_version: u32,
    /// Id and anchor.
    snapshot: Option<(u64, Sequence)>,
}

/// A batch, and when it came.
struct Arrived {
    batch: Batch,
    at: Timestamp,
}

/// Batches of one file, oldest first.
#[derive(Default)]
struct Waiting {
    batches: Vec<Arrived>,
    bytes: usize,
}

/// A file that is being written.
struct OpenFile {
    share: Share,
    path: String,
    encoder: Encoder<Box<dyn Upload>>,
    values: Values,
    rows: u64,
    ops: OpCounts,
    sequences: Option<(Sequence, Sequence)>,
    commits: Option<(Timestamp, Timestamp)>,
}

/// Small files that are being encoded.
type Small = JoinSet<Result<(Box<dyn Upload>, StagedFile), Fault>>;
/// Files that are being published.
type Published = JoinSet<Result<(), Fault>>;

/// A round of the files target.
pub(crate) struct FilesRound {
    lake: Arc<Lake>,
    /// Kind of the source.
    connector: Arc<str>,
    claim: u64,
    number: u64,
    opened: Timestamp,
    next_part: u32,
    /// Least recently used first.
    open: VecDeque<OpenFile>,
    waiting: HashMap<Share, Waiting>,
    waiting_bytes: usize,
    staged: Vec<StagedFile>,
    /// Nothing has failed.
    sound: bool,
}

impl FilesRound {
    /// A round without files.
    pub(crate) fn new(lake: Arc<Lake>, connector: Arc<str>, claim: u64, number: u64, opened: Timestamp) -> Self {
        Self {
            lake,
            connector,
            claim,
            number,
            opened,
            next_part: 0,
            open: VecDeque::new(),
            waiting: HashMap::new(),
            waiting_bytes: 0,
            staged: Vec::new(),
            sound: true,
        }
    }

    fn check_sound(&self) -> Result<(), Fault> {
        if self.sound { Ok(()) } else { Err(rule(format!("round {} has failed", self.number))) }
    }

    async fn take(&mut self, arrived: Arrived, share: Share) -> Result<(), Fault> {
        if let Some(file) = self.take_open(&share) {
            return self.encode(file, arrived).await;
        }
        let bytes: usize = arrived.batch.columns.iter().map(Array::get_array_memory_size).sum();
        let waiting = self.waiting.entry(share.clone()).or_default();
        waiting.batches.push(arrived);
        waiting.bytes += bytes;
        self.waiting_bytes += bytes;
        if waiting.bytes >= LARGE_BATCH {
            return self.open_for_waiting(share).await;
        }
        if self.waiting_bytes > WAITING_BYTES {
            self.encode_waiting().await?;
        }
        Ok(())
    }

    /// Opens a file for what waits to be in it.
    async fn open_for_waiting(&mut self, share: Share) -> Result<(), Fault> {
        let Waiting { batches, bytes } = self.waiting.remove(&share).unwrap_or_default();
        self.waiting_bytes -= bytes;
        // Only the newest can hold a large value: without it there was less than that.
        let Some(newest) = batches.last() else { return Ok(()) };
        let mut file = self.open_file(share, &newest.batch).await?;
        for arrived in batches {
            file = self.fill(file, arrived).await?;
        }
        self.open.push_back(file);
        self.close_surplus().await
    }

    fn take_open(&mut self, share: &Share) -> Option<OpenFile> {
        let at = self.open.iter().position(|file| file.share == *share)?;
        self.open.remove(at)
    }

    /// Encodes what waits, table by table, each into a file that is closed at once. A few are encoded at a time, and as many
    /// published as the store likes: most of the time of a small file goes into waiting for it.
    async fn encode_waiting(&mut self) -> Result<(), Fault> {
        self.waiting_bytes = 0;
        let mut waiting: Vec<(Share, Waiting)> = std::mem::take(&mut self.waiting).into_iter().collect();
        waiting.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let (mut encoding, mut publishing) = (JoinSet::new(), JoinSet::new());
        for (share, Waiting { batches, .. }) in waiting {
            if encoding.len() >= LANES {
                self.publish_one(&mut encoding, &mut publishing).await?;
            }
            let path = self.next_path(&share);
            encoding.spawn(encode_small(Arc::clone(&self.lake), self.about(&path), share, path, batches));
        }
        while !encoding.is_empty() {
            self.publish_one(&mut encoding, &mut publishing).await?;
        }
        while let Some(published) = publishing.join_next().await {
            published.map_err(lost_task)??;
        }
        Ok(())
    }

    /// Waits for one encoded file and, where the store has enough to do, for a published one.
    async fn publish_one(&mut self, encoding: &mut Small, publishing: &mut Published) -> Result<(), Fault> {
        let Some(encoded) = encoding.join_next().await else { return Ok(()) };
        let (upload, staged) = encoded.map_err(lost_task)??;
        self.staged.push(staged);
        if publishing.len() >= self.lake.store.lanes()
            && let Some(published) = publishing.join_next().await
        {
            published.map_err(lost_task)??;
        }
        publishing.spawn(upload.publish());
        Ok(())
    }

    /// Encodes a batch into a file, which stays open.
    async fn encode(&mut self, file: OpenFile, arrived: Arrived) -> Result<(), Fault> {
        let file = self.fill(file, arrived).await?;
        self.open.push_back(file);
        Ok(())
    }

    /// Encodes a batch into a file and, where that is full, into the next parts; returns the last.
    async fn fill(&mut self, mut file: OpenFile, arrived: Arrived) -> Result<OpenFile, Fault> {
        let limit = self.lake.settings.file_max_bytes.get().max(1);
        let batch = &arrived.batch;
        if file.values == Values::Small && Values::of(batch, self.lake.settings.form.format) == Values::Large {
            let next = self.open_file(file.share.clone(), batch).await?;
            self.close(std::mem::replace(&mut file, next)).await?;
        }
        let arrived = Arc::new(arrived);
        let mut row = 0;
        loop {
            let rows = Arc::clone(&arrived);
            (file, row) = blocking(move || {
                let end = file.write(&rows, row, limit)?;
                Ok((file, end))
            })
            .await?;
            if row >= arrived.batch.rows() {
                return Ok(file);
            }
            let share = file.share.clone();
            let next = self.open_file(share, &arrived.batch).await?;
            self.close(std::mem::replace(&mut file, next)).await?;
        }
    }

    fn next_path(&mut self, share: &Share) -> String {
        let name = DataName::new(self.claim, self.number, self.next_part, self.opened);
        self.next_part += 1;
        name.path(&share.table, share.schema_version, self.lake.settings.form.ending())
    }

    fn about(&self, path: &str) -> About {
        let Settings { pipeline, instance, .. } = &self.lake.settings;
        let salt = format!("{instance} {path}");
        About { pipeline: pipeline.as_str().into(), connector: Arc::clone(&self.connector), salt }
    }

    async fn open_file(&mut self, share: Share, batch: &Batch) -> Result<OpenFile, Fault> {
        let path = self.next_path(&share);
        let upload = self.lake.store.begin(&path).await?;
        OpenFile::new(&self.lake, self.about(&path), (share, path), batch, upload)
    }

    /// Ends a file: its bytes are durable and have their name; the name's folder is synced with the round's others.
    async fn close(&mut self, file: OpenFile) -> Result<(), Fault> {
        let (upload, staged) = blocking(move || file.finish()).await?;
        upload.publish().await?;
        self.staged.push(staged);
        Ok(())
    }

    async fn close_surplus(&mut self) -> Result<(), Fault> {
        while self.open.len() > OPEN_FILES {
            if let Some(oldest) = self.open.pop_front() {
                self.close(oldest).await?;
            }
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<Vec<StagedFile>, Fault> {
        self.encode_waiting().await?;
        while let Some(file) = self.open.pop_front() {
            self.close(file).await?;
        }
        let paths: Vec<String> = self.staged.iter().map(|file| file.path.clone()).collect();
        if !paths.is_empty() {
            self.lake.store.settle(&paths).await?;
        }
        let mut staged = std::mem::take(&mut self.staged);
        staged.sort_by(|one, other| {
            one.table.cmp(&other.table).then_with(|| one.first_sequence.cmp(&other.first_sequence))
        });
        Ok(staged)
    }
}

#[async_trait]
impl RoundWriter for FilesRound {
    async fn write(&mut self, batch: Batch, schema_version: u32) -> Result<(), Fault> {
        self.check_sound()?;
        if batch.rows() == 0 {
            return Ok(());
        }
        let snapshot = match &batch.origin {
            Origin::Stream { .. } => None,
            Origin::Snapshot { id, sequence, .. } => Some((*id, *sequence)),
        };
        let share = Share { table: batch.schema.table.clone(), schema_version, snapshot };
        self.sound = false;
        let arrived = Arrived { batch, at: self.lake.clock.now() };
        self.take(arrived, share).await?;
        self.sound = true;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Vec<StagedFile>, Fault> {
        self.check_sound()?;
        self.end().await
    }
}

/// Encodes batches of one file that are small together. Why not roll to a next part: what waits is far smaller than a part.
async fn encode_small(
    lake: Arc<Lake>,
    about: About,
    share: Share,
    path: String,
    batches: Vec<Arrived>,
) -> Result<(Box<dyn Upload>, StagedFile), Fault> {
    let upload = lake.store.begin(&path).await?;
    blocking(move || {
        let Some(first) = batches.first() else { return Err(rule("a file without rows")) };
        let mut file = OpenFile::new(&lake, about, (share, path), &first.batch, upload)?;
        for arrived in &batches {
            file.write(arrived, 0, u64::MAX)?;
        }
        file.finish()
    })
    .await
}

impl OpenFile {
    /// A file whose first rows will be those of `batch`.
    fn new(
        lake: &Lake,
        about: About,
        (share, path): (Share, String),
        batch: &Batch,
        upload: Box<dyn Upload>,
    ) -> Result<Self, Fault> {
        let form = lake.settings.form;
        let values = Values::of(batch, form.format);
        let encoder = Encoder::new(&batch.schema, form, values, about, upload)
            .map_err(|error| encode_fault(&share.table, &path, error))?;
        Ok(Self { share, path, encoder, values, rows: 0, ops: OpCounts::default(), sequences: None, commits: None })
    }

    /// Encodes rows from `from` on until the file is full; returns the row it stopped at.
    fn write(&mut self, Arrived { batch, at }: &Arrived, from: usize, limit: u64) -> Result<usize, Fault> {
        let end = self
            .encoder
            .write(batch, *at, from, limit)
            .map_err(|error| encode_fault(&self.share.table, &self.path, error))?;
        if end > from {
            self.count(batch, from, end)?;
        }
        Ok(end)
    }

    fn count(&mut self, batch: &Batch, from: usize, end: usize) -> Result<(), Fault> {
        self.rows += (end - from) as u64;
        batch.ops.get(from..end).unwrap_or(&[]).iter().for_each(|&op| self.ops.count(op));
        let (first, last) = match &batch.origin {
            Origin::Snapshot { sequence, .. } => (*sequence, *sequence),
            Origin::Stream { sequences, runs } => {
                for (i, run) in runs.iter().enumerate() {
                    let next = runs.get(i + 1).map_or(usize::MAX, |next| next.first_row);
                    if run.first_row < end && next > from {
                        let (first, last) = self.commits.unwrap_or((run.commit, run.commit));
                        self.commits = Some((first.min(run.commit), last.max(run.commit)));
                    }
                }
                let at = |row: usize| Sequence(sequences.get(row).copied().unwrap_or_default() as u64);
                let (first, last) = (at(from), at(end - 1));
                if self.sequences.is_some_and(|(_, before)| before >= first) {
                    return Err(rule(format!("rows of `{}` come out of order", self.share.table)));
                }
                (first, last)
            }
        };
        self.sequences = Some((self.sequences.map_or(first, |(first, _)| first), last));
        Ok(())
    }

    fn finish(self) -> Result<(Box<dyn Upload>, StagedFile), Fault> {
        let Self { share, path, encoder, rows, ops, sequences, commits, .. } = self;
        let Encoded { output, bytes, sha256 } =
            encoder.finish().map_err(|error| encode_fault(&share.table, &path, error))?;
        let (first_sequence, last_sequence) = sequences.unwrap_or_default();
        let staged = StagedFile {
            path,
            table: share.table,
            schema_version: share.schema_version,
            rows,
            ops,
            bytes,
            sha256,
            first_sequence,
            last_sequence,
            first_commit: commits.map(|(first, _)| first),
            last_commit: commits.map(|(_, last)| last),
            snapshot: share.snapshot.map(|(id, _)| id),
        };
        Ok((output, staged))
    }
}

/// Runs encoding where it blocks nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(lost_task)?
}

/// A store says itself what is wrong, and a full disk is the disk's matter; all else is a mistake of ours.
fn encode_fault(table: &TableName, path: &str, error: EncodeError) -> Fault {
    match error {
        EncodeError::Output(io) => match io.downcast::<Fault>() {
            Ok(fault) => fault,
            Err(io) => of_io("write", path, io).into(),
        },
        EncodeError::Rows(cause) => Cause::Encode { table: table.to_string(), cause }.into(),
    }
}
