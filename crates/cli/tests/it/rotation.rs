//! A database password that is rotated while a pipeline runs.

use std::fs;

use millrace_testkit::postgres::{Auth, Settings};
use millrace_testkit::process::Millrace;
use millrace_testkit::workload;

use crate::shop::{PATIENCE, Shop};

/// A shop whose pipeline signs in as `streamer` with the password of a file.
fn shop() -> Shop {
    let server = Settings::default().auth(Auth::Scram("right".into()));
    let shop = Shop::with(server, &workload::TABLES, |draft| draft.password_from("NONE"));
    shop.database.sql("CREATE ROLE streamer LOGIN SUPERUSER REPLICATION PASSWORD 'one'").unwrap();
    let text = fs::read_to_string(&shop.pipeline.file).unwrap();
    let text = text.replace("username: postgres", "username: streamer");
    let text = text.replace("secretType: env, secretName: NONE", "secretType: file, secretName: password");
    fs::write(&shop.pipeline.file, text).unwrap();
    write(&shop, "one");
    shop
}

fn write(shop: &Shop, password: &str) {
    fs::write(shop.folder().join("password"), format!("{password}\n")).unwrap();
}

fn change(shop: &Shop, password: &str) {
    shop.database.sql(&format!("ALTER ROLE streamer PASSWORD '{password}'")).unwrap();
}

/// Ends every session of the pipeline: it has to sign in again.
fn cut(shop: &Shop) {
    let sessions = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'streamer'";
    assert_ne!(shop.database.sql(sessions).unwrap(), "0");
}

/// What is written from now on arrives.
fn goes_on(shop: &Shop, id: u32) {
    shop.database.sql(&format!("INSERT INTO visits VALUES ({id}, 'after', 1, now())")).unwrap();
    shop.wait_until_released();
}

fn wait_for_rotation(running: &mut Millrace) {
    running.wait_for("secret_rotated", PATIENCE).unwrap();
}

#[test]
fn a_password_that_is_rotated_while_a_pipeline_runs_is_read_anew_without_a_restart() {
    let shop = shop();
    let mut running = shop.streaming();
    goes_on(&shop, 1);
    // The secret first, then the server.
    write(&shop, "two");
    change(&shop, "two");
    cut(&shop);
    wait_for_rotation(&mut running);
    goes_on(&shop, 2);
    // The server first: until the secret follows, the refusal is not believed.
    change(&shop, "three");
    cut(&shop);
    running
        .wait_until("a refusal that is not believed", PATIENCE, |line| {
            line.code == "retrying" && line.fields.get("fault").is_some_and(|fault| fault == "PG-035")
        })
        .unwrap();
    write(&shop, "three");
    wait_for_rotation(&mut running);
    goes_on(&shop, 3);
    running.stop(PATIENCE).unwrap();
    shop.compare();
}
