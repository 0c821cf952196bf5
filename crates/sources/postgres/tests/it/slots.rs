//! The slot: taken, busy, missing, lost, made anew; what is in the way, and how it is said.

use std::time::Duration;

use millrace_model::{Registry, Severity, Slot, Source};
use millrace_postgres::{CleanupPlan, Postgres, PublicationMode, Settings, TableSelection};

use crate::reading::{create, held, resume};
use crate::scan::{named, take};
use crate::server::{Database, Server, password, table};

#[tokio::test]
async fn a_slot_is_missing_then_held_then_busy_then_free_again() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let taken = source.take().await.unwrap();
    assert!(matches!(taken.slot, Slot::Missing));
    let first = source.create().await.unwrap();
    assert!(source.same(&taken.identity, first.identity()));
    assert!(first.identity().identity.ends_with(&format!("|timeline 1|slot slot_{}", database.name)));
    assert!(first.state().default_name && first.state().unreadable.is_none());
    let other = database.source();
    match other.take().await.unwrap().slot {
        Slot::Busy { holder, patience } => {
            assert!(holder.contains("process ") && holder.contains("millrace"), "{holder}");
            assert_eq!(patience, Duration::from_secs(40));
        }
        _ => panic!("not busy"),
    }
    let log = first.open(None, &Registry::default()).await.unwrap();
    log.log.close().await;
    assert!(
        matches!(other.take().await.unwrap().slot, Slot::Held(_)),
        "a slot that was left in good order is free at once"
    );
}

#[tokio::test]
async fn creating_again_after_a_crash_half_way_is_safe() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    database.sql("CREATE PUBLICATION millrace FOR TABLE t WITH (publish = 'insert')");
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO u VALUES (1); DELETE FROM u");
    assert_eq!(log.lines(&source).await, ["c u(1)", "d u(1)"]);
    log.log.close().await;
    let mut again = create(&source).await;
    assert_eq!(again.lines(&source).await, ["c u(1)", "d u(1)"]);
}

#[tokio::test]
async fn a_slot_without_its_publication_says_so_and_none_is_made_behind_it() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    create(&source).await.log.close().await;
    database.sql("DROP PUBLICATION millrace");
    let held = held(&source).await;
    assert!(held.state().unreadable.as_deref().is_some_and(|why| why.contains("millrace")));
    drop(held);
    let findings = source.check().await.unwrap();
    assert!(findings.iter().any(|it| it.code == "PG-014" && it.severity == Severity::Error));
    let fault = loop {
        match source.create().await {
            Err(fault) if fault.code == "PG-012" => tokio::task::yield_now().await,
            Err(fault) => break fault,
            Ok(_) => panic!("a slot that cannot be read"),
        }
    };
    assert_eq!((fault.code, fault.exit_code()), ("PG-014", 66));
    assert_eq!(database.sql("SELECT count(*) FROM pg_publication"), "0");
}

#[tokio::test]
async fn a_publication_younger_than_its_slot_is_a_gap() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let slot = format!("slot_{}", database.name);
    database.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    database.sql("INSERT INTO t VALUES (1); CREATE PUBLICATION millrace FOR TABLE t; INSERT INTO t VALUES (2)");
    let source = database.source();
    let mut log = resume(&source, None).await;
    let end = source.end().await.unwrap();
    let fault = log.read_to(&end).await.unwrap_err();
    assert_eq!((fault.code, fault.exit_code()), ("PG-014", 66));
}

