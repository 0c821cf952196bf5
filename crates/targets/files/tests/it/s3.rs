//! S3 as a store: what two independent servers say, and what becomes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use millrace_files::{AwsIdentity, AwsKeys, ObjectStore, S3Settings, Store};
use millrace_model::{ByteSize, Fault, Refusal, SecretValue, Target};
use millrace_testkit::stores::{ACCESS_KEY, BUCKET, Program, S3Server, SECRET_KEY};

use crate::lake::writer_on;

/// Keys that stay.
struct Keys(AwsKeys);

#[async_trait]
impl AwsIdentity for Keys {
    async fn keys(&self) -> Result<AwsKeys, Fault> {
        Ok(self.0.clone())
    }
}

fn bucket(program: Program, bucket: &str, id: &str, secret: &str) -> ObjectStore {
    let settings = S3Settings {
        bucket: bucket.into(),
        region: "us-east-1".into(),
        endpoint: Some(S3Server::shared(program).endpoint()),
        path_style: true,
        ..S3Settings::default()
    };
    let keys = AwsKeys { id: id.into(), secret: SecretValue::new(secret), token: None };
    ObjectStore::s3(settings, Arc::new(Keys(keys)), ByteSize::mib(20)).unwrap()
}

/// A place of its own for each that asks.
pub(crate) fn s3_of(program: Program) -> Arc<dyn Store> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    bucket(program, BUCKET, ACCESS_KEY, SECRET_KEY).under(&format!("place-{number}"))
}

#[tokio::test]
async fn a_check_finds_nothing_where_everything_is_allowed() {
    for program in [Program::SeaweedFs, Program::VersityGw] {
        assert_eq!(writer_on(s3_of(program), "one").check().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_check_names_the_permission_that_is_missing() {
    for (identity, permission) in
        [("no-list", "s3:ListBucket"), ("no-read", "s3:GetObject"), ("no-write", "s3:PutObject")]
    {
        let store = bucket(Program::SeaweedFs, BUCKET, identity, SECRET_KEY);
        let findings = writer_on(Arc::new(store), "one").check().await.unwrap();
        assert_eq!((findings.len(), findings[0].code, findings[0].refusal), (1, "FL-020", Refusal::Permission));
        let finding = &findings[0];
        assert!(finding.message.contains(&format!("{permission} is missing")), "{}", finding.message);
        assert!(finding.cure.contains(&format!("\"Action\":\"{permission}\"")), "{}", finding.cure);
    }
}

#[tokio::test]
async fn a_wrong_secret_and_a_missing_bucket_are_answers() {
    for program in [Program::SeaweedFs, Program::VersityGw] {
        for (bucket, secret, code) in
            [(bucket(program, BUCKET, ACCESS_KEY, "wrong"), "wrong", "FL-022"), (bucket(program, "nowhere", ACCESS_KEY, SECRET_KEY), "", "FL-021")]
        {
            let findings = writer_on(Arc::new(bucket), "one").check().await.unwrap();
            assert_eq!((findings.len(), findings[0].code), (1, code), "{program:?} {findings:?}");
            assert!(secret.is_empty() || !findings[0].message.contains(secret));
        }
    }
}
