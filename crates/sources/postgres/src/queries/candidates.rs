//! The relations that `tables` may mean, with all that decides whether their changes can be carried. Takes no lock on any of
//! them.

use super::{KEY_COLUMNS_OF, literal, numbers};

/// Names of partitions that one finding shows.
const SHOWN: usize = 8;

/// Every relation of the schemas that could be meant: schema, name, relkind, persistence, replica identity, is partition,
/// has an immediate index that identifies rows, has a deferrable primary key, ours to publish, oid, estimated rows, generated
/// columns of that index, has generated columns beside full old rows.
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
    let identifies = identifies("i", "c");
    format!(
        "WITH g AS MATERIALIZED (SELECT a.attrelid, i.indexrelid, string_agg(a.attname, ', ' ORDER BY a.attnum) AS names \
         FROM pg_attribute a JOIN pg_index i ON i.indrelid = a.attrelid AND a.attnum = ANY ({KEY_COLUMNS_OF}) \
         WHERE a.attgenerated <> '' AND a.attnum > 0 GROUP BY a.attrelid, i.indexrelid) \
         SELECT n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, c.relispartition, i.indexrelid IS NOT NULL, \
         EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate), \
         pg_has_role(c.relowner, 'USAGE'), c.oid, greatest(c.reltuples, 0)::bigint, g.names, \
         CASE WHEN c.relreplident = 'f' THEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> '') \
         ELSE false END \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_index i ON i.indrelid = c.oid AND {identifies} LEFT JOIN g ON g.indexrelid = i.indexrelid \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {schemas}{table} ORDER BY 1, 2"
    )
}

/// Partitions below partitioned tables that do not fit them, the first few of each: table, partition as SQL writes it, whether
/// it has a log, how many the table has. One without full old rows must be identified by the columns that identify its table.
///
/// The server takes a row by the replica identity of the partition that it lies in, and the log tags it by the root's.
pub(crate) fn unfit_leaves(tables: &[u32]) -> String {
    let (of_table, of_leaf) = (identifies("r", "q"), identifies("i", "l"));
    let key_columns_of_table = KEY_COLUMNS_OF.replace("i.", "r.");
    format!(
        "WITH RECURSIVE t (root, oid) AS (SELECT r, r FROM unnest('{{{}}}'::oid[]) r \
         UNION ALL SELECT t.root, i.inhrelid FROM t JOIN pg_inherits i ON i.inhparent = t.oid), \
         u AS (SELECT t.root, format('%I.%I', n.nspname, l.relname) AS name, l.relkind = 'r' AND l.relpersistence = 'p' AS has_log \
         FROM t JOIN pg_class l ON l.oid = t.oid AND l.relkind <> 'p' JOIN pg_namespace n ON n.oid = l.relnamespace \
         JOIN pg_class q ON q.oid = t.root LEFT JOIN pg_index r ON r.indrelid = t.root AND {of_table} \
         LEFT JOIN pg_index i ON i.indrelid = l.oid AND {of_leaf} \
         WHERE l.relkind <> 'r' OR l.relpersistence <> 'p' OR l.relreplident <> 'f' AND (i.indrelid IS NULL OR r.indrelid IS NULL \
         OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.root AND a.attnum = ANY ({key_columns_of_table}) \
         AND (a.attgenerated <> '' OR NOT EXISTS (SELECT FROM pg_attribute b WHERE b.attrelid = l.oid AND b.attname = a.attname \
         AND b.attnum = ANY ({KEY_COLUMNS_OF})))))) \
         SELECT root, name, has_log, count FROM (SELECT u.*, row_number() OVER (PARTITION BY root ORDER BY name) AS number, \
         count(*) OVER (PARTITION BY root) FROM u) u WHERE number <= {SHOWN} ORDER BY 1, 2",
        numbers(tables)
    )
}

/// Whether an index identifies the rows of a table.
fn identifies(index: &str, table: &str) -> String {
    format!(
        "{index}.indimmediate AND {index}.indisvalid AND CASE {table}.relreplident WHEN 'i' THEN {index}.indisreplident \
         WHEN 'd' THEN {index}.indisprimary ELSE false END"
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
