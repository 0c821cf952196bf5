//! The chain: races, fencing, lost answers, own bytes, and what is refused before it could break an invariant.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use millrace_files::names::{commit_path, sha256_hex};
use millrace_files::store::memory::{Answer, Moment, Step};
use millrace_files::{CommitJson, LocalStore, MemoryStore};
use millrace_model::{Claim, Claimed, Clock, CommitKind, Committed, Op, Refusal, Remedy, Sequence, StagedFile, Target};
use tokio::task::JoinSet;

use crate::lake::{SetClock, Writer, claim, prepare_claim, table, writer, writer_at, writer_on};

fn commit(store: &MemoryStore, number: u64) -> CommitJson {
    serde_json::from_slice(&store.contents()[&commit_path(number)]).unwrap()
}

#[tokio::test]
async fn a_commit_has_the_fields_of_the_contract_in_their_order() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "0198c0de").await;
    one.commit(&table("orders"), &[&[(Op::Create, 1, Some("a")), (Op::Delete, 1, None)]]).await;
    let first = store.contents()[&commit_path(1)].clone();
    let text = String::from_utf8(store.contents()[&commit_path(2)].to_vec()).unwrap();
    let json = commit(&store, 2);
    let (file, tables) = (&json.files[0], &json.tables);
    let expected = format!(
        concat!(
            r#"{{"format":1,"commit":2,"kind":"changes","pipeline":"shop","#,
            r#""writer":{{"claim":1,"round":1,"instance":"0198c0de","epoch":null,"version":"0.1.0"}},"#,
            r#""previous":{{"commit":1,"sha256":"{}"}},"written_at":"2026-11-22T14:03:07.412Z","#,
            r#""source":{{"type":"postgres","identity":"7312|timeline 1|slot millrace_shop"}},"#,
            r#""checkpoint":{{"position":"0/00000001","sequence":2}},"#,
            r#""tables":{{"path":"_millrace/state/{}.json","sha256":"{}"}},"source_state":null,"snapshots":[],"#,
            r#""transactions":1,"files":[{{"path":"shop/public/orders/v0001/2026-11-22/14/000000000001-000001-0000.parquet","#,
            r#""table":"shop.public.orders","schema_version":1,"rows":2,"ops":{{"c":1,"d":1}},"bytes":{},"sha256":"{}","#,
            r#""first_sequence":1,"last_sequence":2,"first_commit_ts":"2026-11-22T14:00:01.000Z","#,
            r#""last_commit_ts":"2026-11-22T14:00:01.000Z","snapshot":null}}],"removed":[]}}"#
        ),
        sha256_hex(&first),
        tables.sha256,
        tables.sha256,
        file.bytes,
        file.sha256,
    );
    assert_eq!(text, expected);
    let registry = String::from_utf8(store.contents()[&tables.path].to_vec()).unwrap();
    assert!(registry.starts_with(
        r#"{"format":"parquet","layout":"flat","tables":[{"table":"shop.public.orders","path":"_millrace/state/"#
    ));
    let claim = commit(&store, 1);
    assert_eq!((claim.kind.as_str(), claim.writer.round, claim.previous), ("claim", 0, None));
}

#[tokio::test]
async fn of_twenty_writers_one_claims_and_the_others_see_it_taken() {
    let store = MemoryStore::new();
    let head = writer(&store, "any").head().await.unwrap();
    let mut racers = JoinSet::new();
    for i in 0..20 {
        let files = writer(&store, &format!("instance {i}"));
        let prepared = prepare_claim(&files, &head);
        racers.spawn(async move { matches!(files.claim(&prepared).await.unwrap(), Claimed::Mine(_)) });
    }
    assert_eq!(racers.join_all().await.into_iter().filter(|mine| *mine).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_writers_on_a_disk_one_claims_and_the_others_see_it_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(folder.path().to_path_buf()));
    drop(claim(&writer_on(store.clone(), "first")).await);
    let head = writer_on(store.clone(), "any").head().await.unwrap();
    let mut racers = JoinSet::new();
    for i in 0..20 {
        let files = writer_on(store.clone(), &format!("instance {i}"));
        let prepared = prepare_claim(&files, &head);
        racers.spawn(async move { matches!(files.claim(&prepared).await.unwrap(), Claimed::Mine(_)) });
    }
    assert_eq!(racers.join_all().await.into_iter().filter(|mine| *mine).count(), 1);
    assert_eq!(writer_on(store, "any").head().await.unwrap().commit, 2);
}

