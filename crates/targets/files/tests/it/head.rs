//! The head search: right for every head and every hint, and few requests however long the chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_files::names::commit_path;
use millrace_files::store::memory::{Answer, Moment, Step};
use millrace_files::{CommitJson, LocalStore, MemoryStore};
use millrace_model::{Claimed, Fault, Head, Refusal, Registry, Remedy, Target};

use crate::lake::{Writer, claim, nothing_yet, prepare_claim, settings, table, writer, writer_on};

/// A chain of `length` commits: only the last has its bytes, for the search asks for no others.
async fn chain_of(store: &MemoryStore, length: u64) {
    drop(claim(&writer(store, "one")).await);
    let first: CommitJson = serde_json::from_slice(&store.contents()[&commit_path(1)]).unwrap();
    let nothing: Arc<[u8]> = Arc::from([]);
    for number in 2..length {
        store.put(&commit_path(number), Arc::clone(&nothing));
    }
    store.put(&commit_path(length), serde_json::to_vec(&CommitJson { commit: length, ..first }).unwrap());
}

#[tokio::test]
async fn the_head_is_found_for_every_length_and_every_hint() {
    assert_eq!(writer(&MemoryStore::new(), "two").head().await.unwrap(), Head::default());
    let spoiled = ["", "{", "{\"commit\":-1}", "{\"commit\":18446744073709551615}", "[]"];
    let hints: Vec<String> = (0..=45).map(|hint| format!("{{\"commit\":{hint}}}")).collect();
    for length in 1..=40u64 {
        let store = MemoryStore::new();
        chain_of(&store, length).await;
        store.remove("_millrace/head.json");
        assert_eq!(writer(&store, "two").head().await.unwrap().commit, length);
        for hint in hints.iter().map(String::as_str).chain(spoiled) {
            store.put("_millrace/head.json", hint.as_bytes());
            assert_eq!(writer(&store, "two").head().await.unwrap().commit, length, "hint {hint}");
        }
    }
}

#[tokio::test]
async fn a_million_commits_need_few_requests_with_and_without_the_hint() {
    let store = MemoryStore::new();
    chain_of(&store, 1_000_000).await;
    for hint in [None, Some(999_973u64), Some(1), Some(1_000_001)] {
        match hint {
            Some(hint) => store.put("_millrace/head.json", format!("{{\"commit\":{hint}}}").into_bytes()),
            None => store.remove("_millrace/head.json"),
        }
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        let counted = store.with_hook(move |call| {
            counter.fetch_add(u64::from(call.moment == Moment::Before), Ordering::SeqCst);
            Answer::Go
        });
        assert_eq!(writer(&counted, "two").head().await.unwrap().commit, 1_000_000);
        let requests = requests.load(Ordering::SeqCst);
        assert!(requests <= 64, "{requests} requests with hint {hint:?}");
    }
}

#[tokio::test]
async fn five_thousand_tables_are_read_after_the_claim_and_not_written_again() {
    let store = MemoryStore::new();
    let one = writer(&store, "one");
    let mut registry = Registry::default();
    for number in 0..5_000 {
        registry.version_of(&table(&format!("t{number}")));
    }
    let standing = millrace_model::Standing { registry: Some(registry.clone()), ..nothing_yet() };
    let first = millrace_model::Claim { standing, removed: Arc::default() };
    let prepared = one.prepare_claim(&one.head().await.unwrap(), &first).unwrap();
    assert!(matches!(one.claim(&prepared).await.unwrap(), Claimed::Mine(_)));

    let (requests, writes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (all, creates) = (Arc::clone(&requests), Arc::clone(&writes));
    let counted = store.with_hook(move |call| {
        let before = u64::from(call.moment == Moment::Before);
        all.fetch_add(before, Ordering::SeqCst);
        creates.fetch_add(before * u64::from(call.step == Step::Create), Ordering::SeqCst);
        Answer::Go
    });
    let two = writer(&counted, "two");
    let head = two.head().await.unwrap();
    let prepared = prepare_claim(&two, &head);
    assert!(prepared.state.is_empty());
    let before_the_claim = requests.load(Ordering::SeqCst);
    assert!(before_the_claim <= 64, "{before_the_claim} requests");
    let Claimed::Mine(mut chain) = two.claim(&prepared).await.unwrap() else { panic!("nobody else claims") };
    let known = two.registry(&head).await.unwrap();
    assert_eq!(known, registry);
    let mut round = crate::lake::empty_round(1);
    round.registry = known;
    let prepared = chain.prepare(&round).unwrap();
    chain.commit(&prepared).await.unwrap();
    assert_eq!(writes.load(Ordering::SeqCst), 2, "the claim and the commit");
}

#[tokio::test]
async fn the_head_tells_the_registry_that_was_committed() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.commit(&table("orders"), &[&[(millrace_model::Op::Create, 1, Some("a"))]]).await;
    let two = writer(&store, "two");
    let head = two.head().await.unwrap();
    assert_eq!(two.registry(&head).await.unwrap(), one.registry);
    let standing = head.standing.unwrap();
    assert_eq!((head.commit, standing.checkpoint.sequence.0), (2, 1));
    assert_eq!(standing.pipeline, "shop");
}

