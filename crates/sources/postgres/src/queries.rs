//! All SQL and all replication commands of this source. Names and literals are quoted here and nowhere else.
//!
//! Sessions search `pg_catalog` only, so its functions and tables need no schema.

mod candidates;

use postgres_protocol::escape::{escape_identifier, escape_literal};

use crate::decode::message::Relation;
use crate::position::Lsn;

pub(crate) use candidates::{ancestors, relations, unfit_leaves};

/// A name as SQL and replication commands write it.
pub(crate) fn name(text: &str) -> String {
    escape_identifier(text)
}

/// `"schema"."table"`.
pub(crate) fn table_name(schema: &str, table: &str) -> String {
    format!("{}.{}", name(schema), name(table))
}

fn literal(text: &str) -> String {
    // `escape_literal` puts a blank before `E''`, which SQL allows anywhere.
    escape_literal(text)
}

/// A string of a replication command: only quotes are doubled there.
fn option_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

// ---- replication commands ----

/// systemid, timeline, xlogpos, dbname
pub(crate) const IDENTIFY_SYSTEM: &str = "IDENTIFY_SYSTEM";

/// Name and text of the file that says where earlier timelines were left.
pub(crate) fn timeline_history(timeline: u32) -> String {
    format!("TIMELINE_HISTORY {timeline}")
}

/// Starts the log of a slot where the slot is confirmed.
pub(crate) fn start_replication(slot: &str, publication: &str, binary: bool, streaming: bool) -> String {
    // `publication_names` is itself a list of names inside a string.
    let publications = option_literal(&format!("\"{}\"", publication.replace('"', "\"\"")));
    let binary = if binary { ", binary 'true'" } else { "" };
    let (protocol, streaming) = if streaming { (2, ", streaming 'on'") } else { (1, "") };
    format!(
        "START_REPLICATION SLOT {} LOGICAL {} (proto_version '{protocol}', publication_names {publications}{binary}{streaming})",
        name(slot),
        Lsn::default()
    )
}

/// Makes the slot: slot_name, consistent_point, snapshot_name, output_plugin. The old spelling, which all versions know.
pub(crate) fn create_slot(slot: &str, export_snapshot: bool) -> String {
    let snapshot = if export_snapshot { "EXPORT_SNAPSHOT" } else { "NOEXPORT_SNAPSHOT" };
    format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput {snapshot}", name(slot))
}

/// Drops a slot that nobody uses.
pub(crate) fn drop_slot(slot: &str) -> String {
    format!("SELECT pg_drop_replication_slot({})", literal(slot))
}

// ---- slot ----

/// slot_type, plugin, database, confirmed_flush_lsn, wal_status, active_pid, current database, its holder as text
pub(crate) fn slot(slot: &str) -> String {
    format!(
        "SELECT s.slot_type, s.plugin, s.database, s.confirmed_flush_lsn, s.wal_status, s.active_pid, current_database(), \
         concat('process ', s.active_pid, ' of the server', ' (' || nullif(a.application_name, '') || ')', \
         ' at ' || host(a.client_addr)) \
         FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = {}",
        literal(slot)
    )
}

/// `wal_sender_timeout` of this session in ms
pub(crate) const SENDER_TIMEOUT: &str = "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'";

/// The flushed end of the log; on a standby the replayed one.
pub(crate) const END: &str =
    "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END";

/// The flushed end of the log; how many bytes before it the slot keeps (null where it is lost)
pub(crate) fn waiting(slot: &str) -> String {
    format!(
        "SELECT e.lsn, pg_wal_lsn_diff(e.lsn, s.restart_lsn)::bigint FROM ({END}) e (lsn) \
         LEFT JOIN pg_replication_slots s ON s.slot_name = {}",
        literal(slot)
    )
}

