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
use crate::archive::{Archives, Deed, deeds};
use crate::commit_json::CommitJson;
use crate::fault::damaged;
use crate::names::{ARCHIVED, OWN_FOLDER, archive_path, commit_path, is_date, is_version_folder, short_hash};
use crate::store::{EntryKind, Store};

/// Between two words about how far a walk has come.
const WORD: Duration = Duration::from_secs(2);

/// The commits of a chain from the first on, each as what `make` makes of its bytes.
pub(crate) struct Commits<T> {
    ahead: Ahead<u64, T>,
    progress: Progress,
}

impl<T: Send + 'static> Commits<T> {
    /// The commits of `numbers`.
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        numbers: RangeInclusive<u64>,
        make: impl Fn(u64, Option<Arc<[u8]>>) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Self {
        let progress = Progress::over(&numbers);
        Self { ahead: Ahead::new(store, spans(numbers), |number| commit_path(*number), make), progress }
    }

    /// The next few; `None` after the last. Says now and then how far it has come.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<T>>, Fault> {
        let span = self.ahead.next().await?;
        self.progress.add(span.as_ref().map_or(0, |span| span.len() as u64));
        Ok(span)
    }
}

/// What the commits of a chain have done to the lake from the first on, each as what `pick` makes of it: out of the archives
/// that there are, else out of the commits. Commits that have done nothing may be missing.
pub(crate) struct Deeds<T> {
    ahead: Ahead<Piece, Vec<T>>,
    progress: Progress,
}

/// What is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// The archive that begins with this commit.
    Archive(u64),
    Commit(u64),
}

impl Piece {
    fn path(&self) -> String {
        match self {
            Self::Archive(first) => archive_path(*first),
            Self::Commit(number) => commit_path(*number),
        }
    }
}

impl<T: Send + 'static> Deeds<T> {
    /// Those of the commits of `numbers`.
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        archives: &Archives,
        numbers: RangeInclusive<u64>,
        pick: impl Fn(Deed) -> T + Send + Sync + 'static,
    ) -> Self {
        let progress = Progress::over(&numbers);
        let make = move |piece: Piece, bytes| read_piece(&piece, bytes, &pick);
        Self { ahead: Ahead::new(store, pieces(numbers, archives.clone()), Piece::path, make), progress }
    }

    /// Those of the commits of `numbers`, the newest first: what takes a file out of the lake comes before what names it.
    pub(crate) fn backwards(
        store: &Arc<dyn Store>,
        archives: &Archives,
        numbers: RangeInclusive<u64>,
        pick: impl Fn(Deed) -> T + Send + Sync + 'static,
    ) -> Self {
        let progress = Progress::over(&numbers);
        let make = move |piece: Piece, bytes| {
            let mut deeds = read_piece(&piece, bytes, &pick)?;
            deeds.reverse();
            Ok(deeds)
        };
        Self { ahead: Ahead::new(store, pieces_backwards(numbers, archives.clone()), Piece::path, make), progress }
    }

    /// The next few; `None` after the last. Says now and then how far it has come.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<T>>, Fault> {
        let span = self.ahead.next().await?;
        self.progress.add(span.as_ref().map_or(0, |span| span.iter().map(Vec::len).sum::<usize>() as u64));
        Ok(span.map(|span| span.into_iter().flatten().collect()))
    }
}

fn read_piece<T>(piece: &Piece, bytes: Option<Arc<[u8]>>, pick: &impl Fn(Deed) -> T) -> Result<Vec<T>, Fault> {
    let Some(bytes) = bytes else { return Err(damaged(&piece.path(), "it is not there")) };
    match *piece {
        Piece::Archive(first) => deeds(first, bytes).map(|deed| deed.map(pick)).collect(),
        Piece::Commit(number) => Ok(vec![pick(Deed::of(CommitJson::parse(number, &bytes)?))]),
    }
}

/// Says how far a walk has come.
struct Progress {
    seen: u64,
    all: u64,
    spoken: Instant,
}

impl Progress {
    fn over(numbers: &RangeInclusive<u64>) -> Self {
        Self { seen: 0, all: (numbers.end() + 1).saturating_sub(*numbers.start()), spoken: Instant::now() }
    }

    fn add(&mut self, commits: u64) {
        self.seen += commits;
        if commits > 0 && self.spoken.elapsed() >= WORD {
            self.spoken = Instant::now();
            tracing::info!(code = "reading", commits = self.seen, of = self.all, "reading the chain");
        }
    }
}

/// Numbers cut into spans.
fn spans(numbers: RangeInclusive<u64>) -> impl Iterator<Item = Vec<u64>> + Send {
    let (mut first, last) = numbers.into_inner();
    std::iter::from_fn(move || {
        let span: Vec<u64> = (first..=last).take(SPAN).collect();
        first += span.len() as u64;
        (!span.is_empty()).then_some(span)
    })
}

/// Numbers cut into archives where there are any, and into spans of commits.
fn pieces(numbers: RangeInclusive<u64>, archives: Archives) -> impl Iterator<Item = Vec<Piece>> + Send {
    let (mut next, last) = numbers.into_inner();
    std::iter::from_fn(move || {
        let mut span = Vec::new();
        while next <= last && span.len() < SPAN {
            if next % ARCHIVED == 1 && next + ARCHIVED - 1 <= last && archives.has(next) {
                // By itself, since it is large.
                if span.is_empty() {
                    span.push(Piece::Archive(next));
                    next += ARCHIVED;
                }
                break;
            }
            span.push(Piece::Commit(next));
            next += 1;
        }
        (!span.is_empty()).then_some(span)
    })
}