#[tokio::test]
async fn a_slot_that_lost_its_log_is_lost_and_a_restart_makes_a_new_one() {
    let server = Server::start("lost", "max_slot_wal_keep_size = 1MB\nmin_wal_size = 32MB\nmax_wal_size = 32MB\n");
    let database = Database::new(&server, "CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    create(&source).await.log.close().await;
    let status = || database.sql("SELECT wal_status FROM pg_replication_slots");
    while status() != "lost" {
        database.sql("SELECT pg_switch_wal()");
        database.sql("INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t");
        database.sql("CHECKPOINT");
    }
    assert!(matches!(source.take().await.unwrap().slot, Slot::Lost { .. }));
    assert!(source.check().await.unwrap().iter().any(|it| it.code == "PG-013" && it.severity == Severity::Error));
    let (identity, position) = source.recreate().await.unwrap();
    let held = held(&source).await;
    assert_eq!(held.state().confirmed, position);
    assert_eq!(held.identity(), &identity);
    let fault = source.recreate().await.unwrap_err();
    assert_eq!((fault.code, fault.exit_code()), ("PG-012", 75));
}

#[tokio::test]
async fn a_server_that_dies_and_one_that_is_not_there_are_no_answer() {
    let mut server = Server::start("dies", "");
    let settings = Database::new(&server, "CREATE TABLE t (id int PRIMARY KEY)").settings();
    let source = Postgres::new(settings);
    let mut log = create(&source).await;
    server.kill();
    let fault = loop {
        match log.log.read(&mut log.changes).await {
            Ok(_) => {}
            Err(fault) => break fault,
        }
    };
    assert!(fault.is_retry(), "{fault}");
    assert!(source.take().await.err().unwrap().is_retry());
    assert!(source.check().await.err().unwrap().is_retry());
    log.log.close().await;
    server.run();
    assert!(matches!(source.take().await.unwrap().slot, Slot::Held(_)));
}

#[tokio::test]
async fn a_server_that_shuts_down_is_not_kept_waiting() {
    let mut server = Server::start("stops", "");
    let database = Database::new(&server, "CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO t VALUES (1)");
    assert_eq!(log.lines(&source).await, ["c t(1)"]);
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    let fault = loop {
        match log.log.read(&mut log.changes).await {
            Ok(_) => {}
            Err(fault) => break fault,
        }
    };
    assert!(fault.is_retry(), "{fault}");
    drop(log);
    assert!(stopping.await.unwrap() < Duration::from_secs(20));
}

#[tokio::test]
async fn each_wrong_thing_of_a_first_start_is_named() {
    let server = Server::shared();
    let database = server.database("CREATE TABLE t (id int PRIMARY KEY)");
    let fault_of = async |change: &dyn Fn(&mut Settings)| {
        let mut settings = database.settings();
        change(&mut settings);
        let source = Postgres::new(settings);
        let fault = source.take().await.err().unwrap();
        let findings = source.check().await.unwrap();
        assert!(findings.iter().any(|it| it.code == fault.code), "{findings:?}");
        (fault.code, fault.exit_code())
    };
    assert_eq!(fault_of(&|it| it.database = "nowhere".into()).await, ("PG-004", 64));
    assert_eq!(fault_of(&|it| it.username = "nobody".into()).await, ("PG-003", 77));
    let slot = format!("other_{}", database.name);
    database.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')"));
    assert_eq!(fault_of(&|it| it.slot = slot.clone()).await, ("PG-010", 64));
    database.sql(&format!("SELECT pg_drop_replication_slot('{slot}')"));
    let elsewhere = server.database("");
    elsewhere.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    assert_eq!(fault_of(&|it| it.slot = slot.clone()).await, ("PG-011", 64));
}

#[tokio::test]
async fn a_level_that_is_not_logical_is_named() {
    let server = Server::start("level", "wal_level = replica\n");
    let database = Database::new(&server, "CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let fault = source.create().await.err().unwrap();
    assert_eq!((fault.code, fault.exit_code()), ("PG-007", 1));
    assert!(source.check().await.unwrap().iter().any(|it| it.code == "PG-007" && it.severity == Severity::Error));
}

#[tokio::test]
async fn check_names_tables_that_cannot_be_carried() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id) STORED, a int[]); CREATE TABLE nokey (a int); \
         CREATE TABLE late (id int PRIMARY KEY DEFERRABLE); CREATE UNLOGGED TABLE fast (id int PRIMARY KEY); \
         CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE VIEW v AS SELECT 1 AS id",
    );
    let codes = async |tables: &[&str]| {
        let tables = tables.iter().map(|name| table(name)).collect();
        let source = Postgres::new(Settings { tables, ..database.settings() });
        let findings = source.check().await.unwrap();
        assert!(findings.iter().all(|it| it.severity != Severity::Error || !it.cure.is_empty()), "{findings:?}");
        let mut codes: Vec<_> = findings.iter().map(|it| format!("{} {}", it.severity.as_str(), it.code)).collect();
        codes.sort();
        codes
    };
    let star = [
        "info PG-020",
        "info PG-021",
        "info PG-022",
        "info PG-028",
        "warning PG-017",
        "warning PG-018",
        "warning PG-019",
    ];
    assert_eq!(codes(&["*"]).await, star);
    assert_eq!(codes(&["nokey"]).await, ["error PG-017"]);
    assert_eq!(codes(&["late"]).await, ["error PG-018"]);
    assert_eq!(codes(&["fast"]).await, ["error PG-019"]);
    assert_eq!(codes(&["v"]).await, ["error PG-019"]);
    assert_eq!(codes(&["absent"]).await, ["error PG-016"]);
    // Names are case-sensitive, in tables and in schemas.
    let tables = [("public", "T"), ("Public", "t"), ("public", "absent")]
        .map(|(schema, table)| TableSelection { schema: schema.into(), table: table.into() });
    let source = Postgres::new(Settings { tables: tables.to_vec(), ..database.settings() });
    let findings = source.check().await.unwrap();
    let cures: Vec<_> = findings.iter().filter(|it| it.code == "PG-016").map(|it| it.cure.as_str()).collect();
    let meant = "did you mean {schema: public, table: t}? Names are case-sensitive";
    assert_eq!(cures, [meant, meant, "correct tables in the pipeline file"]);
    assert_eq!(codes(&["parts"]).await, ["info PG-028"]);
    let cure = async |schema: &str, table: &str| {
        let tables = vec![TableSelection { schema: schema.into(), table: table.into() }];
        let mut findings = Postgres::new(Settings { tables, ..database.settings() }).check().await.unwrap();
        findings.retain(|it| it.severity == Severity::Error);
        let [only] = findings.as_slice() else { panic!("{findings:?}") };
        format!("{} {}", only.code, only.cure)
    };
    database.sql("CREATE MATERIALIZED VIEW m AS SELECT 1 AS id; CREATE SCHEMA other; CREATE TABLE other.orders (id int PRIMARY KEY)");
    assert_eq!(cure("public", "v").await, "PG-019 take it out of tables, and name the tables that it shows");
    assert_eq!(cure("public", "m").await, "PG-019 take it out of tables, and name the tables that it shows");
    assert!(cure("public", "fast").await.starts_with("PG-019 ALTER TABLE \"public\".\"fast\" SET LOGGED"));
    assert_eq!(cure("pg_catalog", "pg_class").await, "PG-019 take it out of tables");
    let meant = |schema: &str, table: &str| format!("PG-016 did you mean {{schema: {schema}, table: {table}}}?");
    assert_eq!(cure("public", "public.t").await, meant("public", "t"));
    assert_eq!(cure("public", "tt").await, meant("public", "t"));
    assert_eq!(cure("pubic", "t").await, meant("public", "t"));
    assert_eq!(cure("other", "odrers").await, meant("other", "orders"));
    assert_eq!(cure("public", "other.orders").await, meant("other", "orders"));
}

