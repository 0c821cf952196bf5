//! Object stores: what independent servers say, and what becomes of it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use millrace_files::{
    AbsSettings, AwsIdentity, AwsKeys, AzureIdentity, AzureProof, GcpIdentity, GcsSettings, ObjectStore, S3Settings,
    Store, fsck,
};
use millrace_model::{
    ByteSize, Chain, Claimed, Committed, Fault, Finding, Op, Prepared, Refusal, Registry, SecretValue, Target,
};
use millrace_testkit::flaky::Flaky;
use millrace_testkit::resumable::Resumable;
use millrace_testkit::stores::{ACCESS_KEY, ACCOUNT, ACCOUNT_KEY, BUCKET, Program, SECRET_KEY, StoreServer};
use tokio::task::JoinSet;

use crate::lake::{SetClock, Writer, prepare_claim, table, writer_on};

/// All of them.
const PROGRAMS: [Program; 4] = [Program::SeaweedFs, Program::VersityGw, Program::Azurite, Program::FakeGcs];
/// For uploads under way.
const MEMORY: ByteSize = ByteSize::mib(20);

/// Who one is, for good.
struct Keys {
    id: String,
    secret: SecretValue,
}

#[async_trait]
impl AwsIdentity for Keys {
    async fn keys(&self) -> Result<AwsKeys, Fault> {
        Ok(AwsKeys { id: self.id.clone(), secret: self.secret.clone(), token: None })
    }
}

#[async_trait]
impl AzureIdentity for Keys {
    async fn proof(&self) -> Result<AzureProof, Fault> {
        Ok(AzureProof::Key(self.secret.clone()))
    }
}

#[async_trait]
impl GcpIdentity for Keys {
    async fn token(&self) -> Result<Option<SecretValue>, Fault> {
        Ok(None)
    }
}

/// A bucket as somebody sees it, reached at `port`.
fn bucket(program: Program, port: u16, bucket: &str, id: &str, secret: &str) -> ObjectStore {
    let keys = Arc::new(Keys { id: id.into(), secret: SecretValue::new(secret) });
    let (bucket, endpoint) = (bucket.to_owned(), format!("http://127.0.0.1:{port}"));
    let store = match program {
        Program::SeaweedFs | Program::VersityGw => {
            let (region, path_style) = ("us-east-1".into(), true);
            let settings = S3Settings { bucket, region, endpoint: Some(endpoint), path_style, ..S3Settings::default() };
            ObjectStore::s3(settings, keys, MEMORY)
        }
        Program::Azurite => {
            let endpoint = Some(format!("{endpoint}/{ACCOUNT}"));
            ObjectStore::abs(AbsSettings { account: ACCOUNT.into(), container: bucket, endpoint }, keys, MEMORY)
        }
        Program::FakeGcs => {
            let settings = GcsSettings { bucket, endpoint: Some(endpoint), ..GcsSettings::default() };
            ObjectStore::gcs(settings, keys, MEMORY)
        }
    };
    store.unwrap()
}

fn secret_of(program: Program) -> &'static str {
    if program == Program::Azurite { ACCOUNT_KEY } else { SECRET_KEY }
}

/// A place of its own for each that asks.
pub(crate) fn place_in(program: Program) -> Arc<dyn Store> {
    under(program, &new_place())
}

