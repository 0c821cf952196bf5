//! Tables that join and leave; which changes count.

use std::sync::Arc;

use millrace_model::*;
use millrace_postgres::{Postgres, PublicationMode, Settings};

use crate::heard::Heard;
use crate::reading::{create, held, lines, open, resume, round};
use crate::scan::{named, take};
use crate::server::{Database, Server, table};

async fn ids(source: &Postgres) -> Vec<(String, String, bool)> {
    let members = source.members().await.unwrap();
    let name = |member: &Member| member.schema.table.parts().last().unwrap().clone();
    members.iter().map(|member| (name(member), member.schema.source_id.clone(), member.published)).collect()
}

#[tokio::test]
async fn a4_another_membership_or_another_table_has_another_source_id() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let source = database.source();
    drop(create(&source).await);
    let first = ids(&source).await;
    assert!(first.iter().all(|it| it.2) && first.len() == 2, "{first:?}");
    assert_eq!(ids(&source).await, first);
    let t = [named(&database, "t")];
    source.leave(&t).await.unwrap();
    source.leave(&t).await.unwrap();
    let left = ids(&source).await;
    assert!(!left[0].2 && left[0].1 != first[0].1 && left[1] == first[1], "{left:?}");
    source.join(&t).await.unwrap();
    let joined = ids(&source).await;
    assert!(joined[0].2 && joined[0].1 != first[0].1 && joined[1] == first[1], "{joined:?}");
    source.join(&t).await.unwrap();
    assert_eq!(ids(&source).await, joined);
    database.sql("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)");
    let again = ids(&source).await;
    assert!(!again[0].2, "a table made anew is in no publication: {again:?}");
    source.join(&t).await.unwrap();
    let again = ids(&source).await;
    assert!(again[0].2 && again[0].1 != joined[0].1, "{again:?}");
    database.sql("DROP TABLE t");
    source.leave(&t).await.unwrap();
    source.join(&t).await.unwrap();
    assert_eq!(ids(&source).await.len(), 1);
}

#[tokio::test]
async fn b18_every_table_means_later_ones_too_but_none_that_would_break_its_users_updates() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    drop(create(&source).await);
    database.sql(
        "CREATE TABLE later (id int PRIMARY KEY); CREATE TABLE keyless (x int); INSERT INTO keyless VALUES (1); \
         CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE); INSERT INTO deferred VALUES (1); \
         CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); CREATE VIEW v AS SELECT 1 AS id",
    );
    let members = ids(&source).await;
    let names: Vec<_> = members.iter().map(|it| (it.0.as_str(), it.2)).collect();
    assert_eq!(names, [("later", false), ("t", true)]);
    let wanted: Vec<_> = ["later", "keyless", "deferred"].map(|name| named(&database, name)).into();
    source.join(&wanted).await.unwrap();
    database.sql("UPDATE keyless SET x = 2; UPDATE deferred SET id = 2");
    assert!(ids(&source).await.iter().all(|it| it.2));
    assert_eq!(database.sql("SELECT puballtables FROM pg_publication"), "f");
}

#[tokio::test]
async fn a_given_publication_is_never_changed() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); CREATE PUBLICATION given FOR TABLE t WITH (publish_via_partition_root)",
    );
    let settings = |tables| Settings {
        tables,
        publication: "given".into(),
        publication_mode: PublicationMode::Use,
        ..database.settings()
    };
    drop(create(&Postgres::new(settings(vec![table("t")]))).await);
    let source = Postgres::new(settings(vec![table("t"), table("u")]));
    let fault = source.join(&[named(&database, "u")]).await.unwrap_err();
    assert_eq!((fault.code, fault.exit_code()), ("PG-015", 64));
    source.join(&[named(&database, "t")]).await.unwrap();
    source.leave(&[named(&database, "t")]).await.unwrap();
    assert_eq!(database.sql("SELECT tablename FROM pg_publication_tables"), "t");
}

#[tokio::test]
async fn joining_a_publication_that_is_gone_is_a_gap() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    drop(create(&source).await);
    database.sql("DROP PUBLICATION millrace");
    let fault = source.join(&[named(&database, "t")]).await.unwrap_err();
    assert_eq!((fault.code, fault.exit_code()), ("PG-014", 66));
}

