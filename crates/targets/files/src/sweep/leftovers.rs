//! Data files of earlier writers that no commit names: those of rounds that were given up.
//!
//! A name carries claim, round and hour. So a listing tells which files may be leftovers, and the last commits of their
//! writer tell which are: files that lie in hours before its last committed round's are not even looked at.

use std::collections::{BTreeMap, HashSet};

use millrace_model::{Fault, Timestamp};

use super::{HOUR, Pace};
use crate::commit_json::CommitJson;
use crate::head::read_commit;
use crate::names::DataName;
use crate::store::Store;
use crate::walk::DataFiles;

/// Bytes of paths that may wait for a look into their writers' commits.
const WAITING_BYTES: usize = 4 << 20;
/// Once all is swept, a later sweep looks back so far: what a fenced writer still brings belongs to hours that are young.
const LOOK_BACK: i64 = 48 * HOUR;

/// What is known of earlier writers and their leftovers.
pub(super) struct Leftovers {
    /// Falling by their claims.
    writers: Vec<EarlierWriter>,
    /// The newest commit of the next writer to be found; 0 when all are.
    next: u64,
    /// When the last sweep began that came to its end.
    swept: Option<Timestamp>,
}

/// An earlier writer: how far back leftovers of its can lie.
struct EarlierWriter {
    claim: u64,
    last_commit: u64,
    /// The hour before the one in which its last committed round, else its claim, opened; while a snapshot was under way, its
    /// claim's: a chunk can be a whole table, and take longer than many rounds.
    since: i64,
}

/// Paths of files that may be leftovers, by the claim and with the round of their writers.
#[derive(Default)]
struct Candidates {
    files: BTreeMap<u64, Vec<(u64, String)>>,
    bytes: usize,
}

impl Leftovers {
    /// Nothing is known yet of the writers before a claim. Their part of the chain can grow no more.
    pub(super) fn before(claim: u64) -> Self {
        Self { writers: Vec::new(), next: claim.saturating_sub(1), swept: None }
    }

    /// Deletes what no commit names.
    pub(super) async fn sweep(&mut self, store: &dyn Store, now: Timestamp, pace: &mut Pace) -> Result<u64, Fault> {
        self.find_writers(store, pace).await?;
        let Some(since) = self.writers.iter().map(|writer| writer.since).min() else { return Ok(0) };
        let since = self.swept.map_or(since, |swept| since.max(swept.0 - LOOK_BACK));
        let (date, hour) = Timestamp(since).date_and_hour();
        let since = format!("{date}/{hour}");
        let mut deleted = 0;
        let mut candidates = Candidates::default();
        let mut folders = DataFiles::new(store, &since);
        while let Some(paths) = folders.next().await? {
            for path in paths {
                let Some(name) = DataName::parse(&path) else { continue };
                if self.writer(name.claim).is_some_and(|writer| opened(&name).is_some_and(|at| at >= writer.since)) {
                    candidates.bytes += path.len();
                    candidates.files.entry(name.claim).or_default().push((name.round, path));
                }
            }
            if candidates.bytes > WAITING_BYTES {
                deleted += self.decide(store, std::mem::take(&mut candidates), pace).await?;
            }
            pace.step().await;
        }
        deleted += self.decide(store, candidates, pace).await?;
        self.swept = Some(now);
        Ok(deleted)
    }

    /// Goes back from claim to claim; a fault leaves what is found.
    async fn find_writers(&mut self, store: &dyn Store, pace: &mut Pace) -> Result<(), Fault> {
        while self.next > 0 {
            let newest = read_commit(store, self.next).await?.commit;
            let claim = newest.writer.claim;
            let mut since = hour_before(&newest);
            if newest.snapshots.iter().any(|snapshot| !snapshot.finished) {
                since = since.min(hour_before(&read_commit(store, claim).await?.commit));
            }
            self.writers.push(EarlierWriter { claim, last_commit: self.next, since });
            // A claim is never above its commits; were it, this must end all the same.
            self.next = claim.min(self.next).saturating_sub(1);
            pace.step().await;
        }
        Ok(())
    }

    fn writer(&self, claim: u64) -> Option<&EarlierWriter> {
        let at = self.writers.binary_search_by(|writer| claim.cmp(&writer.claim)).ok()?;
        self.writers.get(at)
    }

    /// Deletes those of the candidates that no commit of their writer names.
    async fn decide(&self, store: &dyn Store, candidates: Candidates, pace: &mut Pace) -> Result<u64, Fault> {
        let mut deleted = 0;
        for (claim, files) in candidates.files {
            let Some(writer) = self.writer(claim) else { continue };
            for path in unnamed(store, writer, files, pace).await? {
                store.delete(&path).await?;
                deleted += 1;
                pace.step().await;
            }
        }
        Ok(deleted)
    }
}

/// Those of a writer's files that none of its commits names.
///
/// A snapshot's chunk takes a number of its own while a round is open and is named by that round's commit: the newest of a
/// lower number can be the one.
async fn unnamed(
    store: &dyn Store,
    writer: &EarlierWriter,
    files: Vec<(u64, String)>,
    pace: &mut Pace,
) -> Result<HashSet<String>, Fault> {
    let first_round = files.iter().map(|(round, _)| *round).min().unwrap_or(0);
    let mut unnamed: HashSet<String> = files.into_iter().map(|(_, path)| path).collect();
    for number in (writer.claim..=writer.last_commit).rev() {
        let commit = read_commit(store, number).await?.commit;
        for file in &commit.files {
            unnamed.remove(&file.path);
        }
        if commit.writer.round < first_round || unnamed.is_empty() {
            break;
        }
        pace.step().await;
    }
    Ok(unnamed)
}

/// The hour before the one in which a commit's round opened. Its files say when that was; without any it was before it was
/// written, and rounds are not open for long: the hour before covers it.
fn hour_before(commit: &CommitJson) -> i64 {
    let opened = commit.files.first().and_then(|file| DataName::parse(&file.path)).and_then(|name| opened(&name));
    let opened = opened.unwrap_or(commit.written_at.0);
    opened - opened.rem_euclid(HOUR) - HOUR
}

/// The hour in which a file's round opened.
fn opened(name: &DataName) -> Option<i64> {
    Timestamp::parse(&format!("{}T{}:00:00Z", name.date, name.hour)).map(|hour| hour.0)
}
