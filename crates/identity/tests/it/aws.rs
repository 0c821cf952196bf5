//! Identities of AWS.

use std::sync::Arc;

use millrace_identity::{AwsClient, AwsIdentity, AwsSettings, aws, region};
use millrace_model::Fault;
use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::aws::FakeAws;
use millrace_testkit::clouds::vendor;
use serde_json::json;

use crate::{around, refusal};

const ROLE: &str = "arn:aws:iam::123456789012:role/lake";
const READ: &str = "secretsmanager.GetSecretValue";

/// The fake, and the identity that these variables make, with the fake behind every address.
struct House {
    aws: FakeAws,
    clock: Arc<SetClock>,
}

impl House {
    fn new() -> Self {
        let clock = SetClock::now();
        let aws = FakeAws::start(&clock);
        aws.state().secrets.insert("db".into(), "value".into());
        Self { aws, clock }
    }

    #[expect(clippy::unused_self, reason = "variables are those of a stage")]
    fn variables<'a>(&self, url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let usual =
            [("AWS_ENDPOINT_URL", url), ("AWS_REGION", "eu-west-1"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)];
        [&usual[..], more].concat()
    }

    fn identity(&self, more: &[(&str, &str)], settings: &AwsSettings) -> Arc<dyn AwsIdentity> {
        let url = self.aws.url();
        aws(&around(&self.variables(&url, more), self.clock.clone()), settings)
    }

    fn client(&self, identity: Arc<dyn AwsIdentity>) -> AwsClient {
        let url = self.aws.url();
        AwsClient::new(&around(&self.variables(&url, &[]), self.clock.clone()), identity, "secretsmanager")
    }

    /// Asks a service with it that checks the signature.
    async fn use_it(&self, identity: &Arc<dyn AwsIdentity>) -> Result<(), Fault> {
        let client = self.client(Arc::clone(identity));
        client.json("eu-west-1", READ, &json!({"SecretId": "db"})).await.map(|answer| assert!(answer.is_ok()))
    }
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "example")];

#[tokio::test]
async fn keys_of_the_environment_sign_and_wrong_ones_are_named() {
    let house = House::new();
    let identity = house.identity(&KEYS, &AwsSettings::default());
    house.use_it(&identity).await.unwrap();
    let wrong = house.identity(&[KEYS[0], ("AWS_SECRET_ACCESS_KEY", "hidden")], &AwsSettings::default());
    let (code, shown) = refusal(house.use_it(&wrong).await);
    assert!(code == "ID-002" && shown.contains("AKIDEXAMPLE of AWS_ACCESS_KEY_ID"), "{shown}");
    let half = house.identity(&KEYS[..1], &AwsSettings::default());
    let (code, shown) = refusal(half.credentials().await);
    assert!(code == "ID-005" && shown.contains("set AWS_SECRET_ACCESS_KEY too"), "{shown}");
}

#[tokio::test]
async fn nothing_at_all_names_each_place_that_was_looked_at() {
    let clock = SetClock::now();
    let none = around(&[("AWS_EC2_METADATA_DISABLED", "true")], clock);
    let (code, shown) = refusal(aws(&none, &AwsSettings::default()).credentials().await);
    assert_eq!(code, "ID-001");
    for place in [
        "AWS_ACCESS_KEY_ID is not set",
        "AWS_WEB_IDENTITY_TOKEN_FILE is not set",
        "no profile `default`",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI are not set",
        "AWS_EC2_METADATA_DISABLED is true",
    ] {
        assert!(shown.contains(place), "{place}: {shown}");
    }
}

#[tokio::test]
async fn the_role_of_the_machine_needs_a_session_and_is_renewed_before_it_ends() {
    let house = House::new();
    house.aws.state().machine_role = Some("machine".into());
    let identity = house.identity(&[], &AwsSettings::default());
    house.use_it(&identity).await.unwrap();
    house.use_it(&identity).await.unwrap();
    let asked = "GET /latest/meta-data/iam/security-credentials/machine";
    assert_eq!(house.aws.state().times(asked), 1);
    // Ten minutes before its end it is replaced; the old one would still be good.
    house.clock.advance(3600 - 590);
    house.use_it(&identity).await.unwrap();
    assert_eq!(house.aws.state().times(asked), 2);
    assert!(house.aws.state().times("PUT /latest/api/token") >= 2);
    let url = house.aws.url();
    let machine = around(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)], house.clock.clone());
    assert_eq!(region(&machine).await.as_deref(), Some("eu-central-1"));
    // Without a role it is said that there is none.
    house.aws.state().machine_role = None;
    let (code, shown) = refusal(house.identity(&[], &AwsSettings::default()).credentials().await);
    assert!(code == "ID-001" && shown.contains("no instance profile"), "{shown}");
}

