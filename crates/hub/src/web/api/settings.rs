//! `/settings`: the account's name, and where it may be reached from.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::app::App;
use crate::app::accounts::ALLOWED;
use crate::auth::Caller;
use crate::auth::addresses::Allowed;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Sent};

/// An account's settings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    account_id: String,
    account_name: String,
    /// addresses and ranges that console and API may be used from; empty: all
    allowed_addresses: Vec<String>,
}

async fn view(app: &App, caller: &Caller) -> Result<Json<Settings>, Refused> {
    let settings = app.account_settings(caller).await?;
    Ok(Json(Settings {
        account_id: caller.account_id.clone(),
        account_name: settings.name,
        allowed_addresses: settings.allowed.texts(),
    }))
}

/// The account's settings. For owners.
#[utoipa::path(get, path = "/settings", operation_id = "readSettings", tag = "settings",
    responses((status = 200, description = "The settings", body = Settings)))]
pub(crate) async fn read(State(app): State<Arc<App>>, ApiCaller(caller): ApiCaller) -> Result<Json<Settings>, Refused> {
    view(&app, &caller).await
}

/// Changes them: absent is unchanged. `allowedAddresses` has to hold the address that this very call comes from.
#[utoipa::path(patch, path = "/settings", operation_id = "changeSettings", tag = "settings",
    request_body(content = ref("#/components/schemas/SettingsChange"), content_type = "application/json"),
    responses((status = 200, description = "The settings", body = Settings)))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    sent: Sent,
) -> Result<Json<Settings>, Refused> {
    let mut members = Members::of(sent.body)?;
    let name = members.text("accountName");
    let allowed = ranges(&mut members)?;
    members.finish()?;
    if let Some(name) = name {
        app.rename_account(&caller, &name).await?;
    }
    if let Some(allowed) = allowed {
        app.allow_addresses(&caller, &allowed).await?;
    }
    view(&app, &caller).await
}

/// The ranges of addresses in a body.
pub(super) fn ranges(members: &mut Members) -> Result<Option<Allowed>, Refused> {
    let Some(texts) = members.list(ALLOWED) else { return Ok(None) };
    members.also(Allowed::parse(texts.iter().map(String::as_str), ALLOWED))
}
