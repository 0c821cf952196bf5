//! Changes of the log as rows of the lake.

use millrace_postgres::{Postgres, PublicationMode, Settings};

use crate::reading::{create, resume};
use crate::server::{Server, table};

/// A text so long and so irregular that it is stored out of line.
const LARGE: &str = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) g)";

fn large(from: u32, to: u32, server: &crate::server::Database) -> String {
    server.sql(&format!("SELECT string_agg(md5(g::text), '') FROM generate_series({from}, {to}) g"))
}

#[tokio::test]
async fn inserts_updates_deletes_and_truncates_come_in_commit_order() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO t VALUES (1, 'a'), (2, NULL)");
    database.sql("BEGIN; UPDATE t SET v = 'b' WHERE id = 2; DELETE FROM t WHERE id = 1; COMMIT");
    database.sql("BEGIN; INSERT INTO t VALUES (9, 'gone'); ROLLBACK");
    database.sql(
        "BEGIN; INSERT INTO t VALUES (3, 'c'); SAVEPOINT s; INSERT INTO t VALUES (4, 'gone'); ROLLBACK TO s; COMMIT",
    );
    database.sql("TRUNCATE t");
    let lines = log.lines(&source).await;
    assert_eq!(lines, ["c t(1,a)", "c t(2,NULL)", "u t(2,b)", "d t(1,NULL)", "c t(3,c)", "t t(NULL,NULL)"]);
    assert_eq!(log.lines(&source).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_change_is_a_delete_and_an_insert_also_when_two_rows_swap() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    database.sql("BEGIN; UPDATE t SET id = 0 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 2; UPDATE t SET id = 2 WHERE id = 0; COMMIT");
    let lines = log.lines(&source).await;
    let want = ["d t(1,NULL)", "c t(0,a)", "d t(2,NULL)", "c t(1,b)", "d t(0,NULL)", "c t(2,a)"];
    assert_eq!(lines[2..], want);
}

#[tokio::test]
async fn an_unsent_value_is_marked_and_with_full_identity_taken_from_the_old_row() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY, v int, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL; \
         CREATE TABLE f (id int PRIMARY KEY, v int, big text); ALTER TABLE f ALTER big SET STORAGE EXTERNAL; \
         ALTER TABLE f REPLICA IDENTITY FULL",
    );
    let source = database.source();
    let mut log = create(&source).await;
    for name in ["t", "f"] {
        database.sql(&format!("INSERT INTO {name} VALUES (1, 1, {LARGE})"));
        database.sql(&format!("UPDATE {name} SET v = 2; UPDATE {name} SET id = 5; DELETE FROM {name}"));
    }
    let big = large(1, 200, &database);
    let lines = log.lines(&source).await;
    let plain = [
        format!("c t(1,1,{big})"),
        "u t(1,2,?)".into(),
        "d t(1,NULL,NULL)".into(),
        "c t(5,2,?)".into(),
        "d t(5,NULL,NULL)".into(),
    ];
    let full = ["c f(1,1,", "u f(1,2,", "d f(1,2,", "c f(5,2,", "d f(5,2,"].map(|start| format!("{start}{big})"));
    assert_eq!(lines[..5], plain);
    assert_eq!(lines[5..], full);
}

#[tokio::test]
async fn a_key_that_is_stored_out_of_line_is_never_missing() {
    let database = Server::shared().database(
        "CREATE TABLE t (id text, part int, v int, PRIMARY KEY (id, part)); ALTER TABLE t ALTER id SET STORAGE EXTERNAL",
    );
    let source = database.source();
    let mut log = create(&source).await;
    let key = large(1, 80, &database);
    database.sql(&format!("INSERT INTO t VALUES ('{key}', 1, 1); UPDATE t SET v = 2; UPDATE t SET part = 2"));
    let want =
        [format!("c t({key},1,1)"), format!("u t({key},1,2)"), format!("d t({key},1,NULL)"), format!("c t({key},2,2)")];
    assert_eq!(log.lines(&source).await, want);
}

