//! AWS Secrets Manager.

use millrace_secrets::Secrets;
use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::aws::FakeAws;
use millrace_testkit::clouds::moto::Moto;
use millrace_testkit::clouds::vendor;

use crate::{read, refusal, secrets};

const STORE: &str = "aws_secrets_manager";

fn with_keys(url: &str, region: &str) -> Secrets {
    let keys = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "example")];
    let more = [("AWS_ENDPOINT_URL_SECRETS_MANAGER", url), ("AWS_REGION", region)];
    secrets(&[&keys[..], &more[..]].concat(), SetClock::now())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_aws_s_own_client_made_is_read_by_name_arn_key_and_version() {
    let moto = Moto::start().unwrap();
    let object = r#"{"password":"s3cret 2","port":5432}"#;
    let made = vendor::run(&["aws-make", &moto.url(), "billing/db", "s3cret 1", object]).unwrap();
    let (arn, first) = (made["arn"].as_str().unwrap(), made["versions"][0].as_str().unwrap());
    let secrets = with_keys(&moto.url(), "eu-west-1");
    assert_eq!(read(&secrets, STORE, "billing/db", None).await.unwrap(), object);
    assert_eq!(read(&secrets, STORE, "billing/db", Some("password")).await.unwrap(), "s3cret 2");
    assert_eq!(refusal(read(&secrets, STORE, "billing/db", Some("port")).await).0, "SE-006");
    let stage = "billing/db?versionStage=AWSPREVIOUS";
    assert_eq!(read(&secrets, STORE, stage, None).await.unwrap(), "s3cret 1");
    assert_eq!(read(&secrets, STORE, &format!("{arn}?versionId={first}"), None).await.unwrap(), "s3cret 1");
    // The region of the ARN, whatever the process's is.
    let elsewhere = with_keys(&moto.url(), "us-east-2");
    assert_eq!(read(&elsewhere, STORE, arn, Some("password")).await.unwrap(), "s3cret 2");
    let (code, exit, shown) = refusal(read(&elsewhere, STORE, "billing/db", None).await);
    assert!((code, exit) == ("SE-009", 64) && shown.contains("us-east-2"), "{shown}");
    assert_eq!(refusal(read(&secrets, STORE, "billing/db?versionStage=NONE", None).await).0, "SE-009");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_read_as_text_and_a_deleted_secret_is_said_to_be_one() {
    let moto = Moto::start().unwrap();
    vendor::run(&["aws-binary", &moto.url(), "bytes", "s3cret"]).unwrap();
    let secrets = with_keys(&moto.url(), "eu-west-1");
    assert_eq!(read(&secrets, STORE, "bytes", None).await.unwrap(), "s3cret");
    vendor::run(&["aws-delete", &moto.url(), "bytes"]).unwrap();
    assert_eq!(refusal(read(&secrets, STORE, "bytes", None).await).0, "SE-011");
}

#[tokio::test]
async fn without_a_region_or_an_identity_it_is_said_what_is_missing() {
    let (clock, nothing) = (SetClock::now(), ("AWS_EC2_METADATA_DISABLED", "true"));
    let (code, _, shown) = refusal(read(&secrets(&[nothing], clock.clone()), STORE, "billing/db", None).await);
    assert!(code == "SE-008" && shown.contains("AWS_REGION"), "{shown}");
    let (code, exit, shown) =
        refusal(read(&secrets(&[nothing, ("AWS_REGION", "eu-west-1")], clock), STORE, "billing/db", None).await);
    assert!((code, exit) == ("ID-001", 77) && shown.contains("AWS_ACCESS_KEY_ID is not set"), "{shown}");
}

#[tokio::test]
async fn a_policy_that_misses_a_permission_is_named_with_the_line_that_grants_it() {
    let aws = FakeAws::start(&SetClock::now());
    aws.state().secrets.insert("billing/db".into(), "s3cret".into());
    let secrets = with_keys(&aws.url(), "eu-west-1");
    assert_eq!(read(&secrets, STORE, "billing/db", None).await.unwrap(), "s3cret");
    aws.state().denied.insert("secretsmanager:GetSecretValue");
    let (code, exit, shown) = refusal(read(&secrets, STORE, "billing/db", None).await);
    assert_eq!((code, exit), ("SE-010", 77));
    let line = r#"{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:billing/db-??????"}"#;
    assert!(shown.contains(line) && shown.contains("AKIDEXAMPLE of AWS_ACCESS_KEY_ID"), "{shown}");
    // The key that the secret is encrypted with has a permission of its own.
    aws.state().denied = std::iter::once("kms:Decrypt").collect();
    let (code, _, shown) = refusal(read(&secrets, STORE, "billing/db", None).await);
    assert!(code == "SE-010" && shown.contains(r#""Action":"kms:Decrypt""#), "{shown}");
    aws.state().denied.clear();
    assert_eq!(read(&secrets, STORE, "billing/db", None).await.unwrap(), "s3cret");
    // Rotated: the next read has the new one.
    aws.state().secrets.insert("billing/db".into(), "s3cret 2".into());
    assert_eq!(read(&secrets, STORE, "billing/db", None).await.unwrap(), "s3cret 2");
    aws.state().is_down = true;
    assert!(read(&secrets, STORE, "billing/db", None).await.unwrap_err().is_retry());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_takes_what_aws_s_own_client_signs() {
    let aws = FakeAws::start(&SetClock::now());
    aws.state().secrets.insert("billing/db".into(), "value".into());
    assert_eq!(vendor::run(&["aws-read", &aws.url(), "billing/db"]).unwrap()["value"], "value");
    assert_eq!(vendor::run(&["aws-read", &aws.url(), "none"]).unwrap()["error"], "ResourceNotFoundException");
    aws.state().keys.get_mut("AKIDEXAMPLE").unwrap().secret = "another".into();
    assert_eq!(vendor::run(&["aws-read", &aws.url(), "billing/db"]).unwrap()["error"], "ClientError");
}