#[tokio::test]
async fn a_writer_is_fenced_once_another_has_claimed_and_adds_nothing() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let files = one.stage(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
    let prepared = one.chain.prepare(&one.round_of(files)).unwrap();
    assert!(!one.chain.superseded().await.unwrap());
    let _two = Writer::start(&store, "two").await;
    assert!(one.chain.superseded().await.unwrap());
    assert_eq!(one.chain.commit(&prepared).await.unwrap(), Committed::Fenced);
    assert_eq!(writer(&store, "any").head().await.unwrap().commit, 2);
    assert_eq!(commit(&store, 2).writer.instance, "two");
}

#[tokio::test]
async fn two_processes_of_one_pipeline_never_have_the_same_bytes() {
    let store = MemoryStore::new();
    let (one, two) = (writer(&store, "one"), writer(&store, "two"));
    let head = one.head().await.unwrap();
    assert_ne!(prepare_claim(&one, &head).bytes, prepare_claim(&two, &head).bytes);
}

/// A store whose answer to the first create of a commit is lost, on one side of the act.
fn loses_one_commit(store: &MemoryStore, moment: Moment) -> MemoryStore {
    let lost = AtomicBool::new(false);
    store.with_hook(move |call| {
        let is_it = call.step == Step::Create && call.moment == moment && call.path.starts_with("_millrace/commits/");
        if is_it && !lost.swap(true, Ordering::SeqCst) { Answer::Lose } else { Answer::Go }
    })
}

#[tokio::test]
async fn a_lost_answer_is_no_fence() {
    let store = MemoryStore::new();
    let files = writer(&loses_one_commit(&store, Moment::After), "one");
    let prepared = prepare_claim(&files, &files.head().await.unwrap());
    assert!(matches!(files.claim(&prepared).await.unwrap(), Claimed::Mine(_)));
}

#[tokio::test]
async fn a_commit_found_after_a_lost_answer_is_made_durable_before_it_counts() {
    let store = MemoryStore::new();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let lost = AtomicBool::new(false);
    let watched = store.with_hook(move |call| {
        seen.lock().unwrap().push(call.clone());
        let is_it = call.step == Step::Create && call.moment == Moment::After && call.path == commit_path(1);
        if is_it && !lost.swap(true, Ordering::SeqCst) { Answer::Lose } else { Answer::Go }
    });
    drop(claim(&writer(&watched, "one")).await);
    let confirmed = calls.lock().unwrap().iter().any(|call| call.step == Step::Confirm && call.path == commit_path(1));
    assert!(confirmed);
}

/// What a store says to the create of a commit.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// That the name is taken, as with a 409 or a 412.
    Refused,
    /// Nothing, as with a 503 or a connection that is cut.
    Nothing,
}

/// What stands under the name when the writer reads it.
#[derive(Clone, Copy, Debug)]
enum Stands {
    Mine,
    Others,
    Nothing,
}

/// What stands under a name once it was asked for; a test says it when it knows its bytes.
type Left = Arc<Mutex<Option<Arc<[u8]>>>>;

/// A store that says so to the first create of `path`, whatever it leaves there.
fn answering(store: &MemoryStore, path: String, said: Said) -> (MemoryStore, Left) {
    let left = Left::default();
    let (there, behind) = (Arc::clone(&left), store.clone());
    let asked = AtomicBool::new(false);
    let leave = move |path: &str| match &*there.lock().unwrap() {
        Some(bytes) => behind.put(path, Arc::clone(bytes)),
        None => behind.remove(path),
    };
    let refusing = store.clone();
    let answering = store.with_hook(move |call| {
        if call.step != Step::Create || call.path != path || asked.load(Ordering::SeqCst) {
            return Answer::Go;
        }
        match (said, call.moment) {
            // Whatever makes the store refuse is gone, or is what stands there, by the time that it is read.
            (Said::Refused, Moment::Before) => refusing.put(&call.path, *b"in the way"),
            (Said::Refused, Moment::After) | (Said::Nothing, _) => {
                asked.store(true, Ordering::SeqCst);
                leave(&call.path);
            }
        }
        if matches!(said, Said::Nothing) { Answer::Lose } else { Answer::Go }
    });
    (answering, left)
}