#[tokio::test]
async fn while_the_service_is_down_valid_credentials_are_used_on_and_ended_ones_are_not() {
    let house = House::new();
    house.aws.state().machine_role = Some("machine".into());
    let identity = house.identity(&[], &AwsSettings::default());
    let first = identity.credentials().await.unwrap();
    house.aws.state().is_down = true;
    house.clock.advance(3600 - 300);
    assert_eq!(identity.credentials().await.unwrap().key_id, first.key_id);
    // It is asked again only after a pause.
    let asked = house.aws.state().asked.len();
    assert_eq!(identity.credentials().await.unwrap().key_id, first.key_id);
    assert_eq!(house.aws.state().asked.len(), asked);
    house.clock.advance(300);
    assert!(identity.credentials().await.is_err());
    house.aws.state().is_down = false;
    assert_ne!(identity.credentials().await.unwrap().key_id, first.key_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once_ask_the_service_once() {
    let house = House::new();
    house.aws.state().machine_role = Some("machine".into());
    let identity = house.identity(&[], &AwsSettings::default());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let identity = Arc::clone(&identity);
        callers.spawn(async move { identity.credentials().await.unwrap().key_id.clone() });
    }
    let ids = callers.join_all().await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(house.aws.state().times("PUT /latest/api/token"), 1);
}

#[tokio::test]
async fn a_container_gets_its_role_with_the_token_of_its_file() {
    let house = House::new();
    house.aws.state().container_token = Some("pod token".into());
    let folder = tempfile::tempdir().unwrap();
    let (file, full) = (folder.path().join("token"), format!("{}/v2/credentials/task", house.aws.url()));
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let identity = house.identity(&variables, &AwsSettings::default());
    assert_eq!(refusal(identity.credentials().await).0, "ID-005");
    std::fs::write(&file, "pod token\n").unwrap();
    house.use_it(&identity).await.unwrap();
    // The file is replaced, and the next credentials are asked for with the new token.
    house.aws.state().container_token = Some("next".into());
    std::fs::write(&file, "next").unwrap();
    house.clock.advance(3599);
    house.use_it(&identity).await.unwrap();
    assert_eq!(house.aws.state().times("GET /v2/credentials/task"), 2);
    std::fs::write(&file, "hidden").unwrap();
    house.clock.advance(3600);
    let (code, shown) = refusal(identity.credentials().await);
    assert!(code == "ID-002" && shown.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI"), "{shown}");
}

#[tokio::test]
async fn a_web_identity_becomes_a_role_and_its_file_is_read_anew() {
    let house = House::new();
    house.aws.state().web_identities.insert(ROLE.into(), "jwt.1".into());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "jwt.1\n").unwrap();
    let variables = [("AWS_ROLE_ARN", ROLE), ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap())];
    let identity = house.identity(&variables, &AwsSettings::default());
    house.use_it(&identity).await.unwrap();
    house.aws.state().web_identities.insert(ROLE.into(), "jwt.2".into());
    std::fs::write(&file, "jwt.2").unwrap();
    house.clock.advance(3599);
    house.use_it(&identity).await.unwrap();
    assert_eq!(house.aws.state().times("AssumeRoleWithWebIdentity"), 2);
    std::fs::write(&file, "hidden").unwrap();
    house.clock.advance(3599);
    let (code, shown) = refusal(identity.credentials().await);
    assert!(code == "ID-002" && shown.contains("trust policy") && shown.contains(ROLE), "{shown}");
}

