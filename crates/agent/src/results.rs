//! Results of commands as JSON, the same on the command line and from an agent to its hub.

use millrace_engine::Restarted;
use millrace_model::{Finding, Severity};
use serde_json::{Value, json};

use crate::wiring::{CleanupPlan, DiscoveredTable};

/// Of `check`: whether it is ready, and the findings, the gravest first.
pub fn check(findings: &[Finding]) -> Value {
    let ok = !findings.iter().any(|finding| finding.severity == Severity::Error);
    json!({"ok": ok, "findings": findings.iter().map(finding).collect::<Vec<_>>()})
}

fn finding(finding: &Finding) -> Value {
    json!({"code": finding.code, "severity": finding.severity.as_str(), "subject": finding.subject,
        "message": finding.message, "cure": finding.cure})
}

/// Of `discover`.
pub fn discover(tables: &[DiscoveredTable]) -> Value {
    json!({"tables": tables.iter().map(table).collect::<Vec<_>>()})
}

/// The same for a hub: without columns where it does not ask for them, and never larger than `largest` bytes. What does
/// not fit is left out, and `total` says how many tables there are.
pub(crate) fn discovered(tables: &[DiscoveredTable], columns: bool, largest: usize) -> Value {
    let mut told = Vec::new();
    let mut bytes = 0;
    for found in tables {
        let mut one = table(found);
        if let (false, Value::Object(members)) = (columns, &mut one) {
            members.remove("columns");
        }
        bytes += one.to_string().len() + 1;
        if bytes > largest {
            break;
        }
        told.push(one);
    }
    json!({"tables": told, "total": tables.len()})
}

fn table(table: &DiscoveredTable) -> Value {
    let columns = table.columns.iter().map(|column| {
        json!({"name": column.name, "type": column.type_name, "kind": column.kind.to_string(),
            "nullable": column.nullable})
    });
    json!({"schema": table.schema, "table": table.table, "key": table.key, "columns": columns.collect::<Vec<_>>(),
        "rows_estimate": table.rows_estimate, "bytes": table.bytes,
        "findings": table.findings.iter().map(finding).collect::<Vec<_>>()})
}

/// Of `cleanup`: what was dropped, or would be.
pub fn cleanup(plan: &CleanupPlan) -> Value {
    json!({"slot": plan.slot, "publication": plan.publication})
}

/// Of `restart`.
pub fn restart(restarted: &Restarted) -> Value {
    json!({"commit": restarted.commit, "removed": restarted.removed, "new_slot": restarted.new_slot})
}
