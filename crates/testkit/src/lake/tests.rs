//! The independent reader, over a lake written by hand: it must see what is right, and every seeded difference.

use tempfile::TempDir;

use super::*;
use crate::postgres::Server;

/// The rows that `write_lake.py` means.
const SOURCE: &str = "
    CREATE TABLE things (id int PRIMARY KEY, amount numeric(10,2), at timestamptz, ratio real, doc jsonb, raw bytea, big text);
    INSERT INTO things VALUES
        (1, 2.50, '2024-05-06 07:08:09.123456Z', 0.1, '{\"a\": 1}', '\\x00ff', 'large one'),
        (4, 9.00, '-infinity', '-0', NULL, NULL, 'large two');
    CREATE TABLE cleared (a int PRIMARY KEY, b text); INSERT INTO cleared VALUES (2, 'after');
    CREATE TABLE tied (a int PRIMARY KEY, b text); INSERT INTO tied VALUES (1, 'second snapshot');
    CREATE TABLE bag (a int, b text); INSERT INTO bag VALUES (1, 'x'), (1, 'x'), (3, 'z');
    CREATE TABLE untouched (a int PRIMARY KEY);";

fn lake_and_source() -> (TempDir, Pipeline, Server, Database) {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    spawn::complete(script("write_lake.py").unwrap().arg(&lake)).unwrap();
    let server = Server::start().unwrap();
    let database = server.create_database("shop").unwrap();
    database.sql(SOURCE).unwrap();
    let tables = ["things", "cleared", "tied", "bag", "untouched"].map(str::to_owned).into();
    let file = folder.path().join("pipeline.yaml");
    (
        folder,
        Pipeline { file, lake, name: "shop".into(), database: "shop".into(), tables, environment: Vec::new() },
        server,
        database,
    )
}

#[test]
fn the_independent_reader_agrees_where_lake_and_source_are_equal() {
    let (_folder, pipeline, _server, database) = lake_and_source();
    assert_eq!(compare(&pipeline, &database).unwrap(), Equal { tables: 5, rows: 7 });
}

#[test]
fn the_independent_reader_finds_every_seeded_difference() {
    let (_folder, pipeline, _server, database) = lake_and_source();
    let seeded = [
        ("UPDATE things SET amount = 2.51 WHERE id = 1", "column amount"),
        ("UPDATE things SET at = at + interval '1 microsecond' WHERE id = 1", "column at"),
        ("UPDATE things SET at = 'infinity' WHERE id = 4", "column at"),
        ("UPDATE things SET amount = 'NaN' WHERE id = 4", "column amount"),
        ("UPDATE things SET ratio = 0 WHERE id = 4", "column ratio"),
        ("UPDATE things SET doc = '{\"a\": 1.0}' WHERE id = 1", "column doc"),
        ("UPDATE things SET raw = '\\x00fe' WHERE id = 1", "column raw"),
        ("UPDATE things SET raw = '' WHERE id = 4", "column raw"),
        ("UPDATE things SET big = 'another' WHERE id = 4", "column big"),
        ("UPDATE things SET big = NULL WHERE id = 1", "column big"),
        ("DELETE FROM things WHERE id = 4", "only in the lake"),
        ("INSERT INTO things (id) VALUES (5)", "only in the source"),
        ("INSERT INTO things (id) VALUES (2)", "where the source has id=2"),
        ("UPDATE cleared SET b = 'before'", "column b"),
        ("UPDATE tied SET b = 'first snapshot'", "column b"),
        ("INSERT INTO bag VALUES (1, 'x')", "2 times in the lake, 3 times in the source"),
        ("DELETE FROM bag WHERE a = 3", "1 times in the lake, 0 times in the source"),
        ("INSERT INTO untouched VALUES (1)", "no file of it"),
        ("ALTER TABLE things ALTER amount TYPE numeric(12,2)", "type DECIMAL(10,2), not DECIMAL(12,2)"),
    ];
    for (change, expected) in seeded {
        database.sql(change).unwrap();
        match compare(&pipeline, &database) {
            Err(Fault::Difference(found)) => assert!(found.contains(expected), "{change}: {found}"),
            other => panic!("{change}: {other:?}"),
        }
        database.sql(&format!("DROP TABLE things, cleared, tied, bag, untouched; {SOURCE}")).unwrap();
    }
}

#[test]
fn a_lake_that_is_not_there_is_no_equal_lake() {
    let (_folder, mut pipeline, _server, database) = lake_and_source();
    pipeline.lake = pipeline.lake.join("elsewhere");
    assert!(matches!(compare(&pipeline, &database), Err(Fault::Program { .. })));
}