/// A table of `public` as the catalogue has it now.
async fn described(source: &Postgres, table: &str) -> Arc<TableSchema> {
    let members = source.members().await.unwrap();
    let member = members.iter().find(|it| it.schema.table.parts().last().unwrap() == table).unwrap();
    Arc::clone(&member.schema)
}

/// Opens the log with these tables, under the membership that they have now, as those that count.
async fn counting(database: &Database<'_>, source: &Postgres, tables: &[&str]) -> crate::reading::Reading {
    let mut log = open(source, held(source).await, None).await;
    let others: Vec<_> = source.members().await.unwrap().iter().map(|it| it.schema.table.clone()).collect();
    let others: Vec<_> =
        others.into_iter().filter(|it| !tables.iter().any(|name| named(database, name) == *it)).collect();
    log.log.exclude(&others);
    log
}

#[tokio::test]
async fn changes_of_a_table_count_from_its_mark_on_and_no_longer_once_it_is_excluded() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let source = database.source();
    create(&source).await.log.close().await;
    let mut log = counting(&database, &source, &["t"]).await;
    database.sql("INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
    assert_eq!(log.lines(&source).await, ["c t(1)"]);
    // Of what is written before the position nothing counts, of what is written behind it everything.
    database.sql("INSERT INTO u VALUES (2)");
    let position = source.end().await.unwrap();
    let mark = log.log.watch(&position, &[described(&source, "u").await]);
    database.sql("INSERT INTO u VALUES (3)");
    database.sql("BEGIN; INSERT INTO u VALUES (4); INSERT INTO t VALUES (4); COMMIT");
    while log.log.read(&mut log.changes).await.unwrap() != Gulp::Mark(mark) {}
    assert_eq!(log.changes.position(), Some(&position));
    assert_eq!(lines(&log.changes.take_all().unwrap()), Vec::<String>::new());
    assert_eq!(log.lines(&source).await, ["c u(3)", "c u(4)", "c t(4)"]);
    log.log.exclude(&[named(&database, "t")]);
    database.sql("INSERT INTO t VALUES (5); INSERT INTO u VALUES (5); TRUNCATE t, u");
    assert_eq!(log.lines(&source).await, ["c u(5)", "t u(NULL)"]);
    assert_eq!(log.changes.sequence(), Sequence(6));
}

#[tokio::test]
async fn what_others_write_behind_a_position_does_not_pass_it() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    create(&source).await.log.close().await;
    let mut log = counting(&database, &source, &["t"]).await;
    for round in 1..=20 {
        let position = source.end().await.unwrap();
        let mark = log.log.watch(&position, &[]);
        // Nothing of it is ours, and the server's sign of life lies far beyond the position.
        database.sql("CREATE TABLE others AS SELECT generate_series(1, 1000); DROP TABLE others");
        loop {
            let gulp = log.log.read(&mut log.changes).await.unwrap();
            assert_ne!(gulp, Gulp::Passed(mark), "round {round}");
            if gulp == Gulp::Mark(mark) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_position_that_the_log_has_passed_is_said_to_be_passed_and_the_tables_count_from_now_on() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let source = database.source();
    create(&source).await.log.close().await;
    let mut log = counting(&database, &source, &["t"]).await;
    let position = source.end().await.unwrap();
    database.sql("INSERT INTO u VALUES (1); INSERT INTO t VALUES (1)");
    assert_eq!(log.lines(&source).await, ["c t(1)"]);
    let mark = log.log.watch(&position, &[described(&source, "u").await]);
    assert_eq!(log.log.read(&mut log.changes).await.unwrap(), Gulp::Passed(mark));
    database.sql("INSERT INTO u VALUES (2)");
    assert_eq!(log.lines(&source).await, ["c u(2)"]);
}

#[tokio::test]
async fn a_table_of_the_registry_that_has_another_membership_does_not_count_until_it_joins() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let log = create(&source).await;
    let member = source.members().await.unwrap().remove(0);
    log.log.close().await;
    let entry = TableEntry {
        table: member.schema.table.clone(),
        source_id: member.schema.source_id.clone(),
        key: member.schema.key_names(),
        snapshot: None,
        versions: Vec::new(),
    };
    let t = [named(&database, "t")];
    source.leave(&t).await.unwrap();
    source.join(&t).await.unwrap();
    database.sql("INSERT INTO t VALUES (1)");
    let registry = Registry::new([Arc::new(entry)]);
    let opened = held(&source).await.open(None, &registry).await.unwrap();
    let mut log = crate::reading::Reading {
        log: opened.log,
        release: opened.release,
        position: opened.position,
        changes: round(),
    };
    assert_eq!(log.lines(&source).await, Vec::<String>::new());
    let mark = log.log.watch(&source.end().await.unwrap(), &[described(&source, "t").await]);
    database.sql("INSERT INTO t VALUES (2)");
    loop {
        match log.log.read(&mut log.changes).await.unwrap() {
            Gulp::Mark(reached) | Gulp::Passed(reached) if reached == mark => break,
            _ => {}
        }
    }
    assert_eq!(log.lines(&source).await, ["c t(2)"]);
    log.log.close().await;
    drop(resume(&source, None).await);
}

