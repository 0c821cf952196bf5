//! `/agents/{id}/keys` and `/agents/{id}/trust-rules`: what an agent may sign in with beside a secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::app::App;
use crate::app::trust::NewRule;
use crate::auth::trust::Means;
use crate::db::trust::Trust;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Ids, Sent};

/// A public key of an agent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyView {
    key_id: String,
    name: String,
    /// `EdDSA`, `ES256`, `RS256`
    algorithm: String,
    /// RFC 7638, SHA-256
    thumbprint: String,
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

/// What tokens of an issuer have to say to be the agent's.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrustRuleView {
    trust_rule_id: String,
    name: String,
    issuer: String,
    audience: String,
    subject: String,
    /// further claims
    claims: BTreeMap<String, String>,
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

/// All keys of an agent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct KeyList {
    results: Vec<KeyView>,
}

/// All trust rules of an agent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TrustRuleList {
    results: Vec<TrustRuleView>,
}

/// Answer to a POST.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedKey {
    key_id: String,
}

/// Answer to a POST.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedTrustRule {
    trust_rule_id: String,
}

fn key(trust: Trust) -> Option<KeyView> {
    let Means::Key(key) = trust.means else { return None };
    Some(KeyView {
        key_id: trust.id,
        name: trust.name,
        algorithm: key.algorithm(),
        thumbprint: key.thumbprint(),
        created_at: trust.created_at.to_string(),
        created_by: trust.created_by,
        last_used_at: trust.last_used_at.map(|at| at.to_string()),
        last_address: trust.last_address,
    })
}

fn rule(trust: Trust) -> Option<TrustRuleView> {
    let Means::Rule(rule) = trust.means else { return None };
    Some(TrustRuleView {
        trust_rule_id: trust.id,
        name: trust.name,
        issuer: rule.issuer,
        audience: rule.audience,
        subject: rule.subject,
        claims: rule.claims,
        created_at: trust.created_at.to_string(),
        created_by: trust.created_by,
        last_used_at: trust.last_used_at.map(|at| at.to_string()),
        last_address: trust.last_address,
    })
}

/// The public keys that the agent's own assertions are verified with, by creation.
#[utoipa::path(get, path = "/agents/{id}/keys", operation_id = "listKeys", tag = "agents",
    responses((status = 200, description = "All of them", body = KeyList)))]
pub(crate) async fn keys(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<KeyList>, Refused> {
    let results = app.trust(&caller, &id).await?.into_iter().filter_map(key).collect();
    Ok(Json(KeyList { results }))
}

/// Registers a public key. The agent signs assertions with the private half, which never leaves it.
#[utoipa::path(post, path = "/agents/{id}/keys", operation_id = "addKey", tag = "agents",
    request_body(content = ref("#/components/schemas/NewKey"), content_type = "application/json"),
    responses((status = 201, description = "Its id", body = CreatedKey)))]
pub(crate) async fn add_key(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    sent: Sent,
) -> Result<(StatusCode, Json<CreatedKey>), Refused> {
    let mut members = Members::of(sent.body)?;
    let (name, public_key) = (members.required_text("name"), members.required_text("publicKey"));
    members.finish()?;
    let key_id = app.add_key(&caller, &id, (&name, &public_key), sent.once.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(CreatedKey { key_id })))
}

/// Removes a key: tokens that were got with it end at once.
#[utoipa::path(delete, path = "/agents/{id}/keys/{key}", operation_id = "removeKey", tag = "agents",
    responses((status = 204, description = "It is removed")))]
pub(crate) async fn remove_key(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((id, key)): Ids<(String, String)>,
) -> Result<StatusCode, Refused> {
    app.remove_trust(&caller, &id, ("key", &key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which tokens of which issuers are the agent's, by creation.
#[utoipa::path(get, path = "/agents/{id}/trust-rules", operation_id = "listTrustRules", tag = "agents",
    responses((status = 200, description = "All of them", body = TrustRuleList)))]
pub(crate) async fn rules(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<TrustRuleList>, Refused> {
    let results = app.trust(&caller, &id).await?.into_iter().filter_map(rule).collect();
    Ok(Json(TrustRuleList { results }))
}

/// Adds a trust rule: a token with this issuer, audience, subject and these claims is the agent's. All are compared letter by letter.
#[utoipa::path(post, path = "/agents/{id}/trust-rules", operation_id = "addTrustRule", tag = "agents",
    request_body(content = ref("#/components/schemas/NewTrustRule"), content_type = "application/json"),
    responses((status = 201, description = "Its id", body = CreatedTrustRule)))]
pub(crate) async fn add_rule(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    sent: Sent,
) -> Result<(StatusCode, Json<CreatedTrustRule>), Refused> {
    let mut members = Members::of(sent.body)?;
    let name = members.required_text("name");
    let rule = NewRule {
        issuer: members.required_text("issuer"),
        audience: members.text("audience"),
        subject: members.required_text("subject"),
        claims: members.map("claims"),
    };
    members.finish()?;
    let trust_rule_id = app.add_rule(&caller, &id, (&name, rule), sent.once.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(CreatedTrustRule { trust_rule_id })))
}

/// Removes a rule: tokens that were got by it end at once.
#[utoipa::path(delete, path = "/agents/{id}/trust-rules/{rule}", operation_id = "removeTrustRule", tag = "agents",
    responses((status = 204, description = "It is removed")))]
pub(crate) async fn remove_rule(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((id, rule)): Ids<(String, String)>,
) -> Result<StatusCode, Refused> {
    app.remove_trust(&caller, &id, ("rule", &rule)).await?;
    Ok(StatusCode::NO_CONTENT)
}
