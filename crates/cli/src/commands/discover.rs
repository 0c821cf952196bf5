//! `millrace discover FILE`: the tables of the source, with their columns, keys and what would keep them out.

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
    let mut rows = vec![["table", "key", "columns", "rows (about)", ""].map(str::to_owned).to_vec()];
    for table in tables {
        let key = if table.key.is_empty() { "none".to_owned() } else { table.key.join(", ") };
        rows.push(vec![
            format!("{}.{}", table.schema, table.table),
            key,
            table.columns.len().to_string(),
            grouped(table.rows_estimate),
            table.findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; "),
        ]);
    }
    aligned(&rows)
}
