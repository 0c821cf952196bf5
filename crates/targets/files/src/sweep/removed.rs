//! Files that a commit has listed as removed, a day later.
//!
//! Only commits say what is removed, so each is read once a process: backwards from the claim, because what an earlier
//! process may not have come to lies there, and forwards as the chain grows. Invariant: a commit counts as seen only once
//! its files are deleted or it waits for its day to end.

use std::collections::VecDeque;

use millrace_model::{Fault, Timestamp};

use super::{KEPT, Pace};
use crate::ahead::SPAN;
use crate::archive::{Archives, deeds};
use crate::commit_json::CommitJson;
use crate::fault::{damaged, lost_task};
use crate::head::read_commit;
use crate::names::{ARCHIVED, DataName, archive_path, commit_path};
use crate::store::Store;

/// What is known of removed files.
pub(super) struct Removed {
    /// Commits up to this one, from 1 on, were not looked through yet.
    unseen: u64,
    /// Commits beyond this one neither.
    seen: u64,
    /// Commits that removed something less than a day ago, and when. Their lists are read again when they are due.
    waiting: VecDeque<(Timestamp, u64)>,
}

impl Removed {
    /// Nothing is known yet of what lies before and after a claim.
    pub(super) fn around(claim: u64) -> Self {
        Self { unseen: claim, seen: claim, waiting: VecDeque::new() }
    }

    /// Deletes what is due in the commits up to `confirmed`.
    pub(super) async fn sweep(
        &mut self,
        store: &dyn Store,
        confirmed: u64,
        now: Timestamp,
        pace: &mut Pace,
    ) -> Result<u64, Fault> {
        let mut deleted = 0;
        for _ in 0..self.waiting.len() {
            let Some(&(removed, number)) = self.waiting.front() else { break };
            if is_due(removed, now) {
                let commit = read_commit(store, number).await?.commit;
                deleted += delete(store, &commit.removed, pace).await?;
                self.waiting.pop_front();
            } else {
                self.waiting.rotate_left(1);
            }
        }
        while self.seen < confirmed {
            let span: Vec<u64> = (self.seen + 1..=confirmed).take(SPAN).collect();
            for commit in read_span(store, &span).await? {
                deleted += self.see(store, &commit, now, pace).await?;
                self.seen = commit.commit;
            }
            pace.step().await;
        }
        let archives = if self.unseen > 0 { Archives::find(store).await? } else { Archives::default() };
        while self.unseen > 0 {
            let first = self.unseen - (self.unseen - 1) % ARCHIVED;
            if self.unseen == first + ARCHIVED - 1 && archives.has(first) {
                for number in removers(store, first).await?.into_iter().rev() {
                    let commit = read_commit(store, number).await?.commit;
                    deleted += self.see(store, &commit, now, pace).await?;
                    pace.step().await;
                }
                self.unseen = first - 1;
                continue;
            }
            let span: Vec<u64> = (first..=self.unseen).rev().take(SPAN).collect();
            for commit in read_span(store, &span).await? {
                deleted += self.see(store, &commit, now, pace).await?;
                self.unseen = commit.commit - 1;
            }
            pace.step().await;
        }
        Ok(deleted)
    }

    async fn see(
        &mut self,
        store: &dyn Store,
        commit: &CommitJson,
        now: Timestamp,
        pace: &mut Pace,
    ) -> Result<u64, Fault> {
        if commit.removed.is_empty() {
            return Ok(0);
        }
        if is_due(commit.written_at, now) {
            return delete(store, &commit.removed, pace).await;
        }
        self.waiting.push_back((commit.written_at, commit.commit));
        Ok(0)
    }
}

fn is_due(removed: Timestamp, now: Timestamp) -> bool {
    now.0 - removed.0 > KEPT
}

async fn read_span(store: &dyn Store, span: &[u64]) -> Result<Vec<CommitJson>, Fault> {
    let found = store.read_many(span.iter().map(|number| commit_path(*number)).collect()).await?;
    let commits = span.iter().zip(found).map(|(&number, bytes)| match bytes {
        Some(bytes) => CommitJson::parse(number, &bytes),
        None => Err(damaged(&commit_path(number), "it is not there")),
    });
    commits.collect()
}

/// The commits of an archive that have removed something. What they have removed, only they are asked for: an archive that
/// is wrong may hide something from the sweep, but not have it deleted.
async fn removers(store: &dyn Store, first: u64) -> Result<Vec<u64>, Fault> {
    let path = archive_path(first);
    let bytes = store.read(&path).await?.ok_or_else(|| damaged(&path, "it is not there"))?;
    let read = move || {
        let removers = deeds(first, bytes).filter_map(|deed| match deed {
            Ok(deed) => (!deed.removed.is_empty()).then_some(Ok(deed.commit)),
            Err(fault) => Some(Err(fault)),
        });
        removers.collect()
    };
    tokio::task::spawn_blocking(read).await.map_err(lost_task)?
}

async fn delete(store: &dyn Store, paths: &[String], pace: &mut Pace) -> Result<u64, Fault> {
    let mut deleted = 0;
    for path in paths.iter().filter(|path| DataName::parse(path).is_some()) {
        if store.size(path).await?.is_some() {
            store.delete(path).await?;
            deleted += 1;
        }
        pace.step().await;
    }
    Ok(deleted)
}