/// Reads up to a mark.
async fn read_to(log: &mut crate::reading::Reading, mark: Mark) {
    while log.log.read(&mut log.changes).await.unwrap() != Gulp::Mark(mark) {}
}

/// Ids of the columns of each batch that is there.
fn column_ids(batches: &[Batch]) -> Vec<Vec<u32>> {
    batches.iter().map(|batch| batch.schema.columns.iter().map(|column| column.id).collect()).collect()
}

#[tokio::test]
async fn a_table_that_joins_keeps_the_column_ids_of_its_snapshot_whatever_the_catalogue_shows_by_then() {
    let database = Server::shared()
        .database("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)");
    let source = database.source();
    create(&source).await.log.close().await;
    let mut log = counting(&database, &source, &[]).await;
    // The log describes `t` on the way to C, and `u` only behind it; both have lost a column by then.
    database.sql("INSERT INTO t VALUES (1, 'before')");
    let snapshot = take(&source).await;
    let mut joining = Vec::new();
    for table in ["t", "u"] {
        joining.push(snapshot.plan(&named(&database, table), &[]).await.unwrap().schema);
    }
    let mark = log.log.watch(snapshot.position(), &joining);
    database.sql("INSERT INTO t VALUES (2, 'after'); INSERT INTO u VALUES (2, 'after')");
    database.sql("ALTER TABLE t DROP v; ALTER TABLE u DROP v, ADD v int, ADD w int");
    read_to(&mut log, mark).await;
    assert!(log.changes.take_all().unwrap().is_empty());
    let batches = log.read_all(&source).await;
    assert_eq!(lines(&batches), ["c t(2,after)", "c u(2,after)"]);
    assert_eq!(column_ids(&batches), [[1, 2], [1, 2]]);
    database.sql("INSERT INTO u VALUES (3, 4, 5)");
    assert_eq!(column_ids(&log.read_all(&source).await), [[1, 3, 4]]);
}

#[tokio::test]
async fn columns_that_were_added_one_after_the_other_while_nobody_read_have_the_servers_numbers() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let source = database.source();
    let log = create(&source).await;
    let position = log.position.clone();
    log.log.close().await;
    database.sql("INSERT INTO t VALUES (1, 'a'); ALTER TABLE t ADD w int; INSERT INTO t VALUES (2, 'b', 3)");
    database.sql("ALTER TABLE t RENAME v TO y; INSERT INTO t VALUES (3, 'c', 4); ALTER TABLE t ADD x int");
    let mut log = resume(&source, Some(&position)).await;
    let batches = log.read_all(&source).await;
    assert_eq!(lines(&batches), ["c t(1,a)", "c t(2,b,3)", "c t(3,c,4)"]);
    let mut ids = column_ids(&batches);
    ids.sort();
    // Nothing knows of `v` any more but the log: in the lake of a pipeline, its registry does.
    assert_eq!(ids, [vec![1, 2, 3], vec![1, 1601], vec![1, 1601, 3]]);
}

