//! Values: what the server sends in text and in binary form makes the same arrays, and they say what the server says.

use millrace_model::{Batch, Gulp, Kind, Source};
use millrace_postgres::{Binary, Postgres, Settings};

use crate::reading::{create, shown};
use crate::server::{Database, Server};

pub(crate) const TABLE: &str = "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"', 'glücklich'); CREATE DOMAIN price AS numeric(12,3); \
    CREATE TABLE t (id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, o oid, f4 float4, f8 float8, n numeric, \
    n20 numeric(20,4), n38 numeric(38,38), n0 numeric(38), neg numeric(5,-2), tiny numeric(2,5), x text, v varchar(20), \
    c char(8), nm name, ch \"char\", j json, jb jsonb, u uuid, y bytea, d date, tm time, ts timestamp, tz timestamptz, \
    m mood, p price, ts0 timestamp(0))";

pub(crate) const SPECIAL: &str = "INSERT INTO t (id) VALUES (0); \
    INSERT INTO t VALUES \
    (-1, true, -32768, -2147483648, -9223372036854775808, 0, '-Infinity', '-Infinity', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', \
     '', '', '', '', '', '[]', '{}', '00000000-0000-0000-0000-000000000000', '', '-infinity', '00:00', '-infinity', '-infinity', 'sad', 'NaN', '-infinity'), \
    (-2, false, 32767, 2147483647, 9223372036854775807, 4294967295, 'Infinity', 'Infinity', 'Infinity', \
     9999999999999999.9999, 0.99999999999999999999999999999999999999, 99999999999999999999999999999999999999, 99900, 0.00099, \
     E'tab\\tnew\\nquote\\'back\\\\ ä€😀', 'ä€😀', 'ä', 'n', 'x', '{\"a\": 1,  \"a\": null}', '{\"a\": 1e400, \"b\": [\"\\u20ac\"]}', \
     'ffffffff-ffff-ffff-ffff-ffffffffffff', '\\x00ff5c', 'infinity', '24:00', 'infinity', 'infinity', 'glücklich', -999999999.999, 'infinity'), \
    (-3, NULL, 0, 0, 0, 1, 'NaN', 'NaN', '-Infinity', -9999999999999999.9999, -1e-38, -99999999999999999999999999999999999999, -99900, -0.00099, \
     'x', 'y', 'z', 'w', '~', 'null', 'null', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x0a', '4714-11-24 BC', '23:59:59.999999', \
     '4714-11-24 00:00:00 BC', '4714-11-24 00:00:00+00 BC', 'it''s \"ok\"', 0, '4714-11-24 00:00:00 BC'), \
    (-4, NULL, 0, 0, 0, 1, '-0', '-0', 1e-200, 0, 0, 0, 0, 0, 'x', 'y', 'z', 'w', '~', '1', '1', NULL, NULL, '5874897-12-31', '12:34:56.7', \
     '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', NULL, 0.001, '0001-01-01 00:00:00 BC'), \
    (-5, NULL, 0, 0, 0, 1, 1.17549435e-38, 4.9e-324, 1e300 + 1e-300, 0.0001, 1e-38, 1, 100, 0.00001, 'x', 'y', 'z', 'w', '~', '1', '1', NULL, NULL, \
     '0001-01-01', '00:00:00.000001', '1969-12-31 23:59:59.999999', '0044-03-15 12:00:00+00 BC', NULL, 1, '1970-01-01'); \
    INSERT INTO t (id, n) SELECT -100 - g, (CASE WHEN g % 2 = 0 THEN 1 ELSE -1 END) * (10::numeric ^ (g - 20)) * 12345.6789 FROM generate_series(1, 40) g; \
    INSERT INTO t (id, n) VALUES (-200, 0.000), (-201, 10000), (-202, 100000000), (-203, 0.0001), (-204, 0.00010000), (-205, 1.0000), (-206, 12340000)";

