//! `/audit-log`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;

use super::{Listed, part};
use crate::app::{App, is_id};
use crate::db::audit::Wanted;
use crate::fault::{Refused, Violation};
use crate::web::request::{ApiCaller, Asked, Slice};

/// A line of the audit log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    id: String,
    at: String,
    /// `client:ID`, `person:ID`, `agent:ID`, `hub`, `unknown`
    actor: String,
    /// where the request came from
    address: String,
    action: String,
    object: String,
    detail: String,
    /// `done`, or the refusal's word
    outcome: String,
}

/// What is asked of the log; everything, where nothing is.
fn wanted(asked: &Asked) -> Result<Wanted, Refused> {
    let mut violations = Vec::new();
    let mut wrong =
        |field: &str, message: &str| violations.push(Violation { field: field.into(), message: message.into() });
    let [action, actor] = ["action", "actor"].map(|name| asked.text(name).unwrap_or_default().to_owned());
    if !action.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.' || byte == b'_') {
        wrong("action", "must be an action such as `agent.create`, or its first word: `agent`");
    }
    let is_one = |kind: &str, id: &str| matches!(kind, "client" | "person" | "agent") && is_id(id);
    if !(matches!(actor.as_str(), "" | "hub" | "unknown")
        || actor.split_once(':').is_some_and(|(kind, id)| is_one(kind, id)))
    {
        wrong("actor", "must be `client:ID`, `person:ID`, `agent:ID`, `hub` or `unknown`");
    }
    if violations.is_empty() {
        Ok(Wanted { action, actor, ..Wanted::default() })
    } else {
        Err(Refused::Invalid(violations))
    }
}

/// Who did what in the account, the newest first. For owners.
#[utoipa::path(get, path = "/audit-log", operation_id = "readAuditLog", tag = "audit log",
    responses((status = 200, description = "A page of it", body = Listed<AuditEntry>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    slice: Slice,
    asked: Asked,
) -> Result<(HeaderMap, Json<Listed<AuditEntry>>), Refused> {
    let (found, total) = app.audit_log(&caller, &wanted(&asked)?, &slice.part).await?;
    let view = |line: crate::db::audit::Line| AuditEntry {
        id: line.id,
        at: line.at.to_string(),
        actor: line.actor,
        address: line.address,
        action: line.action,
        object: line.object,
        detail: line.detail,
        outcome: line.outcome,
    };
    part(&slice, (found.rows.into_iter().map(view).collect(), total), found.next.as_ref())
}
