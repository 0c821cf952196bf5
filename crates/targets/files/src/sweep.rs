//! S5: deleting what no commit will ever name, and what has left the lake long enough.
//!
//! Only data files of *earlier* writers go, and only after the claim: from then on no commit of an earlier writer can come.
//! Why not the own ones: a file of a round that is under way is named by no commit yet. Why not state files: they are named
//! by content, and another writer may have found one a moment ago and name it next. Under `_millrace/` nothing is ever
//! deleted but what is unfinished in `tmp/`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use millrace_model::{Fault, Sweeper, Timestamp};

use crate::Lake;
use crate::commit_json::CommitJson;
use crate::head::read_commit;
use crate::names::{DataName, TMP_FOLDER};
use crate::store::{EntryKind, Store};
use crate::walk::data_files;

/// How long removed files are kept for readers in flight, and unfinished ones for a writer that may still live.
const KEPT: i64 = 24 * 3600 * 1_000_000;
const HOUR: i64 = 3600 * 1_000_000;

/// Sweeps for the writer of one claim.
pub(crate) struct FilesSweeper {
    lake: Arc<Lake>,
    claim: u64,
    /// The writer's newest confirmed commit.
    confirmed: AtomicU64,
    /// What is remembered between sweeps.
    removed: tokio::sync::Mutex<RemovedFiles>,
}

impl FilesSweeper {
    pub(crate) fn new(lake: Arc<Lake>, claim: u64) -> Self {
        Self { lake, claim, confirmed: AtomicU64::new(claim), removed: Default::default() }
    }

    /// Tells how far the chain has come.
    pub(crate) fn confirmed(&self, commit: u64) {
        self.confirmed.store(commit, Ordering::Relaxed);
    }
}

#[async_trait]
impl Sweeper for FilesSweeper {
    async fn sweep(&self) -> Result<u64, Fault> {
        let store = &*self.lake.store;
        let now = self.lake.clock.now();
        let mut deleted = sweep_leftovers(store, self.claim).await?;
        let mut known = self.removed.lock().await;
        deleted += delete_removed(store, self.confirmed.load(Ordering::Relaxed), now, &mut known).await?;
        sweep_unfinished(store, now).await?;
        Ok(deleted)
    }
}

#[derive(Debug, Default)]
struct RemovedFiles {
    /// Commits up to this one were looked through.
    seen: u64,
    /// With the time of the commit that removed them.
    waiting: Vec<(Timestamp, Vec<String>)>,
}

/// An earlier writer: how far back leftovers of its can lie.
struct EarlierWriter {
    claim: u64,
    last_commit: u64,
    /// The hour before the one in which its last committed round, else its claim, opened: `2026-11-22/13`.
    since: String,
}

async fn sweep_leftovers(store: &dyn Store, claim: u64) -> Result<u64, Fault> {
    let writers = earlier_writers(store, claim).await?;
    let Some(since) = writers.values().map(|writer| writer.since.as_str()).min() else { return Ok(0) };
    let mut candidates: HashMap<u64, Vec<(DataName, String)>> = HashMap::new();
    for file in data_files(store, since).await? {
        let Some(name) = DataName::parse(&file.path) else { continue };
        let Some(writer) = writers.get(&name.claim) else { continue };
        if format!("{}/{}", name.date, name.hour) >= writer.since {
            candidates.entry(name.claim).or_default().push((name, file.path));
        }
    }
    let mut deleted = 0;
    for (claim, files) in candidates {
        let Some(writer) = writers.get(&claim) else { continue };
        let first_round = files.iter().map(|(name, _)| name.round).min().unwrap_or(0);
        let named = named_from(store, writer, first_round).await?;
        for (_, path) in files.iter().filter(|(_, path)| !named.contains(path)) {
            store.delete(path).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// The writers before `claim`, by their claims. Their part of the chain can grow no more.
async fn earlier_writers(store: &dyn Store, claim: u64) -> Result<HashMap<u64, EarlierWriter>, Fault> {
    let mut writers = HashMap::new();
    let mut number = claim.saturating_sub(1);
    while number > 0 {
        let newest = read_commit(store, number).await?.commit;
        let its_claim = newest.writer.claim;
        let writer = EarlierWriter { claim: its_claim, last_commit: number, since: hour_before(&newest) };
        writers.insert(its_claim, writer);
        // A claim is never above its commits; were it, this must end all the same.
        number = its_claim.min(number).saturating_sub(1);
    }
    Ok(writers)
}

/// The hour before the one in which a commit's round opened. Its files say when that was; without any it was before it was
/// written, and rounds are not open for long: the hour before covers it.
fn hour_before(commit: &CommitJson) -> String {
    let opened = commit.files.first().and_then(|file| DataName::parse(&file.path)).and_then(|name| {
        let (date, hour) = (name.date, name.hour);
        Timestamp::parse(&format!("{date}T{hour}:00:00Z"))
    });
    let (date, hour) = Timestamp(opened.unwrap_or(commit.written_at).0 - HOUR).date_and_hour();
    format!("{date}/{hour}")
}

/// The files that an earlier writer's commits name, as far back as files of round `first_round` and later can be named.
///
/// A snapshot's chunk takes a number of its own while a round is open and is named by that round's commit: the newest of a
/// lower number can be the one.
async fn named_from(store: &dyn Store, writer: &EarlierWriter, first_round: u64) -> Result<HashSet<String>, Fault> {
    let mut named = HashSet::new();
    for number in (writer.claim..=writer.last_commit).rev() {
        let commit = read_commit(store, number).await?.commit;
        named.extend(commit.files.into_iter().map(|file| file.path));
        if commit.writer.round < first_round {
            break;
        }
    }
    Ok(named)
}

/// Deletes files that a commit removed over a day ago.
async fn delete_removed(
    store: &dyn Store,
    confirmed: u64,
    now: Timestamp,
    known: &mut RemovedFiles,
) -> Result<u64, Fault> {
    let mut deleted = 0;
    for number in known.seen + 1..=confirmed {
        let commit = read_commit(store, number).await?.commit;
        if !commit.removed.is_empty() {
            known.waiting.push((commit.written_at, commit.removed));
        }
        known.seen = number;
    }
    // Oldest first; what could not be deleted is tried again by the next sweep.
    while let Some((_, paths)) = known.waiting.first().filter(|(removed, _)| now.0 - removed.0 > KEPT) {
        for path in paths.iter().filter(|path| DataName::parse(path).is_some()) {
            if store.size(path).await?.is_some() {
                store.delete(path).await?;
                deleted += 1;
            }
        }
        known.waiting.remove(0);
    }
    Ok(deleted)
}

/// Deletes unfinished files that nobody can be writing any more.
async fn sweep_unfinished(store: &dyn Store, now: Timestamp) -> Result<(), Fault> {
    for entry in store.list(TMP_FOLDER).await? {
        if let EntryKind::File { modified, .. } = entry.kind
            && now.0 - modified.0 > KEPT
        {
            store.delete(&format!("{TMP_FOLDER}/{}", entry.name)).await?;
        }
    }
    Ok(())
}
