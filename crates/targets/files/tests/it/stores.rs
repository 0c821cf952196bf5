//! Object stores: what independent servers say, and what becomes of it.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use millrace_files::{AbsSettings, GcsSettings, LocalStore, ObjectStore, Proof, Prover, S3Settings, Store, fsck};
use millrace_identity::{AwsCredentials, AwsIdentity, AwsSettings, Surroundings, WallClock, aws};
use millrace_model::{
    ByteSize, Chain, Claimed, Committed, Fault, Finding, Op, Prepared, Refusal, Registry, SecretValue, Target,
};
use millrace_testkit::doors::Door;
use millrace_testkit::flaky::Flaky;
use millrace_testkit::resumable::Resumable;
use millrace_testkit::stores::{ACCESS_KEY, ACCOUNT, ACCOUNT_KEY, BUCKET, Program, SECRET_KEY, StoreServer};
use tokio::task::JoinSet;

use crate::lake::{SetClock, Writer, prepare_claim, table, writer_on};

/// All of them.
pub(crate) const PROGRAMS: [Program; 4] = [Program::SeaweedFs, Program::VersityGw, Program::Azurite, Program::FakeGcs];
/// For uploads under way.
pub(crate) const MEMORY: ByteSize = ByteSize::mib(20);

/// Who one is, for good.
pub(crate) struct Keys(SecretValue);

impl Keys {
    pub(crate) fn new(secret: &str) -> Arc<Self> {
        Arc::new(Self(SecretValue::new(secret)))
    }
}

#[async_trait]
impl Prover for Keys {
    async fn proof(&self) -> Result<Proof, Fault> {
        Ok(Proof::Key(self.0.clone()))
    }

    async fn another(&self, _refused: &Proof) -> Result<Option<Proof>, Fault> {
        Ok(None)
    }
}

/// A bucket as somebody sees it, reached at `port`.
pub(crate) fn bucket(program: Program, port: u16, bucket: &str, id: &str, secret: &str) -> ObjectStore {
    let keys = [("AWS_ACCESS_KEY_ID", id.to_owned()), ("AWS_SECRET_ACCESS_KEY", secret.to_owned())];
    let found = move |name: &str| keys.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let around = Surroundings::new(found, Arc::new(WallClock)).unwrap();
    let keys = Keys::new(secret);
    let (bucket, endpoint) = (bucket.to_owned(), format!("http://127.0.0.1:{port}"));
    let store = match program {
        Program::SeaweedFs | Program::VersityGw => {
            let (region, path_style) = ("us-east-1".into(), true);
            let settings = S3Settings { bucket, region, endpoint: Some(endpoint), path_style, ..S3Settings::default() };
            ObjectStore::s3(settings, aws(&around, &AwsSettings::default()), &around, MEMORY)
        }
        Program::Azurite => {
            let endpoint = Some(format!("{endpoint}/{ACCOUNT}"));
            let settings = AbsSettings { account: ACCOUNT.into(), container: bucket, endpoint };
            ObjectStore::abs(settings, keys, &around, MEMORY)
        }
        Program::FakeGcs => {
            let settings = GcsSettings { bucket, endpoint: Some(endpoint), ..GcsSettings::default() };
            ObjectStore::gcs(settings, keys, &around, MEMORY)
        }
    };
    store.unwrap()
}

pub(crate) fn secret_of(program: Program) -> &'static str {
    if program == Program::Azurite { ACCOUNT_KEY } else { SECRET_KEY }
}

/// A place of its own for each that asks.
pub(crate) fn place_in(program: Program) -> Arc<dyn Store> {
    under(program, &new_place())
}

