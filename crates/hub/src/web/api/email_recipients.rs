//! `/email-recipients`: who is told by mail of what needs someone. For owners.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::Listed;
use super::recipients::Kind;
use super::webhooks::Tested;
use crate::app::App;
use crate::db::recipients::Recipient;
use crate::fault::Refused;
use crate::web::request::{ApiCaller, Ids, Page, Sent};

/// An e-mail address on the wire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EmailRecipientView {
    email_recipient_id: String,
    email: String,
    /// `pipeline_failed`, `agent_unknown`, `credentials_expiring`, `recovered`
    events: Vec<String>,
    created_at: String,
    created_by: String,
    /// when the mail server took a message last
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reached_at: Option<String>,
    /// why it did not take the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    trouble: Option<String>,
}

/// Answer to a POST.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedEmailRecipient {
    email_recipient_id: String,
}

const KIND: Kind = Kind { words: ("email", "email"), called: "the e-mail address" };

fn view(recipient: Recipient) -> EmailRecipientView {
    EmailRecipientView {
        email_recipient_id: recipient.id,
        email: recipient.address,
        events: recipient.events,
        created_at: recipient.created_at.to_string(),
        created_by: recipient.created_by,
        reached_at: recipient.reached_at.map(|at| at.to_string()),
        trouble: recipient.trouble.map(|(why, _)| why),
    }
}

/// The account's e-mail addresses, by creation.
#[utoipa::path(get, path = "/email-recipients", operation_id = "listEmailRecipients", tag = "e-mail",
    responses((status = 200, description = "A page of them", body = Listed<EmailRecipientView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    page: Page,
) -> Result<Json<Listed<EmailRecipientView>>, Refused> {
    let all = KIND.all(&app, &caller).await?;
    Ok(Json(Listed::page_of(all.map(view).collect(), page)))
}

/// Adds an e-mail address. The hub needs a mail server: `HUB_SMTP_URL`.
#[utoipa::path(post, path = "/email-recipients", operation_id = "createEmailRecipient", tag = "e-mail",
    request_body(content = ref("#/components/schemas/NewEmailRecipient"), content_type = "application/json"),
    responses((status = 201, description = "Its id", body = CreatedEmailRecipient)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    sent: Sent,
) -> Result<(StatusCode, Json<CreatedEmailRecipient>), Refused> {
    let new = KIND.sent(&app, &sent)?;
    let (email_recipient_id, _) = app.add_recipient(&caller, new, sent.once.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(CreatedEmailRecipient { email_recipient_id })))
}

/// An e-mail address.
#[utoipa::path(get, path = "/email-recipients/{id}", operation_id = "readEmailRecipient", tag = "e-mail",
    responses((status = 200, description = "The address", body = EmailRecipientView)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<EmailRecipientView>, Refused> {
    Ok(Json(view(KIND.of_id(&app, &caller, &id).await?)))
}

/// Changes address and events.
#[utoipa::path(put, path = "/email-recipients/{id}", operation_id = "replaceEmailRecipient", tag = "e-mail",
    request_body(content = ref("#/components/schemas/NewEmailRecipient"), content_type = "application/json"),
    responses((status = 200, description = "The address", body = EmailRecipientView)))]
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    sent: Sent,
) -> Result<Json<EmailRecipientView>, Refused> {
    KIND.of_id(&app, &caller, &id).await?;
    app.change_recipient(&caller, &id, KIND.sent(&app, &sent)?).await?;
    Ok(Json(view(KIND.of_id(&app, &caller, &id).await?)))
}

/// Removes an e-mail address.
#[utoipa::path(delete, path = "/email-recipients/{id}", operation_id = "removeEmailRecipient", tag = "e-mail",
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

/// Sends it a mail that says that it is a test, once, and says what came of it.
#[utoipa::path(post, path = "/email-recipients/{id}/test", operation_id = "testEmailRecipient", tag = "e-mail",
    responses((status = 200, description = "Whether the mail server took it", body = Tested)))]
pub(crate) async fn test(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<Tested>, Refused> {
    KIND.of_id(&app, &caller, &id).await?;
    Ok(Json(Tested::of(app.test_recipient(&caller, &id).await?)))
}
