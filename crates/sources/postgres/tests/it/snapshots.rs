//! Tables under a snapshot: values, shapes, and what happens to them while they are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_model::*;
use millrace_postgres::{Binary, Postgres, PublicationMode, Settings};

use crate::reading::{create, lines, resume, shown};
use crate::scan::{batch, chunk, named, rows, scan, table, take};
use crate::server::{Database, Server};
use crate::types::{RANDOM, SPECIAL, TABLE};

/// Types that have no decoder of their own, or none in binary form.
const OTHERS: &str = "CREATE TYPE pair AS (a int, b text); CREATE TYPE mood AS ENUM ('sad', 'so so'); \
    CREATE DOMAIN host AS inet; CREATE DOMAIN few AS int[]; CREATE DOMAIN twin AS pair; CREATE DOMAIN code AS char(4); \
    CREATE DOMAIN span AS interval; CREATE TABLE t (id int PRIMARY KEY, iv interval, ia int[], ta text[], n inet, c cidr, \
    r int4range, mr int8multirange, p point, tz timetz, m money, x xml, bt bit(3), vb varbit, mac macaddr, ts tsvector, \
    h host, f few, tw twin, pr pair, prs pair[], ms mood[], md mood, na numeric[], ba bytea[], da timestamptz[], ac aclitem, \
    rc regclass, b box, cd code, cs code[], sp span, ch \"char\", bp char(5), ov oidvector, ls pg_lsn, jp jsonpath, ca \"char\"[])";

const OTHER_ROWS: &str = "INSERT INTO t (id) VALUES (0); INSERT INTO t VALUES \
    (1, '1 mon -3 days 04:05:06.7', '{1,NULL}', '{\"a b\",NULL,\"q\\\"\"}', '::1', '10.0.0.0/8', '[1,5)', '{[1,5),[7,)}', '(1,2.5)', \
     '12:00+02', 3.5, '<a>&amp;</a>', '101', '1', '08:00:2b:01:02:03', 'a:1 b', '192.168.0.1', '{{1,2},{3,4}}', '(1,x)', '(,)', \
     '{\"(1,a b)\",\"(,)\"}', '{sad,\"so so\"}', 'sad', '{1.50,NaN}', '{\"\\\\x00ff\"}', '{\"2024-02-29 12:00:00+05\",infinity}', \
     'postgres=r/postgres', 'pg_class', '(1,2),(3,4)', 'ab', '{\"ab  \",c}', '-1 year', 'c', 'ab', '1 2 3', '0/16B3748', '$.a[*]', '{a,\" \"}'), \
    (2, '-1 mons +2 days -00:00:00.000001', '[0:1]={1,2}', '{}', '10.1.2.3/8', '::/0', 'empty', '{}', '(-0,1e300)', '24:00-15', -0.01, \
     '<?xml version=\"1.0\" encoding=\"UTF-8\"?><a/>', '000', '', 'ff:ff:ff:ff:ff:ff', '', '::ffff:1.2.3.4/96', '{}', NULL, ROW(NULL, ''), \
     '{NULL}', '{}', 'so so', '{NULL}', '{}', '{}', '=*/postgres', '0', '(0,0),(0,0)', '', '{NULL}', '0', '', '', '', '0/0', 'strict $', '{}'); \
    SELECT setseed(0.7); INSERT INTO t (id, iv, ia, n, r, p, tz, m, vb, mac, pr, na, da, bp, sp, h) SELECT g, \
    make_interval(months => (random() * 100 - 50)::int, days => (random() * 100 - 50)::int, secs => random() * 1e5 - 5e4), \
    ARRAY[(random() * 100)::int, NULL, (random() * -9)::int], ('10.0.0.0'::inet + (random() * 1e6)::int), \
    int4range((random() * 10)::int, 10 + (random() * 10)::int), point(random(), random() * 1e-9), ('00:00'::time + random() * interval '23 hours')::timetz, \
    (random() * 1e6)::numeric::money, (random() * 1000)::int::bit(10)::varbit, left(md5(random()::text), 12)::macaddr, ROW((random() * 9)::int, md5(random()::text))::pair, \
    ARRAY[random()::numeric(9,4), NULL], ARRAY['2000-01-01'::timestamptz + random() * interval '900 years'], left(md5(random()::text), (random() * 5)::int), \
    random() * interval '3 years', ('::1'::inet + (random() * 1e9)::bigint) FROM generate_series(10, 300) g";

