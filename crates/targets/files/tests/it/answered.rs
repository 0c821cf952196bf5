//! Answers of a store that mean another thing than they seem to.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millrace_files::{ObjectStore, S3Settings, Store};
use millrace_identity::Surroundings;
use millrace_testkit::doors::Door;
use millrace_testkit::stores::{ACCESS_KEY, ACCOUNT_KEY, BUCKET, Program, SECRET_KEY, StoreServer};

use crate::stores::{MEMORY, PROGRAMS, Rotated, bucket, check, new_place, place_in, secret_of, under};

#[tokio::test]
async fn a_permission_that_is_denied_expressly_is_not_to_be_granted() {
    let port = StoreServer::shared(Program::VersityGw).port();
    for (end, cure) in [
        (
            "no identity-based policy allows the action",
            r#"grant kms:GenerateDataKey: {"Effect":"Allow","Action":"kms:"#,
        ),
        (
            "with an explicit deny in a service control policy",
            "take kms:GenerateDataKey out of the statement that denies it",
        ),
    ] {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>User: a is not authorized to \
             perform: kms:GenerateDataKey on resource: b {end}</Message></Error>"
        );
        let head = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\n";
        let no = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let way = Door::refusing(port, move |line| line.starts_with("PUT ").then(|| no.clone())).unwrap();
        let finding = check(bucket(Program::VersityGw, way.port, BUCKET, ACCESS_KEY, SECRET_KEY)).await;
        assert!(finding.cure.contains(cure), "{}", finding.cure);
    }
}

/// A reply to `HEAD` is its first lines alone.
#[tokio::test]
async fn keys_that_end_before_a_head_are_asked_for_anew() {
    for program in [Program::SeaweedFs, Program::VersityGw] {
        let port = StoreServer::shared(program).port();
        // As Amazon says it of a token that has ended.
        let no = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let way = Door::refusing(port, |line| line.starts_with("HEAD ").then(|| no.to_owned())).unwrap();
        let endpoint = Some(format!("http://127.0.0.1:{}", way.port));
        let (bucket, region) = (BUCKET.to_owned(), "us-east-1".to_owned());
        let settings = S3Settings { bucket, region, endpoint, path_style: true, ..S3Settings::default() };
        let around = Surroundings::of_process().unwrap();
        let place = new_place();
        let store = ObjectStore::s3(settings, Rotated::new(), &around, MEMORY).unwrap().under(&place);
        let straight = under(program, &place);
        straight.create("five", (*b"12345").into()).await.unwrap();
        straight.create("none", (*b"").into()).await.unwrap();
        let mut sizes = Vec::new();
        for name in ["five", "none", "nowhere"] {
            sizes.push(store.size(name).await.unwrap());
        }
        assert_eq!(sizes, [Some(5), Some(0), None], "{program:?}");
    }
}

/// As Azure refuses a signature that is made with a clock of another hour.
#[tokio::test]
async fn a_clock_that_azure_does_not_believe_is_set_right() {
    let port = StoreServer::shared(Program::Azurite).port();
    let body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed to \
                authenticate the request.</Message></Error>";
    let no = format!(
        "HTTP/1.1 403 Forbidden\r\nDate: Fri, 01 Jan 2100 00:00:00 GMT\r\nx-ms-error-code: AuthenticationFailed\r\nConnection: \
         close\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let is_first = AtomicU64::new(0);
    let first_only = move |_line: &str| (is_first.fetch_add(1, Ordering::Relaxed) == 0).then(|| no.clone());
    let way = Door::refusing(port, first_only).unwrap();
    let store = bucket(Program::Azurite, way.port, BUCKET, ACCESS_KEY, ACCOUNT_KEY).under(&new_place());
    assert_eq!(store.read("nowhere").await.unwrap(), None);
    let dates: Vec<bool> =
        way.asked().iter().map(|request| request.contains("x-ms-date: Fri, 01 Jan 2100 00:00:0")).collect();
    assert_eq!(dates, [false, true]);
}

/// A writer that was paused in an upload finds it given up by the next one's sweep: no answer of its own about what it may do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_another_has_given_up_is_to_be_tried_again() {
    for program in [Program::SeaweedFs, Program::VersityGw] {
        let store = place_in(program);
        let mut upload = store.begin("t/old").await.unwrap();
        let upload = tokio::task::spawn_blocking(move || upload.write_all(&vec![7; 12 << 20]).map(|()| upload));
        let upload = upload.await.unwrap().unwrap();
        // Pieces that are under way bring it back on some.
        tokio::time::sleep(Duration::from_secs(1)).await;
        while store.give_up(&|path| path == "t/old").await.unwrap() > 0 {}
        let fault = upload.publish().await.unwrap_err();
        assert_eq!((fault.code, fault.is_retry()), ("FL-001", true), "{program:?} {fault}");
    }
}

/// A gateway that sends a request again by itself makes the answer to the second one ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_something_on_the_way_has_put_twice_is_there_once() {
    for program in PROGRAMS {
        let port = StoreServer::shared(program).port();
        let place = new_place();
        let way = Door::repeating(port).unwrap();
        let store = bucket(program, way.port, BUCKET, ACCESS_KEY, secret_of(program)).under(&place);
        let mut upload = store.begin("t/file").await.unwrap();
        let upload = tokio::task::spawn_blocking(move || upload.write_all(b"12345").map(|()| upload));
        upload.await.unwrap().unwrap().publish().await.unwrap();
        assert_eq!(under(program, &place).size("t/file").await.unwrap(), Some(5), "{program:?}");
        assert!(!way.asked().is_empty());
    }
}
