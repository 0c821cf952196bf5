//! The agents' gateway: `docs/specs/agent-protocol.md`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use millrace_protocol::gateway::{Goodbye, Hello, Sync, Synced, Welcome};

use super::request::{Body, GatewayAgent};
use crate::app::App;
use crate::fault::Refused;

/// Events that a sync may bring. Agents bring 200.
const EVENTS: usize = 1_000;

/// A process of an agent asks for its lease.
#[utoipa::path(post, path = "/agent/v1/session", operation_id = "sayHello", tag = "gateway",
    request_body(content = Object, content_type = "application/json"),
    responses((status = 200, description = "It has it", content_type = "application/json")))]
pub(crate) async fn session(
    State(app): State<Arc<App>>,
    GatewayAgent(agent): GatewayAgent,
    Body(hello): Body<Hello>,
) -> Result<Json<Welcome>, Refused> {
    app.hello(&agent, hello).await.map(Json)
}

/// Sign of life, report and question in one.
#[utoipa::path(post, path = "/agent/v1/sync", operation_id = "sync", tag = "gateway",
    request_body(content = Object, content_type = "application/json"),
    responses((status = 200, description = "What is new", content_type = "application/json")))]
pub(crate) async fn sync(
    State(app): State<Arc<App>>,
    GatewayAgent(agent): GatewayAgent,
    Body(sync): Body<Sync>,
) -> Result<Json<Synced>, Refused> {
    if sync.events.len() > EVENTS {
        return Err(Refused::invalid(
            "events",
            format!("a sync brings {EVENTS} at most; the others go with the next one"),
        ));
    }
    app.sync(&agent, sync).await.map(Json)
}

/// The process ends.
#[utoipa::path(post, path = "/agent/v1/goodbye", operation_id = "sayGoodbye", tag = "gateway",
    request_body(content = Object, content_type = "application/json"),
    responses((status = 204, description = "The lease has ended")))]
pub(crate) async fn goodbye(
    State(app): State<Arc<App>>,
    GatewayAgent(agent): GatewayAgent,
    Body(goodbye): Body<Goodbye>,
) -> Result<StatusCode, Refused> {
    app.goodbye(&agent, goodbye).await.map(|()| StatusCode::NO_CONTENT)
}
