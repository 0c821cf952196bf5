//! `/webhooks`: where an account is told of what needs someone. For owners.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::Listed;
use super::recipients::Kind;
use crate::app::App;
use crate::db::recipients::Recipient;
use crate::fault::Refused;
use crate::web::request::{ApiCaller, Ids, Page, Sent};

/// A webhook on the wire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebhookView {
    webhook_id: String,
    url: String,
    /// `pipeline_failed`, `agent_unknown`, `credentials_expiring`, `recovered`
    events: Vec<String>,
    created_at: String,
    created_by: String,
    /// when a message arrived last
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reached_at: Option<String>,
    /// why the last message did not arrive
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    trouble: Option<String>,
}

/// Answer to a POST.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedWebhook {
    webhook_id: String,
    /// signs its messages; shown this once
    secret: String,
}

/// What came of a test.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tested {
    delivered: bool,
    /// why it did not arrive
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<String>,
}

impl Tested {
    pub(super) fn of(outcome: Result<(), String>) -> Self {
        Self { delivered: outcome.is_ok(), message: outcome.err() }
    }
}

const KIND: Kind = Kind { words: ("webhook", "url"), called: "the webhook" };

fn view(recipient: Recipient) -> WebhookView {
    WebhookView {
        webhook_id: recipient.id,
        url: recipient.address,
        events: recipient.events,
        created_at: recipient.created_at.to_string(),
        created_by: recipient.created_by,
        reached_at: recipient.reached_at.map(|at| at.to_string()),
        trouble: recipient.trouble.map(|(why, _)| why),
    }
}

/// The account's webhooks, by creation.
#[utoipa::path(get, path = "/webhooks", operation_id = "listWebhooks", tag = "webhooks",
    responses((status = 200, description = "A page of them", body = Listed<WebhookView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    page: Page,
) -> Result<Json<Listed<WebhookView>>, Refused> {
    let all = KIND.all(&app, &caller).await?;
    Ok(Json(Listed::page_of(all.map(view).collect(), page)))
}

/// Creates a webhook.
#[utoipa::path(post, path = "/webhooks", operation_id = "createWebhook", tag = "webhooks",
    request_body(content = ref("#/components/schemas/NewWebhook"), content_type = "application/json"),
    responses((status = 201, description = "Its id and its secret", body = CreatedWebhook)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    sent: Sent,
) -> Result<(StatusCode, Json<CreatedWebhook>), Refused> {
    let new = KIND.sent(&app, &sent)?;
    let (webhook_id, secret) = app.add_recipient(&caller, new, sent.once.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(CreatedWebhook { webhook_id, secret: secret.unwrap_or_default() })))
}

/// A webhook, without its secret.
#[utoipa::path(get, path = "/webhooks/{id}", operation_id = "readWebhook", tag = "webhooks",
    responses((status = 200, description = "The webhook", body = WebhookView)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<WebhookView>, Refused> {
    Ok(Json(view(KIND.of_id(&app, &caller, &id).await?)))
}

/// Changes address and events; the secret stays.
#[utoipa::path(put, path = "/webhooks/{id}", operation_id = "replaceWebhook", tag = "webhooks",
    request_body(content = ref("#/components/schemas/NewWebhook"), content_type = "application/json"),
    responses((status = 200, description = "The webhook", body = WebhookView)))]
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    sent: Sent,
) -> Result<Json<WebhookView>, Refused> {
    let new = KIND.sent(&app, &sent)?;
    KIND.of_id(&app, &caller, &id).await?;
    app.change_recipient(&caller, &id, new).await?;
    Ok(Json(view(KIND.of_id(&app, &caller, &id).await?)))
}

/// Removes a webhook.
#[utoipa::path(delete, path = "/webhooks/{id}", operation_id = "removeWebhook", tag = "webhooks",
    responses((status = 204, description = "It is removed")))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<StatusCode, Refused> {
    KIND.of_id(&app, &caller, &id).await?;
    app.remove_recipient(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends it a message of the type `test`, once, and says what came of it.
#[utoipa::path(post, path = "/webhooks/{id}/test", operation_id = "testWebhook", tag = "webhooks",
    responses((status = 200, description = "Whether it arrived", body = Tested)))]
pub(crate) async fn test(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<Tested>, Refused> {
    KIND.of_id(&app, &caller, &id).await?;
    Ok(Json(Tested::of(app.test_recipient(&caller, &id).await?)))
}
