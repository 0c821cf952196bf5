//! Every kind of value in every format and layout, from a real server, read back by readers that are not ours.

use std::path::Path;

use millrace_testkit::lake::{self, Readers};
use millrace_testkit::pipeline::{Draft, Pipeline};
use millrace_testkit::postgres::{Database, Settings};

use crate::shop::{PATIENCE, fsck, is_long, millrace};

/// Every format in both layouts, and every compression. The first is the one that the comparison with the source reads.
pub(crate) const FORMS: [(&str, &str, &str); 10] = [
    ("parquet", "flat", "zstd"),
    ("parquet", "envelope", "snappy"),
    ("avro", "envelope", "deflate"),
    ("avro", "flat", "snappy"),
    ("json", "envelope", "zstd"),
    ("json", "flat", "gzip"),
    ("avro", "flat", "zstd"),
    ("avro", "envelope", "none"),
    ("json", "flat", "none"),
    ("parquet", "envelope", "none"),
];

const KINDS: &str = r#"
    CREATE TABLE kinds (id bigint, flag boolean, "small int" smallint, small_int integer, "1st" bigint, "größe" real,
        "quo""te" double precision, before numeric(10,2), source numeric(38,0), op numeric, text text, fixed char(4), bytes bytea,
        day date, clock time, moment timestamp, moment_tz timestamptz, span interval, uid uuid, doc json, binary_doc jsonb,
        net macaddr, numbers integer[], notes text, PRIMARY KEY (id));
    ALTER TABLE kinds ALTER notes SET STORAGE EXTERNAL;
    CREATE TABLE full_rows (LIKE kinds INCLUDING ALL);
    ALTER TABLE full_rows REPLICA IDENTITY FULL;
    CREATE TABLE keyless (a integer, b text);
    ALTER TABLE keyless REPLICA IDENTITY FULL"#;

/// Rows at the edges of their types, plain ones, and one of nulls.
const ROWS: &str = r#"
    (1, true, -32768, -2147483648, -9223372036854775808, 'NaN', '-Infinity', 'NaN', 'NaN', 'NaN', '', 'a', '\x',
        'infinity', '00:00', '-infinity', 'infinity', '-1 year 2 mons', '00000000-0000-0000-0000-000000000000', 'null', '1',
        '08:00:2b:01:02:03', '{}', repeat('x', 9000)),
    (2, false, 32767, 2147483647, 9223372036854775807, '-0', 1e-300, -99999999.99, 1e37, 12345678901234567890.12345, E'"\\\n\t',
        'ab', '\xff00fe', '0001-01-01', '23:59:59.999999', '0001-01-01 00:00:00.000001', '9999-12-31 23:59:59.999999+00', '1 day 02:03:04.5',
        'ffffffff-ffff-ffff-ffff-ffffffffffff', '{"a": [1, "}"]}', '{"b": "\"x\""}', 'ff:ff:ff:ff:ff:ff', '{1,NULL,3}', '水車 🌊'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL),
    (4, true, 1, 2, 3, 0.1, 0.1, 0.01, -1, 0, 'null', 'zz', '\x00', '1969-12-31', '14:03:07.412', '1969-12-31 23:59:59.999',
        '2026-11-22 14:03:07.412+02', '0', '12345678-1234-1234-1234-123456789abc', '"{}"', '[]', '00:00:00:00:00:00', '{}',
        repeat('y', 9000))"#;

/// What happens to a table of kinds.
fn changes(table: &str) -> String {
    let rows = ROWS.replace("(1, ", "(11, ").replace("(2, ", "(12, ").replace("(3, ", "(13, ").replace("(4, ", "(14, ");
    format!(
        "INSERT INTO {table} VALUES {rows};
         UPDATE {table} SET flag = NOT flag, text = text || '!' WHERE id IN (1, 2, 12);
         UPDATE {table} SET day = 'infinity', moment = '-infinity', before = 'NaN' WHERE id = 4;
         BEGIN; UPDATE {table} SET id = id + 100 WHERE id IN (1, 11, 13); DELETE FROM {table} WHERE id = 2; COMMIT;
         UPDATE {table} SET text = 'later' WHERE id = 101;"
    )
}

/// A pipeline of its own for each form.
fn pipelines(database: &Database, folder: &Path) -> Vec<Pipeline> {
    let tables = ["kinds", "full_rows", "keyless"];
    let pipeline = |(number, form): (usize, &(&str, &str, &str))| {
        let folder = folder.join(number.to_string());
        std::fs::create_dir(&folder).unwrap();
        let draft = Draft::new(&format!("form{number}"), database, &tables).form(*form);
        draft.property("commit.interval", "100ms").write(&folder).unwrap()
    };
    FORMS.iter().enumerate().map(pipeline).collect()
}

fn catch_up(pipeline: &Pipeline) {
    let ended = millrace("run", pipeline, &["--until", "now"]).allow_anything().complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
}

#[test]
fn independent_readers_find_equal_values_in_every_format_and_layout() {
    let server = Settings::default().start().unwrap();
    let database = server.create_database("shop").unwrap();
    database.sql(KINDS).unwrap();
    database.sql(&format!("INSERT INTO kinds VALUES {ROWS}; INSERT INTO full_rows VALUES {ROWS}")).unwrap();
    database.sql("INSERT INTO keyless VALUES (1, 'a'), (1, 'a'), (2, NULL)").unwrap();
    // The lakes of a failed test are what one wants to look at.
    let mut folder = tempfile::tempdir().unwrap();
    folder.disable_cleanup(true);
    let pipelines = pipelines(&database, folder.path());
    // Every slot is there before the first change, so that all give the same sequences.
    pipelines.iter().for_each(catch_up);
    for table in ["kinds", "full_rows"] {
        database.sql(&changes(table)).unwrap();
    }
    database
        .sql(
            "UPDATE keyless SET b = 'c' WHERE a = 2; DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless);
             BEGIN; TRUNCATE keyless; INSERT INTO keyless VALUES (7, 'x'), (7, 'x'); COMMIT; UPDATE keyless SET b = 'y'",
        )
        .unwrap();
    pipelines.iter().for_each(catch_up);
    let read = |pipeline: &Pipeline, table: &str| {
        let name = pipeline.full_name(table);
        let state = millrace("read", pipeline, &["--table", &name, "--state"]).complete(PATIENCE).unwrap();
        assert_eq!(state.code, Some(0), "{:#?}", state.lines);
        state.stdout
    };
    for (pipeline, form) in pipelines.iter().zip(FORMS) {
        fsck(pipeline);
        for table in ["kinds", "full_rows", "keyless"] {
            assert_eq!(read(pipeline, table), read(&pipelines[0], table), "{form:?} {table}");
        }
    }
    // The first is flat Parquet, which the comparison with the source knows.
    lake::compare(&pipelines[0], &database).unwrap();
    let readers = if is_long() { Readers::All } else { Readers::Usual };
    for table in ["kinds", "full_rows", "keyless"] {
        let lakes = pipelines.iter().map(|pipeline| &*pipeline.lake);
        lake::alike(readers, &pipelines[0].full_name(table), lakes).unwrap();
    }
    folder.disable_cleanup(false);
}
