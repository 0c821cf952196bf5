//! I6: an archive says exactly what its commits say.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Stop, breach, damage_is};
use crate::archive::{Archives, Deed, deeds};
use crate::commit_json::CommitJson;
use crate::fault::{damaged, lost_task};
use crate::names::{ARCHIVED, archive_path};
use crate::store::Store;

/// The archives that there are, and what the commits of the next of them have said so far.
pub(super) struct ArchivesSaid {
    found: Archives,
    lines: Sha256,
}

impl ArchivesSaid {
    /// Those of a chain of `head` commits.
    pub(super) async fn find(store: &dyn Store, head: u64) -> Result<Self, Stop> {
        let found = Archives::find(store).await?;
        if let Some(first) = found.beyond(head) {
            return Err(breach("I6", format!("`{}` is there, and commit {head} is the last", archive_path(first))));
        }
        Ok(Self { found, lines: Sha256::new() })
    }

    /// The next commit; after the last of an archive this is read.
    pub(super) async fn see(&mut self, store: &Arc<dyn Store>, commit: &CommitJson) -> Result<(), Stop> {
        let number = commit.commit;
        let first = number - (number - 1) % ARCHIVED;
        if !self.found.has(first) {
            return Ok(());
        }
        let deed = Deed { commit: number, files: commit.files.clone(), removed: commit.removed.clone() };
        if deed.is_any() {
            self.lines.update(deed.line()?);
        }
        if !number.is_multiple_of(ARCHIVED) {
            return Ok(());
        }
        let path = archive_path(first);
        let bytes = store.read(&path).await?.ok_or_else(|| damaged(&path, "it is not there"));
        let bytes = bytes.map_err(damage_is("I6"))?;
        let read = tokio::task::spawn_blocking(move || {
            let mut lines = Sha256::new();
            for deed in deeds(first, bytes) {
                lines.update(deed?.line()?);
            }
            Ok(lines.finalize())
        });
        let read = read.await.map_err(lost_task)?.map_err(damage_is("I6"))?;
        if read != self.lines.finalize_reset() {
            return Err(breach("I6", format!("`{path}` does not say what its commits say")));
        }
        Ok(())
    }
}
