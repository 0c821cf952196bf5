//! Tables that cannot be carried although they have a key: generated key columns, and partitions that are not as their root.

use std::sync::Arc;

use millrace_model::{Finding, Registry, Severity, Source, TableEntry};
use millrace_postgres::{Postgres, PublicationMode, Settings};

use crate::heard::Heard;
use crate::reading::{create, held};
use crate::scan::named;
use crate::server::{Database, Server, table};

fn of(database: &Database<'_>, tables: &[&str]) -> Postgres {
    Postgres::new(Settings { tables: tables.iter().map(|name| table(name)).collect(), ..database.settings() })
}

async fn found(source: &Postgres, code: &str) -> Vec<Finding> {
    source.check().await.unwrap().into_iter().filter(|it| it.code == code).collect()
}

/// Named, such a table is refused by check and start; of a `*` it is left out, and what its users do goes on.
async fn is_unfit(database: &Database<'_>, name: &str, code: &str, cures: &[&str]) {
    let finding = found(&of(database, &[name]), code).await.pop().unwrap();
    assert_eq!(finding.severity, Severity::Error, "{finding:?}");
    for cure in cures {
        assert!(finding.cure.contains(cure), "{finding:?}");
    }
    let fault = of(database, &[name]).create().await.err().unwrap();
    assert_eq!((fault.code, fault.exit_code(), &fault.cure), (code, 64, &finding.cure));
    let everything = of(database, &["*"]);
    let finding = found(&everything, code).await.pop().unwrap();
    assert!(finding.severity == Severity::Warning && finding.message.contains("left out"), "{finding:?}");
    let members = everything.members().await.unwrap();
    assert!(members.iter().all(|it| it.schema.table != named(database, name)), "{name}");
}

