//! Google Secret Manager.

use std::sync::Arc;

use millrace_secrets::Secrets;
use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::google::FakeGoogle;
use millrace_testkit::clouds::vendor;

use crate::{read, refusal, secrets};

const STORE: &str = "google_secret_manager";
const SECRET: &str = "projects/project-1/secrets/shop-db";

fn of_machine(google: &FakeGoogle, clock: &Arc<SetClock>, more: &[(&str, &str)]) -> Secrets {
    let (host, url) = (google.host(), google.url());
    let usual = [("GCE_METADATA_HOST", host.as_str()), ("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", url.as_str())];
    secrets(&[&usual[..], more].concat(), clock.clone())
}

#[tokio::test]
async fn a_secret_is_read_by_name_resource_version_and_key_and_a_rotated_one_at_the_next_read() {
    let clock = SetClock::now();
    let google = FakeGoogle::start(&clock);
    google.write(SECRET, r#"{"password":"s3cret"}"#);
    google.write("projects/project-2/locations/europe-west3/secrets/other", "s3cret 3");
    let secrets = of_machine(&google, &clock, &[("DEFAULT_GCP_PROJECT", "project-1")]);
    assert_eq!(read(&secrets, STORE, "shop-db", Some("password")).await.unwrap(), "s3cret");
    google.write(SECRET, "s3cret 2");
    assert_eq!(read(&secrets, STORE, SECRET, None).await.unwrap(), "s3cret 2");
    assert_eq!(read(&secrets, STORE, "shop-db/versions/1", Some("password")).await.unwrap(), "s3cret");
    let regional = "projects/project-2/locations/europe-west3/secrets/other/versions/1";
    assert_eq!(read(&secrets, STORE, regional, None).await.unwrap(), "s3cret 3");
    let (code, exit, _) = refusal(read(&secrets, STORE, "none", None).await);
    assert_eq!((code, exit), ("SE-009", 64));
    google.state().secrets.get_mut(SECRET).unwrap()[1].1 = "DISABLED";
    let (code, _, shown) = refusal(read(&secrets, STORE, "shop-db", None).await);
    assert!(code == "SE-011" && shown.contains("DISABLED"), "{shown}");
    // Without a word about the project it is the one that the process runs in.
    let here = of_machine(&google, &clock, &[]);
    assert_eq!(read(&here, STORE, "shop-db/versions/1", Some("password")).await.unwrap(), "s3cret");
}

#[tokio::test]
async fn a_role_that_is_missing_is_named_with_the_line_that_grants_it() {
    let clock = SetClock::now();
    let google = FakeGoogle::start(&clock);
    google.write(SECRET, "s3cret");
    let secrets = of_machine(&google, &clock, &[]);
    google.state().is_denied = true;
    let (code, exit, shown) = refusal(read(&secrets, STORE, "shop-db", None).await);
    assert_eq!((code, exit), ("SE-010", 77));
    assert!(shown.contains("secretmanager.versions.access"), "{shown}");
    assert!(shown.contains(&format!("add-iam-policy-binding {SECRET}")), "{shown}");
    assert!(shown.contains("--role=roles/secretmanager.secretAccessor"), "{shown}");
    google.state().is_denied = false;
    assert_eq!(read(&secrets, STORE, "shop-db", None).await.unwrap(), "s3cret");
}

#[tokio::test]
async fn what_was_damaged_on_the_way_is_read_again_and_an_ended_token_got_anew() {
    let clock = SetClock::now();
    let google = FakeGoogle::start(&clock);
    google.write(SECRET, "s3cret");
    let secrets = of_machine(&google, &clock, &[]);
    google.state().is_damaged = true;
    let fault = read(&secrets, STORE, "shop-db", None).await.unwrap_err();
    assert!(fault.is_retry() && fault.code == "SE-013" && fault.to_string().contains("checksum"), "{fault}");
    google.state().is_damaged = false;
    google.state().tokens.clear();
    assert_eq!(read(&secrets, STORE, "shop-db", None).await.unwrap(), "s3cret");
    google.state().is_down = true;
    assert!(read(&secrets, STORE, "shop-db", None).await.unwrap_err().is_retry());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_is_read_by_google_s_own_client() {
    let clock = SetClock::now();
    let google = FakeGoogle::start(&clock);
    google.write(SECRET, "one");
    google.write(SECRET, "two");
    let token = google.state().token();
    let ask = |secret: &str, version: &str| {
        vendor::run(&["google-read", &google.url(), &token, &format!("{secret}/versions/{version}")]).unwrap()
    };
    assert_eq!(ask(SECRET, "latest")["value"], "two");
    assert_eq!(ask(SECRET, "1")["value"], "one");
    assert_eq!(ask("projects/project-1/secrets/none", "latest")["error"], "NotFound");
    google.state().is_denied = true;
    assert_eq!(ask(SECRET, "latest")["error"], "Forbidden");
}
