//! `/livez` and `/readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::App;

/// Whether the process is alive.
#[utoipa::path(get, path = "/livez", operation_id = "isAlive", tag = "health", security(()),
    responses((status = 200, description = "It is", content_type = "application/json")))]
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({"alive": true}))
}

/// Whether it can serve.
#[utoipa::path(get, path = "/readyz", operation_id = "isReady", tag = "health", security(()),
    responses((status = 200, description = "It can", content_type = "application/json"),
        (status = 503, description = "It cannot", content_type = "application/json")))]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let database = app.db.is_alive().await;
    let status = if database { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": database, "database": database})))
}