/// Nothing is said of it any more, and its changes come.
async fn is_fit(database: &Database<'_>, name: &str, sql: &str, lines: &[&str]) {
    let source = of(database, &[name]);
    let errors: Vec<_> =
        source.check().await.unwrap().into_iter().filter(|it| it.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let mut log = create(&source).await;
    database.sql(sql);
    assert_eq!(log.lines(&source).await, lines);
}

#[tokio::test]
async fn a_key_with_a_generated_column_is_refused_unless_old_rows_are_full() {
    let database = Server::shared().database(
        "CREATE TABLE ok (id int PRIMARY KEY); \
         CREATE TABLE g (t int, b int, h int GENERATED ALWAYS AS (b * 2) STORED, v text, PRIMARY KEY (t, h)); \
         INSERT INTO g (t, b, v) VALUES (1, 1, 'x'), (1, 2, 'y')",
    );
    is_unfit(&database, "g", "PG-017", &["ALTER TABLE \"public\".\"g\" REPLICA IDENTITY FULL"]).await;
    let message = found(&of(&database, &["g"]), "PG-017").await.pop().unwrap().message;
    assert!(message.contains("generated columns") && message.ends_with(": h"), "{message}");
    // An identity index over a generated column is no better.
    database.sql(
        "CREATE TABLE i (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id) STORED NOT NULL UNIQUE); \
         ALTER TABLE i REPLICA IDENTITY USING INDEX i_g_key",
    );
    is_unfit(&database, "i", "PG-017", &["ALTER TABLE \"public\".\"i\" REPLICA IDENTITY FULL"]).await;
    database.sql("ALTER TABLE g REPLICA IDENTITY FULL");
    is_fit(&database, "g", "DELETE FROM g WHERE b = 1", &["d g(1,1,x)"]).await;
    let tables = of(&database, &["g"]).discover(Some("public")).await.unwrap();
    let key_of = |name: &str| tables.iter().find(|it| it.table == name).unwrap().key.clone();
    assert_eq!((key_of("ok"), key_of("g")), (vec!["id".to_owned()], Vec::new()), "half a key is none");
}

#[tokio::test]
async fn partitions_of_a_table_with_full_old_rows_must_have_them_too() {
    let database = Server::shared().database(
        "CREATE TABLE ok (id int PRIMARY KEY); \
         CREATE TABLE a (x int, v text) PARTITION BY LIST (x); CREATE TABLE a1 PARTITION OF a FOR VALUES IN (1); \
         CREATE TABLE a2 PARTITION OF a FOR VALUES IN (2) PARTITION BY LIST (v); CREATE TABLE a2b PARTITION OF a2 DEFAULT; \
         CREATE TABLE c (id int, r int, big text, PRIMARY KEY (id, r)) PARTITION BY LIST (r); \
         CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1); ALTER TABLE c REPLICA IDENTITY FULL; \
         ALTER TABLE c ALTER big SET STORAGE EXTERNAL; ALTER TABLE c1 ALTER big SET STORAGE EXTERNAL",
    );
    let (a1, a2b) = ("ALTER TABLE public.a1 REPLICA IDENTITY FULL", "ALTER TABLE public.a2b REPLICA IDENTITY FULL");
    let finding = found(&of(&database, &["a"]), "PG-017").await.pop().unwrap();
    assert!(finding.cure.contains("add a primary key, or ALTER TABLE \"public\".\"a\" REPLICA IDENTITY FULL"));
    is_unfit(&database, "a", "PG-017", &["ALTER TABLE \"public\".\"a\" REPLICA IDENTITY FULL", a1, a2b]).await;
    database.sql("ALTER TABLE a REPLICA IDENTITY FULL");
    is_unfit(&database, "a", "PG-017", &[a1, a2b]).await;
    is_unfit(&database, "c", "PG-017", &["ALTER TABLE public.c1 REPLICA IDENTITY FULL"]).await;
    // The cure to the letter.
    let finding = found(&of(&database, &["a"]), "PG-017").await.pop().unwrap();
    database.sql(&finding.cure);
    let update = "INSERT INTO a VALUES (1, 'b'); UPDATE a SET x = 2; DELETE FROM a";
    is_fit(&database, "a", update, &["c a(1,b)", "d a(1,b)", "c a(2,b)", "d a(2,b)"]).await;
}

#[tokio::test]
async fn the_value_of_a_full_old_row_is_there_when_a_row_of_a_partition_gets_another_key() {
    let database = Server::shared().database(
        "CREATE TABLE c (id int, r int, big text, PRIMARY KEY (id, r)) PARTITION BY LIST (r); \
         CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1); ALTER TABLE c REPLICA IDENTITY FULL; \
         ALTER TABLE c1 REPLICA IDENTITY FULL; ALTER TABLE c1 ALTER big SET STORAGE EXTERNAL; \
         INSERT INTO c SELECT 1, 1, repeat('x', 5000)",
    );
    let big = "x".repeat(5000);
    let lines = [format!("d c(1,1,{big})"), format!("c c(2,1,{big})")];
    is_fit(&database, "c", "UPDATE c SET id = 2", &[&lines[0], &lines[1]]).await;
}

#[tokio::test]
async fn partitions_of_a_table_with_a_key_must_tell_that_key() {
    let database = Server::shared().database(
        "CREATE TABLE ok (id int PRIMARY KEY); \
         CREATE TABLE n (id int PRIMARY KEY, v int) PARTITION BY LIST (id); CREATE TABLE n1 PARTITION OF n DEFAULT; \
         ALTER TABLE n1 REPLICA IDENTITY NOTHING; \
         CREATE TABLE b (id int, r int, code text NOT NULL, PRIMARY KEY (id, r)) PARTITION BY LIST (r); \
         CREATE TABLE b1 PARTITION OF b DEFAULT; CREATE UNIQUE INDEX b_code ON b (code, r); \
         ALTER TABLE b REPLICA IDENTITY USING INDEX b_code; \
         CREATE TABLE d (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE UNLOGGED TABLE d1 PARTITION OF d DEFAULT",
    );
    is_unfit(&database, "n", "PG-017", &["ALTER TABLE public.n1 REPLICA IDENTITY DEFAULT"]).await;
    is_unfit(&database, "b", "PG-017", &["ALTER TABLE public.b1 REPLICA IDENTITY USING INDEX"]).await;
    is_unfit(&database, "d", "PG-019", &["ALTER TABLE public.d1 SET LOGGED"]).await;
    database.sql("ALTER TABLE d1 SET LOGGED; ALTER TABLE b1 REPLICA IDENTITY USING INDEX b1_code_r_idx");
    is_fit(&database, "b", "INSERT INTO b VALUES (1, 1, 'x'); DELETE FROM b", &["c b(1,1,x)", "d b(NULL,1,x)"]).await;
    database.sql("ALTER TABLE n1 REPLICA IDENTITY FULL");
    let tables = of(&database, &["n", "d"]);
    let findings = tables.check().await.unwrap();
    assert!(findings.iter().all(|it| it.severity != Severity::Error), "full old rows tell any key: {findings:?}");
}

#[tokio::test]
async fn a_partition_that_comes_later_and_does_not_fit_takes_its_table_out_so_that_its_users_can_go_on() {
    let database = Server::shared().database(
        "CREATE TABLE ok (id int PRIMARY KEY); CREATE TABLE a (x int, v text) PARTITION BY LIST (x); \
         CREATE TABLE a1 PARTITION OF a FOR VALUES IN (1); ALTER TABLE a REPLICA IDENTITY FULL; \
         ALTER TABLE a1 REPLICA IDENTITY FULL",
    );
    let source = database.source();
    drop(create(&source).await);
    let members = async || source.members().await.unwrap().iter().filter(|it| it.published).count();
    assert_eq!(members().await, 2);
    database.sql("CREATE TABLE a2 PARTITION OF a FOR VALUES IN (2); INSERT INTO a VALUES (2, 'x')");
    assert!(database.try_sql("UPDATE a SET v = 'y'").is_err(), "until the next look");
    assert_eq!(members().await, 1);
    let (heard, _listening) = Heard::listen();
    source.leave(&[named(&database, "a")]).await.unwrap();
    database.sql("UPDATE a SET v = 'y'");
    assert!(heard.contains("PG-017") && heard.contains("ALTER TABLE public.a2 REPLICA IDENTITY FULL"), "{heard:?}");
    database.sql("ALTER TABLE a2 REPLICA IDENTITY FULL");
    source.join(&[named(&database, "a")]).await.unwrap();
    assert_eq!(members().await, 2);
}

#[tokio::test]
async fn an_unfit_table_that_a_process_died_over_leaves_the_publication_at_the_next_start() {
    let database = Server::shared().database(
        "CREATE TABLE ok (id int PRIMARY KEY); CREATE TABLE a (id int PRIMARY KEY) PARTITION BY LIST (id); \
         CREATE TABLE a1 PARTITION OF a DEFAULT; CREATE TABLE joining (id int PRIMARY KEY); INSERT INTO a VALUES (1)",
    );
    let source = database.source();
    create(&source).await.log.close().await;
    database.sql("ALTER TABLE a1 REPLICA IDENTITY NOTHING");
    assert!(database.try_sql("DELETE FROM a").is_err());
    // The last commit no longer has it, and the one that was to join has not come there.
    let ok = source.members().await.unwrap().into_iter().find(|it| it.schema.table == named(&database, "ok")).unwrap();
    let registry = Registry::new([Arc::new(TableEntry::new(&ok.schema))]);
    let (heard, _listening) = Heard::listen();
    drop(held(&source).await.open(None, &registry).await.unwrap());
    database.sql("DELETE FROM a");
    assert!(heard.contains("PG-017") && heard.contains("public.a1"), "{heard:?}");
    let published = database.sql("SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables");
    assert_eq!(published, "joining ok");
}

#[tokio::test]
async fn a_partition_beside_the_table_above_it_is_refused_and_alone_it_is_carried() {
    let database = Server::shared().database(
        "CREATE TABLE p (id int, r int, PRIMARY KEY (id, r)) PARTITION BY LIST (r); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) PARTITION BY LIST (r); CREATE TABLE p11 PARTITION OF p1 DEFAULT; \
         CREATE TABLE later (id int, r int, PRIMARY KEY (id, r))",
    );
    for tables in [&["p", "p11"][..], &["*", "p11"], &["p1", "p11"]] {
        let source = of(&database, tables);
        let errors: Vec<_> = found(&source, "PG-028").await;
        let error = errors.iter().find(|it| it.severity == Severity::Error).unwrap();
        let root = if tables[0] == "p1" { "p1" } else { "p" };
        assert!(error.subject.ends_with("\"p11\""), "{error:?}");
        assert!(error.message.contains(&format!("come as those of \"public\".\"{root}\"")), "{error:?}");
        let fault = source.create().await.err().unwrap();
        assert_eq!((fault.code, fault.exit_code()), ("PG-028", 64), "{tables:?}");
    }
    // A publication of somebody else's that hands out the whole.
    database.sql("CREATE PUBLICATION given FOR ALL TABLES WITH (publish_via_partition_root)");
    let publication_mode = PublicationMode::Use;
    let tables = vec![table("p11")];
    let source = Postgres::new(Settings {
        tables,
        publication: "given".into(),
        publication_is_default: false,
        publication_mode,
        ..database.settings()
    });
    assert!(found(&source, "PG-028").await.iter().any(|it| it.severity == Severity::Error));
    assert!(source.members().await.unwrap().is_empty());
    database.sql("ALTER PUBLICATION given SET (publish_via_partition_root = false)");
    assert!(found(&source, "PG-028").await.is_empty());
    database.sql("DROP PUBLICATION given");
    // One that is attached while it is carried by itself.
    let source = of(&database, &["p", "later"]);
    drop(create(&source).await);
    assert_eq!(source.members().await.unwrap().len(), 2);
    database.sql("ALTER TABLE p ATTACH PARTITION later FOR VALUES IN (2)");
    assert_eq!(source.members().await.unwrap().len(), 1);
    let (heard, _listening) = Heard::listen();
    source.leave(&[named(&database, "later")]).await.unwrap();
    assert!(heard.contains("PG-028") && heard.contains("\"public\".\"later\" is a partition of"), "{heard:?}");
    assert_eq!(database.sql("SELECT count(*) FROM pg_publication_rel"), "1");
    // Where the file names the partition in the place of the whole, the whole leaves first.
    let source = of(&database, &["p11"]);
    assert!(found(&source, "PG-028").await.is_empty());
    assert!(source.members().await.unwrap().is_empty());
    source.leave(&[named(&database, "p")]).await.unwrap();
    assert_eq!(source.members().await.unwrap().len(), 1);
}
