//! `millrace fsck`: the invariants I1–I6 of `docs/specs/file-lake.md`, proven by reading every file.
//!
//! First the chain alone (`walk_chain`: I1, that each file is named once, and with
//! `archives` I6), then file by file what the commits say (I2),
//! the sequences and transactions of each commit (`rounds`: I3, I4), then the finished snapshots (`snapshots`: I5). It ends
//! at the first breach. A lake that is being written to is checked up to the head as it was found.

mod archives;
mod rounds;
mod snapshots;

use std::collections::HashSet;
use std::sync::Arc;

use millrace_model::Fault;
use serde::Serialize;

use crate::commit_json::{CommitJson, FileJson};
use crate::fault::damaged;
use crate::names::{commit_path, sha256_hex, short_hash};
use crate::store::Store;
use crate::walk::{Commits, DataFiles, hashes};
use crate::{Files, head, state};
use archives::ArchivesSaid;
use rounds::Rounds;

/// What `fsck` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FsckReport {
    /// Whether all invariants hold.
    pub ok: bool,
    /// Number of the newest commit.
    pub head: u64,
    /// Files of the lake: named and not removed.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Data files that no commit names; no breach.
    pub leftovers: u64,
    /// The first breach.
    pub breach: Option<Breach>,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// `I1` … `I6`
    pub invariant: &'static str,
    /// Which commit or file, and how.
    pub message: String,
}

/// Why `fsck` ended early.
pub(crate) enum Stop {
    Breach(Breach),
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A breach of `invariant`.
pub(crate) fn breach(invariant: &'static str, message: impl Into<String>) -> Stop {
    Stop::Breach(Breach { invariant, message: message.into() })
}

/// A damaged file is a breach of `invariant`; anything else that went wrong stays a fault.
pub(crate) fn damage_is(invariant: &'static str) -> impl Fn(Fault) -> Stop {
    move |fault| match fault.code {
        "FL-008" => breach(invariant, fault.message),
        _ => Stop::Fault(fault),
    }
}

/// Checks every invariant, reading every file.
pub async fn fsck(files: &Files) -> Result<FsckReport, Fault> {
    let mut report = FsckReport::default();
    match check_all(files, &mut report).await {
        Ok(()) => report.ok = true,
        Err(Stop::Breach(breach)) => report.breach = Some(breach),
        Err(Stop::Fault(fault)) => return Err(fault),
    }
    Ok(report)
}

async fn check_all(files: &Files, report: &mut FsckReport) -> Result<(), Stop> {
    let shared = &files.lake.store;
    let store = &**shared;
    report.head = find_head(store).await?;
    let chain = walk_chain(shared, report.head).await?;
    report.leftovers = leftovers(store, &chain).await?;
    let Some(newest) = &chain.newest else { return Ok(()) };
    let registry = files.lake.states.read(shared, &newest.tables).await.map_err(damage_is("I2"))?;
    let mut rounds = Rounds::new(files.lake.settings.form);
    let mut commits = Commits::new(shared, 1..=report.head, |number, bytes| {
        let bytes = bytes.ok_or_else(|| damaged(&commit_path(number), "it is not there"))?;
        CommitJson::parse(number, &bytes)
    });
    while let Some(span) = commits.next().await.map_err(damage_is("I1"))? {
        for commit in span {
            let rows = rounds.check(store, commit, &chain.removed).await?;
            report.files += rows.files;
            report.rows += rows.rows;
        }
    }
    snapshots::check(store, files.lake.settings.form, &registry, &chain.snapshots).await
}

/// The head, and that no commit stands beyond a hole.
async fn find_head(store: &dyn Store) -> Result<u64, Stop> {
    loop {
        let head = head::search(store).await?;
        let highest = head::highest(store, head).await?;
        if highest <= head {
            return Ok(head);
        }
        if store.size(&commit_path(head + 1)).await?.is_none() {
            return Err(breach("I1", format!("commit {} is missing, and commit {highest} is there", head + 1)));
        }
    }
}

/// What the chain says, without a look at the data: 16 bytes for each file, and the files of snapshots.
#[derive(Default)]
struct ChainSaid {
    newest: Option<CommitJson>,
    /// Hashes of the paths that are removed.
    removed: HashSet<u128>,
    /// Hashes of the paths that are named.
    named: HashSet<u128>,
    snapshots: Vec<FileJson>,
}

/// A commit that may be missing, with the hash of its bytes.
type Found = Option<(CommitJson, String)>;

/// I1, that each file is named once, and I6.
async fn walk_chain(store: &Arc<dyn Store>, head: u64) -> Result<ChainSaid, Stop> {
    let mut said = ChainSaid::default();
    let mut archives = ArchivesSaid::find(&**store, head).await?;
    let mut previous = None;
    let mut number = 0;
    let mut commits = Commits::new(store, 1..=head, |number, bytes| -> Result<Found, Fault> {
        let Some(bytes) = bytes else { return Ok(None) };
        Ok(Some((CommitJson::parse(number, &bytes)?, sha256_hex(&bytes))))
    });
    while let Some(span) = commits.next().await.map_err(damage_is("I1"))? {
        for found in span {
            number += 1;
            let Some((commit, sha256)) = found else {
                return Err(breach("I1", format!("commit {number} is missing")));
            };
            said.see(&**store, &commit, previous.as_ref()).await?;
            archives.see(store, &commit).await?;
            previous = Some((sha256, commit.checkpoint.sequence));
            said.newest = Some(commit);
        }
    }
    let ChainSaid { removed, snapshots, .. } = &mut said;
    snapshots.retain(|file| !removed.contains(&short_hash(&file.path)));
    Ok(said)
}

impl ChainSaid {
    /// The next commit; of the one before `previous` tells hash and sequence.
    async fn see(
        &mut self,
        store: &dyn Store,
        commit: &CommitJson,
        previous: Option<&(String, u64)>,
    ) -> Result<(), Stop> {
        let number = commit.commit;
        let link = commit.previous.as_ref().map(|previous| (previous.commit, previous.sha256.as_str()));
        let expected = previous.map(|(sha256, _)| (number - 1, sha256.as_str()));
        if link != expected {
            return Err(breach("I1", format!("commit {number} does not name the hash of the one before")));
        }
        let sequence = commit.checkpoint.sequence;
        if previous.is_some_and(|(_, before)| *before > sequence) {
            return Err(breach("I1", format!("the sequence falls at commit {number}, to {sequence}")));
        }
        if self.newest.as_ref().is_none_or(|before| before.tables != commit.tables) {
            state::read_checked(store, &commit.tables).await.map_err(damage_is("I2"))?;
        }
        for file in &commit.files {
            if !self.named.insert(short_hash(&file.path)) {
                return Err(breach("I2", format!("`{}` is named again in commit {number}", file.path)));
            }
        }
        self.snapshots.extend(commit.files.iter().filter(|file| file.snapshot.is_some()).cloned());
        self.removed.extend(hashes(&commit.removed));
        Ok(())
    }
}

/// How many data files no commit names.
async fn leftovers(store: &dyn Store, chain: &ChainSaid) -> Result<u64, Fault> {
    let mut count = 0;
    let mut files = DataFiles::new(store, "");
    while let Some(folder) = files.next().await? {
        count += folder.iter().filter(|path| !chain.named.contains(&short_hash(path))).count() as u64;
    }
    Ok(count)
}