pub(crate) fn new_place() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("place-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A place, by the straight way.
pub(crate) fn under(program: Program, place: &str) -> Arc<dyn Store> {
    let port = StoreServer::shared(program).port();
    bucket(program, port, BUCKET, ACCESS_KEY, secret_of(program)).under(place)
}

pub(crate) async fn check(store: ObjectStore) -> Finding {
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
async fn what_was_created_is_found_by_whoever_knows_nothing_of_us() {
    for program in PROGRAMS {
        let place = new_place();
        under(program, &place).create("_millrace/one.json", (*b"{}").into()).await.unwrap();
        let read = move |name: &str| StoreServer::shared(program).read(&format!("{place}/_millrace/{name}")).unwrap();
        let found = tokio::task::spawn_blocking(move || (read("one.json"), read("two.json"))).await.unwrap();
        assert_eq!(found, (Some(b"{}".to_vec()), None), "{program:?}");
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

/// As Azure answers an identity without a role that allows it.
fn no_of_azure() -> String {
    let body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>AuthorizationPermissionMismatch</Code><Message>This \
                request is not authorized to perform this operation using this permission.</Message></Error>";
    let head = "HTTP/1.1 403 Forbidden\r\nx-ms-error-code: AuthorizationPermissionMismatch\r\nConnection: close\r\n";
    format!("{head}Content-Type: application/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// As Google does.
fn no_of_google(permission: &str) -> String {
    let message = format!(
        "lake@project.iam.gserviceaccount.com does not have {permission} access to the Google Cloud Storage object. \
         Permission '{permission}' denied on resource (or it may not exist)."
    );
    let body = serde_json::json!({"error": {"code": 403, "message": message}}).to_string();
    let head = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// That the check names the permission, behind a way on which the service refuses what `is_refused` says of the first line.
async fn names_the_permission(program: Program, is_refused: fn(&str) -> bool, no: String, permission: &str) {
    let port = StoreServer::shared(program).port();
    let way = Door::refusing(port, move |line| is_refused(line).then(|| no.clone())).unwrap();
    let finding = check(bucket(program, way.port, BUCKET, ACCESS_KEY, secret_of(program))).await;
    assert_eq!(
        (finding.code, finding.refusal),
        ("FL-020", Refusal::Permission),
        "{program:?} {permission} {finding:?}"
    );
    assert!(finding.message.contains(&format!("{permission} is missing")), "{}", finding.message);
    let line = match program {
        Program::Azurite => "Storage Blob Data Contributor",
        Program::FakeGcs => "roles/storage.objectUser",
        Program::SeaweedFs | Program::VersityGw => permission,
    };
    assert!(finding.cure.contains(line), "{}", finding.cure);
}

#[tokio::test]
async fn a_check_names_the_permission_that_amazon_says_no_for() {
    for (is_refused, deed) in [
        ((|line| line.starts_with("GET ") && line.contains("list-type=2")) as fn(&str) -> bool, "ListBucket"),
        (|line| line.starts_with("GET ") && line.contains("uploads="), "ListBucketMultipartUploads"),
        (|line| line.starts_with("GET ") && !line.contains('='), "GetObject"),
        (|line| line.starts_with("PUT "), "PutObject"),
        (|line| line.starts_with("DELETE ") && !line.contains('='), "DeleteObject"),
        (|line| line.starts_with("DELETE ") && line.contains("uploadId="), "AbortMultipartUpload"),
        // What a bucket's settings ask for beyond.
        (|line| line.starts_with("PUT "), "PutObjectTagging"),
    ] {
        let permission = format!("s3:{deed}");
        let arn = "arn:aws:sts::1:assumed-role/lake/task";
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>User: {arn} is not authorized \
             to perform: {permission} on resource: &quot;arn:aws:s3:::{BUCKET}&quot; because no identity-based policy allows \
             the {permission} action</Message></Error>"
        );
        let head = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\n";
        let no = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        names_the_permission(Program::VersityGw, is_refused, no, &permission).await;
    }
}

#[tokio::test]
async fn a_check_names_the_permission_that_azure_says_no_for() {
    let blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
    let is_list = |line: &str| line.contains("comp=list");
    let is_read = |line: &str| line.starts_with("GET ") && !line.contains("comp=list");
    for (is_refused, deed) in [
        (is_list as fn(&str) -> bool, "read"),
        (is_read, "read"),
        (|line| line.starts_with("PUT "), "write"),
        (|line| line.starts_with("DELETE "), "delete"),
    ] {
        names_the_permission(Program::Azurite, is_refused, no_of_azure(), &format!("{blobs}/{deed}")).await;
    }
}

#[tokio::test]
async fn a_check_names_the_permission_that_google_says_no_for() {
    for (is_refused, deed) in [
        ((|line| line.starts_with("GET ") && line.contains("/o?")) as fn(&str) -> bool, "list"),
        (|line| line.starts_with("GET ") && line.contains("/o/"), "get"),
        (|line| line.starts_with("POST "), "create"),
        (|line| line.starts_with("DELETE "), "delete"),
    ] {
        let permission = format!("storage.objects.{deed}");
        names_the_permission(Program::FakeGcs, is_refused, no_of_google(&permission), &permission).await;
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

/// Credentials whose first secret has been rotated away.
pub(crate) struct Rotated {
    secret: Mutex<&'static str>,
}

impl Rotated {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { secret: Mutex::new("d3JvbmcgYXMgY2FuIGJl") })
    }

    fn secret(&self) -> SecretValue {
        SecretValue::new(*self.secret.lock().unwrap())
    }
}

#[async_trait]
impl AwsIdentity for Rotated {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>, Fault> {
        let (key_id, secret_key) = (ACCESS_KEY.into(), self.secret());
        Ok(Arc::new(AwsCredentials { key_id, secret_key, session_token: None, expires: None, from: "a test".into() }))
    }

    fn forget(&self, refused: &Arc<AwsCredentials>) {
        assert_ne!(refused.secret_key.reveal(), SECRET_KEY);
        *self.secret.lock().unwrap() = SECRET_KEY;
    }
}

#[async_trait]
impl Prover for Rotated {
    async fn proof(&self) -> Result<Proof, Fault> {
        Ok(Proof::Key(self.secret()))
    }

    async fn another(&self, refused: &Proof) -> Result<Option<Proof>, Fault> {
        assert!(matches!(refused, Proof::Key(key) if key.reveal() != ACCOUNT_KEY));
        *self.secret.lock().unwrap() = ACCOUNT_KEY;
        Ok(Some(Proof::Key(self.secret())))
    }
}

#[tokio::test]
async fn refused_keys_are_asked_for_anew() {
    let around = Surroundings::of_process().unwrap();
    for program in [Program::SeaweedFs, Program::VersityGw] {
        let endpoint = Some(format!("http://127.0.0.1:{}", StoreServer::shared(program).port()));
        let (bucket, region) = (BUCKET.to_owned(), "us-east-1".to_owned());
        let settings = S3Settings { bucket, region, endpoint, path_style: true, ..S3Settings::default() };
        let store = ObjectStore::s3(settings, Rotated::new(), &around, MEMORY).unwrap().under(&new_place());
        assert_eq!(writer_on(store, "one").check().await.unwrap(), [], "{program:?}");
    }
    let endpoint = Some(format!("http://127.0.0.1:{}/{ACCOUNT}", StoreServer::shared(Program::Azurite).port()));
    let settings = AbsSettings { account: ACCOUNT.into(), container: BUCKET.into(), endpoint };
    let store = ObjectStore::abs(settings, Rotated::new(), &around, MEMORY).unwrap().under(&new_place());
    assert_eq!(writer_on(store, "one").check().await.unwrap(), []);
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

/// Twenty writers that hold one claim, each with a round of its own. Before they race, the way to the store is made ready;
/// in the end it is looked at by the `straight` one.
async fn race(store: Arc<dyn Store>, straight: Arc<dyn Store>, ready: impl FnOnce()) {
    let head = writer_on(Arc::clone(&store), "any").head().await.unwrap();
    let claim = prepare_claim(&writer_on(Arc::clone(&store), "any"), &head);
    let mut writers = Vec::new();
    for number in 0..20 {
        let files = writer_on(Arc::clone(&store), &format!("instance {number}"));
        let Claimed::Mine(chain) = files.claim(&claim).await.unwrap() else { panic!("the claim is another's") };
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
    assert_eq!(ended.iter().filter(|one| **one == Committed::Done).count(), 1, "{ended:?}");
    let report = fsck(&writer_on(straight, "any")).await.unwrap();
    assert!(report.ok && report.head == 2, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_writers_of_one_number_one_commits_and_the_others_are_fenced() {
    for program in PROGRAMS {
        let store = place_in(program);
        race(Arc::clone(&store), store, || {}).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_writers_of_one_number_on_a_disk_one_commits_and_the_others_are_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(folder.path().to_path_buf()));
    race(Arc::clone(&store) as _, store, || {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_writers_one_commits_also_where_answers_get_lost() {
    for (seed, program) in PROGRAMS.into_iter().enumerate() {
        let way = Flaky::to(StoreServer::shared(program).port(), seed as u64, 0).unwrap();
        let place = new_place();
        let store = bucket(program, way.port(), BUCKET, ACCESS_KEY, secret_of(program)).under(&place);
        race(store, under(program, &place), || way.set(4)).await;
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
            let bytes: Vec<u8> = (0..9_000_000 + number * 3_000_000).map(|at| (at / 7 + number) as u8).collect();
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
