//! `millrace discover FILE`: the tables of the source, with their columns, keys and what would keep them out.

use millrace_model::Finding;
use serde_json::{Value, json};

use super::{DONE, aligned, grouped};
use crate::args::DiscoverArguments;
use crate::commands::check::finding_json;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::load;
use crate::wiring::{self, DiscoveredTable};

/// Asks the source and prints its tables.
pub(crate) async fn discover(arguments: DiscoverArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let source = wiring::source(&spec, &arguments.file).await?;
    let tables = source.discover(arguments.schema.as_deref()).await?;
    let result = json!({"tables": tables.iter().map(table_json).collect::<Vec<_>>()});
    console.result(&result, |_| human(&tables))?;
    Ok(DONE)
}

fn table_json(table: &DiscoveredTable) -> Value {
    let columns = table.columns.iter().map(|column| {
        json!({"name": column.name, "type": column.type_name, "kind": column.kind.to_string(),
            "nullable": column.nullable})
    });
    json!({"schema": table.schema, "table": table.table, "key": table.key, "columns": columns.collect::<Vec<_>>(),
        "rows_estimate": table.rows_estimate, "bytes": table.bytes,
        "findings": table.findings.iter().map(finding_json).collect::<Vec<_>>()})
}

fn human(tables: &[DiscoveredTable]) -> String {
    if tables.is_empty() {
        return "no tables".into();
    }
    let mut rows = vec![["table", "key", "columns", "rows, about", "size", "findings"].map(str::to_owned).to_vec()];
    for table in tables {
        let key = if table.key.is_empty() { "none".to_owned() } else { table.key.join(", ") };
        rows.push(vec![
            format!("{}.{}", table.schema, table.table),
            key,
            table.columns.len().to_string(),
            grouped(table.rows_estimate),
            size(table.bytes),
            table.findings.iter().map(message).collect::<Vec<_>>().join("; "),
        ]);
    }
    let findings: usize = tables.iter().map(|table| table.findings.len()).sum();
    let cures = if findings > 0 { "\n`millrace check` tells the cures." } else { "" };
    format!("{}{cures}", aligned(&rows))
}

/// Without the table, which stands in the same line.
fn message(finding: &Finding) -> &str {
    finding.message.strip_prefix(finding.subject.as_str()).map_or(finding.message.as_str(), str::trim_start)
}

/// Bytes for people: `8.0 KiB`, `1.4 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut number = bytes as f64;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{number:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_powers_of_1024() {
        assert_eq!(
            (size(0), size(1023), size(8192), size(1_500_000_000)),
            ("0 B".into(), "1023 B".into(), "8.0 KiB".into(), "1.4 GiB".into())
        );
    }
}
