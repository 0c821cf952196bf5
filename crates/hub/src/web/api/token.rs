//! `POST /oauth/dpc/token`: OAuth2 client credentials (RFC 6749, section 4.4).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_protocol::gateway::refusal;
use serde_json::json;

use crate::app::App;
use crate::auth::secret::is_well_formed;
use crate::auth::token::LIFETIME;
use crate::web::Problem;
use crate::web::request::Address;

/// An access token for an API client or an agent (OAuth2 client credentials).
#[utoipa::path(post, path = "/oauth/dpc/token", operation_id = "getToken", tag = "token", security(()),
    request_body(content = ref("#/components/schemas/TokenRequest"),
        content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = ref("#/components/schemas/Token"),
            content_type = "application/json"),
        (status = 400, description = "Another grant, or none", body = ref("#/components/schemas/TokenRefusal"),
            content_type = "application/json"),
        (status = 401, description = "No client with this id and secret",
            body = ref("#/components/schemas/TokenRefusal"), content_type = "application/json"),
    ))]
pub(crate) async fn token(
    State(app): State<Arc<App>>,
    Address(address): Address,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form: Vec<(String, String)> = form_pairs(&body);
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match field("grant_type").as_deref() {
        Some("client_credentials") => {}
        Some(_) => return refused("unsupported_grant_type", "the grant is `client_credentials`"),
        None => return refused("invalid_request", "send the form field `grant_type=client_credentials`"),
    }
    let pair = basic(&headers).or_else(|| field("client_id").zip(field("client_secret")));
    let Some((client_id, client_secret)) = pair else { return invalid_client(None) };
    match app.token((&client_id, &client_secret), &address).await {
        Ok(Some(token)) => {
            let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME});
            ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Ok(None) => match app.was_removed(&client_id, &client_secret).await {
            Ok(true) => agent_removed(),
            Ok(false) => invalid_client(Some(&client_secret)),
            Err(error) => Problem::from(error).into_response(),
        },
        Err(error) => Problem::from(error).into_response(),
    }
}

/// The pair of an `Authorization: Basic` header; both halves are form-encoded (RFC 6749, section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (kind, encoded) = value.split_once(' ')?;
    if !kind.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    form_pairs(format!("x={text}").as_bytes()).into_iter().next().map(|(_, value)| value)
}

fn form_pairs(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().collect()
}

/// A secret that none of ours can be is told apart: that is a typing mistake, and nobody learns anything by it.
fn invalid_client(secret: Option<&str>) -> Response {
    let description = match secret {
        Some(secret) if !is_well_formed(secret) => "the secret is not whole: was it copied in part, or mistyped?",
        _ => "no client with this id and secret",
    };
    let body = json!({"error": "invalid_client", "error_description": description});
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic"), (header::CACHE_CONTROL, "no-store")], Json(body))
        .into_response()
}

/// Told to whom the secret was given only, with the word that the gateway has for it: its process ends, and asks no more.
fn agent_removed() -> Response {
    let description = "this agent was removed from the hub";
    let body = json!({"error": "invalid_client", "error_description": description, "code": refusal::AGENT_REMOVED});
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic"), (header::CACHE_CONTROL, "no-store")], Json(body))
        .into_response()
}

fn refused(error: &str, description: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error, "error_description": description}))).into_response()
}
