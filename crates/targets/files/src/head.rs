//! Finding the newest commit of a chain, and what it says. Reads only; never lists.
//!
//! Commits are dense and never go, so "commit n is there" is true up to the head and false beyond it: from the hint the
//! distance is doubled until a number is free, then halved. A head that grows meanwhile is met somewhere on its way, which
//! is all that the protocol asks: a claim on a number that is taken fails.

use std::sync::Arc;

use millrace_model::{Fault, Head, SourceIdentity, Standing};
use serde::Deserialize;

use crate::Lake;
use crate::commit_json::CommitJson;
use crate::fault::{Cause, damaged};
use crate::names::{COMMITS_A_FOLDER, HEAD_HINT, OWN_FOLDER, commit_path, sha256_hex};
use crate::store::{EntryKind, Store};

/// The newest commit as it stands in the store.
pub(crate) struct Newest {
    pub(crate) commit: CommitJson,
    /// Of its bytes.
    pub(crate) sha256: String,
}

/// The number of the newest commit; 0 where there is none.
pub(crate) async fn search(store: &dyn Store) -> Result<u64, Fault> {
    let is_there = async |number: u64| Ok::<_, Fault>(store.size(&commit_path(number)).await?.is_some());
    let hint = read_hint(store).await?;
    let start = if hint > 0 && is_there(hint).await? { hint } else { 0 };
    let (mut there, mut step) = (start, 1);
    let mut free = loop {
        let number = start.saturating_add(step);
        if !is_there(number).await? {
            break number;
        }
        there = number;
        step *= 2;
    };
    while free - there > 1 {
        let middle = there + (free - there) / 2;
        if is_there(middle).await? {
            there = middle;
        } else {
            free = middle;
        }
    }
    Ok(there)
}

/// The highest number under which a commit stands, if that is `known` or beyond; found by listing.
pub(crate) async fn highest(store: &dyn Store, known: u64) -> Result<u64, Fault> {
    let folder = format!("{OWN_FOLDER}/commits");
    let mut highest = 0;
    for group in store.list(&folder).await? {
        // Whole folders below what is known hold nothing beyond it.
        let is_below = |group: u64| (group + 1) * COMMITS_A_FOLDER <= known;
        if group.kind != EntryKind::Folder || group.name.parse().is_ok_and(is_below) {
            continue;
        }
        for entry in store.list(&format!("{folder}/{}", group.name)).await? {
            let number = entry.name.strip_suffix(".json").and_then(|number| number.parse().ok());
            highest = highest.max(number.unwrap_or(0));
        }
    }
    Ok(highest)
}

/// The hint; 0 where there is none that makes sense. It is never trusted beyond where to begin.
async fn read_hint(store: &dyn Store) -> Result<u64, Fault> {
    #[derive(Deserialize)]
    struct Hint {
        commit: u64,
    }
    let bytes = store.read(HEAD_HINT).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice::<Hint>(&bytes).ok()).map_or(0, |hint| hint.commit))
}

/// Commit `number`, parsed, with the hash of its bytes.
pub(crate) async fn read_commit(store: &dyn Store, number: u64) -> Result<Newest, Fault> {
    let path = commit_path(number);
    let Some(bytes) = store.read(&path).await? else { return Err(damaged(&path, "it is not there")) };
    Ok(Newest { commit: CommitJson::parse(number, &bytes)?, sha256: sha256_hex(&bytes) })
}

/// The newest commit; `None` where there is none.
pub(crate) async fn newest(store: &dyn Store) -> Result<Option<Newest>, Fault> {
    match search(store).await? {
        0 => Ok(None),
        number => read_commit(store, number).await.map(Some),
    }
}

/// S2: the newest commit, made durable before anything is built on it.
///
/// Its state files need not be made so: its writer did that before it created the commit.
pub(crate) async fn head(lake: &Lake) -> Result<Head, Fault> {
    let Some(Newest { commit, sha256 }) = newest(&*lake.store).await? else { return Ok(Head::default()) };
    lake.states.check_shape(&*lake.store, &commit.tables).await?;
    let standing = standing(&commit)?;
    lake.store.confirm(&commit_path(commit.commit)).await?;
    Ok(Head { commit: commit.commit, standing: Some(standing), link: sha256, registry_link: commit.tables.sha256 })
}

/// What a commit says, without the tables.
fn standing(commit: &CommitJson) -> Result<Standing, Fault> {
    if let Some(state) = &commit.source_state {
        // No source of this version keeps one; to go on without it would lose it.
        return Err(Cause::Newer { path: state.path.clone(), what: "a state of the source".into() }.into());
    }
    Ok(Standing {
        pipeline: commit.pipeline.clone(),
        epoch: commit.writer.epoch,
        source: SourceIdentity { kind: commit.source.kind.clone(), identity: commit.source.identity.clone() },
        checkpoint: (&commit.checkpoint).into(),
        registry: None,
        snapshots: commit.snapshots.iter().map(Into::into).collect(),
        written_at: commit.written_at,
    })
}

/// Writes the hint; nothing depends on it.
pub(crate) async fn write_hint(store: &dyn Store, commit: u64) {
    let bytes: Arc<[u8]> = format!("{{\"commit\":{commit}}}").into_bytes().into();
    if let Err(fault) = store.replace(HEAD_HINT, bytes).await {
        tracing::debug!(code = fault.code, "the hint of the head was not written: {}", fault.message);
    }
}
