//! Compares what `millrace read --state` prints with what `psql` prints, in one form; nothing else is needed for it.
//!
//! It sees less than the independent reader (a float or a time has passed through its text), but it runs wherever
//! `millrace` and a PostgreSQL run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Equal;
use crate::fault::{Fault, Result};
use crate::pipeline::Pipeline;
use crate::postgres::Database;
use crate::process::Invocation;

/// How long reading one table may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// A column of the source: its name, its type, and whether it belongs to the primary key.
#[derive(Debug)]
struct Column {
    name: String,
    kind: String,
    is_key: bool,
}

/// Compares every table of the pipeline as `millrace` reads it; the first difference is the fault.
pub fn compare(millrace: &Path, pipeline: &Pipeline, database: &Database) -> Result<Equal> {
    let mut rows = 0;
    for table in &pipeline.tables {
        let full_name = pipeline.full_name(table);
        let read = Invocation::of(millrace, ["--format", "json", "read"]).for_pipeline(pipeline);
        let read = read.argument(&pipeline.file).argument("--table").argument(&full_name).argument("--state");
        let ended = read.complete(PATIENCE)?;
        if ended.code != Some(0) {
            return Err(Fault::Unexpected(format!(
                "millrace read: exit code {:?}: {:?}",
                ended.code,
                ended.lines.last()
            )));
        }
        rows += compare_table(&full_name, &ended.stdout, database, table)?;
    }
    Ok(Equal { tables: pipeline.tables.len(), rows })
}

/// Compares one table's state as JSON lines with the source.
fn compare_table(full_name: &str, printed: &str, database: &Database, table: &str) -> Result<u64> {
    let columns = columns(database, table)?;
    let in_lake = printed.lines().filter(|line| !line.is_empty()).map(|line| row(line, &columns));
    let in_source = source_rows(database, table, &columns)?;
    let in_source = in_source.iter().map(|line| row(line, &columns));
    let (in_lake, in_source) = (sorted(in_lake)?, sorted(in_source)?);
    for (key, found) in &in_lake {
        let there = in_source.get(key).map_or(&[][..], Vec::as_slice);
        if let Some(text) = difference(&columns, found, there) {
            return Err(Fault::Difference(format!("{full_name}: {key}: {text}")));
        }
    }
    match in_source.keys().find(|key| !in_lake.contains_key(*key)) {
        Some(key) => Err(Fault::Difference(format!("{full_name}: {key}: only in the source"))),
        None => Ok(in_source.values().map(|rows| rows.len() as u64).sum()),
    }
}

/// The rows of each key, sorted; a table without a key has all its columns as the key.
type Rows = BTreeMap<String, Vec<Vec<Value>>>;

fn sorted(rows: impl Iterator<Item = Result<(String, Vec<Value>)>>) -> Result<Rows> {
    let mut sorted = Rows::new();
    for row in rows {
        let (key, values) = row?;
        sorted.entry(key).or_default().push(values);
    }
    Ok(sorted)
}

fn difference(columns: &[Column], in_lake: &[Vec<Value>], in_source: &[Vec<Value>]) -> Option<String> {
    if in_source.is_empty() {
        return Some("only in the lake".into());
    }
    if in_lake.len() != in_source.len() {
        return Some(format!("{} times in the lake, {} times in the source", in_lake.len(), in_source.len()));
    }
    // Rows with an equal key: without a key they are equal in all columns, with one there is a single row.
    let mut values = columns.iter().zip(in_lake.iter().flatten().zip(in_source.iter().flatten()));
    let (column, (lake, source)) = values.find(|(_, (lake, source))| lake != source)?;
    Some(format!("column {}: lake {lake}, source {source}", column.name))
}

/// One row in the order of `columns`, each value in the form in which equal values are equal.
fn row(line: &str, columns: &[Column]) -> Result<(String, Vec<Value>)> {
    let broken = |why: String| Fault::Unexpected(format!("no row in JSON: {why}"));
    let mut fields: Map<String, Value> = serde_json::from_str(line).map_err(|cause| broken(cause.to_string()))?;
    let mut values = Vec::with_capacity(columns.len());
    for column in columns {
        let value = fields.remove(&column.name).ok_or_else(|| broken(format!("column {} is absent", column.name)))?;
        values.push(canonical(&column.kind, value));
    }
    if let Some(strange) = fields.keys().next() {
        return Err(broken(format!("column {strange} is not in the source")));
    }
    let has_key = columns.iter().any(|column| column.is_key);
    let key = columns.iter().zip(&values).filter(|(column, _)| column.is_key || !has_key);
    let key: Vec<String> = key.map(|(column, value)| format!("{}={value}", column.name)).collect();
    Ok((key.join(", "), values))
}