/// Who may hold up the making of a slot: pid, since when. Prepared transactions have no pid. The locks, not the sessions, say
/// who runs: of other roles' sessions a plain role sees nothing but the pid.
pub(crate) const WRITERS: &str = "SELECT concat('process ', l.pid, coalesce(' (' || nullif(a.application_name, '') || ')', '')), \
     date_trunc('second', a.xact_start) FROM (SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'transactionid' \
     AND mode = 'ExclusiveLock' AND granted AND pid <> pg_backend_pid()) l LEFT JOIN pg_stat_activity a USING (pid) \
     UNION ALL SELECT concat('prepared transaction ', gid), date_trunc('second', prepared) FROM pg_prepared_xacts \
     ORDER BY 2 LIMIT 10";

// ---- publication ----

/// oid, all tables, inserts, updates, deletes, truncates, via root, comment
pub(crate) fn publication(publication: &str) -> String {
    format!(
        "SELECT oid, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, \
         obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = {}",
        literal(publication)
    )
}

/// schema, table, whether there is a row filter, relation oid
pub(crate) fn published_tables(publication: &str, version: u32) -> String {
    let filter = if version >= 150_000 { "p.rowfilter IS NOT NULL" } else { "false" };
    format!(
        "SELECT p.schemaname, p.tablename, {filter}, c.oid FROM pg_publication_tables p \
         JOIN pg_namespace n ON n.nspname = p.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename \
         WHERE p.pubname = {} ORDER BY 1, 2",
        literal(publication)
    )
}

/// Oids of the published tables. Unlike `published_tables` it waits for no lock on any of them.
pub(crate) fn published_relations(publication: &str, version: u32) -> String {
    let by_schema = if version >= 150_000 {
        " UNION SELECT c.oid FROM pg_publication p JOIN pg_publication_namespace s ON s.pnpubid = p.oid \
         JOIN pg_class c ON c.relnamespace = s.pnnspid WHERE p.pubname = $ AND c.relkind IN ('r', 'p')"
    } else {
        ""
    };
    let sql = format!(
        "SELECT r.prrelid FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = $\
         {by_schema} UNION SELECT c.oid FROM pg_publication p CROSS JOIN pg_class c WHERE p.pubname = $ AND p.puballtables \
         AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384"
    );
    sql.replace('$', &literal(publication))
}

const PUBLISH: &str = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";

fn only_list(tables: &[(String, String)]) -> String {
    let tables: Vec<_> = tables.iter().map(|(schema, table)| format!("ONLY {}", table_name(schema, table))).collect();
    tables.join(", ")
}

/// Makes the publication, with our mark.
pub(crate) fn create_publication(publication: &str, tables: &[(String, String)], mark: &str) -> String {
    let marked = comment_on_publication(publication, mark);
    format!("CREATE PUBLICATION {} FOR TABLE {} WITH ({PUBLISH}); {marked}", name(publication), only_list(tables))
}

/// Makes a publication that stands like one that we would make.
pub(crate) fn reset_publication(publication: &str, tables: &[(String, String)], mark: &str) -> String {
    let marked = comment_on_publication(publication, mark);
    let publication = name(publication);
    let tables = only_list(tables);
    format!(
        "ALTER PUBLICATION {publication} SET ({PUBLISH}); ALTER PUBLICATION {publication} SET TABLE {tables}; {marked}"
    )
}

/// Says whose a publication is.
pub(crate) fn comment_on_publication(publication: &str, mark: &str) -> String {
    format!("COMMENT ON PUBLICATION {} IS {}", name(publication), literal(mark))
}

/// Has a publication publish all that we need, for people.
pub(crate) fn widen_publication(publication: &str) -> String {
    format!("ALTER PUBLICATION {} SET ({PUBLISH})", name(publication))
}

/// Drops the publication.
pub(crate) fn drop_publication(publication: &str) -> String {
    format!("DROP PUBLICATION IF EXISTS {}", name(publication))
}

// ---- tables ----