#[tokio::test]
async fn check_names_missing_privileges_and_unfit_publications() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION small FOR TABLE t WITH (publish = 'insert')",
    );
    let role = format!("poor_{}", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN"));
    let settings = Settings { username: role, ..database.settings() };
    let source = Postgres::new(settings);
    let codes: Vec<_> = source.check().await.unwrap().iter().map(|it| (it.code, it.severity)).collect();
    assert!(codes.contains(&("PG-009", Severity::Error)) && codes.contains(&("PG-023", Severity::Error)), "{codes:?}");
    let fault = source.take().await.err().unwrap();
    assert_eq!((fault.code, fault.exit_code()), ("PG-005", 77), "{fault}");
    for (publication, code) in [("small", "PG-015"), ("absent", "PG-014")] {
        let publication_mode = PublicationMode::Use;
        let source =
            Postgres::new(Settings { publication: publication.into(), publication_mode, ..database.settings() });
        assert!(source.check().await.unwrap().iter().any(|it| it.code == code && it.severity == Severity::Error));
        let fault = source.create().await.err().unwrap();
        assert_eq!((fault.code, fault.exit_code()), (code, 64));
    }
}

#[tokio::test]
async fn check_names_all_that_keeps_the_role_from_the_rows_that_are_there() {
    let database = Server::shared().database(
        "CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); \
         CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9); CREATE TABLE s.p2 PARTITION OF p DEFAULT; \
         CREATE PUBLICATION given FOR TABLE s.a, b, p WITH (publish_via_partition_root)",
    );
    let role = format!("reader_{}", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN REPLICATION; GRANT SELECT ON p TO {role}"));
    let tables = [("s", "a"), ("public", "b"), ("public", "p")]
        .map(|(schema, table)| TableSelection { schema: schema.into(), table: table.into() });
    let (publication, publication_mode) = ("given".into(), PublicationMode::Use);
    let username = role.clone();
    let settings = Settings { username, publication, publication_mode, tables: tables.to_vec(), ..database.settings() };
    let source = Postgres::new(settings.clone());
    let cures = async || {
        let mut findings = source.check().await.unwrap();
        findings.retain(|it| it.severity == Severity::Error);
        assert!(findings.iter().all(|it| it.code == "PG-005"), "{findings:?}");
        findings.into_iter().map(|it| it.cure).collect::<Vec<_>>()
    };
    let wanted = [
        format!("GRANT USAGE ON SCHEMA \"s\" TO \"{role}\""),
        format!("GRANT SELECT ON \"public\".\"b\" TO \"{role}\""),
        format!("GRANT SELECT ON \"public\".\"p1\", \"s\".\"p2\" TO \"{role}\""),
        format!("GRANT SELECT ON \"s\".\"a\" TO \"{role}\""),
    ];
    assert_eq!(cures().await, wanted);
    let never = Postgres::new(Settings { snapshots: false, ..settings });
    assert!(
        never.check().await.unwrap().iter().all(|it| it.severity != Severity::Error),
        "the log asks for none of that"
    );
    for cure in &wanted {
        database.sql(cure);
    }
    assert_eq!(cures().await, [""; 0]);
    database.sql("ALTER TABLE p1 ENABLE ROW LEVEL SECURITY");
    let bypass =
        format!("ALTER ROLE \"{role}\" BYPASSRLS, or ALTER TABLE \"public\".\"p1\" DISABLE ROW LEVEL SECURITY");
    assert_eq!(cures().await, [bypass]);
    database.sql(&format!("ALTER ROLE {role} BYPASSRLS"));
    assert_eq!(cures().await, [""; 0]);
    drop(create(&source).await);
}

#[tokio::test]
async fn a_table_that_will_join_a_publication_of_ours_is_no_error_and_in_a_given_one_it_is() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let of = |tables: &[&str], publication_mode| {
        let tables = tables.iter().map(|name| table(name)).collect();
        Postgres::new(Settings { tables, publication_mode, ..database.settings() })
    };
    let first = of(&["t"], PublicationMode::Create);
    create(&first).await.log.close().await;
    let errors = async |source: Postgres| {
        let found = source.check().await.unwrap();
        found.iter().filter(|it| it.severity == Severity::Error).map(|it| it.code).collect::<Vec<_>>()
    };
    assert_eq!(errors(of(&["t", "u"], PublicationMode::Create)).await, [""; 0]);
    assert_eq!(errors(of(&["t", "u"], PublicationMode::Use)).await, ["PG-015"]);
    let role = format!("guest_{}", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN REPLICATION; GRANT SELECT ON t, u TO {role}"));
    let settings = Settings { username: role, tables: vec![table("t"), table("u")], ..database.settings() };
    assert_eq!(errors(Postgres::new(settings)).await, ["PG-023"], "who does not own it cannot have it join");
}

#[tokio::test]
async fn every_kind_of_password_opens_the_door_and_a_wrong_one_does_not() {
    let server = Server::start("doors", "password_encryption = 'scram-sha-256'\n");
    let database = Database::new(&server, "CREATE TABLE t (id int PRIMARY KEY)");
    database.sql("CREATE ROLE scram LOGIN SUPERUSER PASSWORD 'p\\u00e4ss'".replace("\\u00e4", "ä").as_str());
    database.sql("SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN SUPERUSER PASSWORD 'secret'");
    database.sql("CREATE ROLE clear LOGIN SUPERUSER PASSWORD 'secret'");
    server.admit("host all scram all scram-sha-256\nhost all hashed all md5\nhost all clear all password\n");
    for (user, word) in [("scram", "päss"), ("hashed", "secret"), ("clear", "secret")] {
        let with = |password| Postgres::new(Settings { username: user.into(), password, ..database.settings() });
        assert!(matches!(with(password(word)).take().await.unwrap().slot, Slot::Missing), "{user}");
        let fault = with(password("wrong")).take().await.err().unwrap();
        assert_eq!((fault.code, fault.exit_code()), ("PG-003", 77), "{user}");
        assert!(!format!("{fault:?}{fault}").contains("wrong"));
        let fault = with(None).take().await.err().unwrap();
        assert_eq!((fault.code, fault.exit_code()), ("PG-006", 64), "{user}");
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it is waited for")]
async fn making_a_slot_waits_for_a_transaction_that_runs() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let mut open = database.session();
    open.sql("BEGIN; INSERT INTO t VALUES (1);");
    let creating = tokio::spawn(async move { source.create().await.map(drop) });
    while database.sql("SELECT count(*) FROM pg_publication") == "0" {
        tokio::task::yield_now().await;
    }
    database.sql("INSERT INTO t VALUES (2)");
    assert!(!creating.is_finished());
    open.sql("COMMIT;");
    creating.await.unwrap().unwrap();
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it is waited for")]
async fn a_slot_that_is_made_anew_while_it_is_taken_is_noted_as_the_new_one() {
    // [B1] What stood there before it was taken says nothing of the slot that is held.
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    create(&source).await.log.close().await;
    // Making a slot would wait for the transaction that has the lock; a copy does not.
    let (slot, spare) = (format!("slot_{}", database.name), format!("spare_{}", database.name));
    database.sql("INSERT INTO t VALUES (1)");
    database.sql(&format!("SELECT pg_create_logical_replication_slot('{spare}', 'pgoutput')"));
    let mut lock = database.session();
    lock.sql("BEGIN; LOCK TABLE pg_publication_rel IN ACCESS EXCLUSIVE MODE;");
    let other = database.source();
    let taking = tokio::spawn(async move { other.take().await });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pg_publication_rel'::regclass";
    while database.sql(waits) == "0" {
        assert!(!taking.is_finished(), "it looks at the tables before it takes the slot");
        tokio::task::yield_now().await;
    }
    let confirmed = |slot: &str| {
        database.sql(&format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{slot}'"))
    };
    let before = confirmed(&slot);
    database.sql(&format!("SELECT pg_drop_replication_slot('{slot}')"));
    database.sql(&format!("SELECT pg_copy_logical_replication_slot('{spare}', '{slot}')"));
    assert_ne!(confirmed(&slot), before);
    lock.sql("COMMIT;");
    let Slot::Held(held) = taking.await.unwrap().unwrap().slot else { panic!("it is free") };
    assert_eq!(held.state().confirmed.as_str(), confirmed(&slot));
}

#[tokio::test]
async fn cleanup_drops_what_was_made_and_nothing_else() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION mine FOR TABLE t");
    let source = database.source();
    create(&source).await.log.close().await;
    let plan = source.cleanup_plan().await.unwrap();
    assert_eq!(plan.publication.as_deref(), Some("millrace"));
    assert_eq!(source.cleanup().await.unwrap(), plan);
    assert_eq!(source.cleanup_plan().await.unwrap(), CleanupPlan::default());
    assert_eq!(database.sql("SELECT string_agg(pubname, ',') FROM pg_publication"), "mine");
    assert!(matches!(source.take().await.unwrap().slot, Slot::Missing));
}

#[tokio::test]
async fn discover_shows_keys_kinds_and_obstacles() {
    let database = Server::shared().database(
        "CREATE TABLE t (id bigint PRIMARY KEY, n numeric(8,3), j jsonb NOT NULL); CREATE TABLE nokey (a point); CREATE VIEW v AS SELECT 1",
    );
    let tables = database.source().discover(Some("public")).await.unwrap();
    let shown: Vec<_> = tables
        .iter()
        .map(|table| {
            let columns: Vec<_> = table
                .columns
                .iter()
                .map(|it| format!("{} {} {} {}", it.name, it.type_name, it.kind, it.nullable))
                .collect();
            let codes: Vec<_> = table.findings.iter().map(|it| it.code).collect();
            format!("{} [{}] ({}) {}", table.table, table.key.join(","), columns.join(", "), codes.join(" "))
        })
        .collect();
    let t = "t [id] (id bigint int64 false, n numeric(8,3) decimal(8,3) true, j jsonb json false) ";
    assert_eq!(shown, ["nokey [] (a point text true) PG-017 PG-021", t]);
    assert!(tables.iter().all(|table| table.rows_estimate == 0));
}

#[tokio::test]
async fn rows_are_estimated_where_nobody_has_analysed_a_table_and_over_all_partitions() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); \
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (2000); \
         CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (2000) TO (10000); \
         INSERT INTO t SELECT i, md5(i::text) FROM generate_series(0, 9999) i; ANALYZE t1; \
         CREATE TABLE plain (id bigint PRIMARY KEY); INSERT INTO plain SELECT generate_series(1, 5000); \
         CREATE TABLE empty (id int PRIMARY KEY)",
    );
    let tables = database.source().discover(Some("public")).await.unwrap();
    let about = |name: &str, rows: u64| {
        let table = tables.iter().find(|table| table.table == name).unwrap();
        assert!((rows / 2..=rows * 2).contains(&table.rows_estimate), "{name}: {}", table.rows_estimate);
    };
    about("t", 10_000);
    about("plain", 5_000);
    about("empty", 0);
    let source = database.source();
    drop(create(&source).await);
    let snapshot = take(&source).await;
    for (name, rows) in [("t", 10_000), ("plain", 5_000)] {
        let estimate = snapshot.plan(&named(&database, name), &[]).await.unwrap().rows_estimate;
        assert!((rows / 2..=rows * 2).contains(&estimate), "{name}: {estimate}");
    }
}
