//! Identities of Google.

use std::path::Path;
use std::sync::Arc;

use millrace_identity::{CLOUD_PLATFORM, TokenIdentity, google, project};
use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::google::{AUDIENCE, EMAIL, FakeGoogle, KEY_ID};
use millrace_testkit::clouds::jwt::KeyPair;
use millrace_testkit::clouds::vendor;
use serde_json::{Value, json};

use crate::{around, refusal};

struct House {
    google: FakeGoogle,
    clock: Arc<SetClock>,
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let clock = SetClock::now();
        Self { google: FakeGoogle::start(&clock), clock, folder: tempfile::tempdir().unwrap() }
    }

    fn identity(&self, more: &[(&str, &str)]) -> Arc<dyn TokenIdentity> {
        let host = self.google.host();
        google(&around(&[&[("GCE_METADATA_HOST", host.as_str())], more].concat(), self.clock.clone()))
    }

    /// The identity of a credentials file with this content.
    fn of_file(&self, content: &Value) -> Arc<dyn TokenIdentity> {
        let file = self.folder.path().join("credentials.json");
        std::fs::write(&file, content.to_string()).unwrap();
        self.identity(&[("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())])
    }

    fn key_file(&self, key: &Path) -> Value {
        json!({"type": "service_account", "project_id": "project-1", "client_email": EMAIL, "private_key_id": KEY_ID,
            "private_key": std::fs::read_to_string(key).unwrap(), "token_uri": format!("{}/token", self.google.url())})
    }
}

#[tokio::test]
async fn a_service_account_s_key_signs_an_assertion_that_the_token_service_verifies() {
    let house = House::new();
    let pair = KeyPair::create(house.folder.path()).unwrap();
    house.google.state().public = Some(pair.public.clone());
    let identity = house.of_file(&house.key_file(&pair.key));
    let first = identity.token(CLOUD_PLATFORM).await.unwrap();
    assert_eq!(identity.token(CLOUD_PLATFORM).await.unwrap().value, first.value);
    house.clock.advance(3600 - 590);
    assert_ne!(identity.token(CLOUD_PLATFORM).await.unwrap().value, first.value);
    assert_eq!(house.google.state().times("POST /token"), 2);
    // A key that is not the account's any more.
    house.google.state().public = None;
    let (code, shown) = refusal(house.of_file(&house.key_file(&pair.key)).token(CLOUD_PLATFORM).await);
    assert!(code == "ID-002" && shown.contains(EMAIL) && shown.contains("Invalid JWT Signature"), "{shown}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[tokio::test]
async fn a_file_that_is_none_is_refused_without_a_word_of_it() {
    let house = House::new();
    for content in [json!({"type": "hidden"}), json!({"type": "service_account"}), json!("hidden")] {
        assert_eq!(refusal(house.of_file(&content).token(CLOUD_PLATFORM).await).0, "ID-005");
    }
    let mut content = json!({"type": "service_account", "client_email": EMAIL, "private_key_id": KEY_ID});
    content["private_key"] = "hidden".into();
    let (code, shown) = refusal(house.of_file(&content).token(CLOUD_PLATFORM).await);
    assert!(code == "ID-005" && shown.contains("no RSA key"), "{shown}");
    let absent = house.identity(&[("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")]);
    assert_eq!(refusal(absent.token(CLOUD_PLATFORM).await).0, "ID-005");
}

#[tokio::test]
async fn a_login_s_refresh_token_gives_tokens() {
    let house = House::new();
    let mut content = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s",
        "refresh_token": "refresh", "token_uri": format!("{}/token", house.google.url())});
    house.of_file(&content).token(CLOUD_PLATFORM).await.unwrap();
    content["refresh_token"] = "hidden".into();
    let (code, shown) = refusal(house.of_file(&content).token(CLOUD_PLATFORM).await);
    assert!(code == "ID-002" && shown.contains("log in again"), "{shown}");
}

#[tokio::test]
async fn a_federated_identity_trades_another_issuer_s_token_and_may_take_a_service_account() {
    let house = House::new();
    let token = house.folder.path().join("subject");
    std::fs::write(&token, r#"{"id_token":"jwt.1"}"#).unwrap();
    house.google.state().subject = Some("jwt.1".into());
    let source = json!({"file": token, "format": {"type": "json", "subject_token_field_name": "id_token"}});
    let mut content = json!({"type": "external_account", "audience": AUDIENCE, "credential_source": source,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{}/v1/token", house.google.url())});
    house.of_file(&content).token(CLOUD_PLATFORM).await.unwrap();
    let account = format!("{}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken", house.google.url());
    content["service_account_impersonation_url"] = account.into();
    house.of_file(&content).token(CLOUD_PLATFORM).await.unwrap();
    house.google.state().is_denied = true;
    let (code, shown) = refusal(house.of_file(&content).token(CLOUD_PLATFORM).await);
    assert!(code == "ID-002" && shown.contains("roles/iam.workloadIdentityUser"), "{shown}");
    std::fs::write(&token, r#"{"id_token":"hidden"}"#).unwrap();
    let (code, shown) = refusal(house.of_file(&content).token(CLOUD_PLATFORM).await);
    assert!(code == "ID-002" && shown.contains("attribute condition"), "{shown}");
    std::fs::write(&token, "{}").unwrap();
    assert_eq!(refusal(house.of_file(&content).token(CLOUD_PLATFORM).await).0, "ID-005");
}

#[tokio::test]
async fn a_role_of_aws_is_taken_for_its_word_by_a_signed_request() {
    let house = House::new();
    let source = json!({"environment_id": "aws1", "region_url": "http://169.254.169.254/latest/meta-data/placement/availability-zone",
        "regional_cred_verification_url":
            "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"});
    let content = json!({"type": "external_account", "audience": AUDIENCE, "credential_source": source,
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
        "token_url": format!("{}/v1/token", house.google.url())});
    let file = house.folder.path().join("credentials.json");
    std::fs::write(&file, content.to_string()).unwrap();
    let of_secret = |secret: &str| {
        house.identity(&[
            ("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap()),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "eu-west-1"),
        ])
    };
    of_secret("example").token(CLOUD_PLATFORM).await.unwrap();
    assert_eq!(refusal(of_secret("hidden").token(CLOUD_PLATFORM).await).0, "ID-002");
}

#[tokio::test]
async fn the_metadata_server_is_believed_only_where_it_says_that_it_is_google_s() {
    let house = House::new();
    let identity = house.identity(&[]);
    identity.token(CLOUD_PLATFORM).await.unwrap();
    identity.token(CLOUD_PLATFORM).await.unwrap();
    assert_eq!(house.google.state().times("GET /computeMetadata/v1/instance/service-accounts/default/token"), 1);
    let host = house.google.host();
    let around = around(&[("GCE_METADATA_HOST", &host)], house.clock.clone());
    assert_eq!(project(&around).await.unwrap().as_deref(), Some("project-1"));
    house.google.state().has_account = false;
    let (code, shown) = refusal(house.identity(&[]).token(CLOUD_PLATFORM).await);
    assert!(code == "ID-001" && shown.contains("no service account"), "{shown}");
    house.google.state().has_account = true;
    house.google.state().is_google = false;
    let (code, shown) = refusal(house.identity(&[]).token(CLOUD_PLATFORM).await);
    assert!(code == "ID-001" && shown.contains("no metadata server of Google"), "{shown}");
    house.google.state().is_down = true;
    assert!(project(&around).await.unwrap_err().is_retry());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_is_an_identity_for_google_s_own_client_too() {
    let house = House::new();
    let pair = KeyPair::create(house.folder.path()).unwrap();
    house.google.state().public = Some(pair.public.clone());
    let file = house.folder.path().join("credentials.json");
    let ask = |content: &Value| {
        std::fs::write(&file, content.to_string()).unwrap();
        let given = vendor::run(&["google-file", file.to_str().unwrap()]).unwrap();
        assert!(given["value"].as_str().is_some_and(|token| token.starts_with("ya29.")), "{given}");
    };
    ask(&house.key_file(&pair.key));
    let token = house.folder.path().join("subject");
    std::fs::write(&token, "jwt.1").unwrap();
    house.google.state().subject = Some("jwt.1".into());
    ask(&json!({"type": "external_account", "audience": AUDIENCE, "credential_source": {"file": token},
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{}/v1/token", house.google.url())}));
    let machine = vendor::run(&["google-machine", &house.google.host()]).unwrap();
    assert!(machine["value"].as_str().is_some_and(|token| token.starts_with("ya29.")), "{machine}");
}