/// Of tables with their partitions: oid, bytes with indexes and out-of-line values, rows as far as they were analysed,
/// bytes of rows that were not. Waits for locks on the tables.
pub(crate) fn sizes(relations: &[u32]) -> String {
    format!(
        "WITH RECURSIVE t (root, oid) AS ({}) \
         SELECT t.root, sum(pg_total_relation_size(l.oid))::bigint, \
         coalesce(sum(l.reltuples) FILTER (WHERE l.reltuples > 0), 0)::bigint, \
         coalesce(sum(pg_relation_size(l.oid)) FILTER (WHERE l.reltuples <= 0), 0)::bigint \
         FROM t JOIN pg_class l ON l.oid = t.oid WHERE l.relkind = 'r' GROUP BY t.root",
        with_partitions(relations)
    )
}

/// The columns of tables, domains resolved: relation oid, name, type's name, base type's oid, its modifier, its send
/// function, not null, generated, in the primary key or identity index, number, type's oid, modifier, in the primary key, gives
/// values.
/// Domains are resolved a type, not a column, so that thousands of tables cost little.
pub(crate) fn columns(relations: &[u32]) -> String {
    format!(
        "WITH RECURSIVE r (oid) AS (SELECT unnest('{{{}}}'::oid[])), \
         a AS MATERIALIZED (SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated, a.attnum, \
         {GIVES_VALUES} AS gives \
         FROM r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attnum > 0 AND NOT a.attisdropped), \
         b (asked, asked_modifier, type, modifier, depth) AS (SELECT DISTINCT atttypid, atttypmod, atttypid, atttypmod, 0 \
         FROM a UNION ALL SELECT b.asked, b.asked_modifier, t.typbasetype, t.typtypmod, b.depth + 1 \
         FROM b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'), \
         d AS (SELECT DISTINCT ON (asked, asked_modifier) asked, asked_modifier, type, modifier, \
         format_type(asked, asked_modifier) AS name FROM b ORDER BY asked, asked_modifier, depth DESC), \
         k AS (SELECT i.indrelid, {KEY_COLUMNS} AS number, \
         CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END AS identifies, i.indisprimary \
         FROM r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class c ON c.oid = r.oid \
         WHERE i.indimmediate AND i.indisvalid AND (i.indisprimary OR i.indisreplident)), \
         m AS (SELECT indrelid, number, bool_or(identifies) AS identifies, bool_or(indisprimary) AS is_primary \
         FROM k GROUP BY 1, 2) \
         SELECT a.attrelid, a.attname, d.name, d.type, d.modifier, coalesce(p.proname, ''), a.attnotnull, \
         a.attgenerated <> '', coalesce(m.identifies, false), a.attnum, a.atttypid, a.atttypmod, coalesce(m.is_primary, false), \
         a.gives \
         FROM a JOIN d ON d.asked = a.atttypid AND d.asked_modifier = a.atttypmod JOIN pg_type t ON t.oid = d.type \
         LEFT JOIN pg_proc p ON p.oid = t.typsend LEFT JOIN m ON m.indrelid = a.attrelid AND m.number = a.attnum \
         ORDER BY a.attrelid, a.attnum",
        numbers(relations)
    )
}

/// The columns that an index compares, as an array: those that it merely includes stand behind them and are no part of a key.
const KEY_COLUMNS_OF: &str = "(i.indkey::int2[])[0:i.indnkeyatts - 1]";

/// The same, a row each.
const KEY_COLUMNS: &str = "unnest((i.indkey::int2[])[0:i.indnkeyatts - 1])";

/// Whether a column that is added gives values to the rows that are there: `atthasmissing` outlives a default that was
/// dropped again.
const GIVES_VALUES: &str = "a.atthasdef OR a.atthasmissing OR a.attidentity <> ''";

fn numbers(numbers: &[u32]) -> String {
    let list: Vec<_> = numbers.iter().map(u32::to_string).collect();
    list.join(",")
}

