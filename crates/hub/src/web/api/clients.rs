//! `/api-clients`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use super::Listed;
use crate::app::App;
use crate::db::clients::ApiClient;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Ids, Page, Sent};

/// A machine that may use the API.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiClientView {
    client_id: String,
    name: String,
    /// `owner`, `editor`, `viewer`
    role: String,
    created_at: String,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_at: Option<String>,
    /// where it was used from
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_address: Option<String>,
}

/// What a new one signs in with.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedClient {
    client_id: String,
    /// shown only now
    client_secret: String,
}

fn view(client: ApiClient) -> ApiClientView {
    ApiClientView {
        client_id: client.id,
        name: client.name,
        role: client.role,
        created_at: client.created_at.to_string(),
        created_by: client.created_by,
        last_used_at: client.last_used_at.map(|at| at.to_string()),
        last_address: client.last_address,
    }
}

/// The account's API clients, by creation. For owners.
#[utoipa::path(get, path = "/api-clients", operation_id = "listApiClients", tag = "API clients",
    responses((status = 200, description = "A page of them", body = Listed<ApiClientView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    page: Page,
) -> Result<Json<Listed<ApiClientView>>, Refused> {
    let all = app.clients(&caller).await?;
    Ok(Json(Listed::page_of(all.into_iter().map(view).collect(), page)))
}

/// Creates an API client. Its secret is in the answer and nowhere else.
#[utoipa::path(post, path = "/api-clients", operation_id = "createApiClient", tag = "API clients",
    request_body(content = ref("#/components/schemas/NewApiClient"), content_type = "application/json"),
    responses((status = 201, description = "Its id and its secret", body = CreatedClient)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    sent: Sent,
) -> Result<impl IntoResponse, Refused> {
    let mut members = Members::of(sent.body)?;
    let (name, role) = (members.required_text("name"), members.required_text("role"));
    members.finish()?;
    let (client_id, client_secret) = app.create_client(&caller, &name, &role).await?;
    let body = Json(CreatedClient { client_id, client_secret });
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], body))
}

/// An API client.
#[utoipa::path(get, path = "/api-clients/{id}", operation_id = "readApiClient", tag = "API clients",
    responses((status = 200, description = "The client, without its secret", body = ApiClientView)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<ApiClientView>, Refused> {
    Ok(Json(view(app.client(&caller, &id).await?)))
}

/// Revokes an API client: its secret and its tokens end at once.
#[utoipa::path(delete, path = "/api-clients/{id}", operation_id = "revokeApiClient", tag = "API clients",
    responses((status = 204, description = "It is revoked")))]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<StatusCode, Refused> {
    app.revoke_client(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
