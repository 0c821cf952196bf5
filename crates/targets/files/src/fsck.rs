//! `millrace fsck`: the invariants I1–I5 of `docs/specs/file-lake.md`, proven by reading every file.
//!
//! First the chain alone (`walk_chain`: I1, and that each file is named once), then file by file what the commits say (I2),
//! the sequences and transactions of each commit (`rounds`: I3, I4), then the finished snapshots (`snapshots`: I5). It ends
//! at the first breach. A lake that is being written to is checked up to the head as it was found.

mod rounds;
mod snapshots;

use std::collections::HashSet;

use millrace_model::Fault;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::commit_json::{CommitJson, FileJson};
use crate::names::{OWN_FOLDER, commit_path, sha256_hex};
use crate::store::{EntryKind, Store};
use crate::walk::data_files;
use crate::{Files, head, state};
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
    /// `I1` … `I5`
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
    let store = &*files.lake.store;
    report.head = find_head(store).await?;
    let chain = walk_chain(store, report.head).await?;
    report.leftovers = leftovers(store, &chain).await?;
    let Some(newest) = &chain.newest else { return Ok(()) };
    let registry = files.lake.states.read(store, &newest.tables).await.map_err(damage_is("I2"))?;
    let mut rounds = Rounds::default();
    for number in 1..=report.head {
        let commit = head::read_commit(store, number).await.map_err(damage_is("I1"))?.commit;
        let rows = rounds.check(store, commit, &chain.removed).await?;
        report.files += rows.files;
        report.rows += rows.rows;
    }
    snapshots::check(store, &registry, &chain.snapshots).await
}

/// The head, and that no commit stands beyond a hole.
async fn find_head(store: &dyn Store) -> Result<u64, Stop> {
    let folder = format!("{OWN_FOLDER}/commits");
    loop {
        let head = head::search(store).await?;
        let mut highest = 0;
        for group in store.list(&folder).await? {
            if group.kind != EntryKind::Folder {
                continue;
            }
            // Whole folders below the head hold nothing beyond it.
            if group.name.parse::<u64>().is_ok_and(|number| (number + 1) * 10_000 <= head) {
                continue;
            }
            for entry in store.list(&format!("{folder}/{}", group.name)).await? {
                let number = entry.name.strip_suffix(".json").and_then(|number| number.parse().ok());
                highest = highest.max(number.unwrap_or(0));
            }
        }
        if highest <= head {
            return Ok(head);
        }
        if store.size(&commit_path(head + 1)).await?.is_none() {
            return Err(breach("I1", format!("commit {} is missing, and commit {highest} is there", head + 1)));
        }
    }
}

/// What the chain says, without a look at the data.
#[derive(Default)]
struct ChainSaid {
    newest: Option<CommitJson>,
    removed: HashSet<String>,
    /// Hashes of the paths that are named.
    named: HashSet<u128>,
    snapshots: Vec<FileJson>,
}

/// I1, and that each file is named once.
async fn walk_chain(store: &dyn Store, head: u64) -> Result<ChainSaid, Stop> {
    let mut said = ChainSaid::default();
    let mut previous: Option<(String, u64)> = None;
    for number in 1..=head {
        let Some(bytes) = store.read(&commit_path(number)).await? else {
            return Err(breach("I1", format!("commit {number} is missing")));
        };
        let commit = CommitJson::parse(number, &bytes).map_err(damage_is("I1"))?;
        let link = commit.previous.as_ref().map(|previous| (previous.commit, previous.sha256.as_str()));
        let expected = previous.as_ref().map(|(sha256, _)| (number - 1, sha256.as_str()));
        if link != expected {
            return Err(breach("I1", format!("commit {number} does not name the hash of the one before")));
        }
        let sequence = commit.checkpoint.sequence;
        if previous.is_some_and(|(_, before)| before > sequence) {
            return Err(breach("I1", format!("the sequence falls at commit {number}, to {sequence}")));
        }
        if said.newest.as_ref().is_none_or(|before| before.tables != commit.tables) {
            state::read_checked(store, &commit.tables).await.map_err(damage_is("I2"))?;
        }
        for file in &commit.files {
            if !said.named.insert(short_hash(&file.path)) {
                return Err(breach("I2", format!("`{}` is named again in commit {number}", file.path)));
            }
        }
        said.snapshots.extend(commit.files.iter().filter(|file| file.snapshot.is_some()).cloned());
        said.removed.extend(commit.removed.iter().cloned());
        previous = Some((sha256_hex(&bytes), sequence));
        said.newest = Some(commit);
    }
    let ChainSaid { removed, snapshots, .. } = &mut said;
    snapshots.retain(|file| !removed.contains(&file.path));
    Ok(said)
}

/// How many data files no commit names.
async fn leftovers(store: &dyn Store, chain: &ChainSaid) -> Result<u64, Fault> {
    let found = data_files(store, "").await?;
    Ok(found.iter().filter(|file| !chain.named.contains(&short_hash(&file.path))).count() as u64)
}

/// 128 bits of a sha256: enough to tell anything apart, in a fraction of the memory.
pub(crate) fn short_hash(text: &str) -> u128 {
    Sha256::digest(text.as_bytes()).iter().take(16).fold(0, |hash, &byte| hash << 8 | u128::from(byte))
}
