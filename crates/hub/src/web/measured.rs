//! `/metrics`, at an address of its own, and the clock that stands around every request.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::api::health;
use crate::app::App;
use crate::fault::Refused;

/// Takes the time of a request, the hold of a sync included.
pub(crate) async fn measured(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let begun = Instant::now();
    let response = next.run(request).await;
    app.measures.answered(&route, response.status().as_u16(), begun.elapsed());
    response
}

/// What is at `HUB_METRICS_LISTEN`: nothing there asks who is asking.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(app)
}

async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Refused> {
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics().await?))
}