#[tokio::test]
async fn whatever_a_store_answers_to_a_create_what_stands_there_decides() {
    // R4, with a 409 or a 503: mine, done; another's, fenced for good; nothing, again with the same bytes.
    for said in [Said::Refused, Said::Nothing] {
        for stands in [Stands::Mine, Stands::Others, Stands::Nothing] {
            let what = format!("{said:?}, then {stands:?}");
            let store = MemoryStore::new();
            let (shaky, left) = answering(&store, commit_path(2), said);
            let mut one = Writer::start(&shaky, "one").await;
            let files = one.stage(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
            let prepared = one.chain.prepare(&one.round_of(files)).unwrap();
            *left.lock().unwrap() = match stands {
                Stands::Mine => Some(Arc::clone(&prepared.bytes)),
                Stands::Others => Some(Arc::from(*b"another writer's commit")),
                Stands::Nothing => None,
            };
            let first = one.chain.commit(&prepared).await;
            match stands {
                Stands::Mine => assert_eq!(first.unwrap(), Committed::Done, "{what}"),
                Stands::Others => {
                    assert_eq!(first.unwrap(), Committed::Fenced, "{what}");
                    assert_eq!(one.chain.commit(&prepared).await.unwrap(), Committed::Fenced, "{what}");
                    assert_eq!(&*store.contents()[&commit_path(2)], b"another writer's commit", "{what}");
                    continue;
                }
                Stands::Nothing => {
                    assert_eq!(first.unwrap_err().remedy, Remedy::Retry, "{what}");
                    assert!(!store.contents().contains_key(&commit_path(2)), "{what}");
                    one.clock.forward(5);
                    assert_eq!(one.chain.commit(&prepared).await.unwrap(), Committed::Done, "{what}");
                }
            }
            assert_eq!(one.chain.commit_number(), 2, "{what}");
            assert_eq!(*store.contents()[&commit_path(2)], *prepared.bytes, "{what}");
        }
    }
}

/// What was asked of a store, in order.
type Calls = Arc<Mutex<Vec<(Step, String)>>>;

/// A store that notes what it is asked.
fn noting(store: &MemoryStore) -> (MemoryStore, Calls) {
    let calls = Calls::default();
    let seen = Arc::clone(&calls);
    let noting = store.with_hook(move |call| {
        if call.moment == Moment::Before {
            seen.lock().unwrap().push((call.step, call.path.clone()));
        }
        Answer::Go
    });
    (noting, calls)
}

#[tokio::test]
async fn a_head_that_is_found_is_made_durable_before_the_claim() {
    let store = MemoryStore::new();
    Writer::start(&store, "one").await.commit(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
    let (watched, calls) = noting(&store);
    drop(claim(&writer(&watched, "two")).await);
    let at = |step: Step, number| calls.lock().unwrap().iter().position(|it| *it == (step, commit_path(number)));
    assert!(at(Step::Confirm, 2).is_some() && at(Step::Confirm, 2) < at(Step::Create, 3));
}

#[tokio::test]
async fn a_state_file_that_is_found_is_made_durable_before_the_commit_that_names_it() {
    let store = MemoryStore::new();
    let (watched, calls) = noting(&store);
    let mut one = Writer::start(&watched, "one").await;
    let files = one.stage(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
    let prepared = one.chain.prepare(&one.round_of(files)).unwrap();
    assert_eq!(prepared.state.len(), 2, "the table and the registry");
    // Another process has written the same a moment ago and may not have synced it yet.
    prepared.state.iter().for_each(|(path, bytes)| store.put(path, Arc::clone(bytes)));
    assert_eq!(one.chain.commit(&prepared).await.unwrap(), Committed::Done);
    let at = |step: Step, path: &str| calls.lock().unwrap().iter().position(|it| *it == (step, path.to_owned()));
    for (path, _) in &prepared.state {
        assert!(at(Step::Confirm, path).is_some() && at(Step::Confirm, path) < at(Step::Create, &commit_path(2)));
    }
}

#[tokio::test]
async fn a_create_that_did_not_land_is_tried_again_with_the_same_bytes() {
    let store = MemoryStore::new();
    let clock = SetClock::new();
    let files = writer_at(&loses_one_commit(&store, Moment::Before), "one", &clock);
    let prepared = prepare_claim(&files, &files.head().await.unwrap());
    let fault = files.claim(&prepared).await.map(drop).unwrap_err();
    assert_eq!(fault.remedy, Remedy::Retry);
    clock.forward(5);
    assert!(matches!(files.claim(&prepared).await.unwrap(), Claimed::Mine(_)));
    assert_eq!(*store.contents()[&commit_path(1)], *prepared.bytes);
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_twice_still_counts_once() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let files = one.stage(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
    let prepared = one.chain.prepare(&one.round_of(files)).unwrap();
    // As after a crash of the connection: it has landed, and nobody told.
    store.put(&commit_path(2), prepared.bytes.to_vec());
    assert!(!one.chain.superseded().await.unwrap(), "our own late commit is nobody else's");
    assert_eq!(one.chain.commit(&prepared).await.unwrap(), Committed::Done);
    assert_eq!(one.chain.commit_number(), 2);
}

#[tokio::test]
async fn the_state_that_a_commit_names_is_there_before_the_commit() {
    let store = MemoryStore::new();
    let named = store.clone();
    let watched = store.with_hook(move |call| {
        if call.step == Step::Create && call.moment == Moment::Before && call.path.starts_with("_millrace/commits/") {
            let states = named.contents().into_keys().filter(|path| path.starts_with("_millrace/state/")).count();
            assert!(states > 0);
        }
        if call.step == Step::Create && call.moment == Moment::After && call.path.starts_with("_millrace/commits/") {
            let json: CommitJson = serde_json::from_slice(&named.contents()[&call.path]).unwrap();
            assert!(named.contents().contains_key(&json.tables.path));
        }
        Answer::Go
    });
    let mut one = Writer::start(&watched, "one").await;
    one.commit(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
    one.commit(&table("customers"), &[&[(Op::Create, 1, Some("a"))]]).await;
}

#[tokio::test]
async fn only_the_state_of_changed_tables_is_written() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let states = |store: &MemoryStore| store.contents().into_keys().filter(|it| it.contains("/state/")).count();
    for name in ["a", "b", "c"] {
        one.commit(&table(name), &[&[(Op::Create, 1, Some("a"))]]).await;
    }
    let before = states(&store);
    one.commit(&table("a"), &[&[(Op::Create, 2, Some("a"))]]).await;
    assert_eq!(states(&store), before);
    let mut wider = (*table("b")).clone();
    wider.columns[1].name = "text".into();
    one.commit(&Arc::new(wider), &[&[(Op::Create, 2, Some("a"))]]).await;
    assert_eq!(states(&store), before + 2, "the table, and the registry");
    // The next process repeats what is there.
    let two = Writer::start(&store, "two").await;
    assert_eq!(states(&store), before + 2);
    assert_eq!(two.registry, one.registry);
}

#[tokio::test]
async fn a_permission_that_is_refused_is_an_answer_with_exit_77() {
    let store = MemoryStore::new().with_hook(|call| match (call.step, call.moment) {
        (Step::Create, Moment::Before) => Answer::Refuse,
        _ => Answer::Go,
    });
    let files = writer(&store, "one");
    let prepared = prepare_claim(&files, &files.head().await.unwrap());
    let fault = files.claim(&prepared).await.map(drop).unwrap_err();
    assert_eq!((fault.remedy, fault.exit_code()), (Remedy::Operator(Refusal::Permission), 77));
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_named() {
    let store = MemoryStore::new().with_hook(|call| match (call.step, call.moment) {
        (Step::Create, Moment::Before) => Answer::Full,
        _ => Answer::Go,
    });
    let files = writer(&store, "one");
    let prepared = prepare_claim(&files, &files.head().await.unwrap());
    let fault = files.claim(&prepared).await.map(drop).unwrap_err();
    assert_eq!(fault.remedy, Remedy::Retry);
    assert!(fault.to_string().contains("no space left"), "{fault}");
}

#[tokio::test]
async fn what_would_break_the_chain_is_refused_as_a_defect() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.commit(&table("orders"), &[&[(Op::Create, 1, Some("a")), (Op::Create, 2, Some("b"))]]).await;
    let files = one.stage(&table("orders"), &[&[(Op::Create, 3, Some("c"))]]).await;
    let good = one.round_of(files);
    let with = |spoil: &dyn Fn(&mut millrace_model::Round)| {
        let mut round = good.clone();
        spoil(&mut round);
        round
    };
    let bad: [(&str, millrace_model::Round); 6] = [
        (
            "a sequence that falls",
            with(&|round| {
                round.files.clear();
                round.checkpoint.sequence = Sequence(1);
            }),
        ),
        ("rows beyond the checkpoint", with(&|round| round.checkpoint.sequence = Sequence(2))),
        ("rows of an earlier commit", with(&|round| round.files[0].first_sequence = Sequence(2))),
        ("a round number used before", with(&|round| round.number = 1)),
        ("a heartbeat with files", with(&|round| round.kind = CommitKind::Heartbeat)),
        ("a claim as a round", with(&|round| round.kind = CommitKind::Claim)),
    ];
    for (what, round) in bad {
        assert_eq!(one.chain.prepare(&round).map(drop).unwrap_err().remedy, Remedy::Defect, "{what}");
    }
    one.commit_round(&good).await;
    let head = one.files.head().await.unwrap();
    let mut standing = head.standing.clone().unwrap();
    standing.checkpoint.sequence = Sequence(1);
    let back = one.files.prepare_claim(&head, &Claim { standing, removed: Arc::default() });
    assert_eq!(back.map(drop).unwrap_err().remedy, Remedy::Defect);
}

#[tokio::test]
async fn commits_are_appended_only_after_the_one_before() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.round = 1;
    let round = one.round_of(Vec::<StagedFile>::new());
    let prepared = one.chain.prepare(&round).unwrap();
    let mut ahead = prepared.clone();
    ahead.commit += 1;
    assert_eq!(one.chain.commit(&ahead).await.map(drop).unwrap_err().remedy, Remedy::Defect);
    assert_eq!(one.chain.commit(&prepared).await.unwrap(), Committed::Done);
}

#[tokio::test]
async fn the_hint_is_written_every_thirty_seconds_and_its_failure_hurts_nobody() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    let hint = |store: &MemoryStore| String::from_utf8(store.contents()["_millrace/head.json"].to_vec()).unwrap();
    assert_eq!(hint(&store), "{\"commit\":1}");
    one.commit(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
    assert_eq!(hint(&store), "{\"commit\":1}");
    one.clock.forward(30);
    one.commit(&table("orders"), &[&[(Op::Create, 2, Some("a"))]]).await;
    assert_eq!(hint(&store), "{\"commit\":3}");
    assert!(one.clock.now().0 > 0);

    let fails = MemoryStore::new().with_hook(|call| match call.step {
        Step::Replace => Answer::Lose,
        _ => Answer::Go,
    });
    drop(claim(&writer(&fails, "one")).await);
}

#[tokio::test]
async fn a_claim_repeats_what_the_commit_before_said() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.commit(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
    let _two = Writer::start(&store, "two").await;
    let (before, claim) = (commit(&store, 2), commit(&store, 3));
    assert_eq!((&claim.checkpoint, &claim.tables), (&before.checkpoint, &before.tables));
    assert_eq!((&claim.snapshots, &claim.source), (&before.snapshots, &before.source));
    assert_eq!((claim.files.len(), claim.removed.len(), claim.transactions), (0, 0, 0));
    assert_eq!(claim.previous.unwrap().sha256, sha256_hex(&store.contents()[&commit_path(2)]));
}

#[tokio::test]
async fn a_writer_whose_lake_was_deleted_stops_and_does_not_begin_a_chain_with_a_hole() {
    let store = MemoryStore::new();
    let mut one = Writer::start(&store, "one").await;
    one.commit(&table("orders"), &[&[(Op::Create, 1, Some("a"))]]).await;
    let files = one.stage(&table("orders"), &[&[(Op::Create, 2, Some("b"))]]).await;
    let prepared = one.chain.prepare(&one.round_of(files)).unwrap();
    for path in store.contents().into_keys() {
        store.remove(&path);
    }
    let fault = one.chain.commit(&prepared).await.unwrap_err();
    assert_eq!((fault.code, fault.is_retry()), ("FL-008", false));
    assert!(!store.contents().contains_key(&commit_path(prepared.commit)));
}
