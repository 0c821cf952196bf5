//! How objects shall be kept, and who pays: what a pipeline file says of it stands in each request that it is for. No
//! emulator does anything with it, so the requests themselves are looked at, on their way to one that judges signatures.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use millrace_files::{GcsSettings, ObjectStore, S3Settings, Store};
use millrace_identity::{AwsSettings, Surroundings, WallClock, aws};
use millrace_testkit::doors::Door;
use millrace_testkit::resumable::Resumable;
use millrace_testkit::stores::{ACCESS_KEY, BUCKET, Program, SECRET_KEY, StoreServer};

use crate::stores::{Keys, MEMORY};

const KMS: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
const GOOGLE_KMS: &str = "projects/p/locations/eu/keyRings/r/cryptoKeys/k";

/// A request as it was sent.
#[derive(Debug)]
struct Sent {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Sent {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (first, headers) = head.split_once("\r\n").unwrap();
        let words: Vec<&str> = first.split(' ').collect();
        let (path, query) = words[1].split_once('?').unwrap_or((words[1], ""));
        let url = reqwest::Url::parse(&format!("http://host/?{query}")).unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self {
            method: words[0].to_owned(),
            path: path.to_owned(),
            query: url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
            headers: headers.lines().filter_map(header).collect(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn asks(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }
}

/// What is done with every store: a commit, the hint, a small file and one in pieces, looks, a deletion.
async fn use_all(store: Arc<dyn Store>) {
    store.create("_millrace/commits/00000000/000000000001.json", (*b"{}").into()).await.unwrap();
    store.replace("_millrace/head.json", (*b"{}").into()).await.unwrap();
    upload(&*store, "t/v0001/small.parquet", 1000).await;
    upload(&*store, "t/v0001/large.parquet", 17 << 20).await;
    look(&*store).await;
    assert_eq!(store.list("t/v0001").await.unwrap().len(), 2);
    store.delete("t/v0001/small.parquet").await.unwrap();
}

async fn look(store: &dyn Store) {
    assert_eq!(store.read("t/v0001/large.parquet").await.unwrap().unwrap().len(), 17 << 20);
    assert_eq!(store.size("t/v0001/small.parquet").await.unwrap(), Some(1000));
}

async fn upload(store: &dyn Store, path: &str, bytes: usize) {
    begun(store, path, bytes).await.publish().await.unwrap();
}

async fn begun(store: &dyn Store, path: &str, bytes: usize) -> Box<dyn millrace_files::Upload> {
    let mut upload = store.begin(path).await.unwrap();
    tokio::task::spawn_blocking(move || upload.write_all(&vec![7; bytes]).map(|()| upload)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pipeline_file_says_of_objects_of_s3_stands_in_their_requests_and_is_signed() {
    let door = Door::refusing(StoreServer::shared(Program::VersityGw).port(), |_| None).unwrap();
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let found = move |name: &str| keys.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let around = Surroundings::new(found, Arc::new(WallClock)).unwrap();
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let settings = S3Settings {
        bucket: BUCKET.into(),
        region: "us-east-1".into(),
        endpoint: Some(format!("http://127.0.0.1:{}", door.port)),
        path_style: true,
        kms_key_id: Some(KMS.into()),
        storage_class: Some("STANDARD_IA".into()),
        requester_pays: true,
        tags: vec![tag("team", "data + lake"), tag("cost", "7")],
    };
    let store = ObjectStore::s3(settings, aws(&around, &AwsSettings::default()), &around, MEMORY).unwrap();
    let store = store.under("kept");
    use_all(Arc::clone(&store)).await;
    // What the sweep does about an upload that no writer will end.
    std::mem::forget(begun(&*store, "t/v0001/left.parquet", 12 << 20).await);
    while store.give_up(&|path| path.ends_with("left.parquet")).await.unwrap() == 0 {}
    let sent: Vec<Sent> = door.asked().iter().map(|text| Sent::of(text)).collect();
    let mut seen = BTreeMap::<&str, u32>::new();
    for request in &sent {
        let sort = sort_of(request);
        *seen.entry(sort).or_default() += 1;
        let (is_new, is_rows) = (matches!(sort, "chain" | "file" | "upload"), matches!(sort, "file" | "upload"));
        let kept = |name: &str, value: &str, is_due: bool| {
            assert_eq!(request.header(name), is_due.then_some(value), "{sort} {name}");
        };
        kept("x-amz-request-payer", "requester", true);
        kept("x-amz-server-side-encryption", "aws:kms", is_new);
        kept("x-amz-server-side-encryption-aws-kms-key-id", KMS, is_new);
        kept("x-amz-tagging", "cost=7&team=data%20%2B%20lake", is_new);
        kept("x-amz-storage-class", "STANDARD_IA", is_rows);
        let authorization = request.header("authorization").unwrap();
        let signed: Vec<&str> =
            authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap().split(';').collect();
        for name in request.headers.keys().filter(|name| name.starts_with("x-amz-")) {
            assert!(signed.contains(&name.as_str()), "{sort}: {name} is not signed");
        }
    }
    let sorts =
        ["abort", "chain", "complete", "delete", "file", "list", "piece", "read", "size", "unfinished", "upload"];
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), sorts, "{seen:?}");
}

/// What a request to S3 is for.
fn sort_of(request: &Sent) -> &'static str {
    match request.method.as_str() {
        "PUT" if request.asks("partNumber") => "piece",
        "PUT" if request.path.contains("/_millrace/") => "chain",
        "PUT" => "file",
        "POST" if request.asks("uploads") => "upload",
        "POST" => "complete",
        "GET" if request.asks("list-type") => "list",
        "GET" if request.asks("uploads") => "unfinished",
        "GET" => "read",
        "HEAD" => "size",
        "DELETE" if request.asks("uploadId") => "abort",
        _ => "delete",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pipeline_file_says_of_objects_of_google_stands_in_their_requests() {
    let (plain, pieces) = (StoreServer::shared(Program::FakeGcs).port(), Resumable::start(1).unwrap());
    let doors = [plain, pieces.port()].map(|port| Door::refusing(port, |_| None).unwrap());
    let found = |_: &str| None;
    let around = Surroundings::new(found, Arc::new(WallClock)).unwrap();
    let store = |door: &Door| {
        let settings = GcsSettings {
            bucket: BUCKET.into(),
            endpoint: Some(format!("http://127.0.0.1:{}", door.port)),
            kms_key_name: Some(GOOGLE_KMS.into()),
            storage_class: Some("NEARLINE".into()),
            user_project: Some("payer".into()),
        };
        ObjectStore::gcs(settings, Keys::new("token"), &around, MEMORY).unwrap().under("kept")
    };
    use_all(store(&doors[0])).await;
    // The emulator ends an upload whose pieces come one by one; an own fake goes on with it.
    upload(&*store(&doors[1]), "t/v0001/pieces.parquet", 17 << 20).await;
    let mut seen = BTreeMap::<&str, u32>::new();
    for request in doors.iter().flat_map(Door::asked).map(|text| Sent::of(&text)) {
        let is_new = request.method == "POST";
        let is_rows = is_new && !request.body.contains("/_millrace/");
        assert_eq!(request.query.get("userProject").map(String::as_str), Some("payer"), "{request:?}");
        assert_eq!(request.query.get("kmsKeyName").map(String::as_str), is_new.then_some(GOOGLE_KMS), "{request:?}");
        assert_eq!(request.body.contains(r#""storageClass":"NEARLINE""#), is_rows, "{request:?}");
        let sort = match request.query.get("uploadType").map(String::as_str) {
            Some("resumable") if is_new => "upload",
            _ if is_rows => "file",
            _ if is_new => "chain",
            _ => match request.method.as_str() {
                "PUT" => "piece",
                "DELETE" => "delete",
                _ => "look",
            },
        };
        *seen.entry(sort).or_default() += 1;
    }
    let sorts = ["chain", "delete", "file", "look", "piece", "upload"];
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), sorts, "{seen:?}");
}
