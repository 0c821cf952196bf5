//! Going over what is there: the commits of a chain one after the other, and the data files in the folders.

use std::collections::HashSet;

use millrace_model::{Fault, PastFile, TableName};

use crate::commit_json::{CommitJson, FileJson};
use crate::head::read_commit;
use crate::names::{OWN_FOLDER, is_date, is_version_folder};
use crate::store::{EntryKind, Store};

/// The files of a lake whose table passes, less the removed ones, in the order of their commits.
pub(crate) async fn files_of(
    store: &dyn Store,
    head: u64,
    is_wanted: impl Fn(&TableName) -> bool,
) -> Result<Vec<FileJson>, Fault> {
    let mut files = Vec::new();
    let mut removed = HashSet::new();
    for number in 1..=head {
        let commit = read_commit(store, number).await?.commit;
        removed.extend(commit.removed);
        files.extend(commit.files.into_iter().filter(|file| is_wanted(&TableName::parse(&file.table))));
    }
    files.retain(|file| !removed.contains(&file.path));
    Ok(files)
}

/// The files that commits 1 to `last` name, also those that are removed by now.
pub(crate) async fn past_files(
    store: &dyn Store,
    last: u64,
    tables: Option<&[String]>,
) -> Result<Vec<PastFile>, Fault> {
    let mut past = Vec::new();
    let mut removed = HashSet::new();
    for number in 1..=last {
        let commit = read_commit(store, number).await?.commit;
        removed.extend(commit.removed);
        for file in commit.files {
            let table = TableName::parse(&file.table);
            if tables.is_none_or(|tables| tables.iter().any(|name| table.answers_to(name))) {
                past.push(PastFile { path: file.path, table, snapshot: file.snapshot, removed: false });
            }
        }
    }
    for file in &mut past {
        file.removed = removed.contains(&file.path);
    }
    Ok(past)
}

/// Calls `see` with each commit from the newest to the first: what is removed is known before it is met.
pub(crate) async fn backwards(store: &dyn Store, head: u64, mut see: impl FnMut(CommitJson)) -> Result<(), Fault> {
    for number in (1..=head).rev() {
        see(read_commit(store, number).await?.commit);
    }
    Ok(())
}

/// A file below the root that is not ours by its folder.
pub(crate) struct FoundFile {
    pub(crate) path: String,
}

/// All files outside `_millrace/` whose round opened in the hour `since` (`2026-11-22/14`) or later.
///
/// Folders of earlier dates and hours are not entered. An empty `since` finds everything.
pub(crate) async fn data_files(store: &dyn Store, since: &str) -> Result<Vec<FoundFile>, Fault> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in store.list(&folder).await? {
            let path = if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
            match entry.kind {
                EntryKind::Folder if path != OWN_FOLDER && reaches(&path, since) => folders.push(path),
                EntryKind::Folder => {}
                EntryKind::File { .. } => found.push(FoundFile { path }),
            }
        }
    }
    Ok(found)
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
    use super::reaches;

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
}