/// Random values over the whole range of each type, seeded, so that a failure can be seen again.
pub(crate) const RANDOM: &str = "SELECT setseed(0.42); INSERT INTO t SELECT g, random() < 0.5, (random() * 65535 - 32768)::int2, (random() * 4294967295 - 2147483648)::int4, \
    ((random() - 0.5) * 1.8e19)::int8, (random() * 4294967295)::bigint::oid, (random() - 0.5)::float4 * 10::float4 ^ (random() * 60 - 30), (random() - 0.5) * 10::float8 ^ (random() * 500 - 250), \
    ((random() - 0.5)::numeric * 10::numeric ^ (random() * 60 - 30)::int), ((random() - 0.5) * 1e15)::numeric(20,4), random()::numeric(38,38), \
    ((random() - 0.5) * 1e30)::numeric(38), ((random() - 0.5) * 99000)::numeric(5,-2), (random() * 0.0009)::numeric(2,5), \
    md5(random()::text), left(md5(random()::text), 20), left(md5(random()::text), (random() * 8)::int), left(md5(random()::text), 9)::name, chr(32 + (random() * 94)::int)::\"char\", \
    json_build_object('k', random(), 't', md5(random()::text)), jsonb_build_object('k', random(), 'n', (random() * 1e20)::numeric), md5(random()::text)::uuid, \
    decode(md5(random()::text), 'hex'), '2000-01-01'::date + (random() * 2000000 - 700000)::int, '00:00'::time + random() * interval '23:59:59.9', \
    '2000-01-01'::timestamp + (random() - 0.3) * interval '6000 years', '2000-01-01'::timestamptz + (random() - 0.3) * interval '6000 years', \
    (ARRAY['sad', 'it''s \"ok\"', 'glücklich']::mood[])[1 + (random() * 2)::int], ((random() - 0.5) * 1e9)::numeric(12,3), now()::timestamp(0) FROM generate_series(1, 1000) g";

async fn read(database: &Database<'_>, binary: Binary, slot: &str) -> Vec<Batch> {
    let source = Postgres::new(Settings { binary, slot: format!("{slot}_{}", database.name), ..database.settings() });
    crate::reading::resume(&source, None).await.read_all(&source).await
}

async fn both_forms(database: &Database<'_>, changes: &[&str]) -> (Vec<Batch>, Vec<Batch>) {
    for slot in ["text", "binary"] {
        let source = Postgres::new(Settings { slot: format!("{slot}_{}", database.name), ..database.settings() });
        create(&source).await.log.close().await;
    }
    changes.iter().for_each(|change| drop(database.sql(change)));
    (read(database, Binary::Off, "text").await, read(database, Binary::On, "binary").await)
}

fn assert_same(text: &[Batch], binary: &[Batch]) {
    assert_eq!(text.len(), binary.len());
    for (text, binary) in text.iter().zip(binary) {
        assert_eq!((&text.schema, &text.ops), (&binary.schema, &binary.ops));
        assert_eq!(text.unavailable, binary.unavailable);
        for (place, column) in text.schema.columns.iter().enumerate() {
            for row in 0..text.rows() {
                let (one, other) = (shown(text, row, place), shown(binary, row, place));
                assert_eq!(one, other, "column {} of row {}", column.name, shown(text, row, 0));
            }
            assert_eq!(&text.columns[place], &binary.columns[place], "column {}", column.name);
        }
        assert_eq!(text.exact, binary.exact);
    }
}

#[tokio::test]
async fn text_and_binary_make_the_same_arrays() {
    let database = Server::shared().database(TABLE);
    let changes = [SPECIAL, RANDOM, "UPDATE t SET f8 = id, n = n + 1", "DELETE FROM t WHERE id > 500", "TRUNCATE t"];
    let (text, binary) = both_forms(&database, &changes).await;
    assert_same(&text, &binary);
    assert_eq!(binary[0].rows(), 1053 + 1053 + 500 + 1);
}

#[tokio::test]
async fn full_old_rows_are_the_same_in_both_forms() {
    let database = Server::shared()
        .database(&format!("{TABLE}; ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE t DROP CONSTRAINT t_pkey"));
    let changes = [SPECIAL, RANDOM, "UPDATE t SET f8 = id, n = n + 1", "DELETE FROM t WHERE id > 500", "TRUNCATE t"];
    let (text, binary) = both_forms(&database, &changes).await;
    assert_same(&text, &binary);
    assert_eq!(binary[0].rows(), 1053 + 2 * 1053 + 500 + 1);
}

