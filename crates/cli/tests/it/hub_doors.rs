//! How an agent comes to its hub: through a proxy, under a certificate authority of one's own, with a secret that is
//! rotated, with settings that cannot be; and what the hub says of a clock that is wrong and a secret that ends.

use std::time::Duration;

use millrace_testkit::clouds::issuer::{Issuer, Signer};
use millrace_testkit::doors::{Authority, Door, NAME, openssl};
use millrace_testkit::hub::Hub;
use millrace_testkit::process::Invocation;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::shop::{MILLRACE, PATIENCE, wait};

/// A hub with one agent, no pipeline.
struct Place {
    folder: TempDir,
    hub: Hub,
    agent: String,
}

impl Place {
    fn open() -> Self {
        Self::with(&[])
    }

    /// The hub has this environment, too.
    fn with(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let short = [("HUB_TEST_LEASE_SECONDS", "4"), ("HUB_TEST_POLL_SECONDS", "1")];
        let hub = Hub::with(MILLRACE.as_ref(), folder.path(), &[&short[..], more].concat()).unwrap();
        let agent = hub.add_agent("north").unwrap();
        Self { folder, hub, agent }
    }

    fn process(&self) -> Invocation {
        self.hub.agent(&self.agent, &self.folder.path().join("state")).unwrap()
    }

    fn wait(&self, status: &str) {
        self.hub.wait_for_agent(&self.agent, status, PATIENCE).unwrap();
    }

    fn credentials(&self) -> String {
        format!("/agents/{}/credentials", self.agent)
    }
}

#[test]
fn a_certificate_authority_of_ones_own_is_trusted_where_it_is_named_and_only_there() {
    let place = Place::open();
    let authority = Authority::create(place.folder.path()).unwrap();
    let door = Door::tls(&authority, place.hub.port()).unwrap();
    let url = format!("https://localhost:{}", door.port);
    let mut stranger = place.process().env("HUB_URL", &url).allow("retrying").start().unwrap();
    let line = stranger.wait_for("retrying", PATIENCE).unwrap();
    assert!(format!("{line:?}").to_lowercase().contains("certificate"), "{line:?}");
    assert_eq!(
        place.hub.expect(200, Method::GET, &format!("/agents/{}", place.agent), None).unwrap()["agentStatus"],
        "PENDING"
    );
    stranger.kill().unwrap();

    let certificate = authority.certificate.display().to_string();
    let process = place.process().env("HUB_URL", &url).env("CUSTOM_CERT_LOCATION", &certificate).start().unwrap();
    place.wait("RUNNING");
    process.stop(PATIENCE).unwrap();
    place.wait("STOPPED");
}

#[test]
fn a_proxy_is_gone_through_save_for_what_no_proxy_names() {
    let place = Place::open();
    let authority = Authority::create(place.folder.path()).unwrap();
    let door = Door::tls(&authority, place.hub.port()).unwrap();
    let proxy = Door::proxy(door.port).unwrap();
    let certificate = authority.certificate.display().to_string();
    let process = || {
        let process = place.process().env("CUSTOM_CERT_LOCATION", &certificate);
        process.env("HTTPS_PROXY", &format!("http://127.0.0.1:{}", proxy.port))
    };
    // A name that only the proxy can reach.
    let through = process().env("HUB_URL", &format!("https://{NAME}:8443")).env("NO_PROXY", "elsewhere.test");
    let through = through.start().unwrap();
    place.wait("RUNNING");
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|it| *it == format!("{NAME}:8443")), "{asked:?}");
    through.stop(PATIENCE).unwrap();
    place.wait("STOPPED");

    let before = proxy.asked().len();
    let beside = process().env("HUB_URL", &format!("https://localhost:{}", door.port)).env("NO_PROXY", "localhost");
    let beside = beside.start().unwrap();
    place.wait("RUNNING");
    beside.stop(PATIENCE).unwrap();
    assert_eq!(proxy.asked().len(), before, "{:?}", proxy.asked());
}

