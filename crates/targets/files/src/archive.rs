//! Archives: what ten thousand commits have added to the lake and taken out of it, in one file.
//!
//! `_millrace/archive/<first>-<last>.jsonl.gz` has a line `{commit, files, removed}` for each commit that has any of the two.
//! It repeats what commits say that never change, so that it may be written by anyone at any time after the last of them,
//! and is complete from the moment at which it has a name. Readers of a long history read a hundred files instead of a
//! million; whoever appends reads commits.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use millrace_model::Fault;
use serde::{Deserialize, Serialize};

use crate::commit_json::{CommitJson, FileJson, shared};
use crate::fault::{damaged, lost_task, of_io, rule};
use crate::names::{ARCHIVE_FOLDER, ARCHIVED, archive_first, archive_path, commit_path};
use crate::store::{EntryKind, Store, Upload};

/// What a commit has done to the lake: a line of an archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deed {
    /// Its number.
    pub(crate) commit: u64,
    /// The files that it names.
    pub(crate) files: Vec<FileJson>,
    /// Files of earlier commits that it takes out.
    #[serde(with = "shared")]
    pub(crate) removed: Arc<[String]>,
}

impl Deed {
    /// What this commit has done.
    pub(crate) fn of(commit: CommitJson) -> Self {
        Self { commit: commit.commit, files: commit.files, removed: commit.removed }
    }

    /// Whether it stands in an archive.
    pub(crate) fn is_any(&self) -> bool {
        !(self.files.is_empty() && self.removed.is_empty())
    }

    /// As it stands in an archive.
    pub(crate) fn line(&self) -> Result<Vec<u8>, Fault> {
        let mut line =
            serde_json::to_vec(self).map_err(|error| rule("a commit's files have no JSON").because(error))?;
        line.push(b'\n');
        Ok(line)
    }
}

/// The archives that there are, by their first commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archives(BTreeSet<u64>);

impl Archives {
    /// Those of a lake.
    pub(crate) async fn find(store: &dyn Store) -> Result<Self, Fault> {
        let listed = store.list(ARCHIVE_FOLDER).await?;
        let files = listed.into_iter().filter(|entry| matches!(entry.kind, EntryKind::File { .. }));
        Ok(Self(files.filter_map(|entry| archive_first(&entry.name)).collect()))
    }

    /// Whether there is one that begins with this commit.
    pub(crate) fn has(&self, first: u64) -> bool {
        self.0.contains(&first)
    }

    /// The first commit of one that is not among the `head` commits of a chain as a whole.
    pub(crate) fn beyond(&self, head: u64) -> Option<u64> {
        self.0.last().copied().filter(|first| first + ARCHIVED - 1 > head)
    }

    /// The first commits of those that could be there and are not.
    pub(crate) fn missing(&self, head: u64) -> impl Iterator<Item = u64> {
        (0..head / ARCHIVED).map(|block| block * ARCHIVED + 1).filter(|first| !self.has(*first))
    }
}

#[cfg(test)]
impl FromIterator<u64> for Archives {
    fn from_iter<I: IntoIterator<Item = u64>>(firsts: I) -> Self {
        Self(firsts.into_iter().collect())
    }
}

/// The lines of an archive, one after the other; never all of them in memory.
pub(crate) fn deeds(first: u64, bytes: Arc<[u8]>) -> impl Iterator<Item = Result<Deed, Fault>> {
    let wrong = move |what: String| {
        // The commits are the truth.
        damaged(&archive_path(first), format!("{what}; it only repeats what commits say, and may be deleted"))
    };
    let mut lines = BufReader::new(MultiGzDecoder::new(io::Cursor::new(bytes))).split(b'\n');
    let mut last = first - 1;
    std::iter::from_fn(move || {
        let line = lines.next()?.map_err(|error| wrong(error.to_string()));
        Some(line.and_then(|line| {
            let deed: Deed = serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
            if deed.commit <= last || deed.commit >= first + ARCHIVED {
                return Err(wrong(format!("commit {} stands in it after commit {last}", deed.commit)));
            }
            last = deed.commit;
            Ok(deed)
        }))
    })
}

/// An archive that is being written, a span of commits after the other.
pub(crate) struct Writing {
    store: Arc<dyn Store>,
    path: String,
    out: GzEncoder<Box<dyn Upload>>,
}

impl Writing {
    /// Begins the one that begins with commit `first`.
    pub(crate) async fn begin(store: &Arc<dyn Store>, first: u64) -> Result<Self, Fault> {
        let path = archive_path(first);
        let out = GzEncoder::new(store.begin(&path).await?, Compression::default());
        Ok(Self { store: Arc::clone(store), path, out })
    }

    /// Reads the next commits and adds what they have done.
    pub(crate) async fn add(mut self, numbers: &[u64]) -> Result<Self, Fault> {
        let paths = numbers.iter().map(|number| commit_path(*number)).collect();
        let found = self.store.read_many(paths).await?;
        let numbers = numbers.to_vec();
        // Elsewhere: an upload may make whoever writes to it wait.
        tokio::task::spawn_blocking(move || {
            for (number, bytes) in numbers.into_iter().zip(found) {
                let Some(bytes) = bytes else { return Err(damaged(&commit_path(number), "it is not there")) };
                let deed = Deed::of(CommitJson::parse(number, &bytes)?);
                if deed.is_any() {
                    let line = deed.line()?;
                    self.out.write_all(&line).map_err(|error| of_io("write", &self.path, error))?;
                }
            }
            Ok(self)
        })
        .await
        .map_err(lost_task)?
    }

    /// Gives it its name. That another process has been faster is no matter: it says the same.
    pub(crate) async fn publish(self) -> Result<(), Fault> {
        let Self { store, path, out } = self;
        let named = path.clone();
        let finished = tokio::task::spawn_blocking(move || out.finish()).await.map_err(lost_task)?;
        let upload = finished.map_err(|error| of_io("write", &named, error))?;
        if store.size(&path).await?.is_none()
            && let Err(fault) = upload.publish().await
            && store.size(&path).await?.is_none()
        {
            return Err(fault);
        }
        store.settle(&[path]).await
    }
}