#[tokio::test]
async fn values_are_what_the_server_says() {
    let database = Server::shared().database(TABLE);
    let source = database.source();
    let mut log = create(&source).await;
    database.sql(SPECIAL);
    database.sql(RANDOM);
    let batches = log.read_all(&source).await;
    let batch = &batches[0];
    // How the server shows what `shown` shows; of those that a type cannot hold, the text.
    let micros = |column: &str| {
        format!(
            "CASE WHEN isfinite({column}) AND {column} < '294247-01-10' THEN (extract(epoch FROM {column}) * 1000000)::bigint::text ELSE '=' || {column}::text END"
        )
    };
    let decimal = |column: &str| format!("CASE {column} WHEN 'NaN' THEN '=NaN' ELSE {column}::text END");
    let expressions: Vec<String> = batch
        .schema
        .columns
        .iter()
        .map(|column| match (column.kind, column.name.as_str()) {
            (Kind::Bool, name) => format!("CASE WHEN {name} THEN 'true' ELSE 'false' END"),
            (Kind::Decimal { .. }, name) => decimal(name),
            (Kind::Date, name) => format!("CASE WHEN isfinite({name}) THEN ({name} - '1970-01-01')::text ELSE '=' || {name} END"),
            (Kind::Time, name) => format!("CASE {name} WHEN '24:00' THEN '=24:00:00' ELSE (extract(epoch FROM {name}) * 1000000)::bigint::text END"),
            (Kind::Timestamp | Kind::TimestampTz, name) => micros(name),
            (Kind::Bytes, name) => format!("'[' || regexp_replace(regexp_replace(encode({name}, 'hex'), '(..)', ', \\1', 'g'), '^, ', '') || ']'"),
            // Rust and the server show floats in other words.
            (Kind::Float32 | Kind::Float64, name) => format!("CASE WHEN {name} IS NULL THEN NULL ELSE 'float' END"),
            // A cast to text would strip the blanks of a char(n).
            (_, name) => format!("CASE WHEN {name} IS NOT NULL THEN concat({name}) END"),
        })
        .collect();
    let expressions: Vec<_> =
        expressions.iter().map(|it| format!("replace(coalesce({it}, 'NULL'), E'\\n', '~')")).collect();
    // What makes a truth of a null must be null.
    let rows = database.sql(
        &format!("SET TimeZone = UTC; SELECT {} FROM t ORDER BY id", expressions.join(" || E'\\x01' || "))
            .replace("CASE WHEN b THEN", "CASE WHEN b IS NULL THEN NULL WHEN b THEN"),
    );
    let mut order: Vec<usize> = (0..batch.rows()).collect();
    order.sort_by_key(|&row| shown(batch, row, 0).parse::<i64>().unwrap());
    for (line, row) in rows.lines().zip(order) {
        for ((place, column), want) in batch.schema.columns.iter().enumerate().zip(line.split('\u{1}')) {
            let got = match shown(batch, row, place).replace('\n', "~") {
                value if matches!(column.kind, Kind::Float32 | Kind::Float64) && value != "NULL" => "float".into(),
                value => value,
            };
            assert_eq!(got, want, "column {} of row {}", column.name, shown(batch, row, 0));
        }
    }
    assert_eq!(rows.lines().count(), batch.rows());
}

#[tokio::test]
async fn values_of_a_type_that_is_gone_are_still_the_servers_text() {
    let database =
        Server::shared().database("CREATE TYPE pair AS (a int, b int); CREATE TABLE t (id int PRIMARY KEY, p pair)");
    let binary = Postgres::new(Settings { binary: Binary::Auto, ..database.settings() });
    create(&binary).await.log.close().await;
    database.sql("INSERT INTO t VALUES (1, '(1,2)'); DROP TYPE pair CASCADE");
    // By now no column that the catalogue shows stands against binary.
    let mut log = crate::reading::resume(&binary, None).await;
    let end = binary.end().await.unwrap();
    assert_eq!(log.read_to(&end).await.unwrap_err().code, "PG-031");
    log.log.close().await;
    let mut log = crate::reading::resume(&binary, None).await;
    assert_eq!(log.lines(&binary).await, ["c t(1,(1,2))"]);
}

#[tokio::test]
async fn other_types_are_the_servers_text_and_switch_the_whole_connection_to_text() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, d date)");
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO t VALUES (1, '2024-02-29')");
    assert_eq!(log.lines(&source).await, ["c t(1,19782)"]);
    let checkpoint = log.changes.position().unwrap().clone();
    database.sql("ALTER TABLE t ADD i interval, ADD a int[], ADD n inet, ADD r int4range, ADD p point, ADD ti timetz, ADD m money, ADD x xml");
    database.sql("INSERT INTO t VALUES (2, NULL, '1 mon -3 days 04:05:06.7', '{1,NULL}', '::1', '[1,5)', '(1,2)', '12:00+02', 3.5, '<a/>')");
    let fault = loop {
        match log.log.read(&mut log.changes).await {
            Ok(Gulp::Read | Gulp::Mark(_) | Gulp::Passed(_)) => {}
            Err(fault) => break fault,
        }
    };
    assert_eq!((fault.code, fault.is_retry()), ("PG-031", true));
    log.log.close().await;
    let mut log = crate::reading::resume(&source, Some(&checkpoint)).await;
    let lines = log.lines(&source).await;
    assert_eq!(lines, ["c t(2,NULL,P1M-3DT4H5M6.7S,{1,NULL},::1,[1,5),(1,2),12:00:00+02,$3.50,<a/>)"]);
}