#[test]
fn a_rotated_secret_is_taken_up_from_its_file_without_a_restart() {
    let place = Place::open();
    let file = place.folder.path().join("secret");
    let process = place.process();
    let (_, first) = place.hub.credentials(&place.agent).unwrap();
    std::fs::write(&file, format!("{first}\n")).unwrap();
    let process = process.env("OAUTH_CLIENT_SECRET", "").env("OAUTH_CLIENT_SECRET_FILE", &file.display().to_string());
    let process = process.allow("retrying").start().unwrap();
    place.wait("RUNNING");
    let rotated = place.hub.expect(201, Method::POST, &format!("{}/rotate", place.credentials()), None).unwrap();
    let history = place.hub.expect(200, Method::GET, &format!("{}/history", place.credentials()), None).unwrap();
    let old = history["results"][1]["credentialId"].as_str().unwrap().to_owned();
    // Until its file is written, too: a secret that was good is asked for again, the process does not end.
    place.hub.expect(204, Method::DELETE, &format!("{}/{old}", place.credentials()), None).unwrap();
    place.wait("UNKNOWN");
    std::fs::write(&file, rotated["clientSecret"].as_str().unwrap()).unwrap();
    place.wait("RUNNING");
    assert!(!process.has_ended());
    process.stop(PATIENCE).unwrap();
}

