//! `millrace discover FILE`: the tables of the source, with their columns, keys and what would keep them out.

use millrace_model::Finding;

use super::DONE;
use crate::args::DiscoverArguments;
use crate::console::Console;
use crate::fault::Failure;
use crate::load::{load, secrets_of};
use crate::paint::{Paint, Tone};
use crate::shown::{Side, aligned, counted, grouped, size};
use millrace_agent::results;
use millrace_agent::wiring::{self, DiscoveredTable};

/// Asks the source and prints its tables.
pub(crate) async fn discover(arguments: DiscoverArguments, console: &Console) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let source = wiring::source(&spec, &secrets_of(&arguments.file))?;
    let tables = source.discover(arguments.schema.as_deref()).await?;
    console.result(&results::discover(&tables), |_, paint| human(&tables, paint))?;
    Ok(DONE)
}

fn human(tables: &[DiscoveredTable], paint: Paint) -> String {
    if tables.is_empty() {
        return "no tables: the database has none in this schema, or the role may not see them".into();
    }
    let mut rows = vec![["table", "key", "columns", "rows, about", "size"].map(str::to_owned).to_vec()];
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
    let mut lines = aligned(&rows, &[Side::Left, Side::Left, Side::Right, Side::Right, Side::Right]);
    if let Some(head) = lines.first_mut() {
        *head = paint.tone(Tone::Quiet, head);
    }
    let sum = |of: fn(&DiscoveredTable) -> u64| tables.iter().map(of).sum::<u64>();
    let findings: usize = tables.iter().map(|table| table.findings.len()).sum();
    let cures = if findings > 0 { "; `millrace check` tells the cures of what stands behind a table" } else { "" };
    let count = counted(tables.len() as u64, "table");
    let rows = grouped(sum(|table| table.rows_estimate));
    lines.push(format!("\n{count}, about {rows} rows, {}{cures}", size(sum(|table| table.bytes))));
    lines.join("\n")
}

/// Without the table, which stands in the same line.
fn message(finding: &Finding) -> &str {
    finding.message.strip_prefix(finding.subject.as_str()).map_or(finding.message.as_str(), str::trim_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_below_each_other_and_the_last_line_adds_them_up() {
        let table = |name: &str, rows: u64, findings: Vec<Finding>| DiscoveredTable {
            schema: "public".into(),
            table: name.into(),
            key: Vec::new(),
            columns: Vec::new(),
            rows_estimate: rows,
            bytes: 8192,
            findings,
        };
        let keyless = Finding::warning("PG-017", "public.b", "public.b has no key", "add one");
        let text = human(&[table("a", 1500, Vec::new()), table("b", 7, vec![keyless])], Paint::PLAIN);
        let expected = "table     key   columns  rows, about     size\n\
                        public.a  none        0        1 500  8.0 KiB\n\
                        public.b  none        0            7  8.0 KiB  has no key\n\n\
                        2 tables, about 1 507 rows, 16.0 KiB; `millrace check` tells the cures of what stands behind a table";
        assert_eq!(text, expected);
    }
}