/// The same from the last one on.
fn pieces_backwards(numbers: RangeInclusive<u64>, archives: Archives) -> impl Iterator<Item = Vec<Piece>> + Send {
    let (first, mut next) = numbers.into_inner();
    std::iter::from_fn(move || {
        let mut span = Vec::new();
        while next >= first && next > 0 && span.len() < SPAN {
            let of_archive = (next + 1).saturating_sub(ARCHIVED);
            if next % ARCHIVED == 0 && of_archive >= first && archives.has(of_archive) {
                if span.is_empty() {
                    span.push(Piece::Archive(of_archive));
                    next -= ARCHIVED;
                }
                break;
            }
            span.push(Piece::Commit(next));
            next -= 1;
        }
        (!span.is_empty()).then_some(span)
    })
}

/// Hashes of the paths that commits 1 to `last` have taken out of the lake.
pub(crate) async fn removed(store: &Arc<dyn Store>, archives: &Archives, last: u64) -> Result<HashSet<u128>, Fault> {
    let mut removed = HashSet::new();
    let mut commits = Deeds::new(store, archives, 1..=last, |deed| hashes(&deed.removed));
    while let Some(span) = commits.next().await? {
        removed.extend(span.into_iter().flatten());
    }
    Ok(removed)
}

/// The files that commits 1 to `last` name: all that are in the lake, and of the removed ones the newest of each snapshot.
pub(crate) async fn past_files(
    store: &Arc<dyn Store>,
    last: u64,
    tables: Option<&[String]>,
) -> Result<Vec<PastFile>, Fault> {
    let wanted: Option<Arc<[String]>> = tables.map(Into::into);
    let pick = move |deed: Deed| {
        let files = deed.files.into_iter().filter_map(|file| {
            let table = TableName::parse(&file.table);
            let is_wanted = wanted.as_ref().is_none_or(|tables| tables.iter().any(|name| table.answers_to(name)));
            is_wanted.then_some(PastFile { path: file.path, table, snapshot: file.snapshot, removed: false })
        });
        (hashes(&deed.removed), files.collect::<Vec<_>>())
    };
    let archives = Archives::find(&**store).await?;
    let (mut past, mut removed) = (Vec::new(), HashSet::new());
    // One name for all files of a table.
    let mut names: HashSet<TableName> = HashSet::new();
    // Snapshots of which a newer file has been seen: one that stands, or the newest of those that have gone.
    let mut seen: HashSet<(TableName, u64)> = HashSet::new();
    let mut commits = Deeds::backwards(store, &archives, 1..=last, pick);
    while let Some(span) = commits.next().await? {
        for (gone, files) in span {
            removed.extend(gone);
            for mut file in files.into_iter().rev() {
                file.removed = removed.contains(&short_hash(&file.path));
                let is_first = file.snapshot.is_some_and(|id| seen.insert((file.table.clone(), id)));
                if is_first || !file.removed {
                    match names.get(&file.table) {
                        Some(name) => file.table = name.clone(),
                        None => drop(names.insert(file.table.clone())),
                    }
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
    use std::ops::RangeInclusive;

    use super::{Archives, Piece, pieces, pieces_backwards, reaches, spans};

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
    fn spans_and_pieces_hold_every_number_once() {
        for last in [0, 1, 63, 64, 65, 200] {
            let all: Vec<u64> = (1..=last).collect();
            assert_eq!(spans(1..=last).flatten().collect::<Vec<_>>(), all);
            let pieces = pieces(1..=last, Archives::default()).flatten();
            assert_eq!(pieces.collect::<Vec<_>>(), all.iter().copied().map(Piece::Commit).collect::<Vec<_>>());
            let backwards = pieces_backwards(1..=last, Archives::default()).flatten();
            assert_eq!(backwards.collect::<Vec<_>>(), all.into_iter().rev().map(Piece::Commit).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_archive_stands_for_its_commits_where_all_of_them_are_asked_for() {
        let found = |numbers: RangeInclusive<u64>, archives: &[u64]| {
            let pieces: Vec<Vec<Piece>> =
                pieces(RangeInclusive::clone(&numbers), archives.iter().copied().collect()).collect();
            assert!(
                pieces.iter().all(|span| span.len() == 1 || !span.iter().any(|it| matches!(it, Piece::Archive(_))))
            );
            let flat: Vec<Piece> = pieces.into_iter().flatten().collect();
            let mut backwards: Vec<Piece> =
                pieces_backwards(numbers, archives.iter().copied().collect()).flatten().collect();
            backwards.reverse();
            assert_eq!(backwards, flat);
            (flat.iter().filter(|it| matches!(it, Piece::Archive(_))).copied().collect::<Vec<_>>(), flat.len())
        };
        let (one, two) = (Piece::Archive(1), Piece::Archive(10_001));
        assert_eq!(found(1..=20_003, &[1, 10_001]), (vec![one, two], 5));
        assert_eq!(found(1..=20_000, &[10_001]), (vec![two], 10_001));
        assert_eq!(found(2..=19_999, &[1, 10_001]), (vec![], 19_998));
    }
}