#[tokio::test]
async fn a_table_that_lost_its_key_is_read_on_until_it_leaves_and_its_users_can_update_it_then() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY)");
    let source = database.source();
    let mut log = create(&source).await;
    let (heard, _listening) = Heard::listen();
    database.sql("INSERT INTO t VALUES (1, 1); ALTER TABLE t DROP CONSTRAINT t_pkey; INSERT INTO t VALUES (1, 2)");
    database.sql("INSERT INTO u VALUES (1); TRUNCATE t; INSERT INTO t VALUES (3, 3)");
    assert_eq!(log.lines(&source).await, ["c t(1,1)", "c t(1,2)", "c u(1)", "t t(NULL,NULL)", "c t(3,3)"]);
    assert!(database.try_sql("UPDATE t SET v = 4").is_err());
    let names: Vec<_> = ids(&source).await.into_iter().map(|it| it.0).collect();
    assert_eq!(names, ["u"]);
    source.leave(&[named(&database, "t")]).await.unwrap();
    database.sql("UPDATE t SET v = 4");
    assert!(heard.contains("PG-017") && heard.contains("REPLICA IDENTITY FULL"), "{heard:?}");
    assert!(!heard.contains("PG-033"), "{heard:?}");
}

#[tokio::test]
async fn a_table_that_was_renamed_or_dropped_leaves_and_it_is_said_what_became_of_it() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE w (id int PRIMARY KEY)",
    );
    let tables = ["t", "u", "w"].map(table).to_vec();
    let source = Postgres::new(Settings { tables, ..database.settings() });
    drop(create(&source).await);
    database.sql("ALTER TABLE t RENAME TO t_old; DROP TABLE u; CREATE TABLE other (id int PRIMARY KEY)");
    database.sql("ALTER PUBLICATION millrace ADD TABLE other");
    assert_eq!(ids(&source).await.len(), 1);
    let (heard, _listening) = Heard::listen();
    source.leave(&[named(&database, "t"), named(&database, "u")]).await.unwrap();
    assert!(
        heard.contains("\"public\".\"t\" was renamed to \"public\".\"t_old\", which the pipeline file does not name"),
        "{heard:?}"
    );
    assert!(heard.contains("\"public\".\"u\" was dropped or renamed") && heard.contains("PG-033"), "{heard:?}");
    // What is in the publication for other reasons stays there.
    let published = database.sql("SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables");
    assert_eq!(published, "other w");
    // One that the file does not ask for leaves because of that, and nothing need be said.
    let (quiet, _listening) = Heard::listen();
    source.leave(&[named(&database, "other")]).await.unwrap();
    assert!(!quiet.contains("PG-"), "{quiet:?}");
}

#[tokio::test]
async fn values_that_the_log_does_not_say_are_told_of() {
    let alter = |what: &'static str| async move {
        let database =
            Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
        let source = database.source();
        let mut log = create(&source).await;
        let (heard, _listening) = Heard::listen();
        database.sql("INSERT INTO t VALUES (2, 2)");
        log.read_all(&source).await;
        database.sql(&format!("{what}; INSERT INTO t VALUES (3, 3)"));
        log.read_all(&source).await;
        let told = heard.contains("code=\"PG-034\"");
        database.sql("TRUNCATE t; INSERT INTO t VALUES (4, 4)");
        log.read_all(&source).await;
        (told, heard)
    };
    for (what, column) in [
        ("ALTER TABLE t ADD w int DEFAULT 5", "column w"),
        ("ALTER TABLE t ADD w int DEFAULT 5; ALTER TABLE t ALTER w DROP DEFAULT", "column w"),
        ("ALTER TABLE t ADD w float DEFAULT random()", "column w"),
        ("ALTER TABLE t ADD w serial", "column w"),
        ("ALTER TABLE t ADD w int GENERATED ALWAYS AS IDENTITY", "column w"),
        ("ALTER TABLE t ALTER v TYPE numeric USING v * 2", "column v"),
    ] {
        let (told, heard) = alter(what).await;
        assert!(told && heard.contains(column) && heard.contains("--tables"), "{what}: {heard:?}");
    }
    for what in ["ALTER TABLE t ADD w int", "ALTER TABLE t ALTER v SET DEFAULT 5", "ALTER TABLE t RENAME v TO w"] {
        let (told, heard) = alter(what).await;
        assert!(!told, "{what}: {heard:?}");
    }
}
