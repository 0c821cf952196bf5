//! S5: deleting what no commit will ever name, and what has left the lake long enough. Before that it writes the archives that
//! are due, which makes the way back through the chain a short one.
//!
//! Only data files of *earlier* writers go, and only after the claim: from then on no commit of an earlier writer can come.
//! Why not the own ones: a file of a round that is under way is named by no commit yet. Why not state files: they are named
//! by content, and another writer may have found one a moment ago and name it next. Under `_millrace/` nothing is ever
//! deleted but what is unfinished in `tmp/`.
//!
//! A lake can be years old, so a sweep goes over chain and folders in small steps, rests after each, goes on where it was
//! when it is called again after a fault, and remembers 24 bytes for each earlier writer (`leftovers`) and 16 for each
//! commit of the last day that removed something (`removed`).

mod leftovers;
mod removed;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millrace_model::{Fault, Sweeper, Timestamp};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::Lake;
use crate::ahead::SPAN;
use crate::archive::{Archives, Writing};
use crate::fault::{damaged, rule};
use crate::head::{highest, read_commit};
use crate::names::{ARCHIVE_FOLDER, ARCHIVED, DataName, TMP_FOLDER, archive_first, commit_path};
use crate::store::{EntryKind, Store};
use leftovers::Leftovers;
use removed::Removed;

/// How long removed files are kept for readers in flight, and unfinished ones for a writer that may still live.
const KEPT: i64 = 24 * HOUR;
const HOUR: i64 = 3600 * 1_000_000;
/// A sweep rests once it has worked so long,
const SPELL: Duration = Duration::from_millis(10);
/// so many times as long, so that the stream keeps disk and processor,
const REST: u32 = 4;
/// but never longer than this: a store that hangs for once is no reason to.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Sweeps for the writer of one claim.
pub(crate) struct FilesSweeper {
    lake: Arc<Lake>,
    claim: u64,
    /// The writer's newest confirmed commit.
    confirmed: watch::Sender<u64>,
    /// What is remembered between sweeps; only one goes on at a time.
    known: Mutex<(Leftovers, Removed)>,
}

impl FilesSweeper {
    pub(crate) fn new(lake: Arc<Lake>, claim: u64) -> Self {
        let known = Mutex::new((Leftovers::before(claim), Removed::around(claim)));
        Self { lake, claim, confirmed: watch::Sender::new(claim), known }
    }

    /// Tells how far the chain has come.
    pub(crate) fn confirmed(&self, commit: u64) {
        self.confirmed.send_replace(commit);
    }

    /// Waits for the first commit after the claim.
    ///
    /// Why: where a commit has got lost, a head search can end before the hole. The claim falls into it, and to its writer
    /// all files that the commits beyond name look like leftovers. Whoever appends once more meets the next of them.
    async fn appended(&self) -> Result<(), Fault> {
        let mut confirmed = self.confirmed.subscribe();
        let appended = confirmed.wait_for(|commit| *commit > self.claim).await;
        appended.map(drop).map_err(|gone| rule("a sweeper outlives itself").because(gone))
    }

    /// Whether this writer's newest commit is the newest of all. A commit beyond a wider hole is damage.
    async fn stands_at_the_end(&self) -> Result<bool, Fault> {
        let store = &*self.lake.store;
        let known = *self.confirmed.borrow();
        let highest = highest(store, known).await?;
        // Looked at after the listing: the stream goes on meanwhile.
        let confirmed = *self.confirmed.borrow();
        if highest <= confirmed {
            return Ok(true);
        }
        let next = commit_path(confirmed + 1);
        if store.size(&next).await?.is_none() {
            return Err(damaged(&next, format!("it is not there, and commit {highest} is")));
        }
        // Our own that is not confirmed yet, or that of a later writer: the sweep is its affair then.
        let writer = read_commit(store, confirmed + 1).await?.commit.writer;
        Ok(highest == confirmed + 1 && writer.claim == self.claim)
    }
}

#[async_trait]
impl Sweeper for FilesSweeper {
    async fn sweep(&self) -> Result<u64, Fault> {
        self.appended().await?;
        let mut known = self.known.lock().await;
        if !self.stands_at_the_end().await? {
            return Ok(0);
        }
        let store = &*self.lake.store;
        let now = self.lake.clock.now();
        let (leftovers, removed) = &mut *known;
        let mut pace = Pace::new();
        let confirmed = *self.confirmed.borrow();
        write_archives(&self.lake.store, confirmed, &mut pace).await?;
        let deleted = leftovers.sweep(store, now, &mut pace).await?;
        let confirmed = *self.confirmed.borrow();
        let deleted = deleted + removed.sweep(store, confirmed, now, &mut pace).await?;
        sweep_unfinished(store, now).await?;
        store.give_up(&|path| is_over(path, self.claim, confirmed)).await?;
        Ok(deleted)
    }
}

/// Whether nobody needs an upload under this name any more: of rows, where an earlier writer has begun it, which can name
/// nothing now; of an archive, where that is there already.
fn is_over(path: &str, claim: u64, confirmed: u64) -> bool {
    let of_archive = || archive_first(path.strip_prefix(ARCHIVE_FOLDER)?.strip_prefix('/')?);
    match DataName::parse(path) {
        Some(name) => name.claim < claim,
        None => of_archive().is_some_and(|first| first + ARCHIVED - 1 <= confirmed),
    }
}

/// Lets a long work rest most of the time.
struct Pace {
    since: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now() }
    }

    /// After each small step.
    async fn step(&mut self) {
        let worked = self.since.elapsed();
        if worked >= SPELL {
            tokio::time::sleep(LONGEST_REST.min(worked * REST)).await;
            self.since = Instant::now();
        }
    }
}

/// Writes the archives of which the last commit is there and that are not.
async fn write_archives(store: &Arc<dyn Store>, confirmed: u64, pace: &mut Pace) -> Result<(), Fault> {
    for first in Archives::find(&**store).await?.missing(confirmed) {
        let mut archive = Writing::begin(store, first).await?;
        let mut next = first;
        while next < first + ARCHIVED {
            let span: Vec<u64> = (next..first + ARCHIVED).take(SPAN).collect();
            next += span.len() as u64;
            archive = archive.add(&span).await?;
            pace.step().await;
        }
        archive.publish().await?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::archive_path;

    #[test]
    fn an_upload_is_over_where_nothing_can_need_it_any_more() {
        let of_rows = "shop/public/orders/v0001/2026-01-02/03/000000000007-000001-0000.parquet";
        assert!(is_over(of_rows, 8, 0) && !is_over(of_rows, 7, u64::MAX));
        let archive = archive_path(ARCHIVED + 1);
        assert!(is_over(&archive, 0, 2 * ARCHIVED) && !is_over(&archive, u64::MAX, 2 * ARCHIVED - 1));
        assert!(!is_over("_millrace/commits/00000000/000000000001.json", u64::MAX, u64::MAX));
    }
}
