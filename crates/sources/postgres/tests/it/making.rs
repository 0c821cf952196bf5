//! A slot whose making waits for a running transaction: given up, met by another start, and cleaned away.

use std::time::Duration;

use millrace_model::{Severity, Slot, Source};
use millrace_postgres::{Postgres, Settings};

use crate::mute::Way;
use crate::server::{Database, Server};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY)";
const SLOTS: &str = "SELECT count(*) FROM pg_replication_slots";
/// Its making waits.
const WAITS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted";

async fn until(database: &Database<'_>, sql: &str, wanted: &str) {
    while database.sql(sql) != wanted {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it is waited for")]
async fn the_making_of_a_slot_ends_with_whoever_wanted_it() {
    let server = Server::start("given-up", "");
    let database = Database::new(&server, TABLE);
    let source = database.source();
    let mut open = database.session();
    open.sql("BEGIN; INSERT INTO t VALUES (1);");
    let creating = tokio::spawn(async move { source.create().await.map(drop) });
    until(&database, WAITS, "1").await;
    creating.abort();
    assert!(creating.await.unwrap_err().is_cancelled());
    // While the transaction still runs.
    until(&database, SLOTS, "0").await;
    assert_eq!(open.sql("SELECT count(*) FROM t;").trim(), "1");
}

#[tokio::test]
async fn a_slot_that_is_being_made_for_nobody_is_told_from_one_in_use_and_waited_for() {
    let server = Server::start("orphan", "");
    let database = Database::new(&server, &format!("{TABLE}; CREATE PUBLICATION millrace FOR TABLE t"));
    let source = database.source();
    let mut open = database.session();
    open.sql("SET application_name = 'the nightly job'; BEGIN; INSERT INTO t VALUES (1);");
    let mut maker = database.session();
    let slot = format!("slot_{}", database.name);
    maker.tell(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput');"));
    until(&database, WAITS, "1").await;
    let making = |fault: millrace_model::Fault| {
        assert_eq!((fault.code, fault.is_retry()), ("PG-026", true), "{fault}");
        assert!(fault.message.contains("(the nightly job) since "), "{fault}");
        assert!(fault.cure.contains("pg_terminate_backend"), "{}", fault.cure);
    };
    making(source.take().await.err().unwrap());
    making(source.create().await.err().unwrap());
    making(source.recreate().await.err().unwrap());
    making(source.cleanup().await.err().unwrap());
    assert!(source.look().await.unwrap().is_none(), "nothing is said of its chain");
    let findings = source.check().await.unwrap();
    let codes: Vec<_> = findings.iter().map(|it| (it.code, it.severity)).collect();
    assert_eq!(codes, [("PG-026", Severity::Warning)], "{findings:?}");
    open.sql("COMMIT;");
    until(&database, "SELECT count(confirmed_flush_lsn) FROM pg_replication_slots WHERE NOT active", "1").await;
    assert!(matches!(source.take().await.unwrap().slot, Slot::Held(_)));
}

#[tokio::test]
async fn a_slot_whose_answer_got_lost_on_its_way_is_asked_for_anew() {
    let server = Server::start("mute", "");
    let database = Database::new(&server, TABLE);
    // A temporary one beside a stream, then the pipeline's own.
    drop(database.source().create().await.unwrap());
    for is_own in [false, true] {
        let way = Way::to(server.port);
        let settings = database.settings();
        let slot = if is_own { "another".to_owned() } else { settings.slot.clone() };
        let source = Postgres::new(Settings { port: way.port, slot, ..settings });
        let mut open = database.session();
        open.sql("BEGIN; INSERT INTO t VALUES (1);");
        let bound = |_| {};
        let mut making = std::pin::pin!(async {
            if is_own { source.create().await.map(drop) } else { source.snapshot(&bound).await.map(drop) }
        });
        tokio::select! {
            made = &mut making => panic!("it did not wait: {made:?}"),
            () = until(&database, WAITS, "1") => {}
        }
        way.fall_mute();
        open.sql("ROLLBACK;");
        let fault = tokio::time::timeout(Duration::from_mins(1), making).await.expect("it is given up").unwrap_err();
        assert_eq!((fault.code, fault.is_retry()), ("PG-001", true), "{fault}");
        // A temporary slot is gone with whoever asked for it; the own one stands and is taken by the next attempt.
        let stands = "SELECT count(*) FROM pg_replication_slots WHERE temporary OR slot_name = 'another'";
        until(&database, stands, if is_own { "1" } else { "0" }).await;
    }
}