/// What the catalogue says of a table that the log describes, in four lists and one look: membership, columns, key, types.
pub(crate) fn described(relation: &Relation, publication: &str, version: u32) -> String {
    let oid = relation.oid;
    let publication = literal(publication);
    let (listed, by_schema) = if version >= 150_000 {
        (
            "r.prattrs",
            "(SELECT s.oid FROM pg_publication_namespace s JOIN pg_class c ON c.relnamespace = s.pnnspid \
             WHERE s.pnpubid = p.oid AND c.oid = k.oid)",
        )
    } else {
        ("NULL", "NULL")
    };
    let asked: Vec<_> = relation
        .columns
        .iter()
        .enumerate()
        .map(|(number, column)| format!("({number}, {}::oid, {})", column.type_oid, column.modifier))
        .collect();
    let types = if asked.is_empty() { "SELECT 1 WHERE false".to_owned() } else { types(&asked.join(", ")) };
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
         SELECT r.oid, {listed}, p.puballtables, p.oid, {by_schema}, k.relispartition AND p.pubviaroot \
         FROM pg_publication p CROSS JOIN pg_class k \
         LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = k.oid \
         WHERE p.pubname = {publication} AND k.oid = {oid}; \
         SELECT attnum, attname, atttypid, atttypmod, attnotnull, attgenerated <> '', {GIVES_VALUES} \
         FROM pg_attribute a WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped ORDER BY attnum; \
         SELECT a.attname FROM (SELECT i.indrelid, {KEY_COLUMNS} AS number FROM pg_index i WHERE i.indrelid = {oid} \
         AND i.indisprimary AND i.indimmediate AND i.indisvalid) k JOIN pg_attribute a ON a.attrelid = k.indrelid \
         AND a.attnum = k.number ORDER BY a.attnum; \
         {types}; COMMIT"
    )
}

/// number, type's name, base type's oid, its modifier, its send function (`?` where the type is gone)
fn types(asked: &str) -> String {
    format!(
        "WITH RECURSIVE q (number, type, modifier) AS (VALUES {asked}), \
         b (number, type, modifier, depth) AS (SELECT number, type, modifier, 0 FROM q UNION ALL \
         SELECT b.number, t.typbasetype, t.typtypmod, b.depth + 1 FROM b JOIN pg_type t ON t.oid = b.type \
         WHERE t.typtype = 'd'), \
         d AS (SELECT DISTINCT ON (number) * FROM b ORDER BY number, depth DESC) \
         SELECT q.number, format_type(q.type, q.modifier), d.type, d.modifier, \
         CASE WHEN t.oid IS NULL THEN '?' ELSE coalesce((SELECT p.proname FROM pg_proc p WHERE p.oid = t.typsend), '') END \
         FROM q LEFT JOIN pg_type t ON t.oid = (SELECT d.type FROM d WHERE d.number = q.number) JOIN d ON d.number = q.number ORDER BY 1"
    )
}

/// Columns of the index that identifies the rows of `k`, as far as the column list of `r` leaves them out.
const UNLISTED_KEY: &str = "CASE WHEN r.prattrs IS NOT NULL THEN (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) \
     FROM pg_index i JOIN pg_attribute a ON a.attrelid = k.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
     WHERE i.indrelid = k.oid AND i.indimmediate AND i.indisvalid \
     AND CASE k.relreplident WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary ELSE false END \
     AND a.attnum <> ALL (r.prattrs::int2[])) END";

/// The memberships of tables: publication_rel oid, column list, all tables, publication oid, publication_namespace oid,
/// comes via its root, relation oid, row filter, whether every change of it is published under its own name, transaction
/// that wrote the publication's own row, its owner, key columns that the column list leaves out
pub(crate) fn memberships(publication: &str, relations: &[u32], version: u32) -> String {
    let (listed, unlisted_key, by_schema, filter) = if version >= 150_000 {
        (
            "r.prattrs",
            UNLISTED_KEY,
            "(SELECT s.oid FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = k.relnamespace)",
            "pg_get_expr(r.prqual, r.prrelid)",
        )
    } else {
        ("NULL", "NULL", "NULL", "NULL")
    };
    format!(
        "SELECT r.oid, {listed}, p.puballtables, p.oid, {by_schema}, k.relispartition AND p.pubviaroot, k.oid, {filter}, \
         p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND (p.pubviaroot OR k.relkind <> 'p'), \
         p.xmin, p.pubowner, {unlisted_key} \
         FROM pg_publication p CROSS JOIN (SELECT unnest('{{{}}}'::oid[]) AS oid) q JOIN pg_class k ON k.oid = q.oid \
         LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = k.oid WHERE p.pubname = {}",
        numbers(relations),
        literal(publication)
    )
}

