//! What every store has to promise, run over each store that we have.

use std::io::Write;
use std::sync::Arc;

use millrace_files::{Created, EntryKind, LocalStore, MemoryStore, Store};
use millrace_testkit::stores::Program;
use tokio::task::JoinSet;

use crate::stores::place_in;

fn bytes(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

async fn a_name_is_created_once(store: Arc<dyn Store>) {
    assert_eq!(store.create("_millrace/a/one", bytes("first")).await.unwrap(), Created::Created);
    assert_eq!(store.create("_millrace/a/one", bytes("second")).await.unwrap(), Created::Exists);
    assert_eq!(store.read("_millrace/a/one").await.unwrap().unwrap(), bytes("first"));
    store.confirm("_millrace/a/one").await.unwrap();
}

async fn of_many_creates_at_once_one_succeeds(store: Arc<dyn Store>) {
    let mut racers = JoinSet::new();
    for i in 0..16 {
        let store = Arc::clone(&store);
        racers.spawn(async move {
            let created = store.create("_millrace/race/name", bytes(&i.to_string())).await.unwrap();
            (created == Created::Created).then_some(i)
        });
    }
    let winners: Vec<i32> = racers.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.read("_millrace/race/name").await.unwrap().unwrap(), bytes(&winners[0].to_string()));
}

async fn what_is_not_there_is_said_not_to_be_there(store: Arc<dyn Store>) {
    assert_eq!(store.read("a/b/c").await.unwrap(), None);
    assert_eq!(store.size("a/b/c").await.unwrap(), None);
    assert_eq!(store.list("a/b").await.unwrap(), []);
    store.delete("a/b/c").await.unwrap();
    store.create("a/b", bytes("")).await.unwrap();
    assert_eq!(store.size("a/b").await.unwrap(), Some(0));
    assert_eq!(store.read("a/c").await.unwrap(), None);
}

async fn an_upload_has_no_name_until_it_is_published(store: Arc<dyn Store>) {
    let mut upload = store.begin("t/v0001/file").await.unwrap();
    upload.write_all(b"rows").unwrap();
    assert_eq!(store.size("t/v0001/file").await.unwrap(), None);
    upload.publish().await.unwrap();
    store.settle(&["t/v0001/file".into()]).await.unwrap();
    assert_eq!(store.read("t/v0001/file").await.unwrap().unwrap(), bytes("rows"));
}

async fn an_upload_never_takes_a_name_that_is_taken(store: Arc<dyn Store>) {
    store.create("t/file", bytes("rows")).await.unwrap();
    let mut upload = store.begin("t/file").await.unwrap();
    upload.write_all(b"other").unwrap();
    assert!(upload.publish().await.is_err());
    assert_eq!(store.read("t/file").await.unwrap().unwrap(), bytes("rows"));
}

/// Larger than any store sends at once: its pieces have to come in order, and the last may be of any size.
async fn a_large_upload_is_what_was_written(store: Arc<dyn Store>) {
    let mut upload = store.begin("t/v0001/large").await.unwrap();
    let written = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        for number in 0..1_400_000u64 {
            let line = number.to_le_bytes();
            upload.write_all(&line).unwrap();
            all.extend_from_slice(&line);
        }
        (upload, all)
    });
    let (upload, all) = written.await.unwrap();
    assert_eq!(store.size("t/v0001/large").await.unwrap(), None);
    upload.publish().await.unwrap();
    assert_eq!(store.size("t/v0001/large").await.unwrap(), Some(all.len() as u64));
    assert!(store.read("t/v0001/large").await.unwrap().unwrap()[..] == all[..]);
}

/// As table names make them: an escaped underscore is three characters, not one.
async fn a_name_is_the_name_that_was_given(store: Arc<dyn Store>) {
    let names = ["%5Ftmp", "a%20b", "a-b.c_d", "x~0123abcd"];
    for name in names {
        store.create(&format!("t/{name}/v0001/x"), bytes(name)).await.unwrap();
        assert_eq!(store.read(&format!("t/{name}/v0001/x")).await.unwrap().unwrap(), bytes(name));
    }
    let mut listed: Vec<String> = store.list("t").await.unwrap().into_iter().map(|entry| entry.name).collect();
    listed.sort();
    assert_eq!(listed, names);
}

async fn a_dropped_upload_leaves_nothing(store: Arc<dyn Store>) {
    let mut upload = store.begin("t/file").await.unwrap();
    upload.write_all(b"rows").unwrap();
    drop(upload);
    assert_eq!(store.size("t/file").await.unwrap(), None);
    assert_eq!(store.list("_millrace/tmp").await.unwrap(), []);
}

async fn a_replaced_file_holds_the_newest_bytes(store: Arc<dyn Store>) {
    for text in ["1", "2"] {
        store.replace("_millrace/head.json", bytes(text)).await.unwrap();
        assert_eq!(store.read("_millrace/head.json").await.unwrap().unwrap(), bytes(text));
    }
}

async fn a_folder_lists_its_files_and_folders(store: Arc<dyn Store>) {
    for path in ["a/one", "a/b/two", "a/b/c/three", "ab/four", "a-/five"] {
        store.create(path, bytes("12345")).await.unwrap();
    }
    let mut entries = store.list("a").await.unwrap();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["b", "one"]);
    assert_eq!(entries[0].kind, EntryKind::Folder);
    assert!(matches!(entries[1].kind, EntryKind::File { bytes: 5, .. }));
    let root = store.list("").await.unwrap();
    assert!(["a", "ab", "a-"].iter().all(|name| root.iter().any(|entry| entry.name == *name)));
}

async fn a_prefix_is_a_store_of_its_own(store: Arc<dyn Store>) {
    let below = store.under("/raw/billing/");
    below.create("x", bytes("1")).await.unwrap();
    assert_eq!(store.read("raw/billing/x").await.unwrap().unwrap(), bytes("1"));
    assert_eq!(below.list("").await.unwrap().iter().filter(|entry| entry.name == "x").count(), 1);
}

/// Makes one test of each promise and each store.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test] async fn $promise() { super::$promise(Arc::new(MemoryStore::new())).await })*
        }
        mod seaweedfs {
            use super::*;
            $(#[tokio::test] async fn $promise() { super::$promise(place_in(Program::SeaweedFs)).await })*
        }
        mod versitygw {
            use super::*;
            $(#[tokio::test] async fn $promise() { super::$promise(place_in(Program::VersityGw)).await })*
        }
        mod azurite {
            use super::*;
            $(#[tokio::test] async fn $promise() { super::$promise(place_in(Program::Azurite)).await })*
        }
        mod fake_gcs {
            use super::*;
            $(#[tokio::test] async fn $promise() { super::$promise(place_in(Program::FakeGcs)).await })*
        }
        mod local {
            use super::*;
            $(#[tokio::test] async fn $promise() {
                let folder = tempfile::tempdir().unwrap();
                super::$promise(Arc::new(LocalStore::new(folder.path().join("lake")))).await
            })*
        }
    };
}

promises! {
    a_name_is_created_once,
    of_many_creates_at_once_one_succeeds,
    what_is_not_there_is_said_not_to_be_there,
    an_upload_has_no_name_until_it_is_published,
    an_upload_never_takes_a_name_that_is_taken,
    a_large_upload_is_what_was_written,
    a_name_is_the_name_that_was_given,
    a_dropped_upload_leaves_nothing,
    a_replaced_file_holds_the_newest_bytes,
    a_folder_lists_its_files_and_folders,
    a_prefix_is_a_store_of_its_own,
}
