//! Azure Key Vault.

use std::sync::Arc;

use millrace_secrets::Secrets;
use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::azure::{CLIENT, FakeAzure, TENANT};
use millrace_testkit::clouds::vendor;
use millrace_testkit::doors::{Authority, Door};

use crate::{read, refusal, secrets};

const STORE: &str = "azure_key_vault";

fn of_application(vault: &FakeAzure, clock: &Arc<SetClock>) -> Secrets {
    let url = vault.url();
    let application = [
        ("AZURE_AUTHORITY_HOST", url.as_str()),
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
        ("AZURE_CLIENT_SECRET", "the secret"),
        ("DEFAULT_KEYVAULT", url.as_str()),
    ];
    secrets(&application, clock.clone())
}

#[tokio::test]
async fn a_secret_is_read_by_name_version_and_key_and_a_rotated_one_at_the_next_read() {
    let clock = SetClock::now();
    let vault = FakeAzure::start(&clock);
    vault.write("shop-db", r#"{"password":"s3cret"}"#);
    let secrets = of_application(&vault, &clock);
    assert_eq!(read(&secrets, STORE, "shop-db", Some("password")).await.unwrap(), "s3cret");
    vault.write("shop-db", "s3cret 2");
    assert_eq!(read(&secrets, STORE, "shop-db", None).await.unwrap(), "s3cret 2");
    assert_eq!(read(&secrets, STORE, "shop-db/version1", Some("password")).await.unwrap(), "s3cret");
    let identifier = format!("{}/secrets/shop-db/version2", vault.url());
    assert_eq!(read(&secrets, STORE, &identifier, None).await.unwrap(), "s3cret 2");
    // One request without a token, which says which is wanted; then one for each read.
    assert_eq!(vault.state().times("GET /secrets/"), 5);
    let (code, exit, shown) = refusal(read(&secrets, STORE, "none", None).await);
    assert!((code, exit) == ("SE-009", 64) && shown.contains("not found"), "{shown}");
    vault.state().secrets.get_mut("shop-db").unwrap()[1].2 = false;
    let (code, _, shown) = refusal(read(&secrets, STORE, "shop-db", None).await);
    assert!(code == "SE-011" && shown.contains("--enabled true"), "{shown}");
}

#[tokio::test]
async fn a_role_that_is_missing_is_named_with_the_line_that_grants_it() {
    let clock = SetClock::now();
    let vault = FakeAzure::start(&clock);
    vault.write("shop-db", "s3cret");
    let secrets = of_application(&vault, &clock);
    vault.state().forbidden = Some("ForbiddenByRbac");
    let (code, exit, shown) = refusal(read(&secrets, STORE, "shop-db", None).await);
    assert_eq!((code, exit), ("SE-010", 77));
    assert!(shown.contains("Microsoft.KeyVault/vaults/secrets/getSecret/action"), "{shown}");
    assert!(shown.contains("Key Vault Secrets User") && shown.contains("/secrets/shop-db"), "{shown}");
    assert!(shown.contains(CLIENT) && shown.contains("AZURE_CLIENT_SECRET"), "{shown}");
    vault.state().forbidden = Some("AccessDenied");
    assert!(refusal(read(&secrets, STORE, "shop-db", None).await).2.contains("--secret-permissions get"));
    vault.state().forbidden = None;
    assert_eq!(read(&secrets, STORE, "shop-db", None).await.unwrap(), "s3cret");
    vault.state().is_down = true;
    assert!(read(&secrets, STORE, "shop-db", None).await.unwrap_err().is_retry());
}

#[tokio::test]
async fn no_token_goes_to_a_host_that_is_no_key_vault() {
    let clock = SetClock::now();
    let vault = FakeAzure::start(&clock);
    let secrets = of_application(&vault, &clock);
    for strange in [
        "https://evil.example/secrets/x",
        "http://a.vault.azure.net/secrets/x",
        "https://evilvault.azure.net/secrets/x",
    ] {
        let (code, _, shown) = refusal(read(&secrets, STORE, strange, None).await);
        assert!(code == "SE-008" && shown.contains("no key vault"), "{shown}");
    }
    assert_eq!(vault.state().asked.len(), 0);
    let (code, _, shown) = refusal(read(&crate::secrets(&[], clock), STORE, "shop-db", None).await);
    assert!(code == "SE-008" && shown.contains("DEFAULT_KEYVAULT"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_is_read_by_azure_s_own_client() {
    let clock = SetClock::now();
    let vault = FakeAzure::start(&clock);
    vault.write("shop-db", "one");
    vault.write("shop-db", "two");
    // Their client sends a token over TLS only.
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path()).unwrap();
    let door = Door::tls(&authority, vault.port()).unwrap();
    let url = format!("https://localhost:{}", door.port);
    vault.state().address.clone_from(&url);
    let certificate = authority.certificate.to_str().unwrap();
    let ask = |name: &str, version: &str| {
        vendor::run(&["azure-read", &url, certificate, TENANT, CLIENT, "the secret", name, version]).unwrap()
    };
    assert_eq!(ask("shop-db", "")["value"], "two");
    assert_eq!(ask("shop-db", "version1")["value"], "one");
    assert_eq!(ask("none", "")["error"], "ResourceNotFoundError");
    vault.state().forbidden = Some("ForbiddenByRbac");
    assert_eq!(ask("shop-db", "")["error"], "HttpResponseError");
}
