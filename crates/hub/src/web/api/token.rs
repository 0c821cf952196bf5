//! `POST /oauth/dpc/token`: OAuth2 client credentials (RFC 6749, section 4.4). The client proves itself by its secret, or by a signed
//! assertion (RFC 7521, section 4.2): its own (RFC 7523), or a token of an issuer that one of its trust rules names.

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
use crate::app::assertion::Judged;
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
        (status = 401, description = "No client with this id and secret, or with this assertion",
            body = ref("#/components/schemas/TokenRefusal"), content_type = "application/json"),
        (status = 503, description = "The keys of the assertion's issuer cannot be had now",
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
    if let Some(kind) = field("client_assertion_type") {
        if pair.is_some() {
            return refused("invalid_request", "a client proves itself in one way only");
        }
        if kind != BY_ASSERTION {
            return refused("invalid_request", "the `client_assertion_type` is not known here");
        }
        let Some(assertion) = field("client_assertion") else {
            return refused("invalid_request", "send the form field `client_assertion`");
        };
        return by_assertion(&app, field("client_id").as_deref(), (&assertion, &address)).await;
    }
    let Some((client_id, client_secret)) = pair else { return invalid_client(None) };
    match app.token((&client_id, &client_secret), &address).await {
        Ok(Some(token)) => given(&token),
        Ok(None) => match app.was_removed(&client_id, &client_secret).await {
            Ok(true) => agent_removed(),
            Ok(false) => invalid_client(Some(&client_secret)),
            Err(error) => Problem::from(error).into_response(),
        },
        Err(error) => Problem::from(error).into_response(),
    }
}

/// RFC 7523, section 2.2.
const BY_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

async fn by_assertion(app: &App, client_id: Option<&str>, (assertion, address): (&str, &str)) -> Response {
    match app.token_by_assertion(client_id, assertion, address).await {
        Ok(Judged::Token(token)) => given(&token),
        // Which claim is wrong is for the log, not for whoever tries.
        Ok(Judged::Refused) => not_a_client("no client with this id and assertion"),
        Ok(Judged::Removed) => agent_removed(),
        Ok(Judged::Later) => {
            let body = json!({"error": "temporarily_unavailable", "error_description": "ask again later"});
            let headers = [(header::RETRY_AFTER, "15"), (header::CACHE_CONTROL, "no-store")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, Json(body)).into_response()
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

fn given(token: &str) -> Response {
    let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME});
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
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
    not_a_client(description)
}

fn not_a_client(description: &str) -> Response {
    let body = json!({"error": "invalid_client", "error_description": description});
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic"), (header::CACHE_CONTROL, "no-store")], Json(body))
        .into_response()
}

/// Told only to who has shown the agent's secret or an assertion that is right, with the word that the gateway has for it: its process ends, and asks no more.
fn agent_removed() -> Response {
    let description = "this agent was removed from the hub";
    let body = json!({"error": "invalid_client", "error_description": description, "code": refusal::AGENT_REMOVED});
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic"), (header::CACHE_CONTROL, "no-store")], Json(body))
        .into_response()
}

fn refused(error: &str, description: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error, "error_description": description}))).into_response()
}