#[tokio::test]
async fn without_a_key_an_update_is_a_delete_and_an_insert() {
    let database = Server::shared()
        .database("CREATE TABLE t (a int, b text); ALTER TABLE t REPLICA IDENTITY FULL; CREATE TABLE unfit (a int)");
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO t VALUES (1, 'x'); UPDATE t SET b = 'y'; UPDATE t SET b = 'y'; DELETE FROM t");
    database.sql("INSERT INTO unfit VALUES (1)");
    let lines = log.lines(&source).await;
    assert_eq!(lines, ["c t(1,x)", "d t(1,x)", "c t(1,y)", "d t(1,y)", "c t(1,y)", "d t(1,y)"]);
}

#[tokio::test]
async fn the_key_is_that_of_an_identity_index() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY, mail text NOT NULL UNIQUE); ALTER TABLE t REPLICA IDENTITY USING INDEX t_mail_key",
    );
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO t VALUES (1, 'a'); UPDATE t SET id = 2; UPDATE t SET mail = 'b'; DELETE FROM t");
    let batches = log.read_all(&source).await;
    assert_eq!(batches[0].schema.key_names(), ["mail"]);
    let want = ["c t(1,a)", "u t(2,a)", "d t(NULL,a)", "c t(2,b)", "d t(NULL,b)"];
    assert_eq!(crate::reading::lines(&batches), want);
}

#[tokio::test]
async fn a_partitioned_table_is_one_table() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); \
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); \
         CREATE TABLE t2 (v text, extra int, id int NOT NULL); ALTER TABLE t2 DROP extra; \
         ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20)",
    );
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO t VALUES (1, 'a'), (11, 'b'); UPDATE t SET id = 12 WHERE id = 1; TRUNCATE t");
    let lines = log.lines(&source).await;
    assert_eq!(lines, ["c t(1,a)", "c t(11,b)", "d t(1,NULL)", "c t(12,a)", "t t(NULL,NULL)"]);
}

#[tokio::test]
async fn tables_of_a_given_publication_that_are_not_ours_are_passed_over() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY); \
         CREATE PUBLICATION given FOR TABLE t, other",
    );
    let settings = Settings {
        tables: vec![table("t")],
        publication: "given".into(),
        publication_mode: PublicationMode::Use,
        ..database.settings()
    };
    let source = Postgres::new(settings);
    let mut log = create(&source).await;
    database.sql("BEGIN; INSERT INTO other VALUES (1); INSERT INTO t VALUES (2); TRUNCATE other, t; COMMIT");
    assert_eq!(log.lines(&source).await, ["c t(2)", "t t(NULL)"]);
}

#[tokio::test]
async fn column_ids_are_the_servers_and_survive_a_rename() {
    let database = Server::shared()
        .database("CREATE TABLE t (gone int, id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED); ALTER TABLE t DROP gone");
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO t VALUES (1, 2)");
    let before = log.read_all(&source).await;
    database.sql(
        "ALTER TABLE t RENAME v TO w; ALTER TABLE t ADD x numeric(6,2) NOT NULL DEFAULT 1; INSERT INTO t VALUES (2, 3)",
    );
    let after = log.read_all(&source).await;
    let shown = |batch: &millrace_model::Batch| -> Vec<String> {
        let columns = batch.schema.columns.iter();
        columns
            .map(|it| {
                format!("{} {} {} {}{}", it.id, it.name, it.type_name, it.kind, if it.nullable { "?" } else { "" })
            })
            .collect()
    };
    assert_eq!(shown(&before[0]), ["2 id integer int32", "3 v integer int32?"]);
    assert_eq!(shown(&after[0]), ["2 id integer int32", "3 w integer int32?", "5 x numeric(6,2) decimal(6,2)"]);
    let oid = database.sql("SELECT format('%s|%s', prrelid, oid) FROM pg_publication_rel");
    assert_eq!(after[0].schema.source_id, oid);
}

#[tokio::test]
async fn what_the_catalogue_no_longer_shows_gets_an_id_of_its_own() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v int)");
    let source = database.source();
    let log = create(&source).await;
    log.log.close().await;
    database.sql("INSERT INTO t VALUES (1, 2); ALTER TABLE t DROP v; INSERT INTO t VALUES (2)");
    let mut log = resume(&source, None).await;
    let batches = log.read_all(&source).await;
    let ids: Vec<Vec<u32>> =
        batches.iter().map(|batch| batch.schema.columns.iter().map(|it| it.id).collect()).collect();
    assert_eq!(ids, [vec![1, 1601], vec![1]]);
}