/// The tables that a publication names: schema, name, oid. Takes no lock on any of them.
pub(crate) fn named_tables(publication: &str) -> String {
    format!(
        "SELECT n.nspname, c.relname, c.oid FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid \
         JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = {}",
        literal(publication)
    )
}

/// Lets the publication carry these tables, too.
pub(crate) fn add_tables(publication: &str, tables: &[(String, String)]) -> String {
    format!("ALTER PUBLICATION {} ADD TABLE {}", name(publication), only_list(tables))
}

/// Ends that.
pub(crate) fn drop_tables(publication: &str, tables: &[(String, String)]) -> String {
    format!("ALTER PUBLICATION {} DROP TABLE {}", name(publication), only_list(tables))
}

/// Several queries that see one state of the catalogue, and their end.
pub(crate) const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
pub(crate) const END_READING: &str = "COMMIT";

// ---- snapshot ----

/// Makes a slot that ends with its connection, and exports the snapshot at its consistent point.
pub(crate) fn create_temporary_slot(slot: &str) -> String {
    format!("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT", name(slot))
}

/// Ends the sessions that make temporary slots of ours for nobody: one that waits for a transaction does not notice that
/// its client is gone, and would keep its slot until then.
pub(crate) fn end_temporary_slots(prefix: &str) -> String {
    format!(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE temporary AND active_pid IS NOT NULL \
         AND database = current_database() AND slot_name ~ {}",
        literal(&format!("^{prefix}_[0-9a-f]+_[0-9a-f]+$"))
    )
}

/// Four lists: whether the slot, if it stands, is complete; the end of the log being written; the transactions that the making
/// of the slot waits for; and the transactions that run. What is read later is the newer.
///
/// A snapshot lists the running transactions below its `xmax` only, which is the one behind the newest that has *ended*:
/// on a quiet server the only one that runs is not among them. Those at or above it have not ended either; their locks
/// name them.
pub(crate) fn running(slot: &str) -> String {
    format!(
        "SELECT confirmed_flush_lsn IS NOT NULL FROM pg_replication_slots WHERE slot_name = {0}; \
         SELECT pg_current_wal_insert_lsn(); \
         SELECT l.transactionid FROM pg_replication_slots s JOIN pg_locks l ON l.pid = s.active_pid \
         WHERE s.slot_name = {0} AND l.locktype = 'transactionid' AND NOT l.granted; \
         SELECT x::text::bigint % 4294967296 FROM pg_snapshot_xip(pg_current_snapshot()) x UNION \
         SELECT l.transactionid::text::bigint FROM pg_locks l \
         WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted \
         AND mod(l.transactionid::text::bigint - pg_snapshot_xmax(pg_current_snapshot())::text::bigint % 4294967296 \
         + 4294967296, 4294967296) < 2147483648",
        literal(slot)
    )
}

/// A transaction that sees what the snapshot saw.
pub(crate) fn begin_under(snapshot: &str) -> String {
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}", literal(snapshot))
}

/// Exports the transaction's snapshot once more.
pub(crate) const EXPORT: &str = "SELECT pg_export_snapshot()";

/// The relations that hold the rows of tables: oid, schema, name, its file under the snapshot, its blocks now, the table
pub(crate) fn leaves(tables: &[u32]) -> String {
    format!(
        "WITH RECURSIVE t (root, oid) AS ({}) \
         SELECT c.oid, n.nspname, c.relname, c.relfilenode, pg_relation_size(c.oid) / current_setting('block_size')::int, \
         t.root FROM t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' ORDER BY c.oid",
        with_partitions(tables)
    )
}