/// A single float is compared as one, and a time without the zeros at its end; everything else is what it is.
fn canonical(kind: &str, value: Value) -> Value {
    match (kind, value) {
        ("float4", Value::Number(number)) => Value::from(f64::from(number.as_f64().unwrap_or(f64::NAN) as f32)),
        ("float8", Value::Number(number)) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        ("timestamp" | "timestamptz" | "time", Value::String(text)) => Value::from(without_final_zeros(&text)),
        (_, value) => value,
    }
}

fn without_final_zeros(time: &str) -> String {
    let (body, zone) = time.strip_suffix('Z').map_or((time, ""), |body| (body, "Z"));
    let body = if body.contains('.') { body.trim_end_matches('0').trim_end_matches('.') } else { body };
    format!("{body}{zone}")
}

fn columns(database: &Database, table: &str) -> Result<Vec<Column>> {
    let rows = database.rows(&format!(
        "SELECT a.attname, t.typname, coalesce(a.attnum = ANY (i.indkey), false)
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
         WHERE a.attrelid = 'public.\"{table}\"'::regclass AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attnum"
    ))?;
    let column = |row: Vec<String>| {
        let [name, kind, is_key] = <[String; 3]>::try_from(row)
            .map_err(|row| Fault::Unexpected(format!("a catalogue row of {} columns", row.len())))?;
        Ok(Column { name, kind, is_key: is_key == "t" })
    };
    rows.into_iter().map(column).collect()
}

/// The source's rows, rendered by the source itself as `millrace read` renders them.
fn source_rows(database: &Database, table: &str, columns: &[Column]) -> Result<Vec<String>> {
    let fields = columns.iter().map(|column| format!("'{}', {}", column.name.replace('\'', "''"), rendered(column)));
    let fields = fields.collect::<Vec<_>>().join(", ");
    let text = database.sql(&format!(
        "SET TimeZone = 'UTC'; SET extra_float_digits = 1; SELECT json_build_object({fields}) FROM ONLY public.\"{table}\""
    ))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn rendered(column: &Column) -> String {
    let c = format!("\"{}\"", column.name.replace('"', "\"\""));
    match column.kind.as_str() {
        "bool" | "int2" | "int4" | "int8" => c,
        "float4" | "float8" => {
            format!("CASE WHEN {c} IN ('NaN', 'Infinity', '-Infinity') THEN to_json({c}::text) ELSE to_json({c}) END")
        }
        "bytea" => format!("translate(encode({c}, 'base64'), E'\\n', '')"),
        "timestamp" => moment(&c, ""),
        "timestamptz" => moment(&c, "Z"),
        _ => format!("{c}::text"),
    }
}

fn moment(c: &str, zone: &str) -> String {
    format!("CASE WHEN isfinite({c}) THEN to_char({c}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || '{zone}' ELSE {c}::text END")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Server;

    const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, n numeric(10,2), f real, d float8, at timestamptz, plain timestamp, \
                         day date, raw bytea, doc jsonb, yes bool)";

    const ROW: &str = r#"{"id":1,"n":"2.50","f":0.1,"d":1e30,"at":"2024-05-06T07:08:09.5Z","plain":"2024-05-06T07:08:09","day":"infinity","raw":"AP8=","doc":"{\"a\": 1}","yes":null}"#;

    const INSERT: &str = "INSERT INTO t VALUES (1, 2.50, 0.1, 1e30, '2024-05-06 07:08:09.5Z', '2024-05-06 07:08:09', 'infinity', \
                          '\\x00ff', '{\"a\": 1}', NULL)";

    #[test]
    fn what_read_prints_equals_what_the_source_renders() {
        let server = Server::start().unwrap();
        let database = server.create_database("shop").unwrap();
        database.sql(&format!("{TABLE}; {INSERT}")).unwrap();
        assert_eq!(compare_table("shop.public.t", ROW, &database, "t").unwrap(), 1);
    }

    #[test]
    fn every_seeded_difference_is_found() {
        let server = Server::start().unwrap();
        let database = server.create_database("shop").unwrap();
        database.sql(&format!("{TABLE}; {INSERT}")).unwrap();
        let seeded = [
            (ROW.replace("0.1", "0.2"), "column f"),
            (ROW.replace("1e30", "1.0000000000000002e30"), "column d"),
            (ROW.replace("2.50", "2.5"), "column n"),
            (ROW.replace("09.5Z", "09.5"), "column at"),
            (ROW.replace("AP8=", "AP4="), "column raw"),
            (ROW.replace("\"yes\":null", "\"yes\":false"), "column yes"),
            (ROW.replace("\"id\":1", "\"id\":2"), "only in the lake"),
            (format!("{ROW}\n{ROW}"), "2 times in the lake"),
            (String::new(), "only in the source"),
            (ROW.replace("\"yes\":null", "\"no\":null"), "absent"),
            (ROW.replace("\"yes\":null", "\"yes\":null,\"more\":1"), "not in the source"),
        ];
        for (printed, expected) in seeded {
            let found = compare_table("shop.public.t", &printed, &database, "t").unwrap_err().to_string();
            assert!(found.contains(expected), "{printed}: {found}");
        }
    }
}
