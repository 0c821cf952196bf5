//! The agents' gateway: `docs/specs/agent-protocol.md`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use millrace_protocol::gateway::{Goodbye, Hello, Sync, Synced, Welcome};

use super::request::{Body, GatewayAgent};
use crate::app::App;
use crate::fault::Refused;

pub(crate) async fn session(
    State(app): State<Arc<App>>,
    GatewayAgent(agent): GatewayAgent,
    Body(hello): Body<Hello>,
) -> Result<Json<Welcome>, Refused> {
    app.hello(&agent, hello).await.map(Json)
}

pub(crate) async fn sync(
    State(app): State<Arc<App>>,
    GatewayAgent(agent): GatewayAgent,
    Body(sync): Body<Sync>,
) -> Result<Json<Synced>, Refused> {
    app.sync(&agent, sync).await.map(Json)
}

pub(crate) async fn goodbye(
    State(app): State<Arc<App>>,
    GatewayAgent(agent): GatewayAgent,
    Body(goodbye): Body<Goodbye>,
) -> Result<StatusCode, Refused> {
    app.goodbye(&agent, goodbye).await.map(|()| StatusCode::NO_CONTENT)
}
