//! The hub's doors: the REST API, the agents' gateway, the token endpoint, the console. `router` is the table of contents.

pub(crate) mod api;
mod console;
mod gateway;
mod problem;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::app::App;

pub(crate) use problem::Problem;

/// Largest body of a request.
const BODY_LIMIT: usize = 1 << 20;

/// Every route there is.
pub(crate) fn router(app: Arc<App>) -> Router {
    let contract = Router::new()
        .route("/agents", get(api::agents::list).post(api::agents::create))
        .route("/agents/{id}", get(api::agents::read).patch(api::agents::change).delete(api::agents::remove))
        .route("/agents/{id}/credentials", get(api::agents::credentials))
        .route("/projects/{project}/streaming-pipelines", get(api::pipelines::list).post(api::pipelines::create))
        .route(
            "/projects/{project}/streaming-pipelines/{id}",
            get(api::pipelines::read).put(api::pipelines::replace).delete(api::pipelines::remove),
        )
        .route("/projects/{project}/streaming-pipelines/{id}/status", get(api::pipelines::status))
        .route("/projects/{project}/streaming-pipelines/{id}/commands", post(api::pipelines::command));
    Router::new()
        .route("/oauth/token", post(api::token::token))
        .route("/oauth/dpc/token", post(api::token::token))
        .nest("/v1", contract.clone())
        .nest("/dpc/v1", contract)
        .route("/agent/v1/session", post(gateway::session))
        .route("/agent/v1/sync", post(gateway::sync))
        .route("/agent/v1/goodbye", post(gateway::goodbye))
        .route("/livez", get(api::health::alive))
        .route("/readyz", get(api::health::ready))
        .merge(console::routes(&app))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(app)
}