/// What each row shows, by its first column.
fn by_id(batches: &[Batch]) -> BTreeMap<String, Vec<String>> {
    let cells = |batch: &Batch, row| (0..batch.columns.len()).map(|column| shown(batch, row, column)).collect();
    let rows =
        batches.iter().flat_map(|batch| (0..batch.rows()).map(move |row| (shown(batch, row, 0), cells(batch, row))));
    rows.collect()
}

async fn assert_agree(database: &Database<'_>, binary: Binary, inserts: &[&str]) {
    let source = Postgres::new(Settings { binary, ..database.settings() });
    let mut log = create(&source).await;
    inserts.iter().for_each(|sql| drop(database.sql(sql)));
    let stream = match log.read_to(&source.end().await.unwrap()).await {
        Ok(()) => log.changes.take_all().unwrap(),
        Err(fault) => panic!("{fault:?}"),
    };
    let snapshot = take(&source).await;
    let read = table(snapshot.as_ref(), &named(database, "t")).await;
    assert_eq!(read.schema, stream[0].schema);
    assert!(read.ops.iter().all(|op| *op == Op::Read));
    let (streamed, read) = (by_id(&stream), by_id(&[read]));
    assert_eq!(streamed.len(), read.len());
    for (id, want) in streamed {
        for ((column, want), got) in stream[0].schema.columns.iter().zip(&want).zip(&read[&id]) {
            assert_eq!(got, want, "column {} of row {id}", column.name);
        }
    }
}

#[tokio::test]
async fn snapshot_and_stream_say_the_same_of_every_type_in_both_forms() {
    for binary in [Binary::Off, Binary::On] {
        assert_agree(&Server::shared().database(TABLE), binary, &[SPECIAL, RANDOM]).await;
    }
}

#[tokio::test]
async fn snapshot_and_stream_say_the_same_of_types_that_are_the_servers_text() {
    assert_agree(&Server::shared().database(OTHERS), Binary::Auto, &[OTHER_ROWS]).await;
}

/// What a database may set for its sessions, each of which changes how values are shown.
const ODD_SETTINGS: [(&str, &str); 6] = [
    ("TimeZone", "'Asia/Tokyo'"),
    ("DateStyle", "'SQL, DMY'"),
    ("IntervalStyle", "'sql_standard'"),
    ("extra_float_digits", "-9"),
    ("bytea_output", "'escape'"),
    ("search_path", "public, pg_catalog"),
];

#[tokio::test]
async fn sessions_of_snapshot_and_stream_have_the_same_settings_whatever_the_database_sets() {
    let of_own_name = "INSERT INTO t (id, rc) VALUES (-1, 't')";
    for (table, inserts) in [(TABLE, &[SPECIAL, RANDOM][..]), (OTHERS, &[OTHER_ROWS, of_own_name])] {
        let database = Server::shared().database(table);
        for (name, value) in ODD_SETTINGS {
            database.sql(&format!("ALTER DATABASE {} SET {name} = {value}", database.name));
        }
        assert_agree(&database, Binary::Off, inserts).await;
    }
}