/// All that a start reads.
async fn head_and_tables(store: &MemoryStore) -> Result<Registry, Fault> {
    let files = writer(store, "two");
    files.registry(&files.head().await?).await
}

#[tokio::test]
async fn a_state_file_that_is_spoiled_or_gone_is_refused() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.commit(&table("orders"), &[&[(millrace_model::Op::Create, 1, Some("a"))]]).await;
    let states: Vec<String> =
        store.contents().into_keys().filter(|path| path.starts_with("_millrace/state/")).collect();
    for path in states {
        let before = store.contents()[&path].clone();
        store.remove(&path);
        let gone = head_and_tables(&store).await;
        store.put(&path, &b"{}"[..]);
        let spoiled = head_and_tables(&store).await;
        store.put(&path, before);
        // The first claim's empty registry is no part of the head any more.
        if let (Err(gone), Err(spoiled)) = (gone, spoiled) {
            assert_eq!((gone.code, spoiled.code), ("FL-008", "FL-008"));
            continue;
        }
        assert!(String::from_utf8_lossy(&store.contents()[&path]).contains("\"tables\":[]"));
    }
}

#[tokio::test]
async fn a_newer_format_and_another_layout_are_refused_with_64() {
    let store = MemoryStore::new();
    drop(claim(&writer(&store, "one")).await);
    let commit = store.contents()[&commit_path(1)].clone();
    let newer = String::from_utf8_lossy(&commit).replace("\"format\":1", "\"format\":2,\"later\":true");
    store.put(&commit_path(1), newer.into_bytes());
    let fault = writer(&store, "two").head().await.unwrap_err();
    assert_eq!((fault.code, fault.remedy), ("FL-006", Remedy::Operator(Refusal::Spec)));

    let json: CommitJson = serde_json::from_slice(&commit).unwrap();
    let envelope = br#"{"format":"parquet","layout":"envelope","tables":[]}"#;
    let sha256 = millrace_files::names::sha256_hex(envelope);
    let path = millrace_files::names::state_path(&sha256);
    store.put(&path, &envelope[..]);
    let json = CommitJson { tables: millrace_files::StateRef { path, sha256 }, ..json };
    store.put(&commit_path(1), serde_json::to_vec(&json).unwrap());
    let fault = writer(&store, "two").head().await.unwrap_err();
    assert_eq!((fault.code, fault.exit_code()), ("FL-007", 64));
}

#[tokio::test]
async fn unknown_fields_are_no_matter() {
    let store = MemoryStore::new();
    drop(claim(&writer(&store, "one")).await);
    let commit = String::from_utf8_lossy(&store.contents()[&commit_path(1)])
        .replace("{\"format\":1", "{\"later\":[1],\"format\":1");
    store.put(&commit_path(1), commit.into_bytes());
    assert_eq!(writer(&store, "two").head().await.unwrap().commit, 1);
}

#[tokio::test]
async fn a_prefix_moves_the_whole_lake() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(folder.path().to_path_buf()));
    let clock = Arc::new(crate::lake::SetClock::new());
    let below = millrace_files::Settings { prefix: "/raw/shop/".into(), ..settings("one") };
    drop(claim(&millrace_files::Files::new(below, store.clone(), clock)).await);
    assert!(folder.path().join("raw/shop").join(commit_path(1)).is_file());
    assert_eq!(writer_on(store, "two").head().await.unwrap().commit, 0);
}
