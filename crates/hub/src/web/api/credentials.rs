//! `/agents/{id}/credentials`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::app::App;
use crate::app::accounts::ALLOWED;
use crate::app::credentials::LONGEST_LIFE;
use crate::db::credentials::Credential;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Ids, Perhaps, Sent};

/// What an agent's process signs in with.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Credentials {
    client_id: String,
    client_secret: String,
}

/// All secrets of an agent, without the secrets.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CredentialHistory {
    results: Vec<CredentialView>,
}

/// A secret of an agent, without the secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialView {
    credential_id: String,
    created_at: String,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_at: Option<String>,
    /// where it was used from
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked_at: Option<String>,
}

fn view(credential: Credential) -> CredentialView {
    CredentialView {
        credential_id: credential.id,
        created_at: credential.created_at.to_string(),
        created_by: credential.created_by,
        last_used_at: credential.last_used_at.map(|at| at.to_string()),
        last_address: credential.last_address,
        expires_at: credential.expires_at.map(|at| at.to_string()),
        revoked_at: credential.revoked_at.map(|at| at.to_string()),
    }
}

async fn revealed(app: &App, caller: &crate::auth::Caller, id: &str) -> Result<impl IntoResponse + use<>, Refused> {
    let revealed = app.reveal_credentials(caller, id).await?;
    let body = Credentials { client_id: revealed.client_id, client_secret: revealed.client_secret };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)))
}

/// What the agent's process signs in with; the same at every read until rotated. Each read is audited.
#[utoipa::path(get, path = "/agents/{id}/credentials", operation_id = "readCredentials", tag = "agents",
    responses((status = 200, description = "The newest secret that has not ended", body = Credentials)))]
pub(crate) async fn reveal(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<impl IntoResponse, Refused> {
    revealed(&app, &caller, &id).await
}

/// Makes a second secret, which is revealed from now on. The one before stays alive until it is revoked. With
/// `expiresInDays` the new one ends by itself.
#[utoipa::path(post, path = "/agents/{id}/credentials/rotate", operation_id = "rotateCredentials", tag = "agents",
    request_body(content = ref("#/components/schemas/Rotation"), content_type = "application/json"),
    responses((status = 201, description = "The new secret", body = Credentials)))]
pub(crate) async fn rotate(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    Perhaps(sent): Perhaps,
) -> Result<impl IntoResponse, Refused> {
    let mut members = Members::of(sent.body)?;
    let days = members.number("expiresInDays", LONGEST_LIFE);
    members.finish()?;
    app.rotate_credentials(&caller, &id, days, sent.once.as_ref()).await?;
    Ok((StatusCode::CREATED, revealed(&app, &caller, &id).await?))
}

/// Every secret that the agent has and had, the newest first.
#[utoipa::path(get, path = "/agents/{id}/credentials/history", operation_id = "listCredentials", tag = "agents",
    responses((status = 200, description = "When they were made, used and revoked", body = CredentialHistory)))]
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<CredentialHistory>, Refused> {
    let results = app.credentials(&caller, &id).await?.into_iter().map(view).collect();
    Ok(Json(CredentialHistory { results }))
}

/// Revokes a secret: tokens that were got with it end at once.
#[utoipa::path(delete, path = "/agents/{id}/credentials/{credential}", operation_id = "revokeCredential",
    tag = "agents", responses((status = 204, description = "It is revoked")))]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((id, credential)): Ids<(String, String)>,
) -> Result<StatusCode, Refused> {
    app.revoke_credential(&caller, &id, &credential).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where an agent's process may call from.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AllowedAddresses {
    /// addresses and ranges; empty: all
    allowed_addresses: Vec<String>,
    /// where it called from last
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_address: Option<String>,
}

async fn allowed_addresses(
    app: &App,
    caller: &crate::auth::Caller,
    id: &str,
) -> Result<Json<AllowedAddresses>, Refused> {
    let (allowed, last_address) = app.agent_addresses(caller, id).await?;
    Ok(Json(AllowedAddresses { allowed_addresses: allowed.texts(), last_address }))
}

/// Where the agent's process may call the gateway from.
#[utoipa::path(get, path = "/agents/{id}/allowed-addresses", operation_id = "readAllowedAddresses", tag = "agents",
    responses((status = 200, description = "The ranges", body = AllowedAddresses)))]
pub(crate) async fn addresses(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<AllowedAddresses>, Refused> {
    allowed_addresses(&app, &caller, &id).await
}

/// Changes that. A list without the address that the agent called from last needs `force`.
#[utoipa::path(put, path = "/agents/{id}/allowed-addresses", operation_id = "changeAllowedAddresses", tag = "agents",
    request_body(content = ref("#/components/schemas/AllowedAddressesChange"), content_type = "application/json"),
    responses((status = 200, description = "The ranges", body = AllowedAddresses)))]
pub(crate) async fn allow(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    sent: Sent,
) -> Result<Json<AllowedAddresses>, Refused> {
    let mut members = Members::of(sent.body)?;
    let allowed = super::settings::ranges(&mut members)?;
    let forced = members.flag("force").unwrap_or(false);
    members.finish()?;
    let allowed = allowed.ok_or_else(|| Refused::invalid(ALLOWED, "is missing"))?;
    app.allow_agent_addresses(&caller, &id, &allowed, forced).await?;
    allowed_addresses(&app, &caller, &id).await
}