#[tokio::test]
async fn snapshot_and_stream_describe_a_table_alike() {
    let shapes = [
        "CREATE TABLE t (gone int, id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED, v text NOT NULL); ALTER TABLE t DROP gone",
        "CREATE TABLE t (v int NOT NULL, id int, PRIMARY KEY (id) INCLUDE (v))",
        "CREATE TABLE t (v int, id int, PRIMARY KEY (id) INCLUDE (v)); ALTER TABLE t REPLICA IDENTITY FULL",
        "CREATE TABLE t (a int, b text); ALTER TABLE t REPLICA IDENTITY FULL",
        "CREATE TABLE t (id int PRIMARY KEY, mail text NOT NULL, v int); CREATE UNIQUE INDEX m ON t (mail) INCLUDE (v); ALTER TABLE t REPLICA IDENTITY USING INDEX m",
        "CREATE TABLE t (b int, a int, v int, PRIMARY KEY (a, b))",
        "CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE one (x int, v int, id int NOT NULL); \
         ALTER TABLE one DROP x; ALTER TABLE t ATTACH PARTITION one DEFAULT",
    ];
    for shape in shapes {
        let database = Server::shared().database(shape);
        let source = database.source();
        let mut log = create(&source).await;
        let column = database.sql("SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum");
        let columns: Vec<_> = column.lines().collect();
        let values = vec!["1"; columns.len()].join(", ");
        database.sql(&format!("INSERT INTO t ({}) VALUES ({values})", columns.join(", ")));
        let stream = log.read_all(&source).await;
        let read = table(take(&source).await.as_ref(), &named(&database, "t")).await;
        assert_eq!(read.schema, stream[0].schema, "{shape}");
        let streamed: Vec<_> = lines(&stream).iter().map(|line| line.replace("c t", "")).collect();
        assert_eq!(rows(&read), streamed, "{shape}");
        assert_eq!(*source.members().await.unwrap()[0].schema, *read.schema, "{shape}");
        log.log.close().await;
    }
}

/// A table whose rows fill a few chunks of blocks.
const LARGE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t ALTER v SET STORAGE PLAIN; \
    INSERT INTO t SELECT g, repeat('x', 7000) FROM generate_series(1, 5000) g";

#[tokio::test]
async fn a_table_that_is_rewritten_between_two_chunks_starts_again() {
    let database = Server::shared().database(LARGE);
    let source = database.source();
    create(&source).await.log.close().await;
    for rewrite in ["VACUUM FULL t", "CLUSTER t USING t_pkey", "TRUNCATE t", "ALTER TABLE t ALTER id TYPE bigint"] {
        let snapshot = take(&source).await;
        let plan = snapshot.plan(&named(&database, "t"), &[]).await.unwrap();
        assert_eq!(plan.chunks.len(), 3, "{rewrite}");
        let mut reader = snapshot.reader().await.unwrap();
        let mut found = TableChanges::new(Arc::clone(&plan.schema));
        assert_eq!(chunk(reader.as_mut(), &plan, &plan.chunks[0], &mut found).await.unwrap(), Filled::Whole);
        assert!(found.rows() > 0);
        database.sql(rewrite);
        for next in &plan.chunks[1..] {
            assert_eq!(chunk(reader.as_mut(), &plan, next, &mut found).await.unwrap(), Filled::Rewritten, "{rewrite}");
        }
        let again = table(take(&source).await.as_ref(), &named(&database, "t")).await;
        let rows: usize = database.sql("SELECT count(*) FROM t").parse().unwrap();
        assert_eq!(again.rows(), rows, "{rewrite}");
        database
            .sql("INSERT INTO t SELECT g, repeat('x', 7000) FROM generate_series(1, 5000) g ON CONFLICT DO NOTHING");
    }
}