#[tokio::test]
async fn a_role_is_taken_with_its_external_id_over_any_identity() {
    let house = House::new();
    house.aws.state().roles.insert(ROLE.into(), Some("customer 7".into()));
    let settings = |external_id: Option<&str>| AwsSettings {
        role_arn: Some(ROLE.into()),
        external_id: external_id.map(Into::into),
        region: None,
    };
    let identity = house.identity(&KEYS, &settings(Some("customer 7")));
    house.use_it(&identity).await.unwrap();
    let (code, shown) = refusal(house.identity(&KEYS, &settings(None)).credentials().await);
    assert!(
        code == "ID-002" && shown.contains("\"Action\":\"sts:AssumeRole\"") && shown.contains("AKIDEXAMPLE"),
        "{shown}"
    );
    // Over the machine's role, too; both are replaced before they end.
    house.aws.state().machine_role = Some("machine".into());
    let identity = house.identity(&[], &settings(Some("customer 7")));
    house.use_it(&identity).await.unwrap();
    house.clock.advance(3100);
    house.use_it(&identity).await.unwrap();
    assert_eq!(house.aws.state().times("GET /latest/meta-data/iam/security-credentials/machine"), 2);
}

#[tokio::test]
async fn a_profile_has_keys_or_a_role_with_a_source() {
    let house = House::new();
    house.aws.state().roles.insert(ROLE.into(), None);
    let folder = tempfile::tempdir().unwrap();
    let (config, credentials) = (folder.path().join("config"), folder.path().join("credentials"));
    let text = format!(
        "[default]\nregion = eu-west-3\n\n# a role\n[profile lake]\nrole_arn={ROLE}\nsource_profile = keys\n\
         [profile one]\nrole_arn={ROLE}\nsource_profile=other\n[profile other]\nrole_arn={ROLE}\nsource_profile=one\n\
         [profile machine]\nrole_arn={ROLE}\ncredential_source = Ec2InstanceMetadata\n[profile sso]\nsso_session = x\n"
    );
    std::fs::write(&config, text).unwrap();
    std::fs::write(&credentials, "[keys]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = example\n").unwrap();
    let of = |profile: &str| {
        let variables = [
            ("AWS_CONFIG_FILE", config.to_str().unwrap()),
            ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap()),
            ("AWS_PROFILE", profile),
        ];
        house.identity(&variables, &AwsSettings::default())
    };
    house.aws.state().machine_role = Some("machine".into());
    for profile in ["keys", "lake", "machine"] {
        house.use_it(&of(profile)).await.unwrap();
    }
    for (profile, said) in
        [("one", "leads back to itself"), ("sso", "single sign-on is not built"), ("none", "in neither file")]
    {
        let (code, shown) = refusal(of(profile).credentials().await);
        assert!(code == "ID-005" && shown.contains(said), "{profile}: {shown}");
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_put_right_by_the_service_s_own_date() {
    let house = House::new();
    house.aws.state().ahead = 1200;
    let identity = house.identity(&KEYS, &AwsSettings::default());
    let client = house.client(Arc::clone(&identity));
    let secret = json!({"SecretId": "db"});
    assert!(client.json("eu-west-1", READ, &secret).await.unwrap().is_ok());
    assert_eq!(house.aws.state().times(READ), 2);
    // From then on at the first attempt.
    assert!(client.json("eu-west-1", READ, &secret).await.unwrap().is_ok());
    assert_eq!(house.aws.state().times(READ), 3);
}

#[tokio::test]
async fn credentials_that_a_service_calls_ended_are_got_anew() {
    let house = House::new();
    house.aws.state().machine_role = Some("machine".into());
    let identity = house.identity(&[], &AwsSettings::default());
    let first = identity.credentials().await.unwrap();
    house.aws.state().keys.get_mut(&first.key_id).unwrap().ends = Some(0);
    house.use_it(&identity).await.unwrap();
    assert_ne!(identity.credentials().await.unwrap().key_id, first.key_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_is_an_identity_for_aws_s_own_client_too() {
    let house = House::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "token.1").unwrap();
    house.aws.state().machine_role = Some("machine".into());
    house.aws.state().container_token = Some("token.1".into());
    house.aws.state().web_identities.insert(ROLE.into(), "token.1".into());
    for kind in ["machine", "container", "web"] {
        let read = vendor::run(&["aws-identity", &house.aws.url(), kind, file.to_str().unwrap()]).unwrap();
        assert_eq!(read["value"], "value", "{kind}: {read}");
    }
}
