//! Connections of a snapshot that are lost, and locks that must not stand.

use std::sync::Arc;

use millrace_model::*;
use millrace_postgres::{Postgres, Settings};

use crate::reading::create;
use crate::scan::{batch, chunk, named, rows, scan, take};
use crate::server::{Database, Server};

const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE TABLE u (id int PRIMARY KEY)";

/// Ends sessions of ours and waits until they are gone.
async fn cut(database: &Database<'_>, which: &str) {
    let mine = format!(
        "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'millrace' AND {which}"
    );
    let ended = database.sql(&format!("SELECT count(pg_terminate_backend(pid)) {mine}"));
    assert_ne!(ended, "0", "there was nothing to cut: {which}");
    while database.sql(&format!("SELECT count(*) {mine}")) != "0" {
        tokio::task::yield_now().await;
    }
}

/// A session that keeps a snapshot does nothing in an open transaction.
const KEEPER: &str = "backend_type = 'client backend' AND state = 'idle in transaction'";

async fn read(database: &Database<'_>, snapshot: &dyn Snapshot) -> Result<Vec<String>, Fault> {
    let plan = snapshot.plan(&named(database, "t"), &[]).await?;
    let mut reader = snapshot.reader().await?;
    let mut found = TableChanges::new(Arc::clone(&plan.schema));
    for next in &plan.chunks {
        chunk(reader.as_mut(), &plan, next, &mut found).await?;
    }
    Ok(rows(&found.take_snapshot(1, Sequence(0), snapshot.position().clone()).unwrap()))
}

#[tokio::test]
async fn a_snapshot_whose_exporter_died_is_to_be_made_again() {
    let database = Server::shared().database(TABLE);
    let source = database.source();
    let mut held = source.create().await.unwrap();
    let snapshot = held.exported().unwrap();
    cut(
        &database,
        "backend_type = 'walsender' AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE active)",
    )
    .await;
    let fault = read(&database, snapshot.as_ref()).await.unwrap_err();
    assert!(fault.is_retry(), "{fault:?}");
    assert_eq!(scan(&database, &source, "t").await, ["(1)", "(2)"]);
}

#[tokio::test]
async fn a_snapshot_that_the_slots_making_exported_outlives_its_exporter_once_it_is_kept() {
    let database = Server::shared().database(TABLE);
    let source = database.source();
    let mut held = source.create().await.unwrap();
    let snapshot = held.exported().unwrap();
    assert!(held.exported().is_none(), "it is handed out once");
    assert_ne!(held.coverage(snapshot.position(), held.identity()), Coverage::Forgotten);
    let plan = snapshot.plan(&named(&database, "t"), &[]).await.unwrap();
    database.sql("INSERT INTO t VALUES (3)");
    assert_eq!(rows(&batch(snapshot.as_ref(), &plan).await), ["(1)", "(2)"]);
}

#[tokio::test]
async fn a_snapshot_whose_keeper_died_is_to_be_made_again() {
    let database = Server::shared().database(TABLE);
    let source = database.source();
    drop(create(&source).await);
    for is_planned in [false, true] {
        let snapshot = take(&source).await;
        let plan = snapshot.plan(&named(&database, "t"), &[]).await.unwrap();
        cut(&database, KEEPER).await;
        let fault = if is_planned {
            let mut reader = snapshot.reader().await.unwrap();
            reader.begin(&plan, &plan.chunks[0]).await.unwrap_err()
        } else {
            snapshot.plan(&named(&database, "u"), &[]).await.unwrap_err()
        };
        assert!(fault.is_retry(), "{fault:?}");
        assert_eq!(scan(&database, &source, "t").await, ["(1)", "(2)"]);
    }
}

#[tokio::test]
async fn a_reader_that_lost_its_connection_is_replaced_under_the_same_snapshot() {
    let database = Server::shared().database(TABLE);
    let source = database.source();
    drop(create(&source).await);
    let snapshot = take(&source).await;
    let plan = snapshot.plan(&named(&database, "t"), &[]).await.unwrap();
    database.sql("INSERT INTO t VALUES (3)");
    let mut reader = snapshot.reader().await.unwrap();
    let mut found = TableChanges::new(Arc::clone(&plan.schema));
    reader.begin(&plan, &plan.chunks[0]).await.unwrap();
    cut(&database, "backend_type = 'client backend' AND query LIKE 'COPY%'").await;
    // What it sent before it died may be read; that it has ended must not look like the end of the chunk.
    let fault = loop {
        match reader.fill(&mut found, ByteSize::mib(1)).await {
            Ok(Filled::More) => {}
            Ok(filled) => panic!("a chunk that was cut is {filled:?}"),
            Err(fault) => break fault,
        }
    };
    assert!(fault.is_retry(), "{fault:?}");
    assert_eq!(rows(&batch(snapshot.as_ref(), &plan).await), ["(1)", "(2)"]);
}

#[tokio::test]
async fn no_lock_outlives_a_chunk() {
    let database = Server::shared().database(TABLE);
    let source = database.source();
    drop(create(&source).await);
    let locks = || {
        database.sql("SELECT string_agg(mode, ' ') FROM pg_locks WHERE relation = 't'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
    };
    let snapshot = take(&source).await;
    let plan = snapshot.plan(&named(&database, "t"), &[]).await.unwrap();
    assert_eq!(locks(), "");
    let mut reader = snapshot.reader().await.unwrap();
    let mut found = TableChanges::new(Arc::clone(&plan.schema));
    reader.begin(&plan, &plan.chunks[0]).await.unwrap();
    assert_eq!(locks(), "AccessShareLock");
    assert_eq!(reader.fill(&mut found, ByteSize::mib(1)).await.unwrap(), Filled::Whole);
    assert_eq!(locks(), "");
    // A user's DDL gets through while snapshot and reader live.
    database.sql("SET lock_timeout = '1s'; ALTER TABLE t ADD v int");
}

/// A server that answers one `SSLRequest` with `answer`, or with nothing.
fn answering(answer: Option<u8>) -> u16 {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).unwrap();
        // Manual, "Message Formats", SSLRequest: its length and the number 80877103.
        assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
        stream.write_all(answer.as_slice()).unwrap();
    });
    port
}

#[tokio::test]
async fn a_server_says_by_one_letter_whether_it_would_encrypt() {
    let database = Server::shared().database("");
    let offers = async |port| Postgres::new(Settings { port, ..database.settings() }).offers_tls().await;
    assert!(!database.source().offers_tls().await.unwrap(), "a real one without a certificate");
    assert!(offers(answering(Some(b'S'))).await.unwrap());
    assert!(!offers(answering(Some(b'N'))).await.unwrap());
    let fault = offers(answering(None)).await.unwrap_err();
    assert_eq!((fault.code, fault.is_retry()), ("PG-001", true));
}