#[tokio::test]
async fn a_table_that_changes_its_shape_or_its_name_after_the_plan_starts_again() {
    for change in [
        "ALTER TABLE t DROP v",
        "ALTER TABLE t RENAME v TO other",
        "ALTER TABLE t RENAME v TO x; ALTER TABLE t RENAME w TO v; ALTER TABLE t RENAME x TO w",
        "DROP TABLE t",
        "ALTER TABLE t RENAME TO u",
        "ALTER TABLE t RENAME TO u; CREATE TABLE t (id int PRIMARY KEY, v int, w int); INSERT INTO t VALUES (7, 7, 7)",
        "CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s",
        "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v int, w int)",
    ] {
        let database = Server::shared().database(
            "CREATE TABLE t (id int PRIMARY KEY, v int, w int); INSERT INTO t VALUES (1, 2, 3); CREATE TABLE kept (id int PRIMARY KEY)",
        );
        let source = database.source();
        create(&source).await.log.close().await;
        let snapshot = take(&source).await;
        let plan = snapshot.plan(&named(&database, "t"), &[]).await.unwrap();
        let mut reader = snapshot.reader().await.unwrap();
        database.sql(change);
        let mut found = TableChanges::new(Arc::clone(&plan.schema));
        let filled = chunk(reader.as_mut(), &plan, &plan.chunks[0], &mut found).await.unwrap();
        assert_eq!(filled, Filled::Rewritten, "{change}");
        // The reader and its snapshot serve other tables as before.
        let kept = snapshot.plan(&named(&database, "kept"), &[]).await.unwrap();
        let mut none = TableChanges::new(Arc::clone(&kept.schema));
        assert_eq!(chunk(reader.as_mut(), &kept, &kept.chunks[0], &mut none).await.unwrap(), Filled::Whole);
    }
}

#[tokio::test]
async fn what_leaves_a_tables_rows_in_place_does_not_disturb_its_snapshot() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v varchar(5)); INSERT INTO t VALUES (1, 'a')");
    let source = database.source();
    create(&source).await.log.close().await;
    let snapshot = take(&source).await;
    let plan = snapshot.plan(&named(&database, "t"), &[]).await.unwrap();
    database.sql(
        "ALTER TABLE t ADD w int DEFAULT 5; CREATE INDEX ON t (v); INSERT INTO t VALUES (2, 'b'); UPDATE t SET v = 'c'",
    );
    database.sql("VACUUM t");
    assert_eq!(rows(&batch(snapshot.as_ref(), &plan).await), ["(1,a)"]);
}

#[tokio::test]
async fn a_table_that_is_gone_before_the_plan_is_looked_for_again() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let source = database.source();
    create(&source).await.log.close().await;
    database.sql("DROP TABLE t");
    let snapshot = take(&source).await;
    let fault = snapshot.plan(&named(&database, "t"), &[]).await.unwrap_err();
    assert_eq!((fault.code, fault.is_retry()), ("PG-016", true));
    assert!(snapshot.plan(&named(&database, "u"), &[]).await.is_ok());
}

#[tokio::test]
async fn a_table_goes_on_after_the_ranges_that_are_done_and_grows_meanwhile() {
    let database = Server::shared().database(LARGE);
    let source = database.source();
    create(&source).await.log.close().await;
    let first = take(&source).await;
    let name = named(&database, "t");
    let plan = first.plan(&name, &[]).await.unwrap();
    let mut reader = first.reader().await.unwrap();
    let mut found = TableChanges::new(Arc::clone(&plan.schema));
    chunk(reader.as_mut(), &plan, &plan.chunks[1], &mut found).await.unwrap();
    let done = |chunk: &Chunk| (chunk.from.clone(), chunk.to.clone());
    database.sql("INSERT INTO t SELECT g, repeat('y', 7000) FROM generate_series(5001, 9000) g");
    let second = take(&source).await;
    let rest = second.plan(&name, &[done(&plan.chunks[1])]).await.unwrap();
    assert_eq!((&rest.relation, &rest.split), (&plan.relation, &plan.split));
    let others = batch(second.as_ref(), &rest).await;
    assert_eq!(found.rows() + others.rows(), 9000);
    // Ten thousand single blocks, in no order, and one of a relation that is none of this table's.
    let oid = plan.relation.split(':').next().unwrap();
    let mut blocks: Vec<_> =
        (0..10_000u64).map(|block| (format!("{oid}:{block}"), format!("{oid}:{}", block + 1))).collect();
    blocks.reverse();
    blocks.push(("1:0".into(), "1:".into()));
    let rest = second.plan(&name, &blocks).await.unwrap();
    let rest: Vec<_> = rest.chunks.iter().map(|it| (it.from.clone(), it.to.clone())).collect();
    assert_eq!(rest, [(format!("{oid}:10000"), format!("{oid}:"))]);
    let whole: Vec<_> = plan.chunks.iter().map(done).collect();
    assert!(second.plan(&name, &whole).await.unwrap().chunks.is_empty());
    database.sql("VACUUM FULL t");
    let third = take(&source).await;
    assert_ne!(third.plan(&name, &whole).await.unwrap().relation, plan.relation);
}

