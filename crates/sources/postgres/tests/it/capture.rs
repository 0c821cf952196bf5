//! Writes the bytes of a real server that the decoder's unit tests read. To capture anew:
//! `cargo test -p millrace-postgres --test it -- --ignored capture`, and then
//! `cargo test -p millrace-postgres --lib -- --ignored bless` for what they mean.

use std::path::Path;

use crate::server::Server;

const CHANGES: &str = "INSERT INTO t VALUES (1, true, -2, 3, 4, 1.5, 'NaN', 12.50, 'NaN', 'text', '{\"a\": 1}', \
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff', '2024-02-29', '12:34:56.789', 'infinity', '2024-02-29 12:34:56+00', \
    (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 80) g)); \
    UPDATE t SET i2 = 7; UPDATE t SET id = 2; ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET b = NULL; UPDATE t SET id = 3; \
    DELETE FROM t; ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t DROP big; INSERT INTO t (id) VALUES (4); UPDATE t SET id = 4; TRUNCATE t";

#[test]
#[ignore = "no test: writes the fixtures anew, by hand, as the head of this file says"]
fn capture() {
    let database = Server::shared().database(
        "CREATE TABLE t (id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric(10,2), \
         free numeric, x text, j jsonb, u uuid, y bytea, d date, tm time, ts timestamp, tz timestamptz, big text); \
         ALTER TABLE t ALTER big SET STORAGE EXTERNAL; CREATE PUBLICATION p FOR TABLE t",
    );
    let slot = format!("capture_{}", database.name);
    database.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    database.sql(CHANGES);
    for (form, binary) in [("text", "false"), ("binary", "true")] {
        let messages = database.sql(&format!(
            "SET bytea_output = hex; SET TimeZone = UTC; SELECT encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('{slot}', \
             NULL, NULL, 'proto_version', '1', 'publication_names', 'p', 'binary', '{binary}')"
        ));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/changes.{form}.hex"));
        std::fs::write(path, messages + "\n").unwrap();
    }
    database.sql(&format!("SELECT pg_drop_replication_slot('{slot}')"));
}
