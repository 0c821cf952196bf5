//! `/.well-known`: where tokens come from, and the keys that sign them (RFC 8414, RFC 7517).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;

/// Where tokens come from.
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", operation_id = "describeAuthorization", tag = "token",
    security(()), responses((status = 200, description = "RFC 8414", content_type = "application/json")))]
pub(crate) async fn authorization_server(State(app): State<Arc<App>>) -> Json<Value> {
    let url = &app.settings.public_url;
    Json(json!({
        "issuer": url,
        "token_endpoint": format!("{url}/oauth/dpc/token"),
        "jwks_uri": format!("{url}/.well-known/jwks.json"),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["EdDSA", "ES256", "ES384", "RS256"],
        "response_types_supported": [],
    }))
}

/// The keys that sign access tokens.
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "readSigningKeys", tag = "token", security(()),
    responses((status = 200, description = "RFC 7517", content_type = "application/json")))]
pub(crate) async fn keys(State(app): State<Arc<App>>) -> Json<Value> {
    let keys = app
        .tokens
        .public_keys()
        .map(|(id, x)| json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": x}));
    Json(json!({"keys": keys.collect::<Vec<_>>()}))
}