#[tokio::test]
async fn a_partitioned_table_is_read_from_its_leaves_and_a_parent_without_its_children() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id); \
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10) PARTITION BY LIST (id); \
         CREATE TABLE t11 PARTITION OF t1 FOR VALUES IN (1, 2); CREATE TABLE t12 PARTITION OF t1 DEFAULT; \
         CREATE TABLE t2 (v text, extra int, id int NOT NULL); ALTER TABLE t2 DROP extra; \
         ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20); CREATE TABLE t3 PARTITION OF t DEFAULT; \
         INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 30, 4) g; \
         CREATE TABLE empty (id int PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent); \
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2)",
    );
    let source = database.source();
    create(&source).await.log.close().await;
    let members: Vec<_> = source.members().await.unwrap().iter().map(|it| it.schema.table.to_string()).collect();
    assert_eq!(members, ["child", "empty", "parent", "t"].map(|table| format!("{}.public.{table}", database.name)));
    let want = ["(1,v1)", "(13,v13)", "(17,v17)", "(21,v21)", "(25,v25)", "(29,v29)", "(5,v5)", "(9,v9)"];
    assert_eq!(scan(&database, &source, "t").await, want);
    assert_eq!(scan(&database, &source, "parent").await, ["(1)"]);
    assert_eq!(scan(&database, &source, "child").await, ["(2)"]);
    let snapshot = take(&source).await;
    let plan = snapshot.plan(&named(&database, "empty"), &[]).await.unwrap();
    assert_eq!(plan.chunks.len(), 1, "a table that is not done has a chunk");
    assert_eq!(batch(snapshot.as_ref(), &plan).await.rows(), 0);
    let plan = snapshot.plan(&named(&database, "t"), &[]).await.unwrap();
    database.sql("VACUUM FULL t2");
    let mut reader = snapshot.reader().await.unwrap();
    let mut filled = Vec::new();
    for next in &plan.chunks {
        filled
            .push(chunk(reader.as_mut(), &plan, next, &mut TableChanges::new(Arc::clone(&plan.schema))).await.unwrap());
    }
    filled.sort_by_key(|it| *it == Filled::Rewritten);
    assert_eq!(filled, [Filled::Whole, Filled::Whole, Filled::Whole, Filled::Rewritten], "each leaf is looked at");
}

/// A source over a publication that the user made.
fn given(database: &Database<'_>) -> Postgres {
    let (publication, publication_mode) = ("given".into(), PublicationMode::Use);
    Postgres::new(Settings { publication, publication_mode, ..database.settings() })
}