/// Of a recursive `t (root, oid)`: tables, and what lies below those that are partitioned.
fn with_partitions(tables: &[u32]) -> String {
    format!(
        "SELECT r, r FROM unnest('{{{}}}'::oid[]) r UNION ALL SELECT t.root, i.inhrelid FROM t \
         JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'p' JOIN pg_inherits i ON i.inhparent = t.oid",
        numbers(tables)
    )
}

/// Whether a relation is still what the snapshot shows: its file, its name, the names of its columns. What the catalogue's
/// tables say is the snapshot's, what the functions say is the present.
pub(crate) fn is_unchanged(relation: u32, leaf: (&str, &str)) -> String {
    format!(
        "SELECT c.relfilenode = pg_relation_filenode(c.oid) AND to_regclass({}) = c.oid AND NOT EXISTS \
         (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname::text \
         IS DISTINCT FROM (pg_identify_object_as_address('pg_class'::regclass, a.attrelid, a.attnum)).object_names[3]) \
         FROM pg_class c WHERE c.oid = {relation}",
        literal(&table_name(leaf.0, leaf.1))
    )
}

/// The text of a column as its type's output function writes it, which is what the log carries. Not a cast: `inet` has one
/// of its own that writes other text. And not `IS NULL`, which a row of nulls is as well.
pub(crate) fn as_text(column: &str) -> String {
    format!("CASE WHEN num_nulls({0}) = 0 THEN concat({0}) END", name(column))
}

/// The rows of a range of blocks; `columns` are expressions. From version 14 on the server reads just the range.
pub(crate) fn copy_blocks(
    columns: &[String],
    leaf: (&str, &str),
    (from, to): (u64, Option<u64>),
    filter: Option<&str>,
) -> String {
    let to = to.map_or_else(String::new, |to| format!(" AND ctid < '({to},0)'"));
    let filter = filter.map_or_else(String::new, |filter| format!(" AND ({filter})"));
    format!(
        "COPY (SELECT {} FROM ONLY {} WHERE ctid >= '({from},0)'{to}{filter}) TO STDOUT (FORMAT binary)",
        columns.join(", "),
        table_name(leaf.0, leaf.1)
    )
}

// ---- check ----

/// wal_level, max_replication_slots, slots in use, max_wal_senders, walsenders in use, in recovery, may replicate, may make
/// publications, the role's name, encoding of the database
pub(crate) const PREFLIGHT: &str = "SELECT current_setting('wal_level'), \
     current_setting('max_replication_slots')::int, (SELECT count(*) FROM pg_replication_slots), \
     current_setting('max_wal_senders')::int, (SELECT count(*) FROM pg_stat_replication), pg_is_in_recovery(), \
     (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) \
     OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'rds_replication' AND pg_has_role(r.oid, 'MEMBER')), \
     has_database_privilege(current_database(), 'CREATE'), current_user, \
     (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database())";

/// The relations that hold the rows of tables and cannot be read as they are: the table, schema, name, lacks USAGE on the
/// schema, lacks SELECT, row security hides rows.
pub(crate) fn unreadable(tables: &[u32]) -> String {
    format!(
        "WITH RECURSIVE t (root, oid) AS ({}), \
         l AS (SELECT t.root, n.nspname, c.relname, NOT has_schema_privilege(n.oid, 'USAGE') AS usage, \
         NOT has_table_privilege(c.oid, 'SELECT') AS reads, row_security_active(c.oid) AS hides \
         FROM t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r') \
         SELECT * FROM l WHERE usage OR reads OR hides ORDER BY 2, 3",
        with_partitions(tables)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_literals_cannot_break_out() {
        assert_eq!(table_name("a\"b", "c"), "\"a\"\"b\".\"c\"");
        assert_eq!(drop_slot("o'k"), "SELECT pg_drop_replication_slot('o''k')");
        let start = start_replication("s", "p\"'x", false, false);
        assert!(start.ends_with("publication_names '\"p\"\"''x\"')"), "{start}");
    }
}
