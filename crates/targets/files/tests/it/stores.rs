//! Object stores: what independent servers say, and what becomes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use millrace_files::{
    AbsSettings, AwsIdentity, AwsKeys, AzureIdentity, AzureProof, GcpIdentity, GcsSettings, ObjectStore, S3Settings,
    Store,
};
use millrace_model::{ByteSize, Fault, Finding, Refusal, SecretValue, Target};
use millrace_testkit::stores::{ACCESS_KEY, ACCOUNT, ACCOUNT_KEY, BUCKET, Program, SECRET_KEY, StoreServer};

use crate::lake::writer_on;

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
    place_through(program, StoreServer::shared(program).port())
}

/// The same, by another way.
fn place_through(program: Program, port: u16) -> Arc<dyn Store> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    bucket(program, port, BUCKET, ACCESS_KEY, secret_of(program)).under(&format!("place-{number}"))
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
