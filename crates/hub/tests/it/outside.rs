//! The hub as others see it from outside: TLS, proxies in front of it, metrics.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use millrace_hub::{Hub, Networks, Settings, Tls};
use reqwest::Method;
use serde_json::json;

use crate::house::{House, Kind, TestClock, on_both_databases};

/// A certificate for 127.0.0.1, for so many days.
fn certificate(folder: &Path, name: &str, days: &str) -> Tls {
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    let files = Tls { certificate: file("pem"), key: file("key") };
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", days])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&files.key)
        .arg("-out")
        .arg(&files.certificate)
        .output()
        .expect("openssl is there: apt-get install -y openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    files
}

/// A client that trusts this certificate alone.
fn trusting(files: &Tls) -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    let pem = std::fs::read(&files.certificate).unwrap();
    let root = reqwest::Certificate::from_pem(&pem).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0);
    client.timeout(Duration::from_secs(10)).build().unwrap()
}

#[tokio::test]
async fn a_hub_with_a_certificate_speaks_tls_and_takes_a_new_one_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "first", "30");
    let mut settings = Settings::new("127.0.0.1:0", folder.path());
    settings.tls = Some(files.clone());
    settings.public_url = "https://127.0.0.1".into();
    let hub = Hub::open(settings, Arc::new(TestClock::default())).await.unwrap();
    let (url, plain) = (format!("https://{}", hub.address().unwrap()), format!("http://{}", hub.address().unwrap()));
    tokio::spawn(hub.serve(std::future::pending()));
    let page = trusting(&files).get(format!("{url}/sign-in")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["strict-transport-security"].to_str().unwrap().contains("max-age=31536000"));
    assert!(trusting(&files).get(format!("{plain}/livez")).send().await.is_err(), "plain http is not answered");

    let second = certificate(folder.path(), "second", "30");
    assert!(trusting(&second).get(format!("{url}/livez")).send().await.is_err());
    // The key first: for a moment the two do not belong together, and the old pair stays.
    std::fs::copy(&second.key, &files.key).unwrap();
    std::fs::copy(&second.certificate, &files.certificate).unwrap();
    let begun = std::time::Instant::now();
    let client = trusting(&second);
    while client.get(format!("{url}/livez")).send().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new certificate is not served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_ends_the_start_with_its_cure() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (certificate(folder.path(), "one", "1"), certificate(folder.path(), "other", "1"));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (certificate, key) in [
        (one.certificate.clone(), other.key.clone()),
        (folder.path().join("none.pem"), one.key.clone()),
        (one.certificate.clone(), folder.path().join("none.key")),
        (empty.clone(), one.key.clone()),
        (one.key.clone(), one.certificate.clone()),
    ] {
        let mut settings = Settings::new("127.0.0.1:0", folder.path());
        settings.tls = Some(Tls { certificate: certificate.clone(), key: key.clone() });
        let refused = Hub::open(settings, Arc::new(TestClock::default())).await.err().expect("it is refused");
        assert_eq!((refused.code, refused.exit_code()), ("HB-008", 78), "{certificate:?} {key:?}");
        assert!(!refused.cure.is_empty());
    }
}

async fn address_of_last_token(house: &House, forwarded: &str) -> String {
    let request = house.http.post(format!("{}/oauth/token", house.url)).header("x-forwarded-for", forwarded);
    let request = request.basic_auth(&house.set_up.client_id, Some(&house.set_up.client_secret));
    assert_eq!(request.form(&[("grant_type", "client_credentials")]).send().await.unwrap().status(), 200);
    let log = house.get("/audit-log?size=1").await;
    log["results"][0]["address"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_forwarded_address_counts_from_a_trusted_proxy_only() {
    let trusting = House::set(Kind::Sqlite, |settings| {
        settings.trusted_proxies = Networks::parse("127.0.0.1,10.0.0.0/8").unwrap();
    })
    .await;
    assert_eq!(address_of_last_token(&trusting, "6.6.6.6, 192.0.2.7, 10.1.1.1").await, "192.0.2.7");
    let wary = House::open(Kind::Sqlite).await;
    assert_eq!(address_of_last_token(&wary, "192.0.2.7").await, "127.0.0.1");
}

on_both_databases!(the_metrics_are_at_their_own_address_and_count_agents_by_status);

async fn the_metrics_are_at_their_own_address_and_count_agents_by_status(house: House) {
    // Without the setting nobody is told anything.
    assert_eq!(house.http.get(format!("{}/metrics", house.url)).send().await.unwrap().status(), 404);
    let kind = if house.settings.database_url.is_some() { Kind::Postgres } else { Kind::Sqlite };
    let house = House::set(kind, |settings| settings.metrics_listen = Some("127.0.0.1:0".into())).await;
    let (_, token) = house.agent("north").await;
    house.new_agent("south").await;
    let (_, lost) = house.agent("east").await;
    house.hello(&lost).await;
    house.clock.advance(Duration::from_mins(1));
    let session = house.hello(&token).await;
    house.sync(&token, &session, json!({})).await;
    house.expect(404, Method::GET, "/agents/none", None).await;
    let metrics = house.metrics.expect("metrics are served");
    let answer = house.http.get(format!("http://{metrics}/metrics")).send().await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = answer.text().await.unwrap();
    for line in [
        "millrace_hub_agents{status=\"pending\"} 1",
        "millrace_hub_agents{status=\"running\"} 1",
        "millrace_hub_agents{status=\"stopped\"} 0",
        "millrace_hub_agents{status=\"unknown\"} 1",
        "millrace_hub_sync_duration_seconds_count 1",
        "millrace_hub_http_request_duration_seconds_count{route=\"/dpc/v1/agents/{id}\",status=\"404\"} 1",
        "millrace_hub_http_request_duration_seconds_count{route=\"/dpc/v1/agents\",status=\"201\"} 3",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    assert_eq!(house.http.get(format!("http://{metrics}/readyz")).send().await.unwrap().status(), 200);
    assert_eq!(house.http.get(format!("http://{metrics}/dpc/v1/agents")).send().await.unwrap().status(), 404);
}
