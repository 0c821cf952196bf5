//! Identities of Azure.

use std::sync::Arc;

use millrace_identity::{TokenIdentity, azure};
use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::azure::{CLIENT, FakeAzure, TENANT};
use millrace_testkit::clouds::jwt::KeyPair;
use millrace_testkit::clouds::vendor;

use crate::{around, refusal};

const SCOPE: &str = "https://vault.azure.net/.default";
const TOKENS: &str = "POST /tenant-1/oauth2/v2.0/token";

struct House {
    azure: FakeAzure,
    clock: Arc<SetClock>,
}

impl House {
    fn new() -> Self {
        let clock = SetClock::now();
        Self { azure: FakeAzure::start(&clock), clock }
    }

    fn identity(&self, more: &[(&str, &str)]) -> Arc<dyn TokenIdentity> {
        let url = self.azure.url();
        let usual = [("AZURE_AUTHORITY_HOST", url.as_str()), ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url)];
        azure(&around(&[&usual[..], more].concat(), self.clock.clone()))
    }
}

const APPLICATION: [(&str, &str); 2] = [("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", CLIENT)];

fn application<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    [&APPLICATION[..], &[(name, value)]].concat()
}

#[tokio::test]
async fn a_client_secret_gives_a_token_that_is_renewed_before_it_ends() {
    let house = House::new();
    let identity = house.identity(&application("AZURE_CLIENT_SECRET", "the secret"));
    let first = identity.token(SCOPE).await.unwrap();
    assert_eq!(identity.token(SCOPE).await.unwrap().value, first.value);
    assert_eq!(house.azure.state().times(TOKENS), 1);
    // Another scope has a token of its own.
    identity.token("https://storage.azure.com/.default").await.unwrap();
    assert_eq!(house.azure.state().times(TOKENS), 2);
    house.clock.advance(3600 - 590);
    house.azure.state().is_down = true;
    assert_eq!(identity.token(SCOPE).await.unwrap().value, first.value);
    house.azure.state().is_down = false;
    house.clock.advance(60);
    assert_ne!(identity.token(SCOPE).await.unwrap().value, first.value);
    assert!(!format!("{first:?}").contains("entra."));
}

#[tokio::test]
async fn a_refused_application_is_named_with_what_helps() {
    let house = House::new();
    let wrong = house.identity(&application("AZURE_CLIENT_SECRET", "hidden"));
    let (code, shown) = refusal(wrong.token(SCOPE).await);
    assert!(code == "ID-002" && shown.contains(CLIENT) && shown.contains("not to its id"), "{shown}");
    assert!(!shown.contains("Trace ID"), "{shown}");
    let half = house.identity(&[("AZURE_CLIENT_SECRET", "hidden"), ("AZURE_CLIENT_ID", CLIENT)]);
    let (code, shown) = refusal(half.token(SCOPE).await);
    assert!(code == "ID-005" && shown.contains("AZURE_TENANT_ID is not set"), "{shown}");
    house.azure.state().is_down = true;
    let fault = house.identity(&application("AZURE_CLIENT_SECRET", "the secret")).token(SCOPE).await.unwrap_err();
    assert!(fault.is_retry(), "{fault}");
}

#[tokio::test]
async fn a_certificate_signs_an_assertion_that_the_token_service_verifies() {
    let house = House::new();
    let folder = tempfile::tempdir().unwrap();
    let pair = KeyPair::create(folder.path()).unwrap();
    house.azure.state().certificate = Some((pair.public.clone(), pair.thumbprint.clone()));
    let identity = house.identity(&application("AZURE_CLIENT_CERTIFICATE_PATH", pair.both.to_str().unwrap()));
    identity.token(SCOPE).await.unwrap();
    // A key without its certificate is no identity.
    let half = house.identity(&application("AZURE_CLIENT_CERTIFICATE_PATH", pair.key.to_str().unwrap()));
    let (code, shown) = refusal(half.token(SCOPE).await);
    assert!(code == "ID-005" && shown.contains("no certificate"), "{shown}");
    // Nor is one that the application does not have.
    house.azure.state().certificate = None;
    let identity = house.identity(&application("AZURE_CLIENT_CERTIFICATE_PATH", pair.both.to_str().unwrap()));
    assert_eq!(refusal(identity.token(SCOPE).await).0, "ID-002");
}

#[tokio::test]
async fn a_workload_identity_trades_the_token_of_its_file_which_is_read_anew() {
    let house = House::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let identity = house.identity(&application("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()));
    assert_eq!(refusal(identity.token(SCOPE).await).0, "ID-005");
    for token in ["jwt.1", "jwt.2"] {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        house.azure.state().federated = Some(token.into());
        identity.token(SCOPE).await.unwrap();
        house.clock.advance(3599);
    }
    std::fs::write(&file, "hidden").unwrap();
    let (code, shown) = refusal(identity.token(SCOPE).await);
    assert!(code == "ID-002" && shown.contains("federated credential"), "{shown}");
}

#[tokio::test]
async fn managed_identities_are_asked_for_with_the_header_that_their_service_demands() {
    let house = House::new();
    house.identity(&[]).token(SCOPE).await.unwrap();
    house.identity(&[("AZURE_CLIENT_ID", CLIENT)]).token(SCOPE).await.unwrap();
    assert_eq!(house.azure.state().times("GET /metadata/identity/oauth2/token"), 2);
    let endpoint = format!("{}/msi/token", house.azure.url());
    let platform = [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", "the header")];
    house.identity(&platform).token(SCOPE).await.unwrap();
    assert_eq!(house.azure.state().times("GET /msi/token"), 1);
    let wrong = house.identity(&[platform[0], ("IDENTITY_HEADER", "hidden")]);
    assert_eq!(refusal(wrong.token(SCOPE).await).0, "ID-002");
    // One that is not assigned, and none at all.
    let (code, shown) = refusal(house.identity(&[("AZURE_CLIENT_ID", "other")]).token(SCOPE).await);
    assert!(code == "ID-002" && shown.contains("Identity not found") && shown.contains("other"), "{shown}");
    let nobody = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")];
    let (code, shown) = refusal(azure(&around(&nobody, house.clock.clone())).token(SCOPE).await);
    assert_eq!(code, "ID-001");
    for place in
        ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT"]
    {
        assert!(shown.contains(&format!("{place} is not set")), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_is_an_identity_for_azure_s_own_client_too() {
    let house = House::new();
    let machine = vendor::run(&["azure-machine", &house.azure.url(), SCOPE]).unwrap();
    assert!(machine["value"].as_str().unwrap().starts_with("entra."), "{machine}");
    let endpoint = format!("{}/msi/token", house.azure.url());
    let platform = vendor::run(&["azure-platform", &endpoint, "the header", SCOPE]).unwrap();
    assert!(platform["value"].as_str().unwrap().starts_with("entra."), "{platform}");
}
