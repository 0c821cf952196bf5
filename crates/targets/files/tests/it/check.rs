//! `check`: the store is proven, and each "no" is a finding with its cure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_files::store::memory::{Answer, Moment, Step};
use millrace_files::{LocalStore, MemoryStore};
use millrace_model::{Refusal, Target};

use crate::lake::{writer, writer_on};

#[tokio::test]
async fn a_sound_store_has_no_findings_and_is_left_as_it_was() {
    let store = MemoryStore::new();
    assert_eq!(writer(&store, "one").check().await.unwrap(), []);
    assert!(store.contents().is_empty());
    let folder = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalStore::new(folder.path().join("lake")));
    assert_eq!(writer_on(local, "one").check().await.unwrap(), []);
}

#[tokio::test]
async fn a_store_that_creates_a_name_twice_is_refused() {
    let store = MemoryStore::new();
    let twice = store.clone();
    let first = AtomicBool::new(true);
    let broken = store.with_hook(move |call| {
        if (call.step, call.moment) == (Step::Create, Moment::Before) && !first.swap(false, Ordering::SeqCst) {
            twice.remove(&call.path);
        }
        Answer::Go
    });
    let findings = writer(&broken, "one").check().await.unwrap();
    assert_eq!((findings.len(), findings[0].code, findings[0].refusal), (1, "FL-013", Refusal::Check));
    assert!(!findings[0].cure.is_empty());
}

/// A create that was asked twice on its way meets itself.
#[tokio::test]
async fn a_store_that_says_of_a_new_name_that_it_is_there_with_the_same_bytes_keeps_its_promises() {
    let store = MemoryStore::new();
    let (there, first) = (store.clone(), AtomicBool::new(true));
    let twice = store.with_hook(move |call| {
        if (call.step, call.moment) == (Step::Create, Moment::Before) && first.swap(false, Ordering::SeqCst) {
            there.put(&call.path, *b"first");
        }
        Answer::Go
    });
    assert_eq!(writer(&twice, "one").check().await.unwrap(), []);
}

#[tokio::test]
async fn a_refusal_is_a_finding_and_a_missing_answer_is_none() {
    let refuses = MemoryStore::new().with_hook(|_| Answer::Refuse);
    let findings = writer(&refuses, "one").check().await.unwrap();
    assert_eq!((findings[0].code, findings[0].refusal), ("FL-003", Refusal::Permission));
    let silent = MemoryStore::new().with_hook(|_| Answer::Lose);
    assert!(writer(&silent, "one").check().await.unwrap_err().is_retry());
}

#[tokio::test]
async fn a_file_in_the_place_of_the_root_is_refused_with_64() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lake"), "a file").unwrap();
    let local = Arc::new(LocalStore::new(folder.path().join("lake")));
    let findings = writer_on(local, "one").check().await.unwrap();
    assert_eq!((findings[0].code, findings[0].refusal), ("FL-005", Refusal::Spec));
    let below = Arc::new(LocalStore::new(folder.path().join("lake/below/it")));
    let findings = writer_on(below, "one").check().await.unwrap();
    assert_eq!((findings[0].code, findings[0].refusal), ("FL-005", Refusal::Spec));
    let named = format!("`{}`", folder.path().join("lake").display());
    assert!(findings[0].message.contains(&named), "the file that is in the way: {}", findings[0].message);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_root_that_cannot_be_made_is_refused_with_64_and_one_that_must_not_with_77() {
    for (root, code, refusal) in
        [("/proc/x/lake", "FL-014", Refusal::Spec), ("/sys/lake", "FL-003", Refusal::Permission)]
    {
        let findings = writer_on(Arc::new(LocalStore::new(root.into())), "one").check().await.unwrap();
        assert_eq!((findings[0].code, findings[0].refusal), (code, refusal));
        assert!(findings[0].message.contains(root) && !findings[0].cure.is_empty(), "{:?}", findings[0]);
    }
    let long = format!("/tmp/{}", "x".repeat(300));
    let findings = writer_on(Arc::new(LocalStore::new(long.into())), "one").check().await.unwrap();
    assert_eq!((findings[0].code, findings[0].refusal), ("FL-014", Refusal::Spec));
}

#[test]
fn every_code_has_its_page_and_every_page_its_code() {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/errors");
    let source = include_str!("../../src/fault.rs");
    let of_ours = |name: &str| name.strip_suffix(".md").filter(|code| code.starts_with("FL-")).map(str::to_owned);
    let mut found: Vec<String> = std::fs::read_dir(pages)
        .unwrap()
        .filter_map(|page| of_ours(&page.unwrap().file_name().to_string_lossy()))
        .collect();
    found.sort();
    let codes: Vec<String> = (1..=99).map(|n| format!("FL-{n:03}")).filter(|code| source.contains(code)).collect();
    assert_eq!(found, codes);
    for code in codes {
        let page = std::fs::read_to_string(format!("{pages}/{code}.md")).unwrap();
        assert!(["## What happened", "## Why", "## What to do"].iter().all(|heading| page.contains(heading)), "{code}");
    }
}
