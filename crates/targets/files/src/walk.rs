//! Going over what is there: the commits of a chain one after the other, and the data files in the folders.
//!
//! Both can be a million and more, so neither is ever in memory as a whole: commits come in spans that are read ahead, files
//! folder by folder. What outlives a step is what the caller asked for, and 16 bytes for each removed file.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::{Fault, PastFile, TableName};
use tokio::time::Instant;

use crate::ahead::{Ahead, SPAN};
use crate::commit_json::CommitJson;
use crate::fault::damaged;
use crate::names::{OWN_FOLDER, commit_path, is_date, is_version_folder, short_hash};
use crate::store::{EntryKind, Store};

/// Between two words about how far a walk has come.
const WORD: Duration = Duration::from_secs(2);

/// In which order commits are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they were written.
    OldestFirst,
    /// What is removed is known before it is met.
    NewestFirst,
}

/// The commits of a chain, each as what `pick` makes of it.
pub(crate) struct Commits<T> {
    ahead: Ahead<u64, T>,
    seen: u64,
    all: u64,
    spoken: Instant,
}

impl<T: Send + 'static> Commits<T> {
    /// The commits of `numbers`.
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        numbers: RangeInclusive<u64>,
        order: Order,
        pick: impl Fn(CommitJson) -> T + Send + Sync + 'static,
    ) -> Self {
        Self::of_bytes(store, numbers, order, move |number, bytes| {
            let path = commit_path(number);
            let Some(bytes) = bytes else { return Err(damaged(&path, "it is not there")) };
            CommitJson::parse(number, &bytes).map(&pick)
        })
    }

    /// The same, out of the bytes that stand there.
    pub(crate) fn of_bytes(
        store: &Arc<dyn Store>,
        numbers: RangeInclusive<u64>,
        order: Order,
        make: impl Fn(u64, Option<Arc<[u8]>>) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Self {
        let all = numbers.end().saturating_sub(*numbers.start()) + 1;
        let ahead = Ahead::new(store, spans(numbers, order), |number| commit_path(*number), make);
        Self { ahead, seen: 0, all, spoken: Instant::now() }
    }

    /// The next few; `None` after the last. Says now and then how far it has come.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<T>>, Fault> {
        let span = self.ahead.next().await?;
        self.seen += span.as_ref().map_or(0, |span| span.len() as u64);
        if span.is_some() && self.spoken.elapsed() >= WORD {
            self.spoken = Instant::now();
            tracing::info!(code = "reading", commits = self.seen, of = self.all, "reading the chain");
        }
        Ok(span)
    }
}

/// Numbers cut into spans.
fn spans(numbers: RangeInclusive<u64>, order: Order) -> impl Iterator<Item = Vec<u64>> + Send {
    let (mut first, mut last) = numbers.into_inner();
    std::iter::from_fn(move || {
        if first > last {
            return None;
        }
        let length = (SPAN as u64).min(last - first + 1);
        match order {
            Order::OldestFirst => {
                first += length;
                Some((first - length..first).collect())
            }
            Order::NewestFirst => {
                let from = last - length + 1;
                let span = (from..=last).rev().collect();
                // Commits count from 1, so that this never wraps.
                last = from - 1;
                Some(span)
            }
        }
    })
}

/// The files that commits 1 to `last` name: all that are in the lake, and of the removed ones the newest of each snapshot.
pub(crate) async fn past_files(
    store: &Arc<dyn Store>,
    last: u64,
    tables: Option<&[String]>,
) -> Result<Vec<PastFile>, Fault> {
    let wanted: Option<Arc<[String]>> = tables.map(Into::into);
    let pick = move |commit: CommitJson| {
        let files = commit.files.into_iter().filter_map(|file| {
            let table = TableName::parse(&file.table);
            let is_wanted = wanted.as_ref().is_none_or(|tables| tables.iter().any(|name| table.answers_to(name)));
            is_wanted.then_some(PastFile { path: file.path, table, snapshot: file.snapshot, removed: false })
        });
        (files.collect::<Vec<_>>(), hashes(&commit.removed))
    };
    let mut past = Vec::new();
    let mut removed = HashSet::new();
    let mut snapshots = HashSet::new();
    let mut commits = Commits::new(store, 1..=last, Order::NewestFirst, pick);
    while let Some(span) = commits.next().await? {
        for (files, gone) in span {
            removed.extend(gone);
            for mut file in files {
                file.removed = removed.remove(&short_hash(&file.path));
                let is_news = |id| snapshots.insert((file.table.clone(), id));
                if !file.removed || file.snapshot.is_some_and(is_news) {
                    past.push(file);
                }
            }
        }
    }
    past.reverse();
    Ok(past)
}

/// What is remembered of removed files.
pub(crate) fn hashes(paths: &[String]) -> Vec<u128> {
    paths.iter().map(|path| short_hash(path)).collect()
}

/// All files outside `_millrace/` whose round opened in the hour `since` (`2026-11-22/14`) or later, folder by folder, in a
/// table the newest first.
///
/// Folders of earlier dates and hours are not entered. An empty `since` finds everything.
pub(crate) struct DataFiles<'a> {
    store: &'a dyn Store,
    since: &'a str,
    folders: Vec<String>,
}

impl<'a> DataFiles<'a> {
    pub(crate) fn new(store: &'a dyn Store, since: &'a str) -> Self {
        Self { store, since, folders: vec![String::new()] }
    }

    /// The files that lie directly in the next folder; `None` after the last folder.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<String>>, Fault> {
        let Some(folder) = self.folders.pop() else { return Ok(None) };
        let mut entries = self.store.list(&folder).await?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let mut files = Vec::new();
        for entry in entries {
            let path = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
            match entry.kind {
                EntryKind::Folder if path != OWN_FOLDER && reaches(&path, self.since) => self.folders.push(path),
                EntryKind::Folder => {}
                EntryKind::File { .. } => files.push(path),
            }
        }
        Ok(Some(files))
    }
}

/// Whether a folder can hold files of the hour `since` or later.
fn reaches(folder: &str, since: &str) -> bool {
    let mut parts = folder.rsplit('/');
    let (last, above, top) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let (since_date, _) = since.split_once('/').unwrap_or((since, ""));
    if is_date(last) && is_version_folder(above) {
        return last >= since_date;
    }
    if is_date(above) && is_version_folder(top) {
        return format!("{above}/{last}").as_str() >= since;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Order, reaches, spans};

    #[test]
    fn only_folders_of_earlier_hours_are_left_out() {
        let since = "2026-11-22/14";
        for folder in
            ["shop", "shop/2020-01-01", "s/v0001", "s/v0001/2026-11-22", "s/v0001/2026-11-22/14", "s/v0001/2026-12-01"]
        {
            assert!(reaches(folder, since), "{folder}");
        }
        for folder in ["s/v0001/2026-11-21", "s/v0001/2026-11-22/13", "s/v0001/2026-11-21/23"] {
            assert!(!reaches(folder, since), "{folder}");
        }
        assert!(reaches("s/v0001/0001-01-01/00", ""));
    }

    #[test]
    fn spans_hold_every_number_once_in_either_order() {
        for last in [0, 1, 63, 64, 65, 200] {
            let all: Vec<u64> = (1..=last).collect();
            assert_eq!(spans(1..=last, Order::OldestFirst).flatten().collect::<Vec<_>>(), all);
            let mut back: Vec<u64> = spans(1..=last, Order::NewestFirst).flatten().collect();
            back.reverse();
            assert_eq!(back, all);
        }
    }
}
