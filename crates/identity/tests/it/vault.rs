//! Identities of HashiCorp Vault.

use std::sync::Arc;

use millrace_identity::VaultClient;
use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::vault::{FakeVault, Token};
use millrace_testkit::clouds::vendor;
use serde_json::json;

use crate::{around, refusal};

struct House {
    vault: FakeVault,
    clock: Arc<SetClock>,
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let clock = SetClock::now();
        Self { vault: FakeVault::start(&clock), clock, folder: tempfile::tempdir().unwrap() }
    }

    fn client(&self, more: &[(&str, &str)]) -> VaultClient {
        let url = self.vault.url();
        VaultClient::new(&around(&[&[("VAULT_ADDR", url.as_str())], more].concat(), self.clock.clone())).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn times(&self, what: &str) -> usize {
        self.vault.state().asked.iter().filter(|asked| *asked == what).count()
    }
}

#[tokio::test]
async fn a_token_that_can_be_renewed_is_renewed_before_it_ends() {
    let house = House::new();
    let ends = Some(house.clock.unix() + 3600);
    let token = Token { policies: vec!["agent".into()], ends, renew: 3600 };
    house.vault.state().tokens.insert("hvs.a".into(), token);
    let client = house.client(&[("VAULT_TOKEN", "hvs.a")]);
    client.token().await.unwrap();
    client.token().await.unwrap();
    assert_eq!(house.times("GET /v1/auth/token/lookup-self"), 1);
    for _ in 0..3 {
        house.clock.advance(3100);
        client.token().await.unwrap();
    }
    assert_eq!(house.times("POST /v1/auth/token/renew-self"), 3);
    // One that is not renewed in time has ended.
    house.clock.advance(3700);
    let (code, shown) = refusal(client.token().await);
    assert!(code == "ID-002" && shown.contains("VAULT_TOKEN"), "{shown}");
}

#[tokio::test]
async fn the_file_of_an_agent_of_vault_is_read_anew_when_its_token_ends() {
    let house = House::new();
    for (token, life) in [("hvs.a", 100), ("hvs.b", 10_000)] {
        let ends = Some(house.clock.unix() + life);
        house.vault.state().tokens.insert(token.into(), Token { policies: vec![], ends, renew: 0 });
    }
    let file = house.file("token", "hvs.a\n");
    let client = house.client(&[("VAULT_TOKEN_FILE", &file)]);
    assert_eq!(client.token().await.unwrap().value.reveal(), "hvs.a");
    house.file("token", "hvs.b\n");
    house.clock.advance(95);
    assert_eq!(client.token().await.unwrap().value.reveal(), "hvs.b");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_role_and_a_pod_sign_in_as_vault_s_own_client_does() {
    let house = House::new();
    house.vault.state().app_roles.insert("role-1".into(), "the secret id".into());
    house.vault.state().kubernetes.insert("pod".into(), "jwt.1".into());
    let secret = house.file("secret", "the secret id\n");
    let app_role = house.client(&[("VAULT_ROLE_ID", "role-1"), ("VAULT_SECRET_ID_FILE", &secret)]);
    let first = app_role.token().await.unwrap();
    house.clock.advance(3100);
    assert_ne!(app_role.token().await.unwrap().value, first.value);
    let token = house.file("jwt", "jwt.1");
    let pod = house.client(&[("VAULT_KUBERNETES_ROLE", "pod"), ("VAULT_KUBERNETES_TOKEN_FILE", &token)]);
    pod.token().await.unwrap();
    let url = house.vault.url();
    let theirs = vendor::run(&["vault-app-role", &url, "role-1", "the secret id"]).unwrap();
    assert_eq!(theirs["value"], json!(["agent"]));
    assert_eq!(vendor::run(&["vault-kubernetes", &url, "pod", "jwt.1"]).unwrap()["value"], json!(["agent"]));
    // Refusals name the role and what to look at.
    let wrong = house.client(&[("VAULT_ROLE_ID", "role-1"), ("VAULT_SECRET_ID", "hidden")]);
    let (code, shown) = refusal(wrong.token().await);
    assert!(code == "ID-002" && shown.contains("role-1") && shown.contains("invalid role or secret ID"), "{shown}");
    house.file("jwt", "hidden");
    house.clock.advance(3600);
    let (code, shown) = refusal(pod.token().await);
    assert!(code == "ID-002" && shown.contains("bound_service_account_names"), "{shown}");
}

#[tokio::test]
async fn a_namespace_is_named_and_a_missing_identity_says_each_place() {
    let house = House::new();
    house.vault.state().namespace = Some("team/a".into());
    let root = millrace_testkit::clouds::vault::ROOT;
    house.client(&[("VAULT_TOKEN", root), ("VAULT_NAMESPACE", "team/a/")]).token().await.unwrap();
    assert_eq!(refusal(house.client(&[("VAULT_TOKEN", root)]).token().await).0, "ID-002");
    let url = house.vault.url();
    let (code, shown) = refusal(VaultClient::new(&around(&[("VAULT_ADDR", &url)], house.clock.clone())).map(drop));
    assert!(code == "ID-001" && shown.contains("VAULT_KUBERNETES_ROLE is not set"), "{shown}");
    let (code, shown) = refusal(VaultClient::new(&around(&[], house.clock.clone())).map(drop));
    assert!(code == "ID-005" && shown.contains("VAULT_ADDR"), "{shown}");
}