#[tokio::test]
async fn a_snapshot_reads_the_columns_and_rows_that_the_publication_carries() {
    let database = Server::shared().database(
        "CREATE TABLE listed (id int PRIMARY KEY, hidden int, v int); CREATE TABLE filtered (id int PRIMARY KEY, v int); \
         ALTER TABLE filtered REPLICA IDENTITY FULL; CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); \
         CREATE TABLE p1 (v int, id int NOT NULL); ALTER TABLE p ATTACH PARTITION p1 DEFAULT; ALTER TABLE p REPLICA IDENTITY FULL; \
         ALTER TABLE p1 REPLICA IDENTITY FULL; \
         CREATE PUBLICATION given FOR TABLE listed (id, v), filtered WHERE (v > 10 OR v IS NULL), p WHERE (v > 10) \
         WITH (publish_via_partition_root)",
    );
    let source = given(&database);
    let mut log = create(&source).await;
    database.sql("INSERT INTO listed VALUES (1, 2, 3); INSERT INTO filtered VALUES (1, 5), (2, 15), (3, NULL); INSERT INTO p VALUES (1, 5), (2, 15)");
    let streamed = log.lines(&source).await;
    assert_eq!(streamed, ["c listed(1,3)", "c filtered(2,15)", "c filtered(3,NULL)", "c p(2,15)"]);
    for (name, want) in [("listed", &["(1,3)"][..]), ("filtered", &["(2,15)", "(3,NULL)"]), ("p", &["(2,15)"])] {
        assert_eq!(scan(&database, &source, name).await, want);
    }
    // A change out of the filter and one into it: full images carry both.
    database.sql("UPDATE filtered SET v = 1 WHERE id = 2; UPDATE filtered SET v = 20 WHERE id = 1");
    assert_eq!(log.lines(&source).await, ["d filtered(2,15)", "c filtered(1,20)"]);
    assert_eq!(scan(&database, &source, "filtered").await, ["(1,20)", "(3,NULL)"]);
}

#[tokio::test]
async fn a_row_filter_without_full_images_is_refused() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION given FOR TABLE t WHERE (id < 100) WITH (publish_via_partition_root)",
    );
    let fault = given(&database).create().await.err().unwrap();
    assert_eq!((fault.code, fault.exit_code()), ("PG-015", 64));
}

#[tokio::test]
async fn given_publications_for_all_tables_and_for_a_schema_serve() {
    for kind in ["FOR ALL TABLES", "FOR TABLES IN SCHEMA public"] {
        let database = Server::shared().database(&format!(
            "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); \
             CREATE TABLE p1 PARTITION OF p DEFAULT; CREATE PUBLICATION given {kind} WITH (publish_via_partition_root)"
        ));
        let source = given(&database);
        let mut log = create(&source).await;
        database.sql("INSERT INTO t VALUES (1); INSERT INTO p VALUES (2)");
        let stream = log.read_all(&source).await;
        assert_eq!(lines(&stream), ["c t(1)", "c p(2)"], "{kind}");
        let members = source.members().await.unwrap();
        assert!(members.iter().all(|member| member.published), "{kind}");
        for (name, want) in [("t", "(1)"), ("p", "(2)")] {
            assert_eq!(scan(&database, &source, name).await, [want], "{kind}");
            let member = members.iter().find(|it| it.schema.table == named(&database, name)).unwrap();
            assert!(stream.iter().any(|batch| batch.schema == member.schema), "{kind}");
        }
        log.log.close().await;
        drop(resume(&source, None).await);
    }
}

#[tokio::test]
async fn row_security_is_refused_with_its_cure_and_never_hides_a_row() {
    let database = Server::shared().database(
        "CREATE TABLE i (id int PRIMARY KEY); INSERT INTO i VALUES (1), (2); ALTER TABLE i ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY p ON i USING (id = 1); CREATE PUBLICATION given FOR TABLE i WITH (publish_via_partition_root)",
    );
    let role = format!("reader_{}", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN REPLICATION; GRANT SELECT ON i TO {role}"));
    let settings = Settings {
        username: role.clone(),
        publication: "given".into(),
        publication_mode: PublicationMode::Use,
        ..database.settings()
    };
    let source = Postgres::new(settings);
    drop(source.create().await.unwrap());
    let snapshot = take(&source).await;
    let plan = snapshot.plan(&named(&database, "i"), &[]).await.unwrap();
    let mut reader = snapshot.reader().await.unwrap();
    let fault = reader.begin(&plan, &plan.chunks[0]).await.unwrap_err();
    assert_eq!((fault.code, fault.exit_code()), ("PG-005", 77));
    assert!(fault.to_string().contains("\"public\".\"i\""), "{fault}");
    assert!(format!("{fault:?}").contains("BYPASSRLS"), "{fault:?}");
    database.sql(&format!("ALTER ROLE {role} BYPASSRLS"));
    assert_eq!(scan(&database, &source, "i").await, ["(1)", "(2)"]);
}