#[test]
fn an_agent_signs_in_with_a_key_of_its_own_and_without_one_says_what_is_missing() {
    let place = Place::open();
    let folder = place.folder.path();
    openssl(folder, &["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]).unwrap();
    openssl(folder, &["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"]).unwrap();
    let key = folder.join("key.pem").display().to_string();
    let process = || place.process().env("OAUTH_CLIENT_SECRET", "").env("OAUTH_CLIENT_KEY_FILE", &key);
    let ended = process().allow("AG-018").allow("fault").complete(PATIENCE).unwrap();
    let lines = format!("{:?}", ended.lines);
    assert_eq!(ended.code, Some(78), "{lines}");
    assert!(lines.contains("AG-018") && lines.contains("key.pem") && lines.contains("public half"), "{lines}");
    assert!(!lines.contains("PRIVATE"), "{lines}");
    let public = std::fs::read_to_string(folder.join("public.pem")).unwrap();
    let body = json!({"name": "the process's", "publicKey": public});
    place.hub.expect(201, Method::POST, &format!("/agents/{}/keys", place.agent), Some(&body)).unwrap();
    let process = process().start().unwrap();
    place.wait("RUNNING");
    process.stop(PATIENCE).unwrap();
}

#[test]
fn an_agent_signs_in_by_its_platforms_token_and_reads_it_anew_each_time() {
    let runtime = Runtime::new().unwrap();
    let signer = Signer::p256();
    let issuer = runtime.block_on(async { Issuer::start(&[signer.published("k")]) });
    let place = Place::with(&[("HUB_ISSUER_ALLOW", "127.0.0.1")]);
    let rule = json!({"name": "pod", "issuer": issuer.url, "subject": "system:serviceaccount:lake:agent"});
    let rules = format!("/agents/{}/trust-rules", place.agent);
    let id = place.hub.expect(201, Method::POST, &rules, Some(&rule)).unwrap()["trustRuleId"].clone();
    let file = place.folder.path().join("token");
    let write = |subject: &str| {
        let url = format!("http://127.0.0.1:{}", place.hub.port());
        let claims = json!({"iss": issuer.url, "sub": subject, "aud": url, "exp": 4_000_000_000_i64});
        std::fs::write(&file, signer.sign_with(json!({"kid": "k"}), &claims)).unwrap();
    };
    let file_name = file.display().to_string();
    let process = || place.process().env("OAUTH_CLIENT_SECRET", "").env("OAUTH_WORKLOAD_TOKEN_FILE", &file_name);
    write("system:serviceaccount:lake:other");
    let ended = process().allow("AG-018").allow("fault").complete(PATIENCE).unwrap();
    let lines = format!("{:?}", ended.lines);
    assert!(ended.code == Some(78) && lines.contains("system:serviceaccount:lake:other"), "{lines}");
    assert!(lines.contains("trust rule"), "{lines}");
    let told = format!("{:?}", place.hub.log());
    assert!(told.contains("sign_in_refused") && told.contains("`sub`"), "{told}");
    write("system:serviceaccount:lake:agent");
    let process = process().allow("retrying").start().unwrap();
    place.wait("RUNNING");
    // The rule is replaced by one that only the next token fits.
    let next = json!({"name": "next", "issuer": issuer.url, "subject": "next"});
    place.hub.expect(201, Method::POST, &rules, Some(&next)).unwrap();
    place.hub.expect(204, Method::DELETE, &format!("{rules}/{}", id.as_str().unwrap()), None).unwrap();
    place.wait("UNKNOWN");
    write("next");
    place.wait("RUNNING");
    process.stop(PATIENCE).unwrap();
}

#[test]
fn settings_that_cannot_be_end_the_process_with_78_and_everything_that_is_wrong() {
    let place = Place::open();
    for (name, value, code, said) in [
        ("HUB_URL", "http://hub.example", "AG-002", "https://"),
        ("OAUTH_CLIENT_SECRET", "not the secret", "AG-005", "client id and secret"),
        ("OAUTH_CLIENT_SECRET_REF", "{}", "AG-002", "OAUTH_CLIENT_SECRET"),
        ("HUB_URL", "https://", "AG-002", "write HUB_URL like"),
        ("ACCOUNT_ID", "zzz", "AG-002", "copy ACCOUNT_ID"),
        ("LOG_LEVEL", "foo", "AG-002", "write LOG_LEVEL as"),
        ("HTTPS_PROXY", ":::", "AG-002", "write HTTPS_PROXY like"),
        ("CUSTOM_CERT_LOCATION", "/nowhere/ca.pem", "AG-003", "CUSTOM_CERT_LOCATION: `/nowhere/ca.pem` does not exist"),
        ("CUSTOM_CERT_LOCATION", "/dev/null", "AG-002", "CUSTOM_CERT_LOCATION"),
        ("POLICY_FILE", "/nowhere/policy.yaml", "AG-003", "POLICY_FILE: `/nowhere/policy.yaml` does not exist"),
        ("LISTEN", "192.0.2.1:1", "AG-010", "192.0.2.1"),
    ] {
        let ended = place.process().env(name, value).allow(code).allow("fault").complete(PATIENCE).unwrap();
        assert_eq!(ended.code, Some(78), "{name}: {:#?}", ended.lines);
        let lines = format!("{:?}", ended.lines);
        assert!(lines.contains(code) && lines.contains(said), "{name}: {lines}");
        assert!(!lines.contains("not the secret"), "{lines}");
    }
    let missing = place.process().env("OAUTH_CLIENT_SECRET", "").env("OAUTH_CLIENT_SECRET_FILE", "/nowhere/secret");
    let ended = missing.allow("AG-003").allow("fault").complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(78));
    let lines = format!("{:?}", ended.lines);
    assert!(lines.contains("OAUTH_CLIENT_SECRET_FILE: `/nowhere/secret` does not exist"), "{lines}");
    let agent = place.hub.expect(200, Method::GET, &format!("/agents/{}", place.agent), None).unwrap();
    assert_eq!(agent["agentStatus"], "PENDING");
}

#[test]
fn a_clock_that_is_wrong_is_a_condition_as_long_as_it_is_wrong() {
    let place = Place::open();
    let conditions = || {
        let agent = place.hub.expect(200, Method::GET, &format!("/agents/{}", place.agent), None).unwrap();
        let all = agent["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|it| it["kind"] == "clock_skew").collect::<Vec<Value>>()
    };
    let process = place.process().env("AGENT_TEST_CLOCK_AHEAD_SECONDS", "90").start().unwrap();
    wait("the condition", || !conditions().is_empty());
    let said = conditions()[0]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("ahead of the hub's") && said.contains("90 s") | said.contains("89 s"), "{said}");
    process.stop(PATIENCE).unwrap();
    let process = place.process().start().unwrap();
    wait("the condition to go", || conditions().is_empty());
    process.stop(PATIENCE).unwrap();
}

#[test]
fn an_agent_is_running_within_five_seconds_of_its_start_and_stopped_within_five_of_its_end() {
    let place = Place::open();
    for _ in 0..3 {
        let began = std::time::Instant::now();
        let process = place.process().start().unwrap();
        place.wait("RUNNING");
        assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
        let asked = std::time::Instant::now();
        process.signal("TERM").unwrap();
        place.wait("STOPPED");
        assert!(asked.elapsed() <= Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!(process.wait(PATIENCE).unwrap().code, Some(0));
    }
    // It was removed: it ends, and says why.
    let process = place.process().allow("AG-006").allow("fault").start().unwrap();
    place.wait("RUNNING");
    place.hub.expect(202, Method::DELETE, &format!("/agents/{}", place.agent), None).unwrap();
    assert_eq!(process.wait(PATIENCE).unwrap().code, Some(69));
    assert_eq!(json!(place.hub.call(Method::GET, &format!("/agents/{}", place.agent), None).unwrap().0), json!(404));
}
