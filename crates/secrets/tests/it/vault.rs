//! HashiCorp Vault.

use millrace_secrets::Secrets;
use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::vault::{FakeVault, ROOT, Token};
use millrace_testkit::clouds::vendor;
use serde_json::json;

use crate::{read, refusal, secrets};

const STORE: &str = "hashicorp_vault";

fn with_token(vault: &FakeVault, token: &str, clock: &std::sync::Arc<SetClock>) -> Secrets {
    secrets(&[("VAULT_ADDR", &vault.url()), ("VAULT_TOKEN", token)], clock.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_the_store_are_read_as_vault_s_own_client_reads_them() {
    let clock = SetClock::now();
    let vault = FakeVault::start(&clock);
    vault.write("secret/shop/db", json!({"password": "s3cret", "port": 5432}));
    vault.write("old/kv/shop", json!({"password": "s3cret of old"}));
    let secrets = with_token(&vault, ROOT, &clock);
    assert_eq!(read(&secrets, STORE, "secret/shop/db", Some("password")).await.unwrap(), "s3cret");
    assert_eq!(read(&secrets, STORE, "old/kv/shop", Some("password")).await.unwrap(), "s3cret of old");
    let theirs = vendor::run(&["vault-read", &vault.url(), ROOT, "2", "secret", "shop/db"]).unwrap();
    assert_eq!(theirs["value"], json!({"password": "s3cret", "port": 5432}));
    let theirs = vendor::run(&["vault-read", &vault.url(), ROOT, "1", "old/kv", "shop"]).unwrap();
    assert_eq!(theirs["value"], json!({"password": "s3cret of old"}));
    // Each secret of Vault is an object.
    assert_eq!(refusal(read(&secrets, STORE, "secret/shop/db", None).await).0, "SE-014");
    assert_eq!(refusal(read(&secrets, STORE, "secret/shop/db", Some("port")).await).0, "SE-006");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_is_seen_at_the_next_read_and_an_older_version_where_it_is_asked_for() {
    let clock = SetClock::now();
    let vault = FakeVault::start(&clock);
    vault.write("secret/db", json!({"password": "one"}));
    let secrets = with_token(&vault, ROOT, &clock);
    assert_eq!(read(&secrets, STORE, "secret/db", Some("password")).await.unwrap(), "one");
    vault.write("secret/db", json!({"password": "two"}));
    assert_eq!(read(&secrets, STORE, "secret/db", Some("password")).await.unwrap(), "two");
    assert_eq!(read(&secrets, STORE, "secret/db?version=1", Some("password")).await.unwrap(), "one");
    assert_eq!(refusal(read(&secrets, STORE, "secret/db?version=3", Some("password")).await).0, "SE-009");
    assert_eq!(refusal(read(&secrets, STORE, "secret/none", Some("password")).await).0, "SE-009");
    let theirs = vendor::run(&["vault-read", &vault.url(), ROOT, "2", "secret", "none"]).unwrap();
    assert_eq!(theirs["error"], "InvalidPath");
    vault.state().secrets.get_mut("secret/db").unwrap()[1].is_deleted = true;
    let (code, _, shown) = refusal(read(&secrets, STORE, "secret/db", Some("password")).await);
    assert!(code == "SE-011" && shown.contains("undelete"), "{shown}");
    vault.state().secrets.get_mut("secret/db").unwrap()[1].is_destroyed = true;
    assert!(refusal(read(&secrets, STORE, "secret/db", Some("password")).await).2.contains("destroyed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_misses_the_path_is_named_with_the_line_that_grants_it() {
    let clock = SetClock::now();
    let vault = FakeVault::start(&clock);
    vault.write("secret/shop/db", json!({"password": "s3cret"}));
    let token = Token { policies: vec!["agent".into()], ends: None, renew: 0 };
    vault.state().tokens.insert("hvs.agent".into(), token);
    vault.state().policies.insert("agent".into(), vec!["secret/data/other/*".into()]);
    let secrets = with_token(&vault, "hvs.agent", &clock);
    let (code, exit, shown) = refusal(read(&secrets, STORE, "secret/shop/db", Some("password")).await);
    assert_eq!((code, exit), ("SE-010", 77));
    assert!(shown.contains("path \"secret/data/shop/db\" { capabilities = [\"read\"] }"), "{shown}");
    assert!(shown.contains("VAULT_TOKEN") && shown.contains("agent") && !shown.contains("hvs."), "{shown}");
    let theirs = vendor::run(&["vault-read", &vault.url(), "hvs.agent", "2", "secret", "shop/db"]).unwrap();
    assert_eq!(theirs["error"], "Forbidden");
    // The line is enough.
    vault.state().policies.insert("agent".into(), vec!["secret/data/shop/db".into()]);
    assert_eq!(read(&secrets, STORE, "secret/shop/db", Some("password")).await.unwrap(), "s3cret");
    // A token that Vault does not know is another matter.
    let secrets = with_token(&vault, "hvs.unknown", &clock);
    let (code, exit, shown) = refusal(read(&secrets, STORE, "secret/shop/db", Some("password")).await);
    assert!((code, exit) == ("ID-002", 77) && !shown.contains("hvs."), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_cannot_answer_now_is_asked_again() {
    let clock = SetClock::now();
    let vault = FakeVault::start(&clock);
    let secrets = with_token(&vault, ROOT, &clock);
    vault.state().is_sealed = true;
    let fault = read(&secrets, STORE, "secret/db", Some("password")).await.unwrap_err();
    assert!(fault.is_retry() && fault.to_string().contains("sealed"), "{fault}");
    let gone = secrets_of_nobody(&clock);
    assert!(read(&gone, STORE, "secret/db", Some("password")).await.unwrap_err().is_retry());
}

fn secrets_of_nobody(clock: &std::sync::Arc<SetClock>) -> Secrets {
    secrets(&[("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_TOKEN", ROOT)], clock.clone())
}
