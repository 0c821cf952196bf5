//! Position C: what a snapshot shows is what the log carries up to it, whatever runs while it is made.

use std::sync::{Arc, Mutex};

use millrace_model::*;

use crate::heard::Heard;
use crate::reading::{create, lines};
use crate::scan::{named, rows, table, take};
use crate::server::{Database, Server};

fn lsn(position: &Position) -> u64 {
    let (high, low) = position.as_str().split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

/// Waits until the server says yes.
async fn until(database: &Database<'_>, sql: &str) {
    while database.sql(sql) != "t" {
        tokio::task::yield_now().await;
    }
}

fn temporary_slots(database: &Database<'_>) -> String {
    database.sql("SELECT count(*) FROM pg_replication_slots WHERE temporary AND database = current_database()")
}

/// A snapshot of `t` and the changes that the log carries up to its position.
async fn snapshot_and_log(
    database: &Database<'_>,
    source: &millrace_postgres::Postgres,
    log: &mut crate::reading::Reading,
) -> (Vec<String>, Vec<String>) {
    let snapshot = take(source).await;
    log.read_to(snapshot.position()).await.unwrap();
    let before = lines(&log.changes.take_all().unwrap());
    (rows(&table(snapshot.as_ref(), &named(database, "t")).await), before)
}

#[tokio::test]
async fn a1_a_commit_that_is_in_the_log_but_not_yet_visible_is_not_lost() {
    let server = Server::start("synchronous", "");
    let database =
        Database::new(&server, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')");
    let source = database.source();
    let mut log = create(&source).await;
    server.try_sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'").unwrap();
    database.sql("SELECT pg_reload_conf()");
    until(&database, "SELECT current_setting('synchronous_standby_names') = 'nobody'").await;
    let mut writer = database.session();
    let writing = std::thread::spawn(move || drop(writer.sql("UPDATE t SET v = 'new' WHERE id = 1;")));
    until(&database, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')").await;
    database.sql("SET synchronous_commit = local; INSERT INTO t VALUES (2, 'after')");
    // The making of the slot waits for the writer, whose commit is in the log already.
    let making = take(&source);
    let mut making = std::pin::pin!(making);
    let early = tokio::time::timeout(std::time::Duration::from_millis(700), &mut making).await;
    assert!(early.is_err(), "a snapshot was made while a commit was in the log but not visible");
    server.try_sql("postgres", "ALTER SYSTEM RESET synchronous_standby_names").unwrap();
    database.sql("SELECT pg_reload_conf()");
    let snapshot = making.await;
    writing.join().unwrap();
    let read = rows(&table(snapshot.as_ref(), &named(&database, "t")).await);
    log.read_to(snapshot.position()).await.unwrap();
    assert_eq!(lines(&log.changes.take_all().unwrap()), ["u t(1,new)", "c t(2,after)"]);
    assert_eq!(read, ["(1,new)", "(2,after)"]);
}

#[tokio::test]
async fn a1_a_transaction_that_wrote_before_its_table_joined_is_in_the_snapshot() {
    let database = Server::shared().database("CREATE TABLE other (id int PRIMARY KEY)");
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let mut writer = database.session();
    writer.sql("BEGIN; INSERT INTO t VALUES (1, 'early');");
    source.join(&[named(&database, "t")]).await.unwrap();
    let mut making = std::pin::pin!(take(&source));
    let early = tokio::time::timeout(std::time::Duration::from_millis(500), &mut making).await;
    assert!(early.is_err(), "a snapshot was made while a transaction ran that wrote before the table joined");
    writer.sql("INSERT INTO t VALUES (2, 'late'); COMMIT;");
    let snapshot = making.await;
    let schema = snapshot.plan(&named(&database, "t"), &[]).await.unwrap().schema;
    let mark = log.log.watch(snapshot.position(), &[schema]);
    database.sql("INSERT INTO t VALUES (3, 'after')");
    assert_eq!(rows(&table(snapshot.as_ref(), &named(&database, "t")).await), ["(1,early)", "(2,late)"]);
    while log.log.read(&mut log.changes).await.unwrap() != Gulp::Mark(mark) {}
    assert_eq!(lines(&log.changes.take_all().unwrap()), Vec::<String>::new());
    assert_eq!(log.lines(&source).await, ["c t(3,after)"]);
}

#[tokio::test]
async fn what_holds_a_snapshot_up_is_said_and_the_stream_may_go_on_up_to_rising_positions() {
    // A server of its own: on the shared one the transactions of other tests hold it up as well, and one of them may have
    // ended after ours began. Here ours is the newest that there ever was.
    let server = Server::start("held_up", "");
    let database = Database::new(&server, "CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    drop(create(&source).await);
    let (heard, _listening) = Heard::listen();
    let mut first = database.session();
    first.sql("BEGIN; INSERT INTO t VALUES (1);");
    let pid = first.sql("SELECT pg_backend_pid();");
    let bounds = Mutex::new(Vec::new());
    let bound = |position: Position| bounds.lock().unwrap().push(lsn(&position));
    let mut making = std::pin::pin!(source.snapshot(&bound));
    let held_up = async |wanted: usize, text: &str| {
        while bounds.lock().unwrap().len() < wanted || !heard.contains(text) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let text = format!("process {}", pid.trim());
    tokio::select! {
        _ = &mut making => panic!("the snapshot did not wait"),
        () = held_up(2, &text) => {}
    }
    // Another one that began only after the making did, and outlives the first, holds it up as well.
    let mut second = database.session();
    second.sql("BEGIN; INSERT INTO t VALUES (2);");
    let pid = second.sql("SELECT pg_backend_pid();");
    first.sql("COMMIT;");
    let told = bounds.lock().unwrap().len();
    let text = format!("process {}", pid.trim());
    tokio::select! {
        _ = &mut making => panic!("the snapshot did not wait"),
        () = held_up(told + 3, &text) => {}
    }
    assert!(heard.contains("PG-026"));
    second.sql("COMMIT;");
    let snapshot = making.await.unwrap();
    let bounds = bounds.lock().unwrap().clone();
    assert!(bounds.is_sorted(), "{bounds:?}");
    assert!(lsn(snapshot.position()) > *bounds.last().unwrap(), "{bounds:?} {}", snapshot.position());
    assert_eq!(rows(&table(snapshot.as_ref(), &named(&database, "t")).await), ["(1)", "(2)"]);
}

#[tokio::test]
async fn a_prepared_transaction_holds_a_snapshot_up_and_is_named() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    drop(create(&source).await);
    let (heard, _listening) = Heard::listen();
    let gid = format!("forgotten {}", database.name);
    database.sql(&format!("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{gid}'"));
    let mut making = std::pin::pin!(take(&source));
    let said = async {
        while !heard.contains(&gid) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = &mut making => panic!("the snapshot did not wait"),
        () = said => {}
    }
    database.sql(&format!("COMMIT PREPARED '{gid}'"));
    assert_eq!(rows(&table(making.await.as_ref(), &named(&database, "t")).await), ["(1)"]);
}

#[tokio::test]
async fn the_position_is_exact_while_others_write() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v int)");
    let source = database.source();
    let mut log = create(&source).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (mut session, stop) = (database.session(), Arc::clone(&stop));
            std::thread::spawn(move || {
                for id in 0.. {
                    session.sql(&format!("INSERT INTO t VALUES ({}, {id});", id * 2 + writer));
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                }
            })
        })
        .collect();
    let mut streamed = Vec::new();
    for _ in 0..3 {
        let (read, before) = snapshot_and_log(&database, &source, &mut log).await;
        streamed.extend(before.iter().map(|line| line.replace("c t", "")));
        streamed.sort();
        assert_eq!(read, streamed);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[tokio::test]
async fn a_snapshot_that_nobody_waits_for_any_more_leaves_no_slot_behind() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    drop(create(&source).await);
    let mut writer = database.session();
    writer.sql("BEGIN; INSERT INTO t VALUES (1);");
    for _ in 0..3 {
        let given_up = async {
            while temporary_slots(&database) == "0" {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = take(&source) => panic!("the snapshot did not wait"),
            () = given_up => {}
        }
    }
    let mut making = std::pin::pin!(take(&source));
    drop(tokio::time::timeout(std::time::Duration::from_millis(100), &mut making).await);
    until(
        &database,
        "SELECT count(*) <= 1 FROM pg_replication_slots WHERE temporary AND database = current_database()",
    )
    .await;
    writer.sql("COMMIT;");
    let snapshot = making.await;
    until(&database, "SELECT count(*) = 0 FROM pg_replication_slots WHERE temporary AND database = current_database()")
        .await;
    assert_eq!(rows(&table(snapshot.as_ref(), &named(&database, "t")).await), ["(1)"]);
}
