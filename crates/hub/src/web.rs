//! The hub's doors: the REST API, the agents' gateway, the token endpoint, the console. `routes` is the table of contents.

pub(crate) mod access;
pub(crate) mod api;
mod console;
mod deploy;
mod forwarded;
mod gateway;
mod last_resort;
mod measured;
mod members;
mod openapi;
mod problem;
mod request;
mod strict_json;
pub(crate) mod trace;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub(crate) use measured::router as metrics;
pub(crate) use problem::Problem;

/// Largest body of a request.
const BODY_LIMIT: usize = 1 << 20;
/// Largest body of a sync: ten thousand tables that an agent has found fit in.
const SYNC_LIMIT: usize = 8 << 20;

/// The API, as it stands under each of its base paths.
fn contract() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(api::agents::list, api::agents::create))
        .routes(routes!(api::agents::read, api::agents::change, api::agents::remove))
        .routes(routes!(api::install::read))
        .routes(routes!(api::credentials::reveal))
        .routes(routes!(api::credentials::rotate))
        .routes(routes!(api::credentials::history))
        .routes(routes!(api::credentials::revoke))
        .routes(routes!(api::trust::keys, api::trust::add_key))
        .routes(routes!(api::trust::remove_key))
        .routes(routes!(api::trust::rules, api::trust::add_rule))
        .routes(routes!(api::trust::remove_rule))
        .routes(routes!(api::commands::check))
        .routes(routes!(api::commands::discover))
        .routes(routes!(api::commands::read))
        .routes(routes!(api::credentials::addresses, api::credentials::allow))
        .routes(routes!(api::projects::list, api::projects::create))
        .routes(routes!(api::projects::rename))
        .routes(routes!(api::pipelines::list, api::pipelines::create))
        .routes(routes!(api::pipelines::read, api::pipelines::replace, api::pipelines::remove))
        .routes(routes!(api::pipelines::status))
        .routes(routes!(api::pipelines::command))
        .routes(routes!(api::pipelines::roll_back))
        .routes(routes!(api::set_times::read, api::set_times::replace, api::set_times::remove))
        .routes(routes!(api::history::events))
        .routes(routes!(api::history::revisions))
        .routes(routes!(api::metrics::of_pipeline))
        .routes(routes!(api::metrics::of_agent))
        .routes(routes!(api::audit::list))
        .routes(routes!(api::webhooks::list, api::webhooks::create))
        .routes(routes!(api::webhooks::read, api::webhooks::replace, api::webhooks::remove))
        .routes(routes!(api::webhooks::test))
        .routes(routes!(api::email_recipients::list, api::email_recipients::create))
        .routes(routes!(api::email_recipients::read, api::email_recipients::replace, api::email_recipients::remove))
        .routes(routes!(api::email_recipients::test))
        .routes(routes!(api::users::roles))
        .routes(routes!(api::users::list, api::users::invite))
        .routes(routes!(api::users::read, api::users::change, api::users::remove))
        .routes(routes!(api::clients::list, api::clients::create))
        .routes(routes!(api::clients::read, api::clients::revoke))
        .routes(routes!(api::settings::read, api::settings::change))
}

/// Every route that the OpenAPI document names.
fn routes() -> (Router<Arc<App>>, Value) {
    let (router, document) = OpenApiRouter::new()
        .nest("/dpc/v1", contract())
        .routes(routes!(api::token::token))
        .routes(routes!(api::well_known::authorization_server))
        .routes(routes!(api::well_known::keys))
        .routes(routes!(gateway::session))
        .merge(OpenApiRouter::new().routes(routes!(gateway::sync)).layer(DefaultBodyLimit::max(SYNC_LIMIT)))
        .routes(routes!(gateway::goodbye))
        .routes(routes!(api::health::alive))
        .routes(routes!(api::health::ready))
        .split_for_parts();
    (router, openapi::complete(document))
}

/// The OpenAPI document, as it is served at `/openapi.json`.
pub(crate) fn document() -> Value {
    routes().1
}

/// Every route and method, and who may use it.
pub(crate) fn doors() -> &'static [access::Door] {
    access::DOORS
}

/// Every route there is.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (routes, document) = routes();
    let document = Arc::new(document);
    routes
        // The same again, under the shorter of its two names.
        .nest("/v1", contract().into())
        .route("/oauth/token", post(api::token::token))
        .route("/openapi.json", get(move || async move { Json(document.as_ref().clone()) }))
        .merge(console::routes(&app))
        .fallback(console::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn_with_state(Arc::clone(&app), access::gate))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(&app), measured::measured))
        .layer(from_fn_with_state(Arc::clone(&app), forwarded::forwarded))
        .layer(from_fn(last_resort::last_resort))
        .layer(from_fn(trace::traced))
        .layer(from_fn_with_state(Arc::clone(&app), console::everywhere))
        .with_state(app)
}
