//! Whose a publication is, and what is said where it is altered.

use millrace_model::{Finding, Severity, Source};
use millrace_postgres::{CleanupPlan, Postgres, PublicationMode, Settings};

use crate::heard::Heard;
use crate::reading::create;
use crate::scan::named;
use crate::server::{Database, Server, table};

async fn errors(source: &Postgres) -> Vec<Finding> {
    source.check().await.unwrap().into_iter().filter(|it| it.severity == Severity::Error).collect()
}

fn published(database: &Database<'_>) -> String {
    database
        .sql("SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables WHERE pubname = 'theirs'")
}

#[tokio::test]
async fn a_publication_of_somebody_else_is_neither_changed_nor_dropped() {
    let database = Server::shared().database(
        "CREATE TABLE x (id int PRIMARY KEY); CREATE TABLE y (id int PRIMARY KEY); CREATE TABLE z (id int PRIMARY KEY); \
         CREATE PUBLICATION theirs FOR TABLE x, y",
    );
    let named_so = |tables: &[&str]| {
        let tables = tables.iter().map(|name| table(name)).collect();
        Postgres::new(Settings {
            tables,
            publication: "theirs".into(),
            publication_is_default: false,
            ..database.settings()
        })
    };
    // Also where it has the tables that are wanted.
    for tables in [&["z"][..], &["x", "y"]] {
        let source = named_so(tables);
        let found = errors(&source).await;
        assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), ["PG-015"], "{found:?}");
        assert!(found[0].message.contains("not made by this pipeline"), "{found:?}");
        let fault = source.create().await.err().unwrap();
        assert_eq!((fault.code, fault.exit_code(), &fault.cure), ("PG-015", 64, &found[0].cure));
        assert_eq!(source.recreate().await.unwrap_err().code, "PG-015");
        source.leave(&[named(&database, "x")]).await.unwrap();
        assert_eq!(source.cleanup().await.unwrap(), CleanupPlan::default());
        assert_eq!(published(&database), "x y");
    }
    assert_eq!(named_so(&["z"]).join(&[named(&database, "z")]).await.unwrap_err().code, "PG-015");
    // Handed over as the cure says, it is ours, and then it goes with us.
    let source = named_so(&["z"]);
    let cure = errors(&source).await.pop().unwrap().cure;
    database.sql(&cure[cure.find("COMMENT ON").unwrap()..]);
    create(&source).await.log.close().await;
    assert_eq!(published(&database), "z");
    while source.cleanup().await.is_err() {}
    assert_eq!(database.sql("SELECT count(*) FROM pg_publication"), "0");
    // One that we made has our mark.
    create(&source).await.log.close().await;
    assert!(errors(&source).await.is_empty());
    let other = Postgres::new(Settings {
        slot: "another".into(),
        publication: "theirs".into(),
        publication_is_default: false,
        ..database.settings()
    });
    assert_eq!(errors(&other).await[0].code, "PG-015");
}

#[tokio::test]
async fn a_publication_that_is_narrowed_has_lost_changes() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); \
         CREATE TABLE p1 PARTITION OF p DEFAULT",
    );
    let source = database.source();
    create(&source).await.log.close().await;
    source.members().await.unwrap();
    for narrowed in ["publish = 'insert, update, truncate'", "publish_via_partition_root = false"] {
        database.sql(&format!("ALTER PUBLICATION millrace SET ({narrowed})"));
        let fault = source.members().await.unwrap_err();
        assert_eq!((fault.code, fault.exit_code()), ("PG-015", 66), "{fault}");
        assert!(fault.cure.contains("millrace restart FILE --snapshot"), "{}", fault.cure);
        let found = errors(&source).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].code, &found[0].cure), ("PG-015", &fault.cure));
        let widened = fault.cure.split(';').next().unwrap();
        database.sql(widened);
        let (heard, _listening) = Heard::listen();
        source.members().await.unwrap();
        assert!(errors(&source).await.is_empty());
        assert!(heard.contains("PG-015") && heard.contains("was altered"), "{heard:?}");
    }
    // Between two looks, too; but another owner alters nothing, nor do tables that join.
    let (heard, _listening) = Heard::listen();
    let role = format!("owner_{}", database.name);
    database.sql(&format!("CREATE ROLE {role} SUPERUSER; ALTER PUBLICATION millrace OWNER TO {role}"));
    source.members().await.unwrap();
    database.sql("ALTER PUBLICATION millrace DROP TABLE t; ALTER PUBLICATION millrace ADD TABLE t");
    source.members().await.unwrap();
    assert!(!heard.contains("PG-015"), "{heard:?}");
    database.sql("ALTER PUBLICATION millrace SET (publish = 'insert')");
    database.sql("ALTER PUBLICATION millrace SET (publish = 'insert, update, delete, truncate')");
    source.members().await.unwrap();
    assert!(heard.contains("PG-015") && heard.contains("millrace restart FILE --snapshot"), "{heard:?}");
}

#[tokio::test]
async fn a_column_list_without_a_column_of_the_key_is_refused() {
    let database = Server::shared().database(
        "CREATE TABLE t (a int, b int, v int, PRIMARY KEY (a, b)); \
         CREATE PUBLICATION given FOR TABLE t (a, v) WITH (publish_via_partition_root)",
    );
    let source = Postgres::new(Settings {
        publication: "given".into(),
        publication_is_default: false,
        publication_mode: PublicationMode::Use,
        ..database.settings()
    });
    let found = errors(&source).await;
    assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), ["PG-015"]);
    assert!(found[0].message.ends_with("leaves out columns of the key: b"), "{found:?}");
    let fault = source.create().await.err().unwrap();
    assert_eq!((fault.code, fault.exit_code()), ("PG-015", 64));
    database.sql("ALTER PUBLICATION given SET TABLE t (a, b)");
    assert!(errors(&source).await.is_empty());
    drop(create(&source).await);
}

#[tokio::test]
async fn a_filter_of_rows_without_full_images_is_refused_while_a_pipeline_runs_too() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v int)");
    let source = database.source();
    create(&source).await.log.close().await;
    source.members().await.unwrap();
    let refused = async |source: &Postgres| {
        let fault = source.members().await.unwrap_err();
        assert_eq!((fault.code, fault.exit_code()), ("PG-015", 64), "{fault}");
        assert!(fault.message.contains("filters rows of table \"public\".\"t\""), "{fault}");
    };
    database.sql("ALTER PUBLICATION millrace SET TABLE t WHERE (id > 1)");
    refused(&source).await;
    database.sql("ALTER TABLE t REPLICA IDENTITY FULL");
    assert_eq!(source.members().await.unwrap().len(), 1);
    assert!(errors(&source).await.is_empty());
    // Nor may they end later.
    database.sql("ALTER TABLE t REPLICA IDENTITY DEFAULT");
    refused(&source).await;
}
