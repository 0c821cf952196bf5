//! The relations that `tables` may mean, with all that decides whether their changes can be carried. Takes no lock on any of
//! them.

use super::{KEY_COLUMNS_OF, literal, numbers};

/// Names of partitions that one finding shows.
const SHOWN: usize = 8;

/// Every relation of the schemas that could be meant: schema, name, relkind, persistence, replica identity, is partition,
/// has an immediate index that identifies rows, has a deferrable primary key, ours to publish, oid, estimated rows, generated
/// columns of that index; of the partitions below it, a line each: those without a log, and those whose replica identity
/// does not tell what the root's promises; how many these are.
///
/// The server asks the partition that a row lies in for its replica identity, and the log tags the old row by the root's.
pub(crate) fn relations(schemas: Option<&[&str]>, table: Option<&str>) -> String {
    let table = table.map_or_else(String::new, |table| format!(" AND c.relname = {}", literal(table)));
    let schemas = match schemas {
        // No list is empty in SQL.
        Some([]) => "false".into(),
        Some(schemas) => {
            let list: Vec<_> = schemas.iter().map(|schema| literal(schema)).collect();
            format!("n.nspname IN ({})", list.join(", "))
        }
        None => "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'".into(),
    };
    let shown = |which: &str| {
        format!("array_to_string((array_agg(u.name ORDER BY u.name) FILTER (WHERE {which}))[1:{SHOWN}], E'\\n')")
    };
    let (no_log, unlike) = (shown("NOT u.has_log"), shown("u.has_log"));
    format!(
        "WITH RECURSIVE c AS MATERIALIZED (SELECT n.nspname, c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {schemas}{table}), \
         t (root, identity, oid) AS (SELECT oid, relreplident, oid FROM c WHERE relkind = 'p' \
         UNION ALL SELECT t.root, t.identity, i.inhrelid FROM t JOIN pg_inherits i ON i.inhparent = t.oid), \
         l AS MATERIALIZED (SELECT t.root, t.identity AS of_root, l.oid, l.relname, l.relnamespace, l.relkind, l.relpersistence, \
         l.relreplident FROM t JOIN pg_class l ON l.oid = t.oid AND l.relkind <> 'p'), \
         s (oid, identity) AS (SELECT oid, relreplident FROM c WHERE relkind IN ('r', 'p') UNION SELECT oid, relreplident FROM l), \
         k AS MATERIALIZED (SELECT s.oid, array_agg(a.attname::text) AS names, \
         string_agg(a.attname, ', ' ORDER BY a.attnum) FILTER (WHERE a.attgenerated <> '') AS generated \
         FROM s JOIN pg_index i ON i.indrelid = s.oid AND i.indimmediate AND i.indisvalid \
         AND CASE s.identity WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary ELSE false END \
         JOIN pg_attribute a ON a.attrelid = s.oid AND a.attnum = ANY ({KEY_COLUMNS_OF}) GROUP BY s.oid), \
         u AS (SELECT l.root, format('%I.%I', n.nspname, l.relname) AS name, l.relkind = 'r' AND l.relpersistence = 'p' AS has_log \
         FROM l JOIN pg_namespace n ON n.oid = l.relnamespace LEFT JOIN k ON k.oid = l.oid LEFT JOIN k r ON r.oid = l.root \
         WHERE l.relkind <> 'r' OR l.relpersistence <> 'p' OR NOT (l.relreplident = 'f' OR coalesce(r.generated IS NULL AND k.names @> r.names, false))) \
         SELECT c.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, c.relispartition, k.oid IS NOT NULL, \
         EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate), \
         pg_has_role(c.relowner, 'USAGE'), c.oid, greatest(c.reltuples, 0)::bigint, k.generated, u.no_log, u.unlike, \
         coalesce(u.count, 0) \
         FROM c LEFT JOIN k ON k.oid = c.oid LEFT JOIN (SELECT u.root, {no_log} AS no_log, {unlike} AS unlike, count(*) \
         FROM u GROUP BY u.root) u ON u.root = c.oid ORDER BY 1, 2"
    )
}

/// The partitioned tables above partitions: partition, ancestor, its schema, its name, whether the publication hands the
/// partition's changes out as the ancestor's. The nearest first.
pub(crate) fn ancestors(publication: &str, partitions: &[u32], version: u32) -> String {
    let by_schema = if version >= 150_000 {
        " OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace)"
    } else {
        ""
    };
    format!(
        "SELECT q.oid, c.oid, n.nspname, c.relname, EXISTS (SELECT FROM pg_publication p WHERE p.pubname = {} AND p.pubviaroot \
         AND (p.puballtables OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid){by_schema})) \
         FROM unnest('{{{}}}'::oid[]) q (oid) CROSS JOIN pg_partition_ancestors(q.oid) WITH ORDINALITY a (oid, height) \
         JOIN pg_class c ON c.oid = a.oid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.oid <> q.oid ORDER BY 1, a.height",
        literal(publication),
        numbers(partitions)
    )
}