fn new_place() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("place-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A place, by the straight way.
fn under(program: Program, place: &str) -> Arc<dyn Store> {
    let port = StoreServer::shared(program).port();
    bucket(program, port, BUCKET, ACCESS_KEY, secret_of(program)).under(place)
}

async fn check(store: ObjectStore) -> Finding {
    let mut findings = writer_on(Arc::new(store), "one").check().await.unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[tokio::test]
async fn a_check_finds_nothing_where_everything_is_allowed() {
    for program in PROGRAMS {
        assert_eq!(writer_on(place_in(program), "one").check().await.unwrap(), [], "{program:?}");
    }
}

#[tokio::test]
async fn a_check_names_the_permission_that_is_missing() {
    let port = StoreServer::shared(Program::SeaweedFs).port();
    for (identity, permission) in
        [("no-list", "s3:ListBucket"), ("no-read", "s3:GetObject"), ("no-write", "s3:PutObject")]
    {
        let finding = check(bucket(Program::SeaweedFs, port, BUCKET, identity, SECRET_KEY)).await;
        assert_eq!((finding.code, finding.refusal), ("FL-020", Refusal::Permission));
        assert!(finding.message.contains(&format!("{permission} is missing")), "{}", finding.message);
        assert!(finding.cure.contains(&format!("\"Action\":\"{permission}\"")), "{}", finding.cure);
    }
}

#[tokio::test]
async fn a_wrong_secret_is_an_answer() {
    for program in [Program::SeaweedFs, Program::VersityGw, Program::Azurite] {
        let port = StoreServer::shared(program).port();
        let finding = check(bucket(program, port, BUCKET, ACCESS_KEY, "d3JvbmcgYXMgY2FuIGJl")).await;
        assert_eq!((finding.code, finding.refusal), ("FL-022", Refusal::Permission), "{program:?} {finding:?}");
        assert!(!finding.message.contains("d3JvbmcgYXMgY2FuIGJl"));
    }
}

#[tokio::test]
async fn a_missing_bucket_is_an_answer() {
    for program in PROGRAMS {
        let port = StoreServer::shared(program).port();
        let finding = check(bucket(program, port, "nowhere", ACCESS_KEY, secret_of(program))).await;
        assert_eq!((finding.code, finding.refusal), ("FL-021", Refusal::Spec), "{program:?} {finding:?}");
    }
}

/// A commit as the engine makes it: as long as nobody says no, again.
async fn commit(chain: &mut dyn Chain, prepared: &Prepared) -> Committed {
    loop {
        match chain.commit(prepared).await {
            Ok(committed) => return committed,
            Err(fault) => assert!(fault.is_retry(), "{fault}"),
        }
    }
}

/// Twenty writers that hold one claim, each with a round of its own. Before they race, the way is made ready.
async fn race(program: Program, port: u16, ready: impl FnOnce()) {
    let place = new_place();
    let store = bucket(program, port, BUCKET, ACCESS_KEY, secret_of(program)).under(&place);
    let head = writer_on(Arc::clone(&store), "any").head().await.unwrap();
    let claim = prepare_claim(&writer_on(Arc::clone(&store), "any"), &head);
    let mut writers = Vec::new();
    for number in 0..20 {
        let files = writer_on(Arc::clone(&store), &format!("instance {number}"));
        let Claimed::Mine(chain) = files.claim(&claim).await.unwrap() else { panic!("{program:?}") };
        let (registry, clock) = (Registry::default(), SetClock::new());
        let mut one = Writer { files, chain, registry, sequence: 0, transaction: 1, round: number, clock };
        let staged = one.stage(&table("orders"), &[&[(Op::Create, number as i64, Some("a"))]]).await;
        let prepared = one.chain.prepare(&one.round_of(staged)).unwrap();
        writers.push((one, prepared));
    }
    ready();
    let mut racers = JoinSet::new();
    for (mut one, prepared) in writers {
        racers.spawn(async move { commit(&mut *one.chain, &prepared).await });
    }
    let ended = racers.join_all().await;
    assert_eq!(ended.iter().filter(|one| **one == Committed::Done).count(), 1, "{program:?} {ended:?}");
    let report = fsck(&writer_on(under(program, &place), "any")).await.unwrap();
    assert!(report.ok && report.head == 2, "{program:?} {report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_writers_of_one_number_one_commits_and_the_others_are_fenced() {
    for program in PROGRAMS {
        race(program, StoreServer::shared(program).port(), || {}).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_writers_one_commits_also_where_answers_get_lost() {
    for (seed, program) in PROGRAMS.into_iter().enumerate() {
        let way = Flaky::to(StoreServer::shared(program).port(), seed as u64, 0).unwrap();
        race(program, way.port(), || way.set(4)).await;
        assert!(way.met() > 3, "{} requests met with something", way.met());
    }
}

/// Uploads as rounds do: what was not answered is given up, and its name with it.
async fn upload(store: &dyn Store, number: u64, bytes: &[u8]) -> String {
    for attempt in 0.. {
        let path = format!("t/v0001/{number}-{attempt}");
        let (mut upload, given) = (store.begin(&path).await.unwrap(), bytes.to_vec());
        let written = tokio::task::spawn_blocking(move || upload.write_all(&given).map(|()| upload)).await.unwrap();
        let Ok(upload) = written else { continue };
        match upload.publish().await {
            Ok(()) => return path,
            Err(fault) => assert!(fault.is_retry(), "{fault}"),
        }
    }
    String::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_arrive_whole_on_a_way_that_fails() {
    // The emulator of Google's store ends an upload that is asked how far it is; an own fake goes on with it.
    let google = Resumable::start(3).unwrap();
    let programs = [Program::SeaweedFs, Program::VersityGw, Program::Azurite, Program::FakeGcs];
    for (seed, program) in programs.into_iter().enumerate() {
        let port = match program {
            Program::FakeGcs => google.port(),
            _ => StoreServer::shared(program).port(),
        };
        let way = Flaky::to(port, 10 + seed as u64, 2).unwrap();
        let store = bucket(program, way.port(), BUCKET, ACCESS_KEY, secret_of(program)).under(&new_place());
        for number in 0..3u64 {
            let bytes: Vec<u8> = (0..number * 5_500_000).map(|at| (at / 7 + number) as u8).collect();
            let path = upload(&*store, number, &bytes).await;
            let found = loop {
                match store.read(&path).await {
                    Ok(found) => break found.unwrap(),
                    Err(fault) => assert!(fault.is_retry(), "{program:?} {fault}"),
                }
            };
            assert!(found[..] == bytes[..], "{program:?} {number}");
        }
        assert!(way.met() > 3, "{} requests met with something", way.met());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_earlier_writers_left_behind_are_given_up() {
    for program in [Program::SeaweedFs, Program::VersityGw] {
        let store = place_in(program);
        for name in ["t/old", "t/new"] {
            let mut upload = store.begin(name).await.unwrap();
            let upload = tokio::task::spawn_blocking(move || upload.write_all(&vec![7; 12 << 20]).map(|()| upload));
            // As a process does that is killed.
            std::mem::forget(upload.await.unwrap().unwrap());
        }
        let is_over = |path: &str| path == "t/old";
        let mut given_up = 0;
        // A piece that was under way brings the upload back on some.
        loop {
            match store.give_up(&is_over).await.unwrap() {
                0 if given_up > 0 => break,
                number => given_up += number,
            }
        }
        assert!(store.give_up(&|path| path == "t/new").await.unwrap() > 0, "{program:?}");
    }
}
