//! `/audit-log`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Listed;
use crate::app::App;
use crate::fault::Refused;
use crate::web::request::{ApiCaller, Page};

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

/// Who did what in the account, the newest first. For owners.
#[utoipa::path(get, path = "/audit-log", operation_id = "readAuditLog", tag = "audit log",
    responses((status = 200, description = "A page of it", body = Listed<AuditEntry>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    page: Page,
) -> Result<Json<Listed<AuditEntry>>, Refused> {
    let (lines, total) = app.audit_log(&caller, (page.page, page.size)).await?;
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
    Ok(Json(Listed::new(lines.into_iter().map(view).collect(), page, total)))
}
