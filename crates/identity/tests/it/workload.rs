//! What a process shows to somebody outside its cloud: its platform's token, and what its own key has signed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use millrace_identity::{ClientKey, Platform, Workload, said};
use millrace_model::Clock;
use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::aws::FakeAws;
use millrace_testkit::clouds::azure::FakeAzure;
use millrace_testkit::clouds::google::FakeGoogle;
use millrace_testkit::clouds::jwt::{KeyPair, checked};
use millrace_testkit::doors::openssl;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::Value;

use crate::{around, refusal};

const AUDIENCE: &str = "https://hub.example.com:8443/?a=b&c";

#[tokio::test]
async fn google_s_metadata_server_says_who_the_service_account_is() {
    let clock = SetClock::now();
    let google = FakeGoogle::start(&clock);
    let around = around(&[("GCE_METADATA_HOST", &google.host())], clock);
    let workload = Workload::new(Platform::Google, &around);
    let token = workload.token(AUDIENCE).await.unwrap();
    let told = said(token.value.reveal()).unwrap();
    assert!(told.contains("accounts.google.com") && told.contains(AUDIENCE), "{told}");
    google.state().has_account = false;
    let (code, shown) = refusal(workload.token(AUDIENCE).await.map(drop));
    assert!(code == "ID-002" && shown.contains("service account"), "{shown}");
    google.state().is_down = true;
    assert_eq!(workload.token(AUDIENCE).await.map(drop).unwrap_err().code, "ID-003");
}

#[tokio::test]
async fn the_token_service_of_aws_says_which_role_the_process_has() {
    let clock = SetClock::now();
    let aws = FakeAws::start(&clock);
    let url = aws.url();
    let keys = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "example")];
    let place = [("AWS_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL_STS", url.as_str())];
    let workload = Workload::new(Platform::Aws, &around(&[keys, place].concat(), clock));
    let token = workload.token(AUDIENCE).await.unwrap();
    let told = said(token.value.reveal()).unwrap();
    assert!(told.contains("arn:aws:iam::123456789012:user/millrace") && told.contains(AUDIENCE), "{told}");
    for denied in ["sts:GetWebIdentityToken", "outbound federation"] {
        aws.state().denied.insert(denied);
        let (code, shown) = refusal(workload.token(AUDIENCE).await.map(drop));
        let cures =
            shown.contains("\"sts:GetWebIdentityToken\"") && shown.contains("enable-outbound-web-identity-federation");
        assert!(code == "ID-002" && cures, "{shown}");
        aws.state().denied.clear();
    }
}

#[tokio::test]
async fn a_managed_identity_of_azure_gives_a_token_for_the_hub_until_it_is_refused() {
    let clock = SetClock::now();
    let azure = FakeAzure::start(&clock);
    let workload =
        Workload::new(Platform::Azure, &around(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &azure.url())], clock));
    let first = workload.token("api://hub").await.unwrap();
    assert_eq!(workload.token("api://hub").await.unwrap().value, first.value);
    workload.forget(&first);
    assert_ne!(workload.token("api://hub").await.unwrap().value, first.value);
}

/// The claims, if the key with these public bytes has signed them.
fn verified(token: &str, how: &'static dyn VerificationAlgorithm, public: &[u8]) -> Option<Value> {
    let (said, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    UnparsedPublicKey::new(how, public).verify(said.as_bytes(), &signature).ok()?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(said.split('.').nth(1)?).ok()?).ok()
}

#[test]
fn a_key_that_openssl_made_signs_assertions_that_its_public_half_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SetClock::now();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let public = |name: &str| {
        openssl(folder.path(), &["pkey", "-in", name, "-pubout", "-out", "public.pem"]).unwrap();
        let body: String = read("public.pem").lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(body).unwrap()
    };
    let assertion = |pem: &str| {
        let key = ClientKey::of_pem(pem).unwrap();
        assert!(!format!("{key:?}").contains("PRIVATE"));
        key.assertion("client-1", AUDIENCE, clock.now()).unwrap()
    };
    openssl(folder.path(), &["genpkey", "-algorithm", "ed25519", "-out", "ed.pem"]).unwrap();
    let claims = verified(&assertion(&read("ed.pem")), &ED25519, &public("ed.pem")[12..]).unwrap();
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&"client-1".into(), &"client-1".into(), &AUDIENCE.into())
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert_ne!(assertion(&read("ed.pem")), assertion(&read("ed.pem")), "each has an id of its own");
    openssl(folder.path(), &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec.pem"])
        .unwrap();
    assert!(verified(&assertion(&read("ec.pem")), &ECDSA_P256_SHA256_FIXED, &public("ec.pem")[26..]).is_some());
    let rsa = KeyPair::create(folder.path()).unwrap();
    let (header, _) = checked(&assertion(&std::fs::read_to_string(&rsa.key).unwrap()), &rsa.public).unwrap();
    assert_eq!(header["alg"], "RS256");
}

#[test]
fn what_is_no_key_is_refused_with_the_reason_and_without_a_word_of_it() {
    for (pem, said) in [
        ("hidden", "no private key"),
        ("-----BEGIN PRIVATE KEY-----\nhidden!\n-----END PRIVATE KEY-----", "damaged"),
        ("-----BEGIN PRIVATE KEY-----\naGlkZGVu\n-----END PRIVATE KEY-----", "none of Ed25519"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nhidden\n-----END ENCRYPTED PRIVATE KEY-----", "encrypted"),
        ("-----BEGIN EC PRIVATE KEY-----\nhidden\n-----END EC PRIVATE KEY-----", "openssl pkcs8"),
        ("-----BEGIN PUBLIC KEY-----\nhidden\n-----END PUBLIC KEY-----", "no private key"),
    ] {
        let why = ClientKey::of_pem(pem).unwrap_err();
        assert!(why.contains(said) && !why.contains("hidden"), "{pem}: {why}");
    }
    assert_eq!(said("nonsense"), None);
}
